from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ingestion.base.errors import GateRefused, demand_all
from ingestion.base.plain import plain
from ingestion.catalog import OHLCV_1D
from ingestion.cli.commands import cli
from ingestion.cli.status import status_text
from ingestion.jobs.audit.status import (
    Section,
    StatusLimits,
    StatusReport,
    status,
)
from ingestion.jobs.audit.status import report as report_module
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import append_part, arrow_schema, write_run_file
from ingestion.plugins.online.layout import Layout, Values
from ingestion.plugins.online.rows import Rows
from ingestion.plugins.online.sqlite_tables import make_table, upsert
from ingestion.project import Project
from tests.declared import LOCAL_1D
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.technicals import EVENING, technicals

AGE = GROUP.max_age
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
NAMES = [f"NASDAQ:S{number:02}" for number in range(19)] + ["BINANCE:BTCUSDT"]

SNAPSHOT = "feature_ingest.tv_technicals_1d.json"


@pytest.fixture
def lakehouse(tmp_path: Path, at) -> Project:
    """A complete snapshot of twenty symbols, loaded, all but one with bars and features."""
    at(EVENING)
    settings = Project(
        make_workspace(tmp_path / "project"), tmp_path / "lakehouse", "https://scanner.invalid"
    )
    (settings.folder / "data" / "registry.db").write_bytes(b"views and services")
    served(settings)
    append_part(settings.lakehouse, GROUP, technicals(NAMES), "run-1")
    for dataset in (OHLCV_1D, LOCAL_1D):
        append_part(settings.lakehouse, dataset, daily(dataset, NAMES[:-1]), "run-1")
    snapshot_receipt(settings, "run-1")
    loaded(settings, "run-1")
    return settings


def served(settings: Project, rows: int = 20, event: datetime = EVENING) -> Path:
    """An online store of that many rows in each view."""
    path = settings.folder / "data" / "online.db"
    layout = Layout.of([("RSI", "DOUBLE")])
    keys = [f"key {number}".encode() for number in range(rows)]
    instants = np.full(rows, int(event.timestamp()) * 1_000_000)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for view in (GROUP, LOCAL_1D):
            table = f"wide_tvfeast_{view.name}"
            make_table(connection, table, layout)
            values = {"RSI": Values.nulls("DOUBLE", rows)}
            upsert(connection, table, layout, Rows(keys, instants, instants, values))
        connection.commit()
    return path


def daily(dataset, symbols: list[str], event: datetime = EVENING) -> pa.Table:
    """A row a symbol; all numbers are 1."""
    row = dict.fromkeys(arrow_schema(dataset).names, 1.0) | {
        **{"timestamp": int(event.timestamp()), "event_timestamp": event, "source": "hand"},
        **{"created_timestamp": event, "bar_timestamp": event - DAY},
    }
    rows = [row | {"symbol": symbol} for symbol in symbols]
    return pa.Table.from_pylist(rows, arrow_schema(dataset))


def write(settings: Project, run_id: str, name: str, **document: object) -> None:
    document = {"run_id": run_id, "settings": {"project": str(settings.folder)}, **document}
    write_run_file(settings.lakehouse, run_id, name, json.dumps(document).encode())


def snapshot_receipt(settings: Project, run_id: str, coverage: float = 1.0, **more) -> None:
    source = {"profile": "mine.json", "symbols": more.pop("symbols", NAMES)}
    write(
        *(settings, run_id, SNAPSHOT),
        **{"coverage": coverage, "request": {"source": source}, "failed_symbols": {}, **more},
    )


def loaded(settings: Project, run_id: str, until: datetime = EVENING) -> None:
    views = [{"view": group.name, "rows": 20, "parts": []} for group in (GROUP, LOCAL_1D)]
    write(settings, run_id, "materialize.json", until=until.isoformat(), views=views)


def group(report: StatusReport, name: str = GROUP.name):
    return next(each for each in report.groups if each.view == name)


