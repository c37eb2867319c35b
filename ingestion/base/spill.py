"""Regroup more rows than fit in memory: append batches under numbers, then read each number whole.

What is small stays in memory. Beyond :data:`BYTES_IN_MEMORY` it goes to files, one per number,
which are open only while they are written: there may be more numbers than a process may open files.

Numbers and instants without nulls are written as they are in memory, all columns of a piece in one
call of the system, and are read straight into the columns of the whole pile. That takes a third of
the time that it takes with a table of Arrow's for each piece. All others are written in its format.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from ingestion.base.arrow import from_numpy
from ingestion.base.ordered import runs, stable_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

BYTES_IN_MEMORY = 24 << 20
_LONG = 64
"""Rows of one number, on an average, that are not sorted beforehand."""
_AT_ONCE = 1_000
"""Arrays that the system writes or reads in one call; Linux takes 1,024."""


class Spill:
    """Numbered piles of rows, in files below a folder of their own; removes it at the end.

    Parameters
    ----------
    folder
        Made when it is needed. What a killed run leaves there is the caller's to remove.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[int, list[_Rows]] = {}
        self._bytes = 0
        self._written: dict[int, list[_Piece]] = {}

    def __enter__(self) -> Spill:
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def append(self, number: int, rows: pa.Table) -> None:
        """Add rows to a pile; all of one pile have one schema."""
        self._append(number, _rows(rows))

    def scatter(self, rows: pa.Table, numbers: NDArray[np.integer]) -> None:
        """Add each row to the pile of its number; in a pile their order stays."""
        own = _rows(rows)
        changes = int((numbers[1:] != numbers[:-1]).sum())
        # Long runs, as of a date's symbols, are taken as they are.
        if changes * _LONG > len(numbers) and (numbers[1:] < numbers[:-1]).any():
            order = stable_order(numbers)
            own, numbers = own.take(order), numbers[order]
        for number, start, end in runs(numbers):
            self._append(number, own.between(start, end))

    @property
    def numbers(self) -> list[int]:
        """The piles that have rows, in order."""
        return sorted(self._written | self._waiting.keys())

    def take(self, number: int) -> list[pa.Table]:
        """Return a pile's rows in the order in which they came, and remove it."""
        waiting = self._waiting.pop(number, [])
        self._bytes -= sum(rows.nbytes for rows in waiting)
        if number not in self._written:
            return _joined(waiting)
        path = self._folder / str(number)
        tables = _read(path, self._written.pop(number), waiting)
        path.unlink()
        return tables

    def drain(self) -> Iterator[tuple[int, pa.Table]]:
        """Yield each pile's rows, in the order of the numbers, and remove it."""
        for number in self.numbers:
            yield number, pa.concat_tables(self.take(number))

    def _append(self, number: int, rows: _Rows) -> None:
        self._waiting.setdefault(number, []).append(rows)
        self._bytes += rows.nbytes
        if self._bytes > BYTES_IN_MEMORY:
            self._flush()

    def _flush(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        folder = str(self._folder)
        for number, several in self._waiting.items():
            pieces = self._written.setdefault(number, [])
            start = pieces[-1].end if pieces else 0
            pieces.append(_write(f"{folder}/{number}", several, start))
        self._waiting.clear()
        self._bytes = 0


class _Plain(NamedTuple):
    """Rows of numbers and instants without nulls.

    There are hundred thousands of pieces of some kilobytes, and to cut Arrow's tables into them
    takes ten times as long.
    """

    schema: pa.Schema
    columns: Sequence[NDArray[np.unsignedinteger[Any]]]
    """The bits of each."""
    rows: int
    width: int
    """Bytes of a row."""

    @property
    def nbytes(self) -> int:
        return self.rows * self.width

    def take(self, order: NDArray[np.intp]) -> _Plain:
        columns = [each.take(order) for each in self.columns]
        return self._replace(columns=columns)

    def between(self, start: int, end: int) -> _Plain:
        columns = [each[start:end] for each in self.columns]
        return _Plain(self.schema, columns, end - start, self.width)

    def table(self) -> pa.Table:
        return _plain_table(self.schema, self.columns, self.rows)


class _Other(NamedTuple):
    """Rows of any columns."""

    own: pa.Table

    @property
    def nbytes(self) -> int:
        return int(self.own.nbytes)

    def take(self, order: NDArray[np.intp]) -> _Other:
        return _Other(self.own.take(from_numpy(order)))

    def between(self, start: int, end: int) -> _Other:
        return _Other(self.own.slice(start, end - start))

    def table(self) -> pa.Table:
        return self.own


_Rows = _Plain | _Other


class _Piece(NamedTuple):
    """What was added to a file at once."""

    start: int
    end: int
    """Where it ends."""
    rows: int
    plain: pa.Schema | None
    """Of columns that lie in the file as in memory; None if they are in Arrow's format."""


def _rows(rows: pa.Table) -> _Rows:
    if not all(map(_is_plain, rows.columns)):
        return _Other(rows)
    columns = [_bits(column) for column in rows.columns]
    return _Plain(rows.schema, columns, rows.num_rows, sum(each.itemsize for each in columns))


def _plain_table(schema: pa.Schema, columns: Sequence[NDArray[Any]], rows: int) -> pa.Table:
    arrays = [
        pa.Array.from_buffers(field.type, rows, [None, pa.py_buffer(each)])
        for field, each in zip(schema, columns, strict=True)
    ]
    return pa.table(arrays, schema=schema)


def _is_plain(column: pa.ChunkedArray) -> bool:
    kind = column.type
    is_number = pa.types.is_primitive(kind) and not pa.types.is_boolean(kind)
    return bool(is_number and not column.null_count)


def _bits(column: pa.ChunkedArray) -> NDArray[np.unsignedinteger[Any]]:
    width = column.type.byte_width
    kind = f"u{width}"
    found = [
        np.frombuffer(chunk.buffers()[1], kind, len(chunk), chunk.offset * width)
        for chunk in column.chunks
        if len(chunk)
    ]
    return found[0] if len(found) == 1 else np.concatenate([np.empty(0, kind), *found])


def _write(path: str, several: Sequence[_Rows], start: int) -> _Piece:
    """Add rows to a file, and return where they are."""
    plain = [rows for rows in several if isinstance(rows, _Plain)]
    if len(plain) == len(several):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            columns = zip(*(rows.columns for rows in plain), strict=True)
            end = _all_of(
                os.pwritev, descriptor, [each for column in columns for each in column], start
            )
        finally:
            os.close(descriptor)
        return _Piece(start, end, sum(rows.rows for rows in plain), plain[0].schema)
    table = pa.concat_tables([rows.table() for rows in several]).combine_chunks()
    with open(path, "ab") as file:  # noqa: PTH123 - text, as of many files
        with pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
        return _Piece(start, file.tell(), table.num_rows, None)


def _read(path: Path, pieces: Sequence[_Piece], waiting: Sequence[_Rows]) -> list[pa.Table]:
    """Return the rows of a file, and those that were to be added to it."""
    plain = [rows for rows in waiting if isinstance(rows, _Plain)]
    schema = pieces[0].plain
    if schema is None or len(plain) < len(waiting) or not all(each.plain for each in pieces):
        with pa.memory_map(str(path)) as file:
            return [*(_table(file, each) for each in pieces), *(rows.table() for rows in waiting)]
    several = [*(each.rows for each in pieces), *(rows.rows for rows in plain)]
    columns = [np.empty(sum(several), f"u{field.type.byte_width}") for field in schema]
    bounds = pairwise(np.cumsum([0, *several]).tolist())
    with path.open("rb", buffering=0) as file:
        for each, (first, end) in zip(pieces, bounds, strict=False):
            _all_of(os.preadv, file.fileno(), [column[first:end] for column in columns], each.start)
    for rows, (first, end) in zip(plain, bounds, strict=True):
        for column, own in zip(columns, rows.columns, strict=True):
            column[first:end] = own
    return [_plain_table(schema, columns, sum(several))]


def _joined(several: Sequence[_Rows]) -> list[pa.Table]:
    """Return rows of one pile as few tables: to make one of Arrow's takes long."""
    plain = [rows for rows in several if isinstance(rows, _Plain)]
    if len(plain) < len(several) or not plain:
        return [rows.table() for rows in several]
    columns = [np.concatenate(each) for each in zip(*(rows.columns for rows in plain), strict=True)]
    return [_plain_table(plain[0].schema, columns, sum(rows.rows for rows in plain))]


def _table(file: pa.MemoryMappedFile, piece: _Piece) -> pa.Table:
    file.seek(piece.start)
    content = file.read_buffer(piece.end - piece.start)
    if piece.plain is None:
        return pa.ipc.open_stream(content).read_all()
    columns, start = [], 0
    for field in piece.plain:
        width = field.type.byte_width
        # A copy, as Arrow wants numbers at multiples of their width.
        columns.append(np.frombuffer(content, f"u{width}", piece.rows, start).copy())
        start += width * piece.rows
    return _plain_table(piece.plain, columns, piece.rows)


def _all_of(
    transfer: Callable[[int, Any, int], int],
    descriptor: int,
    arrays: Sequence[NDArray[Any]],
    start: int,
) -> int:
    """Write arrays one after the other to a place of a file, or read them; returns where they end.

    The system may do a part of that in one call.
    """
    for first in range(0, len(arrays), _AT_ONCE):
        several: list[Any] = list(arrays[first : first + _AT_ONCE])
        left = sum([each.nbytes for each in arrays[first : first + _AT_ONCE]])
        while left:
            done = transfer(descriptor, several, start)
            if not done:
                raise EOFError("a file of spilled rows is shorter than what was written to it")
            start, left = start + done, left - done
            if left:
                several = _after(done, several)
    return start


def _after(done: int, several: Sequence[Any]) -> list[memoryview]:
    """Return what is left of buffers behind so many bytes."""
    views = [memoryview(each).cast("B") for each in several if memoryview(each).nbytes]
    at = 0
    while done >= len(views[at]):
        done, at = done - len(views[at]), at + 1
    return [views[at][done:], *views[at + 1 :]]
