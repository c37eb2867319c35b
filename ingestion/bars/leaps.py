"""Leaps of prices: bad bars, and what may be splits that nobody recorded.

:func:`find_leaps` finds bad bars, whose leap returns, and leaps that stay: they may be splits that
nobody recorded, and :func:`suspected_file` writes them as lines that can be edited and given back.

All steps are ratios of split-adjusted prices, and limits are symmetric in them: a tenfold price is
as large a step as a tenth of it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.arrays import Bars, price_unit, slices
from ingestion.base.instants import utc

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass
class SuspectedSplit:
    """A change of a symbol's prices as by a split; it may be another unit, or a real move."""

    symbol: str
    bar_open: int
    """Of the first bar in the new money, Unix seconds."""
    ratio: Fraction | None
    """New shares for an old one; None if it is that of no usual split, or hidden by a gap."""
    close_before: float
    """The last close in the old money."""
    close_after: float
    """In the new money: the next close, or the same one as the scanner has it now."""

    @property
    def date(self) -> str:
        """The bar's open, as a splits file takes it."""
        return utc_text(self.bar_open)

    @property
    def ratio_text(self) -> str:
        """The ratio for people: ``4:1``, or ``about 3.87:1``."""
        if self.ratio is None:
            return f"about {self.close_before / self.close_after:.3g}:1"
        return f"{self.ratio.numerator}:{self.ratio.denominator}"

    @property
    def record(self) -> str:
        """The line of a splits file (symbol, date, ratio) that settles it; ``?`` if not known."""
        return f"{self.symbol},{self.date},{'?' if self.ratio is None else self.ratio_text}"

    def document(self) -> dict[str, object]:
        """Return what receipts say of it."""
        names = ("symbol", "date", "close_before", "close_after", "record")
        return {"ratio": self.ratio_text} | {name: getattr(self, name) for name in names}


def utc_text(seconds: int) -> str:
    """Return an instant as a splits file takes it.

    Examples
    --------
    >>> utc_text(1622122200)
    '2021-05-27T13:30:00Z'
    """
    return f"{utc(seconds):%Y-%m-%dT%H:%M:%SZ}"


_FEW_BARS = 5
"""Bars within which a leap returns, if it is a bad bar's."""
_NEAR_LEVEL = float(np.log(2))
"""Largest difference of logarithms between the level before a bad bar and the one after it."""
_HEAD, _TAIL = 2, 20
"""Up to two first bars are bad if a leap follows them and at least 20 bars come after it."""
_WHOLE_RATIOS = [Fraction(n) for n in range(2, 11)]
_USUAL_SPLITS = [*_WHOLE_RATIOS, Fraction(3, 2), *(1 / n for n in _WHOLE_RATIOS), Fraction(2, 3)]
"""Ratios that are suspected at an open; 3 in a million opens without a split have one of them."""
_TOLERANCE = 0.01
"""How near to 3:2 an opening step must be; markets move as far as that by themselves."""
_TOLERANCE_OF_WHOLE = 0.03
"""How near to n:1 it must be; a limit of 1 % would miss every third split."""
_BUSY = 3.0
"""A leap with more than this turnover, against its median, is a move of the market."""
_USUAL_BARS = 20
"""Number of bars for that median."""
_COARSE = 0.02
"""Prices in coarser steps than this, relative to the price, have such ratios by rounding."""


@dataclass
class Leaps:
    """What is wrong with some bars."""

    bad: NDArray[np.bool_]
    """Shape ``(n,)``: bars that leap away, and return."""
    held: NDArray[np.bool_]
    """Shape ``(n,)``: bars whose level is in question."""
    step: NDArray[np.float64]
    """Shape ``(n,)``: split-adjusted close ÷ that of the bar before; NaN for a first bar."""
    suspects: list[SuspectedLeap] = field(default_factory=list)
    """Leaps that stay, or that nothing follows."""