def test_everything_inside_its_limits_passes(lakehouse: Project):
    report = status(lakehouse)
    assert report.problems == ()
    demand_all(report)
    snapshots = group(report)
    assert (snapshots.newest, snapshots.age) == (EVENING, timedelta(0))
    assert (snapshots.coverage, snapshots.asked, snapshots.quarantined) == (1.0, 20, 0)
    assert (snapshots.stale, snapshots.missing) == ((), ())


@pytest.mark.parametrize(("later", "passes"), [(timedelta(0), True), (SECOND, False)])
def test_the_age_is_limited_to_the_second(lakehouse: Project, at, later, passes: bool):
    at(EVENING + AGE + later)
    report = status(lakehouse)
    assert report.passed is passes
    limits = StatusLimits(max_age=timedelta(hours=5))
    at(EVENING + timedelta(hours=5) + later)
    assert status(lakehouse, limits).passed is passes


def test_each_group_has_the_catalogs_limit(lakehouse: Project, at):
    at(EVENING + AGE + SECOND)
    late = [each for each in status(lakehouse).problems if "old" in each]
    assert late == [f"{GROUP.name} is {AGE + SECOND} old, more than {AGE}"]


@pytest.mark.parametrize(("later", "passes"), [(timedelta(0), True), (SECOND, False)])
def test_the_age_of_the_online_store_is_limited_to_the_second(
    lakehouse: Project, at, later, passes: bool
):
    append_part(lakehouse.lakehouse, GROUP, technicals(NAMES, EVENING + AGE), "run-2")
    at(EVENING + AGE + later)
    report = status(lakehouse)
    assert report.load is not None
    assert report.load.age == AGE + later
    assert report.passed is passes


@pytest.mark.parametrize(("coverage", "passes"), [(0.95, True), (0.9499, False)])
def test_the_newest_snapshots_coverage_is_limited(lakehouse: Project, coverage, passes: bool):
    snapshot_receipt(lakehouse, "run-2", coverage)
    report = status(lakehouse)
    assert group(report).coverage == coverage
    assert report.passed is passes


def test_a_snapshot_that_never_appeared_covers_nothing(lakehouse: Project):
    """Its run died after its receipt, in which the part was still to come."""
    snapshot_receipt(lakehouse, "run-2", 0.97, verdict="publish", fetched=20)
    part = append_part(lakehouse.lakehouse, GROUP, technicals(NAMES, EVENING - SECOND), "run-2")
    assert group(status(lakehouse)).coverage == 0.97
    snapshot_receipt(lakehouse, "run-3", 0.99, verdict="publish", fetched=20, symbols=["NYSE:A"])
    append_part(lakehouse.lakehouse, OHLCV_1D, daily(OHLCV_1D, ["NYSE:A"]), "run-3")
    report = group(status(lakehouse))
    assert (report.coverage, report.asked, report.missing) == (0.97, 20, ())
    part.path.unlink()
    assert group(status(lakehouse)).coverage == 0.97, "it was there, and is verify's to miss"


def test_a_snapshot_that_appeared_as_its_run_died_counts(lakehouse: Project):
    snapshot_receipt(lakehouse, "run-2", 0.97, verdict="publish", fetched=20)
    append_part(lakehouse.lakehouse, GROUP, technicals(NAMES, EVENING - SECOND), "run-2")
    ledger = lakehouse.lakehouse_at / "_runs" / "run-2" / "files.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    assert lines[-1].startswith('{"confirmed": "features/')
    ledger.write_text("".join(lines[:-1]))
    assert group(status(lakehouse)).coverage == 0.97
    ledger.unlink()
    assert group(status(lakehouse)).coverage == 0.97, "as of a lakehouse from before the ledgers"


def test_a_run_that_found_everything_fresh_counts_without_a_part(lakehouse: Project):
    snapshot_receipt(lakehouse, "run-2", 0.97, verdict="publish", fetched=0)
    assert group(status(lakehouse)).coverage == 0.97


