"""Keys as integers, so that a join compares numbers and never texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.base.arrow import to_numpy
from ingestion.plugins.offline.lookup import Compact, Integers, compact
from ingestion.plugins.offline.threads import blocks_of, in_threads

KEYS_AT_ONCE = 1 << 20


class KeyCodes:
    """The distinct keys of a table, numbered in their order.

    Parameters
    ----------
    columns
        The key's columns, of one length, as they are or as dictionaries; none at all is one key
        for every row.
    rows
        That length.
    """

    codes: Compact
    """The number of each row's key; −1 where a part of it is null. Shape ``(n,)``."""

    def __init__(self, columns: Sequence[pa.ChunkedArray], rows: int) -> None:
        self._values: list[pa.Array] = []
        self._pairs: list[Integers] = []
        self._encoded: tuple[Sequence[pa.ChunkedArray], Integers] = ((), np.zeros(0, np.int64))
        self.codes = np.zeros(rows, dtype=np.int32)
        for column in columns:
            codes, values = _numbered(column)
            self._values.append(values)
            if len(self._values) == 1:
                self.codes = codes
                continue
            pairs = _pair(self.codes, codes, len(values))
            self._pairs.append(np.unique(pairs[pairs >= 0]))
            self.codes = compact(_position(self._pairs[-1], pairs))

    @property
    def count(self) -> int:
        """How many values of a column there are at most: what a look-up costs at least."""
        return max((len(values) for values in self._values), default=0)

    def encode(self, columns: Sequence[pa.ChunkedArray], rows: int) -> Integers:
        """Return the numbers of other rows' keys, in the same types; −1 for unknown and null."""
        # Day after day, a snapshot's file names the same keys in the same order.
        before, codes = self._encoded
        if len(codes) == rows and all(map(pa.ChunkedArray.equals, columns, before)):
            return codes
        codes = np.zeros(rows, dtype=np.int64)
        for place, (column, values) in enumerate(zip(columns, self._values, strict=True)):
            found = pc.index_in(column, value_set=values, skip_nulls=True)
            found = to_numpy(found, null=-1).astype(np.int64)
            if place == 0:
                codes = found
            else:
                pairs = _pair(codes, found, len(values))
                codes = _position(self._pairs[place - 1], pairs)
        self._encoded = (columns, codes)
        return codes


def _numbered(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Array]:
    """Return each value's place among the sorted distinct ones, and those."""
    encoded, codes = _encoded(column), np.empty(len(column), np.int32)
    kinds = [chunk.dictionary for chunk in encoded.chunks]
    values = pa.chunked_array(kinds, encoded.type.value_type).unique()
    values = values.take(pc.array_sort_indices(values))
    begin = 0
    for chunk in encoded.chunks:
        # One more for −1, the null.
        found = to_numpy(pc.index_in(chunk.dictionary, value_set=values), null=-1)
        rank = np.append(found, np.int32(-1))
        rank.take(
            to_numpy(chunk.indices, null=-1), mode="wrap", out=codes[begin : begin + len(chunk)]
        )
        begin += len(chunk)
    return codes, values


def _encoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as dictionaries, a block at a time by all cores."""
    if pa.types.is_dictionary(column.type):
        return column
    blocks = blocks_of(len(column), KEYS_AT_ONCE)
    parts = (column.slice(block.start, block.stop - block.start) for block in blocks)
    encoded = in_threads(pa.ChunkedArray.dictionary_encode, parts)
    chunks = [chunk for part in encoded for chunk in part.chunks]
    return pa.chunked_array(chunks, pa.dictionary(pa.int32(), column.type))


def _pair(first: Compact, second: Compact, size: int) -> Integers:
    return np.where((first < 0) | (second < 0), -1, first.astype(np.int64) * size + second)


def _position(known: Integers, pairs: Integers) -> Integers:
    if not len(known):
        return np.full(len(pairs), -1)
    place = np.minimum(np.searchsorted(known, pairs), len(known) - 1)
    return np.where(known[place] == pairs, place, -1)