def find_leaps(
    bars: Bars,
    names: Sequence[str],
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
        As :func:`ingestion.bars.arrays.in_order` leaves them, one per session, as traded.
    names
        Symbols by number.
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
    for number, place in slices(bars) if len(candidates) else ():
        low, high = np.searchsorted(candidates, [place.start, place.stop])
        if low == high:
            continue
        symbol = _SymbolLeaps(bars, names[number], level, place, widest, stored, found)
        for at in candidates[low:high].tolist():
            clean = None
            if looks[at] and not _is_coarse(bars, place, at) and not _is_busy(bars, place, at):
                clean = _USUAL_SPLITS[which[at]] * Fraction(ratio[at]).limit_denominator(1000)
            if is_far[at]:
                symbol.judge(at, clean)
            elif clean is not None:
                symbol.judge_split(at, clean)
        for suspect in symbol.suspects:
            suspect.bars_held = int(found.held[place].sum())
        found.suspects += symbol.suspects
    found.bad &= ~found.held
    return found


@dataclass
class _SymbolLeaps:
    """One symbol's bars while its leaps are looked at, from the earliest to the latest."""

    bars: Bars
    name: str
    level: NDArray[np.float64]
    place: slice
    widest: float
    stored: NDArray[np.bool_]
    found: Leaps
    done: int = -1
    """Position up to which bars have been judged."""
    suspects: list[SuspectedLeap] = field(default_factory=list)

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
        is_head = head <= _HEAD and tail >= _TAIL and clean is None
        if is_head and not self.stored[self.place.start : at].any():
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
        near = min(self.widest, _NEAR_LEVEL)
        for later in range(at + 1, min(at + _FEW_BARS, self.place.stop - 1) + 1):
            off = abs(self.level[later] - base)
            if off <= near and off < abs(self.level[later] - away):
                return later
        return None

    def _returns_from_stored(self, at: int) -> bool:
        """Return whether it was a stored bar that leapt, and this one returns from there."""
        first = max(self.place.start, at - 1 - _FEW_BARS)
        for back in range(at - 1, first, -1):
            if not self.stored[back]:
                return False
            off = abs(self.level[at] - self.level[back - 1])
            leapt = abs(self.level[back] - self.level[back - 1]) > self.widest
            if leapt and off <= min(self.widest, _NEAR_LEVEL):
                return True
        return False

    def _comes_back(self, at: int) -> bool:
        """Return whether a bar shortly before was at the level that is reached now."""
        step = abs(self.level[at] - self.level[at - 1])
        before = self.level[max(self.place.start, at - 1 - _FEW_BARS) : at - 1]
        return bool((np.abs(before - self.level[at]) <= step / 4).any())

    def _hold(self, at: int, before: int, clean: Fraction | None) -> None:
        bars = self.bars
        self.suspects.append(
            SuspectedLeap(
                symbol=self.name,
                bar_open=int(bars.timestamp[at]),
                ratio=clean,
                before=int(bars.timestamp[before]),
                close_before=float(bars.close[before]),
                open_after=float(bars.open[at]),
                close_after=float(bars.close[at]),
            )
        )
        self.done = at
        if not self.stored[at]:
            self.found.held[at : self.place.stop] |= ~self.stored[at : self.place.stop]
            return
        # A stored bar stays, so the new bars before it are those at another level.
        while before >= self.place.start and not self.stored[before]:
            self.found.held[before] = True
            before -= 1


def _like_splits(
    opening: NDArray[np.float64], step: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Find steps that are nearer to a split's than to none, and at the open very near."""
    looks = np.zeros(len(step), dtype=bool)
    which = np.zeros(len(step), dtype=np.intp)
    for n, split in enumerate(_USUAL_SPLITS):
        expected = -float(np.log(float(split)))
        is_whole = 1 in (split.numerator, split.denominator)
        near = np.abs(opening - expected) <= np.log1p(
            _TOLERANCE_OF_WHOLE if is_whole else _TOLERANCE
        )
        near &= np.abs(step - expected) < np.abs(step)
        looks |= near
        which[near] = n
    return looks, which


def _is_coarse(bars: Bars, place: slice, at: int) -> bool:
    """Return whether prices are written too coarsely to distinguish such a ratio from rounding."""
    unit = price_unit(bars.close[max(place.start, at - _USUAL_BARS) : at + 1])
    return unit / min(float(bars.close[at - 1]), float(bars.open[at])) > _COARSE


def _is_busy(bars: Bars, place: slice, at: int) -> bool:
    """Return whether so much was traded, in shares and in money, that it was the market that moved.

    A split alone does not: more shares change hands, but for as much money as before.
    """
    usual = slice(max(place.start, at - _USUAL_BARS), at)
    shares = float(np.median(bars.volume[usual]))
    money = float(np.median(bars.volume[usual] * bars.close[usual]))
    if not (shares > 0 and money > 0):
        return False
    now = float(bars.volume[at])
    return min(now / shares, now * float(bars.close[at]) / money) > _BUSY


_HEADER = (
    *("symbol", "date", "ratio", "bars_held", "looks_like"),
    *("bar_before", "close_before", "open_after", "close_after"),
)


@dataclass
class SuspectedLeap(SuspectedSplit):
    """A leap that stays."""

    before: int
    """Open of the last bar at the old level, Unix seconds."""
    open_after: float
    bars_held: int = 0
    """How many of the symbol's bars wait for an answer."""

    @property
    def text(self) -> str:
        """The leap for people."""
        return (
            f"{self.symbol}, {self.date}: close {self.close_before:g}, then open "
            f"{self.open_after:g} and close {self.close_after:g}, like a split of {self.ratio_text}"
        )

    def document(self) -> dict[str, object]:
        """Return what receipts say of it."""
        return super().document() | {"open_after": self.open_after, "bars_held": self.bars_held}


def suspected_file(suspects: Iterable[SuspectedLeap]) -> bytes:
    """Return the lines to be edited and given back with ``--splits``."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(_HEADER)
    for each in suspects:
        about = each.close_before / each.close_after
        ratio = "?" if each.ratio is None else each.ratio_text
        what = each.symbol, each.date, ratio, each.bars_held, f"about {about:.4g}:1"
        prices = each.close_before, each.open_after, each.close_after
        lines.writerow([*what, utc_text(each.before), *prices])
    return text.getvalue().encode()
