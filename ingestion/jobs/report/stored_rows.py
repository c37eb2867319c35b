"""The newest year of a dataset, read once: who had a row when, what was written again, and lag.

Rows are read date by date and let go; what stays is counts, the values of the newest dates, and
the few rows that were written more than once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.base.arrow import from_numpy, to_numpy
from ingestion.base.errors import CorruptPart
from ingestion.base.instants import to_micros
from ingestion.base.reading import reading_again
from ingestion.catalog import OHLCV_1D, Column, Dataset, Dtype, FeatureGroup, Scanner
from ingestion.catalog.sources import DAILY
from ingestion.lakehouse import (
    Lakehouse,
    current,
    is_withdrawn,
    list_dates,
    parts_of,
    read_current,
    read_part,
)
from ingestion.markets.symbols import exchange_of

DAYS = 366
"""How far back rows are looked at."""
VALUE_DATES = 63
"""Of how many newest dates the values are looked at: a quarter's sessions."""
_CREATED = "created_timestamp"
_KEYS = ("symbol", "timestamp")
_NAN = from_numpy(np.array([np.nan]))[0]
_SPLIT = "split_ratio"
_PRICES = ("open", "high", "low", "close", "volume")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass
class Names:
    """Numbers for symbols: the same number for the same symbol."""

    numbers: dict[str, int] = field(default_factory=dict)
    exchanges: list[str] = field(default_factory=list)

    def of(self, symbols: pa.ChunkedArray) -> Ints:
        """Return the numbers of the different symbols of a column."""
        found = pc.unique(symbols).to_pylist()
        for name in found:
            if name not in self.numbers:
                self.numbers[name] = len(self.numbers)
                self.exchanges.append(exchange_of(name))
        return np.array([self.numbers[name] for name in found], dtype=np.int64)


@dataclass(frozen=True)
class Day:
    """What one date of a dataset has."""

    day: date
    symbols: Ints
    """Numbers of the symbols with a row."""
    rows: int
    """Current rows."""
    late: int
    """Those among them whose first version was written more than a day after their event."""
    values: Floats | None
    """Shape ``(rows, columns)`` of the newest dates; NaN where a value is null."""


@dataclass(frozen=True)
class Revised:
    """Rows of one date of which there is more than one version."""

    day: date
    rows: int
    hours: Floats
    """Per new version, hours since the version before it."""
    symbols: tuple[str, ...]
    change: Floats
    """Shape ``(versions, columns)``: the new value less the one before; NaN where one is null."""
    before: Floats


@dataclass(frozen=True)
class Values:
    """What a column of texts, truth values or instants has."""

    nulls: float
    """Share of the rows without a value."""
    counts: Mapping[str, int]
    """How often each value is there, the most frequent first; empty of instants."""


@dataclass(frozen=True)
class StoredRows:
    """What the parts of a dataset have shown."""

    dataset: Dataset
    columns: tuple[Column, ...]
    """The numbers among its features, whose values are looked at."""
    names: Names
    days: tuple[Day, ...]
    revised: tuple[Revised, ...]
    updates: Mapping[str, tuple[Ints, Ints, Ints]]
    """By exchange, of snapshots: its event, its bar's open and last update, Unix s."""
    others: Mapping[str, Values]
    """By name, the features that are no numbers: their values of the newest date."""
    unread: tuple[str, ...] = ()
    """What is said of the files that cannot be read; their dates are left out."""

    @property
    def values(self) -> list[Day]:
        """The dates whose values were looked at, if at least half of the symbols have a row."""
        with_values = [each for each in self.days if each.values is not None]
        most = max((len(each.symbols) for each in with_values), default=0)
        return [each for each in with_values if 2 * len(each.symbols) >= most]


def read_stored_rows(lakehouse: Lakehouse, dataset: Dataset, at: datetime) -> StoredRows:
    """Look at a dataset's rows of the year before an instant."""
    columns = _numbers(dataset)
    since = at.date() - timedelta(days=DAYS)
    dates = [day for day in list_dates(lakehouse, dataset) if since <= day <= at.date()]
    names, days, revised, unread = Names(), [], [], []
    updates: dict[str, list[pa.Table]] = {}
    first_with_values = dates[-VALUE_DATES] if len(dates) >= VALUE_DATES else date.min
    for day in dates:
        has_values = day >= first_with_values
        try:
            rows = _rows(lakehouse, dataset, day, columns if has_values else (), at)
        except CorruptPart as error:
            unread.append(str(error))
            continue
        if not rows.num_rows:
            continue
        latest = current(rows)
        if latest.num_rows < rows.num_rows:
            if not has_values:
                rows = _rows(lakehouse, dataset, day, columns, at)
            revised.append(_revised(day, rows, columns))
        values = matrix(latest, columns) if has_values else None
        first = _first(rows) if latest.num_rows < rows.num_rows else latest
        lag = to_numpy(first[_CREATED]) - to_numpy(first[dataset.event])
        late = int((lag > to_micros(timedelta(days=1))).sum())
        days.append(Day(day, names.of(latest["symbol"]), latest.num_rows, late, values))
        if _UPDATE in latest.column_names:
            updates.setdefault("", []).append(latest.select(["symbol", *_SEEN]))
    return StoredRows(
        dataset,
        columns,
        names,
        tuple(days),
        tuple(revised),
        _by_exchange(updates.get("", [])),
        _others(lakehouse, dataset, days[-1].day) if days else {},
        tuple(unread),
    )


