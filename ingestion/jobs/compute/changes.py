"""What a recomputation has to write: rows that are new, that differ, or lack a later column.

A row may differ because a bar was restated, or because the formula of a column computes something
else now; the second restates nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.bars.arrays import close_seconds
from ingestion.base.arrow import from_numpy, latest, to_numpy
from ingestion.base.instants import DAY, date_of_day
from ingestion.base.ordered import runs
from ingestion.catalog import Dataset, FeatureGroup
from ingestion.lakehouse import read_current, read_current_of
from ingestion.lakehouse.history import lacking
from ingestion.lakehouse.origins import rows_lacking
from ingestion.lakehouse.parts import Part, read_metadata, read_schema

Key = tuple[str, int]
"""``symbol`` and ``timestamp``."""
_NOT_COMPARED = ("timestamp", "symbol", "event_timestamp", "created_timestamp")
_KEY = ("symbol", "timestamp")
_BYTES_A_VALUE = 9
"""Of a compressed double, until a part of the group says more."""
_MOST_MEASURED = 20
_LIKELY = 2
_FEW = 1_000
"""Symbols that are looked for in each part, before the parts are put together."""


@dataclass(frozen=True)
class Changes:
    """The rows that have to be written, of one date or of several."""

    rows: pa.Table
    defined: frozenset[Key]
    """Those that are stored, and differ only in columns that were declared later, or whose formula
    computes something else now."""
    newest: datetime | None
    """When the newest of the stored rows was created; None if there is none."""
    likely: tuple[str, ...] = ()
    """The columns that differ in most of the rows, where any does."""
    restated: int = 0
    """How many of the rows, of all dates together, are stored with other values."""

    def by_date(self) -> Iterator[tuple[date, Changes]]:
        """Yield what is of each date; the rows are in the order of their dates."""
        for day, start, end in runs(close_seconds(self.rows) // DAY):
            yield date_of_day(day), replace(self, rows=self.rows.slice(start, end - start))

    def by_reason(self, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Divide some of the rows: the new and restated ones, then those for a definition."""
        if not self.defined:
            return rows, rows.slice(0, 0)
        is_defined = np.array([key in self.defined for key in row_keys(rows)], dtype=bool)
        return rows.filter(from_numpy(~is_defined)), rows.filter(from_numpy(is_defined))


def changes_of(
    group: FeatureGroup,
    new: pa.Table,
    stored: list[Part],
    changed_formulas: AbstractSet[str] = frozenset(),
    likely: Sequence[str] = (),
) -> Changes:
    """Return the rows of some dates that are not stored yet, or differ in any bit that shows.

    Parameters
    ----------
    stored
        The parts of these dates.
    likely
        That of earlier dates: where one of these columns differs, for all rows of a date, the
        others are not read.
    """
    if not stored:
        return Changes(new, frozenset(), None)
    symbols, newest, is_likely = pc.unique(new["symbol"]), None, False
    if len(symbols) < _FEW:
        few = sorted(symbols.to_pylist())
        if likely and not any(column.retired for column in group.columns):
            parts, (stored, newest) = stored, _undecided(group, new, stored, few, likely)
            is_likely = len(stored) < len(parts)
        old = read_current_of(stored, group, few)
    else:
        old = read_current(stored, group)
    newest = max(filter(None, (newest, latest(old["created_timestamp"]))), default=None)
    if new.num_rows < old.num_rows:
        # To make keys takes longer than to look for symbols.
        old = old.filter(pc.is_in(old["symbol"], value_set=symbols))
    places = _places(new, old)
    is_new = places < 0
    changed, redefined = is_new.copy(), np.zeros(len(is_new), dtype=bool)
    old = _beside(places, old) if old.num_rows else new
    older, counts = _Older(group, stored, old), Counter[str]()
    for name in _compared(group):
        a, b = new[name].combine_chunks(), old[name].combine_chunks()
        same = pc.fill_null(pc.equal(a, b), False)
        same = pc.or_(same, pc.and_(pc.is_null(a), pc.is_null(b)))
        differs = ~to_numpy(same) & ~is_new
        if name in changed_formulas:
            defined = differs
        else:
            defined = older.than(name, differs & to_numpy(b.is_null()))
        redefined |= defined
        changed |= differs & ~defined
        counts[name] = int((differs & ~defined).sum())
    redefined &= ~changed
    new = _with_retired(group, new, old, is_new)
    keys = frozenset(row_keys(new.filter(from_numpy(redefined))))
    if not is_likely:
        likely = [name for name, count in counts.most_common(_LIKELY) if count]
    restated = int((changed & ~is_new).sum())
    rows = new.filter(from_numpy(changed | redefined))
    return Changes(rows, keys, newest, tuple(likely), restated)


def _places(new: pa.Table, old: pa.Table) -> NDArray[np.int64]:
    """Return where among the stored rows the one of each new row's key is; -1 if there is none."""
    if all(new[name].equals(old[name]) for name in _KEY):  # as of most dates
        return np.arange(new.num_rows)
    position = {key: i for i, key in enumerate(row_keys(old))}
    return np.array([position.get(key, -1) for key in row_keys(new)], dtype=np.int64)


def _beside(places: NDArray[np.int64], old: pa.Table) -> pa.Table:
    """Return the stored row of each new row; any row where there is none."""
    if len(places) == old.num_rows and (places == np.arange(len(places))).all():
        return old
    return old.take(from_numpy(np.maximum(places, 0)))


