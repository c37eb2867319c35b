"""What partitions say now: of restated rows, the last version; of a symbol, its newest row.

A bar whose last version says that it is withdrawn is there no more.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingestion.base.arrow import (
    codes_in,
    empty_table,
    from_numpy,
    strings,
    to_numpy,
    to_objects,
)
from ingestion.base.instants import from_micros, to_micros
from ingestion.base.reading import reading_again
from ingestion.catalog import OHLCV_1D, WITHDRAWN, Dataset, FeatureGroup
from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.parts import Part, days_back, list_parts, read_part, utc_date
from ingestion.lakehouse.schema import arrow_schema, ascends

KEYS = ("symbol", "timestamp")


def read_current(
    parts: list[Part],
    dataset: Dataset,
    columns: list[str] | None = None,
    *,
    withdrawn: bool = False,
    known_at: datetime | None = None,
) -> pa.Table:
    """Read the current version of every row of some parts.

    Parameters
    ----------
    parts
        Parts of one partition date or of several; a row is restated within its own date.
    columns
        Names to read, in that order; all if none are given. The keys must be among them.
    withdrawn
        Whether to return withdrawn bars too, as their last version has them.
    known_at
        Versions that were created later are not there; None for all.

    Returns
    -------
    pa.Table
        Unique on and sorted by (``symbol``, ``timestamp``).
    """
    return _current_of(parts, dataset, columns, withdrawn, known_at, read_part)


def _current_of(
    parts: list[Part],
    dataset: Dataset,
    columns: list[str] | None,
    withdrawn: bool,
    known_at: datetime | None,
    read: Callable[[Part, Dataset, list[str]], pa.Table],
) -> pa.Table:
    names = columns or arrow_schema(dataset).names
    also = ["created_timestamp", *(["source"] if dataset == OHLCV_1D else [])]
    wanted = list(dict.fromkeys([*names, *also]))
    if not parts:
        return empty_table(arrow_schema(dataset)).select(names)
    versions = pa.concat_tables([read(part, dataset, wanted) for part in parts])
    if known_at is not None:
        versions = versions.filter(pc.less_equal(versions["created_timestamp"], known_at))
    rows = current(versions)
    if dataset == OHLCV_1D and not withdrawn:
        rows = standing(rows)
    return rows.select(names)


def is_withdrawn(rows: pa.Table) -> pa.ChunkedArray:
    """Return which versions of bars take them back."""
    return pc.starts_with(rows["source"], WITHDRAWN)


def without_withdrawn(rows: pa.Table) -> pa.Table:
    """Leave out the bars, with all of their versions, whose last version takes them back.

    Parameters
    ----------
    rows
        Versions of bars, whole dates of them: keys, ``created_timestamp`` and ``source`` at least.
    """
    if not pc.any(is_withdrawn(rows)).as_py():
        return rows
    last = current(rows)
    gone = set(_keys(last.filter(is_withdrawn(last))))
    return rows.filter(from_numpy(np.array([key not in gone for key in _keys(rows)], dtype=bool)))


def standing(rows: pa.Table) -> pa.Table:
    """Leave out the withdrawn ones of some bars' last versions."""
    gone = is_withdrawn(rows)
    return rows.filter(pc.invert(gone)) if pc.any(gone).as_py() else rows


def _keys(rows: pa.Table) -> Iterator[tuple[str, int]]:
    return zip(*(rows[name].to_pylist() for name in KEYS), strict=True)


def read_current_of(
    parts: list[Part],
    dataset: Dataset,
    symbols: Sequence[str],
    columns: list[str] | None = None,
    *,
    withdrawn: bool = False,
    known_at: datetime | None = None,
) -> pa.Table:
    """Read the current version of some symbols' rows.

    A part that can have none of them, by the statistics in its footer, is not read: parts of many
    small imports have few symbols each.

    Parameters
    ----------
    symbols
        In order.
    columns, withdrawn, known_at
        As of :func:`read_current`.
    """
    wanted = strings(symbols)

    def read(part: Part, dataset: Dataset, names: list[str]) -> pa.Table:
        rows = read_part(part, dataset, names, unless=lambda file: not _may_have(file, symbols))
        return rows.filter(pc.is_in(rows["symbol"], value_set=wanted)) if rows.num_rows else rows

    return _current_of(parts, dataset, columns, withdrawn, known_at, read)


