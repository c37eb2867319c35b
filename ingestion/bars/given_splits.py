"""What prices show of the splits that are given.

As-traded prices leap on an ex-date by one over the split's ratio; split-adjusted prices do not.
:func:`evidence` compares the prices around each split, and :func:`contradiction` describes prices
that disagree with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.arrays import Bars, slices
from ingestion.bars.splits import ratio_text
from ingestion.bars.stored_bars import LOOKBACK
from ingestion.base.instants import utc_date

if TYPE_CHECKING:
    from numpy.typing import NDArray


SMALLEST = 1.25
"""Splits up to this ratio, either way round, look like a market's move in a day."""
_AROUND = 3
"""How many prices on either side of an ex-date are compared, by their median."""
_ELSEWHERE = 5
"""How many bars away the leap of a misdated split is looked for."""
_SAME_RATIO = 0.1
"""Largest difference of logarithms at which a leap counts as that of a ratio."""


class Shown(Enum):
    """What prices show of a split."""

    LEAP = "a leap of its ratio"
    NO_LEAP = "no leap"
    WRONG_WAY = "a leap the wrong way round"
    UNDECIDED = "too little to decide"


@dataclass(frozen=True)
class Evidence:
    """One split, and what the prices say of it."""

    symbol: int
    at: int
    """Position of the first bar in the new money."""
    day: date
    """The UTC date on which that bar opened."""
    ratio: float
    shown: Shown
    factor: float
    """Price after ÷ price before."""
    leaps_on: date | None
    """A bar nearby that leaps by the ratio, where that of the split does not."""


@dataclass(frozen=True)
class Contradiction:
    """A symbol whose prices contradict its splits."""

    symbol: str
    bars: int
    """How many of its bars are refused for that."""
    told: str
    """What the prices show, and what to do."""


def evidence(bars: Bars, ratio: NDArray[np.float64]) -> Iterator[Evidence]:
    """Compare the prices before and after each split.

    Parameters
    ----------
    bars
        As :func:`ingestion.bars.arrays.in_order` leaves them, one per session.
    ratio
        Shape ``(n,)``: the ratio that takes effect at each bar, 1 for none.
    """
    with np.errstate(divide="ignore"):
        close, opened = np.log(bars.close), np.log(bars.open)
    splits = np.flatnonzero(ratio != 1)
    if not len(splits):
        return
    for number, place in slices(bars):
        low, high = np.searchsorted(splits, [place.start, place.stop])
        of_symbol = splits[low:high].tolist()
        for n, at in enumerate(of_symbol):
            start = of_symbol[n - 1] if n else place.start
            end = of_symbol[n + 1] if n + 1 < len(of_symbol) else place.stop
            yield _evidence_of_split(
                bars, number, float(ratio[at]), at, (start, end), (opened, close)
            )


def _evidence_of_split(
    bars: Bars,
    number: int,
    ratio: float,
    at: int,
    bounds: tuple[int, int],
    logs: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> Evidence:
    (start, end), (opened, close) = bounds, logs
    shown, factor, elsewhere = Shown.UNDECIDED, np.nan, None
    if at > start and bars.event[at] - bars.event[at - 1] <= LOOKBACK.total_seconds():
        before = np.median(close[max(start, at - _AROUND) : at])
        after = np.median([opened[at], *close[at : min(end, at + _AROUND - 1)]])
        move, log_ratio = float(after - before), float(np.log(ratio))
        with np.errstate(over="ignore"):  # a price may be as small as a number can be
            factor = float(np.exp(move))
        if abs(log_ratio) > np.log(SMALLEST) + 1e-9:
            distances = [abs(move + log_ratio), abs(move), abs(move - log_ratio)]
            shown = (Shown.LEAP, Shown.NO_LEAP, Shown.WRONG_WAY)[int(np.argmin(distances))]
        if shown is Shown.NO_LEAP:
            near = np.arange(max(start + 1, at - _ELSEWHERE), min(end, at + _ELSEWHERE + 1))
            off = np.abs(opened[near] - close[near - 1] + log_ratio)
            if len(near) and off.min() <= _SAME_RATIO:
                elsewhere = utc_date(int(bars.timestamp[near[int(np.argmin(off))]]))
    day = utc_date(int(bars.timestamp[at]))
    return Evidence(number, at, day, ratio, shown, factor, elsewhere)


def contradiction(found: list[Evidence], *, adjusted: bool) -> str | None:
    """Say how a symbol's prices contradict its splits, and what to do; None if they do not.

    Parameters
    ----------
    found
        Of one symbol.
    adjusted
        Whether the prices were said to be split-adjusted.
    """
    expected = Shown.NO_LEAP if adjusted else Shown.LEAP
    decided = [each for each in found if each.shown is not Shown.UNDECIDED]
    against = [each for each in decided if each.shown is not expected]
    if not against:
        return None
    first = against[0]
    text = f"the split {ratio_text(first.ratio)} of {first.day} shows {first.shown.value}"
    text += f" (price after ÷ before: {first.factor:.4g})"
    if len(against) > 1:
        text += f", and {len(against) - 1} more do not fit either"
    if len(against) < len(decided):
        text += f", while {len(decided) - len(against)} of its splits fit"
    shown = {each.shown for each in against}
    by_line = "with a line in --splits FILE (ratio 1: there was no split)"
    if first.leaps_on is not None and not adjusted:
        return f"{text}; the leap is on {first.leaps_on}: correct the date {by_line}"
    if len(against) < len(decided) or len(shown) > 1:
        return (
            f"{text}: the prices are adjusted for some splits only, or a split is wrong: "
            f"correct it {by_line}"
        )
    if shown == {Shown.WRONG_WAY}:
        return (
            f"{text}: the ratio is upside down, or the vendor applied the split twice: correct "
            f"the ratio {by_line}, or take another file"
        )
    if shown == {Shown.LEAP}:
        return f"{text}: the prices are as traded: leave --adjusted out"
    return (
        f"{text}: the prices are split-adjusted already: give --adjusted; if there was no such "
        "split, a line in --splits FILE with ratio 1 says so"
    )
