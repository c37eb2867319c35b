"""Answers that are not what was asked for: short pages, unknown symbols, bad rows."""

import time
from typing import Any

import pytest
from scanner_tools import (
    Reply,
    StartScanner,
    Stocks,
    asked,
    every_symbol_has_one_fate,
    fetch,
    panel_rows,
    row,
    rows_answer,
    stub_scanner,
)

from ingestion.replay import FaultPlan, Panel


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
        snapshot = fetch(stub.url, [*stocks, "A:OLD"], backoff=60.0, longest_backoff=60.0)
    assert (set(snapshot.rows), snapshot.absent) == (set(stocks), ("A:OLD",))
    assert time.monotonic() - started < 20


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
