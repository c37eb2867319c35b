"""Fetching given symbols while the scanner fails in every way it is known to."""

import contextlib
import gzip
import json
import math
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scanner_tools import (
    COLUMNS,
    Reply,
    asked,
    every_symbol_has_one_fate,
    fetch,
    panel_rows,
    quick,
    row,
    rows_answer,
    stub_scanner,
)

from feature_repo.catalog import Column, Dtype
from ingestion.errors import InputError, ScannerRefused, UnknownColumn
from ingestion.replay import FaultPlan, Panel, ReplayScanner
from ingestion.scanner import ScannerClient, ScannerOptions

StartScanner = Callable[..., ReplayScanner]
Stocks = tuple[str, ...]

SECRET = "s3cr3t-cookie"
PASSING = {
    "rate-limited": "rate limited",
    "server-error": "status 502",
    "forbidden-html": "status 403",
    "html": "not JSON",
    "empty": "empty",
    "truncated": "not JSON",
    "reset": "connection failed",
}
"""Faults that cost one request and no time, and what the reason says."""


def test_rows_come_by_symbol_whatever_the_scanners_order(
    start_scanner: StartScanner, sample_panel: Panel, stocks: Stocks
) -> None:
    scanner = start_scanner()
    snapshot = fetch(scanner.url, stocks)
    assert snapshot.rows == panel_rows(sample_panel, stocks)
    assert list(snapshot.rows) != list(stocks)
    assert (snapshot.failed, snapshot.absent, snapshot.asked) == ({}, (), len(stocks))
    assert (snapshot.duplicates, snapshot.unasked, snapshot.shortfall) == (0, 0, 0)
    assert {request.path for request in scanner.requests} == {"/global/scan"}


def test_symbols_are_asked_in_batches_with_an_explicit_range(
    start_scanner: StartScanner, stocks: Stocks
) -> None:
    scanner = start_scanner()
    fetch(scanner.url, stocks, batch_size=5, in_flight=1)
    assert asked(scanner) == [list(stocks[:5]), list(stocks[5:10]), list(stocks[10:])]
    assert [request.body["range"] for request in scanner.requests] == [[0, 5], [0, 5], [0, 2]]


def test_a_symbol_named_twice_is_asked_once(start_scanner: StartScanner, stocks: Stocks) -> None:
    scanner = start_scanner()
    snapshot = fetch(scanner.url, (*stocks, *stocks))
    assert asked(scanner) == [list(stocks)]
    assert snapshot.asked == len(snapshot.rows) == len(stocks)


def test_nothing_asked_sends_nothing(start_scanner: StartScanner) -> None:
    scanner = start_scanner()
    snapshot = fetch(scanner.url, ())
    assert (snapshot.rows, snapshot.asked, snapshot.attempts) == ({}, 0, ())
    assert scanner.requests == []


def test_progress_and_attempts_add_up(start_scanner: StartScanner, stocks: Stocks) -> None:
    scanner = start_scanner(plan=FaultPlan([None, "empty"]))
    steps: list[int] = []
    with ScannerClient(scanner.url, quick(batch_size=5)) as client:
        snapshot = client.fetch(stocks, COLUMNS, steps.append)
    assert sum(steps) == len(stocks)
    assert sum(attempt.fetched for attempt in snapshot.attempts) == len(stocks)
    assert sum(attempt.requests for attempt in snapshot.attempts) == len(scanner.requests)
    assert [attempt.idx for attempt in snapshot.attempts] == list(range(len(snapshot.attempts)))
    assert all(
        attempt.requested == attempt.fetched + attempt.failed for attempt in snapshot.attempts
    )


@pytest.mark.parametrize("fault", PASSING)
def test_after_a_passing_fault_only_what_is_missing_is_asked_again(
    start_scanner: StartScanner, sample_panel: Panel, stocks: Stocks, fault: str
) -> None:
    scanner = start_scanner(plan=FaultPlan([None, fault]))
    snapshot = fetch(scanner.url, stocks, batch_size=4, in_flight=1)
    assert snapshot.rows == panel_rows(sample_panel, stocks)
    assert snapshot.failed == {}
    first, second, third = list(stocks[:4]), list(stocks[4:8]), list(stocks[8:])
    # A 429 asks for a pause, also without Retry-After: what is left waits for it too.
    paused = fault == "rate-limited"
    assert asked(scanner)[:2] == [first, second]
    assert asked(scanner)[2:] == ([second, third] if paused else [third, second])


def test_after_a_stall_only_what_is_missing_is_asked_again(
    start_scanner: StartScanner, sample_panel: Panel, stocks: Stocks
) -> None:
    scanner = start_scanner(plan=FaultPlan([None, "stall"]))
    snapshot = fetch(scanner.url, stocks, batch_size=6, in_flight=1, read_timeout=0.4)
    assert snapshot.rows == panel_rows(sample_panel, stocks)
    assert asked(scanner) == [list(stocks[:6]), list(stocks[6:]), list(stocks[6:])]


