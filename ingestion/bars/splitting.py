"""Which instruments split: stocks, funds and receipts do; coins, currencies and indices do not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ingestion.catalog import SYMBOLS
from ingestion.lakehouse import list_parts, read_symbols
from ingestion.markets.exchanges import INDEX_CODES
from ingestion.markets.hours import ClosingRule, hours_of
from ingestion.markets.symbols import exchange_of

_TYPES = frozenset({"stock", "fund", "dr", "structured", "right", "warrant"})
"""Of TradingView's, as ``symbols`` has them."""
_NEVER = (ClosingRule.NEW_YORK_ROLL, ClosingRule.MIDNIGHT_UTC)


def may_split(root: Path, names: Iterable[str]) -> list[bool]:
    """Tell of each symbol whether it may split.

    By its type, where ``symbols`` knows it; else all may but what trades round the clock, what
    dealers quote, and the codes of indices.
    """
    types: dict[str, str | None] = {}
    if list_parts(root, SYMBOLS):
        rows = read_symbols(root)
        types = dict(zip(rows["symbol"].to_pylist(), rows["type"].to_pylist(), strict=True))
    return [
        kind in _TYPES if (kind := types.get(name)) is not None else _by_exchange(name)
        for name in names
    ]


def _by_exchange(symbol: str) -> bool:
    return hours_of(symbol).rule not in _NEVER and exchange_of(symbol) not in INDEX_CODES
