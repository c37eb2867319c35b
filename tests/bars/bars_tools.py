"""What the tests of the import share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ingestion.jobs.ingest.import_bars import ImportResult

Import = Callable[..., ImportResult]
Rows = Callable[[], list[dict[str, Any]]]
Write = Callable[[str, str], Path]

NOW = datetime(2021, 6, 1, tzinfo=UTC)
HEADER = "date,symbol,open,high,low,close,volume\n"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def seconds(text: str) -> int:
    return int(utc(text).timestamp())


def day_of(symbol: str, day: str, close: float = 10.0, volume: float = 100.0) -> str:
    """A line below HEADER: a calm day."""
    return f"{day},{symbol},{close},{close * 1.01},{close * 0.99},{close},{volume}\n"
