"""On how many days a symbol has been absent: what is remembered from run to run.

A row is appended when a symbol is absent on another UTC day, and when it is seen again; the newest
row of a symbol shows it. So a symbol that is there costs nothing, and one that has gone three rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ingestion.catalog import ABSENCES
from ingestion.lakehouse import Lakehouse, list_parts, read_part

DAYS_TO_INACTIVE = 3
"""Complete daily answers that must leave a symbol out before it counts as gone."""


@dataclass(frozen=True)
class Observed:
    """What a run makes of presence and absence."""

    rows: list[dict[str, Any]]
    """Rows of ``absences`` to append."""
    days: dict[str, int]
    """By symbol absent now, on how many days it has been."""

    @property
    def final(self) -> list[str]:
        """The symbols that were absent long enough."""
        return [symbol for symbol, days in self.days.items() if days >= DAYS_TO_INACTIVE]


@dataclass(frozen=True)
class Absences:
    """Each symbol's newest observation: days in a row, and when it was made."""

    newest: dict[str, tuple[int, datetime]]

    @classmethod
    def read(cls, lakehouse: Lakehouse) -> Absences:
        """Read what earlier runs observed."""
        newest: dict[str, tuple[int, datetime]] = {}
        for part in list_parts(lakehouse, ABSENCES):
            for row in read_part(part, ABSENCES).to_pylist():
                symbol, at = row["symbol"], row["observed_at"]
                if symbol not in newest or newest[symbol][1] < at:
                    newest[symbol] = (row["days"], at)
        return cls(newest)

    def observe(self, seen: Collection[str], absent: Iterable[str], now: datetime) -> Observed:
        """Add a run's observations.

        Parameters
        ----------
        seen
            Symbols that the scanner showed.
        absent
            Active symbols that complete answers left out.
        """
        rows: list[dict[str, Any]] = []
        days_absent: dict[str, int] = {}
        for symbol in absent:
            days, last = self.newest.get(symbol, (0, None))
            if last is None or (days == 0 and last < now) or last.date() < now.date():
                days += 1
                rows.append({"symbol": symbol, "days": days, "observed_at": now})
            days_absent[symbol] = days
        for symbol, (days, last) in self.newest.items():
            if days and symbol in seen and last < now:
                rows.append({"symbol": symbol, "days": 0, "observed_at": now})
        return Observed(rows, days_absent)