@pytest.mark.parametrize("fault", ["trickle", "trickle-headers"])
def test_after_a_trickle_only_what_is_missing_is_asked_again(
    start_scanner: StartScanner, sample_panel: Panel, stocks: Stocks, fault: str
) -> None:
    scanner = start_scanner(plan=FaultPlan([None, fault]))
    snapshot = fetch(scanner.url, stocks, batch_size=6, in_flight=1, total_timeout=0.4)
    assert snapshot.rows == panel_rows(sample_panel, stocks)
    assert asked(scanner) == [list(stocks[:6]), list(stocks[6:]), list(stocks[6:])]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        *PASSING.items(),
        ("stall", "no answer in time"),
        ("trickle", "no whole answer within 0.3 s"),
        ("trickle-headers", "no whole answer within 0.3 s"),
    ],
)
def test_a_lasting_fault_ends_in_a_reason_for_every_symbol(
    start_scanner: StartScanner, stocks: Stocks, fault: str, reason: str
) -> None:
    scanner = start_scanner(plan=FaultPlan(chances={fault: 1.0}))
    snapshot = fetch(
        scanner.url, stocks, batch_size=6, retries=2, read_timeout=0.1, total_timeout=0.3
    )
    assert (snapshot.rows, snapshot.absent) == ({}, ())
    assert sorted(snapshot.failed) == sorted(stocks)
    assert all(reason in text for text in snapshot.failed.values())
    assert 3 <= len(scanner.requests) <= 6  # a round and two more, of two batches each
    assert len(snapshot.attempts) == 3


def test_a_fault_that_lasts_stops_the_round_early(
    start_scanner: StartScanner, stocks: Stocks
) -> None:
    scanner = start_scanner(plan=FaultPlan(chances={"empty": 1.0}))
    snapshot = fetch(scanner.url, stocks, batch_size=1, in_flight=1, retries=2)
    assert len(scanner.requests) <= 3 * 4
    assert sorted(snapshot.failed) == sorted(stocks)


def test_nothing_listening_is_a_reason_and_no_exception(stocks: Stocks) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    snapshot = fetch(f"http://127.0.0.1:{port}", stocks, batch_size=6)
    assert sorted(snapshot.failed) == sorted(stocks)
    assert all("refused" in text for text in snapshot.failed.values())


def test_a_retry_after_is_waited_for(
    start_scanner: StartScanner, sample_panel: Panel, stocks: Stocks
) -> None:
    scanner = start_scanner(plan=FaultPlan(["rate-limited-retry-after"]))
    snapshot = fetch(scanner.url, stocks, batch_size=4, in_flight=1)
    first, second, *_ = scanner.requests
    assert second.at - first.at >= 1.0
    assert snapshot.rows == panel_rows(sample_panel, stocks)


@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_as_a_date_is_measured_by_the_scanners_own_clock(status: int) -> None:
    headers = {
        "Date": "Mon, 12 Apr 2021 21:30:00 GMT",
        "Retry-After": "Mon, 12 Apr 2021 21:30:01 GMT",
    }

    def answer(number: int, _: Any) -> Reply:
        return Reply(b"", status, headers) if number == 0 else Reply(rows_answer([row("A:B")]))

    with stub_scanner(answer) as stub:
        snapshot = fetch(stub.url, ["A:B"])
    assert set(snapshot.rows) == {"A:B"}
    assert stub.arrivals[1] - stub.arrivals[0] >= 1.0


@pytest.mark.parametrize("text", ["3600", "9" * 400, "Tue, 13 Apr 2021 21:30:00 GMT"])
def test_a_retry_after_beyond_the_limit_ends_the_run_at_once(stocks: Stocks, text: str) -> None:
    headers = {"Date": "Mon, 12 Apr 2021 21:30:00 GMT", "Retry-After": text}
    with stub_scanner(lambda *_: Reply(b"", 429, headers)) as stub:
        snapshot = fetch(stub.url, stocks, batch_size=3, in_flight=1)
    assert len(stub.questions) == 1
    assert sorted(snapshot.failed) == sorted(stocks)
    assert all("asked to wait" in reason for reason in snapshot.failed.values())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "soon",
        "-5",
        "1.5",
        "\xb2",
        "Mon, 12 Apr 2021 21:29:00 GMT",
        "Mon, 12 Apr 2021 21:31:00 -0000",
        "Mon, 12 Apr 99999999999999999999 21:30:00 GMT",
        "Mon, 12 Apr 2021 21:30:00 +99999999999999999999",
    ],
)
def test_a_retry_after_that_says_nothing_is_an_ordinary_failure(text: str) -> None:
    headers = {"Date": "Mon, 12 Apr 2021 21:30:00 GMT", "Retry-After": text}

    def answer(number: int, _: Any) -> Reply:
        return Reply(b"", 429, headers) if number == 0 else Reply(rows_answer([row("A:B")]))

    with stub_scanner(answer) as stub:
        snapshot = fetch(stub.url, ["A:B"])
    assert set(snapshot.rows) == {"A:B"}
    assert len(stub.questions) == 2


