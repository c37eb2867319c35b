"""A request that is too wide: cut by columns, and put together without mixing two bars."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scanner_tools import NOW, Reply, StartScanner, Stocks, quick, rows_answer, stub_scanner

from ingestion.catalog import SCANNED_BAR, Column
from ingestion.scanner import ScannerClient, Snapshot
from ingestion.scanner.pieces import cut
from tests.declared import TV_TECHNICALS_1D

UNION = tuple(dict.fromkeys((*SCANNED_BAR, *TV_TECHNICALS_1D.scanned)))
BARS = [column.scanner or "" for column in SCANNED_BAR]
FRIDAY, MONDAY = 1_617_975_000, 1_618_234_200  # opens of 2021-04-09 and 12 in New York
TICK = 1_618_257_600  # Monday's close


def fetch(url: str, symbols: tuple[str, ...], widest: int) -> Snapshot:
    with ScannerClient(url, quick(max_columns=widest)) as client:
        return client.fetch(symbols, UNION)


@pytest.mark.parametrize("widest", [10, 12, 20, len(UNION) - 1])
def test_a_request_cut_by_columns_brings_what_a_whole_one_does(
    start_scanner: StartScanner, stocks: Stocks, widest: int
) -> None:
    scanner = start_scanner()
    whole = fetch(scanner.url, stocks, len(UNION))
    assert len(scanner.requests) == 1
    cut_up = fetch(scanner.url, stocks, widest)
    assert cut_up.rows == whole.rows
    widths = [len(request.body["columns"]) for request in scanner.requests[1:]]
    assert max(widths) <= widest
    assert scanner.requests[1].body["columns"][: len(BARS)] == BARS


def test_a_market_cut_by_columns_brings_what_a_whole_one_does(start_scanner: StartScanner) -> None:
    scanner = start_scanner()
    with ScannerClient(scanner.url, quick()) as client:
        whole = client.fetch_market("crypto", UNION)
    with ScannerClient(scanner.url, quick(max_columns=12, batch_size=4)) as client:
        cut_up = client.fetch_market("crypto", UNION)
    assert (cut_up.rows, cut_up.asked) == (whole.rows, whole.asked)


SUFFIXES = ("", "|60", "|240", "|1W", "|1M")
TIMES = tuple(f"{base}{suffix}" for suffix in SUFFIXES for base in ("time", "last_bar_update_time"))
MOVING = tuple(f"c{number}{suffix}" for suffix in SUFFIXES for number in range(24))
STILL = tuple(f"text{number}" for number in range(24))


@given(
    st.lists(st.sampled_from((*TIMES, *MOVING, *STILL)), unique=True, min_size=1, max_size=160),
    st.integers(10, 60),
)
def test_pieces_are_as_few_as_can_be_and_have_every_column(names: list[str], widest: int) -> None:
    pieces = cut(names, widest, STILL)
    assert len(pieces) == math.ceil(len(names) / widest)
    assert all(len(set(piece)) == len(piece) <= widest for piece in pieces)
    assert {name for piece in pieces for name in piece} == set(names)
    repeated = Counter(name for piece in pieces for name in piece)
    assert {name for name, count in repeated.items() if count > 1} <= set(TIMES)


@given(
    st.lists(st.sampled_from((*MOVING, *STILL)), unique=True, max_size=140),
    st.integers(10, 60),
    st.randoms(use_true_random=False),
)
def test_each_piece_says_of_which_bar_it_is_where_there_is_room(
    plain: list[str], widest: int, random: Random
) -> None:
    names = [*plain, *TIMES]
    random.shuffle(names)
    pieces = cut(names, widest, STILL)
    if -len(names) % widest >= 2 * (len(pieces) - 1):
        for piece in pieces:
            of_bars = {frame(name) for name in piece if name not in STILL}
            assert {f"time{suffix}" for suffix in of_bars} <= set(piece)


def frame(name: str) -> str:
    return name[len(name.partition("|")[0]) :]


def shown(
    opened: Callable[[int], int],
    ticked: Callable[[int], int],
    mode: str = "delayed_streaming_900",
) -> Callable[[int, Any], Reply]:
    """Answer with a bar that depends on the number of the request."""

    def answer(number: int, question: Any) -> Reply:
        cells = {"time": opened(number), "last_bar_update_time": ticked(number)}
        cells |= {"update_mode": mode, "change": float(number)}
        rows = [
            {"s": symbol, "d": [cells.get(name, float(number)) for name in question["columns"]]}
            for symbol in question["symbols"]["tickers"]
        ]
        return Reply(rows_answer(rows))

    return answer


def cell(snapshot: Snapshot, symbol: str, name: str) -> Any:
    column: Column = next(each for each in UNION if each.name == name)
    return snapshot.rows[symbol][snapshot.columns.index(column)]


@pytest.fixture(autouse=True)
def monday(at: Callable[[Any], None]) -> None:
    """Half an hour after the close: a bar of Monday is closed, and its feed has caught up."""
    at(NOW)


def test_pieces_of_two_bars_are_asked_for_once_more() -> None:
    with stub_scanner(shown(lambda n: FRIDAY if n == 0 else MONDAY, lambda _: TICK)) as stub:
        snapshot = fetch(stub.url, ("NASDAQ:A",), 14)
    assert cell(snapshot, "NASDAQ:A", "bar_timestamp") == MONDAY * 1_000_000
    assert len(stub.questions) == 4


def test_pieces_that_stay_of_two_bars_cost_the_symbol() -> None:
    with stub_scanner(shown(lambda n: (FRIDAY, MONDAY)[n % 2], lambda _: TICK)) as stub:
        snapshot = fetch(stub.url, ("NASDAQ:A",), 14)
    assert "its columns are of two bars: time" in snapshot.failed["NASDAQ:A"]
    assert len(stub.questions) == 4


def test_a_closed_bar_that_changes_between_the_pieces_is_asked_for_once_more() -> None:
    with stub_scanner(shown(lambda _: MONDAY, lambda n: TICK + n)) as stub:
        snapshot = fetch(stub.url, ("NASDAQ:A",), 14)
    assert len(stub.questions) == 4
    assert cell(snapshot, "NASDAQ:A", "bar_update_timestamp") == (TICK + 3) * 1_000_000
    # The bar is of one request, whole: the first of the second time.
    values = [cell(snapshot, "NASDAQ:A", name) for name in ("open", "close", "volume", "change")]
    assert values == [2.0] * 4


def test_a_running_bar_that_changes_between_the_pieces_is_taken_as_it_is() -> None:
    midnight = 1_618_185_600
    with stub_scanner(shown(lambda _: midnight, lambda n: TICK + n, "streaming")) as stub:
        snapshot = fetch(stub.url, ("BINANCE:BTCUSDT",), 14)
    assert len(stub.questions) == 2
    assert cell(snapshot, "BINANCE:BTCUSDT", "bar_update_timestamp") == (TICK + 1) * 1_000_000


@pytest.mark.parametrize(("minutes", "requests"), [(-10, 2), (-4, 4), (4, 4), (10, 2)])
def test_pieces_without_room_for_a_time_are_asked_again_where_a_bar_may_have_begun(
    at: Callable[[Any], None], minutes: int, requests: int
) -> None:
    """New York's bar begins at 13:30; a delayed feed shows it 15 minutes later, about."""
    columns = UNION[:20]
    at(NOW.replace(hour=13, minute=45) + timedelta(minutes=minutes))
    with (
        stub_scanner(shown(lambda _: FRIDAY, lambda _: TICK)) as stub,
        ScannerClient(stub.url, quick(max_columns=10)) as client,
    ):
        assert set(client.fetch(("NASDAQ:A",), columns).rows) == {"NASDAQ:A"}
    assert ["time" in question["columns"] for question in stub.questions[:2]] == [True, False]
    assert len(stub.questions) == requests


def test_a_symbol_that_one_piece_leaves_out_is_asked_for_again() -> None:
    def answer(number: int, question: Any) -> Reply:
        tickers = question["symbols"]["tickers"][: 1 if number == 1 else None]
        names = question["columns"]
        values = {"time": MONDAY, "last_bar_update_time": TICK, "update_mode": "streaming"}
        rows = [{"s": each, "d": [values.get(name, 1.0) for name in names]} for each in tickers]
        return Reply(rows_answer(rows, total=len(question["symbols"]["tickers"])))

    with stub_scanner(answer) as stub:
        snapshot = fetch(stub.url, ("NASDAQ:A", "NASDAQ:B"), 14)
    assert set(snapshot.rows) == {"NASDAQ:A", "NASDAQ:B"}
    assert [len(each["symbols"]["tickers"]) for each in stub.questions] == [2, 2, 1, 1]
