"""Several flows are one operation: what ``status`` says of each, by their receipts."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ingestion.base.errors import InputError
from ingestion.base.plain import plain
from ingestion.catalog import OHLCV_1D
from ingestion.cli.status import status_text
from ingestion.jobs.audit.status import ProfileStatus, State, StatusReport, status
from ingestion.jobs.profiles import (
    FLOW_FILE,
    default_name,
    forget_profiles,
    known_profiles,
    with_run,
)
from ingestion.lakehouse import Lakehouse, append_part, lakehouse_lock, run_file, write_run_file
from ingestion.project import Project
from ingestion.runs.run import new_run_id
from tests.declared import LOCAL_1D
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.jobs.stored_status import daily, loaded, served
from tests.lakehouse.technicals import EVENING, technicals

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AMERICA = [f"NASDAQ:A{number}" for number in range(10)]
ASIA = [f"TSE:{number}" for number in range(7201, 7211)]
WEDNESDAY = EVENING - 2 * DAY
"""The 14th of January 2026; Friday is the 16th, and Monday the 19th is a holiday in New York."""
Flow = Callable[..., str]


@pytest.fixture
def settings(tmp_path: Path, at) -> Project:
    at(EVENING)
    (tmp_path / "project" / "feature_repo").mkdir(parents=True)
    (tmp_path / "project" / "data").mkdir()
    yaml = "project: tvfeast\nregistry: ../data/registry.db\nonline_store:\n"
    yaml += (
        "  type: ingestion.plugins.wide_sqlite.WideSqliteOnlineStore\n  path: ../data/online.db\n"
    )
    (tmp_path / "project" / "feature_repo" / "feature_store.yaml").write_text(yaml)
    (tmp_path / "project" / "data" / "registry.db").write_bytes(b"views and services")
    settings = Project(tmp_path / "project", tmp_path / "lakehouse", "https://scanner.invalid")
    served(settings)
    return settings


@pytest.fixture
def flow(settings: Project, at) -> Flow:
    """Leave what a flow leaves: its rows, its snapshot's receipt and its own."""

    def run(
        name: str,
        started: datetime,
        symbols: list[str] | str,
        *,
        rows: list[str] | None = None,
        outcome: str = "done",
        failed: dict[str, str] | None = None,
        every: timedelta | None = None,
        coverage: float = 1.0,
        fetched: bool = True,
    ) -> str:
        at(started)
        run_id, root = new_run_id(), settings.lakehouse
        present = rows if rows is not None else list(symbols)
        profiles = with_run(known_profiles(root), name, run_id)
        source = (
            symbols if isinstance(symbols, str) else {"profile": "asia.json", "symbols": symbols}
        )
        head = {"run_id": run_id, "settings": {"project": str(settings.folder)}}
        head |= {"started": started.isoformat(), "outcome": outcome, "error": "it broke"}
        if fetched and outcome != "running" and present:
            profiles |= {name: profiles[name].fetched(started)}
            append_part(root, GROUP, technicals(present, started), run_id)
            append_part(root, OHLCV_1D, scanned(present, started), run_id)
            append_part(root, LOCAL_1D, daily(LOCAL_1D, present, started), run_id)
            snapshot = head | {"request": {"source": source}, "coverage": coverage}
            snapshot |= {"known_at": started.isoformat(), "failed_symbols": {}}
            write(root, run_id, "feature_ingest.tv_technicals_1d.json", snapshot)
            loaded(settings, run_id, started)
        steps = [
            {"step": step, "status": "failed", "reason": failed[step]}
            if failed and step in failed
            else {
                "step": step,
                "status": "not run" if outcome == "running" else "done",
                "reason": "",
            }
            for step in ("data-ingest", "validate", "status")
        ]
        told = {"profile": name, "every": every and every.total_seconds(), "steps": steps}
        told |= {"profiles": plain(profiles), "request": {"source": source}}
        write(root, run_id, FLOW_FILE, head | told)
        return run_id

    return run


def scanned(symbols: list[str], event: datetime):
    table = daily(OHLCV_1D, symbols, event)
    place = table.column_names.index("source")
    return table.set_column(place, table.schema.field(place), [["scanner"] * len(symbols)])


def write(root: Lakehouse, run_id: str, name: str, document: dict[str, object]) -> None:
    write_run_file(root, run_id, name, json.dumps(document).encode())


def three_days(flow: Flow, name: str, symbols: list[str], hour: int = 0, **more) -> None:
    for day in (2, 1, 0):
        flow(name, WEDNESDAY - day * DAY - hour * HOUR, symbols, **more)


