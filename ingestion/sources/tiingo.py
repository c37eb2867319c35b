"""Tiingo's end-of-day prices: daily bars as traded, with splits and dividends.

``GET /tiingo/daily/TICKER/prices`` with ``startDate``, ``endDate`` (both included) and
``format=json``; the key is in the header ``Authorization: Token …``. The answer is a list with an
object for each session: ``date``, ``open``, ``high``, ``low``, ``close``, ``volume`` as traded, the
same with ``adj…`` (which are not taken), ``divCash`` and ``splitFactor`` of that ex-date. A ticker
that is not known is status 404, a spent limit 429, or status 200 with a text.
Source: https://www.tiingo.com/documentation/end-of-day.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from ingestion.base.errors import InputError
from ingestion.base.settings import LOOPBACK
from ingestion.catalog import BarRequest, BarTable, DividendTable, SourceBusy
from ingestion.sources.http import HttpBusy, HttpFault, get_json

TIINGO = "https://api.tiingo.com"
KEY = "TVFEAST_TIINGO_KEY"
HOUR = 3_600.0
"""Seconds until a spent limit is there again, where the answer does not say it."""
_PRICES = ("open", "high", "low", "close", "volume")
_SPENT = re.compile(r"run over|request allocation|symbol look ?up", re.IGNORECASE)


def ticker(symbol: str) -> str:
    """Return Tiingo's name of a symbol.

    Examples
    --------
    >>> ticker("NASDAQ:AAPL"), ticker("NYSE:BRK.B"), ticker("NYSE:BAC/PL")
    ('AAPL', 'BRK-B', 'BAC-P-L')
    """
    _, _, name = symbol.partition(":")
    return re.sub(r"/P(?=[A-Z]$)", "-P-", name).replace(".", "-").replace("/", "-")


def tables(want: BarRequest) -> Iterator[BarTable]:
    """Yield the dividends of a symbol, and its bars.

    Raises
    ------
    SourceBusy
        If the limit is spent, the answer is none that could be one, the network fails, or Tiingo is
        down.
    InputError
        If there is no key, or it cannot be one.
    ValueError
        If Tiingo refuses to answer.
    """
    rows = _rows(ticker(want.symbol), want)
    if not rows:
        return
    days = [date.fromisoformat(str(row["date"])[:10]) for row in rows]
    paid = [(day, row["divCash"]) for day, row in zip(days, rows, strict=True) if row["divCash"]]
    yield DividendTable({"date": [day for day, _ in paid], "amount": [cash for _, cash in paid]})
    yield BarTable(
        {
            "date": days,
            **{name: [row[name] for row in rows] for name in _PRICES},
            "split_ratio": [row["splitFactor"] for row in rows],
        }
    )


def _rows(name: str, want: BarRequest) -> list[Mapping[str, Any]]:
    """Return the sessions of a ticker that have a price; none if Tiingo does not know it."""
    server = os.environ.get("TVFEAST_TIINGO_URL") or TIINGO
    headers = {"Authorization": f"Token {_key(server)}"}
    url = f"{server}/tiingo/daily/{name}/prices"
    parameters = {
        "startDate": want.first.isoformat(),
        "endDate": want.last.isoformat(),
        "format": "json",
    }
    try:
        document = get_json(url, parameters, headers)
    except HttpBusy as busy:
        if busy.status != 429:
            raise
        raise SourceBusy(f"{busy}: the limit of requests is spent", busy.wait or HOUR) from None
    except SourceBusy as busy:
        if _SPENT.search(str(busy)):  # with status 200
            raise SourceBusy(f"the limit of requests is spent: {busy}", HOUR) from None
        raise
    except HttpFault as fault:
        if fault.status == 404 and "not found" in str(_detail(fault.body)).casefold():
            return []
        why = f": {detail}" if (detail := _detail(fault.body)) else ""
        hint = f"; is {KEY} right?" if fault.status in (401, 403) else ""
        raise ValueError(f"{fault}{why}{hint}") from None
    if isinstance(document, dict) and (detail := _detail(document)):
        if _SPENT.search(detail):
            raise SourceBusy(f"the limit of requests is spent: {detail}", HOUR)
        raise ValueError(f"Tiingo answers: {detail}")
    fields = {"date", *_PRICES, "divCash", "splitFactor"}
    if not isinstance(document, list) or not all(
        isinstance(row, dict) and fields <= row.keys() for row in document
    ):
        raise SourceBusy(f"an answer that is no list of prices from {url}")
    return [row for row in document if any(row[each] is not None for each in _PRICES[:4])]


def _key(server: str) -> str:
    """Return the key, which is sent to nobody who could be overheard; no error repeats it."""
    key = (os.environ.get(KEY) or "").strip()
    if not key:
        raise InputError(f"Tiingo wants a key: set {KEY} to yours")
    if not re.fullmatch(r"[!-~]+", key):
        raise InputError(
            f"{KEY} is no key: it has blanks or other characters that no header may have"
        )
    parts = urlsplit(server)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise InputError("TVFEAST_TIINGO_URL is not https, and others could read the key")
    return key


def _detail(document: Any) -> str | None:
    found = document.get("detail") if isinstance(document, dict) else None
    return None if found is None else str(found)
