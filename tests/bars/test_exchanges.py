"""Crypto exchanges, spoken by servers over real bars: nothing wrong is stored, nothing missing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import list_parts, read_current
from ingestion.project import Project
from ingestion.replay.exchanges import (
    Pair,
    ReplayBinance,
    ReplayCoinbase,
    ReplayExchange,
    ReplayKraken,
    ReplayOkx,
    bars_of,
)
from ingestion.replay.vendor import Fault, Reply
from ingestion.sources import exchanges
from tests.bars.vendors import fetch_from
from tests.conftest import SAMPLE

SERVERS: dict[str, type[ReplayExchange]] = {
    "binance": ReplayBinance,
    "coinbase": ReplayCoinbase,
    "kraken": ReplayKraken,
    "okx": ReplayOkx,
}
NOON = datetime(2021, 4, 12, 12, tzinfo=UTC)
LAST = date(2021, 4, 11)
COLUMNS = ("open", "high", "low", "close", "volume")
FIRST = {"BTC": date(2021, 2, 15), "ETH": date(2021, 3, 20)}
PAGE = 20


@pytest.fixture(scope="module")
def series() -> dict[str, list[tuple[Any, ...]]]:
    """Real bars of two coins, by base: each date is a part, so they are few."""
    table = pq.read_table(SAMPLE / "bars.parquet")
    found = {}
    for base, first in FIRST.items():
        own = table.filter(pc.equal(table["symbol"], f"BINANCE:{base}USDT"))
        found[base] = [bar for bar in bars_of(own.to_pylist()) if bar[0] >= first]
    return found


ONE = pytest.mark.parametrize("name", ["binance"], indirect=True)
"""Of what all exchanges share."""


@pytest.fixture(params=list(SERVERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(
    name: str,
    series: dict[str, list[tuple[Any, ...]]],
    at: Callable[[datetime], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ReplayExchange]:
    at(NOON)
    monkeypatch.setattr("time.sleep", lambda _: None)
    began = date(2021, 1, 10)
    short = {
        each: replace(how, page=PAGE, began=began) for each, how in exchanges.EXCHANGES.items()
    }
    monkeypatch.setattr(exchanges, "EXCHANGES", short)
    monkeypatch.setattr(exchanges, "_OPEN", {})
    pairs = [Pair(base, "USDT", bars) for base, bars in series.items()]
    with SERVERS[name](pairs) as server:
        monkeypatch.setenv(f"TVFEAST_{name.upper()}_URL", server.url)
        yield server


@pytest.fixture
def fetch(
    name: str, server: ReplayExchange, folder: Path
) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run the command for tickers; its exit code, and its JSON or the error."""

    def run(*tickers: str, since: str | None = None) -> tuple[int, dict[str, Any]]:
        symbols = [f"{name.upper()}:{ticker}" for ticker in tickers]
        return fetch_from(folder, name, *symbols, since=since)

    return run


def stored(name: str, ticker: str) -> list[tuple[Any, ...]]:
    """Return the stored bars of a ticker, as a vendor's."""
    lakehouse = Project.from_environment().lakehouse
    rows = read_current(list_parts(lakehouse, OHLCV_1D), OHLCV_1D)
    own = rows.filter(pc.equal(rows["symbol"], f"{name.upper()}:{ticker}"))
    return bars_of(own.sort_by("timestamp").to_pylist())


def closed(bars: list[tuple[Any, ...]], last: date = LAST) -> list[tuple[Any, ...]]:
    return [bar for bar in bars if bar[0] <= last]


def pages(server: ReplayExchange) -> int:
    """Return how many questions were about candles."""
    return sum(path.endswith(("klines", "candles", "OHLC")) for path, _ in server.asked)


def test_every_closed_bar_comes_page_by_page_and_then_only_what_is_new(
    fetch, server, name, series, at
):
    code, told = fetch("BTCUSDT", "ETHUSDT")
    assert (code, told["refused"], told["failed"]) == (0, 0, {})
    for base, bars in series.items():
        assert stored(name, f"{base}USDT") == closed(bars)
    assert pages(server) >= 3 + 2
    server.asked.clear()
    at(NOON + timedelta(days=2))
    assert fetch("BTCUSDT", "ETHUSDT")[0] == 0
    assert stored(name, "BTCUSDT") == closed(series["BTC"], date(2021, 4, 13))
    assert pages(server) <= 4


@ONE
def test_what_came_before_a_server_went_down_stays_and_the_rest_comes_next_time(
    fetch, server, name, series
):
    down = [Fault("status", 503)] * 60
    fetch("ETHUSDT")  # the markets are listed
    server.pages.extend([lambda rows: rows, lambda rows: server.faults.extend(down) or rows])
    code, told = fetch("BTCUSDT")
    assert (code, list(told["failed"])) == (3, [f"{name} {name.upper()}:BTCUSDT"])
    first = stored(name, "BTCUSDT")
    assert first == closed(series["BTC"])[: len(first)]
    assert len(first) >= PAGE
    server.faults.clear()
    assert fetch("BTCUSDT")[0] == 0
    assert stored(name, "BTCUSDT") == closed(series["BTC"])


def _overlaps(rows: list[list[Any]]) -> list[list[Any]]:
    return [*rows[:3], *rows]