def test_stale_and_missing_symbols_are_named_and_limited(lakehouse: Project, at):
    at(EVENING + 10 * DAY)
    append_part(lakehouse.lakehouse, GROUP, technicals(NAMES[1:], EVENING + 10 * DAY), "run-2")
    loaded(lakehouse, "run-2", EVENING + 10 * DAY)
    asked = [*NAMES, "NYSE:GONE"]
    snapshot_receipt(lakehouse, "run-2", symbols=asked)
    report = status(lakehouse)
    assert (group(report).stale, group(report).missing) == ((NAMES[0],), ("NYSE:GONE",))
    assert any("1 stale and 1 missing of 21" in problem for problem in report.problems)
    assert status(lakehouse, StatusLimits(max_stale_share=2 / 21)).passed
    assert not status(lakehouse, StatusLimits(max_stale_share=2 / 21 - 1e-9)).passed


def test_a_symbol_without_a_row_for_90_days_is_missing(lakehouse: Project, at):
    at(EVENING + 90 * DAY)
    assert len(group(status(lakehouse)).stale) == 20
    at(EVENING + 90 * DAY + SECOND)
    assert len(group(status(lakehouse)).missing) == 20


def test_a_market_asked_for_whole_is_held_against_what_was_seen_of_it(lakehouse: Project):
    write(
        *(lakehouse, "run-2", SNAPSHOT),
        **{"coverage": 0.96, "request": {"source": "america"}, "failed_symbols": {"X:F": "reset"}},
    )
    assert group(status(lakehouse)).asked == 21
    assert group(status(lakehouse)).missing == ("X:F",)


def test_what_has_no_bars_is_told_by_market_and_not_missed_among_the_recomputed(
    lakehouse: Project,
):
    report = status(lakehouse)
    assert report.without_bars == {"BINANCE": ("BINANCE:BTCUSDT",)}
    assert "BINANCE 1; load them: tvfeast import-bars" in status_text(report)
    assert group(report, "local_1d").asked == 19
    assert group(report, "local_1d").missing == ()


def test_rows_in_quarantine_are_counted_by_group(lakehouse: Project):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"dataset": [GROUP.name] * 3 + ["local_1d"]}), sink)
    snapshot_receipt(lakehouse, "run-2")
    name = "quarantine.parquet"
    write_run_file(lakehouse.lakehouse, "run-2", name, sink.getvalue().to_pybytes())
    assert [each.quarantined for each in status(lakehouse).groups] == [3, 1]


def test_symbols_held_back_for_a_split_are_told_and_limited_on_demand(lakehouse: Project):
    held = [{"symbol": "NASDAQ:S01", "ratio": "4:1"}]
    write(lakehouse, "run-2", "data_ingest.json", bars={"held_back": held})
    report = status(lakehouse)
    assert report.held_back == tuple(held)
    assert report.passed
    assert status(lakehouse, StatusLimits(max_held_back=1)).passed
    assert not status(lakehouse, StatusLimits(max_held_back=0)).passed
    assert "NASDAQ:S01 4:1" in status_text(report)


@pytest.mark.parametrize(
    "name",
    [SNAPSHOT, "materialize.json", "data_ingest.json", "import_bars.json"],
)
def test_a_damaged_newest_receipt_is_past_a_limit_and_the_one_before_it_counts(
    lakehouse: Project, name: str
):
    snapshot_receipt(lakehouse, "run-2", 0.97)
    damaged = write_run_file(lakehouse.lakehouse, "run-3", name, b"{")
    report = status(lakehouse)
    assert group(report).coverage == 0.97
    assert report.load is not None
    (problem,) = report.problems
    assert problem.startswith(f"{damaged} cannot be read")
    assert "put it back from a backup" in problem
    with pytest.raises(GateRefused, match="put it back from a backup"):
        demand_all(report)
    assert f"PAST ITS LIMIT: {problem}" in status_text(report)
    document = plain(report)
    assert (document["passed"], document["problems"]) == (False, [problem])


def test_a_damaged_receipt_that_a_newer_one_has_replaced_is_no_limit(lakehouse: Project):
    write_run_file(lakehouse.lakehouse, "run-0", SNAPSHOT, b"{")
    assert status(lakehouse).passed


def test_a_load_of_another_project_on_the_same_lakehouse_is_not_this_ones(lakehouse: Project):
    other = replace(lakehouse, folder=lakehouse.folder / "other")
    loaded(other, "run-2", EVENING - DAY)
    load = status(lakehouse).load
    assert load is not None
    assert load.run_id == "run-1"


