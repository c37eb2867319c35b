"""When the rows were known that a join has found: the age of each group's values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.base.reading import reading_again
from ingestion.catalog import FeatureGroup
from ingestion.lakehouse import Lakehouse, list_parts, read_part

NEVER = -1
"""Stands for "no row"."""
_SECOND = 1_000_000
_BITS = 33
"""Of a second of this millennium."""


def ages_at(
    lakehouse: Lakehouse,
    group: FeatureGroup,
    symbols: Sequence[str],
    instants: NDArray[np.int64],
    *,
    as_recorded: bool = False,
) -> NDArray[np.int64]:
    """Return how old the row is that each question gets, in whole seconds; ``NEVER`` without one.

    Parameters
    ----------
    symbols, instants
        Shape ``(n,)``: whose row is asked for, and when, Unix µs.
    as_recorded
        Count only rows that had been written by then.

    Raises
    ------
    CorruptPart
        If a part cannot be read.
    """
    if not len(instants):
        return np.empty(0, dtype=np.int64)
    names = pa.array(symbols, pa.string()).dictionary_encode()
    asked_of = names.indices.to_numpy().astype(np.int64)
    first, last = (_date(int(each)) for each in (instants.min(), instants.max()))

    def read() -> pa.Table:
        columns = ["symbol", "timestamp", "created_timestamp"]
        parts = list_parts(lakehouse, group, (first - group.ttl).date())
        tables = [
            rows.filter(pc.is_in(rows["symbol"], value_set=names.dictionary))
            for rows in (
                read_part(part, group, columns) for part in parts if part.date <= last.date()
            )
        ]
        empty = pa.table({name: pa.array([], pa.int64()) for name in columns})
        return pa.concat_tables(tables) if tables else empty

    rows = reading_again(read)
    found = np.full(len(instants), NEVER, dtype=np.int64)
    if not rows.num_rows:
        return found
    code = pc.index_in(rows["symbol"], names.dictionary).to_numpy().astype(np.int64)
    event, created = (
        rows["timestamp"].to_numpy(),
        rows["created_timestamp"].cast(pa.int64()).to_numpy(),
    )
    order = np.lexsort((created, event, code))
    code, event, created = code[order], event[order], created[order]
    seconds = instants // _SECOND
    key, question = (code << _BITS) + event, (asked_of << _BITS) + seconds
    at = np.searchsorted(key, question, side="right") - 1
    while as_recorded:
        unwritten = (at >= 0) & (code[at] == asked_of) & (created[at] > instants)
        if not unwritten.any():
            break
        at = at - unwritten
    age = seconds - event[at]
    is_there = (at >= 0) & (code[at] == asked_of) & (age <= int(group.ttl.total_seconds()))
    return np.where(is_there, age, NEVER)


def _date(micros: int) -> datetime:
    return datetime.fromtimestamp(micros // _SECOND, UTC)