def _nulls(rows: list[list[Any]]) -> list[list[Any]]:
    return [[rows[0][0], None, None, None, None, *rows[0][5:]], *rows[1:]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_overlaps, None),
        (lambda rows: rows[: -(-len(rows) // 2)], None),
        (lambda rows: [], "although the market trades"),
        (_nulls, "rows were refused"),
        (lambda rows: [[int(row[0]) * 1_000, *row[1:]] for row in rows], "milliseconds"),
        (lambda rows: [[int(row[0]) + 1, *row[1:]] for row in rows], "milliseconds"),
    ],
    ids=["overlapping", "short", "missing", "nulls", "microseconds", "not a day"],
)
def test_a_page_that_is_wrong_stores_nothing_wrong_and_a_repetition_brings_the_rest(
    fetch, server, name, series, change, says
):
    if name == "coinbase" and says == "although the market trades":
        pytest.skip("days without a trade have no candle there: nothing shows that one is missing")
    server.pages.extend([lambda rows: rows, *[change] * (8 if says is None else 40)])
    code, told = fetch("BTCUSDT")
    right = closed(series["BTC"])
    assert set(stored(name, "BTCUSDT")) <= set(right)
    if says is None:
        assert (code, stored(name, "BTCUSDT")) == (0, right)
    else:
        assert code == 3
        assert says in json.dumps(told)
    server.pages.clear()
    assert fetch("BTCUSDT")[0] == 0
    assert stored(name, "BTCUSDT") == right


def test_symbols_that_the_exchange_does_not_know_are_said_and_the_others_come(
    fetch, server, name, series
):
    code, told = fetch("BTCUSDT", "MATICUSDT", "BTCUSD.P", "BTCUSDT_210625")
    assert code == 3
    exchange = name.upper()
    assert told["empty"] == [
        f"{exchange}:MATICUSDT",
        f"{exchange}:BTCUSD.P",
        f"{exchange}:BTCUSDT_210625",
    ]
    assert stored(name, "BTCUSDT") == closed(series["BTC"])


def test_a_market_that_no_longer_trades_ends_where_it_ended(fetch, server, name, series):
    bars = series["BTC"][:30]
    server.pairs[0] = Pair("BTC", "USDT", bars, trades=False)
    assert fetch("BTCUSDT")[0] == 0
    assert stored(name, "BTCUSDT") == bars


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("binance", Reply({"code": -1003, "msg": "Too much request weight used"}, 429)),
        ("coinbase", Reply({"message": "Public rate limit exceeded"}, 429)),
        ("kraken", Reply({"error": ["EGeneral:Too many requests"]})),
        ("kraken", Reply({"error": ["EService:Unavailable"]})),
        ("okx", Reply({"code": "50011", "msg": "Too Many Requests", "data": []}, 429)),
        ("okx", Reply({"code": "50001", "msg": "Service temporarily unavailable", "data": []})),
    ],
    indirect=["name"],
)
def test_an_exchange_that_says_in_its_own_way_that_it_is_busy_is_asked_again(
    fetch, server, name, series, answer, monkeypatch
):
    right, busy = server.reply, [answer] * 2
    monkeypatch.setattr(server, "reply", lambda *asked: busy.pop() if busy else right(*asked))
    code, told = fetch("ETHUSDT")
    assert (code, told["failed"], busy) == (0, {}, [])
    assert stored(name, "ETHUSDT") == closed(series["ETH"])


def test_days_without_a_trade_are_stored_as_the_exchange_has_them(fetch, server, name, series):
    """Coinbase has no candle of them, the others a flat one."""
    bars = [
        (bar[0], *[before[4]] * 4, 0.0) if bar[0].day % 3 == 0 else bar
        for before, bar in zip(series["ETH"], series["ETH"][1:], strict=False)
    ]
    server.pairs[1] = Pair("ETH", "USDT", bars)
    assert fetch("ETHUSDT")[0] == 0
    right = [bar for bar in closed(bars) if bar[5] or name != "coinbase"]
    assert stored(name, "ETHUSDT") == right


@pytest.mark.parametrize("name", ["kraken"], indirect=True)
def test_days_that_kraken_no_longer_has_are_said_once_and_never_taken_for_asked(
    fetch, server, name, series, at
):
    assert fetch("BTCUSDT")[0] == 0
    first = stored(name, "BTCUSDT")
    at(NOON + timedelta(days=740))  # nobody has fetched for two years
    days = [NOON.date() + timedelta(days=day) for day in range(730, 741)]
    later = [(day, *[1_900.0] * 4, 1.0) for day in days]  # two years would be a part per day
    server.pairs[0] = Pair("BTC", "USDT", later)
    code, told = fetch("BTCUSDT", since="2023-03-20")  # within what it has
    assert (code, told["too_old"]) == (0, [])
    code, told = fetch("BTCUSDT", since="2021-04-20")
    assert (code, told["too_old"]) == (3, ["KRAKEN:BTCUSDT"])
    assert "wanted from days on that it no longer has" in told["error"]
    bars = stored(name, "BTCUSDT")
    assert bars[: len(first)] == first
    assert bars[len(first) :] == later[:-1]
    asked = datetime.fromtimestamp(int(server.asked[-1][1]["since"]) + 86_400, UTC)
    assert asked.date() == days[-1] - timedelta(days=719)  # ccxt asks for a day more
    assert fetch("BTCUSDT")[0] == 0


@pytest.mark.parametrize("name", ["binance", "okx"], indirect=True)
def test_a_perpetual_contract_is_another_market_than_its_pair(fetch, server, name, series):
    server.pairs.append(Pair("BTC", "USDT", series["ETH"], perpetual=True))
    assert fetch("BTCUSDT", "BTCUSDT.P")[0] == 0
    assert stored(name, "BTCUSDT.P") == closed(series["ETH"])
    assert stored(name, "BTCUSDT") == closed(series["BTC"])


@ONE
def test_without_ccxt_one_line_says_what_to_install(fetch, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "ccxt", None)
    code, told = fetch("BTCUSDT")
    assert code == 4
    assert f"the bar source {name} needs the package ccxt: pip install" in told["error"]
    assert "\n" not in told["error"]