@pytest.mark.parametrize(
    ("name", "document"),
    [
        (SNAPSHOT, {}),
        (SNAPSHOT, {"coverage": "all"}),
        (SNAPSHOT, {"coverage": float("nan"), "request": {"source": "x"}}),
        (
            SNAPSHOT,
            {"coverage": 1.0, "request": {"source": {"profile": "mine.json", "symbols": 7}}},
        ),
        (SNAPSHOT, {"coverage": 1.0, "failed_symbols": 7}),
        ("materialize.json", {"until": "noon", "views": []}),
        ("materialize.json", {"until": EVENING.isoformat(), "views": [7]}),
        ("data_ingest.json", {"bars": {"held_back": [7, {}]}}),
        ("data_ingest.json", {"bars": 7}),
        ("import_bars.json", {"request": {"files": 7, "splits": None}}),
        ("import_bars.json", {"request": {"files": [7], "splits": "x"}, "verdict": "maybe"}),
    ],
)
def test_a_receipt_of_another_form_ends_in_no_traceback(lakehouse: Project, name, document):
    write(lakehouse, "run-2", name, **document)
    report = status(lakehouse)
    assert any("run-2" in problem for problem in report.problems)
    assert status_text(report)


def test_rows_beyond_now_are_not_counted(lakehouse: Project):
    append_part(lakehouse.lakehouse, GROUP, technicals(NAMES, EVENING + SECOND), "later")
    assert group(status(lakehouse)).newest == EVENING


def test_an_empty_lakehouse_says_what_to_run(tmp_path: Path, at):
    at(EVENING)
    report = status(Project(tmp_path, tmp_path / "none", "https://scanner.invalid"))
    assert "flow-data" in report.problems[0]
    assert "materialize" in report.problems[1]
    assert len(report.problems) == 2, "without bars there is nothing to recompute"
    with pytest.raises(GateRefused, match="flow-data"):
        demand_all(report)
    assert "–" in status_text(report)


def test_bars_without_features_are_a_problem_beside_snapshots(lakehouse: Project):
    shutil.rmtree(lakehouse.lakehouse_at / "features" / "local_1d")
    assert "local_1d has no rows: run `tvfeast local-features`" in status(lakehouse).problems


def test_in_a_folder_that_is_no_project_of_yours_the_place_is_named(
    tmp_path: Path, at, monkeypatch
):
    at(EVENING)
    folder = make_workspace(tmp_path / "project")
    monkeypatch.setenv("TVFEAST_PROJECT", str(folder))
    result = CliRunner().invoke(cli, ["status"])
    assert "PAST ITS LIMIT: tv_technicals_1d has no rows" in result.stdout
    assert str(result.exception) == (
        f"nothing is stored in {folder / 'data' / 'lakehouse'}: run `tvfeast flow-data`, or go to "
        "the folder of your project"
    )
    verified = CliRunner().invoke(cli, ["verify"])  # nothing is not sound
    assert str(verified.exception) == str(result.exception)
    assert isinstance(verified.exception, GateRefused)


def test_history_alone_is_no_operation_and_nothing_to_ring_for(tmp_path: Path, at):
    """Years ago two symbols' bars were imported, one of which ended before; nothing else was."""
    at(EVENING)
    settings = Project(
        make_workspace(tmp_path / "project"), tmp_path / "lakehouse", "https://scanner.invalid"
    )
    first, last = datetime(2019, 3, 4, 21, tzinfo=UTC), datetime(2021, 4, 12, 20, tzinfo=UTC)
    append_part(settings.lakehouse, OHLCV_1D, daily(OHLCV_1D, ["NYSE:A", "NYSE:B"], first), "one")
    append_part(settings.lakehouse, OHLCV_1D, daily(OHLCV_1D, ["NYSE:A", "TSE:1"], last), "two")
    report = status(settings)
    assert report.problems == ()
    assert report.warnings == (
        "nothing is computed from the bars yet: run `tvfeast local-features`",
    )
    text = status_text(report)
    assert "bars: 2 symbols, 2019-03-04 to 2021-04-12, 2 dates" in text
    assert "imported until 2021-04-12: NYSE 1, TSE 1" in text
    document = plain(report)["bars"]
    assert (document["first"], document["last"]) == ("2019-03-04", "2021-04-12")

    append_part(settings.lakehouse, LOCAL_1D, daily(LOCAL_1D, ["NYSE:A", "TSE:1"], last), "three")
    report = status(settings)
    assert (report.problems, report.warnings) == ((), ())
    assert group(report, "local_1d").newest == last


