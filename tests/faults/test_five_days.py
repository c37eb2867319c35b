"""Five days of two flows, Asia's and America's, in processes: ``status`` is right after each step.

One evening is lost, one flow is killed, and the online store is deleted once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.replay import FaultPlan, Panel, ReplayScanner
from ingestion.sessions import session_bounds
from ingestion.workspace import make_workspace
from tests.conftest import MONDAY, SAMPLE
from tests.faults.processes import KILLED, Ended, Forge, Running
from tests.faults.processes import Command as TvfeastCommand

pytestmark = pytest.mark.faults

AMERICA = ["NASDAQ:AAPL", "NASDAQ:AMZN", "NASDAQ:COST", "NASDAQ:CSCO", "NASDAQ:FB"]
ASIA = [f"TSE:{number}" for number in range(7201, 7206)]
TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = (MONDAY + timedelta(days=day) for day in range(1, 5))
MORNING = timedelta(hours=-14)
"""From New York's evening, 21:30 UTC, back to Tokyo's afternoon, 07:30 UTC."""
BARS = 120
QUICKLY = ("--backoff", "0.01", "--read-timeout", "10", "--retries", "1", "--every", "1d")


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

    folder: Path
    scanner: ReplayScanner
    forge: Forge
    at: datetime = MONDAY
    project: Path = field(init=False)

    def __post_init__(self) -> None:
        self.project = make_workspace(self.folder / "project")
        self.scanner.now = lambda: self.at
        for name, symbols in (("asia", ASIA), ("america", AMERICA)):
            (self.folder / f"{name}.json").write_text(json.dumps(symbols))

    @property
    def online(self) -> Path:
        return self.project / "data" / "online.db"

    def start(self, *words: object) -> Running:
        variables = {
            "TVFEAST_PROJECT": str(self.project),
            "TVFEAST_SCANNER_URL": self.scanner.url,
            "TVFEAST_NOW": self.at.isoformat(),
        }
        return self.forge.start(TvfeastCommand(*words), variables)

    def run(self, *words: object) -> Ended:
        return self.start(*words).wait()

    def flow(self, name: str, at: datetime) -> Ended:
        self.at = at
        return self.run(*self.words(name))

    def words(self, name: str) -> tuple[object, ...]:
        candidates = self.folder / f"{name}.json"
        return "flow-data", "--profile", name, "--candidates", candidates, *QUICKLY

    def kill(self, name: str, at: datetime, after: str) -> None:
        """Start a flow, and kill it once a step of it is done."""
        self.at = at
        before = set(self.receipts())
        running = self.start(*self.words(name))
        while not any(done(path, after) for path in set(self.receipts()) - before):
            running.sleep(0.005)
        running.kill()
        assert running.wait().code == KILLED

    def receipts(self) -> Iterator[Path]:
        return (self.project / "data" / "lakehouse" / "_runs").glob("*/flow_data.json")

    def status(self, at: datetime | None = None) -> Status:
        self.at = at or self.at
        text, document = self.run("status"), self.run("status", "--json")
        assert text.code == document.code
        return Status(document.code, document.json, text.out)


@dataclass(frozen=True)
class Status:
    code: int
    document: dict[str, Any]
    text: str

    @property
    def problems(self) -> list[str]:
        problems: list[str] = self.document["problems"]
        return problems

    @property
    def states(self) -> dict[str, str]:
        return {each["name"]: each["state"] for each in self.document["profiles"]}


def done(path: Path, step: str) -> bool:
    try:
        steps = json.loads(path.read_bytes())["steps"]
    except (OSError, ValueError):
        return False
    return any(each["step"] == step and each["status"] == "done" for each in steps)


@pytest.fixture
def operation(tmp_path: Path) -> Iterator[Operation]:
    (tmp_path / "processes").mkdir()
    with ReplayScanner(panel(), record=False) as scanner:
        yield Operation(tmp_path, scanner, Forge(tmp_path / "processes"))


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
            ended = operation.flow(name, at)
            assert ended.code == 0, ended
            told = operation.status()
            assert (told.code, told.problems) == (0, [])
            assert set(told.states.values()) == {"done"}
    assert {each["name"]: each["symbols"] for each in told.document["profiles"]} == {
        "asia": 5,
        "america": 5,
    }


def an_evening_is_lost(operation: Operation) -> None:
    """The scanner answers America with 502 all the evening; the others go on."""
    assert operation.flow("asia", WEDNESDAY + MORNING).code == 0
    operation.scanner.plan = FaultPlan.parse(["server-error@1"])
    ended = operation.flow("america", WEDNESDAY)
    operation.scanner.plan = FaultPlan()
    assert ended.code == 4, ended
    told = operation.status()
    assert (told.code, told.states) == (3, {"asia": "done", "america": "failed"})
    assert any("'america' failed at 2021-04-14 21:30" in each for each in told.problems)

    # Asia's success is no America's.
    ended = operation.flow("asia", THURSDAY + MORNING)
    told = operation.status()
    assert (told.code, told.states) == (3, {"asia": "done", "america": "failed"})
    assert any("'america' failed at 2021-04-14 21:30" in each for each in told.problems)

    # The next evening is well, and the lost one a hole.
    ended = operation.flow("america", THURSDAY)
    assert ended.code == 3, ended
    told = operation.status()
    assert told.states == {"asia": "done", "america": "done"}
    (hole,) = told.problems
    assert "2021-04-14 is missing for 5 symbols" in hole
    market = hole.split()[0]
    reason = ("--reason", "outage of the scanner")
    assert operation.run("accept-hole", market, "2021-04-14", *reason).code == 0
    told = operation.status()
    assert (told.code, told.problems) == (0, [])
    assert "outage of the scanner" in told.text


def the_online_store_is_deleted(operation: Operation) -> None:
    operation.online.unlink()
    told = operation.status()
    assert told.code == 3
    assert told.problems == [
        f"{operation.online} is missing, so nothing is served: run `tvfeast rebuild`"
    ]
    assert not operation.online.exists()
    assert operation.run("rebuild").code == 0
    told = operation.status()
    assert (told.code, told.problems) == (0, [])
    views = {each["view"]: each["valid"] for each in told.document["stores"]["views"]}
    assert views == {"tv_technicals_1d": 10, "local_1d": 10}


def a_flow_is_killed(operation: Operation) -> None:
    operation.kill("asia", FRIDAY + MORNING, after="data-ingest")
    told = operation.status()
    assert (told.code, told.states["asia"]) == (3, "killed")
    assert any("'asia' was killed after" in each for each in told.problems)

    # Also after America's success.
    operation.flow("america", FRIDAY)
    told = operation.status()
    assert (told.code, told.states) == (3, {"asia": "killed", "america": "done"})
    (problem,) = told.problems
    assert "'asia' was killed after" in problem

    ended = operation.flow("asia", FRIDAY + timedelta(minutes=30))
    assert ended.code == 0, ended
    told = operation.status()
    assert (told.code, told.problems) == (0, [])


def nobody_works_on_a_weekend(operation: Operation) -> None:
    for days in (1, 2):
        told = operation.status(FRIDAY + timedelta(days=days, hours=10))
        assert (told.code, told.problems) == (0, [])


def both_flows_stay_away_and_one_is_given_up(operation: Operation) -> None:
    """Monday is lost altogether; on Tuesday's morning, at six, a monitor looks."""
    told = operation.status(FRIDAY + timedelta(days=4, hours=-15, minutes=-30))
    assert told.code == 3
    absent = [each for each in told.problems if "did not run" in each]
    assert {each.split("'")[1] for each in absent} == {"asia", "america"}
    assert operation.run("status", "--forget", "asia").code == 0
    told = operation.status()
    assert told.states == {"america": "done"}
    absent = [each for each in told.problems if "did not run" in each]
    assert {each.split("'")[1] for each in absent} == {"america"}
