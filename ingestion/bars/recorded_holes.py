"""What is recorded of sessions without bars: those that were accepted, and single missed bars.

Each has a dataset of its own, ``accepted_holes`` and ``missed_bars``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.arrow import empty_table, to_rows
from ingestion.base.instants import utc
from ingestion.base.reading import reading_again
from ingestion.catalog import ACCEPTED_HOLES, MISSED_BARS
from ingestion.lakehouse import (
    Lakehouse,
    Part,
    append_rows,
    arrow_schema,
    created_after,
    list_parts,
    read_current,
    read_part,
)

_ACCEPTED_SCHEMA = arrow_schema(ACCEPTED_HOLES)


@dataclass(frozen=True)
class Accepted:
    """A session that a market is known to lack."""

    market: str
    session: date
    """Local date."""
    closes: int
    """Unix s."""
    reason: str
    accepted_at: datetime


def read_accepted(lakehouse: Lakehouse) -> list[Accepted]:
    """Return what was accepted, in the order of the sessions, by the last entry of each."""
    rows = _accepted_rows(lakehouse).sort_by(
        [("timestamp", "ascending"), ("created_timestamp", "ascending")]
    )
    newest = {(row["market"], row["session"]): row for row in to_rows(rows)}
    return [
        Accepted(
            row["market"],
            date.fromisoformat(row["session"]),
            row["timestamp"],
            row["reason"],
            row["created_timestamp"],
        )
        for row in newest.values()
    ]


def record_accepted(
    lakehouse: Lakehouse,
    sessions: Iterable[tuple[str, date, int]],
    reason: str,
    now: datetime,
    run_id: str,
) -> list[Part]:
    """Append sessions, one part per date; the caller has the lakehouse's lock.

    Parameters
    ----------
    sessions
        Market, local date, and close in Unix s.
    """
    created = created_after(now, pc.max(_accepted_rows(lakehouse)["created_timestamp"]).as_py())
    rows = (
        {
            "timestamp": closes,
            "market": market,
            "session": session.isoformat(),
            "reason": reason,
            "event_timestamp": utc(closes),
            "created_timestamp": created,
        }
        for market, session, closes in sessions
    )
    return append_rows(lakehouse, ACCEPTED_HOLES, rows, run_id)


def _accepted_rows(lakehouse: Lakehouse) -> pa.Table:
    def read() -> pa.Table:
        parts = [read_part(part, ACCEPTED_HOLES) for part in list_parts(lakehouse, ACCEPTED_HOLES)]
        return pa.concat_tables([empty_table(_ACCEPTED_SCHEMA), *parts])

    return reading_again(read)


@dataclass(frozen=True)
class Missed:
    """A bar that the lakehouse lacks, of a symbol that had one."""

    symbol: str
    closes: int
    """Close of the session before the scanner's bar, Unix s."""
    previous_close: float


def read_missed(lakehouse: Lakehouse) -> list[Missed]:
    """Return the bars that were ever found to be missed, imported since or not."""
    rows = read_current(list_parts(lakehouse, MISSED_BARS), MISSED_BARS)
    return [Missed(row["symbol"], row["timestamp"], row["previous_close"]) for row in to_rows(rows)]


def record_missed(
    lakehouse: Lakehouse, missed: Iterable[Missed], now: datetime, run_id: str
) -> list[Part]:
    """Append what is not recorded yet, one part per date; the caller has the lakehouse's lock."""
    known = {(each.symbol, each.closes) for each in read_missed(lakehouse)}
    rows = (
        {
            "timestamp": each.closes,
            "symbol": each.symbol,
            "previous_close": each.previous_close,
            "event_timestamp": utc(each.closes),
            "created_timestamp": now,
        }
        for each in missed
        if (each.symbol, each.closes) not in known
    )
    return append_rows(lakehouse, MISSED_BARS, rows, run_id)
