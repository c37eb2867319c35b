"""Crypto exchanges through ccxt: daily bars from the first one that an exchange gives.

ccxt knows the addresses, forms and rate limits of each exchange; what it asks goes through
:func:`~ingestion.sources.http.get_json`, so that an answer has a bound and a failure its reason.
A table says where the exchanges differ.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from importlib import import_module
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from ingestion.base import clock
from ingestion.base.errors import InputError
from ingestion.base.instants import EPOCH
from ingestion.catalog import BarRequest, BarTable, SourceBusy
from ingestion.sources.http import HttpFault, get_json

_DAY = timedelta(days=1)
_DAY_MS = 86_400_000
_COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
_LISTS_AGE = 3_600.0
"""Seconds after which an exchange is asked for its markets again."""


@dataclass(frozen=True)
class Exchange:
    """How an exchange differs from the others.

    Parameters
    ----------
    ccxt
        Name of its class in ccxt.
    variable
        The environment variable that names another server.
    page
        How many bars an answer has at most.
    began
        Before this day it has no bars.
    in_windows
        Whether a question is about so many days, so that an empty answer says nothing of the days
        after them. Else an answer has the first bars from its day on.
    every_day
        Whether a market that trades has a bar of each day, also where nothing was traded.
    perpetuals
        Whether it has perpetual contracts that are settled in their quote currency.
    """

    ccxt: str
    variable: str
    page: int
    began: date
    in_windows: bool = False
    every_day: bool = True
    perpetuals: bool = False


_ALL = (
    Exchange("binance", "TVFEAST_BINANCE_URL", 1_000, date(2017, 7, 1), perpetuals=True),
    Exchange(
        "coinbaseexchange",
        "TVFEAST_COINBASE_URL",
        300,
        date(2014, 12, 1),
        in_windows=True,
        every_day=False,
    ),
    Exchange("kraken", "TVFEAST_KRAKEN_URL", 720, date(2013, 9, 1)),
    Exchange("okx", "TVFEAST_OKX_URL", 300, date(2017, 10, 1), in_windows=True, perpetuals=True),
)
EXCHANGES: Mapping[str, Exchange] = MappingProxyType(
    {each.ccxt.removesuffix("exchange"): each for each in _ALL}
)
"""By the name of the bar source."""


def tables(source: str, want: BarRequest) -> Iterator[BarTable]:
    """Yield the daily bars of a symbol, page by page; the last one may still run.

    Raises
    ------
    InputError
        If ccxt is not installed.
    SourceBusy
        If the network fails, the exchange is busy, or its bars end although the market trades.
    ValueError
        If an answer is about something else than was asked for.
    """
    how, exchange = EXCHANGES[source], _opened(source)
    market = exchange.market_of(want.symbol.partition(":")[2])
    if market is None:
        return
    today = clock.now().date()
    day, last, newest = max(want.first, how.began), min(want.last, today), None
    while day <= last:
        rows = exchange.page(market, day, how.page)
        if how.in_windows and rows:  # such answers begin with the newest bar: old ones may lack
            rows = [*exchange.before(market, day, rows[0][0]), *rows]
        if rows:
            times, *columns = zip(*rows, strict=True)
            seconds = [stamp // 1_000 for stamp in times]
            yield BarTable(dict(zip(_COLUMNS, (seconds, *map(list, columns)), strict=True)))
            newest = EPOCH + timedelta(milliseconds=rows[-1][0])
            day = newest + _DAY
        elif how.in_windows:
            day += how.page * _DAY
        else:
            break
    due = min(last, today - _DAY)
    if how.every_day and market["active"] and (newest or EPOCH) < due:
        ended = f"end on {newest}" if newest else "are missing"
        raise SourceBusy(f"{source}'s bars of {want.symbol} {ended} although the market trades")


@dataclass
class _Opened:
    """An exchange with the markets that it has listed."""

    how: Exchange
    client: Any
    listed: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)
    """By kind of market: when it was listed, and the markets by ticker."""

    def market_of(self, ticker: str) -> dict[str, Any] | None:
        """Return ccxt's market of a ticker; None if there is none, or more than one."""
        kind = "swap" if ticker.endswith(".P") else "spot"
        if kind == "swap" and not self.how.perpetuals:
            return None
        at, markets = self.listed.get(kind, (0.0, {}))
        if not markets or time.monotonic() - at > _LISTS_AGE:
            markets = _by_ticker(self._markets(kind), kind)
            self.listed[kind] = (time.monotonic(), markets)
        return markets.get(ticker.removesuffix(".P"))

    def _markets(self, kind: str) -> list[dict[str, Any]]:
        types = ["linear"] if kind == "swap" and self.how.ccxt == "binance" else [kind]
        self.client.options["fetchMarkets"] = {"types": types}
        found: list[dict[str, Any]] = self.client.fetch_markets()
        self.client.set_markets([*found, *(self.client.markets or {}).values()])
        return found

    def page(self, market: Mapping[str, Any], first: date, size: int) -> list[list[Any]]:
        """Return up to so many bars from a day on, in the order of their times.

        Raises
        ------
        ValueError
            If a time is none of a day.
        """
        since = (first - EPOCH).days * _DAY_MS
        rows: list[list[Any]] = self.client.fetch_ohlcv(market["symbol"], "1d", since, size)
        end = since + 100_000 * _DAY_MS
        for stamp, *_ in rows:
            if stamp % _DAY_MS or stamp > end:
                raise ValueError(
                    f"{self.how.ccxt} answers about {market['symbol']} with the time {stamp}, "
                    "which is no day's 00:00 UTC in milliseconds"
                )
        return rows

    def before(self, market: Mapping[str, Any], first: date, end: int) -> list[list[Any]]:
        """Return the bars from a day on until a time, asked for until no more come."""
        found: list[list[Any]] = []
        while (days := (end // _DAY_MS) - (first - EPOCH).days) > 0:
            rows = [row for row in self.page(market, first, days) if row[0] < end]
            if not rows:
                break
            found, end = [*rows, *found], rows[0][0]
        return found


def _by_ticker(markets: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """Return markets by TradingView's ticker, without ``.P``; one that several have is nobody's.

    The exchange's own name of a pair comes before that of ccxt.
    """
    wanted = [
        each for each in markets if each["type"] == kind and (kind == "spot" or each["linear"])
    ]
    found: dict[str, dict[str, Any]] = {}
    for name in (_unified_name, _own_name):
        times = Counter(map(name, wanted))
        found |= {name(each): each for each in wanted if times[name(each)] == 1}
    return found


def _unified_name(market: Mapping[str, Any]) -> str:
    return f"{market['base']}{market['quote']}"


def _own_name(market: Mapping[str, Any]) -> str:
    name = market.get("altname") or market["id"]
    return str(name).removesuffix("-SWAP").replace("-", "").replace("/", "").upper()


_OPEN: dict[tuple[str, str | None], _Opened] = {}
"""One client per exchange and server: it counts the requests, which its rate limit is about."""


def _opened(source: str) -> _Opened:
    how = EXCHANGES[source]
    base = os.environ.get(how.variable) or None
    if (source, base) not in _OPEN:
        try:
            ccxt = import_module("ccxt")
        except ModuleNotFoundError:
            raise InputError(
                f"the bar source {source} needs the package ccxt: pip install "
                "'tvfeast[exchanges]', in a checkout pip install '.[exchanges]'"
            ) from None
        client = _client(getattr(ccxt, how.ccxt), ccxt.NetworkError, base)
        _OPEN[source, base] = _Opened(how, client)
    return _OPEN[source, base]


def _client(base_class: Any, network_error: type[Exception], base: str | None) -> Any:
    """Return a client of ccxt whose questions are asked by :func:`get_json`."""

    def fetch(
        self: Any, url: str, method: str = "GET", headers: Any = None, body: Any = None
    ) -> Any:
        if method != "GET" or body:
            raise ValueError(f"{url} is asked with {method}, not with GET")
        if base is not None:
            parts, other = urlsplit(url), urlsplit(base)
            url = parts._replace(scheme=other.scheme, netloc=other.netloc).geturl()
        status, fault = 200, None
        try:
            document = get_json(url, {}, self.prepare_request_headers(headers))
        except HttpFault as error:
            status, document, fault = error.status, error.body, error
        try:  # exchanges say their errors in many ways, with success as their status too
            text = self.json(document)
            self.handle_errors(status, "", url, method, {}, text, document, headers, body)
        except network_error as error:
            raise SourceBusy(str(error)) from None
        if fault is not None:
            raise fault
        return document

    client = type(base_class.__name__, (base_class,), {"fetch": fetch})
    return client({"enableRateLimit": True})
