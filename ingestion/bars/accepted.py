"""Sessions without bars that somebody has accepted: they are holes no longer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.reading import reading_again
from ingestion.catalog import ACCEPTED_HOLES
from ingestion.lakehouse import append_rows, arrow_schema, created_after, list_parts, read_part

_SCHEMA = arrow_schema(ACCEPTED_HOLES)


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


def read_accepted(root: Path) -> list[Accepted]:
    """Return what was accepted, in the order of the sessions; of each session the last word."""
    rows = _rows(root).sort_by([("timestamp", "ascending"), ("created_timestamp", "ascending")])
    newest = {(row["market"], row["session"]): row for row in rows.to_pylist()}
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
    root: Path, sessions: Iterable[tuple[str, date, int]], reason: str, now: datetime, run_id: str
) -> list[Path]:
    """Append sessions, one part per date; the caller holds the lakehouse's lock.

    Parameters
    ----------
    sessions
        Market, local date, and close in Unix s.
    """
    created = created_after(now, pc.max(_rows(root)["created_timestamp"]).as_py())
    rows = (
        {
            "timestamp": closes,
            "market": market,
            "session": session.isoformat(),
            "reason": reason,
            "event_timestamp": datetime.fromtimestamp(closes, UTC),
            "created_timestamp": created,
        }
        for market, session, closes in sessions
    )
    return append_rows(root, ACCEPTED_HOLES, rows, run_id)


def _rows(root: Path) -> pa.Table:
    def read() -> pa.Table:
        parts = [read_part(part.path, ACCEPTED_HOLES) for part in list_parts(root, ACCEPTED_HOLES)]
        return pa.concat_tables([_SCHEMA.empty_table(), *parts])

    return reading_again(read)
