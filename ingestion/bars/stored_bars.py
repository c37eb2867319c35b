"""What the lakehouse has: bars around others, bars that wait, and what an import would change.

:class:`StoredBars` reads the bars around those of an import once for all of its symbols;
:class:`NearbyBars` are those of the symbols that are judged together.

A closed bar waits in ``held_bars`` until a split is recorded or denied. It is stored there, because
the scanner shows each bar for a day only. ``data-ingest`` releases the bars of the scanner, which
have its previous close; the next import that has an answer releases those of an import. A bar waits
until a bar of its symbol and session is stored, or until it is found to be a bad one: then a later
version of its row says so.

:func:`restatements` compares incoming bars with the stored ones of their sessions: single bars may
differ, or the whole past by one factor.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.arrays import (
    NEVER,
    PRICES,
    VALUES,
    Bars,
    Extent,
    close_seconds,
    key_of,
    keys_of,
    places,
    price_unit,
    slices,
    table_of,
)
from ingestion.bars.source import Source, of_each_source
from ingestion.base import clock
from ingestion.base.arrow import empty_table, from_numpy
from ingestion.base.instants import DAY, MICROSECONDS, day_of_date, utc_date
from ingestion.base.spill import runs
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
    read_current,
    read_current_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


LOOKBACK = timedelta(days=12)
"""How far back the bar before is looked for: a large exchange pauses for at most 11 days."""
STORED, STORED_ADJUSTED, STORED_SCANNED = -1, -2, -3
"""The file numbers of stored bars: as traded, split-adjusted, and the scanner's."""

_COLUMNS = ["symbol", "timestamp", *VALUES, "event_timestamp", "source"]


class StoredBars:
    """Reads the stored bars around those of an extent.

    Of each symbol those from 12 days before its first bar to 12 days after its last, on the dates
    that are so near to a bar of any symbol.

    Parameters
    ----------
    names
        Symbols by number.
    until_end
        Read every later bar of each symbol too.
    """

    def __init__(
        self, lakehouse: Lakehouse, names: Sequence[str], extent: Extent, *, until_end: bool = False
    ) -> None:
        self.names = names
        self.numbers = {name: number for number, name in enumerate(names)}
        self._names = pa.array(names, pa.string())
        stored = by_date(list_parts(lakehouse, OHLCV_1D)).items()
        self._parts = {day_of_date(day): parts for day, parts in stored}
        reach, present = LOOKBACK.days, np.flatnonzero(extent.first <= extent.last)
        self._first, self._last = (np.full(len(names), each) for each in (NEVER, -NEVER))
        self._first[present] = extent.first[present] - reach
        self._last[present] = extent.last[present] + reach
        self._days = {day + n for day in extent.days for n in range(-reach, reach + 1)}
        if until_end and len(present):
            end = max(self._parts, default=0)
            self._days |= set(range(int(self._last[present].min()), end + 1))
            self._last[present] = np.maximum(self._last[present], end)
        self._symbols = sorted(names[number] for number in present.tolist())

    def read(self) -> Iterator[Bars]:
        """Yield these bars, date by date."""
        for day in self._parts:
            if day in self._days:
                bars = self._of_day(day, self._symbols)
                near = (self._first[bars.symbol] <= day) & (day <= self._last[bars.symbol])
                yield bars.take(near)

    def read_of(self, symbols_by_day: Mapping[int, Collection[int]]) -> Bars:
        """Return the bars of some dates, days from 1970-01-01, each of its own symbols."""
        several = [
            self._of_day(day, sorted(self.names[number] for number in symbols))
            for day, symbols in symbols_by_day.items()
            if day in self._parts
        ]
        return Bars.concatenate(several)

    def has_read(self, number: int, days: Iterable[int]) -> bool:
        """Return whether a symbol's bars of all of these dates were read."""
        stored = [day for day in days if day in self._parts]
        first, last = self._first[number], self._last[number]
        return all(day in self._days and first <= day <= last for day in stored)

    def _of_day(self, day: int, symbols: list[str]) -> Bars:
        rows = read_current_of(self._parts[day], OHLCV_1D, symbols, _COLUMNS)
        return Bars(
            file=of_each_source(rows["source"], _file_number).astype(np.int32),
            row=np.zeros(rows.num_rows, dtype=np.int64),
            symbol=pc.index_in(rows["symbol"], value_set=self._names).to_numpy(),
            timestamp=rows["timestamp"].to_numpy(),
            event=close_seconds(rows),
            **{name: rows[name].to_numpy() for name in VALUES},
        )


def _file_number(source: Source) -> int:
    if source.is_scanned:
        return STORED_SCANNED
    return STORED_ADJUSTED if source.adjusted else STORED


class Before(NamedTuple):
    """The bar before another one."""

    event: int
    """Its close, Unix seconds."""
    close: float
    is_scanned: bool


