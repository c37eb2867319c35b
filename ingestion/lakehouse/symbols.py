"""What was known of the symbols at an instant: a row is valid from ``valid_from`` to the next."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.arrow import empty_table, from_numpy, to_numpy
from ingestion.base.columns import INSTANT
from ingestion.base.instants import to_micros
from ingestion.base.reading import reading_again
from ingestion.catalog import SYMBOLS
from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.parts import list_parts, read_part
from ingestion.lakehouse.schema import arrow_schema


def read_symbols(lakehouse: Lakehouse, known_at: datetime | None = None) -> pa.Table:
    """Read every version of every symbol that was observed by an instant; all without one.

    Returns
    -------
    pa.Table
        The columns of ``symbols`` and ``valid_until``, the instant from which the row is no
        longer valid; null while it is. Sorted by and unique on (``symbol``, ``valid_from``).
    """
    tables = reading_again(
        lambda: [read_part(part, SYMBOLS) for part in list_parts(lakehouse, SYMBOLS)]
    )
    rows = pa.concat_tables([empty_table(arrow_schema(SYMBOLS)), *tables])
    if known_at is not None:
        rows = rows.filter(from_numpy(to_numpy(rows["valid_from"]) <= to_micros(known_at)))
    rows = rows.sort_by([(name, "ascending") for name in SYMBOLS.key]).combine_chunks()
    until = pa.nulls(rows.num_rows, INSTANT)
    if rows.num_rows > 1:
        following = pa.concat_arrays([_only_chunk(rows["valid_from"])[1:], until[:1]])
        until = pc.if_else(from_numpy(~_is_last(rows)), following, until)
    return rows.append_column("valid_until", until)


def symbols_at(lakehouse: Lakehouse, t: datetime) -> pa.Table:
    """Return the rows that are valid at an instant: ``valid_from`` ≤ t < ``valid_until``.

    Returns
    -------
    pa.Table
        As :func:`read_symbols`, one row a symbol; inactive ones too. A symbol that was first
        observed later is not there.
    """
    rows = read_symbols(lakehouse)
    at, never = to_micros(t), np.iinfo(np.int64).max
    begun = to_numpy(rows["valid_from"]) <= at
    return rows.filter(from_numpy(begun & (to_numpy(rows["valid_until"], null=never) > at)))


def active_symbols(lakehouse: Lakehouse, t: datetime) -> set[str]:
    """Return the symbols that were known to be active at an instant."""
    rows = symbols_at(lakehouse, t)
    return set(rows["symbol"].filter(rows["active"]).to_pylist())


def _is_last(rows: pa.Table) -> np.ndarray:
    """Return which rows are their symbol's last; there are at least two."""
    symbols = _only_chunk(rows["symbol"])
    return np.append(to_numpy(pc.not_equal(symbols[1:], symbols[:-1])), True)


def _only_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
