"""From a request's body to an answer's document, as the scanner does it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from ingestion.replay.filters import BadQuestion, fulfilling
from ingestion.replay.panel import UNLISTED, Panel

PAGE = 50
"""Rows of an answer to a question without ``range``."""

_UNDERSTOOD = {"symbols", "columns", "range", "sort", "options", "filter", "preset"}
_PRESET = "index_components_market_pages"
_SYMBOLS_UNDERSTOOD = {"tickers", "query", "symbolset"}


def scan(panel: Panel, market: str, question: Any, now: int, page: int = PAGE) -> dict[str, Any]:
    """Answer ``POST /{market}/scan``.

    Parameters
    ----------
    market
        A market of the panel, or ``global``.
    question
        The request's JSON.
    now
        The replay's clock, Unix s.

    Raises
    ------
    BadQuestion
        If a column is unknown or the question is not understood.
    """
    if not isinstance(question, dict):
        raise BadQuestion("Expected a JSON object")
    for key in question.keys() - _UNDERSTOOD:
        raise BadQuestion(f"The replay does not understand {key}")
    if question.get("preset") not in (None, _PRESET):
        raise BadQuestion(f"The replay does not understand preset {question['preset']}")
    columns = _columns(panel, question.get("columns", []))
    known = panel.known(now, None if market == "global" else market)
    tickers = _tickers(question.get("symbols"))
    if tickers is not None:
        known = {ticker: known[ticker] for ticker in dict.fromkeys(tickers) if ticker in known}
    if (members := _members(panel, question.get("symbols"), now)) is not None:
        known = {symbol: row for symbol, row in known.items() if symbol in members}
    conditions = question.get("filter") or []
    if not isinstance(conditions, list):
        raise BadQuestion("filter must be a list")
    for condition in conditions:
        known = fulfilling(panel, known, condition)
    order = _ordered(panel, known, question.get("sort"))
    start, end = _range(question.get("range"), page)
    return {
        "totalCount": len(order),
        "data": [
            {"s": symbol, "d": panel.values(symbol, known[symbol], columns)}
            for symbol in order[start:end]
        ],
    }


def symbol_fields(panel: Panel, symbol: str, fields: list[str], now: int) -> dict[str, Any] | None:
    """Answer ``GET /symbol``: unknown fields are null; an unknown symbol is None."""
    row = panel.known(now).get(symbol)
    if row is None:
        return None
    served = [name for name in fields if name in panel.columns]
    return dict.fromkeys(fields) | dict(zip(served, panel.values(symbol, row, served), strict=True))


def metainfo(panel: Panel) -> dict[str, Any]:
    """Answer ``/{market}/metainfo``: not with all columns that are served."""
    names = sorted(panel.columns - UNLISTED)
    fields = [{"n": name, "t": panel.kind(name), "r": None} for name in names]
    return {"financial_currency": "USD", "fields": fields}


def _columns(panel: Panel, columns: Any) -> list[str]:
    if not isinstance(columns, list):
        raise BadQuestion("columns must be a list")
    for name in columns:
        if not isinstance(name, str) or name not in panel.columns:
            raise BadQuestion(f'Unknown field "{name}"')
    return columns


def _tickers(symbols: Any) -> list[str] | None:
    """Return the tickers asked for; None if the question is for all."""
    if symbols is None:
        return None
    if not isinstance(symbols, dict) or symbols.keys() - _SYMBOLS_UNDERSTOOD:
        raise BadQuestion("The replay understands tickers alone, of symbols")
    if (symbols.get("query") or {}).get("types"):
        raise BadQuestion("The replay does not narrow types")
    tickers = symbols.get("tickers")
    if tickers is not None and not (
        isinstance(tickers, list) and all(isinstance(ticker, str) for ticker in tickers)
    ):
        raise BadQuestion("tickers must be a list of texts")
    return tickers


def _members(panel: Panel, symbols: Any, now: int) -> set[str] | None:
    """Return the members of the asked sets of symbols; None if the question names no set."""
    names = symbols.get("symbolset") if isinstance(symbols, dict) else None
    if names is None:
        return None
    members: set[str] = set()
    for name in names if isinstance(names, list) else [names]:
        if name not in panel.symbolsets:
            raise BadQuestion(f"Unknown symbolset {name}")
        members |= {
            symbol
            for symbol, spans in panel.symbolsets[name].items()
            if any(start <= now < end for start, end in spans)
        }
    return members


def _range(bounds: Any, page: int) -> tuple[int, int]:
    if bounds is None:
        return 0, page
    if (
        not isinstance(bounds, list)
        or len(bounds) != 2
        or not all(isinstance(bound, int) and bound >= 0 for bound in bounds)
    ):
        raise BadQuestion("range must be [start, end]")
    return bounds[0], bounds[1]


def _ordered(panel: Panel, known: Mapping[str, int], sort: Any) -> list[str]:
    """Sort as asked; without that, by an order of the scanner's own."""
    if not sort:
        return sorted(known, key=lambda symbol: zlib.crc32(symbol.encode()))
    by = sort.get("sortBy") if isinstance(sort, dict) else None
    if not isinstance(by, str) or by not in panel.columns:
        raise BadQuestion(f'Unknown field "{by}"')
    keyed = [(panel.values(symbol, known[symbol], [by])[0], symbol) for symbol in known]
    nulls = [symbol for value, symbol in keyed if value is None]
    rest = sorted(
        ((value, symbol) for value, symbol in keyed if value is not None),
        reverse=sort.get("sortOrder") == "desc",
    )
    ordered = [symbol for _, symbol in rest]
    return nulls + ordered if sort.get("nullsFirst") else ordered + nulls