class NearbyBars:
    """The stored bars of some symbols around some bars.

    Parameters
    ----------
    reader
        Reads what else is needed.
    bars
        What it has read of these symbols, in any order.
    """

    def __init__(self, reader: StoredBars, bars: Bars) -> None:
        self._reader = reader
        self._take(bars)

    @classmethod
    def around(
        cls,
        lakehouse: Lakehouse,
        symbol: NDArray[np.int32],
        event: NDArray[np.int64],
        names: Sequence[str],
    ) -> NearbyBars:
        """Read the stored bars around bars of such symbols, by number, and closes, Unix s."""
        reader = StoredBars(lakehouse, names, Extent.of(symbol, event))
        return cls(reader, Bars.concatenate(list(reader.read())))

    @property
    def is_adjusted(self) -> NDArray[np.bool_]:
        """Shape ``(n,)``: bars whose prices are split-adjusted."""
        found: NDArray[np.bool_] = self.bars.file == STORED_ADJUSTED
        return found

    def extend(self, symbols_by_day: Mapping[int, Collection[int]]) -> None:
        """Read further dates, days from 1970-01-01, each of them for its own symbols."""
        self._take(Bars.concatenate([self.bars, self._reader.read_of(symbols_by_day)]))

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Forget the other bars; a later :meth:`extend` may bring them again."""
        self._take(self.bars.take(which))

    def has_read(self, number: int, days: Iterable[int]) -> bool:
        """Return whether a symbol's bars of all of these dates were read."""
        return self._reader.has_read(number, days)

    def find(self, bars: Bars) -> NDArray[np.intp]:
        """Return, for each bar, the position of the stored one of its session; −1 for none."""
        return places(self._keys, keys_of(bars.symbol, bars.event))

    def before(self, symbol: str, event: int) -> Before | None:
        """Return a symbol's newest bar of the twelve days before an instant."""
        at = self._position(symbol, event) - 1
        if at < 0 or self.bars.symbol[at] != self._reader.numbers[symbol]:
            return None
        closed = int(self.bars.event[at])
        if closed < event - LOOKBACK // timedelta(seconds=1):
            return None
        return Before(closed, float(self.bars.close[at]), self.bars.file[at] == STORED_SCANNED)

    def ratio(self, symbol: str, event: int) -> float | None:
        """Return the stored bar's split ratio; None if there is no such bar."""
        at = self._position(symbol, event)
        if at == len(self.bars) or self.bars.event[at] != event:
            return None
        if self.bars.symbol[at] != self._reader.numbers[symbol]:
            return None
        return float(self.bars.split_ratio[at])

    def _position(self, symbol: str, event: int) -> int:
        return int(np.searchsorted(self._keys, key_of(self._reader.numbers[symbol], event)))

    def _take(self, bars: Bars) -> None:
        self._keys, first = np.unique(keys_of(bars.symbol, bars.event), return_index=True)
        self.bars = bars.take(first)


