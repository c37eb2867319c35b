"""Bars as arrays: how they are ordered and found, and regrouped by symbol and by date, on disk.

An import may have more bars than fit in memory. It regroups them twice:

1. its files are read in batches, and the good bars are stored by symbol (:class:`BySymbol`); then
   the stored bars of the lakehouse around them are read, once, and put beside them
2. all bars of a few symbols are judged together, and what is left is stored by date
   (:class:`ByDate`)
3. the bars of a few dates are compared with the lakehouse and written, in the order of the dates

Nothing is written before every symbol is judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from ingestion.base.arrow import to_numpy
from ingestion.base.instants import DAY, MICROSECONDS
from ingestion.base.ordered import runs
from ingestion.base.spill import Spill

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRICES = ("open", "high", "low", "close")
PRICES_AND_VOLUME = (*PRICES, "volume")
VALUES = (*PRICES_AND_VOLUME, "split_ratio")
"""The numbers of a bar, as its dataset and :class:`Bars` name them."""


@dataclass
class Bars:
    """Bars of an import: arrays of shape ``(n,)``."""

    file: NDArray[np.int32]
    """Position of the file among those of the request."""
    row: NDArray[np.int64]
    """Row of the file, from 1."""
    symbol: NDArray[np.int32]
    """Index into the import's symbols."""
    timestamp: NDArray[np.int64]
    """Open, Unix seconds."""
    event: NDArray[np.int64]
    """Close, Unix seconds."""
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    split_ratio: NDArray[np.float64]
    """NaN where the file says nothing about splits."""

    def __len__(self) -> int:
        return len(self.row)

    @property
    def prices(self) -> tuple[NDArray[np.float64], ...]:
        """Open, high, low and close, as :data:`PRICES` names them."""
        return self.open, self.high, self.low, self.close

    def take(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> Bars:
        """Return some bars, by position or by mask; a mask that drops none returns ``self``."""
        if which.dtype == np.bool_ and which.all():
            return self
        return Bars(*(getattr(self, field.name)[which] for field in fields(self)))

    def table(self) -> pa.Table:
        """Return the bars as a table, one column per array, without a copy."""
        return pa.table({each.name: getattr(self, each.name) for each in fields(self)})

    @classmethod
    def of(cls, table: pa.Table) -> Bars:
        """Return the bars of a table that :meth:`table` has made; its columns are copied."""
        # Arrow gives read-only arrays, and bars are changed in place.
        return cls(*(np.array(table[each.name].to_numpy()) for each in fields(cls)))

    @classmethod
    def concatenate(cls, several: Sequence[Bars]) -> Bars:
        """Return the bars of several, one after the other; a single one is returned itself."""
        if len(several) == 1:
            return several[0]
        if not several:
            none = np.array([], dtype=np.int64)
            return cls(*(none.astype(_DTYPES.get(each.name, np.float64)) for each in fields(cls)))
        return cls(
            *(
                np.concatenate([getattr(bars, each.name) for bars in several])
                for each in fields(cls)
            )
        )


_DTYPES: dict[str, type[np.integer[Any]]] = {
    "file": np.int32,
    "row": np.int64,
    "symbol": np.int32,
    "timestamp": np.int64,
    "event": np.int64,
}
"""The types of the arrays that are not of doubles."""


class SymbolTable:
    """Symbols, numbered in the order in which they came.

    Parameters
    ----------
    names
        The first symbols, all different.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = list(names)
        """Each symbol stands at its number."""
        self._numbers = {name: number for number, name in enumerate(self.names)}
        self._last: tuple[pa.StringArray, NDArray[np.int32]] | None = None

    def number(self, symbol: str) -> int:
        """Return a symbol's number; a new symbol gets the next one."""
        number = self._numbers.setdefault(symbol, len(self.names))
        if number == len(self.names):
            self.names.append(symbol)
        return number

    def numbers(self, symbols: pa.ChunkedArray) -> NDArray[np.int32]:
        """Return the number of each row of a column of symbols; the array is not to be changed."""
        found = [self._numbers_of(chunk) for chunk in symbols.iterchunks() if len(chunk)]
        return found[0] if len(found) == 1 else np.concatenate([np.empty(0, np.int32), *found])

    def _numbers_of(self, symbols: pa.StringArray) -> NDArray[np.int32]:
        # Most dates have the symbols of the date before.
        if self._last is None or not symbols.equals(self._last[0]):
            encoded = symbols.dictionary_encode()
            known, names = self._numbers, encoded.dictionary.to_pylist()
            found = [known[name] if name in known else self.number(name) for name in names]
            met = np.array(found, np.int32)
            self._last = symbols, met[to_numpy(encoded.indices)]
        return self._last[1]


@dataclass(frozen=True)
class Split:
    """A split: from an ex-date on, there are ``ratio`` new shares for an old one."""

    symbol: str
    event: int
    """Close of the session of the ex-date, Unix seconds."""
    ratio: float
    row: int = 0
    """Row of the splits file, from 1; 0 where a file of bars gives it."""
    is_moved: bool = False
    """Whether this is the ratio that takes effect on that day, and the split is of another day."""


_LONGEST = 1 << 36
"""More seconds than lie between any two bars."""


def keys_of(symbol: NDArray[np.integer], event: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one number for each symbol and close, in the order of symbols and then closes."""
    keys: NDArray[np.int64] = symbol.astype(np.int64) * _LONGEST + (event + _LONGEST // 2)
    return keys


def key_of(symbol: int, event: int) -> int:
    """Return the one that :func:`keys_of` gives for a symbol and a close."""
    return symbol * _LONGEST + event + _LONGEST // 2


def places(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the position of each wanted key among sorted keys; −1 for none, the last of equals."""
    if not len(keys):
        return np.full(len(wanted), -1, dtype=np.intp)
    at = np.searchsorted(keys, wanted, side="right") - 1
    return np.where(keys[at] == wanted, at, -1)


def among(wanted: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which wanted keys are among sorted keys.

    ``np.isin`` does the same, and takes a hundred times longer: it hashes, and such keys collide.
    """
    return places(keys, wanted) >= 0


class Index:
    """Finds bars by their symbols, as numbers, and an instant, such as their closes.

    Parameters
    ----------
    symbol, instant
        Shape ``(n,)``, in any order; of equal ones the last is found.

    Examples
    --------
    >>> index = Index(np.array([1, 0]), np.array([60, 60]))
    >>> index.find(np.array([0, 1, 1]), np.array([60, 60, 120])).tolist()
    [1, 0, -1]
    """

    def __init__(self, symbol: NDArray[np.integer], instant: NDArray[np.int64]) -> None:
        keys = keys_of(symbol, instant)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def find(self, symbol: NDArray[np.integer], instant: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the position of each; −1 for none."""
        at = places(self._keys, keys_of(symbol, instant))
        return np.where(at >= 0, self._order[at], -1) if len(self._order) else at


def close_seconds(rows: pa.Table) -> NDArray[np.int64]:
    """Return when stored bars closed, Unix seconds, from their ``event_timestamp``."""
    closes: NDArray[np.int64] = to_numpy(rows["event_timestamp"])
    return closes // MICROSECONDS


def table_of(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """Return columns as a table, in the order of a schema and cast to its types."""
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in schema]
    return pa.table(arrays, schema=schema)


def price_unit(prices: NDArray[np.float64]) -> float:
    """Return the unit in which all prices are written: 0.01 to 1e-8, or 0 if there is none."""
    for decimals in range(2, 9):
        scaled = prices * 10.0**decimals
        if (np.abs(scaled - np.round(scaled)) <= 1e-6 * np.maximum(scaled, 1)).all():
            return 10.0**-decimals
    return 0.0


def slices(bars: Bars) -> Iterator[tuple[int, slice]]:
    """Yield each symbol's number and place among bars that :func:`in_order` has sorted."""
    for number, start, end in runs(bars.symbol):
        yield number, slice(start, end)


def in_order(bars: Bars) -> Bars:
    """Sort by symbol and close; equal ones by file and row."""
    order = np.lexsort((bars.row, bars.file, bars.event, bars.symbol))
    # Most files are in this order already, and a copy of millions of bars is not small.
    return bars.take(order) if (np.diff(order) != 1).any() else bars


NEVER = np.iinfo(np.int64).max


class Extent:
    """The dates of some bars, as days from 1970-01-01."""

    def __init__(self) -> None:
        self.days: Counter[int] = Counter()
        """How many bars close on each."""
        self.first = np.zeros(0, dtype=np.int64)
        self.last = np.zeros(0, dtype=np.int64)
        """First and last day by symbol; without bars the first is after the last."""

    @classmethod
    def of(cls, symbol: NDArray[np.int32], event: NDArray[np.int64]) -> Extent:
        """Return the extent of bars, from their symbols by number and closes, Unix seconds."""
        extent = cls()
        extent.add(symbol, event)
        return extent

    def add(self, symbol: NDArray[np.int32], event: NDArray[np.int64]) -> None:
        """Take further bars."""
        if not len(symbol):
            return
        more = int(symbol.max()) + 1 - len(self.first)
        if more > 0:
            self.first = np.append(self.first, np.full(more, NEVER))
            self.last = np.append(self.last, np.full(more, -NEVER))
        days = event // DAY
        np.minimum.at(self.first, symbol, days)
        np.maximum.at(self.last, symbol, days)
        for day, count in zip(*np.unique(days, return_counts=True), strict=True):
            self.days[int(day)] += int(count)


ROWS_AT_ONCE = 500_000
"""Bars that are judged, or written, together; about 80 bytes each, several times."""

PILES = 512
"""How many piles the symbols are divided into; so many that no pile is ever large."""


class SymbolsBars(NamedTuple):
    """Some symbols of an import, with everything that there is of each."""

    numbers: NDArray[np.int32]
    bars: Bars
    """The bars of the files, in the order in which they came."""
    splits: list[Split]
    """The splits that the files of bars give."""
    waiting: Bars
    """Bars that earlier imports held back; their file number is behind the last file's."""
    stored: Bars
    """The stored bars around all of these."""


class BySymbol:
    """The bars of all files, and what those say about splits, regrouped by symbol.

    Parameters
    ----------
    folder
        For what does not fit in memory; the caller removes it.
    symbols
        The import's symbols by number.
    files
        How many files there are.
    """

    def __init__(self, folder: Path, symbols: SymbolTable, files: int) -> None:
        self._symbols, self._files = symbols, files
        self._bars = Spill(folder / "bars")
        self._splits = Spill(folder / "splits")
        self._sizes = np.zeros(PILES, dtype=np.int64)
        self.extent = Extent()
        """The dates of all bars."""

    def add(self, bars: Bars, splits: Sequence[Split]) -> None:
        """Take the bars and the splits of some rows of a file."""
        self._add(bars)
        self.extent.add(bars.symbol, bars.event)
        if splits:
            numbers = np.array([self._symbols.number(split.symbol) for split in splits])
            rows = pa.table(
                {
                    "symbol": numbers,
                    "event": [split.event for split in splits],
                    "ratio": [split.ratio for split in splits],
                }
            )
            self._splits.scatter(rows, numbers % PILES)

    def add_waiting(self, several: Iterable[Bars]) -> None:
        """Take the bars of these symbols that earlier imports held back."""
        for bars in _joined(several):
            self._add(bars)
            self.extent.add(bars.symbol, bars.event)

    def add_stored(self, several: Iterable[Bars]) -> None:
        """Take the bars of these symbols that the lakehouse has around all others."""
        for bars in _joined(several):
            self._add(bars)

    def drain(self) -> Iterator[SymbolsBars]:
        """Yield all symbols with everything that there is of them, some at a time."""
        names = self._symbols.names
        numbers = np.arange(len(names), dtype=np.int32)
        for piles in together(self._sizes):
            tables = [table for pile in piles for table in self._bars.take(pile)]
            bars = Bars.of(pa.concat_tables(tables)) if tables else Bars.concatenate([])
            splits = [
                Split(names[row["symbol"]], row["event"], row["ratio"])
                for pile in piles
                for table in self._splits.take(pile)
                for row in table.to_pylist()
            ]
            own = numbers[np.isin(numbers % PILES, piles)]
            is_stored, waits = bars.file < 0, bars.file == self._files
            of_files = bars.take(~is_stored & ~waits)
            yield SymbolsBars(own, of_files, splits, bars.take(waits), bars.take(is_stored))

    def _add(self, bars: Bars) -> None:
        piles = bars.symbol % PILES
        self._bars.scatter(bars.table(), piles)
        self._sizes += np.bincount(piles, minlength=PILES)


class ByDate:
    """Bars that were judged, regrouped by the date of their close.

    Parameters
    ----------
    folder
        For what does not fit in memory; the caller removes it.
    days
        How many bars may come for each UTC date, as days from 1970-01-01.
    """

    def __init__(self, folder: Path, days: Mapping[int, int]) -> None:
        ordered = sorted(days)
        sizes = np.array([days[day] for day in ordered], dtype=np.int64)
        spans = list(together(sizes))
        self._starts = np.array([ordered[span[0]] for span in spans[1:]], dtype=np.int64)
        """First days of all piles but the first, which has no beginning."""
        self._bars = Spill(folder)

    def add(self, bars: Bars) -> None:
        """Take some symbols' bars."""
        self._bars.scatter(bars.table(), self._piles(bars.event))

    def drain(self, splits: list[Split]) -> Iterator[tuple[Bars, list[Split]]]:
        """Yield all bars of some dates, and those of the splits that fall on them or between.

        The dates ascend from one to the next, and every split comes.
        """
        piles = self._piles(np.array([split.event for split in splits], dtype=np.int64))
        for pile in sorted({*self._bars.numbers, *piles.tolist()}):
            tables = self._bars.take(pile)
            bars = Bars.of(pa.concat_tables(tables)) if tables else Bars.concatenate([])
            yield bars, [splits[at] for at in np.flatnonzero(piles == pile)]

    def _piles(self, events: NDArray[np.int64]) -> NDArray[np.intp]:
        return np.searchsorted(self._starts, events // DAY, side="right")


def _joined(several: Iterable[Bars]) -> Iterator[Bars]:
    """Join the bars of single dates, so that fewer and larger pieces are cut up."""
    pieces: list[Bars] = []
    size = 0
    for bars in several:
        pieces.append(bars)
        size += len(bars)
        if size >= ROWS_AT_ONCE // 2:
            yield Bars.concatenate(pieces)
            pieces, size = [], 0
    yield Bars.concatenate(pieces)


def together(sizes: NDArray[np.int64]) -> Iterator[range]:
    """Yield neighbouring places whose sizes add up to :data:`ROWS_AT_ONCE` at most.

    A place that is larger by itself comes alone.
    """
    start = held = 0
    for at, size in enumerate(sizes.tolist()):
        if held and held + size > ROWS_AT_ONCE:
            yield range(start, at)
            start, held = at, 0
        held += size
    if start < len(sizes):
        yield range(start, len(sizes))
