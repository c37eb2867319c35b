"""A table in a few characters: equal cells, equal fingerprints, however the file is laid out.

Each row gets an integer from its cells and its columns' names and types. ``rows`` of a fingerprint
is the same for the same rows in any order; ``order`` follows their order, too. Row groups,
compression, dictionaries and pandas' metadata do not matter. A null, a NaN, 0.0 and −0.0 are
different cells. The integers find faults and changes; they are no defence against forgery.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.base.columns import INSTANT

Words = NDArray[np.uint64]

_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
"""Multipliers of the finalizer of SplitMix64, https://prng.di.unimi.it/splitmix64.c"""
_OTHER = np.uint64(0x9E3779B97F4A7C15)
_NULL = np.uint64(0x6E756C6C6E756C6C)


class Fingerprint(NamedTuple):
    """What identifies a table's rows."""

    rows: str
    """32 hexadecimal digits, for any order of the rows."""
    order: str
    """64 hexadecimal digits, for this order."""


class Fingerprints:
    """Takes a table piece by piece.

    Examples
    --------
    >>> table = pa.table({"symbol": ["NYSE:A", "NYSE:B"], "RSI": [50.0, None]})
    >>> one, other = Fingerprints(), Fingerprints()
    >>> one.add(table)
    >>> for row in (1, 0):
    ...     other.add(table.slice(row, 1))
    >>> one.result().rows == other.result().rows, one.result().order == other.result().order
    (True, False)
    """

    def __init__(self) -> None:
        self._sums = [0, 0]
        self._order = sha256()

    def add(self, rows: pa.Table) -> None:
        """Take the next rows."""
        for batch in rows.to_batches(max_chunksize=1 << 15):  # what fits into a core's cache
            words = row_words(batch)
            self._order.update(words.astype("<u8").tobytes())
            for number, lane in enumerate((words, _mixed(words ^ _OTHER))):
                self._sums[number] = (self._sums[number] + int(lane.sum(dtype=np.uint64))) % 2**64

    def result(self) -> Fingerprint:
        """Return the fingerprint of all rows so far."""
        return Fingerprint("".join(f"{each:016x}" for each in self._sums), self._order.hexdigest())


def fingerprint(tables: Iterable[pa.Table]) -> Fingerprint:
    """Return the fingerprint of tables, one below the other.

    Examples
    --------
    >>> fingerprint([]).rows
    '00000000000000000000000000000000'
    """
    found = Fingerprints()
    for table in tables:
        found.add(table)
    return found.result()


def row_words(rows: pa.RecordBatch | pa.Table) -> Words:
    """Return an integer for each row, shape ``(n,)``.

    Examples
    --------
    >>> len(set(row_words(pa.table({"RSI": [0.0, -0.0, None, float("nan")]})).tolist()))
    4
    """
    words = np.zeros(rows.num_rows, np.uint64)
    spare = np.empty_like(words)
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        kind, cells = _cells(column)
        seed = np.uint64(int.from_bytes(sha256(f"{name}\0{kind}".encode()).digest()[:8], "little"))
        words ^= seed
        words ^= cells
        words *= _FIRST
        words ^= np.right_shift(words, np.uint64(32), out=spare)
    return _mixed(words)


def _cells(column: pa.Array | pa.ChunkedArray) -> tuple[str, Words]:
    """Return what a column's type is called, and its cells as integers."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    kind = column.type
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text", _texts(column)
    if pa.types.is_timestamp(kind):
        name, numbers = "instant", column.cast(INSTANT, safe=False).view(pa.int64())
    elif pa.types.is_floating(kind):
        name, numbers = "double", column.cast(pa.float64()).view(pa.int64())
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        name, numbers = "integer", column.cast(pa.int64())
    else:
        texts = pa.array([str(each) for each in column.to_pylist()], pa.string())
        return str(kind), _texts(texts)
    words = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False).view(np.uint64)
    if column.null_count:
        words = words.copy()
        words[pc.is_null(column).to_numpy(zero_copy_only=False)] = _NULL
    return name, words


def _texts(column: pa.Array) -> Words:
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    known = np.array([*map(_word, texts), int(_NULL)], dtype=np.uint64)
    words_of: Words = known[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]
    return words_of


@lru_cache(maxsize=1 << 17)  # a panel names the same symbols again and again
def _word(text: str | None) -> int:
    return int.from_bytes(sha256((text or "").encode()).digest()[:8], "little")


def _mixed(words: Words) -> Words:
    """Spread each integer's bits over all of its own, in place."""
    words ^= words >> np.uint64(30)
    words *= _FIRST
    words ^= words >> np.uint64(27)
    words *= _SECOND
    words ^= words >> np.uint64(31)
    return words
