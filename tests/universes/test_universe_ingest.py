"""Asking who is in a universe, and recording it: real HTTP against the replay scanner."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ingestion.base.errors import ClockError, GateRefused, NothingFetched, ScannerRefused
from ingestion.catalog import UNIVERSE_MEMBERS, Condition, Listing, Universe
from ingestion.datasets import Membership
from ingestion.jobs.audit.compact import compact
from ingestion.jobs.audit.status import status
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.jobs.ingest.import_universe import ImportUniverseRequest, import_universe
from ingestion.jobs.ingest.universe_ingest import (
    RECEIPT_FILE,
    UniverseIngestResult,
    universe_ingest,
)
from ingestion.lakehouse import list_parts, read_members, recorded_universes
from ingestion.project import Project
from ingestion.replay import FaultPlan, Panel, ReplayScanner
from tests.conftest import MONDAY, QUICK

SMALL_PAGES = replace(QUICK, batch_size=7)
INDEX = "SYML:SP;SPX"
SP500 = Universe("sp500", Listing(symbolset=INDEX))
ALWAYS = [(0.0, float("inf"))]


@pytest.fixture
def scanner(sample_panel: Panel, at: Callable[[datetime], None]) -> Iterator[ReplayScanner]:
    """A panel of its own: tests change its indices."""
    with ReplayScanner(sample_panel.with_columns({})) as replay:
        replay.panel.symbolsets[INDEX] = dict.fromkeys(replay.panel.symbols[:20], ALWAYS)
        yield replay


def ask(settings: Project, universe: Universe = SP500) -> UniverseIngestResult:
    return universe_ingest(settings, universe, SMALL_PAGES)


def recorded(settings: Project, name: str = "sp500") -> Membership:
    return Membership.of(read_members(settings.lakehouse, name))


def test_a_complete_answer_is_one_row_per_member(settings: Project, scanner: ReplayScanner):
    result = ask(settings)
    members = sorted(scanner.panel.symbols[:20])
    rows = read_members(settings.lakehouse, "sp500").to_pylist()
    assert [row["symbol"] for row in rows] == members == list(result.members)
    assert {row["valid_from"] for row in rows} == {row["event_timestamp"] for row in rows}
    assert {row["event_timestamp"] for row in rows} == {MONDAY}
    until = MONDAY + timedelta(days=7, microseconds=1)
    assert {row["valid_until"] for row in rows} == {until}
    assert {row["source"] for row in rows} == {"symbolset"}
    assert {each.body["range"][1] - each.body["range"][0] for each in scanner.requests} == {7}
    assert check_lakehouse(settings).faults == []
    assert json.loads(result.receipt.read())["outcome"] == "done"
    assert recorded_universes(settings.lakehouse) == ["sp500"]


def test_a_scan_asks_in_the_scanners_own_terms(settings: Project, scanner: ReplayScanner):
    listing = Listing(
        market="america",
        filter=(Condition("type", "equal", "stock"), Condition("close", "in_range", (20, 400))),
        sort_by="volume",
        descending=True,
        limit=10,
    )
    result = ask(settings, Universe("large", listing))
    now = int(MONDAY.timestamp())
    panel, row = scanner.panel, scanner.panel.known(now, "america")
    names = ("type", "close", "volume")
    values = {
        each: dict(zip(names, panel.values(each, row[each], names), strict=True)) for each in row
    }
    wanted = [
        each
        for each, value in values.items()
        if value["type"] == "stock" and 20 <= value["close"] <= 400
    ]
    largest = sorted(wanted, key=lambda each: -values[each]["volume"])[:10]
    assert len(wanted) > 10
    assert sorted(largest) == list(result.members)
    assert [each.body["range"] for each in scanner.requests] == [[0, 7], [7, 10]]
    assert scanner.requests[0].path == "/america/scan"
    assert scanner.requests[0].body["sort"] == {"sortBy": "volume", "sortOrder": "desc"}
    assert {each["source"] for each in read_members(settings.lakehouse, "large").to_pylist()} == {
        "scan"
    }


def test_joins_and_leaves_are_those_since_the_last_complete_answer(
    settings: Project, scanner: ReplayScanner, at: Callable[[datetime], None]
):
    ask(settings)
    first, *others = scanner.panel.symbols[:20]
    new = scanner.panel.symbols[30]
    scanner.panel.symbolsets[INDEX] = dict.fromkeys([*others, new], ALWAYS)
    at(MONDAY + timedelta(days=1))
    result = ask(settings)
    assert (result.joined, result.left) == ((new,), (first,))
    membership = recorded(settings)
    before, after = MONDAY + timedelta(hours=23), MONDAY + timedelta(days=1)
    assert first in (membership.members_at(before) or [])
    assert first not in (membership.members_at(after) or [])
    assert new not in (membership.members_at(before) or [])
    assert new in (membership.members_at(after) or [])


@pytest.mark.parametrize("fault", ["row-left-out", "count-too-high", "count-too-low"])
def test_a_short_answer_records_nothing_and_is_named(
    settings: Project, scanner: ReplayScanner, at: Callable[[datetime], None], fault: str
):
    ask(settings)
    scanner.panel.symbolsets[INDEX] = dict.fromkeys(scanner.panel.symbols[5:25], ALWAYS)
    scanner.plan = FaultPlan(chances={fault: 1.0})
    at(MONDAY + timedelta(days=1))
    result = ask(settings)
    assert result.part is None
    assert "the universe sp500 is not recorded: its answer is not complete" in str(result.short)
    assert (result.members, result.members_of) == (
        tuple(sorted(scanner.panel.symbols[:20])),
        MONDAY,
    )
    assert (result.joined, result.left) == ((), ())
    assert len(list_parts(settings.lakehouse, UNIVERSE_MEMBERS)) == 1
    receipt = json.loads(result.receipt.read())
    assert (receipt["outcome"], receipt["short"]) == ("refused", result.short)
    assert receipt["parts"] == []


def test_a_page_that_is_short_once_is_asked_again(settings: Project, scanner: ReplayScanner):
    scanner.plan = FaultPlan(["row-left-out", "empty", "count-too-low", "html"])
    result = ask(settings)
    assert result.short is None
    assert result.listed == 20


def test_a_silent_page_of_fifty_rows_is_not_complete(settings: Project, scanner: ReplayScanner):
    scanner.plan = FaultPlan(chances={"short-page": 1.0})
    scanner.panel.symbolsets[INDEX] = dict.fromkeys(scanner.panel.symbols, ALWAYS)
    result = universe_ingest(settings, SP500, QUICK)
    assert result.listed == len(scanner.panel.symbols)  # what was left out was asked for again


def test_without_known_members_a_short_answer_stops(settings: Project, scanner: ReplayScanner):
    scanner.plan = FaultPlan(chances={"count-too-high": 1.0})
    with pytest.raises(GateRefused, match=r"20 rows of 23.*; no earlier members are known"):
        ask(settings)
    scanner.plan = FaultPlan(chances={"empty": 1.0})
    with pytest.raises(NothingFetched, match=r"the scanner lists no symbol .*empty"):
        ask(settings)
    assert list_parts(settings.lakehouse, UNIVERSE_MEMBERS) == []


def test_members_that_are_too_old_are_not_asked_for(
    settings: Project, scanner: ReplayScanner, at: Callable[[datetime], None]
):
    ask(settings)
    scanner.plan = FaultPlan(chances={"count-too-high": 1.0})
    at(MONDAY + timedelta(days=7))
    assert len(ask(settings).members) == 20
    at(MONDAY + timedelta(days=7, seconds=1))
    with pytest.raises(GateRefused, match="no earlier members are known"):
        ask(settings)


def test_compaction_changes_no_answer(
    settings: Project, scanner: ReplayScanner, at: Callable[[datetime], None], tmp_path: Path
):
    times = [MONDAY + timedelta(hours=hours) for hours in range(-9, 3, 3)]
    for number, time in enumerate(times):
        at(time)
        members = scanner.panel.symbols[number : number + 15]
        scanner.panel.symbolsets[INDEX] = dict.fromkeys(members, ALWAYS)
        ask(settings)
    for end in ("2021-04-05", "2021-04-06"):  # the second time it is restated
        path = tmp_path / "members.csv"
        path.write_text(f"symbol,from,to\nNYSE:IBM,2020-06-01,{end}\nNYSE:KO,2020-06-01,\n")
        import_universe(settings, ImportUniverseRequest(path, "sp500"))
    before = read_members(settings.lakehouse, "sp500")
    asked = [*times, times[0] - timedelta(days=9), times[-1] + timedelta(days=30)]
    answers = [recorded(settings).members_at(time) for time in asked]
    parts = len(list_parts(settings.lakehouse, UNIVERSE_MEMBERS))
    at(MONDAY + timedelta(days=2))
    compact(settings)
    assert len(list_parts(settings.lakehouse, UNIVERSE_MEMBERS)) < parts
    assert read_members(settings.lakehouse, "sp500").equals(before)
    assert [recorded(settings).members_at(time) for time in asked] == answers
    assert check_lakehouse(settings).faults == []


def test_the_status_names_what_is_known_now(
    settings: Project, scanner: ReplayScanner, at: Callable[[datetime], None]
):
    ask(settings)
    at(MONDAY + timedelta(days=7))
    (section,) = (each for each in status(settings).sections if each.name == "universes")
    assert section.lines == ("universe sp500: 20 members of 2021-04-12 21:30 UTC",)
    assert section.warnings == ()
    at(MONDAY + timedelta(days=7, minutes=1))
    (section,) = (each for each in status(settings).sections if each.name == "universes")
    (warning,) = section.warnings
    assert "who is in the universe sp500 is unknown since 2021-04-19 21:30 UTC" in warning
    at(MONDAY + timedelta(days=40))
    (section,) = (each for each in status(settings).sections if each.name == "universes")
    assert section.lines == ()


def test_an_answer_without_symbols_is_a_fault_not_an_empty_universe(
    settings: Project, scanner: ReplayScanner, at: Callable[[datetime], None]
):
    ask(settings)
    scanner.panel.symbolsets[INDEX] = {}
    at(MONDAY + timedelta(days=1))
    assert "the scanner lists no symbol" in str(ask(settings).short)
    assert len(recorded(settings).members_at(MONDAY + timedelta(days=2)) or []) == 20


@pytest.mark.parametrize(
    ("listing", "said"),
    [
        (Listing(symbolset="SYML:NO;SUCH"), r"Unknown symbolset.*mine\.toml asks for .*SYML:NO;SU"),
        (Listing(market="uk"), 'has no market "uk"'),
        (Listing(market="america", sort_by="gone"), r'column "gone".*universes/mine\.toml'),
    ],
)
def test_a_refusal_names_what_was_refused(settings: Project, listing: Listing, said: str):
    with pytest.raises(ScannerRefused, match=said):
        ask(settings, Universe("mine", listing))


def test_a_refusal_leaves_the_last_members(
    settings: Project, scanner: ReplayScanner, at: Callable[[datetime], None]
):
    ask(settings)
    del scanner.panel.symbolsets[INDEX]
    at(MONDAY + timedelta(days=1))
    result = ask(settings)
    assert "Unknown symbolset" in str(result.short)
    assert len(result.members) == 20


def test_the_same_second_again_adds_nothing_and_other_members_are_refused(
    settings: Project, scanner: ReplayScanner, at: Callable[[datetime], None]
):
    ask(settings)
    assert ask(settings).part is None
    scanner.panel.symbolsets[INDEX] = dict.fromkeys(scanner.panel.symbols[:19], ALWAYS)
    with pytest.raises(ClockError, match="the lakehouse knows who was in sp500 at 2021-04-12"):
        ask(settings)
    at(MONDAY - timedelta(days=1))
    with pytest.raises(ClockError, match="TVFEAST_NOW"):
        ask(settings)


def test_a_file_of_symbols_is_recorded_as_it_is(
    settings: Project, scanner: ReplayScanner, tmp_path: Path
):
    path = tmp_path / "mine.json"
    path.write_text('["NYSE:IBM", "NASDAQ:AAPL", "NYSE:IBM", "nonsense"]')
    result = ask(settings, Universe("mine", path))
    assert result.members == ("NASDAQ:AAPL", "NYSE:IBM")
    assert len(result.unusable) == 1
    assert {row["source"] for row in read_members(settings.lakehouse, "mine").to_pylist()} == {
        "symbols"
    }
    assert scanner.requests == []


def test_a_row_that_cannot_be_used_shows_its_symbol(settings: Project, scanner: ReplayScanner):
    first = scanner.panel.symbols[0]
    scanner.spoiled = {first: "wrong-width"}
    assert first in ask(settings).members


def test_names_that_are_no_symbols_are_no_members(
    settings: Project, scanner: ReplayScanner, sample_panel: Panel
):
    scanner.panel = sample_panel.with_aliases(5, exchange="low er")
    with pytest.raises(NothingFetched, match="the scanner lists no symbol"):
        ask(settings, Universe("odd", Listing(market="america")))


def test_the_shipped_universe_is_the_largest_companies(settings: Project, sample_panel: Panel):
    universe = settings.catalog.universe("us_large")
    assert universe is not None
    with ReplayScanner(sample_panel) as scanner:
        project = replace(settings, scanner_url=scanner.url)
        result = universe_ingest(project, universe, QUICK)
        few = replace(universe, source=replace(universe.source, limit=5))
        row = sample_panel.known(int(MONDAY.timestamp()))
        caps = {s: sample_panel.values(s, row[s], ["market_cap_basic"])[0] for s in result.members}
        largest = universe_ingest(replace(project, lakehouse_at=project.folder / "l"), few, QUICK)
    shares = {s for s in sample_panel.symbols if s.startswith(("NASDAQ:", "NYSE:"))}
    assert set(result.members) == shares
    assert set(largest.members) == set(sorted(shares, key=lambda s: caps[s])[-5:])
    assert (largest.listed, largest.short) == (5, None)


def test_each_universe_has_its_own_members(settings: Project, scanner: ReplayScanner):
    ask(settings)
    ask(settings, Universe("crypto_all", Listing(market="crypto")))
    assert recorded_universes(settings.lakehouse) == ["crypto_all", "sp500"]
    assert len(recorded(settings).members_at(MONDAY) or []) == 20
    crypto = scanner.panel.known(int(MONDAY.timestamp()), "crypto")
    assert recorded(settings, "crypto_all").members_at(MONDAY) == sorted(crypto)
    assert RECEIPT_FILE == "universe_ingest.json"
