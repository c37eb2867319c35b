"""Leaps among a symbol's bars: bad bars that return, and what may be splits that nobody recorded.

All steps are ratios of split-adjusted prices, and limits are symmetric in them: a tenfold price is
as large a step as a tenth of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.arrays import Bars, slices

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEW = 5
"""Bars within which a leap returns, if it is a bad bar's."""
_NEAR = float(np.log(2))
"""Largest difference of logarithms between the level before a bad bar and the one after it."""
_HEAD, _TAIL = 2, 20
"""A leap after so few bars, with so many after it, condemns those few."""
_WHOLE = [Fraction(n) for n in range(2, 11)]
_SPLITS = [*_WHOLE, Fraction(3, 2), *(1 / n for n in _WHOLE), Fraction(2, 3)]
"""Ratios that are suspected at an open. Of real opens without a split, 3 in a million are there."""
_CLOSE = 0.01
"""How near to 3:2 an opening step must be. Markets move so far."""
_CLOSE_WHOLE = 0.03
"""How near to n:1. Overnight moves hide every third split from 1 %."""
_BUSY = 3.0
"""Turnover in shares and in money, against its median, from which on a leap is the market's."""
_USUAL = 20
"""Bars of which that median is taken."""
_COARSE = 0.02
"""Size of a price step, relative to the price, from which on rounding makes such ratios."""


@dataclass(frozen=True)
class Leap:
    """A leap that stays, or that nothing follows."""

    at: int
    """Position of the first bar at the new level."""
    before: int
    """Position of the last one at the old level."""
    ratio: Fraction | None
    """The split that it looks like."""


@dataclass
class Leaps:
    """What is wrong with some bars."""

    bad: NDArray[np.bool_]
    """Shape ``(n,)``: bars that leap away, and return."""
    held: NDArray[np.bool_]
    """Shape ``(n,)``: bars whose level is in question."""
    step: NDArray[np.float64]
    """Shape ``(n,)``: split-adjusted close ÷ that of the bar before; NaN for a first bar."""
    suspects: list[Leap] = field(default_factory=list)


def find_leaps(
    bars: Bars,
    ratio: NDArray[np.float64],
    limit: float,
    *,
    settled: NDArray[np.bool_],
    stored: NDArray[np.bool_],
    may_split: NDArray[np.bool_],
    unconfirmed: NDArray[np.bool_],
) -> Leaps:
    """Find bars that leap by more than a limit, or at the open as by a split.

    Parameters
    ----------
    bars
        As :func:`ingestion.bars.arrays.in_order` leaves them, one a session, as traded.
    ratio
        Shape ``(n,)``: the split ratio that takes effect at each bar, 1 for none.
    limit
        Largest return, as a fraction: a step lies between 1 / (1 + limit) and 1 + limit.
    settled
        Shape ``(n,)``: bars whose step from the one before is known to be right.
    stored
        Shape ``(n,)``: bars that stay whatever they are.
    may_split
        Shape ``(n,)``: bars of instruments that have splits.
    unconfirmed
        Shape ``(n,)``: bars whose ratio nobody but their own file gives: it may be the wrong one.
    """
    size = len(bars)
    found = Leaps(np.zeros(size, bool), np.zeros(size, bool), np.full(size, np.nan))
    if not size:
        return found
    with np.errstate(all="ignore"):
        split = np.cumsum(np.log(ratio))
        level = np.log(bars.close) + split
        follows = np.zeros(size, dtype=bool)
        follows[1:] = bars.symbol[1:] == bars.symbol[:-1]
        step = np.where(follows, level - np.roll(level, 1), 0.0)
        opening = np.where(follows, np.log(bars.open) + split - np.roll(level, 1), 0.0)
        found.step[follows] = np.exp(step[follows])
    widest = float(np.log1p(limit))
    judged = follows & ~settled
    is_far = judged & ~(np.abs(step) <= widest + 1e-12)
    looks, which = _like_splits(opening, step)
    looks &= judged & may_split & ((ratio == 1) | unconfirmed)
    candidates = np.flatnonzero(is_far | looks)
    for _, place in slices(bars) if len(candidates) else ():
        low, high = np.searchsorted(candidates, [place.start, place.stop])
        symbol = _Symbol(bars, level, place, widest, stored, found)
        for at in candidates[low:high].tolist():
            clean = None
            if looks[at] and not _is_coarse(bars, place, at) and not _is_busy(bars, place, at):
                clean = _SPLITS[which[at]] * Fraction(ratio[at]).limit_denominator(1000)
            if is_far[at]:
                symbol.judge(at, clean)
            elif clean is not None:
                symbol.judge_split(at, clean)
    found.bad &= ~found.held
    return found


