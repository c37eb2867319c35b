"""x."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingestion.bars.arrays import Bars
from ingestion.bars.holes import Missed, market_of, sessions_of_market
from ingestion.bars.splits import RecordedSplits, read_recorded
from ingestion.bars.stored_bars import NearbyBars
from ingestion.bars.suspects import SAME
from ingestion.markets.sessions import previous_close

EQUAL = 1e-6
"""Relative difference up to which two closes of one vendor are one."""
FEWEST_CLOSED, CLOSED_SHARE = 5, 0.9
"""Symbols whose previous close must be the stored one, and their share, for a closed market."""
DID_NOT_OPEN = "the market did not open: the scanner's previous closes are those of before"


@dataclass(frozen=True)
class SessionsBefore:
    """What previous closes say of the sessions before some bars."""

    missed: list[Missed]
    closed: list[tuple[str, date, int]]
    """Sessions in which a market did not open: market, local date, close in Unix s."""


def find_missed_bars(
    root: Path, bars: Bars, names: list[str], previous: NDArray[np.float64]
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
    stored, ahead = NearbyBars.around(root, bars.symbol, bars.event, names), read_recorded(root)
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
        tolerance = EQUAL if last.is_scanned else SAME
        close = last.close / recorded.between(name, last.event, event)
        is_same = abs(close / theirs - 1) <= tolerance
        if not is_same:
            missed.append(Missed(name, before, theirs))
        if last.is_scanned:
            agreed.setdefault((market, last.event, event), []).append(is_same)
    closed = [
        session
        for (market, last_event, event), votes in agreed.items()
        if sum(votes) >= max(FEWEST_CLOSED, CLOSED_SHARE * len(votes))
        for session in _between(market, last_event, event)
    ]
    return SessionsBefore(missed, sorted(set(closed)))


def _between(market: str, first: int, last: int) -> Iterator[tuple[str, date, int]]:
    """Yield the sessions of a market that closed between two closes."""
    days = [datetime.fromtimestamp(each, UTC).date() for each in (first, last)]
    sessions = sessions_of_market(market, days[0] - timedelta(days=1), days[1] + timedelta(days=1))
    for label, closes in zip(sessions.labels, sessions.closes.tolist(), strict=True):
        if first < closes < last:
            yield market, label, closes
