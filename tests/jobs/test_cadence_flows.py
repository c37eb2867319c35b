"""Four flows a day in one lakehouse, each with its own candidates; the schedule is by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from scanned_rows import bar, showing

from ingestion.cli.status import status_text
from ingestion.jobs.audit.status import status
from ingestion.jobs.flow import FlowResult, flow_data
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest
from ingestion.jobs.steps import Status
from ingestion.markets.candidates import Candidates
from ingestion.project import Project
from ingestion.replay import ReplayScanner
from tests.conftest import QUICK
from tests.jobs.test_chosen_groups import choose

HOUR = timedelta(hours=1)
FLOWS = {
    "asia": ("TSE:7203", "TSE:6758"),
    "europe": ("XETR:SAP", "XETR:SIE"),
    "america": ("NASDAQ:AAPL", "NYSE:IBM"),
    "coins": ("BINANCE:BTCUSDT", "BINANCE:ETHUSDT"),
}
OPENS = {"TSE": 0, "XETR": 7, "NASDAQ": 13.5, "NYSE": 13.5, "BINANCE": 0}
"""In summer, hours of UTC."""
HOLIDAY = date(2026, 6, 19)
"""A Friday: New York is closed."""
GROUPS = """
from ingestion.catalog import Column, FeatureGroup, Scanner

def group(name, feature, ttl, **when):
    return FeatureGroup(name=name, meaning="m", source=Scanner(), ttl=ttl,
                        features=[Column(feature, meaning="f")], **when)

OFTEN = group("often", "ATR", "4d", cadence="hourly")
EVENING = group("evening", "UO", "5d", cadence="daily", market_hours="closed")
SELDOM = group("seldom", "SMA20", "10d", cadence="weekly")
"""
COLUMN = {"often": "ATR", "evening": "UO", "seldom": "SMA20", "tv_technicals_1d": "RSI"}


def at_hour(day: int, hour: int, minute: int) -> datetime:
    return datetime(2026, 6, day, hour, minute, tzinfo=UTC)


def opened(symbol: str, now: datetime) -> datetime:
    """When the last session of a symbol began."""
    exchange = symbol.partition(":")[0]
    midnight = now.replace(hour=0, minute=0)
    while True:
        opens = midnight + OPENS[exchange] * HOUR
        shut = exchange != "BINANCE" and (
            opens.weekday() > 4 or (exchange.startswith("N") and opens.date() == HOLIDAY)
        )
        if opens <= now and not shut:
            return opens
        midnight -= timedelta(days=1)


@pytest.fixture
def several(settings: Project) -> Project:
    (settings.feast_repository / "groups").mkdir(exist_ok=True)
    (settings.feast_repository / "groups" / "several.py").write_text(GROUPS)
    choose(settings, ["tv_technicals_1d", "local_1d", "often", "evening", "seldom"])
    return settings


Run = Callable[..., tuple[FlowResult, set[str]]]


@pytest.fixture
def run(several: Project, scanner: ReplayScanner, at: Callable[[datetime], None]) -> Run:
    """Run one of the flows; returns it, and the groups whose columns it has asked for."""

    def started(name: str, now: datetime, **more: Any) -> tuple[FlowResult, set[str]]:
        at(now)
        every = HOUR if name == "coins" else timedelta(days=1)
        days = (now.date() - date(2026, 6, 1)).days
        cells = {"RSI": 40.0 + days + now.hour / 10, "ATR": 1.0 + days, "UO": 50.0, "SMA20": 10.0}
        scanner.panel = showing(
            *(
                bar(symbol, opened(symbol, now).isoformat(), 10.0 + days / 100, **cells)
                for symbols in FLOWS.values()
                for symbol in symbols
            )
        )
        scanner.requests.clear()
        source = Candidates(f"{name}.json", FLOWS[name], (), 0)
        flow = flow_data(
            several,
            FeatureIngestRequest(source, scanner=QUICK),
            profile=name,
            every=every,
            **more,
        )
        asked = {column for each in scanner.requests for column in (each.body or {})["columns"]}
        return flow, {group for group, column in COLUMN.items() if column in asked}

    return started


def snapshots(flow: FlowResult) -> dict[str, dict[str, Any]]:
    """The receipts of a flow's snapshots that have rows, by group."""
    folder = flow.receipt.path.parent
    told = (json.loads(path.read_bytes()) for path in folder.glob("feature_ingest.*.json"))
    return {each["group"]: each for each in told if each["fetched"]}


EACH, DAILY, ALL = ("tv_technicals_1d", "often"), ("evening",), tuple(COLUMN)
SCHEDULE = [
    (17, 8, 5, "coins", ALL),
    (17, 8, 35, "coins", ()),  # half an hour later
    (17, 9, 5, "coins", EACH),
    (17, 9, 10, "asia", ALL),
    (17, 16, 30, "europe", ALL),
    (17, 21, 40, "america", ALL),
    (18, 21, 40, "america", EACH + DAILY),
    (19, 8, 5, "coins", EACH + DAILY),
    (19, 9, 10, "asia", EACH + DAILY),
    (19, 16, 30, "europe", EACH + DAILY),
    (19, 21, 40, "america", EACH),  # a holiday: no session since the evening before
    (20, 8, 5, "coins", EACH + DAILY),  # a Saturday
    (24, 9, 10, "asia", ALL),  # a week later
]


def test_several_flows_a_day_take_what_is_due_of_their_own_candidates(several: Project, run: Run):
    for day, hour, minute, name, due in SCHEDULE:
        flow, asked = run(name, at_hour(day, hour, minute))
        assert asked == set(due), (day, hour, name)
        told = snapshots(flow)
        assert told.keys() == set(due)
        for receipt in told.values():
            assert (receipt["asked"], receipt["coverage"], receipt["not_due"]) == (2, 1, 0)
        assert flow["validate"].result.refused == {}
        assert flow["verify --online"].status is Status.DONE
        if day == 20:
            report = status(several)
            shown = {line.split()[0]: line for line in status_text(report).splitlines()[2:7]}
            marked = {name for name, line in shown.items() if "not due" in line}
            assert marked == {"evening", "seldom"}
    late = [each.label for each in report.demands if each.stale or each.missing]
    assert [label for label in late if "local_1d" not in label] == []
    shown = {(each.flow, each.view): each.coverage for each in report.demands}
    # Of the four flows only two have run often enough to be expected.
    assert {shown[flow, view] for flow in ("america", "coins") for view in COLUMN} == {1.0}


def test_a_flow_asks_for_the_groups_that_it_names_and_is_not_late_with_the_others(
    several: Project, run: Run
):
    flow, asked = run("asia", at_hour(17, 9, 10), groups=["often", "tv_technicals_1d"])
    assert asked == {"often", "tv_technicals_1d"}
    assert [step.name for step in flow.steps if step.group] == [
        "feature-ingest often",
        "feature-ingest",
    ]
    document = json.loads(flow.receipt.path.read_bytes())
    assert document["groups"] == ["often", "tv_technicals_1d"]
    assert [each.view for each in status(several).demands if each.missing] == []
