"""What the lakehouse has of bars: those around others, those of one date.

:class:`StoredBars` reads the bars around those of an import once for all of its symbols;
:class:`NearbyBars` are those of the symbols that are judged together. :class:`StoredDay` is a date
that is about to be written to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.arrays import (
    NEVER,
    PRICES,
    VALUES,
    Bars,
    Extent,
    Index,
    close_seconds,
    key_of,
    keys_of,
    places,
)
from ingestion.bars.refusals import Reason
from ingestion.bars.source import Source, of_each_source
from ingestion.base.arrow import latest
from ingestion.base.instants import date_of_day, day_of_date
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import (
    Lakehouse,
    is_withdrawn,
    list_dates,
    parts_of,
    read_current_of,
    standing,
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
        self._lakehouse = lakehouse
        self._dates = {day_of_date(day) for day in list_dates(lakehouse, OHLCV_1D)}
        reach, present = LOOKBACK.days, np.flatnonzero(extent.first <= extent.last)
        self._first, self._last = (np.full(len(names), each) for each in (NEVER, -NEVER))
        self._first[present] = extent.first[present] - reach
        self._last[present] = extent.last[present] + reach
        self._days = {day + n for day in extent.days for n in range(-reach, reach + 1)}
        if until_end and len(present):
            end = max(self._dates, default=0)
            self._days |= set(range(int(self._last[present].min()), end + 1))
            self._last[present] = np.maximum(self._last[present], end)
        self._symbols = sorted(names[number] for number in present.tolist())

    def read(self) -> Iterator[Bars]:
        """Yield these bars, date by date."""
        for day in sorted(self._dates & self._days):
            bars = self._of_day(day, self._symbols)
            near = (self._first[bars.symbol] <= day) & (day <= self._last[bars.symbol])
            yield bars.take(near)

    def read_of(self, symbols_by_day: Mapping[int, Collection[int]]) -> Bars:
        """Return the bars of some dates, days from 1970-01-01, each of its own symbols."""
        several = [
            self._of_day(day, sorted(self.names[number] for number in symbols))
            for day, symbols in symbols_by_day.items()
            if day in self._dates
        ]
        return Bars.concatenate(several)

    def has_read(self, number: int, days: Iterable[int]) -> bool:
        """Return whether a symbol's bars of all of these dates were read."""
        stored = [day for day in days if day in self._dates]
        first, last = self._first[number], self._last[number]
        return all(day in self._days and first <= day <= last for day in stored)

    def _of_day(self, day: int, symbols: list[str]) -> Bars:
        parts = parts_of(self._lakehouse, OHLCV_1D, date_of_day(day))
        rows = read_current_of(parts, OHLCV_1D, symbols, _COLUMNS)
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


@dataclass(frozen=True)
class Withdrawn:
    """A stored bar that was taken back."""

    symbol: str
    opens: int
    """Unix s, like ``event``."""
    event: int
    prices: Mapping[str, float]
    """Open, high, low and close, as they were."""
    why: str
    created: datetime
    """When it was taken back."""
    reason: ClassVar = Reason.WITHDRAWN
    """Why the same bar is refused when it comes again."""

    def __str__(self) -> str:
        return f"it was withdrawn on {self.created:%Y-%m-%d}: {self.why}"


def as_withdrawn(row: Mapping[str, Any]) -> Withdrawn:
    """Read a row of ``ohlcv_1d`` whose source says that it is withdrawn."""
    return Withdrawn(
        symbol=row["symbol"],
        opens=row["timestamp"],
        event=int(row["event_timestamp"].timestamp()),
        prices={name: row[name] for name in PRICES},
        why=Source.parse(row["source"]).withdrawn or "",
        created=row["created_timestamp"],
    )


class StoredDay:
    """Rows of one partition date, in the schema of ``ohlcv_1d``.

    Parameters
    ----------
    rows
        Unique on (``symbol``, ``timestamp``), with those that are withdrawn.
    names
        Symbols by number, those of all rows among them; an Arrow array.
    """

    def __init__(self, rows: pa.Table, names: pa.Array) -> None:
        self.newest: datetime | None = latest(rows["created_timestamp"])
        """When the newest row was created; None if there are no rows."""
        self._withdrawn = [as_withdrawn(row) for row in rows.filter(is_withdrawn(rows)).to_pylist()]
        self.rows = rows = standing(rows)
        self.symbol: NDArray[np.int32] = pc.index_in(rows["symbol"], value_set=names).to_numpy()
        self.opens: NDArray[np.int64] = rows["timestamp"].to_numpy()
        """Unix seconds, as are the closes."""
        self.closes = close_seconds(rows)
        self._by_open = Index(self.symbol, self.opens)
        self._by_close = Index(self.symbol, self.closes)

    def __len__(self) -> int:
        return len(self.symbol)

    def find(
        self, symbol: NDArray[np.int32], opens: NDArray[np.int64], closes: NDArray[np.int64]
    ) -> NDArray[np.intp]:
        """Return the position of each bar's row, by its open or else its close; −1 for none."""
        at_open = self._by_open.find(symbol, opens)
        return np.where(at_open >= 0, at_open, self._by_close.find(symbol, closes))

    def find_close(self, symbol: int, close: int) -> int | None:
        """Return the position of the row with a close."""
        (at,) = self._by_close.find(np.array([symbol]), np.array([close]))
        return int(at) if at >= 0 else None

    def find_withdrawn(self, bars: Bars, names: Sequence[str]) -> Iterator[tuple[int, Withdrawn]]:
        """Yield the positions of bars that somebody withdrew; ``names`` are symbols by number."""
        if not self._withdrawn:
            return
        of_open = {(each.symbol, each.opens): each for each in self._withdrawn}
        of_close = {(each.symbol, each.event): each for each in self._withdrawn}
        for n, number in enumerate(bars.symbol.tolist()):
            found = of_open.get((names[number], int(bars.timestamp[n])))
            found = found or of_close.get((names[number], int(bars.event[n])))
            if found is not None:
                yield n, found

    def row(self, at: int) -> dict[str, Any]:
        """Return a whole row."""
        row: dict[str, Any] = self.rows.slice(at, 1).to_pylist()[0]
        return row