def _may_have(metadata: pq.FileMetaData, symbols: Sequence[str]) -> bool:
    """Return whether one of the symbols lies between the first and the last of a part."""
    column = metadata.schema.names.index("symbol") if "symbol" in metadata.schema.names else None
    for group in range(metadata.num_row_groups):
        known = None if column is None else metadata.row_group(group).column(column).statistics
        if known is None or not known.has_min_max:
            return True
        at = bisect_left(symbols, known.min)
        if at < len(symbols) and symbols[at] <= known.max:
            return True
    return False


def current(rows: pa.Table) -> pa.Table:
    """Keep, of rows with equal (``symbol``, ``timestamp``), the one created last.

    Returns
    -------
    pa.Table
        Sorted by (``symbol``, ``timestamp``).
    """
    if ascends(rows, KEYS):  # as every part does, so one alone needs no sorting
        return rows
    order = pc.sort_indices(rows, [(name, "ascending") for name in (*KEYS, "created_timestamp")])
    rows = rows.take(order)
    same = np.ones(rows.num_rows - 1, dtype=bool)
    for name in KEYS:
        column = rows[name].combine_chunks()
        same &= to_numpy(pc.equal(column[1:], column[:-1]))
    return rows.filter(from_numpy(np.append(~same, True)))


def by_date(parts: list[Part]) -> dict[date, list[Part]]:
    """Group parts by their partition date, in order."""
    dates: dict[date, list[Part]] = {}
    for part in parts:
        dates.setdefault(part.date, []).append(part)
    return dates


def newest_between(
    lakehouse: Lakehouse,
    dataset: Dataset,
    first: int,
    last: int,
    known_at: datetime | None = None,
) -> dict[str, int]:
    """Return each symbol's newest ``timestamp`` from ``first`` to ``last``, inclusive, Unix s.

    Parameters
    ----------
    known_at
        Rows that were created later are not there; None for all.
    """
    columns = ["symbol", "timestamp", *(["created_timestamp"] if known_at else [])]

    def look() -> dict[str, int]:
        newest: dict[str, int] = {}
        later: tuple[date, pa.ChunkedArray] | None = None
        for part in reversed(list_parts(lakehouse, dataset, utc_date(first), utc_date(last))):
            rows = read_part(part, dataset, columns)
            if known_at is not None:
                by_then = pc.less_equal(rows["created_timestamp"], pa.scalar(known_at))
                rows = rows.filter(by_then).drop_columns("created_timestamp")
            if later and part.date < later[0] and rows["symbol"].equals(later[1]):
                continue  # as most dates have: each symbol has a later row
            times = to_numpy(rows["timestamp"])
            inside = (times >= first) & (times <= last)
            if inside.all():
                later = part.date, rows["symbol"]
            else:
                rows = rows.filter(from_numpy(inside))
            for symbol, timestamp in zip(*rows.to_pydict().values(), strict=True):
                if newest.get(symbol, timestamp) <= timestamp:
                    newest[symbol] = timestamp
        return newest

    return reading_again(look)