def test_an_unknown_column_is_named_and_never_asked_again(
    start_scanner: StartScanner, stocks: Stocks
) -> None:
    scanner = start_scanner()
    columns = [*COLUMNS, Column("rsi_7", Dtype.DOUBLE, "no such column", scanner="RSI7")]
    with (
        ScannerClient(scanner.url, quick()) as client,
        pytest.raises(UnknownColumn, match='"RSI7"') as caught,
    ):
        client.fetch(stocks, columns)
    assert caught.value.column == "RSI7"
    assert len(scanner.requests) == 1


def test_an_unknown_column_in_a_200_is_named_and_never_asked_again(
    start_scanner: StartScanner, stocks: Stocks
) -> None:
    scanner = start_scanner(plan=FaultPlan(["error-in-200"]))
    with pytest.raises(UnknownColumn) as caught:
        fetch(scanner.url, stocks)
    assert caught.value.column == "RSI"
    assert len(scanner.requests) == 1


def test_an_unknown_column_stops_the_batches_that_follow(
    start_scanner: StartScanner, stocks: Stocks
) -> None:
    scanner = start_scanner(plan=FaultPlan(chances={"error-in-200": 1.0}))
    with pytest.raises(UnknownColumn):
        fetch(scanner.url, stocks, batch_size=1, in_flight=2)
    assert len(scanner.requests) <= 4  # those under way