@dataclass
class _Symbol:
    """One symbol's bars while its leaps are looked at, from the earliest to the latest."""

    bars: Bars
    level: NDArray[np.float64]
    place: slice
    widest: float
    stored: NDArray[np.bool_]
    found: Leaps
    done: int = -1
    """Position up to which bars have been judged."""

    def judge(self, at: int, clean: Fraction | None) -> None:
        """Judge a step beyond the limit."""
        if at <= self.done:
            return
        before = self._before(at)
        if self._returns_from_stored(at):
            return
        back = self._back(at, before)
        if back is not None:
            self.found.bad[at:back] |= ~self.stored[at:back]
            self.done = back
            return
        head = at - self.place.start
        tail = self.place.stop - at
        if head <= _HEAD and tail >= _TAIL and clean is None and not self._any_stored(at):
            self.found.bad[self.place.start : at] = True
            return
        self._hold(at, before, clean)

    def judge_split(self, at: int, clean: Fraction) -> None:
        """Judge an opening step within the limit that looks like a split's."""
        if at <= self.done or self._comes_back(at):
            return
        before = self._before(at)
        back = self._back(at, before)
        if back is None:
            self._hold(at, before, clean)
        else:
            self.done = back

    def _before(self, at: int) -> int:
        """Return the bar before that was not found bad."""
        before = at - 1
        while before > self.place.start and self.found.bad[before]:
            before -= 1
        return before

    def _back(self, at: int, before: int) -> int | None:
        """Return the bar at which the level of ``before`` is reached again."""
        base, away = self.level[before], self.level[at]
        near = min(self.widest, _NEAR)
        for later in range(at + 1, min(at + FEW, self.place.stop - 1) + 1):
            off = abs(self.level[later] - base)
            if off <= near and off < abs(self.level[later] - away):
                return later
        return None

    def _returns_from_stored(self, at: int) -> bool:
        """Tell whether it was a stored bar that leapt, and this one returns from there."""
        first = max(self.place.start, at - 1 - FEW)
        for back in range(at - 1, first, -1):
            if not self.stored[back]:
                return False
            off = abs(self.level[at] - self.level[back - 1])
            leapt = abs(self.level[back] - self.level[back - 1]) > self.widest
            if leapt and off <= min(self.widest, _NEAR):
                return True
        return False

    def _comes_back(self, at: int) -> bool:
        """Tell whether a bar shortly before was at the level that is reached now."""
        step = abs(self.level[at] - self.level[at - 1])
        before = self.level[max(self.place.start, at - 1 - FEW) : at - 1]
        return bool((np.abs(before - self.level[at]) <= step / 4).any())

    def _any_stored(self, end: int) -> bool:
        return bool(self.stored[self.place.start : end].any())

    def _hold(self, at: int, before: int, clean: Fraction | None) -> None:
        self.found.suspects.append(Leap(at, before, clean))
        self.done = at
        if not self.stored[at]:
            self.found.held[at : self.place.stop] |= ~self.stored[at : self.place.stop]
            return
        # What is stored stays, so it is the new bars before it whose money is another one.
        while before >= self.place.start and not self.stored[before]:
            self.found.held[before] = True
            before -= 1


def _like_splits(
    opening: NDArray[np.float64], step: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Find steps that are nearer to a split's than to none, and at the open very near."""
    looks = np.zeros(len(step), dtype=bool)
    which = np.zeros(len(step), dtype=np.intp)
    for n, split in enumerate(_SPLITS):
        expected = -float(np.log(float(split)))
        is_whole = 1 in (split.numerator, split.denominator)
        near = np.abs(opening - expected) <= np.log1p(_CLOSE_WHOLE if is_whole else _CLOSE)
        near &= np.abs(step - expected) < np.abs(step)
        looks |= near
        which[near] = n
    return looks, which


def _is_coarse(bars: Bars, place: slice, at: int) -> bool:
    """Tell whether prices are written too coarsely to tell such a ratio from rounding."""
    closes = bars.close[max(place.start, at - _USUAL) : at + 1]
    price = min(float(bars.close[at - 1]), float(bars.open[at]))
    for decimals in range(2, 9):
        scaled = closes * 10.0**decimals
        if (np.abs(scaled - np.round(scaled)) <= 1e-6 * np.maximum(scaled, 1)).all():
            return 10.0**-decimals / price > _COARSE
    return False


def _is_busy(bars: Bars, place: slice, at: int) -> bool:
    """Tell whether so much was traded, in shares and in money, that it was the market that moved.

    A split changes nobody's mind: as many shares more as there are shares more, for as much money.
    """
    usual = slice(max(place.start, at - _USUAL), at)
    shares = float(np.median(bars.volume[usual]))
    money = float(np.median(bars.volume[usual] * bars.close[usual]))
    if not (shares > 0 and money > 0):
        return False
    now = float(bars.volume[at])
    return min(now / shares, now * float(bars.close[at]) / money) > _BUSY
