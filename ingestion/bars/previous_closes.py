"""What the scanner's previous closes say: unrecorded splits, and bars that were missed.

The scanner's series is split-adjusted, and it measures the change of a bar against the close of the
bar before. That previous close is compared with the stored one:

- On the ex-date of a split it is in the new money, while the stored one is as traded, in the old
  money. Their ratio is 1, but for rounding and for vendors who disagree on a closing auction; else
  it is the ratio of a split that nobody has recorded (:func:`inspect_previous_closes`).
- Where the lakehouse lacks the session before, and its last close is another one, a bar was missed.
  Where the closes of a whole market are the stored ones, the market did not open, whatever its
  calendar says (:func:`find_missed_bars`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ingestion.bars.arrays import Bars
from ingestion.bars.attendance import market_of, sessions_of_market
from ingestion.bars.given_splits import ratio_text
from ingestion.bars.recorded_holes import Missed
from ingestion.bars.splits import RecordedSplits, read_recorded
from ingestion.bars.stored_bars import Before, NearbyBars
from ingestion.bars.suspected_splits import SuspectedSplit
from ingestion.base.instants import utc_date
from ingestion.lakehouse import Lakehouse
from ingestion.markets.sessions import previous_close

_SAME_CLOSE = 0.01
"""Closes of two vendors that differ by less, relatively, are equal: 0.3 % is not rare."""

_NEAR_SPLIT = 0.005
"""Largest relative distance from a split's ratio, if the stored close is of the session before.

Both are closes of one session, so no market move is in their ratio, and dividends are in neither.
"""

_NEAR_ACROSS_A_GAP = 1e-4
"""The same if it may be of an earlier session: a market move seldom hits a ratio so exactly."""

_FAR = 1.8
"""From this ratio on, either way round, a split is suspected across a gap too.

A market seldom moves so far in a few days. The two closes do not show which split it is.
"""

_SMALLEST_SPLIT = Fraction(6, 5)
_LARGEST_DENOMINATOR = 5
_LARGEST_NUMERATOR = 10


@dataclass
class SuspectedChange(SuspectedSplit):
    """A previous close that has changed."""

    is_stored: bool
    """Whether the bar itself is in the lakehouse already, without the split."""


@dataclass(frozen=True)
class Unsettled:
    """A previous close that differs, and not as by a split."""

    symbol: str
    ratio: float
    """Stored close ÷ the scanner's previous close."""
    why: str


@dataclass(frozen=True)
class Inspection:
    """What the previous closes say about some bars."""

    held: NDArray[np.bool_]
    """Shape ``(n,)``: bars to be held back, from the first suspect one of their symbol on."""
    suspects: list[SuspectedChange]
    unsettled: list[Unsettled]
    first: int
    """How many bars have no stored bar in the twelve days before, to compare with."""


def split_like(ratio: float, tolerance: float) -> Fraction | None:
    """Return the split that a ratio of two closes looks like; None if it looks like none.

    Splits are n for 1, and p for q of small numbers from 6 for 5 on, either way round. Smaller
    stock dividends are not distinguished from special cash dividends.

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
    if near < _SMALLEST_SPLIT or abs(float(near) / larger - 1) > tolerance:
        return None
    if near.denominator > 1 and near.numerator > _LARGEST_NUMERATOR:
        return None
    return near if ratio > 1 else 1 / near


def inspect_previous_closes(
    lakehouse: Lakehouse, bars: Bars, names: list[str], previous: NDArray[np.float64]
) -> Inspection:
    """Compare each bar's previous close with the stored one.

    A bar with a recorded ratio is not suspected: 1 says that there was no split. Recorded splits
    of sessions without a bar are taken into account.

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
    stored, ahead = (
        NearbyBars.around(lakehouse, bars.symbol, bars.event, names),
        read_recorded(lakehouse),
    )
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
        if abs(ratio - 1) <= _SAME_CLOSE:
            continue
        if due != 1 and abs(last.close / theirs - 1) <= _SAME_CLOSE:
            why = f"the recorded split of {ratio_text(due)} does not show"
            inspection.unsettled.append(Unsettled(name, last.close / theirs, why))
            continue
        is_next = previous_close(name, event) == last.event
        split = split_like(ratio, _NEAR_SPLIT if is_next else _NEAR_ACROSS_A_GAP)
        if split is None and (is_next or max(ratio, 1 / ratio) < _FAR):
            why = "not as by a split" if is_next else "the bar before is not stored"
            inspection.unsettled.append(Unsettled(name, ratio, why))
            continue
        opened = int(bars.timestamp[at])
        inspection.suspects.append(
            SuspectedChange(name, opened, split, last.close / due, theirs, own is not None)
        )
        if own is None:
            suspected.add(number)
            inspection.held[at] = True
    return Inspection(inspection.held, inspection.suspects, inspection.unsettled, first)


_EQUAL_CLOSE = 1e-6
"""Closes of one vendor that differ by less, relatively, are equal."""
_FEWEST_CLOSED, _CLOSED_SHARE = 5, 0.9
"""Symbols whose previous close must be the stored one, and their share, for a closed market."""
DID_NOT_OPEN = "the market did not open: the scanner's previous closes are those of before"


@dataclass(frozen=True)
class SessionsBefore:
    """Bars that were missed, and markets that did not open, by the previous closes."""

    missed: list[Missed]
    closed: list[tuple[str, date, int]]
    """Sessions in which a market did not open: market, local date, close in Unix s."""


def find_missed_bars(
    lakehouse: Lakehouse, bars: Bars, names: list[str], previous: NDArray[np.float64]
) -> SessionsBefore:
    """Compare the previous close of each bar whose session before is not stored.

    Parameters
    ----------
    bars
        New ones, one per symbol and close; ``row`` is a position in ``previous``.
    names
        Symbols by number.
    previous
        The scanner's previous closes; NaN where it gives none.
    """
    stored, ahead = (
        NearbyBars.around(lakehouse, bars.symbol, bars.event, names),
        read_recorded(lakehouse),
    )
    recorded = RecordedSplits(ahead)
    missed: list[Missed] = []
    agreed: dict[tuple[str, int, int], list[bool]] = {}
    for at in range(len(bars)):
        name, event = names[bars.symbol[at]], int(bars.event[at])
        theirs, market = float(previous[bars.row[at]]), market_of(name)
        before, last = previous_close(name, event), stored.before(name, event)
        if market is None or before is None or last is None or last.event >= before:
            continue
        if np.isnan(theirs) or (name, event) in ahead:
            continue
        tolerance = _EQUAL_CLOSE if last.is_scanned else _SAME_CLOSE
        close = last.close / recorded.between(name, last.event, event)
        is_same = abs(close / theirs - 1) <= tolerance
        if not is_same:
            missed.append(Missed(name, before, theirs))
        if last.is_scanned:
            agreed.setdefault((market, last.event, event), []).append(is_same)
    closed = [
        session
        for (market, last_event, event), votes in agreed.items()
        if sum(votes) >= max(_FEWEST_CLOSED, _CLOSED_SHARE * len(votes))
        for session in _sessions_between_closes(market, last_event, event)
    ]
    return SessionsBefore(missed, sorted(set(closed)))


def _sessions_between_closes(market: str, first: int, last: int) -> Iterator[tuple[str, date, int]]:
    """Yield the sessions of a market that closed between two closes."""
    days = [utc_date(each) for each in (first, last)]
    sessions = sessions_of_market(market, days[0] - timedelta(days=1), days[1] + timedelta(days=1))
    for label, closes in zip(sessions.labels, sessions.closes.tolist(), strict=True):
        if first < closes < last:
            yield market, label, closes