@pytest.mark.parametrize("count", [1, 2, 5])
def test_tickers_that_spoil_a_request_are_found_and_cost_nobody_else(
    start_scanner: StartScanner, sample_panel: Panel, count: int
) -> None:
    symbols = sample_panel.symbols
    poison = symbols[7 :: len(symbols) // count][:count]
    scanner = start_scanner(poison=poison)
    snapshot = fetch(scanner.url, symbols)
    assert sorted(snapshot.failed) == sorted(poison)
    assert all("400" in text and "Invalid symbol" in text for text in snapshot.failed.values())
    healthy = set(symbols) - set(poison)
    assert snapshot.rows == panel_rows(sample_panel, healthy)
    assert len(scanner.requests) <= 1 + 2 * count * math.ceil(math.log2(len(symbols)))


def test_a_batch_of_nothing_but_spoiling_tickers_ends_in_reasons(
    start_scanner: StartScanner, stocks: Stocks
) -> None:
    scanner = start_scanner(poison=stocks)
    snapshot = fetch(scanner.url, stocks)
    assert snapshot.rows == {}
    assert sorted(snapshot.failed) == sorted(stocks)
    assert len(scanner.requests) == 2 * len(stocks) - 1


def poisoned_scanner(poison: set[str]) -> Callable[[int, Any], Reply]:
    """Know every ticker, and reject requests that hold a poisonous one."""

    def answer(_: int, question: Any) -> Reply:
        tickers = question["symbols"]["tickers"]
        if poison.intersection(tickers):
            return Reply(b'{"totalCount":0,"error":"Invalid symbol","data":null}', 400)
        return Reply(rows_answer([row(ticker) for ticker in tickers]))

    return answer


def test_many_spoiling_tickers_among_many_are_all_found() -> None:
    symbols = [f"X:S{number:05}" for number in range(8_000)]
    poison = set(symbols[100::500])
    with stub_scanner(poisoned_scanner(poison)) as stub:
        snapshot = fetch(stub.url, symbols, most_splits=128)
    assert set(snapshot.failed) == poison
    assert len(snapshot.rows) == len(symbols) - len(poison)


def test_more_spoiling_tickers_than_can_be_searched_for_cost_small_pieces_only() -> None:
    symbols = [f"X:S{number:04}" for number in range(1_000)]
    poison = set(symbols[5::100])
    with stub_scanner(poisoned_scanner(poison)) as stub:
        snapshot = fetch(stub.url, symbols, most_splits=0, batch_size=250)
    assert poison <= set(snapshot.failed)
    assert len(snapshot.failed) <= 10 * len(poison)
    assert every_symbol_has_one_fate(snapshot, symbols)
    assert len(stub.questions) <= 4 + 2 * 50 + 100


@pytest.mark.parametrize("most_splits", [0, 128])
def test_a_scanner_that_rejects_everything_is_left_alone_soon(most_splits: int) -> None:
    symbols = [f"X:S{number:04}" for number in range(5_000)]
    with (
        stub_scanner(poisoned_scanner(set(symbols))) as stub,
        pytest.raises(ScannerRefused, match=r"every request.*Invalid symbol"),
    ):
        fetch(stub.url, symbols, most_splits=most_splits)
    assert 64 <= len(stub.questions) <= 66


def test_a_ticker_that_spoils_requests_is_found_amid_other_faults(
    start_scanner: StartScanner, sample_panel: Panel, stocks: Stocks
) -> None:
    plan = FaultPlan(["empty", None, "html", None, "reset"])
    scanner = start_scanner(poison=stocks[3:4], plan=plan)
    snapshot = fetch(scanner.url, stocks)
    assert list(snapshot.failed) == [stocks[3]]
    assert snapshot.rows == panel_rows(sample_panel, set(stocks) - {stocks[3]})


def test_a_silent_page_of_50_rows_is_noticed_and_completed(
    start_scanner: StartScanner, sample_panel: Panel
) -> None:
    scanner = start_scanner(plan=FaultPlan(chances={"short-page": 1.0}))
    symbols = (*sample_panel.symbols, "NASDAQ:NOSUCH")
    snapshot = fetch(scanner.url, symbols)
    assert snapshot.rows == panel_rows(sample_panel, sample_panel.symbols)
    assert snapshot.absent == ("NASDAQ:NOSUCH",)
    first, second, third = asked(scanner)
    assert (first, len(second)) == (list(symbols), len(symbols) - 50)
    assert third == ["NASDAQ:NOSUCH"]


def test_a_scanner_that_never_shows_all_it_counts_is_not_asked_for_ever(stocks: Stocks) -> None:
    with stub_scanner(lambda *_: Reply(rows_answer([row(stocks[0])], total=2))) as stub:
        snapshot = fetch(stub.url, stocks[:2])
    assert set(snapshot.rows) == {stocks[0]}
    assert "leave it out" in snapshot.failed[stocks[1]]
    assert len(stub.questions) == 4


def test_symbols_that_the_scanner_does_not_know_are_absent(
    start_scanner: StartScanner, stocks: Stocks
) -> None:
    scanner = start_scanner()
    asking = ("NYSE:GONE", *stocks, "NASDAQ:NOSUCH")
    snapshot = fetch(scanner.url, asking, batch_size=7, in_flight=1)
    assert snapshot.absent == ("NYSE:GONE", "NASDAQ:NOSUCH")
    assert set(snapshot.rows) == set(stocks)
    assert asked(scanner)[2:] == [["NYSE:GONE", "NASDAQ:NOSUCH"]]


def test_one_empty_answer_does_not_make_a_batch_unknown(stocks: Stocks) -> None:
    def answer(number: int, question: Any) -> Reply:
        tickers = question["symbols"]["tickers"]
        return Reply(rows_answer([row(ticker) for ticker in tickers] if number else []))

    with stub_scanner(answer) as stub:
        snapshot = fetch(stub.url, stocks, batch_size=6, in_flight=1)
    assert (set(snapshot.rows), snapshot.absent) == (set(stocks), ())
    assert len(stub.questions) == 3


def test_a_stranger_beyond_the_count_does_not_hide_a_symbol(stocks: Stocks) -> None:
    def answer(number: int, question: Any) -> Reply:
        tickers = question["symbols"]["tickers"]
        rows = [row(ticker) for ticker in tickers]
        return Reply(rows_answer(rows if number else [*rows[:-1], row("A:NEW")], len(tickers)))

    with stub_scanner(answer) as stub:
        snapshot = fetch(stub.url, stocks)
    assert (set(snapshot.rows), snapshot.absent, snapshot.unasked) == (set(stocks), (), 1)


def test_a_scanner_that_asked_for_a_long_pause_is_not_asked_to_confirm(stocks: Stocks) -> None:
    def answer(number: int, _: Any) -> Reply:
        return Reply(b"", 429, {"Retry-After": "3600"}) if number else Reply(rows_answer([]))

    with stub_scanner(answer) as stub:
        snapshot = fetch(stub.url, stocks, batch_size=6, in_flight=1)
    assert every_symbol_has_one_fate(snapshot, stocks)
    assert len(stub.questions) == 2


def test_nothing_but_unknown_symbols_is_no_failure(start_scanner: StartScanner) -> None:
    snapshot = fetch(start_scanner().url, ["NYSE:GONE"])
    assert (snapshot.rows, snapshot.failed, snapshot.absent) == ({}, {}, ("NYSE:GONE",))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("wrong-width", "15 values for 16 columns"),
        ("text-value", "Recommend.All: 'n/a' where a number belongs"),
        ("nan-value", "Recommend.All: nan where a number belongs"),
        ("infinite-value", "Recommend.All: inf where a number belongs"),
        ("true-value", "Recommend.All: True where a number belongs"),
        ("conflicting-rows", "two rows in one answer that disagree"),
    ],
)
def test_a_bad_row_costs_its_symbol_only_and_is_asked_again_once(
    start_scanner: StartScanner, sample_panel: Panel, stocks: Stocks, fault: str, reason: str
) -> None:
    scanner = start_scanner(spoiled={stocks[5]: fault})
    snapshot = fetch(scanner.url, stocks)
    assert snapshot.failed == {stocks[5]: reason}
    assert snapshot.rows == panel_rows(sample_panel, set(stocks) - {stocks[5]})
    assert asked(scanner) == [list(stocks), [stocks[5]]]


