"""The tour, on two evenings and a fifth of the sample: what it says to go on with is of use."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner

from ingestion.cli.checks import parity_table
from ingestion.cli.commands import cli
from ingestion.cli.serving import selection_text
from ingestion.jobs import demo as job
from ingestion.jobs.audit.status.report import status
from ingestion.jobs.report.make_report import make_report
from ingestion.jobs.serve.feast_repository import own_tables
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.rebuild import rebuild
from ingestion.jobs.serve.select import select
from ingestion.jobs.serve.verify_online import verify_online
from ingestion.markets.candidates import read_candidates
from ingestion.plugins.online.reading import table_name
from ingestion.plugins.online.rows import Read
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner
from tests.conftest import SAMPLE
from tests.stores.online_servers import postgres_server, redis_server


def fewer(folder: Path) -> Path:
    """Write a fifth of the sample's symbols, among them Apple and a coin, and its last months."""
    bars = pq.read_table(SAMPLE / "bars.parquet")
    symbols = pc.unique(bars["symbol"]).to_pylist()[::5]
    symbols = sorted({*symbols, "NASDAQ:AAPL", "BINANCE:BTCUSDT"})
    since = int(datetime(2020, 10, 1, tzinfo=UTC).timestamp())
    kept = pc.and_(
        pc.is_in(bars["symbol"], value_set=pa.array(symbols)),
        pc.greater_equal(bars["timestamp"], since),
    )
    folder.mkdir()
    pq.write_table(bars.filter(kept), folder / "bars.parquet")
    with (SAMPLE / "symbols.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["symbol"] in symbols]
    with (folder / "symbols.csv").open("w") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "portfolio_candidates.json").write_text(json.dumps(symbols))
    return folder


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that it makes, and what it says from beginning to end."""
    said: list[str] = []
    folder = tmp_path_factory.mktemp("demo")
    sample = fewer(folder / "sample")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "_DAYS", 2)
        tables = job.Tables(parity_table, selection_text)
        job.demo(folder / "a folder", sample, said.append, tables)
    return folder / "a folder", "\n".join(said)


@pytest.fixture
def told(tour: tuple[Path, str]) -> str:
    return tour[1]


def test_its_evenings_and_its_selection_are_told(told: str):
    assert "Mon 12 Apr" in told
    assert "Tue 13 Apr" in told
    assert "symbols by Recommend.All" in told
    assert re.search(r"most_traded: [1-9]\d* in, 0 out", told)
    assert "Selection among the members of the universe most_traded" in told


def test_three_groups_of_the_scanner_run_each_evening_and_are_in_the_selection(told: str):
    assert "scanner    tv_analyst_1d, tv_technicals_1d, tv_technicals_1w\n" in told
    assert len(re.findall(r"\d+ closed bars, 12 \+ 12 \+ 12 snapshot rows", told)) == 2
    table = told.partition("Selection: strongest")[2].partition("Selection among")[0].split("\n")
    head, *rows = (
        re.split(" {2,}", line.strip()) for line in table if re.match(r" *[#\d]+  ", line)
    )
    shown = [dict(zip(head, row, strict=True)) for row in rows]
    assert shown
    for name in ("tv_technicals_1w:Recommend.All", "tv_technicals_1w age", "tv_analyst_1d age"):
        assert all(re.search(r"\d", row[name]) for row in shown), name
    assert any(re.search(r"\d", row["target_upside"]) for row in shown)


def test_every_command_that_it_prints_gives_something(told: str, monkeypatch: pytest.MonkeyPatch):
    lines = told.partition("Go on from there:")[2].split("\n")
    commands = [shlex.split(line) for line in lines if line.startswith("  ")]
    assert [words[1].partition("=")[0] for words in commands] == [
        *("TVFEAST_PROJECT", *["select"] * 6, "universe", "explain", "status"),
        *("TVFEAST_NOW", "replay-scanner", "flow-data", "select", "%1"),
    ]
    with ExitStack() as background:
        for program, *words in commands:
            if program == "export":
                for setting in words:
                    name, value = setting.split("=", 1)
                    monkeypatch.setenv(name, value.replace("$PATH", os.environ["PATH"]))
            elif words[0] == "replay-scanner":
                replay = background.enter_context(ReplayScanner(Panel.from_folder(SAMPLE)))
                monkeypatch.setenv("TVFEAST_SCANNER_URL", replay.url)  # 8787 may not be free
            elif program != "kill":
                assert program == "tvfeast"
                assert shutil.which(program), "it is found wherever the reader is"
                done = CliRunner().invoke(cli, words, catch_exceptions=False)
                assert (done.exit_code, done.stderr) == (0, ""), words
                if words[0] == "select":
                    assert done.stdout.splitlines()[2].split()[0] == "1", done.stdout  # first place
                elif words[0] == "explain":
                    assert done.stdout.count(", served\n") == 3  # of each group that has it
                elif words[0] == "flow-data":
                    assert "refused" not in done.stdout


def test_the_folder_has_what_a_newcomer_goes_on_with(told: str):
    folder = Path(re.search("Built in (.*):", told)[1])
    assert read_candidates(folder / job.CANDIDATES).symbols
    for name in ("groups", "formulas"):
        assert list((folder / "feature_repo" / name).iterdir()) == []


@pytest.fixture(params=["redis", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What ``feature_store.yaml`` says of an online store on a server."""
    if request.param == "redis":
        with redis_server(tmp_path) as url:
            yield {"type": "ingestion.plugins.wide_redis.WideRedisOnlineStore", "url": url}
    else:
        with postgres_server() as conninfo:
            kind = "ingestion.plugins.wide_postgres.WidePostgresOnlineStore"
            yield {"type": kind, "conninfo": conninfo}


