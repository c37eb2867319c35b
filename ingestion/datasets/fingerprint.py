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
from numpy.typing import NDArray

from ingestion.base.arrow import from_numpy, strings, to_numpy
from ingestion.base.columns import INSTANT

Words = NDArray[np.uint64]
Texts = dict[str, tuple[pa.Array, pa.Array]]
"""By name of the column, the last texts and their cells."""

_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
"""Multipliers of the finalizer of SplitMix64, https://prng.di.unimi.it/splitmix64.c"""
_OTHER = np.uint64(0x9E3779B97F4A7C15)
_NULL = 0x6E756C6C6E756C6C
_BLOCK = 1 << 14
"""Rows at a time: what is computed of them stays in a core's cache."""


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
        self._texts: Texts = {}

    def add(self, rows: pa.Table) -> None:
        """Take the next rows."""
        words = row_words(rows, self._texts)
        self._order.update(words.astype("<u8", copy=False).data)
        for begin in range(0, len(words), _BLOCK):
            block = words[begin : begin + _BLOCK]
            for number, lane in enumerate((block, _mixed(block ^ _OTHER))):
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


def row_words(rows: pa.RecordBatch | pa.Table, texts: Texts | None = None) -> Words:
    """Return an integer for each row, shape ``(n,)``.

    Parameters
    ----------
    texts
        What is known of the rows before; these are taken down.

    Examples
    --------
    >>> len(set(row_words(pa.table({"RSI": [0.0, -0.0, None, float("nan")]})).tolist()))
    4
    """
    if isinstance(rows, pa.RecordBatch):
        rows = pa.Table.from_batches([rows])
    known: Texts = {} if texts is None else texts
    columns = [
        _cells(name, column, known)
        for name, column in zip(rows.schema.names, rows.columns, strict=True)
    ]
    seeds, names = [seed for seed, _ in columns], list(map(str, range(len(columns))))
    cells = pa.Table.from_arrays([column for _, column in columns], names)
    words = np.zeros(rows.num_rows, np.uint64)
    spare, begin = np.empty(_BLOCK, np.uint64), 0
    # A batch ends where a chunk of any column ends: nothing is copied to put chunks together.
    for batch in cells.to_batches(_BLOCK):
        block = words[begin : begin + batch.num_rows]
        shifted = spare[: len(block)]
        begin += len(block)
        for seed, column in zip(seeds, batch.columns, strict=True):
            block ^= seed
            block ^= to_numpy(column, null=_NULL).view(np.uint64)
            block *= _FIRST
            block ^= np.right_shift(block, np.uint64(32), out=shifted)
        _mixed(block)
    return words


def _cells(name: str, column: pa.ChunkedArray, known: Texts) -> tuple[np.uint64, pa.ChunkedArray]:
    """Return a column's name and type as an integer, and its cells as integers."""
    kind = column.type
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        told, cells = "text", _texts(name, column, known)
    elif pa.types.is_timestamp(kind):
        told, cells = "instant", _bits(column.cast(INSTANT, safe=False))
    elif pa.types.is_floating(kind):
        told, cells = "double", _bits(column.cast(pa.float64()))
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        told, cells = "integer", column.cast(pa.int64())
    else:
        texts = strings([str(each) for each in column.to_pylist()])
        told, cells = str(kind), _texts(name, pa.chunked_array([texts]), known)
    seed = sha256(f"{name}\0{told}".encode()).digest()[:8]
    return np.uint64(int.from_bytes(seed, "little")), cells


def _bits(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of eight bytes as integers of the same bits."""
    return pa.chunked_array([chunk.view(pa.int64()) for chunk in column.chunks], pa.int64())


def _texts(name: str, column: pa.ChunkedArray, known: Texts) -> pa.ChunkedArray:
    cells = []
    for chunk in column.chunks:
        before = known.get(name)
        # A panel names the same symbols at each decision.
        if before is None or not before[0].equals(chunk):
            known[name] = before = chunk, _texts_of(chunk)
        cells.append(before[1])
    return pa.chunked_array(cells, pa.int64())


def _texts_of(chunk: pa.Array) -> pa.Array:
    encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
    words = np.array([*map(_word, encoded.dictionary.to_pylist()), _NULL], dtype=np.uint64)
    return from_numpy(words[to_numpy(encoded.indices, null=-1)].view(np.int64))


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