@pytest.mark.parametrize("fault", ["wrong-width", "text-value", "nan-value", "conflicting-rows"])
def test_a_row_that_is_bad_once_is_taken_when_it_is_good(
    start_scanner: StartScanner, sample_panel: Panel, stocks: Stocks, fault: str
) -> None:
    scanner = start_scanner(plan=FaultPlan([fault]))
    snapshot = fetch(scanner.url, stocks)
    assert snapshot.failed == {}
    assert snapshot.rows == panel_rows(sample_panel, stocks)
    assert [len(tickers) for tickers in asked(scanner)] == [len(stocks), 1]


@pytest.mark.parametrize(("fault", "value"), [("null-value", None), ("integer-value", 1.0)])
def test_null_and_integer_are_values(
    start_scanner: StartScanner, sample_panel: Panel, stocks: Stocks, fault: str, value: float
) -> None:
    scanner = start_scanner(spoiled={stocks[5]: fault})
    snapshot = fetch(scanner.url, stocks)
    expected = panel_rows(sample_panel, stocks)
    expected[stocks[5]] = (value, *expected[stocks[5]][1:])
    assert snapshot.rows == expected
    assert type(snapshot.rows[stocks[5]][0]) is type(value)
    assert len(scanner.requests) == 1


def test_identical_rows_for_a_symbol_are_taken_once_and_counted(
    start_scanner: StartScanner, sample_panel: Panel, stocks: Stocks
) -> None:
    scanner = start_scanner(spoiled={stocks[5]: "duplicate-rows"})
    snapshot = fetch(scanner.url, stocks)
    assert snapshot.rows == panel_rows(sample_panel, stocks)
    assert (snapshot.failed, snapshot.duplicates) == ({}, 1)
    assert len(scanner.requests) == 1


def test_rows_that_nobody_asked_for_are_dropped_and_counted(
    start_scanner: StartScanner, sample_panel: Panel, stocks: Stocks
) -> None:
    scanner = start_scanner(plan=FaultPlan(["unasked-row"]))
    snapshot = fetch(scanner.url, stocks)
    assert snapshot.rows == panel_rows(sample_panel, stocks)
    assert (snapshot.failed, snapshot.unasked) == ({}, 1)


def test_a_symbol_that_is_answered_under_another_name_is_absent() -> None:
    with stub_scanner(lambda *_: Reply(rows_answer([row("A:NEW")]))) as stub:
        snapshot = fetch(stub.url, ["A:OLD"])
    assert (snapshot.rows, snapshot.absent, snapshot.unasked) == ({}, ("A:OLD",), 2)
    assert len(stub.questions) == 2


def test_a_renamed_symbol_among_others_is_absent_without_back_off(stocks: Stocks) -> None:
    def answer(_: int, question: Any) -> Reply:
        tickers = question["symbols"]["tickers"]
        return Reply(rows_answer([row(t if t in stocks else "A:NEW") for t in tickers]))

    with stub_scanner(answer) as stub:
        started = time.monotonic()
        snapshot = fetch(stub.url, [*stocks, "A:OLD"], backoff=5.0, longest_backoff=5.0)
    assert (set(snapshot.rows), snapshot.absent) == (set(stocks), ("A:OLD",))
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("entry", ['{"s":"NASDAQ:AAPL"}', "null", '{"d":[]}'])
def test_an_entry_without_symbol_or_values_costs_nobody_else(entry: str) -> None:
    good = rows_answer([row("A:B")], total=2)
    spoiled = good.replace(b'"data": [', f'"data": [{entry},'.encode())

    def answer(number: int, _: Any) -> Reply:
        return Reply(spoiled if number == 0 else rows_answer([row("NASDAQ:AAPL")]))

    with stub_scanner(answer) as stub:
        snapshot = fetch(stub.url, ["NASDAQ:AAPL", "A:B"])
    assert set(snapshot.rows) == {"NASDAQ:AAPL", "A:B"}
    assert stub.questions[1]["symbols"]["tickers"] == ["NASDAQ:AAPL"]


