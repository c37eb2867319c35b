"""The current rows of one date of ``ohlcv_1d``, beside the bars that come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.arrays import Bars, keys_of, places
from ingestion.bars.withdrawn import Withdrawn, as_withdrawn
from ingestion.lakehouse import is_withdrawn, standing

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray


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
        self.newest: datetime | None = pc.max(rows["created_timestamp"]).as_py()
        """When the newest of all was created; None if there are none."""
        self._withdrawn = [as_withdrawn(row) for row in rows.filter(is_withdrawn(rows)).to_pylist()]
        self.rows = rows = standing(rows)
        self.symbol = _numbers(rows["symbol"], names)
        self.opens: NDArray[np.int64] = rows["timestamp"].to_numpy()
        """Unix seconds, as are the closes."""
        self.closes: NDArray[np.int64] = rows["event_timestamp"].cast(pa.int64()).to_numpy()
        self.closes = self.closes // 1_000_000
        self._by_open = _ordered(keys_of(self.symbol, self.opens))
        self._by_close = _ordered(keys_of(self.symbol, self.closes))

    def __len__(self) -> int:
        return len(self.symbol)

    def find(
        self, symbol: NDArray[np.int32], opens: NDArray[np.int64], closes: NDArray[np.int64]
    ) -> NDArray[np.intp]:
        """Return the position of each bar's row, by its open or else its close; −1 for none."""
        at_open = _find(self._by_open, keys_of(symbol, opens))
        return np.where(at_open >= 0, at_open, _find(self._by_close, keys_of(symbol, closes)))

    def find_close(self, symbol: int, close: int) -> int | None:
        """Return the position of the row with a close."""
        (at,) = _find(self._by_close, keys_of(np.array([symbol]), np.array([close])))
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

    def values(self, name: str) -> NDArray[np.float64]:
        """Return a column of numbers."""
        values: NDArray[np.float64] = self.rows[name].to_numpy()
        return values

    def source(self, at: int) -> str:
        """Return where a row comes from."""
        return str(self.rows["source"][at].as_py())

    def row(self, at: int) -> dict[str, Any]:
        """Return a whole row."""
        row: dict[str, Any] = self.rows.slice(at, 1).to_pylist()[0]
        return row


_Ordered = tuple["NDArray[np.intp]", "NDArray[np.int64]"]
"""Positions in the order of keys, and the keys."""


def _ordered(keys: NDArray[np.int64]) -> _Ordered:
    order = np.argsort(keys, kind="stable")
    return order, keys[order]


def _find(ordered: _Ordered, wanted: NDArray[np.int64]) -> NDArray[np.intp]:
    order, keys = ordered
    at = places(keys, wanted)
    return np.where(at >= 0, order[at], -1) if len(order) else at


def _numbers(symbols: pa.ChunkedArray, names: pa.Array) -> NDArray[np.int32]:
    numbers: NDArray[np.int32] = pc.index_in(symbols, value_set=names).to_numpy()
    return numbers
