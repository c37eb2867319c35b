"""From bars by date to computed features by date, through formulas that need them by symbol.

More rows than fit in memory are turned around twice, on disk:

1. read the bars, a month at a time, and spill the rows by symbol
2. compute a few hundred symbols at a time, and spill the wanted rows by month
3. read each month's rows, in the order of their dates

On the way a symbol is the place of its name among all names in order: moving and sorting numbers
costs a fraction of moving and sorting texts. And what is undefined is NaN until the rows are
written: columns without nulls are moved as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.bars.arrays import VALUES, SymbolTable, close_seconds
from ingestion.bars.attendance import Attendance
from ingestion.bars.holes import OpenHoles
from ingestion.bars.untraded import is_untraded
from ingestion.base.arrow import finite, from_numpy, strings, to_numpy
from ingestion.base.instants import DAY, MICROSECONDS, to_micros
from ingestion.base.ordered import runs
from ingestion.base.progress import watched
from ingestion.base.spill import Spill
from ingestion.catalog import FeatureGroup
from ingestion.formulas.panel import Block
from ingestion.jobs.compute.bars_by_symbol import BarsBySymbol
from ingestion.lakehouse import Part, arrow_schema, is_withdrawn, read_metadata

ROWS_AT_ONCE = 1_000_000
"""Bars whose features are computed together; about 150 bytes each in and out."""

_CELLS_A_ROW = 4
"""Of a table of all days and symbols, at most, where that is faster than to sort the rows."""
_FAR = np.iinfo(np.int64).max

_COUNTED = 100
"""Parts whose rows are counted, to know about how many there are in all."""

WITHDRAWN = "withdrawn"
NOT_COUNTED = "not_counted"
"""Whether formulas leave a bar out: it was withdrawn, or nothing was traded."""


def spill_by_symbol(
    parts: list[Part],
    by_symbol: BarsBySymbol,
    spill: Spill,
    attendance: Attendance,
    symbols: SymbolTable,
    only: NDArray[np.int64] | None = None,
) -> int:
    """Spill bars by symbol, note who was there when, and return how many bars there are.

    Parameters
    ----------
    symbols
        Gives the numbers that stand for the symbols in what is spilled, to new ones too.
    only
        The numbers of the symbols whose bars are wanted; all if not given.
    """
    if only is None:
        some = parts[:: -(-len(parts) // _COUNTED)]
        total = sum(read_metadata(part).num_rows for part in some) * len(parts) // len(some)
    else:
        total = len(only) * len(parts)
    files = math.ceil(total / ROWS_AT_ONCE) or 1
    names = None if only is None else sorted(symbols.names[number] for number in only)
    neighbours = 0

    def take(bars: pa.Table) -> None:
        # Neighbours by name stay together, so that they are copied together from here on.
        nonlocal neighbours
        neighbours = neighbours or math.ceil(len(names or symbols.names) / files)
        spill.scatter(_to_spill(bars), to_numpy(bars["number"]) // neighbours % files)

    return sum(read_bars(parts, by_symbol, attendance, symbols, names, take))


def read_bars(
    parts: list[Part],
    by_symbol: BarsBySymbol,
    attendance: Attendance,
    symbols: SymbolTable,
    names: Sequence[str] | None = None,
    take: Callable[[pa.Table], object] = lambda bars: None,
) -> Iterator[int]:
    """Read bars by month, note who was there when, and yield how many bars there are.

    Parameters
    ----------
    symbols
        As for :func:`spill_by_symbol`.
    names
        The symbols whose bars are wanted, in order; all if not given.
    take
        Is given the bars, numbered.
    """
    months = len({(part.date.year, part.date.month) for part in parts})
    for month in watched(by_symbol.months(parts, names), "months of bars read", months):
        bars = numbered(month.select(BAR_COLUMNS), symbols)
        take(bars)
        yield note_attendance(bars, attendance, symbols)


def _to_spill(bars: pa.Table) -> pa.Table:
    """Return what is computed from, without columns of bits: these cannot be spilled."""
    bars = bars.drop_columns([WITHDRAWN])
    at = bars.column_names.index(NOT_COUNTED)
    return bars.set_column(at, NOT_COUNTED, bars[NOT_COUNTED].cast(pa.uint8()))


BAR_COLUMNS = ["timestamp", "symbol", *VALUES, "event_timestamp", "source"]
"""What is read of bars for :func:`numbered`."""


def numbered(bars: pa.Table, symbols: SymbolTable) -> pa.Table:
    """Return bars with a number for the symbol, and in place of the source whether they count."""
    number, withdrawn = symbols.numbers(bars["symbol"]), is_withdrawn(bars)
    not_counted = pc.or_(withdrawn, from_numpy(is_untraded(bars)))
    bars = bars.drop_columns(["source", "symbol"]).append_column(WITHDRAWN, withdrawn)
    bars = bars.append_column(NOT_COUNTED, not_counted)
    return bars.append_column("number", from_numpy(number))


def note_attendance(bars: pa.Table, attendance: Attendance, symbols: SymbolTable) -> int:
    """Note which sessions symbols have bars of; returns how many bars are not withdrawn."""
    there = ~to_numpy(bars[WITHDRAWN])
    number, closes = to_numpy(bars["number"]), close_seconds(bars)
    attendance.note_closes(number, closes, symbols.names)
    attendance.add(number[there], closes[there], symbols.names)
    return int(there.sum())


class Names:
    """The symbols in order, and where in it the symbol of each number is."""

    def __init__(self, symbols: list[str]) -> None:
        by_name = sorted(range(len(symbols)), key=symbols.__getitem__)
        self.ordered = strings([symbols[number] for number in by_name])
        self.place_of = np.empty(len(symbols), dtype=np.int32)
        self.place_of[by_name] = np.arange(len(symbols), dtype=np.int32)

    def of(self, places: NDArray[np.int32]) -> pa.DictionaryArray:
        """Return the symbols at places, in a dictionary of these alone, in order."""
        is_there = np.zeros(len(self.ordered), dtype=bool)
        is_there[places] = True
        own = self.ordered.take(from_numpy(np.flatnonzero(is_there)))
        code = np.cumsum(is_there, dtype=np.int32) - np.int32(1)
        return pa.DictionaryArray.from_arrays(from_numpy(code.take(places)), own)


Compute = Callable[[pa.Table], Iterable[Block]]
"""As :func:`ingestion.formulas.incremental.begin_blocks`, of some formulas; or, of further bars,
one block."""


def features(
    rows: pa.Table, names: Names, holes: OpenHoles, compute: Compute
) -> Iterator[pa.Table]:
    """Compute formulas on some symbols' whole history, with the bars' closes.

    Where a bar does not count, its row gets the values of the bar before: those that are valid
    then, and that TradingView shows.

    Yields
    ------
    pyarrow.Table
        The rows of some of the symbols, by date; NaN or infinite where a value is undefined.
    """
    is_gone = rows[NOT_COUNTED].cast(pa.bool_())
    own = _computed_from(rows)
    if not pc.any(is_gone).as_py():
        yield from _computed(own, names, holes, compute, {})
        return
    computed = _computed(own.filter(pc.invert(is_gone)), names, holes, compute, {})
    yield _with_left_out(pa.concat_tables(computed), rows.filter(is_gone), names)


def _computed_from(rows: pa.Table) -> pa.Table:
    return rows.drop_columns(
        [name for name in (WITHDRAWN, NOT_COUNTED) if name in rows.schema.names]
    )


def further_features(
    rows: pa.Table,
    names: Names,
    holes: OpenHoles,
    compute: Compute,
    last_closes: NDArray[np.int64],
) -> Iterator[pa.Table]:
    """Compute formulas on some symbols' further bars, all of which count; yields as above.

    Parameters
    ----------
    last_closes
        By number, the close of the bar before these, Unix s.
    """
    rows = _computed_from(rows)
    numbers = np.unique(to_numpy(rows["number"]))
    before = dict(zip(names.place_of[numbers].tolist(), last_closes[numbers].tolist(), strict=True))
    return _computed(rows, names, holes, compute, before)


def left_out_rows(
    left_out: pa.Table,
    computed: Sequence[pa.Table],
    names: Names,
    last: NDArray[np.int64],
    last_values: pa.Table,
) -> pa.Table:
    """Return the rows of further bars that do not count, with the values of the bars before.

    Parameters
    ----------
    computed
        What :func:`further_features` has yielded of the same symbols.
    last
        By number, open and close of the last bar that counted before all of these, Unix s.
    last_values
        ``number`` and its values by formula.
    """
    number = to_numpy(last_values["number"])
    before = {
        **{name: last_values[name] for name in last_values.column_names if name != "number"},
        "place": from_numpy(names.place_of[number]),
        "bar_open": from_numpy(last[0, number]),
        "timestamp": from_numpy(last[1, number]),
    }
    there = pa.concat_tables([pa.table(before), *computed])
    return _with_left_out(there, left_out, names).slice(there.num_rows)


def _computed(
    rows: pa.Table, names: Names, holes: OpenHoles, compute: Compute, before: Mapping[int, int]
) -> Iterator[pa.Table]:
    rows = rows.combine_chunks()
    places, closes = names.place_of.take(to_numpy(rows["number"])), close_seconds(rows)
    bars = pa.table(
        {
            "symbol": names.of(places),
            "timestamp": rows["timestamp"],
            "close_timestamp": from_numpy(closes),
            **{name: from_numpy(_numbers(rows[name])) for name in VALUES},
        }
    )
    if holes:
        # A session may be missing between the bars before and these.
        at = np.concatenate([[*before], places]).astype(np.int64)
        instants = np.concatenate([[*before.values()], closes]).astype(np.int64)
        by_bar = np.lexsort((instants, at))
        missing = np.empty(len(at), dtype=np.int64)
        missing[by_bar] = holes.missing_from(
            names.ordered.to_pylist(), at[by_bar], instants[by_bar]
        )
        bars = bars.append_column("missing_from", from_numpy(missing[len(before) :]))
    opens, days = to_numpy(rows["timestamp"]), closes // DAY
    for block in compute(bars):
        own, values = block.by_date(days)
        columns = values | {
            "place": places.take(own),
            "bar_open": opens.take(own),
            "timestamp": closes.take(own),
        }
        yield pa.table({name: from_numpy(values) for name, values in columns.items()})


def _with_left_out(computed: pa.Table, left_out: pa.Table, names: Names) -> pa.Table:
    """Add the rows of bars that do not count, where no other bar of the symbol closes."""
    place, closes = names.place_of[left_out["number"].to_numpy()], close_seconds(left_out)
    opens = left_out["timestamp"].to_numpy()
    keys = np.unique(np.column_stack([place, closes, opens]), axis=0)
    keys = keys[np.append(True, (np.diff(keys[:, :2], axis=0) != 0).any(axis=1))]
    there = np.column_stack([computed[name].to_numpy() for name in ("place", "timestamp")])
    order = np.lexsort((there[:, 1], there[:, 0]))
    there, computed = there[order], computed.take(pa.array(order))
    span = int(max(there[:, 1].max(initial=0), keys[:, 1].max())) + 1
    known, wanted = (each[:, 0] * span + each[:, 1] for each in (there, keys))
    at = np.searchsorted(known, wanted)
    is_free = ~np.isin(wanted, known)
    keys, before = keys[is_free], at[is_free] - 1
    has_before = before >= 0
    has_before[has_before] = there[before[has_before], 0] == keys[has_before, 0]
    added = computed.take(pa.array(before, mask=~has_before))
    filled = {
        "place": keys[:, 0].astype(np.int32),
        "timestamp": keys[:, 1],
        "bar_open": np.where(has_before, added["bar_open"].fill_null(0).to_numpy(), keys[:, 2]),
    }
    for name, values in filled.items():
        at_column = added.column_names.index(name)
        field = computed.schema.field(name)
        added = added.set_column(at_column, field, pa.array(values, field.type))
    return pa.concat_tables([computed, added])


def spill_by_month(
    rows: pa.Table, first: date | NDArray[np.int64], last: date, spill: Spill
) -> None:
    """Spill the rows of bars that closed on some dates, 30 days a file.

    Parameters
    ----------
    first
        The first of these dates; or, by place of the symbol, days from 1970-01-01.
    """
    days = _days(rows)
    begins = first[to_numpy(rows["place"])] if isinstance(first, np.ndarray) else _day_number(first)
    wanted = (days >= begins) & (days <= _day_number(last))
    if not wanted.all():
        rows, days = rows.filter(from_numpy(wanted)), days[wanted]
    spill.scatter(rows, days // 30)


def stamped(
    group: FeatureGroup, rows: pa.Table, names: Names, created: datetime
) -> Iterator[tuple[date, pa.Table]]:
    """Yield the rows of each date, in the group's schema and in the order of symbols.

    A retired column, which is no longer computed, is null, and so is what is not finite.
    """
    schema = arrow_schema(group)
    place, days = to_numpy(rows["place"]), _days(rows)
    order = _by_date(days, place, len(names.ordered))
    place, days = place.take(order), days.take(order)

    def ordered(name: str) -> NDArray[Any]:
        return np.asarray(_numbers(rows[name]).take(order))

    closes = ordered("timestamp")
    columns = {
        "timestamp": from_numpy(closes),
        "event_timestamp": from_numpy(closes * MICROSECONDS),
        "created_timestamp": from_numpy(np.full(len(rows), to_micros(created))),
        "bar_timestamp": from_numpy(ordered("bar_open") * MICROSECONDS),
    }
    columns |= {c.name: pa.nulls(len(rows)) for c in group.columns if c.retired}
    fields = [field for field in schema if field.name != "symbol"]
    for field in fields:
        if field.name not in columns:
            columns[field.name] = finite(ordered(field.name))
    table = pa.table([columns[field.name].cast(field.type) for field in fields], pa.schema(fields))
    at, before, symbols = schema.get_field_index("symbol"), place[:0], strings([])
    for number, start, end in runs(days):
        own = place[start:end]
        # Most dates have the symbols of the date before.
        if not np.array_equal(own, before):
            before, symbols = own, names.ordered.take(from_numpy(own))
        of_day = table.slice(start, end - start).add_column(at, schema.field(at), symbols)
        yield datetime.fromtimestamp(number * DAY, UTC).date(), of_day


def _by_date(days: NDArray[np.int64], places: NDArray[np.int32], symbols: int) -> NDArray[np.intp]:
    """Return the order of rows by day, and of one day by place; equal ones stay as they are."""
    cells = (days - days.min(initial=_FAR)) * symbols + places
    size = int(cells.max(initial=-1)) + 1
    if size <= _CELLS_A_ROW * len(days):
        # Mostly a symbol has one row per day: each goes to its cell, and nothing is sorted.
        row = np.full(size, -1, dtype=np.intp)
        row[cells] = np.arange(len(cells))
        order = row[row >= 0]
        if len(order) == len(cells):
            return order
    return np.argsort(cells, kind="stable")


def _numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column's numbers; NaN for null."""
    values: NDArray[Any] = column.to_numpy() if column.null_count else to_numpy(column)
    return values


def _days(rows: pa.Table) -> NDArray[np.int64]:
    days: NDArray[np.int64] = to_numpy(rows["timestamp"]) // DAY
    return days


def _day_number(day: date) -> int:
    return day.toordinal() - date(1970, 1, 1).toordinal()
