"""Bars of a source that is replaced by another one: kept in ``other_bars``, beside ``ohlcv_1d``.

Where two sources have a bar of one session, ``ohlcv_1d`` has that of the source which stands first
(:mod:`ingestion.bars.precedence`), and ``other_bars`` that of the other one, equal or not: what is
equal now need not be so once either changes its past, and the other one is not asked again. A bar
that is stored when a source comes that stands before its own is restated by that one's, and a copy
of it is put here; as recorded before that instant it is still in ``ohlcv_1d``.

Rows are as they are in ``ohlcv_1d``, with the session's open as it is there. Of one source the last
version counts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.arrays import VALUES
from ingestion.bars.source import Source
from ingestion.base import clock
from ingestion.base.arrow import from_numpy, latest, strings
from ingestion.catalog import OTHER_BARS
from ingestion.lakehouse import (
    Lakehouse,
    Part,
    append_parts,
    arrow_schema,
    created_after,
    created_at,
    list_parts,
    read_part,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA = arrow_schema(OTHER_BARS)
FILES, SCANNER_NAME = "files", "scanner"


def name_of(source: Source) -> str:
    """Return a source's name for people: that of a bar source, ``files`` or ``scanner``.

    Examples
    --------
    >>> name_of(Source.parse("fetch:yahoo;assumed_hours")), name_of(Source.parse("import:a.csv"))
    ('yahoo', 'files')
    """
    return source.bar_source or (SCANNER_NAME if source.is_scanned else FILES)


def names_of(sources: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the names of a column of sources."""
    distinct = sources.unique()
    names = strings([name_of(Source.parse(text)) for text in distinct.to_pylist()])
    return names.take(pc.index_in(sources, value_set=distinct))


def last_of_each_source(rows: pa.Table) -> pa.Table:
    """Return the last version of each source's bar of a session, with the column ``name``.

    Returns
    -------
    pa.Table
        Sorted by symbol, open and name.
    """
    rows = rows.append_column("name", names_of(rows["source"]))
    keys = ("symbol", "timestamp", "name")
    rows = rows.sort_by([(name, "ascending") for name in (*keys, "created_timestamp")])
    if rows.num_rows < 2:
        return rows
    same = np.ones(rows.num_rows - 1, dtype=bool)
    for name in keys:
        column = rows[name].combine_chunks()
        same &= pc.equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return rows.filter(from_numpy(np.append(~same, True)))


def read_others(
    lakehouse: Lakehouse,
    first: date = date.min,
    last: date = date.max,
    symbols: Collection[str] | None = None,
) -> pa.Table:
    """Return the bars that other sources have, as :func:`last_of_each_source` does.

    Parameters
    ----------
    first, last
        UTC dates of closes, both included.
    symbols
        None for all.

    Raises
    ------
    CorruptPart
        If a part cannot be read.
    """
    rows = _read(list_parts(lakehouse, OTHER_BARS, first, last))
    if symbols is not None:
        wanted = strings(sorted(symbols))
        rows = rows.filter(pc.is_in(rows["symbol"], value_set=wanted))
    return last_of_each_source(rows)


def not_there(parts: Sequence[Part], rows: pa.Table) -> pa.Table:
    """Return the bars of one date that are not in its parts with these values, created now."""
    there = _read(parts)
    newest = latest(there["created_timestamp"])
    if there.num_rows and rows.num_rows:
        known = set(_contents(last_of_each_source(there)))
        is_new: NDArray[np.bool_] = np.array([each not in known for each in _contents(rows)])
        rows = rows.filter(from_numpy(is_new))
    return created_at(rows, created_after(clock.now(), newest))


def append_others(lakehouse: Lakehouse, tables: Sequence[pa.Table], run_id: str) -> list[Part]:
    """Append bars, one table per date; the caller has the lakehouse's lock."""
    filled = [table for table in tables if table.num_rows]
    return append_parts(lakehouse, OTHER_BARS, filled, run_id) if filled else []


def _contents(rows: pa.Table) -> list[tuple[object, ...]]:
    columns = (rows[name].to_pylist() for name in ("symbol", "timestamp", "source", *VALUES))
    return list(zip(*columns, strict=True))


def _read(parts: Sequence[Part]) -> pa.Table:
    tables = [read_part(part, OTHER_BARS, SCHEMA.names) for part in parts]
    return pa.concat_tables([pa.Table.from_batches([], SCHEMA), *tables])
