"""Closed bars that wait for a split to be recorded.

They are kept apart, so that nothing is lost meanwhile: the scanner shows each bar for a day. Those
of the scanner have its previous close, and ``data-ingest`` releases them; those of an import are
released by the next import that has an answer. A bar waits until one of its symbol and session is
stored, or until it was found to be a bad one: then a later version of its row says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.arrays import Bars, keys_of, places
from ingestion.bars.source import of_each_source
from ingestion.base import clock
from ingestion.base.spill import runs
from ingestion.catalog import HELD_BARS, OHLCV_1D
from ingestion.lakehouse import (
    append_parts,
    arrow_schema,
    by_date,
    created_after,
    created_at,
    list_parts,
    read_current,
    read_current_of,
)
from ingestion.markets.hours import DAY

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VALUES = ("open", "high", "low", "close", "volume")
_COMPARED = (*_VALUES, "split_ratio", "previous_close", "source")
_SCHEMA = arrow_schema(HELD_BARS)


def waiting_bars(root: Path, first: date = date.min, last: date = date.max) -> pa.Table:
    """Return the held bars that are not stored, in the schema of ``held_bars``.

    Of all dates, or of some, both ends included. Sorted by and unique on (``symbol``,
    ``timestamp``).
    """
    rows = pa.concat_tables([_SCHEMA.empty_table(), *_waiting(root, first, last)])
    return rows.sort_by([("symbol", "ascending"), ("timestamp", "ascending")])


def _waiting(root: Path, first: date = date.min, last: date = date.max) -> Iterator[pa.Table]:
    """Yield the rows of one date after the other."""
    stored = by_date(list_parts(root, OHLCV_1D, first))
    for day, parts in by_date(list_parts(root, HELD_BARS, first)).items():
        if day > last:
            return
        rows = read_current(parts, HELD_BARS)
        rows = rows.filter(pa.array(of_each_source(rows["source"], lambda it: not it.refused)))
        symbols = sorted(set(rows["symbol"].to_pylist()))
        # One that was stored and withdrawn since does not come back.
        there = read_current_of(
            stored.get(day, []),
            OHLCV_1D,
            symbols,
            ["symbol", "timestamp", "event_timestamp"],
            withdrawn=True,
        )
        known = set(sessions_of(there))
        yield rows.filter(pa.array([key not in known for key in sessions_of(rows)], pa.bool_()))


class HeldByImports:
    """Reads the waiting bars of some symbols that imports held back.

    Parameters
    ----------
    names
        Symbols by number.
    file
        The file number that the bars get.
    """

    def __init__(self, root: Path, names: Sequence[str], file: int) -> None:
        self._root, self._file = root, file
        self._numbers = {name: number for number, name in enumerate(names)}
        self._names = pa.array(names, pa.string())
        self._sources: dict[str, int] = {}

    @property
    def sources(self) -> list[str]:
        """Where the bars come from; their ``row`` is a position in it."""
        return list(self._sources)

    def read(self) -> Iterator[Bars]:
        """Yield the bars of one date after the other."""
        for rows in _waiting(self._root):
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

    A ratio other than 1 is what their file said; 1 says nothing.
    """
    size = waiting.num_rows
    columns = {name: np.array(waiting[name].to_numpy()) for name in ("timestamp", *_VALUES)}
    ratio = np.array(waiting["split_ratio"].to_numpy())
    return Bars(
        file=np.full(size, file, dtype=np.int32),
        row=np.arange(first_row, first_row + size, dtype=np.int64),
        symbol=np.array([numbers[name] for name in waiting["symbol"].to_pylist()], dtype=np.int32),
        event=np.array([event for _, event in sessions_of(waiting)], dtype=np.int64),
        split_ratio=np.where(ratio == 1, np.nan, ratio),
        **columns,
    )


def with_waiting(
    bars: Bars, names: Sequence[str], previous: NDArray[np.float64], waiting: pa.Table
) -> tuple[Bars, list[str], NDArray[np.float64]]:
    """Return bars and waiting ones together; a session's newer bar stands for the waiting one."""
    numbers = {name: number for number, name in enumerate(names)}
    fresh = {
        (names[number], int(event)) for number, event in zip(bars.symbol, bars.event, strict=True)
    }
    waiting = waiting.filter(
        pa.array([key not in fresh for key in sessions_of(waiting)], pa.bool_())
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
    columns = {name: getattr(bars, name) for name in ("timestamp", *_VALUES)} | {
        "symbol": symbols.take(pa.array(bars.symbol)),
        "split_ratio": np.where(np.isnan(bars.split_ratio), 1.0, bars.split_ratio),
        "event_timestamp": bars.event * 1_000_000,
        "created_timestamp": pa.repeat(pa.scalar(now), len(bars)),
        "source": sources,
        "previous_close": pa.array(previous, from_pandas=True),
    }
    rows = pa.table(
        [pa.array(columns[name]).cast(_SCHEMA.field(name).type) for name in _SCHEMA.names],
        schema=_SCHEMA,
    )
    number = pc.fill_null(pc.index_in(waiting["symbol"], value_set=symbols), -1).to_numpy()
    keys = keys_of(number, waiting["timestamp"].to_numpy())
    order = np.argsort(keys)
    at = places(keys[order], keys_of(bars.symbol, bars.timestamp))
    wait = np.flatnonzero(at >= 0)
    there = waiting.take(pa.array(order[at[wait]]))
    new = np.ones(len(bars), dtype=bool)
    new[wait] = _differ(rows.take(pa.array(wait)), there)
    if len(wait):
        newest = pc.max(there["created_timestamp"]).as_py()
        rows = created_at(rows, created_after(now, newest))
    chosen = np.flatnonzero(new)
    days = bars.event[chosen] // DAY
    order = np.argsort(days, kind="stable")
    rows = rows.take(pa.array(chosen[order]))
    return [rows.slice(start, end - start) for _, start, end in runs(days[order])]


def _differ(rows: pa.Table, others: pa.Table) -> NDArray[np.bool_]:
    """Tell which rows say something else than the others at their places."""
    differ = np.zeros(rows.num_rows, dtype=bool)
    for name in _COMPARED:
        one, other = rows[name], others[name]
        both_null = pc.and_(pc.is_null(one), pc.is_null(other))
        same = pc.or_(pc.fill_null(pc.equal(one, other), False), both_null)
        differ |= ~same.to_numpy()
    return differ


def hold(root: Path, tables: list[pa.Table], run_id: str) -> list[Path]:
    """Append rows of ``held_bars``; the caller holds the lakehouse's lock."""
    return append_parts(root, HELD_BARS, tables, run_id) if tables else []


def sessions_of(rows: pa.Table) -> list[tuple[str, int]]:
    """Return symbol and close, Unix seconds, of each row."""
    seconds = pc.divide(rows["event_timestamp"].cast(pa.int64()), 1_000_000)
    return list(zip(rows["symbol"].to_pylist(), seconds.to_pylist(), strict=True))
