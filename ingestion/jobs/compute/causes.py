"""Why a served value differs from the recomputed one, where the stored bars show it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from math import log

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.base.arrow import empty_table, to_numpy, to_objects
from ingestion.catalog import OHLCV_1D
from ingestion.catalog.formula import Formula
from ingestion.lakehouse import (
    Lakehouse,
    arrow_schema,
    by_date,
    days_back,
    list_parts,
    read_current_of,
)

_SEED = 0.01
"""Weight of a recursion's first value, below which it does not matter."""
TOLERANCE = 0.01
"""Share of a column's scale; a single vote that differs moves a rating by more."""
_COLUMNS = ("timestamp", "symbol", "volume", "event_timestamp")


class Cause(StrEnum):
    """What the data show of a difference."""

    RULE = "another rule of a vote"
    HISTORY = "history too short for the recursion"
    NO_TRADES = "bars without trades in the window"
    SOURCE = "source of the bars"


class StoredBars:
    """How many bars there are before a bar, and which had no trades; read when first asked for."""

    def __init__(self, lakehouse: Lakehouse) -> None:
        self._lakehouse = lakehouse
        self._of: dict[str, tuple[NDArray[np.int64], NDArray[np.bool_]]] = {}

    def read(self, symbols: Iterable[str]) -> None:
        """Read the bars of those symbols that were not read yet, together."""
        unknown = sorted(set(symbols) - self._of.keys())
        if not unknown:
            return
        days = [
            read_current_of(parts, OHLCV_1D, unknown, list(_COLUMNS))
            for parts in by_date(list_parts(self._lakehouse, OHLCV_1D)).values()
        ]
        bars = pa.concat_tables(
            days or [empty_table(arrow_schema(OHLCV_1D)).select(list(_COLUMNS))]
        )
        names = np.array(bars["symbol"].to_pylist(), dtype=np.str_)
        closes = to_numpy(bars["event_timestamp"].cast(pa.int64())) // 1_000_000
        order = np.lexsort((closes, names))
        names, closes, quiet = names[order], closes[order], to_numpy(bars["volume"])[order] == 0
        for name in unknown:
            own = slice(np.searchsorted(names, name), np.searchsorted(names, name, side="right"))
            self._of[name] = closes[own], quiet[own]

    def cause(self, symbol: str, bar_close: int, formula: Formula) -> Cause:
        """Return why a value of a formula differs, of a finished bar that both sides have."""
        self.read([symbol])
        closes, quiet = self._of[symbol]
        return cause_of(quiet[: np.searchsorted(closes, bar_close, side="right")], formula)


def cause_at(lakehouse: Lakehouse, symbol: str, bar_close: datetime, formula: Formula) -> Cause:
    """Return the same of one value; from its bar on back, bars are read until they decide."""
    quiet: list[bool] = []
    for _, parts in days_back(lakehouse, OHLCV_1D, bar_close.date()):
        if len(quiet) >= max(_window(formula), _needed(formula)):
            break
        rows = read_current_of(parts, OHLCV_1D, [symbol], list(_COLUMNS))
        bars = zip(to_objects(rows["event_timestamp"]), rows["volume"].to_pylist(), strict=True)
        by_close = sorted(bars, reverse=True)
        quiet += [volume == 0 for close, volume in by_close if close <= bar_close]
    return cause_of(np.array(quiet[::-1], dtype=bool), formula)


def cause_of(quiet: NDArray[np.bool_], formula: Formula) -> Cause:
    """Return why a value differs.

    TradingView leaves out bars without trades, and an exchange may deliver them.

    Parameters
    ----------
    quiet
        Of the value's bar and those before it, oldest first, whether there were no trades; so many
        of the newest as decide are enough.
    """
    if quiet[-_window(formula) :].any():
        return Cause.NO_TRADES
    if len(quiet) < _needed(formula):
        return Cause.HISTORY
    return Cause.SOURCE


def _window(formula: Formula) -> int:
    """Return in how many bars, its own among them, a value is looked for bars without trades."""
    return 1 + (formula.look_back if isinstance(formula.look_back, int) else 0)


def _needed(formula: Formula) -> int:
    """Return after how many bars what a symbol's first bar weighs no longer matters.

    Wilder's average of n bars, the slowest, forgets 1 / n of itself with each.
    """
    if not isinstance(formula.look_back, int):
        return 0
    back = formula.look_back + 1
    if not formula.recursive or back < 2:
        return back
    return back + round(log(_SEED) / log(1 - 1 / back))
