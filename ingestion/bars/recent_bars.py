"""The bars of the last days without their values: of which symbols, when they closed and came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.arrays import SymbolTable
from ingestion.bars.kept_days import BarsOfDay, KeptDays
from ingestion.bars.source import of_each_source
from ingestion.base.arrow import to_numpy
from ingestion.base.reading import reading_again
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import (
    Lakehouse,
    Part,
    SeenParts,
    by_date,
    is_withdrawn,
    list_dates,
    list_parts,
    read_part,
    without_withdrawn,
)
from ingestion.markets.symbols import exchange_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLUMNS = ["symbol", "event_timestamp", "created_timestamp", "source"]


@dataclass(frozen=True)
class RecentBars:
    """The bars of a span of dates that nobody has withdrawn."""

    names: list[str]
    """The symbols; there may be some without a bar."""
    days: list[BarsOfDay]
    """In their order, without dates that have no part."""

    @cached_property
    def exchanges(self) -> list[str]:
        """The exchange of each symbol."""
        return [exchange_of(name) for name in self.names]

    @classmethod
    def read(
        cls, lakehouse: Lakehouse, first: date, last: date, *, keep: bool = False
    ) -> RecentBars:
        """Read the bars that closed from one UTC date to another, both included.

        Dates that are as they were when they were kept are not opened.

        Parameters
        ----------
        keep
            Whether to keep them.

        Raises
        ------
        CorruptPart
            If a part of that span cannot be read.
        """

        def read() -> RecentBars:
            kept, seen, changed = KeptDays.read(lakehouse), SeenParts({}), set[date]()
            if kept.days or keep:
                dates = [day for day in list_dates(lakehouse, OHLCV_1D) if first <= day <= last]
                seen = SeenParts.look(lakehouse, OHLCV_1D, kept.seen, dates)
                changed = {part.date for part in seen.new_since(kept.seen)}
                changed |= seen.gone_since(kept.seen)
                there = seen.parts
            else:  # where nothing is kept, nobody need ask each part where it is from
                there = list_parts(lakehouse, OHLCV_1D, first, last)
            symbols, days, sources = SymbolTable(kept.names), list[BarsOfDay](), _Sources()
            for day, parts in by_date(there).items():
                if day in kept.days and day not in changed:
                    days.append(kept.days[day])
                    continue
                rows = _read(parts, _COLUMNS)
                has_withdrawn, is_scanned = sources.of(rows)
                if has_withdrawn:  # seldom, and it takes another column
                    rows = without_withdrawn(_read(parts, [*_COLUMNS, "timestamp"]))
                    _, is_scanned = sources.of(rows)
                days.append(
                    BarsOfDay(
                        day,
                        symbols.numbers(rows["symbol"]),
                        to_numpy(rows["event_timestamp"]),
                        to_numpy(rows["created_timestamp"]),
                        is_scanned,
                    )
                )
            if keep and any(kept.days.get(each.day) is not each for each in days):
                KeptDays(symbols.names, {each.day: each for each in days}, seen).write(lakehouse)
            return cls(symbols.names, days)

        return reading_again(read)


class _Sources:
    """What sources say of bars; most dates have the texts of the date before."""

    def __init__(self) -> None:
        self._texts, self._said = None, (False, np.empty(0, bool))

    def of(self, rows: pa.Table) -> tuple[bool, NDArray[np.bool_]]:
        """Return whether any bar is withdrawn, and which ones the daily job brought."""
        texts: pa.ChunkedArray = rows["source"]
        if self._texts is None or not texts.equals(self._texts):
            has_withdrawn = bool(pc.any(is_withdrawn(rows)).as_py())
            is_scanned = of_each_source(texts, lambda source: source.is_scanned)
            self._texts, self._said = texts, (has_withdrawn, is_scanned)
        return self._said


def _read(parts: list[Part], columns: list[str]) -> pa.Table:
    return pa.concat_tables([read_part(part, OHLCV_1D, columns) for part in parts])
