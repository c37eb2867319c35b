"""Bars regrouped by symbol and by date, on disk.

An import may have more bars than fit in memory. It regroups them twice:

1. its files are read in batches, and the good bars are stored by symbol (:class:`BySymbol`); then
   the stored bars of the lakehouse around them are read, once, and put beside them
2. all bars of a few symbols are judged together, and what is left is stored by date
   (:class:`ByDate`)
3. the bars of a few dates are compared with the lakehouse and written, in the order of the dates

Nothing is written before every symbol is judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from ingestion.bars.arrays import Bars, Extent, Split, SymbolTable
from ingestion.base.instants import DAY
from ingestion.base.spill import Spill

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
