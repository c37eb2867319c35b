"""Regroup more rows than fit in memory: append batches under numbers, then read each number whole.

What is small stays in memory. Beyond :data:`BYTES_IN_MEMORY` it goes to files, one per number,
which are open only while they are written: there may be more numbers than a process may open files.

Numbers and instants without nulls are written as they are in memory, which takes half of the time
that Arrow's format takes; so are they read. All others are written in that format.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from ingestion.base.arrow import from_numpy

if TYPE_CHECKING:
    from numpy.typing import NDArray

BYTES_IN_MEMORY = 24 << 20


class Spill:
    """Numbered piles of rows, in files below a folder of their own; removes it at the end.

    Parameters
    ----------
    folder
        Made when it is needed. What a killed run leaves there is the caller's to remove.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[int, list[pa.Table]] = {}
        self._bytes = 0
        self._written: dict[int, list[_Piece]] = {}

    def __enter__(self) -> Spill:
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def append(self, number: int, rows: pa.Table) -> None:
        """Add rows to a pile; all of one pile have one schema."""
        self._waiting.setdefault(number, []).append(rows)
        self._bytes += rows.nbytes
        if self._bytes > BYTES_IN_MEMORY:
            self._flush()

    def scatter(self, rows: pa.Table, numbers: NDArray[np.integer]) -> None:
        """Add each row to the pile of its number; in a pile their order stays."""
        order = stable_order(numbers)
        if (np.diff(order) != 1).any():
            rows, numbers = rows.take(from_numpy(order)), numbers[order]
        for number, start, end in runs(numbers):
            self.append(number, rows.slice(start, end - start))

    @property
    def numbers(self) -> list[int]:
        """The piles that have rows, in order."""
        return sorted(self._written | self._waiting.keys())

    def take(self, number: int) -> list[pa.Table]:
        """Return a pile's rows in the order in which they came, and remove it."""
        tables = self._waiting.pop(number, [])
        self._bytes -= sum(rows.nbytes for rows in tables)
        if number in self._written:
            path = self._folder / str(number)
            tables = [*_read(path, self._written.pop(number)), *tables]
            path.unlink()
        return tables

    def drain(self) -> Iterator[tuple[int, pa.Table]]:
        """Yield each pile's rows, in the order of the numbers, and remove it."""
        for number in self.numbers:
            yield number, pa.concat_tables(self.take(number))

    def _flush(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for number, tables in self._waiting.items():
            rows = pa.concat_tables(tables)
            with (self._folder / str(number)).open("ab") as file:
                is_plain = all(map(_is_plain, rows.columns))
                if is_plain:
                    file.writelines(_content(rows))
                else:
                    with pa.ipc.new_stream(file, rows.schema) as stream:
                        stream.write_table(rows.combine_chunks())
                piece = _Piece(file.tell(), rows.num_rows, rows.schema if is_plain else None)
            self._written.setdefault(number, []).append(piece)
        self._waiting.clear()
        self._bytes = 0


class _Piece(NamedTuple):
    """What was added to a file at once."""

    end: int
    """Where it ends."""
    rows: int
    plain: pa.Schema | None
    """Of columns that lie in the file as in memory; None if they are in Arrow's format."""


def stable_order(numbers: NDArray[np.integer]) -> NDArray[np.intp]:
    """Return the places of numbers in their order; those of equal ones stay as they are.

    Examples
    --------
    >>> stable_order(np.array([7, 3, 7, 3]))
    array([1, 3, 0, 2])
    """
    least = int(numbers.min(initial=0))
    if int(numbers.max(initial=0)) - least < 1 << 16:
        numbers = (numbers - least).astype(np.uint16)  # NumPy sorts these three times as fast
    return np.argsort(numbers, kind="stable")


def distinct(numbers: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the numbers of an array, each once, in their order.

    ``numpy.unique`` does the same and imports ``numpy.ma``, which takes 30 ms.

    Examples
    --------
    >>> distinct(np.array([7, 3, 7]))
    array([3, 7])
    """
    if len(numbers) and numbers.min() == numbers.max():  # as the closes of most dates are
        return numbers[:1]
    ordered = np.sort(numbers)
    found: NDArray[np.integer] = ordered[np.diff(ordered, prepend=ordered[:1] - 1) != 0]
    return found


def runs(ordered: NDArray[np.integer]) -> Iterator[tuple[int, int, int]]:
    """Yield each number of a sorted array, with the bounds of the places that have it.

    Examples
    --------
    >>> list(runs(np.array([3, 3, 7])))
    [(3, 0, 2), (7, 2, 3)]
    """
    bounds = [*np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1)).tolist(), len(ordered)]
    for start, end in pairwise(bounds):
        yield int(ordered[start]), start, end


_ALIGNED = 8
"""Bytes; columns begin at multiples of it."""


def _is_plain(column: pa.ChunkedArray) -> bool:
    kind = column.type
    is_number = pa.types.is_primitive(kind) and not pa.types.is_boolean(kind)
    return bool(is_number and not column.null_count)


def _content(rows: pa.Table) -> Iterator[memoryview | bytes]:
    """Yield the bytes of plain columns, one column after the other."""
    for column in rows.columns:
        width = column.type.byte_width
        for chunk in column.chunks:
            if len(chunk):
                start = chunk.offset * width
                yield memoryview(chunk.buffers()[1])[start : start + len(chunk) * width]
        yield bytes(-width * rows.num_rows % _ALIGNED)


def _read(path: Path, pieces: list[_Piece]) -> Iterator[pa.Table]:
    with path.open("rb") as file:  # its pages as they are: to copy them takes twice as long
        is_empty = not pieces[-1].end
        content = pa.py_buffer(b"" if is_empty else mmap(file.fileno(), 0, access=ACCESS_READ))
    start = 0
    for piece in pieces:
        own = content.slice(start, piece.end - start)
        if piece.plain is None:
            yield pa.ipc.open_stream(own).read_all()
        else:
            yield _table(piece.plain, piece.rows, own)
        start = piece.end


def _table(schema: pa.Schema, rows: int, content: pa.Buffer) -> pa.Table:
    arrays, start = [], 0
    for field in schema:
        size = rows * field.type.byte_width
        values = content.slice(start, size)
        arrays.append(pa.Array.from_buffers(field.type, rows, [None, values]))
        start += size + -size % _ALIGNED
    return pa.table(arrays, schema=schema)
