"""Fetching a whole market, page by page, while pages fail and the listing moves."""

from datetime import UTC, datetime
from typing import Any

import pytest
from scanner_tools import (
    COLUMNS,
    Reply,
    StartScanner,
    Stub,
    fetch_market,
    panel_rows,
    quick,
    row,
    rows_answer,
    stub_scanner,
)

from ingestion.base.errors import InputError, ScannerRefused, UnknownColumn
from ingestion.catalog import Column, Dtype
from ingestion.replay import FaultPlan, Panel, ReplayScanner
from ingestion.scanner import ScannerClient

TEN = [f"X:S{number:02}" for number in range(10)]


@pytest.fixture(scope="module")
def america(sample_panel: Panel) -> list[str]:
    return [symbol for symbol in sample_panel.symbols if symbol.startswith(("NASDAQ:", "NYSE:"))]


def page_of(listing: list[str], question: Any, total: int | None = None) -> Reply:
    start, end = question["range"]
    rows = [row(symbol) for symbol in listing[start:end]]
    return Reply(rows_answer(rows, len(listing) if total is None else total))


def ranges(scanner: ReplayScanner | Stub) -> list[tuple[int, int]]:
    if isinstance(scanner, Stub):
        return [tuple(question["range"]) for question in scanner.questions]
    return [tuple(request.body["range"]) for request in scanner.requests]


@pytest.mark.parametrize("size", [1, 7, 28, 55, 56, 57, 500])
def test_pages_are_read_until_every_symbol_is_seen(
    start_scanner: StartScanner, sample_panel: Panel, america: list[str], size: int
) -> None:
    scanner = start_scanner()
    snapshot = fetch_market(scanner.url, "america", batch_size=size)
    assert snapshot.rows == panel_rows(sample_panel, america)
    assert (snapshot.asked, snapshot.shortfall, snapshot.lost_pages) == (56, 0, ())
    assert (snapshot.failed, snapshot.absent, snapshot.duplicates) == ({}, (), 0)
    assert sorted(ranges(scanner)) == [(at, at + size) for at in range(0, 56, size)]
    assert {request.path for request in scanner.requests} == {"/america/scan"}
    assert {request.body["sort"]["sortBy"] for request in scanner.requests} == {"name"}


def test_another_market_has_other_symbols(start_scanner: StartScanner) -> None:
    snapshot = fetch_market(start_scanner().url, "crypto", batch_size=3)
    assert sorted(snapshot.rows) == [
        "BINANCE:BTCUSDT",
        "BINANCE:ETHUSDT",
        "COINBASE:ETHUSD",
        "INDEX:BTCUSD",
    ]


def test_the_number_of_symbols_is_announced_before_the_rest_is_read(
    start_scanner: StartScanner,
) -> None:
    events: list[str] = []
    with ScannerClient(start_scanner().url, quick(batch_size=20)) as client:
        snapshot = client.fetch_market(
            "america",
            COLUMNS,
            progress=lambda rows: events.append(f"{rows} rows"),
            announce=lambda total: events.append(f"{total} in all"),
        )
    assert events[:2] == ["56 in all", "20 rows"]
    assert sorted(events[2:]) == ["16 rows", "20 rows"]
    assert [attempt.idx for attempt in snapshot.attempts] == [0, 1]
    assert sum(attempt.requests for attempt in snapshot.attempts) == 3


def test_short_pages_are_completed(
    start_scanner: StartScanner, sample_panel: Panel, america: list[str]
) -> None:
    scanner = start_scanner(plan=FaultPlan(chances={"short-page": 1.0}))
    snapshot = fetch_market(scanner.url, "america")
    assert snapshot.rows == panel_rows(sample_panel, america)
    assert ranges(scanner) == [(0, 500), (50, 56)]


@pytest.mark.parametrize("seed", range(4))
def test_amid_faults_the_market_is_complete(
    start_scanner: StartScanner, sample_panel: Panel, america: list[str], seed: int
) -> None:
    faults = ["empty", "html", "truncated", "reset", "rate-limited", "server-error"]
    plan = FaultPlan(chances=dict.fromkeys([*faults, "duplicate-rows"], 0.07), seed=seed)
    scanner = start_scanner(plan=plan)
    snapshot = fetch_market(scanner.url, "america", batch_size=6, retries=10)
    assert snapshot.rows == panel_rows(sample_panel, america)
    assert (snapshot.shortfall, snapshot.failed) == (0, {})


def test_after_a_passing_fault_only_the_missing_page_is_asked_again(
    start_scanner: StartScanner,
) -> None:
    scanner = start_scanner(plan=FaultPlan([None, "empty"]))
    fetch_market(scanner.url, "america", batch_size=20, in_flight=1)
    assert ranges(scanner) == [(0, 20), (20, 40), (40, 60), (20, 40)]


@pytest.mark.parametrize("fault", ["empty", "forbidden-html", "reset"])
def test_a_scanner_that_never_answers_yields_no_rows_and_a_reason(
    start_scanner: StartScanner, fault: str
) -> None:
    scanner = start_scanner(plan=FaultPlan(chances={fault: 1.0}))
    snapshot = fetch_market(scanner.url, "america", retries=2)
    assert (snapshot.rows, snapshot.asked) == ({}, 0)
    assert len(snapshot.lost_pages) == 1
    assert len(scanner.requests) == 3


