"""Requests that the scanner rejects: whose fault it is, and nobody else's."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from scanner_tools import (
    COLUMNS,
    Reply,
    StartScanner,
    Stocks,
    every_symbol_has_one_fate,
    fetch,
    panel_rows,
    quick,
    row,
    rows_answer,
    stub_scanner,
)

from ingestion.base.errors import ScannerRefused, UnknownColumn
from ingestion.catalog import Column, Dtype
from ingestion.replay import FaultPlan, Panel
from ingestion.scanner import ScannerClient


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
        snapshot = fetch(stub.url, symbols)
    assert set(snapshot.failed) == poison
    assert len(snapshot.rows) == len(symbols) - len(poison)


def test_more_spoiling_tickers_than_can_be_searched_for_end_the_search() -> None:
    symbols = [f"X:S{number:04}" for number in range(8_000)]
    poison = set(symbols[5::140])
    with stub_scanner(poisoned_scanner(poison)) as stub:
        snapshot = fetch(stub.url, symbols)
    assert poison <= set(snapshot.failed)
    assert every_symbol_has_one_fate(snapshot, symbols)
    assert len(snapshot.rows) > 7_000
    assert len(stub.questions) <= 16 + 2 * 256


def test_a_scanner_that_rejects_everything_is_left_alone_soon() -> None:
    symbols = [f"X:S{number:04}" for number in range(5_000)]
    with (
        stub_scanner(poisoned_scanner(set(symbols))) as stub,
        pytest.raises(ScannerRefused, match=r"every request.*Invalid symbol"),
    ):
        fetch(stub.url, symbols)
    assert 64 <= len(stub.questions) < 100  # those under way and next in line


def test_a_ticker_that_spoils_requests_is_found_amid_other_faults(
    start_scanner: StartScanner, sample_panel: Panel, stocks: Stocks
) -> None:
    plan = FaultPlan(["empty", None, "html", None, "reset"])
    scanner = start_scanner(poison=stocks[3:4], plan=plan)
    snapshot = fetch(scanner.url, stocks)
    assert list(snapshot.failed) == [stocks[3]]
    assert snapshot.rows == panel_rows(sample_panel, set(stocks) - {stocks[3]})


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


def test_a_400_of_any_body_is_a_rejection(stocks: Stocks) -> None:
    for body in (b"", b"<html>no</html>", b'{"error":null}', b"\xff"):
        with stub_scanner(lambda *_, body=body: Reply(body, 400)) as stub:
            snapshot = fetch(stub.url, stocks[:2])
        assert sorted(snapshot.failed) == sorted(stocks[:2])
        assert all(reason.startswith("rejected (400): ") for reason in snapshot.failed.values())
        assert len(stub.questions) == 3
