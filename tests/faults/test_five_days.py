"""Five days of two flows, Asia's and America's: ``status`` is right after each step.

One evening is lost, one flow is killed, and the online store is deleted once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.base.errors import NothingFetched
from ingestion.base.plain import plain
from ingestion.cli.status import status_text
from ingestion.jobs.audit.status import StatusReport, status
from ingestion.jobs.flow import FlowResult, flow_data
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest
from ingestion.jobs.ingest.missing_sessions import accept_hole
from ingestion.jobs.profiles import forget_profiles
from ingestion.jobs.serve.rebuild import rebuild
from ingestion.jobs.workspace import make_workspace
from ingestion.markets.candidates import read_candidates
from ingestion.markets.sessions import session_bounds
from ingestion.project import Project
from ingestion.replay import FaultPlan, Panel, ReplayScanner
from tests.conftest import MONDAY, QUICK, SAMPLE
from tests.processes import KILLED, Command, Forge, Running, project_of

pytestmark = pytest.mark.faults

AMERICA = ["NASDAQ:AAPL", "NASDAQ:AMZN", "NASDAQ:COST", "NASDAQ:CSCO", "NASDAQ:FB"]
ASIA = [f"TSE:{number}" for number in range(7201, 7206)]
TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = (MONDAY + timedelta(days=day) for day in range(1, 5))
MORNING = timedelta(hours=-14)
"""From New York's evening, 21:30 UTC, back to Tokyo's afternoon, 07:30 UTC."""
BARS = 120
DAY = timedelta(days=1)


def panel() -> Panel:
    """Five American symbols, and the same bars in Tokyo's sessions under other names."""
    bars = pq.read_table(SAMPLE / "bars.parquet")
    sessions = [
        bounds[0]
        for day in range(300)
        if (bounds := session_bounds("TSE", date(2021, 4, 19) - timedelta(days=day))) is not None
    ][:BARS][::-1]
    tables = []
    for american, asian in zip(AMERICA, ASIA, strict=True):
        own = bars.filter(pc.equal(bars["symbol"], american)).sort_by("timestamp")
        own = own.filter(pc.less(own["timestamp"], int(datetime(2021, 4, 20).timestamp())))
        own = own.slice(own.num_rows - BARS)
        tables.append(own)
        renamed = own.set_column(
            own.column_names.index("symbol"), "symbol", pa.array([asian] * own.num_rows)
        )
        opens = pa.array(np.array(sessions, np.int64))
        place = own.column_names.index("timestamp")
        tables.append(renamed.set_column(place, "timestamp", opens))
    about = {"type": "stock", "description": "made for a test"}
    symbols = {symbol: about | {"market": "america", "currency": "USD"} for symbol in AMERICA}
    symbols |= {symbol: about | {"market": "japan", "currency": "JPY"} for symbol in ASIA}
    return Panel.from_bars(pa.concat_tables(tables), symbols)


@dataclass
class Operation:
    """A project with two flows, and the hands that run it."""

    settings: Project
    scanner: ReplayScanner
    forge: Forge
    set_now: Callable[[datetime], None]
    at: datetime = MONDAY

    def now(self, at: datetime) -> None:
        self.at = at
        self.set_now(at)

    @property
    def online(self) -> Path:
        return self.settings.folder / "data" / "online.db"

    def candidates(self, name: str) -> Path:
        return self.settings.folder / f"{name}.json"

    def flow(self, name: str, at: datetime) -> FlowResult:
        self.now(at)
        candidates = read_candidates(self.candidates(name))
        request = FeatureIngestRequest(candidates, scanner=replace(QUICK, retries=1))
        return flow_data(self.settings, request, profile=name, every=DAY)

    def kill(self, name: str, at: datetime, after: str) -> None:
        """Start a flow in a process of its own, and kill it once a step of it is done."""
        self.now(at)
        before = set(self.receipts())
        words = ("flow-data", "--profile", name, "--candidates", self.candidates(name))
        running = self.start(*words, "--every", "1d")
        while not any(done(path, after) for path in set(self.receipts()) - before):
            running.sleep(0.005)
        running.kill()
        assert running.wait().code == KILLED

    def receipts(self) -> Iterator[Path]:
        return (self.settings.lakehouse_at / "_runs").glob("*/flow_data.json")

    def start(self, *words: object) -> Running:
        return self.forge.start(Command(*words), project_of(self.settings, self.at))

    def status(self) -> StatusReport:
        """Look, and hold what is said to people and machines to what was found."""
        report = status(self.settings)
        told, document = status_text(report), plain(report)
        assert told.count("PAST ITS LIMIT") == len(report.problems)
        assert document["passed"] is (report.problems == ())
        for each in report.profiles:
            assert f"\n{each.name} " in told
        return report


def states(report: StatusReport) -> dict[str, str]:
    return {each.name: each.state.value for each in report.profiles}


def absent(report: StatusReport) -> set[str]:
    told = [each for each in report.problems if "did not run" in each]
    assert len(told) == sum(each.is_absent for each in report.profiles)
    return {each.split("'")[1] for each in told}