@pytest.fixture
def beside(tour: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make a project on the same lakehouse, with an online store of its own."""

    def make(name: str, online_store: dict[str, str]) -> Project:
        shutil.copytree(tour[0] / "feature_repo", tmp_path / name / "feature_repo")
        yaml_file = tmp_path / name / "feature_repo" / "feature_store.yaml"
        settings = yaml.safe_load(yaml_file.read_text())
        settings["online_store"] = online_store or settings["online_store"]
        yaml_file.write_text(yaml.safe_dump(settings))
        monkeypatch.setenv("TVFEAST_PROJECT", str(tmp_path / name))
        monkeypatch.setenv("TVFEAST_LAKEHOUSE", str(tour[0] / "data" / "lakehouse"))
        return Project.from_environment()

    return make


def bits(project: Project) -> dict[str, list[object]]:
    """Return all that an online store has, by table: keys, times, and each column's bytes."""
    layouts = {
        table_name("tvfeast", group.name): [column.name for column in group.served]
        for group in project.catalog.groups
    }
    found = own_tables(project).read([Read(*each) for each in layouts.items()])
    return {
        table: [rows.keys, rows.event_us.tolist(), rows.created_us.tolist()]
        + [
            (name, rows.values[name].type, rows.values[name].valid.tolist())
            + ((data.tobytes(),) if data.dtype != object else tuple(data))
            for name in names
            for data in [rows.values[name].data]
        ]
        for (table, names), rows in zip(layouts.items(), found, strict=True)
    }


def test_its_online_store_on_a_server_is_that_in_a_file_bit_for_bit(
    beside, server, at: Callable[[datetime], None]
):
    at(datetime(2021, 4, 13, 21, 30, tzinfo=UTC))
    in_file, on_server = beside("file", {}), beside("server", server)
    for each in (in_file, on_server):
        materialize(each)
        assert verify_online(each).passed
    views = verify_online(in_file).views
    assert [each.symbols for each in views] == [12, 12, 12, 12]
    assert verify_online(on_server).views == views
    assert bits(on_server) == bits(in_file)

    request = job.SelectRequest(by="RSI", top=5, features=job._OTHERS)
    assert select(on_server, request).rows == select(in_file, request).rows
    assert status(on_server).stores.online == own_tables(on_server).place
    assert status(on_server).stores.views == status(in_file).stores.views
    assert make_report(on_server).answer == make_report(in_file).answer

    own_tables(on_server).teardown([next(iter(bits(in_file)))])
    assert not verify_online(on_server).passed
    assert rebuild(on_server).report.passed
    assert bits(on_server) == bits(in_file)
    assert not (on_server.folder / "data" / "online.db").exists()
