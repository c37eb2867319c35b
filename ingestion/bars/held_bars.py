"""Closed bars that wait in ``held_bars`` until a split is recorded or denied.

They are stored there, because the scanner shows each bar for a day only. ``data-ingest`` releases
the bars of the scanner, which have its previous close; the next import that has an answer releases
those of an import. A bar waits until a bar of its symbol and session is stored, or until it is
found to be a bad one: then a later version of its row says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.arrays import PRICES_AND_VOLUME, Bars, Index, close_seconds, table_of
from ingestion.bars.source import of_each_source
from ingestion.base import clock
from ingestion.base.arrow import codes_in, empty_table, from_numpy, latest
from ingestion.base.instants import DAY, MICROSECONDS
from ingestion.base.ordered import runs
from ingestion.catalog import HELD_BARS, OHLCV_1D
from ingestion.lakehouse import (
    Lakehouse,
    Part,
    append_parts,
    arrow_schema,
    by_date,
    created_after,
    created_at,
    list_parts,
    parts_of,
    read_current,
    read_current_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COMPARED = (*PRICES_AND_VOLUME, "split_ratio", "previous_close", "source")
_HELD_SCHEMA = arrow_schema(HELD_BARS)


def waiting_bars(lakehouse: Lakehouse, first: date = date.min, last: date = date.max) -> pa.Table:
    """Return the held bars that are not stored, in the schema of ``held_bars``.

    Of all dates, or of some, both ends included. Sorted by and unique on (``symbol``,
    ``timestamp``).
    """
    rows = pa.concat_tables([empty_table(_HELD_SCHEMA), *_waiting_by_date(lakehouse, first, last)])
    return rows.sort_by([("symbol", "ascending"), ("timestamp", "ascending")])


def _waiting_by_date(
    lakehouse: Lakehouse, first: date = date.min, last: date = date.max
) -> Iterator[pa.Table]:
    """Yield the rows of one date after the other."""
    for day, parts in by_date(list_parts(lakehouse, HELD_BARS, first)).items():
        if day > last:
            return
        rows = read_current(parts, HELD_BARS)
        rows = rows.filter(from_numpy(of_each_source(rows["source"], lambda it: not it.refused)))
        symbols = sorted(set(rows["symbol"].to_pylist()))
        # A bar that was stored, and withdrawn since, does not come back.
        there = read_current_of(
            parts_of(lakehouse, OHLCV_1D, day),
            OHLCV_1D,
            symbols,
            ["symbol", "timestamp", "event_timestamp"],
            withdrawn=True,
        )
        known = set(symbols_and_closes(there))
        is_new = [key not in known for key in symbols_and_closes(rows)]
        yield rows.filter(from_numpy(np.array(is_new, dtype=bool)))


class HeldByImports:
    """Reads the waiting bars of some symbols that imports held back.

    Parameters
    ----------
    names
        Symbols by number.
    file
        The file number that the bars get.
    """

    def __init__(self, lakehouse: Lakehouse, names: Sequence[str], file: int) -> None:
        self._lakehouse, self._file = lakehouse, file
        self._numbers = {name: number for number, name in enumerate(names)}
        self._names = pa.array(names, pa.string())
        self._sources: dict[str, int] = {}

    @property
    def sources(self) -> list[str]:
        """The sources of the bars, as texts; the ``row`` of a bar is a position in this list."""
        return list(self._sources)

    def read(self) -> Iterator[Bars]:
        """Yield the bars of one date after the other."""
        for rows in _waiting_by_date(self._lakehouse):
            wanted = pc.is_in(rows["symbol"], value_set=self._names)
            by_import = pa.array(of_each_source(rows["source"], lambda it: it.is_imported))
            rows = rows.filter(pc.and_(wanted, by_import))
            bars = as_bars(rows, self._numbers, self._file)
            numbers = [
                self._sources.setdefault(source, len(self._sources))
                for source in rows["source"].to_pylist()
            ]
            bars.row = np.array(numbers, dtype=np.int64)
            yield bars


def as_bars(waiting: pa.Table, numbers: dict[str, int], file: int, first_row: int = 0) -> Bars:
    """Return waiting bars under a file's number, the rows numbered on from ``first_row``.

    A ratio of 1 becomes NaN: only another one was given by the file.
    """
    size = waiting.num_rows
    columns = {
        name: np.array(waiting[name].to_numpy()) for name in ("timestamp", *PRICES_AND_VOLUME)
    }
    ratio = np.array(waiting["split_ratio"].to_numpy())
    return Bars(
        file=np.full(size, file, dtype=np.int32),
        row=np.arange(first_row, first_row + size, dtype=np.int64),
        symbol=np.array([numbers[name] for name in waiting["symbol"].to_pylist()], dtype=np.int32),
        event=close_seconds(waiting),
        split_ratio=np.where(ratio == 1, np.nan, ratio),
        **columns,
    )


def with_waiting(
    bars: Bars, names: Sequence[str], previous: NDArray[np.float64], waiting: pa.Table
) -> tuple[Bars, list[str], NDArray[np.float64]]:
    """Return bars and waiting ones together; a new bar replaces the waiting one of its session."""
    numbers = {name: number for number, name in enumerate(names)}
    fresh = {
        (names[number], int(event)) for number, event in zip(bars.symbol, bars.event, strict=True)
    }
    waiting = waiting.filter(
        pa.array([key not in fresh for key in symbols_and_closes(waiting)], pa.bool_())
    )
    for symbol in waiting["symbol"].to_pylist():
        numbers.setdefault(symbol, len(numbers))
    held = as_bars(waiting, numbers, 0, len(previous))
    theirs = waiting["previous_close"].cast(pa.float64()).to_numpy(zero_copy_only=False)
    return Bars.concatenate([bars, held]), list(numbers), np.concatenate([previous, theirs])


def newly_held(
    bars: Bars,
    names: Sequence[str],
    previous: NDArray[np.float64],
    sources: Sequence[str] | pa.Array,
    waiting: pa.Table,
) -> list[pa.Table]:
    """Return the rows of ``held_bars`` for bars that do not wait there yet, created now.

    Parameters
    ----------
    names
        Symbols by number.
    previous, sources
        Shape ``(n,)`` each: the scanner's previous close, NaN for none, and the source, per bar.
    waiting
        What waits there, in the schema of ``held_bars``.

    Returns
    -------
    list[pa.Table]
        One table per date.
    """
    now, symbols = clock.now(), pa.array(names, pa.string())
    columns = {name: getattr(bars, name) for name in ("timestamp", *PRICES_AND_VOLUME)} | {
        "symbol": symbols.take(pa.array(bars.symbol)),
        "split_ratio": np.where(np.isnan(bars.split_ratio), 1.0, bars.split_ratio),
        "event_timestamp": bars.event * MICROSECONDS,
        "created_timestamp": pa.repeat(pa.scalar(now), len(bars)),
        "source": sources,
        "previous_close": pa.array(previous, from_pandas=True),
    }
    rows = table_of(columns, _HELD_SCHEMA)
    number = codes_in(symbols, waiting["symbol"])
    at = Index(number, waiting["timestamp"].to_numpy()).find(bars.symbol, bars.timestamp)
    wait = np.flatnonzero(at >= 0)
    there = waiting.take(pa.array(at[wait]))
    new = np.ones(len(bars), dtype=bool)
    new[wait] = _rows_that_differ(rows.take(pa.array(wait)), there)
    if len(wait):
        newest = latest(there["created_timestamp"])
        rows = created_at(rows, created_after(now, newest))
    chosen = np.flatnonzero(new)
    days = bars.event[chosen] // DAY
    order = np.argsort(days, kind="stable")
    rows = rows.take(pa.array(chosen[order]))
    return [rows.slice(start, end - start) for _, start, end in runs(days[order])]


def _rows_that_differ(rows: pa.Table, others: pa.Table) -> NDArray[np.bool_]:
    """Return which rows differ from those at the same places."""
    differ = np.zeros(rows.num_rows, dtype=bool)
    for name in _COMPARED:
        one, other = rows[name], others[name]
        both_null = pc.and_(pc.is_null(one), pc.is_null(other))
        same = pc.or_(pc.fill_null(pc.equal(one, other), False), both_null)
        differ |= ~same.to_numpy()
    return differ


def hold_back(lakehouse: Lakehouse, tables: list[pa.Table], run_id: str) -> list[Part]:
    """Append rows of ``held_bars``; the caller has the lakehouse's lock."""
    return append_parts(lakehouse, HELD_BARS, tables, run_id) if tables else []


def symbols_and_closes(rows: pa.Table) -> list[tuple[str, int]]:
    """Return symbol and close, Unix seconds, of each row."""
    return list(zip(rows["symbol"].to_pylist(), close_seconds(rows).tolist(), strict=True))