def test_a_value_nested_almost_too_deep_to_parse_costs_its_symbol_only() -> None:
    """A thread's shallow stack parses the answer; a deeper one reads its rows."""
    for depth in (100, 900, 940, 960, 980):
        nest = "[" * depth + "]" * depth
        bad = {"s": "A:B", "d": ["NEST", *row("A:B")["d"][1:]]}
        body = rows_answer([bad, row("A:C")]).replace(b'"NEST"', nest.encode())
        with stub_scanner(lambda *_, body=body: Reply(body)) as stub:
            snapshot = fetch(stub.url, ["A:B", "A:C"], retries=0)
        assert every_symbol_has_one_fate(snapshot, ["A:B", "A:C"])
        assert "A:B" in snapshot.failed


def test_a_redirect_is_refused_and_the_cookie_goes_nowhere_else(stocks: Stocks) -> None:
    with stub_scanner(lambda *_: Reply(rows_answer([]))) as elsewhere:
        location = {"Location": f"{elsewhere.url}/global/scan"}
        for status in (301, 302, 303, 307, 308):
            with (
                stub_scanner(lambda *_, status=status: Reply(b"", status, location)) as stub,
                ScannerClient(stub.url, quick(), session_id=SECRET) as client,
                pytest.raises(ScannerRefused, match=r"redirects to .* not followed") as caught,
            ):
                client.fetch(stocks, COLUMNS)
            assert SECRET not in str(caught.value)
            assert len(stub.questions) == 1
    assert elsewhere.questions == []


def test_the_replays_redirect_is_refused(start_scanner: StartScanner, stocks: Stocks) -> None:
    scanner = start_scanner(plan=FaultPlan(chances={"redirect": 1.0}))
    with pytest.raises(ScannerRefused, match=r"elsewhere\.example"):
        fetch(scanner.url, stocks)
    assert len(scanner.requests) == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "TVFEAST_SESSION_ID"), (404, 'no market "global"'), (418, "answered 418: teapot")],
)
def test_a_status_that_asking_again_cannot_help_is_refused(status: int, message: str) -> None:
    with (
        stub_scanner(lambda *_: Reply(b"teapot", status)) as stub,
        pytest.raises(ScannerRefused, match=message),
    ):
        fetch(stub.url, ["A:B"])
    assert len(stub.questions) == 1


def test_the_session_cookie_goes_to_the_scanner_and_into_no_text(
    start_scanner: StartScanner, stocks: Stocks
) -> None:
    scanner = start_scanner(plan=FaultPlan(chances={"forbidden-html": 0.5, "reset": 1.0}))
    with ScannerClient(scanner.url, quick(), session_id=SECRET) as client:
        snapshot = client.fetch(stocks, COLUMNS)
        assert SECRET not in repr(client) + repr(vars(client)) + repr(snapshot)
    assert {request.headers["Cookie"] for request in scanner.requests} == {f"sessionid={SECRET}"}


def test_without_a_session_no_cookie_is_sent(start_scanner: StartScanner, stocks: Stocks) -> None:
    scanner = start_scanner()
    fetch(scanner.url, stocks)
    assert "Cookie" not in scanner.requests[0].headers


@pytest.mark.parametrize("end", ["\n", "\r", "\r\nX-Injected: 1", "\x00", "\u2603"])
def test_a_session_that_no_header_can_carry_is_refused_without_showing_it(end: str) -> None:
    with pytest.raises(InputError, match="Cookie") as caught:
        ScannerClient("http://127.0.0.1:9", quick(), session_id=SECRET + end)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("headers", [{"X-A": "1\n"}, {"X-A": " 1"}, {"X A": "1"}, {"": "1"}])
def test_a_header_that_http_does_not_allow_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(InputError, match="header"):
        ScannerClient("http://127.0.0.1:9", quick(headers=headers))


def test_headers_can_be_set_and_do_not_show(start_scanner: StartScanner, stocks: Stocks) -> None:
    scanner = start_scanner()
    headers = {"User-Agent": "mine/1", "Origin": "https://example.org", "X-Token": SECRET}
    options = quick(headers=headers)
    with ScannerClient(scanner.url, options) as client:
        client.fetch(stocks, COLUMNS)
    sent = scanner.requests[0].headers
    assert {name: sent[name] for name in headers} == headers
    assert SECRET not in repr(options)


