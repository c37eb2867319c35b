"""The parabolic stop-and-reverse: a recursion whose state is a price, an extreme and a pace.

Like the averages of :mod:`ingestion.formulas.windows` it goes on from what is carried of the bars
before, to the same bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingestion.formulas.carry import IN_FORCE, Carry, OtherReads
from ingestion.formulas.windows import Matrix, recursions, shift

START, STEP, LARGEST = 0.02, 0.02, 0.2
"""The pace after a reversal, what each new extreme adds to it, and its limit."""


class _State(NamedTuple):
    """After a bar, of each symbol; of shape (symbols,)."""

    bars: NDArray[np.float64]
    """How many there were."""
    stop: NDArray[np.float64]
    extreme: NDArray[np.float64]
    """The highest high of a rising trend, the lowest low of a falling one."""
    pace: NDArray[np.float64]
    is_below: NDArray[np.float64]
    """1 while the stop is below the price, else 0."""


def stop_and_reverse(high: Matrix, low: Matrix, close: Matrix) -> Matrix:
    """Return the parabolic stop-and-reverse of 0.02, 0.02 and 0.2, in the unit of price.

    Source: Pine reference, ``ta.sar``: it begins on the second bar, by whether the close rose.

    Examples
    --------
    >>> price = np.array([[8.0], [9.0], [10.0], [11.0]])
    >>> stop_and_reverse(price, price - 0.5, price).T
    array([[nan, 7.5, 7.5, 7.6]])
    """
    recursions["computed"] += 1
    carry = IN_FORCE.get()
    before = [shift(low, 1), shift(low, 2), shift(high, 1), shift(high, 2), shift(close, 1)]
    state, place = _begin(carry, close.shape[1])
    history = np.empty((len(_State._fields), *close.shape))
    for row in range(len(close)):
        bar = [each[row] for each in (high, low, close, *before)]
        state = _next(state, *bar)
        history[:, row] = state
    if carry is not None:
        firsts = carry.after[place]
        last = [carry.last(each, one) for each, one in zip(history, firsts, strict=True)]
        carry.after[place] = np.stack(last)
    return np.where(np.isnan(close), np.nan, history[1])


def _begin(carry: Carry | None, symbols: int) -> tuple[_State, int]:
    """Return what was after the bar before the first, and the place where it is carried."""
    none = np.full(symbols, np.nan)
    state, place = _State(np.zeros(symbols), none, none, none, none), -1
    if carry is not None:
        if (kept := carry.before()) is not None:
            if len(kept) != len(_State._fields):
                raise OtherReads
            state = _State(*kept)
        place = len(carry.after)
        carry.after.append(np.stack(state))
    return state, place


def _next(
    state: _State,
    high: Matrix,
    low: Matrix,
    close: Matrix,
    low_1: Matrix,
    low_2: Matrix,
    high_1: Matrix,
    high_2: Matrix,
    close_1: Matrix,
) -> _State:
    is_second = state.bars == 1
    rises = np.where(is_second, close > close_1, state.is_below == 1)
    extreme = np.where(is_second, np.where(rises, high, low), state.extreme)
    stop = np.where(is_second, np.where(rises, low_1, high_1), state.stop)
    pace = np.where(is_second, START, state.pace)
    stop = stop + pace * (extreme - stop)
    falls_through, rises_through = rises & (stop > low), ~rises & (stop < high)
    turns = falls_through | rises_through
    stop = np.where(falls_through, np.maximum(high, extreme), stop)
    stop = np.where(rises_through, np.minimum(low, extreme), stop)
    extreme = np.where(falls_through, low, np.where(rises_through, high, extreme))
    pace = np.where(turns, START, pace)
    rises = rises ^ turns
    goes_on = ~(is_second | turns)
    is_new = goes_on & np.where(rises, high > extreme, low < extreme)
    extreme = np.where(is_new, np.where(rises, high, low), extreme)
    pace = np.where(is_new, np.minimum(pace + STEP, LARGEST), pace)
    # Beyond the last two bars' prices it may not be; the second bar has one before it.
    floor, ceiling = np.fmin(low_1, low_2), np.fmax(high_1, high_2)
    stop = np.where(rises, np.minimum(stop, floor), np.maximum(stop, ceiling))
    return _State(state.bars + 1, stop, extreme, pace, rises.astype(np.float64))