def _others(lakehouse: Lakehouse, dataset: Dataset, day: date) -> dict[str, Values]:
    numbers = {column.name for column in _numbers(dataset)}
    features = dataset.features if isinstance(dataset, FeatureGroup) else ()
    names = [each.name for each in features if each.name not in numbers and not each.retired]
    if not names:
        return {}
    rows = reading_again(
        lambda: read_current(parts_of(lakehouse, dataset, day), dataset, [*_KEYS, *names])
    )
    found = {}
    for name in names:
        is_instant = pa.types.is_timestamp(rows.schema.field(name).type)
        there = Counter() if is_instant else Counter(map(str, rows[name].drop_null().to_pylist()))
        nulls = rows[name].null_count / rows.num_rows if rows.num_rows else 0.0
        found[name] = Values(nulls, dict(there.most_common()))
    return found


_BAR, _UPDATE = "bar_timestamp", "bar_update_timestamp"
_SEEN = ("event_timestamp", _BAR, _UPDATE)


def _numbers(dataset: Dataset) -> tuple[Column, ...]:
    if isinstance(dataset, FeatureGroup):
        numbers = (Dtype.DOUBLE, Dtype.INT64)
        return tuple(c for c in dataset.features if c.dtype in numbers and not c.retired)
    return tuple(column for column in dataset.columns if column.name in _PRICES)


def _rows(
    lakehouse: Lakehouse, dataset: Dataset, day: date, columns: tuple[Column, ...], at: datetime
) -> pa.Table:
    wanted = [*_KEYS, dataset.event, _CREATED, *(column.name for column in columns)]
    if dataset == OHLCV_1D:
        wanted += [_SPLIT, "source"]
    if _shows_updates(dataset):
        wanted += [_BAR, _UPDATE]

    def read() -> list[pa.Table]:
        return [read_part(part, dataset, wanted) for part in parts_of(lakehouse, dataset, day)]

    tables = reading_again(read)
    if not tables:
        return pa.table({})
    rows = pa.concat_tables(tables)
    inside = to_numpy(rows[dataset.event]) <= to_micros(at)
    return rows if inside.all() else rows.filter(from_numpy(inside))


def _shows_updates(dataset: Dataset) -> bool:
    return (
        isinstance(dataset, FeatureGroup)
        and isinstance(dataset.source, Scanner)
        and dataset.source.frame == DAILY
        and dataset.source.joined_by is None
    )


def matrix(rows: pa.Table, columns: tuple[Column, ...]) -> Floats:
    """Return the values of some columns, shape ``(rows, columns)``; NaN where one is null."""
    if not columns:
        return np.empty((rows.num_rows, 0))
    found = (pc.cast(rows[column.name], pa.float64()) for column in columns)
    return np.column_stack([to_numpy(pc.fill_null(each, _NAN)) for each in found])


def _first(rows: pa.Table) -> pa.Table:
    """Return the first version of each row."""
    order = [(name, "ascending") for name in (*_KEYS, _CREATED)]
    rows = rows.take(pc.sort_indices(rows, order))
    same = np.zeros(rows.num_rows, dtype=bool)
    for_all = [rows[name].combine_chunks() for name in _KEYS]
    same[1:] = np.logical_and.reduce([to_numpy(pc.equal(c[1:], c[:-1])) for c in for_all])
    return rows.filter(from_numpy(~same))


def _revised(day: date, rows: pa.Table, columns: tuple[Column, ...]) -> Revised:
    order = [(name, "ascending") for name in (*_KEYS, _CREATED)]
    rows = rows.take(pc.sort_indices(rows, order))
    symbols, stamps = rows["symbol"].to_pylist(), to_numpy(rows["timestamp"])
    created = to_numpy(rows[_CREATED])
    again = [
        place
        for place in range(1, len(symbols))
        if symbols[place] == symbols[place - 1] and stamps[place] == stamps[place - 1]
    ]
    values, later = matrix(rows, columns), np.array(again, dtype=np.int64)
    if _SPLIT in rows.column_names:
        later = later[~_is_taken_over(rows, values)[later]]
    again = later.tolist()
    return Revised(
        day=day,
        rows=len({(symbols[place], int(stamps[place])) for place in again}),
        hours=(created[later] - created[later - 1]) / 3.6e9,
        symbols=tuple(symbols[place] for place in again),
        change=values[later] - values[later - 1],
        before=values[later - 1],
    )


def _is_taken_over(rows: pa.Table, values: Floats) -> NDArray[np.bool_]:
    """Return which versions of bars say what the version before says, for another source."""
    said = np.column_stack([values, to_numpy(rows[_SPLIT]), to_numpy(is_withdrawn(rows))])
    same = np.zeros(len(said), dtype=bool)
    same[1:] = (said[1:] == said[:-1]).all(axis=1)
    return same


def _by_exchange(tables: list[pa.Table]) -> dict[str, tuple[Ints, Ints, Ints]]:
    if not tables:
        return {}
    rows = pa.concat_tables(tables)
    known = pc.and_(pc.is_valid(rows[_BAR]), pc.is_valid(rows[_UPDATE]))
    rows = rows.filter(known)
    encoded = rows["symbol"].combine_chunks().dictionary_encode()
    exchanges = np.array([exchange_of(name) for name in encoded.dictionary.to_pylist()], dtype=str)
    of_row = exchanges[to_numpy(encoded.indices)] if rows.num_rows else exchanges[:0]
    seconds = [to_numpy(rows[name]) // 1_000_000 for name in _SEEN]
    return {
        exchange: tuple(each[of_row == exchange] for each in seconds)
        for exchange in sorted(set(of_row.tolist()))
    }