def test_by_default_the_client_says_what_it_is(start_scanner: StartScanner, stocks: Stocks) -> None:
    scanner = start_scanner()
    fetch(scanner.url, stocks)
    sent = scanner.requests[0].headers
    assert "tvfeast/" in sent["User-Agent"]
    assert sent["Content-Type"] == "application/json"
    assert "gzip" in sent["Accept-Encoding"]


@pytest.mark.parametrize("in_flight", [1, 2, 3])
def test_no_more_requests_are_under_way_than_allowed(
    start_scanner: StartScanner, stocks: Stocks, in_flight: int
) -> None:
    latency = 0.05
    scanner = start_scanner(latency=latency)
    fetch(scanner.url, stocks, batch_size=1, in_flight=in_flight)
    arrivals = sorted(request.at for request in scanner.requests)
    assert len(arrivals) == len(stocks)
    for arrival in arrivals:  # each is under way for its latency at least
        assert sum(arrival - latency < other <= arrival for other in arrivals) <= in_flight


def test_one_connection_serves_many_requests(start_scanner: StartScanner, stocks: Stocks) -> None:
    scanner = start_scanner()
    fetch(scanner.url, stocks, batch_size=2, in_flight=1)
    assert {request.headers["Connection"] for request in scanner.requests} == {"keep-alive"}


@pytest.mark.parametrize("seed", range(6))
def test_amid_many_faults_every_symbol_has_one_fate_and_every_row_is_right(
    start_scanner: StartScanner, sample_panel: Panel, seed: int
) -> None:
    often = ["empty", "html", "truncated", "reset", "rate-limited", "server-error"]
    row_faults = ["wrong-width", "text-value", "nan-value", "conflicting-rows"]
    harmless = ["duplicate-rows", "unasked-row", "short-page", "forbidden-html"]
    plan = FaultPlan(chances=dict.fromkeys([*often, *row_faults, *harmless], 0.05), seed=seed)
    symbols = (*sample_panel.symbols, "NASDAQ:NOSUCH", "NYSE:GONE")
    poison, spoiled = sample_panel.symbols[20], sample_panel.symbols[40]
    scanner = start_scanner(plan=plan, poison=[poison], spoiled={spoiled: "text-value"})
    snapshot = fetch(scanner.url, symbols, batch_size=7, in_flight=3, retries=8)
    assert every_symbol_has_one_fate(snapshot, symbols)
    assert snapshot.rows == panel_rows(sample_panel, snapshot.rows)
    assert {poison, spoiled} <= set(snapshot.failed)
    assert all(snapshot.failed.values())
    assert len(snapshot.rows) >= 50
    assert set(snapshot.absent) == {"NASDAQ:NOSUCH", "NYSE:GONE"}


@pytest.mark.parametrize("seed", range(3))
def test_amid_more_faults_than_retries_every_symbol_still_has_one_fate(
    start_scanner: StartScanner, sample_panel: Panel, seed: int
) -> None:
    chances = {"empty": 0.5, "reset": 0.5, "text-value": 0.5, "wrong-width": 0.9}
    scanner = start_scanner(plan=FaultPlan(chances=chances, seed=seed))
    snapshot = fetch(scanner.url, sample_panel.symbols, batch_size=9, retries=1)
    assert every_symbol_has_one_fate(snapshot, sample_panel.symbols)
    assert snapshot.rows == panel_rows(sample_panel, snapshot.rows)


def test_an_answer_larger_than_allowed_is_not_read_on(
    start_scanner: StartScanner, stocks: Stocks
) -> None:
    snapshot = fetch(start_scanner().url, stocks, largest_answer=500)
    assert snapshot.rows == {}
    assert all("larger than 500 bytes" in reason for reason in snapshot.failed.values())


