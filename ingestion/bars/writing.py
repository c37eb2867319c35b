"""Bars into the lakehouse: only those that are new, or differ from the stored ones.

Of each partition date, one at a time, :func:`new_rows` compares what comes with what is stored. A
bar that comes restates the stored bar of its close, unless that is of a source that stands before
its own; the one that does not count is put into ``other_bars``
(:mod:`ingestion.bars.other_bars`). A stored bar of its session that closes elsewhere it cannot
restate: see :mod:`ingestion.bars.duplicates`.

A bar that somebody has taken back is a last version of its row whose ``source`` says so, and why
(:class:`~ingestion.bars.stored_bars.Withdrawn`). What was recorded before stays, as of then; a
later version with other values puts a bar there again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from ingestion.bars.arrays import PRICES, VALUES, Bars, Split, table_of
from ingestion.bars.changed_past import ChangedPast
from ingestion.bars.duplicates import Twin, Twins
from ingestion.bars.other_bars import append_others, not_there
from ingestion.bars.source import Source, of_each_source, with_assumed_hours
from ingestion.bars.splits import ratios_at, read_recorded
from ingestion.bars.stored_bars import StoredDay, Withdrawn
from ingestion.base import clock
from ingestion.base.instants import DAY, MICROSECONDS, date_of_day
from ingestion.base.ordered import runs
from ingestion.catalog import OHLCV_1D, OTHER_BARS, Dataset
from ingestion.lakehouse import (
    Lakehouse,
    Part,
    append_parts,
    arrow_schema,
    by_date,
    created_after,
    created_at,
    list_parts,
    read_current_of,
)
from ingestion.markets.sessions import (
    have_assumed_hours,
)
from ingestion.markets.symbols import exchange_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


_OHLCV_SCHEMA = arrow_schema(OHLCV_1D)
_NO_ROWS = pa.Table.from_batches([], _OHLCV_SCHEMA)  # `empty_table` would import pandas
_CREATED = "created_timestamp"
PARTS_AT_ONCE = 64
"""Parts that are written together, so that the disk is waited for once."""


@dataclass
class Written:
    """What became of the bars."""

    is_new: NDArray[np.bool_]
    """Shape ``(n,)``, in the order of the bars: written, not already there."""
    past: ChangedPast = field(default_factory=ChangedPast)
    """What a source changed of its own stored bars."""
    restated: int = 0
    """Rows among the written that replace an earlier version, recorded splits included."""
    split_rows: int = 0
    """How many rows were written only to record a split."""
    parts: list[Part] = field(default_factory=list)
    barless: list[Split] = field(default_factory=list)
    """Splits without a stored bar on their ex-date, and ratios of 1: no bar shows them."""
    adjusted: list[Split] = field(default_factory=list)
    """Splits of bars that are stored split-adjusted: such a split would count twice."""
    overruled: list[str] = field(default_factory=list)
    """Symbols whose bar disagrees with a stored one of another source, which stays."""
    assumed: Counter[str] = field(default_factory=Counter)
    """Bars among the written whose session's hours are assumed, by exchange."""
    not_taken: dict[int, Twin | Withdrawn] = field(default_factory=dict)
    """By position, bars against which something stored speaks: their session's bar with another
    close and other values, or that they were withdrawn."""


@dataclass(frozen=True)
class Incoming:
    """What an import brings to the lakehouse."""

    bars: Bars
    """One per symbol and close, as :func:`ingestion.bars.arrays.in_order` leaves them."""
    names: Sequence[str]
    """Symbols by number."""
    source: Callable[[NDArray[np.intp]], pa.Array]
    """The source of the bars at some positions, as strings."""
    splits: Sequence[Split] = ()
    """Splits for stored bars, none of them in ``bars``; and the ratios that stored bars get because
    a split without a bar takes effect at them."""
    splits_file: str = ""
    tolerance: float = 0.0
    """Relative difference up to which a value counts as the stored one."""
    stays: Callable[[Source], bool] = lambda _: False
    """Whether a stored bar of a source stays, whatever the new one says."""
    is_replaced: Callable[[Source], bool] = lambda _: False
    """Whether a stored bar of a source is replaced, also by an equal one."""


