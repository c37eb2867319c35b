"""What the bars of one symbol must satisfy together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.model import Bars
from ingestion.placing import by_hours, session_days
from ingestion.sessions import ClosingRule, hours_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    for symbol, numbers in by_hours(names).items():
        if hours_of(symbol).rule in (ClosingRule.NEW_YORK_ROLL, ClosingRule.DAY_AFTER_OPEN):
            at = np.isin(bars.symbol, numbers)
            sessions[at] = session_days(symbol, bars.timestamp[at], bars.event[at])
    return sessions


def wild(
    bars: Bars, limit: float, before: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Find bars whose split-adjusted close leaps by more than ``limit`` from one bar to the next.

    A leap back after one as large condemns the bar between them, not the one that follows it: the
    good rows around a bad one stay.

    Parameters
    ----------
    bars
        As :func:`ingestion.bars.series.in_order` leaves them, one a session, prices as traded.
    limit
        Largest absolute return, as a fraction.
    before
        Shape ``(n,)``: the close before each symbol's first bar, NaN where there is none; the
        other places do not matter.

    Returns
    -------
    tuple[NDArray[np.bool_], NDArray[np.float64]]
        Shape ``(n,)`` each: the bars at fault, and the return from the bar before (NaN for a bar
        without one).
    """
    size = len(bars)
    ratio = np.where(np.isnan(bars.split_ratio), 1.0, bars.split_ratio)
    follows = np.zeros(size, dtype=bool)
    follows[1:] = bars.symbol[1:] == bars.symbol[:-1]
    previous = np.where(follows, np.roll(bars.close, 1), before)
    with np.errstate(over="ignore", invalid="ignore"):
        step = bars.close * ratio / previous
        leaps = np.abs(step - 1) > limit
        back = np.zeros(size, dtype=bool)
        back[1:] = leaps[1:] & follows[1:] & (leaps[:-1] | (step[:-1] < 1 / (1 + limit)))
        # Over two bars.
        back[1:] &= np.abs(step[1:] * step[:-1] - 1) <= limit
    at_fault = leaps & ~back
    at_fault[:-1] |= back[1:]
    return at_fault, step - 1
