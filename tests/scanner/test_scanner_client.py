"""Fetching given symbols: batches, connections, one fate for every symbol."""

import math
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from scanner_tools import (
    COLUMNS,
    StartScanner,
    Stocks,
    asked,
    every_symbol_has_one_fate,
    fetch,
    panel_rows,
    quick,
)

from ingestion.replay import FaultPlan, Panel
from ingestion.scanner import ScannerClient, ScannerOptions


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
        deadline = time.monotonic() + 60
        while len(scanner.requests) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=20)  # the answers take 30 s to be given up
    finally:
        child.kill()
    assert b"KeyboardInterrupt" in errors
    assert len(scanner.requests) == 2


def test_the_defaults_stay_inside_what_the_scanner_is_known_to_bear() -> None:
    options = ScannerOptions()
    assert options.batch_size <= 1000
    assert options.in_flight <= 2
    assert options.read_timeout < math.inf
    assert replace(options, batch_size=1).batch_size == 1