def write_bars(lakehouse: Lakehouse, incoming: Incoming, run_id: str) -> Written:
    """Append what the lakehouse does not have yet; the caller has its lock."""
    written = Written(np.zeros(len(incoming.bars), dtype=bool))
    news = new_rows(lakehouse, incoming, written)
    while batch := list(islice(news, PARTS_AT_ONCE)):
        written.parts += append_new(lakehouse, batch, run_id)
    return written


class NewRows(NamedTuple):
    """Rows of one partition date that are to be written."""

    rows: pa.Table
    """In the schema of ``ohlcv_1d``, not created yet."""
    newest: datetime | None
    """When the newest row that they may restate was created; None if there is none."""
    others: pa.Table
    """Rows of ``other_bars``, created."""


def append_new(lakehouse: Lakehouse, news: Sequence[NewRows], run_id: str) -> list[Part]:
    """Append rows, one table per date; they are created now, and after the rows that they restate.

    Returns
    -------
    list of Part
        Those of ``ohlcv_1d``.
    """
    # First: a bar must be here before ``ohlcv_1d`` loses it, whenever the run is killed.
    append_others(lakehouse, [new.others for new in news], run_id)
    tables = [_created_now(new) for new in news if new.rows.num_rows]
    return append_parts(lakehouse, OHLCV_1D, tables, run_id) if tables else []


def _created_now(new: NewRows) -> pa.Table:
    return created_at(new.rows, created_after(clock.now(), new.newest))


def new_rows(lakehouse: Lakehouse, incoming: Incoming, written: Written) -> Iterator[NewRows]:
    """Yield what the lakehouse does not have yet, one table per partition date.

    Of each date, one at a time:

    1. read the current rows of the symbols that come;
    2. find each bar's own by symbol and close; a stored open stays, so that vendors who stamp the
       opening bell differently restate one bar instead of making two; one of its session that
       closes elsewhere (:class:`Twin`) says the same, or stands against it;
    3. where nothing is said about splits, take the stored ratio, or that recorded ahead, else 1;
    4. refuse what is equal to a bar that was withdrawn;
    5. leave out what is equal in prices, volume and split ratio, and what a stored bar overrules;
       of two sources' bars, put the one that does not count apart.

    Parameters
    ----------
    written
        Takes what became of the bars, as far as it has come.
    """
    bars, names = incoming.bars, pa.array(incoming.names, pa.string())
    parts = _stored_parts(lakehouse, incoming, OHLCV_1D)
    parts_of_others = _stored_parts(lakehouse, incoming, OTHER_BARS)
    present = {incoming.names[number] for number in np.unique(bars.symbol)}
    symbols = sorted(present.union(split.symbol for split in incoming.splits))
    nothing = StoredDay(_NO_ROWS, names)

    @lru_cache(maxsize=4)
    def stored_on(day: date) -> StoredDay:
        if day not in parts:
            return nothing
        rows = read_current_of(parts[day], OHLCV_1D, symbols, withdrawn=True)
        return StoredDay(rows, names) if rows.num_rows else nothing

    compared = _DayComparison(lakehouse, incoming, names, written)
    twins = Twins(incoming.names, stored_on)
    for day, at, splits in _by_day(bars, incoming.splits):
        stored = stored_on(day)
        beside = twins.find(day, bars.symbol[at], bars.timestamp[at], bars.event[at])
        rows = pa.concat_tables(
            [compared.changed(at, stored, beside), compared.split(splits, stored)]
        )
        others = compared.others
        if others.num_rows:
            others = not_there(parts_of_others.get(day, ()), others)
        if rows.num_rows or others.num_rows:
            yield NewRows(rows, stored.newest, others)


