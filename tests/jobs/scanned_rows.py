"""A scanner that shows exactly the rows that a test names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from ingestion.replay import Panel
from ingestion.replay.panel import COLUMNS, Instrument

LONG_AGO = 0


def instant(text: str) -> datetime:
    """Return an instant of an ISO 8601 text, UTC unless it says otherwise."""
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def unix(text: str) -> int:
    return int(instant(text).timestamp())


def bar(symbol: str, opened: str | None, close: float | None = 10.0, **cells: Any) -> dict:
    """A row of a calm day that opened then; any cell can be set, to anything."""
    calm = {} if close is None else {"open": close, "high": 1.01 * close, "low": 0.99 * close}
    time = None if opened is None else unix(opened)
    row = {"symbol": symbol, "close": close, "volume": 1_000, "change": 0.0, "time": time}
    return {**row, "update_mode": "delayed_streaming_900", **calm, **cells}


def showing(*rows: dict, market: str = "america") -> Panel:
    """A panel of one row a symbol, whatever the clock says; columns that are not named are null."""
    instruments = [
        Instrument(row["symbol"], row.get("market", market), {}, at, at + 1)
        for at, row in enumerate(rows)
    ]
    columns = {name: [row.get(name) for row in rows] for name in COLUMNS}
    columns["name"] = [row["symbol"].partition(":")[2] for row in rows]
    return Panel(instruments, np.full(len(rows), LONG_AGO), columns)