_PRICES_AND_VOLUME = (*PRICES, "volume")
_COMPARED = (*_PRICES_AND_VOLUME, "split_ratio", "previous_close", "source")
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
    stored = by_date(list_parts(lakehouse, OHLCV_1D, first))
    for day, parts in by_date(list_parts(lakehouse, HELD_BARS, first)).items():
        if day > last:
            return
        rows = read_current(parts, HELD_BARS)
        rows = rows.filter(from_numpy(of_each_source(rows["source"], lambda it: not it.refused)))
        symbols = sorted(set(rows["symbol"].to_pylist()))
        # A bar that was stored, and withdrawn since, does not come back.
        there = read_current_of(
            stored.get(day, []),
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
        name: np.array(waiting[name].to_numpy()) for name in ("timestamp", *_PRICES_AND_VOLUME)
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
    columns = {name: getattr(bars, name) for name in ("timestamp", *_PRICES_AND_VOLUME)} | {
        "symbol": symbols.take(pa.array(bars.symbol)),
        "split_ratio": np.where(np.isnan(bars.split_ratio), 1.0, bars.split_ratio),
        "event_timestamp": bars.event * MICROSECONDS,
        "created_timestamp": pa.repeat(pa.scalar(now), len(bars)),
        "source": sources,
        "previous_close": pa.array(previous, from_pandas=True),
    }
    rows = table_of(columns, _HELD_SCHEMA)
    number = pc.fill_null(pc.index_in(waiting["symbol"], value_set=symbols), -1).to_numpy()
    keys = keys_of(number, waiting["timestamp"].to_numpy())
    order = np.argsort(keys)
    at = places(keys[order], keys_of(bars.symbol, bars.timestamp))
    wait = np.flatnonzero(at >= 0)
    there = waiting.take(pa.array(order[at[wait]]))
    new = np.ones(len(bars), dtype=bool)
    new[wait] = _rows_that_differ(rows.take(pa.array(wait)), there)
    if len(wait):
        newest = pc.max(there["created_timestamp"]).as_py()
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


FEW_BARS = 5
"""No pattern is reported for so few restated bars of a symbol."""
_LEAST = 1e-3
"""A scaling has a factor that differs from 1 by at least this."""
_ROUNDING = 2e-6
"""Relative difference that arithmetic with single precision leaves."""
_MOST = 0.8
"""Share of the restated bars that a pattern must cover."""


class Pattern(StrEnum):
    """How restated bars differ from the stored ones."""

    SCALED = "scaled"
    SINGLE = "single bars"
    EVERYTHING = "everything"
    OTHER = "many bars, by no common factor"
    NOT_CLOSES = "other values than closes"


@dataclass(frozen=True)
class Restatement:
    """What an import changes of one symbol's stored bars."""

    symbol: str
    pattern: Pattern
    bars: int
    """Stored bars that differ."""
    first: date
    last: date
    factors: tuple[float, ...]
    """Incoming close ÷ stored one of each scaled stretch, from the newest back."""
    explained: bool = False
    """Whether the stored ones were split-adjusted, and their splits are given now."""

    @property
    def text(self) -> str:
        """The restatement for people."""
        text = f"{self.symbol}: {self.bars:,} stored bars of {self.first} to {self.last}"
        if self.pattern is not Pattern.SCALED:
            return f"{text}: {self.pattern}"
        newest, *others = self.factors
        steps = f" in {len(self.factors)} steps, to {others[-1]:.6g}" if others else ""
        return f"{text}: all scaled, by {newest:.6g}{steps}"


def restatements(
    bars: Bars, stored: NearbyBars, names: Sequence[str], is_adjusted: NDArray[np.bool_]
) -> dict[int, Restatement]:
    """Compare incoming bars with the stored ones of the same sessions.

    Parameters
    ----------
    bars
        As :func:`ingestion.bars.arrays.in_order` leaves them, one per session.
    is_adjusted
        Shape ``(symbols,)``: whose incoming bars stay split-adjusted.

    Returns
    -------
    dict[int, Restatement]
        By symbol, of those with a bar that differs.
    """
    match = stored.find(bars)
    known = match >= 0
    if not known.any():
        return {}
    there = stored.bars.take(np.where(known, match, 0))
    differs = np.zeros(len(bars), dtype=bool)
    for name in _PRICES_AND_VOLUME:
        differs |= getattr(bars, name) != getattr(there, name)
    differs &= known
    found: dict[int, Restatement] = {}
    for number, place in slices(bars):
        at = np.arange(place.start, place.stop)[known[place]]
        changed = differs[at]
        if not changed.any():
            continue
        pattern, factors = _pattern(bars.close[at], there.close[at], changed)
        days = bars.timestamp[at][changed]
        was_adjusted = stored.is_adjusted[match[at][changed]]
        found[number] = Restatement(
            symbol=names[number],
            pattern=pattern,
            bars=int(changed.sum()),
            first=utc_date(int(days[0])),
            last=utc_date(int(days[-1])),
            factors=factors,
            explained=bool(was_adjusted.all()) and not is_adjusted[number],
        )
    return found


def _pattern(
    new: NDArray[np.float64], old: NDArray[np.float64], changed: NDArray[np.bool_]
) -> tuple[Pattern, tuple[float, ...]]:
    """Return how the closes of the sessions that both have differ, and by which factors."""
    factor = new / old
    slack = _ROUNDING + 0.5 * (price_unit(new) / new + price_unit(old) / old)
    moved = np.abs(factor - 1) > slack
    if not moved.any():
        return Pattern.NOT_CLOSES, ()
    # Neighbours whose factor is equal, but for rounding, are one stretch.
    joined = np.zeros(len(factor), dtype=bool)
    joined[1:] = np.abs(factor[1:] / factor[:-1] - 1) <= slack[1:] + slack[:-1]
    stretch = np.cumsum(~joined) - 1
    sizes = np.bincount(stretch)
    scaled = moved & (sizes[stretch] > 1)
    if scaled.sum() >= _MOST * moved.sum() and np.abs(factor[scaled] - 1).max() >= _LEAST:
        stretches = np.unique(stretch[scaled])[::-1]
        return Pattern.SCALED, tuple(float(np.median(factor[stretch == n])) for n in stretches)
    if changed.sum() >= _MOST * len(changed) and len(changed) > FEW_BARS:
        return Pattern.EVERYTHING, ()
    alone = np.diff(np.flatnonzero(changed), prepend=-2) > 1
    if changed.sum() <= FEW_BARS or alone.sum() >= _MOST * changed.sum():
        return Pattern.SINGLE, ()
    return Pattern.OTHER, ()