def of(report: StatusReport, name: str) -> ProfileStatus:
    return next(each for each in report.profiles if each.name == name)


def flow_problems(report: StatusReport) -> list[str]:
    """Without those of sessions, which other tests are about."""
    return [each for each in report.problems if "is missing for" not in each]


def test_each_flow_has_its_own_line(settings: Project, flow: Flow, at):
    three_days(flow, "asia", ASIA, hour=13)
    three_days(flow, "america", AMERICA, every=DAY)
    report = status(settings)
    assert flow_problems(report) == []
    assert [each.name for each in report.profiles] == ["america", "asia"]
    asia, america = of(report, "asia"), of(report, "america")
    assert (asia.state, asia.symbols, asia.every, asia.is_declared) == (State.DONE, 10, DAY, False)
    assert (america.every, america.is_declared) == (DAY, True)
    assert asia.missed_from == WEDNESDAY - 13 * HOUR + DAY + 6 * HOUR
    text = status_text(report).splitlines()
    assert any(line.split()[:2] == ["asia", "10"] and "done" in line for line in text)
    document = plain(report)["profiles"][1]
    assert (document["name"], document["every"], document["symbols"]) == ("asia", 86_400, 10)


def test_each_group_of_the_scanner_is_judged_by_its_own_coverage(settings: Project, flow: Flow):
    (settings.folder / "feature_repo" / "groups").mkdir()
    (settings.folder / "feature_repo" / "groups" / "mine.py").write_text(
        "from ingestion.catalog import Column, FeatureGroup, Scanner\n"
        "GROUP = FeatureGroup(name='mine', meaning='mine', source=Scanner(), ttl='4d',\n"
        "    features=[Column('beta_1_year', meaning='beta over a year')])\n"
    )
    run_id = flow("asia", WEDNESDAY, ASIA)
    receipt = json.loads(
        run_file(settings.lakehouse, run_id, "feature_ingest.tv_technicals_1d.json").read()
    )
    receipt |= {"group": "mine", "coverage": 0.4}
    write(settings.lakehouse, run_id, "feature_ingest.mine.json", receipt)
    report = status(settings)
    coverage = {"tv_technicals_1d": 1.0, "mine": 0.4}
    assert of(report, "asia").coverage == coverage
    assert {each.view: each.coverage for each in report.demands} == coverage | {"local_1d": None}
    assert {each.view: each.coverage for each in report.groups} == coverage | {"local_1d": None}
    assert any("asia: mine covers 40.0%" in problem for problem in report.problems)


def test_a_failure_is_said_also_after_another_flows_success(settings: Project, flow: Flow):
    reason = "no rows came from the scanner"
    run_id = flow(
        *("asia", WEDNESDAY - 13 * HOUR, ASIA),
        **{"failed": {"data-ingest": reason}, "outcome": "failed", "fetched": False},
    )
    flow("america", WEDNESDAY, AMERICA)
    (problem,) = flow_problems(status(settings))
    assert "'asia' failed at 2026-01-14 08:30 UTC: data-ingest: no rows came" in problem
    assert run_id in problem
    flow("asia", WEDNESDAY + HOUR, ASIA)
    assert flow_problems(status(settings)) == []


def test_a_flow_that_failed_before_its_first_step_says_why(settings: Project, flow: Flow):
    flow("asia", WEDNESDAY, ASIA, outcome="failed", fetched=False)
    problems = flow_problems(status(settings))
    assert any("'asia' failed at 2026-01-14 21:30 UTC: it broke" in each for each in problems)


def test_what_the_last_step_finds_elsewhere_is_no_failure_of_the_flow(
    settings: Project, flow: Flow
):
    """Two flows that each blame the other would never be done."""
    three_days(flow, "america", AMERICA, outcome="refused", failed={"status": "asia did not run"})
    assert of(status(settings), "america").state is State.DONE


def test_a_killed_flow_says_so_and_a_running_one_is_none(settings: Project, flow: Flow):
    run_id = flow("asia", WEDNESDAY, ASIA, outcome="running")
    flow("america", WEDNESDAY, AMERICA)
    with lakehouse_lock(settings.lakehouse, run_id):
        assert of(status(settings), "asia").state is State.RUNNING
    with lakehouse_lock(settings.lakehouse, "another"):
        assert of(status(settings), "asia").state is State.KILLED
    report = status(settings)
    assert of(report, "asia").state is State.KILLED
    (problem,) = [each for each in flow_problems(report) if "killed" in each]
    assert "'asia' was killed before its first step was done" in problem
    assert "--forget asia" in problem


