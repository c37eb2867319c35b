"""Splits that nobody has recorded: the scanner's previous close against the stored one.

The scanner's series is split-adjusted: on an ex-date it measures the change against the previous
close in the new money. The stored previous close is as traded, in the old money. So their ratio is
1, but for rounding and for vendors who disagree on a closing auction, or it is the split's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.arrays import Bars
from ingestion.bars.leaps import ratio_told
from ingestion.bars.splits import RecordedSplits, read_recorded
from ingestion.bars.stored_bars import Before, NearbyBars
from ingestion.markets.sessions import previous_close

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAME = 0.01
"""Relative difference up to which two vendors' closes are one: they differ by 0.3 % at times."""

NEAR = 0.005
"""Relative distance from a split's ratio, where the stored close is the very session's before.

Both are closes of one session, so no market move is in their ratio, and dividends are in neither.
"""

NEAR_ACROSS_A_GAP = 1e-4
"""The same where it may be of another session: what moved meanwhile seldom hits a ratio so well."""

FAR = 1.8
"""Ratio, either way round, from which on a split is suspected across a gap all the same.

A market seldom moves so far in a few days. Which split it is the two closes do not tell.
"""

_SMALLEST = Fraction(6, 5)
_LARGEST_DENOMINATOR = 5
_LARGEST_NUMERATOR = 10


@dataclass(frozen=True)
class Suspect:
    """A symbol whose previous close has changed as by a split."""

    symbol: str
    bar_open: int
    """Of the first bar in the new money, Unix seconds."""
    event: int
    """Its close."""
    ratio: Fraction | None
    """New shares for an old one; None where what the market did across a gap hides it."""
    stored_close: float
    """In the money after the splits that are recorded since."""
    previous_close: float
    is_stored: bool
    """Whether the bar itself is in the lakehouse already, without the split."""

    @property
    def told(self) -> str:
        """The ratio for people: ``4:1``, or ``about 3.87:1`` where a gap hides it."""
        if self.ratio is None:
            return f"about {self.stored_close / self.previous_close:.3g}:1"
        return f"{self.ratio.numerator}:{self.ratio.denominator}"

    @property
    def record(self) -> str:
        """The line of a splits file (symbol, date, ratio) that settles it; ``?`` if not known."""
        opened = datetime.fromtimestamp(self.bar_open, UTC)
        ratio = "?" if self.ratio is None else self.told
        return f"{self.symbol},{opened:%Y-%m-%dT%H:%M:%SZ},{ratio}"


@dataclass(frozen=True)
class Unsettled:
    """A previous close that differs, and not as by a split."""

    symbol: str
    ratio: float
    """Stored ÷ the scanner's."""
    why: str


@dataclass(frozen=True)
class Inspection:
    """What the previous closes say about some bars."""

    held: NDArray[np.bool_]
    """Shape ``(n,)``: bars to be held back, from the first suspect one of their symbol on."""
    suspects: list[Suspect]
    unsettled: list[Unsettled]
    first: int
    """Bars without any stored one in the twelve days before: nothing to compare with."""


def split_like(ratio: float, tolerance: float) -> Fraction | None:
    """Return the split that a ratio of two closes looks like; None if it looks like none.

    Splits are n for 1, and p for q of small numbers from 6 for 5 on, either way round. Smaller
    stock dividends are not told from special cash dividends.

    Examples
    --------
    >>> split_like(4.001, 0.005), split_like(0.6667, 0.005), split_like(1.1, 0.005)
    (Fraction(4, 1), Fraction(2, 3), None)
    """
    if not (np.isfinite(ratio) and ratio > 0):
        return None
    larger = max(ratio, 1 / ratio)
    if larger > _LARGEST_NUMERATOR:
        near = Fraction(round(larger))
    else:
        near = Fraction(larger).limit_denominator(_LARGEST_DENOMINATOR)
    if near < _SMALLEST or abs(float(near) / larger - 1) > tolerance:
        return None
    if near.denominator > 1 and near.numerator > _LARGEST_NUMERATOR:
        return None
    return near if ratio > 1 else 1 / near


def inspect(root: Path, bars: Bars, names: list[str], previous: NDArray[np.float64]) -> Inspection:
    """Compare each bar's previous close with the stored one.

    A recorded ratio settles a bar, whatever it is: 1 says that there was no split. Those of
    sessions without a bar are reckoned with.

    Parameters
    ----------
    bars
        One per symbol and close, in any order; ``row`` is a position in ``previous``.
    names
        Symbols by number.
    previous
        The scanner's previous closes; NaN where it gives none.
    """
    inspection = Inspection(np.zeros(len(bars), dtype=bool), [], [], 0)
    stored, ahead = NearbyBars.around(root, bars.symbol, bars.event, names), read_recorded(root)
    recorded = RecordedSplits(ahead)
    first = 0
    before: dict[int, Before] = {}
    suspected: set[int] = set()
    for at in np.lexsort((bars.event, bars.symbol)).tolist():
        number, event = int(bars.symbol[at]), int(bars.event[at])
        name, theirs = names[number], float(previous[bars.row[at]])
        if number in suspected:
            inspection.held[at] = True
            continue
        last = max(filter(None, (before.get(number), stored.before(name, event))), default=None)
        before[number] = Before(event, float(bars.close[at]), is_scanned=True)
        if last is None:
            first += 1
            continue
        own = stored.ratio(name, event)
        if np.isnan(theirs) or (name, event) in ahead or own not in (None, 1.0):
            continue
        due = recorded.between(name, last.event, event)
        ratio = last.close / due / theirs
        if abs(ratio - 1) <= SAME:
            continue
        if due != 1 and abs(last.close / theirs - 1) <= SAME:
            why = f"the recorded split of {ratio_told(due)} does not show"
            inspection.unsettled.append(Unsettled(name, last.close / theirs, why))
            continue
        is_next = previous_close(name, event) == last.event
        split = split_like(ratio, NEAR if is_next else NEAR_ACROSS_A_GAP)
        if split is None and (is_next or max(ratio, 1 / ratio) < FAR):
            why = "not as by a split" if is_next else "the bar before is not stored"
            inspection.unsettled.append(Unsettled(name, ratio, why))
            continue
        opened = int(bars.timestamp[at])
        inspection.suspects.append(
            Suspect(name, opened, event, split, last.close / due, theirs, own is not None)
        )
        if own is None:
            suspected.add(number)
            inspection.held[at] = True
    return Inspection(inspection.held, inspection.suspects, inspection.unsettled, first)