def done(path: Path, step: str) -> bool:
    try:
        steps = json.loads(path.read_bytes())["steps"]
    except (OSError, ValueError):
        return False
    return any(each["step"] == step and each["status"] == "done" for each in steps)


@pytest.fixture
def operation(
    tmp_path: Path,
    forge: Forge,
    at: Callable[[datetime], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Operation]:
    monkeypatch.setenv("TVFEAST_PROJECT", str(make_workspace(tmp_path / "project")))
    with ReplayScanner(panel(), record=False) as scanner:
        settings = replace(Project.from_environment(), scanner_url=scanner.url)
        operation = Operation(settings, scanner, forge, at)
        for name, symbols in (("asia", ASIA), ("america", AMERICA)):
            operation.candidates(name).write_text(json.dumps(symbols))
        yield operation


def test_five_days_of_two_flows(operation: Operation):
    everything_is_well_on_the_first_days(operation)
    an_evening_is_lost(operation)
    the_online_store_is_deleted(operation)
    a_flow_is_killed(operation)
    nobody_works_on_a_weekend(operation)
    both_flows_stay_away_and_one_is_given_up(operation)


def everything_is_well_on_the_first_days(operation: Operation) -> None:
    for day in (MONDAY, TUESDAY):
        for name, at in (("asia", day + MORNING), ("america", day)):
            assert operation.flow(name, at).error is None
            report = operation.status()
            assert report.problems == ()
            assert set(states(report).values()) == {"done"}
    assert {each.name: each.symbols for each in report.profiles} == {"asia": 5, "america": 5}


def an_evening_is_lost(operation: Operation) -> None:
    """The scanner answers America with errors all the evening; the others go on."""
    assert operation.flow("asia", WEDNESDAY + MORNING).error is None
    operation.scanner.plan = FaultPlan.parse(["server-error@1"])
    flow = operation.flow("america", WEDNESDAY)
    operation.scanner.plan = FaultPlan()
    assert isinstance(flow.error, NothingFetched)
    failed = "'america' failed at 2021-04-14 21:30 UTC: data-ingest: no rows came"
    report = operation.status()
    assert states(report) == {"asia": "done", "america": "failed"}
    assert any(failed in each for each in report.problems)

    # Asia's success is not America's.
    operation.flow("asia", THURSDAY + MORNING)
    report = operation.status()
    assert states(report) == {"asia": "done", "america": "failed"}
    assert any(failed in each for each in report.problems)

    # The next evening is well, and the lost one is a hole, until it is accepted.
    operation.flow("america", THURSDAY)
    report = operation.status()
    assert states(report) == {"asia": "done", "america": "done"}
    (hole,) = report.problems
    assert "2021-04-14 is missing for 5 symbols" in hole
    lost = THURSDAY.date() - DAY
    accept_hole(operation.settings, hole.split()[0], lost, None, "outage of the scanner")
    report = operation.status()
    assert report.problems == ()
    assert "outage of the scanner" in status_text(report)


def the_online_store_is_deleted(operation: Operation) -> None:
    operation.online.unlink()
    (problem,) = operation.status().problems
    assert problem == f"{operation.online} is missing, so nothing is served: run `tvfeast rebuild`"
    assert not operation.online.exists()
    rebuild(operation.settings)
    report = operation.status()
    assert report.problems == ()
    valid = {each.view: each.valid for each in report.stores.views}
    assert valid == {"tv_technicals_1d": 10, "local_1d": 10}


def a_flow_is_killed(operation: Operation) -> None:
    operation.kill("asia", FRIDAY + MORNING, after="data-ingest")
    killed = "'asia' was killed after"
    report = operation.status()
    assert states(report)["asia"] == "killed"
    assert any(killed in each for each in report.problems)

    # Also after America's success.
    flow = operation.flow("america", FRIDAY)
    assert flow.error is None, "Asia's trouble is not America's"
    report = operation.status()
    assert states(report) == {"asia": "killed", "america": "done"}
    (problem,) = report.problems
    assert killed in problem
    ended = operation.start("status", "--json").wait()
    assert (ended.code, ended.json["problems"]) == (3, [problem])

    assert operation.flow("asia", FRIDAY + timedelta(minutes=30)).error is None
    assert operation.status().problems == ()


def nobody_works_on_a_weekend(operation: Operation) -> None:
    for hours in (10, 34, 48):  # on Saturday and on Sunday
        operation.now(FRIDAY + timedelta(hours=hours))
        assert operation.status().problems == ()


def both_flows_stay_away_and_one_is_given_up(operation: Operation) -> None:
    """Monday is lost altogether; a monitor looks at six in the morning after."""
    operation.now(FRIDAY + timedelta(days=4, hours=-15, minutes=-30))
    assert absent(operation.status()) == {"asia", "america"}
    forget_profiles(operation.settings, ("asia",))
    report = operation.status()
    assert states(report) == {"america": "done"}
    assert absent(report) == {"america"}
