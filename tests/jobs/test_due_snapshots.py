"""A snapshot is of the symbols for which its group is due; its receipt counts the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from scanned_rows import bar, instant, showing

from ingestion.base.errors import InputError
from ingestion.jobs.flow import flow_data
from ingestion.jobs.ingest.feature_ingest import (
    FeatureIngestRequest,
    FeatureIngestResult,
    feature_ingest,
)
from ingestion.jobs.ingest.needed import NotDue
from ingestion.markets.candidates import Candidates
from ingestion.markets.universe import Market
from ingestion.project import Project
from ingestion.replay import ReplayScanner
from tests.conftest import QUICK
from tests.jobs.test_chosen_groups import choose

APPLE, IBM, TOYOTA, COIN, GONE = (
    *("NASDAQ:AAPL", "NYSE:IBM", "TSE:7203"),
    *("BINANCE:BTCUSDT", "NASDAQ:GONE"),
)
SERVED = (APPLE, IBM, TOYOTA, COIN)
Ingest = Callable[..., FeatureIngestResult]


@pytest.fixture
def ingest(settings: Project, scanner: ReplayScanner, at: Callable[[datetime], None]) -> Ingest:
    """Ask for a group of some symbols, or of a market, at an instant of January 2026."""

    def run(when: str, *symbols: str, market: str | None = None, **more) -> FeatureIngestResult:
        now = instant(f"2026-01-{when}")
        at(now)
        scanner.panel = showing(*(bar(each, None, 10.0, UO=50.0) for each in SERVED))
        scanner.requests.clear()
        source = Market(market) if market else Candidates("some.json", symbols, (), 0)
        more = {"min_coverage": 0.5, "scanner": QUICK} | more
        return feature_ingest(settings, FeatureIngestRequest(source, group="mine", **more))

    (settings.feast_repository / "groups").mkdir(exist_ok=True)
    declare(settings, 'cadence="daily", market_hours="closed"')
    return run


def declare(project: Project, when: str) -> None:
    (project.feast_repository / "groups" / "mine.py").write_text(
        "from ingestion.catalog import Column, FeatureGroup, Scanner\n"
        'GROUP = FeatureGroup(name="mine", meaning="m", source=Scanner(), ttl="10d", '
        f'features=[Column("UO", meaning="u")], {when})\n'
    )
    choose(project, ["tv_technicals_1d", "local_1d", "mine"])


def asked_for(scanner: ReplayScanner) -> set[str]:
    bodies = [each.body for each in scanner.requests if each.path.endswith("/scan")]
    return {symbol for body in bodies for symbol in body["symbols"]["tickers"]}


def test_symbols_whose_market_is_open_are_not_asked_and_not_missing(
    ingest: Ingest, scanner: ReplayScanner
):
    result = ingest("15T16:00", APPLE, IBM, TOYOTA, COIN)  # New York trades, Tokyo has closed
    assert asked_for(scanner) == {TOYOTA, COIN}
    report = result.report
    assert (report.asked, report.fetched, report.not_due, report.coverage) == (2, 2, 2, 1)
    assert str(report) == "coverage 100.0% (2 of 2 symbols); 2 not due"
    document = json.loads(result.receipt.path.read_bytes())
    assert (document["asked"], document["not_due"], document["verdict"]) == (2, 2, "publish")

    later = ingest("15T21:40", APPLE, IBM, TOYOTA, COIN)
    assert asked_for(scanner) == {APPLE, IBM}
    assert (later.report.asked, later.report.resumed, later.report.coverage) == (4, 2, 1)


def test_a_symbol_of_two_flows_is_asked_for_once(ingest: Ingest, scanner: ReplayScanner):
    ingest("15T21:40", APPLE, IBM)
    ingest("15T22:00", APPLE, TOYOTA)
    assert asked_for(scanner) == {TOYOTA}


def test_a_group_of_which_nothing_is_due_asks_nothing_and_leaves_no_receipt(
    settings: Project, ingest: Ingest, scanner: ReplayScanner
):
    ingest("15T21:40", APPLE, IBM)
    runs = len(list(settings.lakehouse_at.glob("_runs/*")))
    with pytest.raises(NotDue, match="mine is not due: it is asked daily, market closed"):
        ingest("15T22:40", APPLE, IBM)
    assert scanner.requests == []
    assert len(list(settings.lakehouse_at.glob("_runs/*"))) == runs
    again = ingest("15T22:50", APPLE, IBM, refresh=True)
    assert (again.report.fetched, asked_for(scanner)) == (2, {APPLE, IBM})


def test_a_symbol_that_the_scanner_does_not_know_is_not_asked_in_each_run(
    ingest: Ingest, scanner: ReplayScanner
):
    first = ingest("15T21:40", APPLE, GONE)
    assert (first.report.asked, first.report.absent) == (2, (GONE,))
    with pytest.raises(NotDue):
        ingest("15T22:40", APPLE, GONE)
    second = ingest("15T23:40", APPLE, GONE, IBM)  # one more candidate
    assert asked_for(scanner) == {IBM}
    assert (second.report.asked, second.report.resumed, second.report.not_due) == (2, 1, 1)
    ingest("16T21:40", APPLE, GONE)
    assert asked_for(scanner) == {APPLE, GONE}


def test_a_symbol_that_failed_is_asked_for_again(ingest: Ingest, scanner: ReplayScanner):
    scanner.spoiled = {IBM: "text-value"}
    first = ingest("15T21:40", APPLE, IBM)
    assert list(first.report.failed_symbols) == [IBM]
    scanner.spoiled = {}
    second = ingest("15T22:40", APPLE, IBM)
    assert asked_for(scanner) == {IBM}
    assert (second.report.fetched, second.report.resumed, second.report.coverage) == (1, 1, 1)


def test_a_market_is_read_once_in_each_period(
    settings: Project, ingest: Ingest, scanner: ReplayScanner
):
    declare(settings, 'cadence="daily"')
    first = ingest("15T08:05", market="america")
    assert (first.report.asked, first.report.fetched) == (4, 4)
    for hour in ("09:05", "23:05"):
        with pytest.raises(NotDue):
            ingest(f"15T{hour}", market="america")
        assert scanner.requests == []
    assert ingest("16T02:05", market="america").report.fetched == 4


def test_of_a_market_those_are_kept_that_are_due(
    settings: Project, ingest: Ingest, scanner: ReplayScanner
):
    result = ingest("15T16:00", market="america")
    report = result.report
    assert (report.asked, report.fetched, report.not_due, report.coverage) == (2, 2, 2, 1)
    later = ingest("15T21:40", market="america")
    assert (later.report.fetched, later.report.resumed, later.report.coverage) == (2, 2, 1)


def test_a_weekly_group_of_a_flow_of_each_day_is_asked_once_a_week(
    settings: Project, ingest: Ingest, scanner: ReplayScanner
):
    declare(settings, 'cadence="weekly", market_hours="closed"')
    fetched = []
    for day in range(5, 24):  # the 5th is a Monday
        try:
            fetched += [day] if ingest(f"{day:02}T21:40", APPLE).part else []
        except NotDue:
            continue
    assert fetched == [5, 12, 19]


def test_a_flow_names_its_groups_by_names_that_there_are(settings: Project):
    request = FeatureIngestRequest(Candidates("some.json", (APPLE,), (), 0), scanner=QUICK)
    with pytest.raises(InputError, match="nothing_like_it"):
        flow_data(settings, request, groups=["nothing_like_it"])
    with pytest.raises(InputError, match="local_1d do not come from the scanner"):
        flow_data(settings, request, groups=["local_1d"], every=timedelta(days=1))