@pytest.mark.parametrize(
    ("later", "absent"),
    [
        (DAY + 6 * HOUR, False),
        (DAY + 6 * HOUR + timedelta(seconds=1), True),
        (60 * DAY, True),
    ],
)
def test_a_flow_that_does_not_start_again_is_absent(
    settings: Project, flow: Flow, at, later: timedelta, absent: bool
):
    three_days(flow, "america", AMERICA)
    at(WEDNESDAY + later)
    report = status(settings)
    assert of(report, "america").is_absent is absent
    assert any("'america' did not run" in each for each in report.problems) is absent


def test_an_absent_flow_is_said_after_another_flows_success(settings: Project, flow: Flow, at):
    three_days(flow, "asia", ASIA, hour=13)
    three_days(flow, "america", AMERICA)
    flow("america", WEDNESDAY + DAY, AMERICA)
    (problem,) = flow_problems(status(settings))
    assert "'asia' did not run: it last started at 2026-01-14 08:30 UTC" in problem


@pytest.mark.parametrize(
    ("weekend", "absent"),
    [
        (EVENING + 2 * DAY, False),
        (EVENING + 3 * DAY, False),  # the holiday's evening
        (EVENING + 4 * DAY + 6 * HOUR, False),
        (EVENING + 4 * DAY + 7 * HOUR, True),
    ],
)
def test_a_flow_of_weekdays_is_not_missed_on_a_weekend(
    settings: Project, flow: Flow, at, weekend: datetime, absent: bool
):
    for day in (2, 1, 0):
        flow("america", EVENING - day * DAY, [*AMERICA, "BINANCE:BTCUSDT"])
    at(weekend)
    assert of(status(settings), "america").is_absent is absent


def test_an_hourly_flow_of_coins_is_missed_within_the_hour(settings: Project, flow: Flow, at):
    for hour in (3, 2, 1, 0):
        flow("coins", WEDNESDAY - hour * HOUR, ["BINANCE:BTCUSDT"], every=HOUR)
    at(WEDNESDAY + HOUR + timedelta(minutes=15))
    assert not of(status(settings), "coins").is_absent
    at(WEDNESDAY + HOUR + timedelta(minutes=16))
    assert of(status(settings), "coins").is_absent


def test_a_second_line_of_the_crontab_is_no_second_rhythm(settings: Project, flow: Flow, at):
    """It finds nothing to do: the hour between the two is no rhythm."""
    for day in (3, 2, 1, 0):
        flow("america", WEDNESDAY - day * DAY, AMERICA)
        flow("america", WEDNESDAY - day * DAY + HOUR, AMERICA, fetched=False)
    report = status(settings)
    assert of(report, "america").every == DAY
    at(WEDNESDAY + HOUR + 20 * HOUR)
    assert not of(status(settings), "america").is_absent


def test_a_flow_is_expected_after_three_runs(settings: Project, flow: Flow, at):
    flow("once", WEDNESDAY - 2 * DAY, ["NYSE:X"])
    flow("once", WEDNESDAY - DAY, ["NYSE:X"])
    three_days(flow, "america", AMERICA)
    at(WEDNESDAY + 10 * HOUR)
    report = status(settings)
    assert not of(report, "once").is_expected
    assert flow_problems(report) == []
    flow("once", WEDNESDAY + 11 * HOUR, ["NYSE:X"])
    assert of(status(settings), "once").is_expected


def test_a_forgotten_flow_is_expected_again_after_three_more_runs(
    settings: Project, flow: Flow, at
):
    three_days(flow, "asia", ASIA, hour=13)
    three_days(flow, "america", AMERICA)
    flow("america", WEDNESDAY + DAY, AMERICA)
    assert flow_problems(status(settings))
    forget_profiles(settings, ("asia",))
    report = status(settings)
    assert [each.name for each in report.profiles] == ["america"]
    assert flow_problems(report) == []
    flow("america", WEDNESDAY + 2 * DAY, AMERICA)  # which takes it out of the table
    assert [each.name for each in status(settings).profiles] == ["america"]
    flow("asia", WEDNESDAY + 2 * DAY + HOUR, ASIA)
    assert not of(status(settings), "asia").is_expected


def test_what_is_not_known_cannot_be_forgotten(settings: Project, flow: Flow):
    with pytest.raises(InputError, match="no flow has run yet"):
        forget_profiles(settings, ("asia",))
    flow("america", WEDNESDAY, AMERICA)
    with pytest.raises(InputError, match="no profile 'asia': there are america"):
        forget_profiles(settings, ("asia",))


