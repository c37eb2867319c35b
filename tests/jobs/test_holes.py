"""A lost evening: what is said of it until it is imported or accepted."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.base.errors import InputError, NothingFetched
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.jobs.ingest.data_ingest import DataIngestResult, data_ingest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.ingest.missing_sessions import Holes, accept_hole, find_holes
from ingestion.jobs.ingest.scan import ScanRequest
from ingestion.jobs.profiles import FLOW_FILE, forget_profiles
from ingestion.lakehouse import write_run_file
from ingestion.markets.candidates import read_candidates
from ingestion.project import Project
from ingestion.replay import FaultPlan, ReplayScanner
from ingestion.runs.run import Run
from tests.conftest import MONDAY, QUICK, SAMPLE

pytestmark = pytest.mark.usefixtures("no_power_cuts")

DAY = timedelta(days=1)
LOST = date(2021, 4, 13)
STOCKS = {"NASDAQ": 22, "NYSE": 34}
COINS = {"BINANCE": 2, "COINBASE": 1}
"""Their bar of a date closes at the next midnight: an evening later."""


@pytest.fixture
def request_bars() -> ScanRequest:
    candidates = read_candidates(SAMPLE / "portfolio_candidates.json")
    return ScanRequest(candidates, scanner=replace(QUICK, retries=0))


@pytest.fixture
def history(settings: Project, tmp_path: Path) -> Project:
    """Two weeks of the sample, to the weekend, imported."""
    load(settings, tmp_path, MONDAY - 14 * DAY, MONDAY - 2 * DAY)
    return settings


def load(settings: Project, folder: Path, first: datetime, last: datetime, *symbols: str) -> None:
    bars = pq.read_table(SAMPLE / "bars.parquet")
    opened = pc.field("timestamp")
    wanted = (opened >= int(first.timestamp())) & (opened < int(last.timestamp()))
    if symbols:
        wanted &= pc.field("symbol").isin(list(symbols))
    pq.write_table(bars.filter(wanted), folder / "some.parquet")
    import_bars(settings, ImportRequest((folder / "some.parquet",)))


def evenings(
    settings: Project, request: ScanRequest, at, *days: int, hours: float = 0
) -> DataIngestResult:
    for day in days:
        at(MONDAY + day * DAY + timedelta(hours=hours))
        result = data_ingest(settings, request)
    return result


def holes(settings: Project, instant: datetime) -> Holes:
    return find_holes(settings.lakehouse, instant)


def named(found: Holes) -> dict[tuple[str, date], int]:
    return {(each.market, each.session): each.symbols for each in found.open}


def test_every_evening_there_nothing_is_missing(history, request_bars, at):
    evenings(history, request_bars, at, 0, 1, 2)
    assert named(holes(history, MONDAY + 2 * DAY)) == {}


def test_a_lost_evening_is_named_the_next_day_and_every_day_until_it_is_imported(
    history, request_bars, at, tmp_path
):
    evenings(history, request_bars, at, 0)
    evenings(history, request_bars, at, 2)
    lost = {(market, LOST): count for market, count in STOCKS.items()}
    lost |= {(market, LOST - DAY): count for market, count in COINS.items()}
    assert named(holes(history, MONDAY + 2 * DAY)) == lost
    evenings(history, request_bars, at, 3, 4)
    assert named(holes(history, MONDAY + 4 * DAY)) == lost
    load(history, tmp_path, MONDAY - DAY, MONDAY + DAY)
    assert named(holes(history, MONDAY + 4 * DAY)) == {}


def test_verify_names_it_as_a_warning(history, request_bars, at):
    evenings(history, request_bars, at, 0, 2)
    report = check_lakehouse(history)
    assert report.passed
    assert {warning.partition(" is missing")[0] for warning in report.warnings} == {
        f"{market} {session}" for market, session in named(holes(history, MONDAY + 2 * DAY))
    }
    assert all("tvfeast accept-hole" in warning for warning in report.warnings)


def test_the_newest_session_is_missing_once_its_bars_should_have_come(
    history, request_bars, at, scanner: ReplayScanner
):
    evenings(history, request_bars, at, 0)  # 90 minutes after the close
    scanner.plan = FaultPlan.parse(["server-error@1"])
    with pytest.raises(NothingFetched):
        evenings(history, request_bars, at, 1)
    late = MONDAY + DAY + timedelta(hours=1)  # a flow takes longer on one day than on another
    assert named(holes(history, late - timedelta(minutes=1))) == {}
    assert set(named(holes(history, late))) == {(market, LOST) for market in STOCKS}
    # Without another bar in between.
    assert set(named(holes(history, late + DAY))) == {
        (market, LOST + offset * DAY) for market in STOCKS for offset in (0, 1)
    }


def only(request: ScanRequest, *markets: str) -> ScanRequest:
    """Ask for the symbols of some markets alone, of the same candidates file."""
    names = tuple(s for s in request.source.symbols if s.partition(":")[0] in markets)
    return replace(request, source=replace(request.source, symbols=names))


def test_a_market_that_is_taken_out_of_the_candidates_is_not_missed(history, request_bars, at):
    evenings(history, request_bars, at, 0)
    evenings(history, only(request_bars, "NASDAQ"), at, 1)
    assert named(holes(history, MONDAY + 2 * DAY - timedelta(hours=1))) == {}
    # NASDAQ's next session is, and NYSE's is not.
    assert set(named(holes(history, MONDAY + 2 * DAY + timedelta(hours=1)))) == {
        ("NASDAQ", LOST + DAY)
    }


def test_markets_of_several_candidates_files_are_missed_each(history, request_bars, at):
    asked = [only(request_bars, market) for market in STOCKS]
    files = [
        replace(each, source=replace(each.source, profile=market))
        for each, market in zip(asked, STOCKS, strict=True)
    ]
    for each in files:
        evenings(history, each, at, 0)
    evenings(history, files[0], at, 1)
    assert set(named(holes(history, MONDAY + DAY + timedelta(hours=1)))) == {("NYSE", LOST)}


def test_a_forgotten_flow_is_not_missed(history, request_bars, at):
    evenings(history, request_bars, at, 0)
    at(MONDAY + DAY)
    with Run.open(history, "flow-data", file="flow_data.json") as flow:
        data_ingest(history, only(request_bars, "NYSE"), run=flow)
    run_id = flow.id
    table = {"new-york": {"run_id": run_id, "starts": []}}
    document = {"run_id": run_id, "profile": "new-york", "profiles": table}
    write_run_file(history.lakehouse, run_id, FLOW_FILE, json.dumps(document).encode())
    data_ingest(history, only(request_bars, "NASDAQ"))
    late = MONDAY + 2 * DAY + timedelta(hours=1)
    assert set(named(holes(history, late))) == {(market, LOST + DAY) for market in STOCKS}
    forget_profiles(history, ("new-york",))
    assert set(named(holes(history, late))) == {("NASDAQ", LOST + DAY)}


def test_the_weekend_is_no_session(history, request_bars, at):
    evenings(history, request_bars, at, 0, 1, 2, 3, 4)
    for hours in (1, 24, 48, 62):
        assert named(holes(history, MONDAY + 4 * DAY + timedelta(hours=hours))) == {}


def test_a_market_that_was_only_imported_is_imported_until_then(history):
    found = holes(history, MONDAY + 30 * DAY)
    assert named(found) == {}
    assert found.imported_until == {
        **dict.fromkeys(STOCKS, date(2021, 4, 9)),
        **dict.fromkeys(COINS, date(2021, 4, 10)),
    }


def test_markets_that_a_job_brings_are_not_imported_until(history, request_bars, at):
    evenings(history, request_bars, at, 0)
    assert holes(history, MONDAY).imported_until == {}


def test_a_hole_of_imported_history_is_named(settings: Project, tmp_path: Path):
    load(settings, tmp_path, MONDAY - 30 * DAY, MONDAY - 20 * DAY)  # to Tuesday, 23 March
    load(settings, tmp_path, MONDAY - 18 * DAY, MONDAY - 10 * DAY)  # from Friday, 26 March on
    assert set(named(holes(settings, MONDAY))) == {
        (market, date(2021, 3, day)) for market in (*STOCKS, *COINS) for day in (24, 25)
    }


def test_an_accepted_hole_is_listed_and_no_longer_open(history, request_bars, at):
    evenings(history, request_bars, at, 0, 2)
    result = accept_hole(history, "NYSE", LOST, None, "TradingView was down")
    assert [(each.market, each.session) for each in result.sessions] == [("NYSE", LOST)]
    found = holes(history, MONDAY + 2 * DAY)
    assert ("NYSE", LOST) not in named(found)
    assert ("NASDAQ", LOST) in named(found)
    (accepted,) = found.accepted
    assert (accepted.market, accepted.session) == ("NYSE", LOST)
    assert accepted.reason == "TradingView was down"
    assert accepted.accepted_at.astimezone(UTC) == MONDAY + 2 * DAY
    receipt = json.loads(result.receipt.path.read_bytes())
    assert receipt["parts"][0]["part"].startswith("accepted_holes/date=2021-04-13/")
    with pytest.raises(InputError, match="NYSE lacks no session 2021-04-13"):
        accept_hole(history, "NYSE", LOST, None, "again")


def test_a_calendar_stands_for_all_its_exchanges_and_a_span_for_its_sessions(
    history, request_bars, at
):
    evenings(history, request_bars, at, 0, 3)
    result = accept_hole(history, "XNYS", LOST, LOST + DAY, "closed")
    assert {(each.market, each.session) for each in result.sessions} == {
        (market, LOST + offset * DAY) for market in STOCKS for offset in (0, 1)
    }
    assert {market for market, _ in named(holes(history, MONDAY + 3 * DAY))} == set(COINS)


def test_what_is_not_missing_cannot_be_accepted(history, request_bars, at):
    evenings(history, request_bars, at, 0, 2)
    for market, session in (
        ("NYSE", date(2021, 4, 12)),
        ("NYSE", date(2021, 4, 11)),
        ("LSE", LOST),
        ("BINANCE", LOST + DAY),
    ):
        with pytest.raises(InputError, match=r"open are: .*NASDAQ 2021-04-13, NYSE 2021-04-13"):
            accept_hole(history, market, session, None, "why not")
    with pytest.raises(InputError, match="--reason"):
        accept_hole(history, "NYSE", LOST, None, " ")


def test_a_session_may_be_accepted_as_soon_as_it_has_closed(history, request_bars, at):
    """A typhoon: who knows at once need not wait until the bars are late."""
    evenings(history, request_bars, at, 0)
    at(MONDAY + DAY - timedelta(hours=1))
    accept_hole(history, "NYSE", LOST, None, "closed by a storm")
    late = MONDAY + DAY + timedelta(hours=1)
    assert set(named(holes(history, late))) == {("NASDAQ", LOST)}
