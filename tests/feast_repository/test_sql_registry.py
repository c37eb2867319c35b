"""Feast's SQL registry on PostgreSQL, beside an online store there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ingestion.project import Project
from tests.feast_repository.conftest import WEEK
from tests.feast_repository.test_online_server_faults import done
from tests.processes import Command, Ended, Forge, project_of
from tests.stores.online_servers import PostgresServer, at_length, short_folder
from tests.stores.test_server_faults import PASSWORD

pytestmark = at_length

SECRETS = {"REGISTRY_PASSWORD": PASSWORD, "PGPASSWORD": PASSWORD}


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with short_folder() as folder:
        server = PostgresServer(folder, password=PASSWORD)
        yield server
        server.kill()


@pytest.fixture
def run(writable_week: Project, server: PostgresServer, forge: Forge) -> Callable[..., Ended]:
    file = writable_week.feast_repository / "feature_store.yaml"
    settings = yaml.safe_load(file.read_text())
    place = server.conninfo.split()[0].partition("=")[2]
    settings["registry"] = {
        "registry_type": "sql",
        "path": f"postgresql+psycopg://feast:${{REGISTRY_PASSWORD}}@/postgres?host={place}",
        "cache_ttl_seconds": 60,
    }
    settings["online_store"] = {
        "type": "ingestion.plugins.wide_postgres.WidePostgresOnlineStore",
        "conninfo": server.conninfo,  # the password is in the environment
    }
    file.write_text(yaml.safe_dump(settings))

    def run(*words: object, now: datetime = WEEK[-1]) -> Ended:
        ended = forge.start(Command(*words), project_of(writable_week, now) | SECRETS).wait()
        assert PASSWORD not in ended.out + ended.err
        assert "Traceback" not in ended.out + ended.err, ended
        return ended

    return run


def test_the_commands_do_with_it_what_they_do_with_a_file(
    run: Callable[..., Ended], week: Project, writable_week: Project, forge: Forge, tmp_path: Path
):
    def in_file(*words: object) -> Ended:
        return done(forge.start(Command(*words), project_of(week, WEEK[-1])).wait())

    command = [
        Path(sys.executable).with_name("feast"),
        "-c",
        writable_week.feast_repository,
        "apply",
    ]
    variables = project_of(writable_week, WEEK[-1]) | SECRETS
    applied = subprocess.run(
        command, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert applied.returncode == 0, applied.stderr[-2000:]
    done(run("materialize"))
    done(run("verify", "--online"))
    select = ("select", "--by", "RSI", "--top", "5", "--json")
    assert done(run(*select)).json["rows"] == in_file(*select).json["rows"]
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "symbol,event_timestamp,target\n"
        "NASDAQ:AAPL,2021-04-14T21:30:00Z,0.1\nNASDAQ:AMZN,2021-04-16T21:30:00Z,0.2\n"
    )
    sets = [tmp_path / name for name in ("sql.parquet", "file.parquet")]
    train = ("training-set", "--labels", labels, "--out")
    done(run(*train, sets[0]))
    in_file(*train, sets[1])
    pd.testing.assert_frame_equal(*map(pd.read_parquet, sets))
    assert run("status").code in (0, 3)
    assert run("doctor").code in (0, 3)
    done(run("explain", "NASDAQ:AAPL", "RSI"))


def test_a_registry_that_is_away_is_told_in_one_line(
    run: Callable[..., Ended], server: PostgresServer
):
    done(run("materialize"))
    server.kill()
    for words in (("select",), ("materialize",), ("verify", "--online"), ("rebuild",)):
        ended = run(*words)
        assert ended.code in (2, 3), ended
        assert ended.line.startswith("tvfeast: "), ended
