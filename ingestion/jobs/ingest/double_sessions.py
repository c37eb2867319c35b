"""Stored bars of no session, and sessions that are stored twice, in the whole lakehouse.

An earlier version of the project stored such bars: those of an exchange with a calendar that close
with no session of it, and two bars of one symbol and session that close at different instants.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ingestion.bars.arrays import close_seconds
from ingestion.base.instants import date_of_day
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import Part, read_current
from ingestion.markets.sessions import are_misplaced, by_hours, session_days

_COLUMNS = ["symbol", "timestamp", "event_timestamp", "created_timestamp"]


class StoredBar(NamedTuple):
    """Which bar it is."""

    symbol: str
    opens: int
    """Unix s."""
    day: date
    """Its partition's."""


class _Bar(NamedTuple):
    key: StoredBar
    session: int
    """Day of its session, from 1970-01-01."""
    created: datetime
    is_misplaced: bool
    """Whether it closes with no session of its exchange's calendar."""


class DoubleSession(NamedTuple):
    """A superfluous bar: it is in no session, or it is the later one of two in one session."""

    superfluous: StoredBar
    """The bar that is in no session, or else the one that was written later."""
    session: date
    parts: tuple[str, ...]
    """Where the bars of that session are, below the lakehouse's root; the superfluous one last."""
    is_misplaced: bool
    """Whether it closes with no session of its exchange's calendar."""

    def __str__(self) -> str:
        what = "closes with no session of its exchange" if self.is_misplaced else "is there twice"
        return f"{self.superfluous.symbol}, session {self.session}, {what}"


def double_sessions(parts: dict[date, list[Part]]) -> Iterator[DoubleSession]:
    """Yield the superfluous bars, in the order of their dates.

    Parameters
    ----------
    parts
        Of ``ohlcv_1d``, by date.
    """
    seen: dict[tuple[str, int], _Bar] = {}
    for day, of_day in parts.items():
        # Bars of one session lie two dates apart at most.
        seen = {key: bar for key, bar in seen.items() if day - bar.key.day <= timedelta(days=2)}
        for bar in _bars(day, read_current(of_day, OHLCV_1D, _COLUMNS)):
            key = bar.key.symbol, bar.session
            other = seen.get(key)
            if other is None or other.is_misplaced:
                seen[key] = kept = bar
            else:
                kept = other if bar.is_misplaced or other.created <= bar.created else bar
                seen[key] = kept
            if bar.is_misplaced:
                extra = bar
            elif other is None or other.is_misplaced:
                continue
            else:
                extra = other if kept is bar else bar
            beside = {bar.key.day, *([other.key.day] if other else [])} - {extra.key.day}
            keys = (parts[each][-1].key for each in (*sorted(beside), extra.key.day))
            session = date_of_day(extra.session)
            yield DoubleSession(extra.key, session, tuple(keys), extra.is_misplaced)


def _bars(day: date, rows: pa.Table) -> Iterator[_Bar]:
    symbols, opens, closes = (
        rows["symbol"].to_pylist(),
        rows["timestamp"].to_numpy(),
        close_seconds(rows),
    )
    days = np.zeros(len(symbols), dtype=np.int64)
    wrong = np.zeros(len(symbols), dtype=bool)
    for symbol, at in by_hours(symbols).items():
        days[at] = session_days(symbol, opens[at], closes[at])
        wrong[at] = are_misplaced(symbol, opens[at], closes[at])
    created = rows["created_timestamp"].to_pylist()
    columns = (symbols, opens.tolist(), days.tolist(), created, wrong.tolist())
    for name, opened, number, written, is_wrong in zip(*columns, strict=True):
        yield _Bar(StoredBar(name, opened, day), number, written, is_wrong)