def _undecided(
    group: FeatureGroup,
    new: pa.Table,
    stored: list[Part],
    symbols: list[str],
    likely: Sequence[str],
) -> tuple[list[Part], datetime | None]:
    """Return the parts of dates with a row that may not differ, and what else is known of all."""
    old = read_current_of(stored, group, symbols, [*_KEY, "created_timestamp", *likely])
    places = _places(new, old)
    differs = np.zeros(len(places), dtype=bool)
    if old.num_rows:
        beside = _beside(places, old)
        for name in likely:
            other = pc.not_equal(new[name], beside[name])  # null where one of them is
            differs |= pc.fill_null(other, False).to_numpy()
    undecided = new.filter(pa.array(~(differs & (places >= 0))))["event_timestamp"]
    dates = {each.date() for each in undecided.to_pylist()}
    newest: datetime | None = latest(old["created_timestamp"])
    return [part for part in stored if part.date in dates], newest


def _with_retired(
    group: FeatureGroup, new: pa.Table, old: pa.Table, is_new: NDArray[np.bool_]
) -> pa.Table:
    """Return the rows with what is stored in retired columns: they are not computed any more."""
    for column in group.columns:
        if column.retired:
            place = new.schema.get_field_index(column.name)
            field = new.schema.field(place)
            stored = old[column.name].combine_chunks()
            kept = pc.if_else(pa.array(is_new), pa.scalar(None, field.type), stored)
            new = new.set_column(place, field, kept)
    return new


class _Older:
    """Which stored rows are older than a column; parts are only read if a row may be."""

    def __init__(self, group: FeatureGroup, parts: list[Part], rows: pa.Table) -> None:
        self._group, self._parts, self._rows = group, parts, rows
        self._lacks: list[frozenset[str]] | None = None

    def than(self, name: str, asked: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which of the asked rows are older than a column; False for all others."""
        found = np.zeros(len(asked), dtype=bool)
        if not asked.any():
            return found
        if self._lacks is None:
            known = lacking(self._group, self._parts)
            columns = [self._rows[each] for each in ("symbol", "timestamp", "created_timestamp")]
            keys = zip(*(column.to_pylist() for column in columns), strict=True)
            self._lacks = [known.get(key, frozenset()) for key in keys]
        for row in np.flatnonzero(asked):
            found[row] = name in self._lacks[row]
        return found


@dataclass(frozen=True)
class BackfillPlan:
    """About how much a backfill will write."""

    dates: int
    rows: dict[str, int]
    """By group."""
    bytes: int
    columns: tuple[str, ...]
    """Columns that stored rows are older than, as ``group:column``."""
    changed_rows: int = 0
    """Stored rows of groups with a column whose formula computes something else now: of ``rows``,
    at most so many are written for that."""
    changed_columns: tuple[str, ...] = ()
    """These columns, as ``group:column``."""


def planned_writing(
    bars: Mapping[date, int],
    groups: Mapping[FeatureGroup, Sequence[Part]],
    changed_formulas: AbstractSet[str] = frozenset(),
) -> BackfillPlan:
    """Return how much there is to write for some bars.

    Parameters
    ----------
    bars
        How many there are, by date of the span.
    groups
        The stored parts of the groups that are computed from them, of the span at least.
    changed_formulas
        Names of those that compute something else than the stored rows contain.
    """
    rows, size = dict[str, int](), 0.0
    dates, columns = set[date](), set[str]()
    changed_rows, changed_columns = 0, list[str]()
    for group, parts in groups.items():
        kept = {column.name for column in group.columns if not column.retired}
        whole = dict.fromkeys(bars, 0)
        bytes_a_row: list[float] = []
        later: dict[date, set[str]] = {}
        for part in parts:
            if part.date not in whole:
                continue
            metadata, schema = read_metadata(part), read_schema(part)
            lacks = kept - {*schema.names}
            lacked = {**dict.fromkeys(lacks, metadata.num_rows), **rows_lacking(schema.metadata)}
            most = max((lacked[name] for name in lacked if name in kept), default=0)
            whole[part.date] += metadata.num_rows - most
            later.setdefault(part.date, set()).update(kept & lacked.keys())
            if len(bytes_a_row) < _MOST_MEASURED and metadata.num_rows:
                a_row = part.size() / metadata.num_rows
                bytes_a_row.append(a_row * len(group.columns) / len(schema.names))
        if changed := sorted(kept & changed_formulas):
            changed_columns += [f"{group.name}:{name}" for name in changed]
            changed_rows += sum(min(whole[day], bars[day]) for day in whole)
            whole = dict.fromkeys(whole, 0)
        wanted = {day: max(0, bars[day] - whole[day]) for day in whole}
        for day in (day for day, count in wanted.items() if count):
            dates.add(day)
            columns |= {f"{group.name}:{name}" for name in later.get(day, ())}
        rows[group.name] = sum(wanted.values())
        default = [_BYTES_A_VALUE * len(group.columns)]
        size += rows[group.name] * float(np.median(bytes_a_row or default))
    return BackfillPlan(
        len(dates),
        rows,
        round(size),
        tuple(sorted(columns)),
        changed_rows,
        tuple(changed_columns),
    )


def row_keys(rows: pa.Table) -> Iterator[Key]:
    """Return each row's ``symbol`` and ``timestamp``."""
    return zip(rows["symbol"].to_pylist(), rows["timestamp"].to_pylist(), strict=True)


def _compared(dataset: Dataset) -> list[str]:
    return [
        column.name
        for column in dataset.columns
        if column.name not in _NOT_COMPARED and not column.retired
    ]
