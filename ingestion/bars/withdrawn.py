"""Bars that somebody has taken back, so that they are there no more.

A withdrawn bar is a last version of its row whose ``source`` says so, and why. What was recorded
before stays, as of then; a later version with other values puts a bar there again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from ingestion.bars.refusals import Reason
from ingestion.bars.source import Source

_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Withdrawn:
    """A stored bar that was taken back."""

    symbol: str
    opens: int
    """Unix s, as is the next."""
    event: int
    prices: Mapping[str, float]
    """Open, high, low and close, as they were."""
    why: str
    created: datetime
    """When it was taken back."""
    reason: ClassVar = Reason.WITHDRAWN
    """Why the same bar is refused when it comes again."""

    def __str__(self) -> str:
        return f"it was withdrawn on {self.created:%Y-%m-%d}: {self.why}"


def as_withdrawn(row: Mapping[str, Any]) -> Withdrawn:
    """Read a row of ``ohlcv_1d`` whose source says that it is withdrawn."""
    return Withdrawn(
        symbol=row["symbol"],
        opens=row["timestamp"],
        event=int(row["event_timestamp"].timestamp()),
        prices={name: row[name] for name in _PRICES},
        why=Source.parse(row["source"]).withdrawn or "",
        created=row["created_timestamp"],
    )
