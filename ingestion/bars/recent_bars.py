"""The bars of the last days without their values: of which symbols, when they closed and came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.arrays import SymbolTable
from ingestion.bars.source import of_each_source
from ingestion.base.arrow import to_numpy
from ingestion.base.reading import reading_again
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import (
    Lakehouse,
    Part,
    by_date,
    is_withdrawn,
    list_parts,
    read_part,
    without_withdrawn,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLUMNS = ["symbol", "event_timestamp", "created_timestamp", "source"]


class BarsOfDay(NamedTuple):
    """The bars of one UTC date, all versions: arrays of shape ``(n,)``."""

    day: date
    symbol: NDArray[np.int32]
    """Position among :attr:`RecentBars.names`."""
    close: NDArray[np.int64]
    """Unix µs."""
    created: NDArray[np.int64]
    """Unix µs."""
    is_scanned: NDArray[np.bool_]
    """Whether the daily job brought it."""


@dataclass(frozen=True)
class RecentBars:
    """The bars of a span of dates that nobody has withdrawn."""

    names: list[str]
    """The symbols."""
    days: list[BarsOfDay]
    """In their order, without dates that have no part."""

    @classmethod
    def read(cls, lakehouse: Lakehouse, first: date, last: date) -> RecentBars:
        """Read the bars that closed from one UTC date to another, both included.

        Raises
        ------
        CorruptPart
            If a part of that span cannot be read.
        """

        def read() -> RecentBars:
            symbols, days = SymbolTable(), list[BarsOfDay]()
            for day, parts in by_date(list_parts(lakehouse, OHLCV_1D, first, last)).items():
                rows = _read(parts, _COLUMNS)
                if pc.any(is_withdrawn(rows)).as_py():  # seldom, and it takes another column
                    rows = without_withdrawn(_read(parts, [*_COLUMNS, "timestamp"]))
                days.append(
                    BarsOfDay(
                        day,
                        symbols.numbers(rows["symbol"]),
                        to_numpy(rows["event_timestamp"]),
                        to_numpy(rows["created_timestamp"]),
                        of_each_source(rows["source"], lambda source: source.is_scanned),
                    )
                )
            return cls(symbols.names, days)

        return reading_again(read)


def _read(parts: list[Part], columns: list[str]) -> pa.Table:
    return pa.concat_tables([read_part(part, OHLCV_1D, columns) for part in parts])