def test_a_small_body_that_unpacks_without_end_is_not_read_on() -> None:
    bomb = gzip.compress(b" " * (64 << 20), 1)
    with stub_scanner(lambda *_: Reply(bomb, headers={"Content-Encoding": "gzip"})) as stub:
        snapshot = fetch(stub.url, ["A:B"], largest_answer=1 << 20, retries=0)
    assert "larger than 1,048,576 bytes" in snapshot.failed["A:B"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_does_not_unpack_is_a_reason(encoding: str) -> None:
    reply = Reply(b"\x00 not packed", headers={"Content-Encoding": encoding})
    with stub_scanner(lambda *_: reply) as stub:
        snapshot = fetch(stub.url, ["A:B"], retries=1)
    assert "connection failed" in snapshot.failed["A:B"]
    assert len(stub.questions) == 2


def test_a_body_shorter_than_promised_is_asked_again() -> None:
    whole = rows_answer([row("A:B")])

    def answer(number: int, _: Any) -> Reply:
        promise = {"Content-Length": str(len(whole) + 10), "Connection": "close"}
        return Reply(whole, headers=promise if number == 0 else {})

    with stub_scanner(answer) as stub:
        snapshot = fetch(stub.url, ["A:B"])
    assert set(snapshot.rows) == {"A:B"}


def test_a_400_of_any_body_is_a_rejection(stocks: Stocks) -> None:
    for body in (b"", b"<html>no</html>", b'{"error":null}', b"\xff"):
        with stub_scanner(lambda *_, body=body: Reply(body, 400)) as stub:
            snapshot = fetch(stub.url, stocks[:2])
        assert sorted(snapshot.failed) == sorted(stocks[:2])
        assert all(reason.startswith("rejected (400): ") for reason in snapshot.failed.values())
        assert len(stub.questions) == 3


def test_control_characters_of_the_scanner_reach_no_terminal() -> None:
    error = json.dumps({"error": "no\x1b]0;mine\x07", "data": None}).encode()
    for reply in (
        Reply(b"\x1b[2Jbad", 502),
        Reply(error, 400),
        Reply(headers={"Content-Length": "\x1b[2J"}),
    ):
        with stub_scanner(lambda *_, reply=reply: reply) as stub:
            snapshot = fetch(stub.url, ["A:B"], retries=0)
        assert snapshot.failed["A:B"].isprintable()
    away = Reply(b"", 302, {"Location": "https://a.example/\x1b[2J"})
    with stub_scanner(lambda *_: away) as stub, pytest.raises(ScannerRefused) as caught:
        fetch(stub.url, ["A:B"])
    assert str(caught.value).isprintable()


def test_an_environments_proxy_and_netrc_are_left_alone(
    start_scanner: StartScanner, stocks: Stocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    scanner = start_scanner()
    snapshot = fetch(scanner.url, stocks)
    assert set(snapshot.rows) == set(stocks)
    assert "Authorization" not in scanner.requests[0].headers


def test_a_proxy_is_used_for_a_scanner_elsewhere_and_netrc_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine scanner.example login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with stub_scanner(lambda *_: Reply(rows_answer([row("A:B")]))) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        snapshot = fetch("http://scanner.example", ["A:B"], allow_insecure=True)
    assert set(snapshot.rows) == {"A:B"}
    assert "Authorization" not in proxy.headers[0]


@pytest.mark.parametrize(
    "url",
    ["http://scanner.example", "http://127.0.0.1.example", "http://[::2]", "http://10.0.0.1:80/x"],
)
def test_http_beyond_this_machine_is_refused_before_anything_is_sent(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stub_scanner(lambda *_: Reply(rows_answer([row("A:B")]))) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with pytest.raises(InputError, match="--allow-insecure"):
            ScannerClient(url, quick(), session_id=SECRET)
        assert proxy.questions == []
        assert fetch(url, ["A:B"], allow_insecure=True).failed == {}
    assert len(proxy.questions) == 1


@pytest.mark.parametrize("url", ["https://x.example", "http://127.0.0.1:9", "http://[::1]:9"])
def test_https_and_this_machine_need_no_leave(url: str) -> None:
    ScannerClient(url, quick(), session_id=SECRET)


def test_the_deadline_of_an_exchange_holds_for_a_body_without_length() -> None:
    """Its end is the connection's, so that one cut short looks whole."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                whole = rows_answer([row("A:B")])
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + whole)
                while True:
                    time.sleep(0.05)
                    connection.sendall(b" ")

        threading.Thread(target=trickle, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        started = time.monotonic()
        snapshot = fetch(url, ["A:B"], retries=0, total_timeout=0.4)
    assert snapshot.failed == {"A:B": "no whole answer within 0.4 s"}
    assert time.monotonic() - started < 1.5


INTERRUPTED = """
import sys
sys.path.insert(0, {tools!r})
from scanner_tools import COLUMNS
from ingestion.scanner import ScannerClient
with ScannerClient({url!r}) as client:
    client.fetch([f"X:S{{n}}" for n in range(2000)], COLUMNS)
"""


def test_ctrl_c_does_not_wait_for_answers_under_way(start_scanner: StartScanner) -> None:
    scanner = start_scanner(plan=FaultPlan(chances={"stall": 1.0}))
    program = INTERRUPTED.format(tools=str(Path(__file__).parent), url=scanner.url)
    child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 20
        while len(scanner.requests) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        started = time.monotonic()
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=10)
    finally:
        child.kill()
    assert time.monotonic() - started < 1.5
    assert b"KeyboardInterrupt" in errors
    assert len(scanner.requests) == 2


def test_the_defaults_stay_inside_what_the_scanner_is_known_to_bear() -> None:
    options = ScannerOptions()
    assert options.batch_size <= 1000
    assert options.in_flight <= 2
    assert options.read_timeout < math.inf
    assert replace(options, batch_size=1).batch_size == 1
