"""What ``status`` says of the online store and the registry."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ingestion.cli.status import status_text
from ingestion.jobs.audit.status import status
from ingestion.project import Project
from tests.declared import LOCAL_1D
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.jobs.stored_status import (
    DAY,
    SNAPSHOT,
    complete,
    served,
    write,
)
from tests.lakehouse.technicals import EVENING

AGE, SECOND = GROUP.max_age, timedelta(seconds=1)


@pytest.fixture
def lakehouse(tmp_path: Path, at) -> Project:
    at(EVENING)
    return complete(tmp_path)


def test_an_online_store_that_was_deleted_is_not_vouched_for(lakehouse: Project):
    path = served(lakehouse)
    assert status(lakehouse).stores.has_online
    path.unlink()
    report = status(lakehouse)
    (problem,) = report.problems
    assert problem == f"{path} is missing, so nothing is served: run `tvfeast rebuild`"
    assert "IS MISSING" in status_text(report)
    assert not path.exists(), "a look makes nothing"


def test_a_registry_that_was_deleted_or_emptied_is_told(lakehouse: Project):
    path = lakehouse.folder / "data" / "registry.db"
    path.write_bytes(b"")
    assert status(lakehouse).problems == (f"{path} is missing: run `tvfeast rebuild`",)
    path.unlink()
    assert status(lakehouse).problems == (f"{path} is missing: run `tvfeast rebuild`",)


def test_a_store_with_fewer_rows_than_were_loaded_is_told(lakehouse: Project):
    path = served(lakehouse)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM wide_tvfeast_local_1d WHERE entity_key > 'key 5'")
        connection.commit()
        left = connection.execute("SELECT count(*) FROM wide_tvfeast_local_1d").fetchone()[0]
    (problem,) = status(lakehouse).problems
    assert problem.startswith(f"{path} has {left} rows of local_1d, and the load of run run-1")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE wide_tvfeast_local_1d")
        connection.execute("DELETE FROM wide_layouts WHERE name = 'wide_tvfeast_local_1d'")
        connection.commit()
    assert "has 0 rows of local_1d" in status(lakehouse).problems[0]


def test_a_store_that_is_older_than_its_last_load_is_told(lakehouse: Project):
    """Put back from a backup, say: there are rows of everybody, and they are yesterday's."""
    path = served(lakehouse)
    path.unlink()
    served(lakehouse, event=EVENING - DAY)
    views = [
        {"view": each.name, "rows": 20, "parts": [], "newest": EVENING.isoformat()}
        for each in (GROUP, LOCAL_1D)
    ]
    write(lakehouse, "run-2", "materialize.json", until=EVENING.isoformat(), views=views)
    first, second = status(lakehouse).problems
    assert "has tv_technicals_1d up to 2026-01-15 21:30 UTC" in first
    assert "brought rows of 2026-01-16 21:30 UTC" in second


def test_a_store_that_is_no_database_is_told(lakehouse: Project):
    served(lakehouse).write_bytes(b"no database" * 500)
    (problem,) = status(lakehouse).problems
    assert "cannot be read" in problem
    assert "run `tvfeast rebuild`" in problem
    assert "ago: CANNOT BE READ" in status_text(status(lakehouse))


def test_of_a_copied_project_a_store_that_is_no_database_is_told_though_nothing_was_loaded(
    lakehouse: Project, at
):
    copy = replace(lakehouse, folder=lakehouse.folder.with_name("copy"))
    shutil.copytree(lakehouse.folder, copy.folder)
    path = copy.folder / "data" / "online.db"
    path.write_bytes(b"no database" * 500)
    expected = (
        f"the online store {path} cannot be read (file is not a database); run `tvfeast rebuild`"
    )
    assert status(copy).problems == (expected,)
    assert "online store: CANNOT BE READ" in status_text(status(copy))
    # With history alone nothing else is past a limit.
    shutil.rmtree(lakehouse.lakehouse_at / "features" / GROUP.name)
    (lakehouse.lakehouse_at / "_runs" / "run-1" / SNAPSHOT).unlink()
    at(EVENING + 60 * DAY)
    assert status(copy).problems == (expected,)
    path.unlink()
    assert status(copy).problems == ()


def test_valid_and_expired_rows_are_told_apart(lakehouse: Project, at):
    served(lakehouse)
    at(EVENING + AGE + SECOND)
    views = {view.view: view for view in status(lakehouse).stores.views}
    assert (views[GROUP.name].rows, views[GROUP.name].valid) == (20, 0)
    assert (views["local_1d"].valid, views["local_1d"].newest) == (20, EVENING)


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_store_of_another_kind_is_not_looked_at(lakehouse: Project, kind: str):
    yaml = lakehouse.folder / "feature_repo" / "feature_store.yaml"
    text = yaml.read_text()
    own = "ingestion.plugins.wide_sqlite.WideSqliteOnlineStore"
    yaml.write_text(text.replace(own, kind))
    report = status(lakehouse)
    assert report.problems == ()
    assert "not looked at, it is of another kind" in status_text(report)


def test_a_store_in_another_place_is_found_there(lakehouse: Project):
    yaml = lakehouse.folder / "feature_repo" / "feature_store.yaml"
    yaml.write_text(yaml.read_text().replace("../data/online.db", "served/online.db"))
    path = lakehouse.folder / "feature_repo" / "served" / "online.db"
    assert str(path) in status(lakehouse).problems[0]
    path.parent.mkdir()
    served(lakehouse).rename(path)
    assert status(lakehouse).problems == ()


def test_a_store_that_serves_history_alone_is_looked_at_all_the_same(lakehouse: Project, at):
    """Nobody fetches, so nothing is to be fresh; but what was loaded is to be there."""
    shutil.rmtree(lakehouse.lakehouse_at / "features" / GROUP.name)
    (lakehouse.lakehouse_at / "_runs" / "run-1" / SNAPSHOT).unlink()
    at(EVENING + 60 * DAY)
    assert status(lakehouse).problems == ()
    path = lakehouse.folder / "data" / "online.db"
    path.unlink()
    assert status(lakehouse).problems == (
        f"{path} is missing, so nothing is served: run `tvfeast rebuild`",
    )
