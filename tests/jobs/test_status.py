from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

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
from ingestion.lakehouse import append_part, write_run_file
from ingestion.project import Project
from tests.declared import LOCAL_1D
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.jobs.stored_status import (
    DAY,
    NAMES,
    SNAPSHOT,
    complete,
    daily,
    loaded,
    snapshot_receipt,
    write,
)
from tests.lakehouse.technicals import EVENING, technicals

AGE, SECOND = GROUP.max_age, timedelta(seconds=1)


@pytest.fixture
def lakehouse(tmp_path: Path, at) -> Project:
    at(EVENING)
    return complete(tmp_path)


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