def test_a_page_that_never_comes_is_reported_with_its_reason() -> None:
    def answer(_: int, question: Any) -> Reply:
        return Reply() if question["range"][0] == 4 else page_of(TEN, question)

    with stub_scanner(answer) as stub:
        snapshot = fetch_market(stub.url, "america", batch_size=4, retries=2)
    assert sorted(snapshot.rows) == TEN[:4] + TEN[8:]
    assert snapshot.lost_pages == ("rows 4 to 8: the answer is empty",)
    assert (snapshot.asked, snapshot.shortfall) == (10, 4)


def test_an_empty_market_is_no_failure(start_scanner: StartScanner) -> None:
    scanner = start_scanner(now=datetime(2019, 1, 1, tzinfo=UTC))
    snapshot = fetch_market(scanner.url, "america")
    assert (snapshot.rows, snapshot.asked, snapshot.shortfall) == ({}, 0, 0)
    assert snapshot.lost_pages == ()
    assert len(scanner.requests) == 2


def test_a_market_that_does_not_exist_is_refused_by_name(start_scanner: StartScanner) -> None:
    scanner = start_scanner()
    with pytest.raises(ScannerRefused, match='no market "mars"'):
        fetch_market(scanner.url, "mars")
    assert len(scanner.requests) == 1


def test_a_rejected_page_is_refused_and_never_asked_again() -> None:
    body = b'{"totalCount":0,"error":"Bad sort","data":null}'
    with (
        stub_scanner(lambda *_: Reply(body, 400)) as stub,
        pytest.raises(ScannerRefused, match=r"rows 0 to 500 of the market: .*Bad sort"),
    ):
        fetch_market(stub.url, "america")
    assert len(stub.questions) == 1


def test_an_unknown_column_is_named_and_never_asked_again(start_scanner: StartScanner) -> None:
    scanner = start_scanner()
    column = Column("rsi_7", Dtype.DOUBLE, "no such column", scanner="RSI7")
    with ScannerClient(scanner.url, quick()) as client, pytest.raises(UnknownColumn, match="RSI7"):
        client.fetch_market("america", [column])
    assert len(scanner.requests) == 1


def test_a_bad_row_costs_its_symbol_only(
    start_scanner: StartScanner, sample_panel: Panel, america: list[str]
) -> None:
    scanner = start_scanner(spoiled={america[9]: "text-value", america[30]: "wrong-width"})
    snapshot = fetch_market(scanner.url, "america", batch_size=20)
    assert sorted(snapshot.failed) == sorted([america[9], america[30]])
    assert "Recommend.All" in snapshot.failed[america[9]]
    assert snapshot.rows == panel_rows(sample_panel, set(america) - set(snapshot.failed))
    assert snapshot.shortfall == 0


