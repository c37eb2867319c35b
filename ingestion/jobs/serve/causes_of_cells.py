"""Why a cell of a data set is not the one that was knowable: which row its value is of."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.arrow import text
from ingestion.base.reading import reading_again
from ingestion.catalog import FeatureGroup
from ingestion.lakehouse import Lakehouse, list_parts, read_part

_AROUND = timedelta(days=40)
"""How far from a decision a value is looked for."""


@dataclass(frozen=True)
class Cell:
    """A cell that differs."""

    symbol: str
    decision: datetime
    column: str
    found: Any
    """In the file."""
    knowable: Any
    """By the lakehouse."""
    cause: str = ""

    def __str__(self) -> str:
        at = f"{self.decision:%Y-%m-%dT%H:%M:%SZ}"
        return (
            f"{self.column} of {self.symbol} at {at} is {self.found!r}, and {self.knowable!r} was "
            f"knowable: {self.cause}"
        )


def cause_of(
    lakehouse: Lakehouse,
    group: FeatureGroup,
    feature: str,
    cell: Cell,
    known_at: datetime,
    *,
    as_recorded: bool,
) -> str:
    """Return which row a value is of, and what speaks against that row."""
    if cell.found is None:
        return "a row that was known then is left out"
    at = cell.decision
    columns = ["symbol", group.event, "created_timestamp", feature]

    def read() -> pa.Table:
        first, last = (at - group.ttl - _AROUND).date(), (at + _AROUND).date()
        tables = [
            read_part(part, group, columns) for part in list_parts(lakehouse, group, first, last)
        ]
        own = [rows.filter(pc.equal(rows["symbol"], text(cell.symbol))) for rows in tables]
        return pa.concat_tables(own) if own else pa.table({name: [] for name in columns})

    reasons = []
    for _, event, created, value in zip(*reading_again(read).to_pydict().values(), strict=True):
        if _bits(value) != _bits(cell.found):
            continue
        told = f"it is of the row of {event.isoformat()}, created at {created.isoformat()}"
        if event > at:
            reasons.append((abs(event - at), f"{told}: after the decision"))
        elif created > known_at:
            reasons.append((at - event, f"{told}: after known_at, {known_at.isoformat()}"))
        elif as_recorded and created > at:
            reasons.append((at - event, f"{told}: written after the decision"))
        elif at - event > group.ttl:
            reasons.append((at - event, f"{told}: older than its TTL, {group.ttl}"))
        else:
            reasons.append((at - event, f"{told}: not the newest that was known then"))
    return min(reasons, default=(timedelta(), "no row near the decision has that value"))[1]


def _bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else value
