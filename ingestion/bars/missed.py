"""What the scanner's previous closes say about the session before its bars.

The scanner measures a bar's change against the close of the bar before. Where the lakehouse lacks
the session before, and its last close is another one, a bar was missed. Where the closes of a whole
market are the stored ones, it did not open, whatever its calendar says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.bars.arrays import Bars
from ingestion.bars.attendance import market_of, sessions_of
from ingestion.bars.splits import RecordedSplits, read_recorded
from ingestion.bars.stored_bars import NearbyBars
from ingestion.bars.suspects import SAME
from ingestion.catalog import MISSED_BARS
from ingestion.lakehouse import append_rows, list_parts, read_current
from ingestion.markets.sessions import previous_close

EQUAL = 1e-6
"""Relative difference up to which two closes of one vendor are one."""
FEWEST_CLOSED, CLOSED_SHARE = 5, 0.9
"""Symbols whose previous close must be the stored one, and their share, for a closed market."""
DID_NOT_OPEN = "the market did not open: the scanner's previous closes are those of before"


@dataclass(frozen=True)
class Missed:
    """A symbol's bar that the lakehouse has not."""

    symbol: str
    closes: int
    """Close of the session before the scanner's bar, Unix s."""
    previous_close: float


@dataclass(frozen=True)
class Witness:
    """What previous closes say."""

    missed: list[Missed]
    closed: list[tuple[str, date, int]]
    """Sessions in which a market did not open: market, local date, close in Unix s."""


def hear_witness(
    root: Path, bars: Bars, names: list[str], previous: NDArray[np.float64]
) -> Witness:
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
    return Witness(missed, sorted(set(closed)))


def read_missed(root: Path) -> list[Missed]:
    """Return the bars that were ever found to be missed, imported since or not."""
    rows = read_current(list_parts(root, MISSED_BARS), MISSED_BARS)
    return [Missed(row["symbol"], row["timestamp"], row["previous_close"]) for row in _dicts(rows)]


def record_missed(root: Path, missed: Iterable[Missed], now: datetime, run_id: str) -> list[Path]:
    """Append what is not recorded yet, one part per date; the caller holds the lakehouse's lock."""
    known = {(each.symbol, each.closes) for each in read_missed(root)}
    rows = (
        {
            "timestamp": each.closes,
            "symbol": each.symbol,
            "previous_close": each.previous_close,
            "event_timestamp": datetime.fromtimestamp(each.closes, UTC),
            "created_timestamp": now,
        }
        for each in missed
        if (each.symbol, each.closes) not in known
    )
    return append_rows(root, MISSED_BARS, rows, run_id)


def _between(market: str, first: int, last: int) -> Iterator[tuple[str, date, int]]:
    """Yield the sessions of a market that closed between two closes."""
    days = [datetime.fromtimestamp(each, UTC).date() for each in (first, last)]
    sessions = sessions_of(market, days[0] - timedelta(days=1), days[1] + timedelta(days=1))
    for label, closes in zip(sessions.labels, sessions.closes.tolist(), strict=True):
        if first < closes < last:
            yield market, label, closes


def _dicts(rows: pa.Table) -> list[dict[str, Any]]:
    dicts: list[dict[str, Any]] = rows.to_pylist()
    return dicts
