"""Yahoo Finance's chart endpoint: daily bars with splits and dividends.

It is not documented by Yahoo. What is known of it: ``GET /v8/finance/chart/TICKER`` with
``period1``, ``period2`` (Unix seconds), ``interval=1d`` and ``events=div,splits``. Prices and
volumes of ``quote`` are adjusted for all splits until today, also for those after ``period2``; so
the events are always asked for until today. A row's time is the session's open, of a running
session the last trade. Days without a trade may be rows of nulls.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ingestion.base import clock
from ingestion.catalog import BarRequest, BarTable, DividendTable, SourceBusy, SplitTable
from ingestion.sources.http import HttpFault, get_json

YAHOO = "https://query1.finance.yahoo.com"
_AGENT = {"User-Agent": "Mozilla/5.0 (compatible; tvfeast)"}
"""Yahoo refuses the names of programming libraries."""
_PRICES = ("open", "high", "low", "close", "volume")

SUFFIXES: Mapping[str, str] = {
    **dict.fromkeys(("NASDAQ", "NYSE", "AMEX"), ""),
    "ASX": ".AX",
    "BME": ".MC",
    "BMFBOVESPA": ".SA",
    "BSE": ".BO",
    "HKEX": ".HK",
    "KRX": ".KS",
    "LSE": ".L",
    "MIL": ".MI",
    "NSE": ".NS",
    "OMXCOP": ".CO",
    "OMXHEX": ".HE",
    "OMXSTO": ".ST",
    "SIX": ".SW",
    "SSE": ".SS",
    "SZSE": ".SZ",
    "TSE": ".T",
    "TSX": ".TO",
    "TSXV": ".V",
    "XETR": ".DE",
}
"""By TradingView's code of an exchange, what Yahoo's tickers of it end in."""


def ticker(symbol: str) -> str:
    """Return Yahoo's name of a symbol.

    Examples
    --------
    >>> ticker("NYSE:BRK.B"), ticker("XETR:SAP"), ticker("HKEX:700")
    ('BRK-B', 'SAP.DE', '0700.HK')
    """
    exchange, _, name = symbol.partition(":")
    if exchange == "HKEX":
        name = name.zfill(4)
    return f"{name.replace('.', '-').replace('/', '-')}{SUFFIXES[exchange]}"


def tables(want: BarRequest) -> Iterator[BarTable]:
    """Yield the splits of a symbol, its dividends, and its bars.

    Raises
    ------
    SourceBusy
        If the network fails, Yahoo is busy, or the answer is none that could be one.
    ValueError
        If it is about something else than was asked for.
    """
    chart = _chart(ticker(want.symbol), want.first)
    if chart is None:
        return
    zone = ZoneInfo(chart["meta"]["exchangeTimezoneName"])
    yield SplitTable(_splits(chart, zone))
    yield DividendTable(_dividends(chart, zone, want), decimals=6)
    yield BarTable(_bars(chart, zone, want))


def _chart(name: str, first: date) -> dict[str, Any] | None:
    """Return the answer about a ticker; None if Yahoo does not know it."""
    url = f"{os.environ.get('TVFEAST_YAHOO_URL') or YAHOO}/v8/finance/chart/{name}"
    # A day before: midnight of an exchange in the east is of the day before in UTC.
    since = datetime.combine(max(first, date(1970, 1, 2)), time(), UTC) - timedelta(days=1)
    parameters: dict[str, str | int] = {
        "period1": int(since.timestamp()),
        "period2": int((clock.now() + timedelta(days=1)).timestamp()),
        "interval": "1d",
        "events": "div,splits",
    }
    try:
        document = get_json(url, parameters, _AGENT)
    except HttpFault as fault:
        document = fault.body
        if _error(document) == "Not Found":
            return None
        raise ValueError(f"{fault}: {_description(document)}") from None
    if _error(document) is not None:
        raise ValueError(f"Yahoo answers: {_description(document)}")
    try:
        (chart,) = document["chart"]["result"]
        meta = chart["meta"]
        asked, granularity = meta["symbol"], meta["dataGranularity"]
        ZoneInfo(meta["exchangeTimezoneName"])
    except (KeyError, TypeError, ValueError, OSError):
        raise SourceBusy(f"an answer without a chart from {url}") from None
    if asked.upper() != name.upper():
        raise ValueError(f"Yahoo answers about {asked} in place of {name}: was it renamed?")
    if granularity != "1d":
        raise ValueError(f"Yahoo answers with bars of {granularity} in place of 1d")
    found: dict[str, Any] = chart
    return found


def _error(document: Any) -> str | None:
    try:
        code: str | None = document["chart"]["error"]["code"]
    except (KeyError, TypeError):
        return None
    return code


def _description(document: Any) -> str:
    try:
        return str(document["chart"]["error"]["description"])
    except (KeyError, TypeError):
        return "no reason is given"


def _bars(chart: Mapping[str, Any], zone: ZoneInfo, want: BarRequest) -> dict[str, list[Any]]:
    """Return the rows inside the request's dates that have a price."""
    stamps: Sequence[int] = chart.get("timestamp") or []
    (quote,) = chart["indicators"]["quote"]
    columns = [quote.get(name) or [None] * len(stamps) for name in _PRICES]
    if any(len(column) != len(stamps) for column in columns):
        raise SourceBusy(f"columns of several lengths from Yahoo about {want.symbol}")
    rows: dict[date, tuple[Any, ...]] = {}
    for stamp, *values in zip(stamps, *columns, strict=True):
        day = datetime.fromtimestamp(stamp, zone).date()
        # The running session may come twice, as its bar and as its last trade: the bar is first.
        if any(value is not None for value in values[:4]) and want.first <= day <= want.last:
            rows.setdefault(day, (day, *values))
    listed = [list(column) for column in zip(*rows.values(), strict=True)]
    return dict(zip(("date", *_PRICES), listed or [[] for _ in ("date", *_PRICES)], strict=True))


def _splits(chart: Mapping[str, Any], zone: ZoneInfo) -> dict[str, list[Any]]:
    """Return all splits since the first bar that was asked for."""
    events = (chart.get("events") or {}).get("splits") or {}
    found: dict[str, list[Any]] = {"date": [], "ratio": []}
    for event in events.values():
        found["date"].append(datetime.fromtimestamp(event["date"], zone).date())
        found["ratio"].append(f"{event['numerator']:g}:{event['denominator']:g}")
    return found


def _dividends(chart: Mapping[str, Any], zone: ZoneInfo, want: BarRequest) -> dict[str, list[Any]]:
    """Return the dividends whose ex-date is inside the request's dates, as Yahoo adjusts them."""
    events = (chart.get("events") or {}).get("dividends") or {}
    currency = chart["meta"].get("currency")
    found: dict[str, list[Any]] = {"date": [], "amount": [], "currency": []}
    for event in events.values():
        day = datetime.fromtimestamp(event["date"], zone).date()
        if want.first <= day <= want.last:
            found["date"].append(day)
            found["amount"].append(event["amount"])
            found["currency"].append(currency)
    return found
