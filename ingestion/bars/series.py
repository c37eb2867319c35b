"""The order of bars: by symbol, and then by time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.model import Bars
from ingestion.markets.hours import ClosingRule, hours_of
from ingestion.markets.placing import bars_by_hours, session_days

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LONGEST = 1 << 36
"""More seconds than lie between any two bars."""


def keys_of(symbol: NDArray[np.integer], event: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one number for each symbol and close, in the order of symbols and then closes."""
    keys: NDArray[np.int64] = symbol.astype(np.int64) * _LONGEST + (event + _LONGEST // 2)
    return keys


def places(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return where each wanted key is among keys in order; −1 for none, of equal ones the last."""
    if not len(keys):
        return np.full(len(wanted), -1, dtype=np.intp)
    at = np.searchsorted(keys, wanted, side="right") - 1
    return np.where(keys[at] == wanted, at, -1)


def among(wanted: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which wanted keys are among keys in order.

    ``np.isin`` does the same, and takes a hundred times longer: it hashes, and such keys collide.
    """
    return places(keys, wanted) >= 0


def slices(bars: Bars) -> Iterator[tuple[int, slice]]:
    """Yield each symbol's number and place among bars that :func:`in_order` has sorted."""
    starts = np.flatnonzero(np.diff(bars.symbol, prepend=-1))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(bars)], strict=False):
        yield int(bars.symbol[start]), slice(start, end)


def in_order(bars: Bars) -> Bars:
    """Sort by symbol and close; equal ones by file and row."""
    order = np.lexsort((bars.row, bars.file, bars.event, bars.symbol))
    # Most files are in this order already, and a copy of millions of bars is not small.
    return bars.take(order) if (np.diff(order) != 1).any() else bars


def sessions_of(bars: Bars, names: Sequence[str]) -> NDArray[np.int64]:
    """Return what tells the sessions of a symbol's bars apart: their close, or their day.

    With a calendar each session has one close. Without one vendors cut the day differently, and
    bars of one day are of one session all the same.
    """
    sessions = bars.event.copy()
    for symbol, at in bars_by_hours(names, bars.symbol).items():
        if hours_of(symbol).rule in (ClosingRule.NEW_YORK_ROLL, ClosingRule.DAY_AFTER_OPEN):
            sessions[at] = session_days(symbol, bars.timestamp[at], bars.event[at])
    return sessions
