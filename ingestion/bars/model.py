"""Bars on their way in: parallel arrays, so that millions of them stay small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCANNER = "scanner"
"""What the ``source`` of a bar begins with that the daily job brought; all others were imported."""
VALUES = ("open", "high", "low", "close", "volume", "split_ratio")
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

    def take(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> Bars:
        """Return some of the bars by position or by mask; these if a mask drops none."""
        if which.dtype == np.bool_ and which.all():
            return self
        return Bars(*(getattr(self, field.name)[which] for field in fields(self)))

    def table(self) -> pa.Table:
        """Return the bars as a table, one column per array, without a copy."""
        return pa.table({each.name: getattr(self, each.name) for each in fields(self)})

    @classmethod
    def of(cls, table: pa.Table) -> Bars:
        """Return the bars of such a table; of a column in several pieces a copy is made."""
        # A copy where it is in one piece too: what comes from Arrow is read-only.
        return cls(*(np.array(table[each.name].to_numpy()) for each in fields(cls)))

    @classmethod
    def concatenate(cls, several: Sequence[Bars]) -> Bars:
        """Return the bars of several, in order; of one, that one itself."""
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
"""The arrays that hold no doubles."""


class SymbolTable:
    """The import's symbols, numbered in the order in which they were met."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, symbol: str) -> int:
        """Return a symbol's number; a new one where it was not met before."""
        return self._numbers.setdefault(symbol, len(self._numbers))

    @property
    def names(self) -> list[str]:
        """Every symbol, at its number."""
        return list(self._numbers)


@dataclass(frozen=True)
class Split:
    """New shares for an old one, from an ex-date on."""

    symbol: str
    event: int
    """Close of the session of the ex-date, Unix seconds."""
    ratio: float
    row: int = 0
    """Row of the splits file, from 1; 0 where a file of bars tells it."""
    is_moved: bool = False
    """Whether it is no split of that day, but the ratio that takes effect there."""