def test_the_status_is_told_to_people_and_to_machines(lakehouse: Project, at):
    at(EVENING + AGE + SECOND)
    report = status(lakehouse, replace(StatusLimits(), max_stale_share=1.0))
    text = status_text(report)
    assert "2026-01-16 21:30 UTC" in text
    assert text.count("PAST ITS LIMIT") == len(report.problems) == 2
    document = json.loads(json.dumps(plain(report)))
    assert document["passed"] is False
    assert document["groups"][0]["age"] == (AGE + SECOND).total_seconds()


def test_a_further_look_is_shown_and_judged_with_the_rest(
    lakehouse: Project, monkeypatch: pytest.MonkeyPatch
):
    found = Section("moons", {"full": 1}, ("moons: 1 full",), ("a moon is full",), ("one waxes",))
    monkeypatch.setattr(report_module, "LOOKS", (lambda settings, at, recent: found,))
    report = status(lakehouse)
    assert (report.problems, report.warnings) == (("a moon is full",), ("one waxes",))
    assert plain(report)["sections"] == [{"name": "moons", "document": {"full": 1}}]
    assert status_text(report).splitlines()[-3:] == [
        "moons: 1 full",
        "warning: one waxes",
        "PAST ITS LIMIT: a moon is full",
    ]


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


def test_a_status_makes_no_file(lakehouse: Project):
    def files() -> set[Path]:
        folders = (lakehouse.folder, lakehouse.lakehouse_at)
        return {each for folder in folders for each in folder.rglob("*")}

    before = files()
    status(lakehouse)
    assert files() == before


def test_what_was_imported_alone_may_be_old(lakehouse: Project, at):
    """Of twenty symbols three are of a market whose history was imported once."""
    coins = ["BINANCE:A", "BINANCE:B", "BINANCE:C"]
    long_ago, later = EVENING - 60 * DAY, EVENING + SECOND
    for dataset in (OHLCV_1D, LOCAL_1D):
        append_part(lakehouse.lakehouse, dataset, daily(dataset, coins, long_ago), "run-2")
    bars = daily(OHLCV_1D, NAMES[:-1], EVENING)
    place = bars.column_names.index("source")
    scanned = bars.set_column(place, bars.schema.field(place), [["scanner"] * bars.num_rows])
    append_part(lakehouse.lakehouse, OHLCV_1D, scanned, "run-2")
    append_part(lakehouse.lakehouse, GROUP, technicals(coins, EVENING), "run-2")
    snapshot_receipt(lakehouse, "run-2", symbols=[*NAMES, *coins])
    at(later)
    report = status(lakehouse)
    assert not [each for each in report.problems if "is missing for" not in each]
    assert group(report, "local_1d").stale == ()
    markets = {each.exchange: each for each in report.bars.markets}
    assert (markets["BINANCE"].is_imported, markets["NASDAQ"].is_imported) == (True, False)
    assert f"imported until {long_ago:%Y-%m-%d}: BINANCE 3" in status_text(report)


def test_a_group_that_was_never_loaded_is_not_looked_for_in_all_runs(lakehouse: Project):
    """What was loaded longer ago than anything lives has expired; those receipts are not read."""
    (lakehouse.lakehouse_at / "_runs" / "run-1" / "materialize.json").unlink()
    write_run_file(lakehouse.lakehouse, "run-10", "materialize.json", b"{")
    views = [{"view": GROUP.name, "rows": 20, "parts": []}]
    for run_id, until in (("run-11", EVENING - 13 * DAY), ("run-12", EVENING)):
        write(lakehouse, run_id, "materialize.json", until=until.isoformat(), views=views)
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