def _stored_parts(
    lakehouse: Lakehouse, incoming: Incoming, dataset: Dataset
) -> dict[date, list[Part]]:
    """Return the parts of the dates of what comes, and of the dates beside: twins may be there."""
    days = {
        *(incoming.bars.event // DAY).tolist(),
        *(each.event // DAY for each in incoming.splits),
    }
    if not days:
        return {}
    first, last = date_of_day(min(days) - 1), date_of_day(max(days) + 1)
    return by_date(list_parts(lakehouse, dataset, first, last))


def _by_day(
    bars: Bars, splits: Sequence[Split]
) -> Iterator[tuple[date, NDArray[np.intp], list[Split]]]:
    """Yield partition dates in order, each with its bars' positions and its splits."""
    days = bars.event // DAY
    order = np.argsort(days, kind="stable")
    groups = {day: order[start:end] for day, start, end in runs(days[order])}
    of_day: dict[int, list[Split]] = {}
    for split in splits:
        of_day.setdefault(split.event // DAY, []).append(split)
    for day in sorted(groups.keys() | of_day.keys()):
        yield date_of_day(day), groups.get(day, order[:0]), of_day.get(day, [])


class _DayComparison:
    """Compares incoming bars with the stored ones, a date at a time."""

    def __init__(
        self, lakehouse: Lakehouse, incoming: Incoming, names: pa.Array, written: Written
    ) -> None:
        self._incoming, self._written = incoming, written
        self._names = names
        self._numbers = {name: number for number, name in enumerate(incoming.names)}
        bars = incoming.bars
        self._assumed = have_assumed_hours(incoming.names, bars.symbol, bars.event)
        ahead = ratios_at(bars, self._numbers, read_recorded(lakehouse))
        self._ahead = np.where(np.isnan(ahead), 1.0, ahead)
        """The ratio that waits for each bar."""
        self.others = _NO_ROWS
        """Bars of the last day that was compared which belong into ``other_bars``."""

    def changed(self, at: NDArray[np.intp], stored: StoredDay, beside: dict[int, Twin]) -> pa.Table:
        """Return the rows of a day's bars that differ from what is stored, not created yet."""
        incoming, written = self._incoming, self._written
        day = incoming.bars.take(at)
        match = stored.find(day.symbol, day.timestamp, day.event)
        known = match >= 0
        of_known = match[known]
        unsaid = np.isnan(day.split_ratio)
        day.split_ratio[unsaid] = self._ahead[at][unsaid]
        ratios = stored.rows["split_ratio"].to_numpy()
        day.split_ratio[unsaid & known] = ratios[match[unsaid & known]]
        day.timestamp[known] = stored.opens[of_known]
        same = known.copy()
        for name in VALUES if len(of_known) else ():
            new, old = getattr(day, name)[known], stored.rows[name].to_numpy()[of_known]
            same[known] &= np.abs(new - old) <= incoming.tolerance * np.maximum(
                np.abs(new), np.abs(old)
            )
        stays, is_replaced = np.zeros_like(known), np.zeros_like(known)
        if len(of_known):
            sources = stored.rows["source"]
            stays[known] = of_each_source(sources, incoming.stays)[of_known]
            is_replaced[known] = of_each_source(sources, incoming.is_replaced)[of_known]
        written.overruled += [
            incoming.names[number] for number in day.symbol[known & ~same & stays].tolist()
        ]
        self.others = _NO_ROWS
        if stays.any() or is_replaced.any():
            theirs = stored.rows.take(pa.array(match[is_replaced]))
            self.others = pa.concat_tables([self._rows(at[stays], day.take(stays)), theirs])
        same = (same | stays) & ~is_replaced
        for n, withdrawn in stored.find_withdrawn(day, incoming.names):
            if known[n]:
                continue
            day.timestamp[n] = withdrawn.opens  # with other values it is a new version of that row
            if _has_same_prices(day, n, withdrawn.prices, incoming.tolerance):
                same[n] = True
                written.not_taken[int(at[n])] = withdrawn
        for n, twin in beside.items():
            if known[n] or int(at[n]) in written.not_taken:
                continue
            same[n] = True
            equal = _has_same_prices(day, n, twin.prices, incoming.tolerance)
            if twin.is_misplaced or not (equal or incoming.stays(Source.parse(twin.source))):
                written.not_taken[int(at[n])] = twin
            elif not equal:
                written.overruled.append(incoming.names[day.symbol[n]])
        written.is_new[at] = ~same
        written.restated += int((known & ~same).sum())
        if (known & ~same).any():
            self._note_changes(at, day, stored, known & ~same, match)
        symbols = day.symbol[~same & self._assumed[at]].tolist()
        written.assumed.update(exchange_of(incoming.names[number]) for number in symbols)
        return self._rows(at[~same], day.take(~same))

    def _note_changes(
        self,
        at: NDArray[np.intp],
        day: Bars,
        stored: StoredDay,
        restated: NDArray[np.bool_],
        match: NDArray[np.intp],
    ) -> None:
        """Note the bars that the source itself gave other values before."""
        rows = stored.rows.take(pa.array(match[restated]))
        before = [Source.parse(each).kind for each in rows["source"].to_pylist()]
        now = [Source.parse(each).kind for each in self._incoming.source(at[restated]).to_pylist()]
        own = np.array([old == new for old, new in zip(before, now, strict=True)])
        values = {name: rows[name].to_numpy()[own] for name in PRICES}
        kinds = [kind for kind, is_own in zip(before, own, strict=True) if is_own]
        bars = day.take(np.flatnonzero(restated)[own])
        self._written.past.add(kinds, self._incoming.names, bars, values)

    def _rows(self, at: NDArray[np.intp], bars: Bars) -> pa.Table:
        """Return the rows of some bars; ``at`` has their positions among all."""
        columns: dict[str, Any] = {name: getattr(bars, name) for name in ("timestamp", *VALUES)}
        columns["symbol"] = self._names.take(pa.array(bars.symbol))
        columns["event_timestamp"] = bars.event * MICROSECONDS
        columns[_CREATED] = pa.nulls(len(at))
        columns["source"] = self._incoming.source(at)
        is_assumed = self._assumed[at]
        if is_assumed.any():
            columns["source"] = with_assumed_hours(columns["source"], is_assumed)
        return table_of(columns, _OHLCV_SCHEMA)

    def split(self, splits: Sequence[Split], stored: StoredDay) -> pa.Table:
        """Return the stored rows of a day with the split ratios that they lack."""
        written = self._written
        rows: dict[tuple[str, int], dict[str, Any]] = {}
        recorded = {(split.symbol, split.event) for split in splits if not split.is_moved}
        for split in splits:
            key = split.symbol, split.event
            at = stored.find_close(self._numbers[split.symbol], split.event)
            row = None if at is None else stored.row(at)
            if split.is_moved:
                if row is not None and key not in recorded:
                    rows[key] = row | {"split_ratio": split.ratio}
                continue
            if row is None or split.ratio == 1:
                written.barless.append(split)
            if row is None:
                continue
            source = Source.parse(row["source"])
            if source.adjusted:
                written.adjusted.append(split)
            elif row["split_ratio"] != split.ratio:
                source = replace(source, splits_file=self._incoming.splits_file)
                rows[key] = row | {"split_ratio": split.ratio, "source": str(source)}
        written.split_rows += len(rows)
        written.restated += len(rows)
        restated = list(rows.values())
        return pa.Table.from_pylist(restated, schema=_OHLCV_SCHEMA) if rows else _NO_ROWS


def _has_same_prices(bars: Bars, at: int, prices: Mapping[str, float], tolerance: float) -> bool:
    """Return whether a bar has such prices, but for a relative tolerance."""
    pairs = [(float(getattr(bars, name)[at]), old) for name, old in prices.items()]
    return all(abs(new - old) <= tolerance * max(abs(new), abs(old)) for new, old in pairs)
