"""From bars by date to computed features by date, through formulas that need them by symbol.

More rows than fit in memory are turned around twice, on disk:

1. read the bars, a month at a time, and spill the rows by symbol
2. compute a few hundred symbols at a time, and spill the wanted rows by month
3. read each month's rows, in the order of their dates

On the way a symbol is the place of its name among all names in order: moving and sorting numbers
costs a fraction of moving and sorting texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.bars.arrays import VALUES, SymbolTable, close_seconds
from ingestion.bars.attendance import Attendance
from ingestion.bars.holes import OpenHoles
from ingestion.base.spill import Spill, runs
from ingestion.catalog import FeatureGroup
from ingestion.jobs.compute.bars_by_symbol import BarsBySymbol
from ingestion.lakehouse import Part, arrow_schema, is_withdrawn, read_metadata

ROWS_AT_ONCE = 750_000
"""Bars whose features are computed together; about 150 bytes each in and out."""

WITHDRAWN = "withdrawn"
_DAY = 86_400


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
        total = sum(read_metadata(part).num_rows for part in parts)
    else:
        total = len(only) * len(parts)
    files = math.ceil(total / ROWS_AT_ONCE)
    names = None if only is None else sorted(symbols.names[number] for number in only)
    count = 0
    for month in by_symbol.months(parts, names):
        bars = numbered(month.select(BAR_COLUMNS), symbols)
        count += note_attendance(bars, attendance, symbols)
        spill.scatter(bars, bars["number"].to_numpy() % files)
    return count


BAR_COLUMNS = ["timestamp", "symbol", *VALUES, "event_timestamp", "source"]
"""What is read of bars for :func:`numbered`."""


def numbered(bars: pa.Table, symbols: SymbolTable) -> pa.Table:
    """Return bars with a number for the symbol, and whether they are withdrawn for the source."""
    number, withdrawn = symbols.numbers(bars["symbol"]), is_withdrawn(bars)
    bars = bars.drop_columns(["source", "symbol"]).append_column(WITHDRAWN, withdrawn)
    return bars.append_column("number", pa.array(number))


def note_attendance(bars: pa.Table, attendance: Attendance, symbols: SymbolTable) -> int:
    """Note which sessions symbols have bars of; returns how many bars are not withdrawn."""
    there = ~bars[WITHDRAWN].to_numpy()
    number = bars["number"].to_numpy()
    attendance.add(number[there], close_seconds(bars)[there], symbols.names)
    return int(there.sum())


class Names:
    """The symbols in order, and where in it the symbol of each number is."""

    def __init__(self, symbols: list[str]) -> None:
        by_name = sorted(range(len(symbols)), key=symbols.__getitem__)
        self.ordered = pa.array([symbols[number] for number in by_name], pa.string())
        self.place_of = np.empty(len(symbols), dtype=np.int32)
        self.place_of[by_name] = np.arange(len(symbols), dtype=np.int32)

    def at(self, places: pa.Array) -> pa.DictionaryArray:
        """Return the symbols at places of the order."""
        return pa.DictionaryArray.from_arrays(places, self.ordered)


Compute = Callable[[pa.Table], pa.Table]
"""As :func:`ingestion.formulas.compute`, of some formulas."""


def features(rows: pa.Table, names: Names, holes: OpenHoles, compute: Compute) -> pa.Table:
    """Compute formulas on some symbols' whole history, with the bars' closes.

    Where a bar was withdrawn, its row gets the values of the bar before: those that are valid then.
    """
    if not pc.any(rows[WITHDRAWN]).as_py():
        return _computed(rows.drop_columns([WITHDRAWN]), names, holes, compute, {})
    withdrawn = rows.filter(rows[WITHDRAWN])
    rows = rows.filter(pc.invert(rows[WITHDRAWN])).drop_columns([WITHDRAWN])
    return _with_withdrawn(_computed(rows, names, holes, compute, {}), withdrawn, names)


def further_features(
    rows: pa.Table,
    names: Names,
    holes: OpenHoles,
    compute: Compute,
    last_closes: NDArray[np.int64],
) -> pa.Table:
    """Compute formulas on some symbols' further bars, none of them withdrawn.

    Parameters
    ----------
    last_closes
        By number, the close of the bar before these, Unix s.
    """
    rows = rows.drop_columns([WITHDRAWN])
    numbers = np.unique(rows["number"].to_numpy())
    before = dict(zip(names.place_of[numbers].tolist(), last_closes[numbers].tolist(), strict=True))
    return _computed(rows, names, holes, compute, before)


def _computed(
    rows: pa.Table, names: Names, holes: OpenHoles, compute: Compute, before: Mapping[int, int]
) -> pa.Table:
    places = names.place_of[rows["number"].to_numpy()]
    order = np.lexsort((rows["timestamp"].to_numpy(), places))
    rows, place = rows.take(pa.array(order)), pa.array(places[order])
    closes = pa.array(close_seconds(rows))
    bars = (
        rows.drop_columns(["number", "event_timestamp"])
        .append_column("symbol", names.at(place))
        .append_column("close_timestamp", closes)
    )
    if holes:
        # A session may be missing between the bars before and these.
        at = np.concatenate([[*before], places[order]]).astype(np.int64)
        instants = np.concatenate([[*before.values()], closes.to_numpy()]).astype(np.int64)
        by_bar = np.lexsort((instants, at))
        missing = np.empty(len(at), dtype=np.int64)
        missing[by_bar] = holes.missing_from(
            names.ordered.to_pylist(), at[by_bar], instants[by_bar]
        )
        bars = bars.append_column("missing_from", pa.array(missing[len(before) :]))
    computed = compute(bars)  # in the order of the bars, which is its own
    return (
        computed.drop_columns(["symbol", "timestamp"])
        .append_column("place", place)
        .append_column("bar_open", bars["timestamp"])
        .append_column("timestamp", closes)
    )


def _with_withdrawn(computed: pa.Table, withdrawn: pa.Table, names: Names) -> pa.Table:
    """Add the rows of withdrawn bars, where no other bar of the symbol closes."""
    place, closes = names.place_of[withdrawn["number"].to_numpy()], close_seconds(withdrawn)
    opens = withdrawn["timestamp"].to_numpy()
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
    begins = (
        first[rows["place"].to_numpy()] if isinstance(first, np.ndarray) else _day_number(first)
    )
    wanted = (days >= begins) & (days <= _day_number(last))
    if not wanted.all():
        rows, days = rows.filter(pa.array(wanted)), days[wanted]
    spill.scatter(rows, days // 30)


def stamped(
    group: FeatureGroup, rows: pa.Table, names: Names, created: datetime
) -> Iterator[tuple[date, pa.Table]]:
    """Yield the rows of each date, in the group's schema and in the order of symbols.

    A retired column, which is no longer computed, is null.
    """
    schema = arrow_schema(group)
    rows = rows.take(pa.array(np.lexsort((rows["place"].to_numpy(), _days(rows)))))
    columns = {name: rows[name] for name in rows.column_names} | {
        "symbol": names.at(rows["place"].combine_chunks()),
        "event_timestamp": pc.multiply(rows["timestamp"], 1_000_000),
        "created_timestamp": pa.repeat(pa.scalar(created, pa.timestamp("us", "UTC")), len(rows)),
        "bar_timestamp": pc.multiply(rows["bar_open"], 1_000_000),
    }
    columns |= {c.name: pa.nulls(len(rows)) for c in group.columns if c.retired}
    table = pa.table([columns[name].cast(schema.field(name).type) for name in schema.names], schema)
    for number, start, end in runs(_days(table)):
        yield datetime.fromtimestamp(number * _DAY, UTC).date(), table.slice(start, end - start)


def _days(rows: pa.Table) -> NDArray[np.int64]:
    days: NDArray[np.int64] = rows["timestamp"].to_numpy() // _DAY
    return days


def _day_number(day: date) -> int:
    return day.toordinal() - date(1970, 1, 1).toordinal()