def newest_events(
    lakehouse: Lakehouse,
    dataset: Dataset,
    since: datetime,
    until: datetime,
    latest: Mapping[str, datetime] | None = None,
) -> dict[str, datetime]:
    """Return the newest event of each symbol with a row in a span of time, both ends included.

    Parameters
    ----------
    latest
        If given, only these symbols are looked for, each from the date of its instant on backwards;
        dates on which none is looked for are not read.

    Raises
    ------
    CorruptPart
        If a part that is read cannot be.
    """
    first, last = to_micros(since), to_micros(until)

    def read() -> dict[str, datetime]:
        newest: dict[str, int] = {}
        unseen = {symbol: event.date() for symbol, event in (latest or {}).items()}
        latest_unseen = max(unseen.values(), default=date.min)
        # Those of later dates, and the names of a part of which all are among them.
        found, all_found = strings([]), None
        parts = list_parts(lakehouse, dataset, since.date(), until.date())
        for day, of_day in groupby(reversed(parts), key=lambda part: part.date):
            if latest is not None and latest_unseen < day:
                continue
            more, whole = dict[str, int](), None
            for part in of_day:
                names = read_part(part, dataset, ["symbol"])["symbol"]
                if all_found is not None and names.equals(all_found):
                    continue  # as in most parts: each symbol has a row of a later date
                if len(found) < len(newest):
                    found = strings(newest)
                new = codes_in(found, names) < 0 if newest else np.ones(len(names), bool)
                if not new.any():
                    all_found = names
                    continue
                event = to_numpy(read_part(part, dataset, [dataset.event])[dataset.event])
                counts = new & (event >= first) & (event <= last)
                whole = names if counts.all() else whole
                which = np.flatnonzero(counts)
                _put_later(more, names.take(from_numpy(which)).to_pylist(), event[which].tolist())
            if more:
                newest |= more
                unseen = {symbol: last for symbol, last in unseen.items() if symbol not in more}
                latest_unseen = max(unseen.values(), default=date.min)
                all_found = all_found if whole is None else whole
        instant = cache(from_micros)  # most symbols have the same
        return {
            symbol: instant(event)
            for symbol, event in newest.items()
            if latest is None or symbol in latest
        }

    return reading_again(read)


def _put_later(newest: dict[str, int], symbols: list[str], events: list[int]) -> None:
    """Put events where there is none yet, or an earlier one."""
    of_each = dict(zip(symbols, events, strict=True))
    if not newest and len(of_each) == len(events):  # as in most parts: no symbol has two rows
        newest.update(of_each)
        return
    for symbol, event in zip(symbols, events, strict=True):
        newest[symbol] = max(event, newest.get(symbol, event))


class Known(NamedTuple):
    """The times of a row: when it became knowable, when it was written, and its bar's open."""

    event: datetime
    created: datetime
    bar: datetime | None


def newest_known(
    lakehouse: Lakehouse,
    group: FeatureGroup,
    at: datetime,
    symbols: set[str],
    as_recorded: bool = True,
    since: date = date.min,
    known_at: datetime | None = None,
) -> dict[str, Known]:
    """Return the times of each symbol's newest row at an instant.

    The newest event that is not after ``at`` decides, then the newest created. Walks the partitions
    backwards and stops when every symbol is found, so a symbol that is nowhere costs the whole way.

    Parameters
    ----------
    as_recorded
        Count only rows that had been written by then, as this installation knew it; else also what
        was written later of an event that was knowable, as imported history is.
    since
        The first date of events to look at.
    known_at
        Rows that were created later are not there; None for all.
    """
    columns = ["symbol", group.event, "created_timestamp", "bar_timestamp"]

    def look() -> dict[str, Known]:
        newest: dict[str, Known] = {}
        for day, parts in days_back(lakehouse, group, at.date()):
            if day < since or len(newest) == len(symbols):
                break
            rows = pa.concat_tables([read_part(part, group, columns) for part in parts])
            for symbol, *times in zip(*map(to_objects, rows.columns), strict=True):
                known = Known(*times)
                was_written = known.created <= at or not as_recorded
                if known_at is not None and known.created > known_at:
                    continue
                if symbol in symbols and known.event <= at and was_written:
                    before = newest.get(symbol, known)
                    newest[symbol] = max(before, known, key=lambda each: each[:2])
        return newest

    return reading_again(look)
