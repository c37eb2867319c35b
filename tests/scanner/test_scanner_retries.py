"""Faults that pass, and what is asked again after them and when."""

import contextlib
import socket
import threading
import time
from typing import Any

import pytest
from scanner_tools import (
    Reply,
    StartScanner,
    Stocks,
    asked,
    fetch,
    panel_rows,
    row,
    rows_answer,
    stub_scanner,
)

from ingestion.replay import FaultPlan, Panel

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
    snapshot = fetch(scanner.url, stocks, batch_size=6, in_flight=1, read_timeout=1.5)
    assert snapshot.rows == panel_rows(sample_panel, stocks)
    assert asked(scanner) == [list(stocks[:6]), list(stocks[6:]), list(stocks[6:])]


@pytest.mark.parametrize("fault", ["trickle", "trickle-headers"])
def test_after_a_trickle_only_what_is_missing_is_asked_again(
    start_scanner: StartScanner, sample_panel: Panel, stocks: Stocks, fault: str
) -> None:
    scanner = start_scanner(plan=FaultPlan([None, fault]))
    snapshot = fetch(scanner.url, stocks, batch_size=6, in_flight=1, total_timeout=1.5)
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
    limit = {"stall": "read_timeout"}.get(fault, "total_timeout")
    limits = {limit: 0.3} if fault not in PASSING else {}
    snapshot = fetch(scanner.url, stocks, batch_size=6, retries=2, **limits)
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
    assert len(scanner.requests) <= 20  # of 36
    assert sorted(snapshot.failed) == sorted(stocks)


def test_nothing_listening_is_a_reason_and_no_exception(stocks: Stocks) -> None:
    with socket.socket() as bound:  # and listening to nobody
        bound.bind(("127.0.0.1", 0))
        snapshot = fetch(f"http://127.0.0.1:{bound.getsockname()[1]}", stocks, batch_size=6)
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


def test_a_body_shorter_than_promised_is_asked_again() -> None:
    whole = rows_answer([row("A:B")])

    def answer(number: int, _: Any) -> Reply:
        promise = {"Content-Length": str(len(whole) + 10), "Connection": "close"}
        return Reply(whole, headers=promise if number == 0 else {})

    with stub_scanner(answer) as stub:
        snapshot = fetch(stub.url, ["A:B"])
    assert set(snapshot.rows) == {"A:B"}


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
        snapshot = fetch(url, ["A:B"], retries=0, total_timeout=0.4)  # else for ever
    assert snapshot.failed == {"A:B": "no whole answer within 0.4 s"}