@pytest.mark.parametrize("name", ["nasdaq:aapl", "AAPL", "A:", "A:B C", "A:B\n", ""])
def test_a_listed_name_that_is_no_symbol_costs_itself_only(name: str) -> None:
    listing = [*TEN[:3], name, *TEN[3:6]]
    with stub_scanner(lambda _, question: page_of(listing, question)) as stub:
        snapshot = fetch_market(stub.url, "america", batch_size=4)
    assert sorted(snapshot.rows) == TEN[:6]
    assert list(snapshot.failed) == [name.replace("\n", "\ufffd")]
    assert snapshot.shortfall == 0


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_a_symbol_that_moves_to_a_page_already_read_is_found_in_a_second_pass(size: int) -> None:
    """After the first page is read, the first symbol of the second moves to the top."""
    moved = [TEN[size], *TEN[:size], *TEN[size + 1 :]]

    def answer(number: int, question: Any) -> Reply:
        return page_of(TEN if number == 0 else moved, question)

    with stub_scanner(answer) as stub:
        snapshot = fetch_market(stub.url, "america", batch_size=size, in_flight=1)
    assert sorted(snapshot.rows) == TEN
    assert snapshot.shortfall == 0
    assert snapshot.duplicates > 0
    first_pass = -(-len(TEN) // size)
    assert len(stub.questions) > first_pass
    # Half a page apart: what fell between two pages falls into one.
    assert {start % size for start, _ in ranges(stub)[first_pass + 1 :]} == {size // 2}


def test_a_symbol_that_is_counted_but_never_shown_is_a_shortfall() -> None:
    with stub_scanner(lambda _, question: page_of(TEN[:9], question, total=10)) as stub:
        snapshot = fetch_market(stub.url, "america", batch_size=4, retries=2)
    assert sorted(snapshot.rows) == TEN[:9]
    assert (snapshot.asked, snapshot.shortfall) == (10, 1)
    assert len(snapshot.lost_pages) == 1
    assert "leave it out" in snapshot.lost_pages[0]
    assert len(stub.questions) < 12


def test_a_symbol_hidden_behind_another_twice_is_a_shortfall_after_two_passes() -> None:
    listing = [*TEN[:5], TEN[4], *TEN[6:]]
    with stub_scanner(lambda _, question: page_of(listing, question)) as stub:
        snapshot = fetch_market(stub.url, "america", batch_size=4)
    assert sorted(snapshot.rows) == sorted(set(listing))
    assert (snapshot.asked, snapshot.shortfall, snapshot.lost_pages) == (10, 1, ())
    assert len(stub.questions) == 3 + 3


def test_a_market_that_grows_while_it_is_read_is_counted_anew() -> None:
    def answer(number: int, question: Any) -> Reply:
        return page_of(TEN[:8] if number == 0 else TEN, question)

    with stub_scanner(answer) as stub:
        snapshot = fetch_market(stub.url, "america", batch_size=4, in_flight=1)
    assert sorted(snapshot.rows) == TEN
    assert (snapshot.asked, snapshot.shortfall) == (10, 0)


@pytest.mark.parametrize("glitch", [0, 1, 2])
@pytest.mark.parametrize("total", [0, 2])
def test_one_smaller_count_does_not_shrink_a_market(glitch: int, total: int) -> None:
    def answer(number: int, question: Any) -> Reply:
        return Reply(rows_answer([], total)) if number == glitch else page_of(TEN, question)

    with stub_scanner(answer) as stub:
        snapshot = fetch_market(stub.url, "america", batch_size=4, in_flight=1)
    assert sorted(snapshot.rows) == TEN
    assert (snapshot.asked, snapshot.shortfall, snapshot.lost_pages) == (10, 0, ())


def test_a_listing_twice_in_a_page_with_other_values_is_asked_for_by_name() -> None:
    def answer(_: int, question: Any) -> Reply:
        if "tickers" in question["symbols"]:
            return Reply(rows_answer([row(name, 7.5) for name in question["symbols"]["tickers"]]))
        start, end = question["range"]
        rows = [row(symbol) for symbol in TEN[start:end]]
        return Reply(rows_answer([*rows, *(row(r["s"], 9.5) for r in rows[1:2])], 10))

    with stub_scanner(answer) as stub:
        snapshot = fetch_market(stub.url, "america", batch_size=10)
    assert sorted(snapshot.rows) == TEN
    assert (snapshot.rows[TEN[1]][0], snapshot.rows[TEN[0]][0]) == (7.5, 1.5)
    assert (snapshot.failed, snapshot.duplicates) == ({}, 1)
    assert len(stub.questions) == 2


def test_a_row_that_is_bad_once_is_asked_for_by_name(
    start_scanner: StartScanner, sample_panel: Panel, america: list[str]
) -> None:
    scanner = start_scanner(plan=FaultPlan(["text-value"]))
    snapshot = fetch_market(scanner.url, "america")
    assert (snapshot.rows, snapshot.failed) == (panel_rows(sample_panel, america), {})
    assert len(scanner.requests) == 2
    assert {request.path for request in scanner.requests} == {"/america/scan"}
    assert len(scanner.requests[1].body["symbols"]["tickers"]) == 1
    assert [attempt.idx for attempt in snapshot.attempts] == [0, 1]


def test_a_row_that_stays_bad_is_asked_for_by_name_once(
    start_scanner: StartScanner, america: list[str]
) -> None:
    scanner = start_scanner(spoiled={america[9]: "text-value"})
    snapshot = fetch_market(scanner.url, "america")
    assert list(snapshot.failed) == [america[9]]
    assert len(scanner.requests) == 2


def test_no_page_is_asked_for_that_holds_nothing() -> None:
    listing = [*TEN[:5], TEN[4], *TEN[6:]]
    with stub_scanner(lambda _, question: page_of(listing, question)) as stub:
        fetch_market(stub.url, "america", batch_size=1)
    assert all(start < end for start, end in ranges(stub))


@pytest.mark.parametrize("name", ["", "../x", "america/scan", "a?b", "America", "a b", "-a", "a\n"])
def test_what_is_no_market_name_goes_into_no_url(start_scanner: StartScanner, name: str) -> None:
    scanner = start_scanner()
    with pytest.raises(InputError, match="not the name of a market"):
        fetch_market(scanner.url, name)
    assert scanner.requests == []


def test_progress_counts_every_page_and_symbol(
    start_scanner: StartScanner, america: list[str]
) -> None:
    steps: list[int] = []
    scanner = start_scanner(spoiled={america[9]: "text-value"})
    with ScannerClient(scanner.url, quick(batch_size=20)) as client:
        client.fetch_market("america", COLUMNS, progress=steps.append)
    assert sum(steps) == 56


def test_a_market_that_shrinks_while_it_is_read_keeps_its_count() -> None:
    def answer(number: int, question: Any) -> Reply:
        return page_of(TEN if number == 0 else TEN[:7], question)

    with stub_scanner(answer) as stub:
        snapshot = fetch_market(stub.url, "america", batch_size=4)
    assert sorted(snapshot.rows) == TEN[:7]
    assert (snapshot.asked, snapshot.shortfall) == (10, 3)
    assert len(stub.questions) < 10