def test_stale_and_missing_symbols_are_those_of_each_flow(settings: Project, flow: Flow, at):
    """Of Asia's ten symbols two are missing; among all twenty they would be inside the limit."""
    three_days(flow, "america", AMERICA)
    for day in (2, 1, 0):
        flow("asia", WEDNESDAY - day * DAY + HOUR, [*ASIA[:8], "TSE:1", "TSE:2"], rows=ASIA[:8])
    report = status(settings)
    (problem,) = [each for each in report.problems if "symbols, more than" in each]
    assert problem.startswith("asia: tv_technicals_1d: 0 stale and 2 missing of 10 symbols")
    group = next(each for each in report.groups if each.view == GROUP.name)
    assert (group.asked, group.missing) == (20, ("TSE:1", "TSE:2"))


def test_a_symbol_of_two_flows_is_stale_for_both(settings: Project, flow: Flow, at):
    for day in (6, 5, 4):
        flow("old", WEDNESDAY - day * DAY, [*AMERICA[:4], "NYSE:BOTH"])
    three_days(flow, "new", [*AMERICA[4:], "NYSE:BOTH"], rows=AMERICA[4:])
    at(WEDNESDAY + HOUR)
    report = status(settings)
    stale = {(each.flow, each.view): each.stale for each in report.demands}
    assert "NYSE:BOTH" in stale["old", GROUP.name]
    assert stale["new", GROUP.name] == ("NYSE:BOTH",)


def test_coverage_is_that_of_each_flow(settings: Project, flow: Flow):
    three_days(flow, "asia", ASIA, hour=1, coverage=0.9)
    three_days(flow, "america", AMERICA)
    (problem,) = flow_problems(status(settings))
    assert problem == "asia: tv_technicals_1d covers 90.0%, less than 95.0%"


def test_a_market_wants_what_was_seen_on_its_exchanges(settings: Project, flow: Flow, at):
    three_days(flow, "asia", ASIA, hour=13)
    for day in (2, 1, 0):
        flow("america", WEDNESDAY - day * DAY, "america", rows=AMERICA if day else AMERICA[:9])
    report = status(settings)
    assert of(report, "america").symbols == 10
    demand = {each.flow: each for each in report.demands if each.view == GROUP.name}
    assert (demand["america"].stale, demand["asia"].asked) == ((), 10)
    at(WEDNESDAY + 4 * DAY - HOUR)
    assert status(settings).demands[0].stale == (AMERICA[9],)


def test_to_the_flow_that_asks_the_trouble_of_others_is_a_warning(settings: Project, flow: Flow):
    three_days(flow, "asia", ASIA, hour=13)
    three_days(flow, "america", AMERICA)
    flow("america", WEDNESDAY + DAY, AMERICA)
    report = status(settings, profile="america")
    assert flow_problems(report) == []
    assert any("'asia' did not run" in each for each in report.warnings)
    assert any("'asia' did not run" in each for each in status(settings, profile="asia").problems)


def test_five_thousand_runs_are_not_read(
    settings: Project, flow: Flow, monkeypatch: pytest.MonkeyPatch
):
    """An old receipt that cannot be read would be told."""
    for number in range(50):
        write_run_file(settings.lakehouse, f"20200101T000000Z-{number:06}", FLOW_FILE, b"{")
    three_days(flow, "asia", ASIA, hour=13)
    three_days(flow, "america", AMERICA)
    assert flow_problems(status(settings)) == []


def test_a_damaged_receipt_of_a_flow_is_told_and_the_one_before_it_counts(
    settings: Project, flow: Flow
):
    three_days(flow, "asia", ASIA, hour=13)
    run_id = flow("asia", WEDNESDAY, ASIA)
    write_run_file(settings.lakehouse, run_id, FLOW_FILE, b"{")
    report = status(settings)
    assert of(report, "asia").started == WEDNESDAY - 13 * HOUR
    assert any(run_id in problem and "cannot be read" in problem for problem in report.problems)


def test_files_of_one_name_in_two_folders_are_two_profiles(settings: Project, tmp_path: Path):
    inside = settings.folder / "asia" / "candidates.json"
    assert default_name(settings, inside) == "asia/candidates.json"
    assert default_name(settings, settings.folder / "asia" / ".." / "x.json") == "x.json"
    assert default_name(settings, tmp_path / "x.json") == str(tmp_path / "x.json")
    assert default_name(settings, "america") == "america"
