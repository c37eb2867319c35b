from __future__ import annotations

import dataclasses
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from feature_repo.catalog import GROUPS
from feature_repo.catalog import TV_TECHNICALS_1D as GROUP
from ingestion.errors import (
    ClockError,
    CorruptPart,
    FeastRepositoryError,
    InputError,
    LakehouseLocked,
)
from ingestion.jobs.feast_repository import open_repository
from ingestion.jobs.materialize import materialize
from ingestion.jobs.select import SelectRequest, select
from ingestion.lakehouse import append_part, lakehouse_lock, list_parts, read_part
from ingestion.settings import Settings
from tests.feast_repository.conftest import WEEK
from tests.lakehouse.technicals import technicals

FRIDAY = WEEK[-1]


@pytest.fixture(autouse=True)
def now_is_friday_evening(at):
    at(FRIDAY)


def served(settings: Settings, symbol: str) -> dict[str, float | None]:
    (row,) = select(settings, SelectRequest(symbols=[symbol], max_bar_age=timedelta(days=99))).rows
    return row.features


def test_online_equals_the_newest_row_of_the_lakehouse_bit_for_bit(week: Settings):
    newest = read_part(list_parts(week.lakehouse, GROUP)[-1].path).to_pylist()
    assert len(newest) == 60
    for row in newest:
        features = served(week, row["symbol"])
        assert {c.name: features[c.name] for c in GROUP.features} == {
            c.name: row[c.name] for c in GROUP.features
        }


def test_a_missing_registry_is_made(writable_week: Settings):
    materialize(writable_week)
    views = open_repository(writable_week).list_feature_views()
    assert {view.name for view in views} == {group.name for group in GROUPS}


def test_a_row_that_came_late_is_loaded_by_the_next_run(writable_week: Settings):
    materialize(writable_week)
    late = technicals(["NASDAQ:AAPL"], FRIDAY - timedelta(minutes=5), created=FRIDAY, RSI=[1.0])
    later = technicals(["NYSE:LATE"], FRIDAY - timedelta(days=1), created=FRIDAY, RSI=[2.0])
    for rows in (late, later):
        append_part(writable_week.lakehouse, GROUP, rows, "late")
    materialize(writable_week)
    assert served(writable_week, "NYSE:LATE")["RSI"] == 2.0
    assert served(writable_week, "NASDAQ:AAPL")["RSI"] != 1.0


def test_a_restatement_wins_by_its_later_creation(writable_week: Settings):
    restated = technicals(["NASDAQ:AAPL"], FRIDAY, created=FRIDAY + timedelta(1), RSI=[7.0])
    append_part(writable_week.lakehouse, GROUP, restated, "restated")
    materialize(writable_week)
    assert served(writable_week, "NASDAQ:AAPL")["RSI"] == 7.0


def test_an_empty_lakehouse_is_an_input_error(settings: Settings):
    with pytest.raises(InputError, match="feature-ingest"):
        materialize(settings)


def test_a_registry_of_another_lakehouse_is_refused(writable_week: Settings, tmp_path: Path):
    materialize(writable_week)
    moved = tmp_path / "moved"
    shutil.copytree(writable_week.lakehouse, moved)
    elsewhere = replace(writable_week, lakehouse=moved)
    for command in (materialize, lambda each: select(each, SelectRequest())):
        with pytest.raises(FeastRepositoryError, match=r"feast apply") as error:
            command(elsewhere)
        assert error.value.exit_code == 2


def test_select_before_anything_is_registered_says_what_to_do(writable_week: Settings):
    with pytest.raises(FeastRepositoryError, match=r"feast apply"):
        select(writable_week, SelectRequest())


def test_a_project_without_a_feature_store_is_an_input_error(week: Settings, tmp_path: Path):
    with pytest.raises(FeastRepositoryError, match=r"feature_store\.yaml"):
        select(replace(week, project=tmp_path), SelectRequest(symbols=["A:A"]))


def test_it_takes_the_lakehouse_lock(writable_week: Settings):
    with lakehouse_lock(writable_week.lakehouse, "other"), pytest.raises(LakehouseLocked):
        materialize(writable_week)


class TestRepair:
    """What Feast leaves broken for ever is mended by the next run, or told with its remedy."""

    def test_a_deleted_online_store_is_made_again(self, writable_week: Settings):
        materialize(writable_week)
        (writable_week.project / "data" / "online.db").unlink()
        with pytest.raises(FeastRepositoryError, match="tvfeast materialize"):
            select(writable_week, SelectRequest(symbols=["NASDAQ:AAPL"]))
        materialize(writable_week)
        assert served(writable_week, "NASDAQ:AAPL")["RSI"] is not None

    def test_a_failed_run_leaves_the_previous_values_served(
        self, writable_week: Settings, monkeypatch
    ):
        materialize(writable_week)
        before = served(writable_week, "NASDAQ:AAPL")
        from feast.infra.online_stores.sqlite import SqliteOnlineStore

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("the disk is on fire")

        with monkeypatch.context() as patch:
            patch.setattr(SqliteOnlineStore, "online_write_batch", fail)
            for _ in range(2):
                with pytest.raises(Exception, match="on fire"):
                    materialize(writable_week)
        assert served(writable_week, "NASDAQ:AAPL") == before

    def test_a_corrupt_part_is_named_wherever_it_lies(self, writable_week: Settings):
        materialize(writable_week)
        part = list_parts(writable_week.lakehouse, GROUP)[0].path
        part.write_bytes(part.read_bytes()[:-20])
        with pytest.raises(CorruptPart, match=str(part)) as error:
            materialize(writable_week)
        assert error.value.exit_code == 2

    @pytest.mark.parametrize("name", ["registry.db", "online.db"])
    def test_a_corrupt_database_is_told_with_the_remedy(self, writable_week: Settings, name: str):
        materialize(writable_week)
        path = writable_week.project / "data" / name
        path.write_bytes(b"\xff" * 5000)
        with pytest.raises(FeastRepositoryError, match=f"{name} cannot be read.*materialize"):
            select(writable_week, SelectRequest(symbols=["NASDAQ:AAPL"]))

    def test_a_changed_definition_is_noticed(self, writable_week: Settings, monkeypatch):
        materialize(writable_week)
        changed = dataclasses.replace(GROUP, ttl=timedelta(days=9))
        monkeypatch.setattr("feature_repo.definitions.TV_TECHNICALS_1D", changed)
        with pytest.raises(FeastRepositoryError, match=r"has changed.*feast apply"):
            materialize(writable_week)


def test_an_earlier_clock_does_not_overwrite_newer_values(writable_week: Settings, at):
    materialize(writable_week)
    at(FRIDAY - timedelta(days=1))
    with pytest.raises(ClockError, match="TVFEAST_NOW"):
        materialize(writable_week)
    at(FRIDAY)
    assert served(writable_week, "NASDAQ:AAPL")["RSI"] is not None
