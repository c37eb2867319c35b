"""A feature table, and fetching the features of the rows that a query has chosen.

Questions are in no order that the files know: to bring each value straight to its question is to
write where no cache has been. Values of one width, as features are, therefore go in two steps:

1. Out of a file to where its questions' values wait, one behind the other.
2. When all are there, from there to the questions in their order, a block at a time by all cores.
   Each file's values are read from the first to the last meanwhile, so the caches contain what
   comes next. Where a column has waited, the next one is put: one spare column is enough.

Values of other types stay in Arrow's hands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.base.columns import Column
from ingestion.base.progress import watched
from ingestion.plugins.offline.column_types import microseconds, one_chunk
from ingestion.plugins.offline.files import SourceFile
from ingestion.plugins.offline.lookup import (
    NEVER,
    Compact,
    Integers,
    counts_of,
    in_groups,
    no_places,
)
from ingestion.plugins.offline.source import ParquetSource, Piece, stacked
from ingestion.plugins.offline.threads import blocks_of, in_threads

_ROW_BITS = 40
_BLOCK = 1 << 17
"""Questions at a time."""


@dataclass(frozen=True)
class FeatureTable:
    """A source, and what its columns are."""

    source: ParquetSource
    keys: tuple[Column, ...]
    event: Column
    created: Column | None
    features: tuple[Column, ...]
    known_at: int | None = None
    """Rows that were created later are not there, Unix µs; None for all."""

    @property
    def ranking(self) -> tuple[Column, ...]:
        """All that decides which row wins."""
        return *self.keys, self.event, *([self.created] if self.created else [])

    def key_columns(self, rows: pa.Table) -> list[pa.ChunkedArray]:
        """Return the key's columns of some rows."""
        return [rows[column.name] for column in self.keys]

    def events(self, rows: pa.Table) -> Integers:
        """Return event times, Unix µs."""
        return microseconds(rows[self.event.name])

    def creations(self, rows: pa.Table) -> Integers:
        """Return created times, Unix µs; ``NEVER`` without such a column."""
        if self.created is None:
            return np.full(rows.num_rows, NEVER)
        return microseconds(rows[self.created.name])

    def is_known(self, created: Integers) -> NDArray[np.bool_] | bool:
        """Return which rows are there, by when they were created."""
        if self.known_at is None:
            return True
        known: NDArray[np.bool_] = (created != NEVER) & (created <= self.known_at)
        return known


def row_numbers(piece: Piece, rows: int) -> Integers:
    """Return numbers for a piece's rows: by file, and within a file by place."""
    first = (piece.file.number << _ROW_BITS) + piece.first_row
    return np.arange(first, first + rows)


class Chosen:
    """The rows that answer questions, by file.

    Parameters
    ----------
    numbers
        Of each question's row, shape ``(n,)``, some perhaps several times; −1 makes a row of nulls.
    questions
        Whose rows these are, shape ``(n,)``; if not given, of each in turn. In their order, rows of
        a file wait.
    """

    def __init__(self, numbers: Integers, questions: Compact | None = None) -> None:
        files = int(numbers.max(initial=-1) >> _ROW_BITS) + 1
        self.place = no_places(len(numbers))
        """Of each question's row among these, shape ``(n,)``; −1 where there is none."""
        if files and (numbers[0] >= 0) and (numbers[1:] > numbers[:-1]).all():
            self.place[slice(None) if questions is None else questions] = np.arange(len(numbers))
            self.counts = np.bincount(numbers >> _ROW_BITS, minlength=files)
            self.rows = (numbers & ((1 << _ROW_BITS) - 1)).astype(self.place.dtype)
            return
        rows = np.empty_like(self.place)
        none = int(np.count_nonzero(numbers < 0))

        def file_of(block: slice) -> NDArray[np.unsignedinteger]:
            """Return the file of each row, from 1 on; 0 is none."""
            return ((numbers[block] >> _ROW_BITS) + 1).astype(np.min_scalar_type(files))

        def put(block: slice, in_block: Integers, place: Integers) -> None:
            # Values of the type of their target are put in a third of the time.
            row = numbers[block].take(in_block) & ((1 << _ROW_BITS) - 1)
            rows[place] = row.astype(rows.dtype)
            asked = in_block + block.start if questions is None else questions[block].take(in_block)
            own = np.maximum(place - none, -1).astype(rows.dtype)
            self.place[asked.astype(np.int64, copy=False)] = own

        blocks = blocks_of(len(numbers), _BLOCK)
        counts = counts_of(blocks, files + 1, file_of)
        in_groups(blocks, counts, file_of, put)
        self.counts = counts.sum(axis=0)[1:]
        """How many rows are wanted of each file, by its number."""
        self.rows = rows[none:]
        """Their places in their files, file by file."""


def fetch(
    source: ParquetSource,
    files: dict[int, SourceFile],
    chosen: Chosen,
    columns: Sequence[Column],
    ahead: dict[int, pa.Table] | None = None,
) -> list[pa.ChunkedArray]:
    """Read rows; each file once, and of it the row groups that are needed.

    Parameters
    ----------
    files
        By their own numbers.
    chosen
        Its rows and places are used up.
    ahead
        By the file's number, the columns of all rows, where they have been read; used up, too.

    Returns
    -------
    list of pa.ChunkedArray
        For each column a value for each question.
    """
    pa.default_memory_pool().release_unused()  # threads that have ended leave some behind
    ends, ahead = np.cumsum(chosen.counts), ahead or {}
    if (read := _as_they_lie(chosen, columns, ahead)) is not None:
        return read
    answer = Gathered(columns, chosen.place, len(chosen.rows))

    def get(file: int) -> None:
        begin, end = ends[file] - chosen.counts[file], ends[file]
        rows = chosen.rows[begin:end].astype(np.int64)
        read = ahead.pop(file, None)
        for first, table in (
            source.groups(files[file], rows, columns) if read is None else [(0, read)]
        ):
            here = (rows >= first) & (rows < first + table.num_rows)
            if here.all():
                answer.put(slice(begin, end), table, rows - first)
            else:
                answer.put(begin + np.flatnonzero(here), table, rows[here] - first)

    wanted = np.flatnonzero(chosen.counts).tolist() if columns else []
    for _ in watched(source.at_once(get, wanted), "files joined", len(wanted)):
        pass
    chosen.rows = chosen.place = no_places(0)  # memory that is needed now
    return answer.columns()


def _as_they_lie(
    chosen: Chosen, columns: Sequence[Column], ahead: dict[int, pa.Table]
) -> list[pa.ChunkedArray] | None:
    """Return the columns of rows that all were read, whole files in the questions' order.

    Nothing is copied. None if the rows lie otherwise.
    """
    wanted = np.flatnonzero(chosen.counts).tolist()
    tables = [ahead[file] for file in wanted if file in ahead]
    sizes = np.array([table.num_rows for table in tables])
    if len(tables) < len(wanted) or not (sizes == chosen.counts[wanted]).all():
        return None
    if not tables or not _counts_up(chosen.place, len(chosen.rows)):
        return None
    ends = sizes.cumsum()
    lies = np.arange(len(chosen.rows)) - np.repeat(ends - sizes, sizes)
    if not (chosen.rows == lies).all():
        return None
    together = stacked(tables)
    return [together[column.name] for column in columns]


_MARKS = 8
"""Columns whose nulls are the bits of one byte per row."""


class Gathered:
    """Columns of an answer.

    Parameters
    ----------
    place
        Where each question's row waits, shape ``(n,)``; −1 makes a row of nulls.
    count
        How many rows wait.
    """

    def __init__(self, columns: Sequence[Column], place: Compact, count: int) -> None:
        self._columns, self._place, self._count = columns, place, count
        self._plain = [
            _Values(column.name, column.type, len(place))
            for column in columns
            if column.type is not None and _is_plain(column.type)
        ]
        self._null = np.zeros((-(-len(self._plain) // _MARKS), count), np.uint8)
        plain = {values.name for values in self._plain}
        self._others = [column.name for column in columns if column.name not in plain]
        self._taken: list[tuple[Integers, pa.Table]] = []

    def put(self, which: slice | Integers, table: pa.Table, rows: Integers) -> None:
        """Let rows of a table wait at some places.

        Threads may at once, each at others.
        """
        null = np.zeros((len(self._null), table.num_rows), np.uint8)
        for number, values in enumerate(self._plain):
            array = one_chunk(table[values.name])
            values.put(which, array, rows)
            if array.null_count:
                null[number // _MARKS] |= _null_bits(array, number % _MARKS)
        for waiting, marks in zip(self._null, null, strict=True):
            if marks.any():
                waiting[which] = marks.take(rows, mode="clip")
        if self._others:
            taken = table.select(self._others).take(pa.array(rows))
            self._taken.append((np.arange(self._count)[which], taken))

    def columns(self) -> list[pa.ChunkedArray]:
        """Return each column's values, in the order of the questions; to be called once, at last.

        Raises
        ------
        CorruptPart
            If the tables do not agree on the type of a column that has none declared.
        """
        columns, size = self._in_order() if self._count else {}, len(self._place)
        return [
            columns[column.name] if column.name in columns else _nulls(size, column.type)
            for column in self._columns
        ]

    def _in_order(self) -> dict[str, pa.ChunkedArray]:
        self._waits_in_order = _counts_up(self._place, self._count)
        valid = [np.empty(-(-len(self._place) // 8), np.uint8) for _ in self._plain]

        def mark(block: slice) -> None:
            place = self._place[block].astype(np.int64)
            none = place < 0
            for first, waiting in zip(range(0, len(valid), _MARKS), self._null, strict=True):
                marks = waiting.take(place, mode="clip")
                marks[none] = 0xFF
                for bit, bits in enumerate(valid[first : first + _MARKS]):
                    packed = np.packbits(marks & 1 << bit == 0, bitorder="little")
                    bits[block.start // 8 :][: len(packed)] = packed

        self._each_block(mark)
        self._null = self._null[:, :0].copy()  # memory that is needed now
        self._place = self._place.astype(np.int64)  # once, not anew for each column
        spares: dict[int, pa.Buffer] = {}
        columns = {
            values.name: self._ordered(values, pa.py_buffer(bits), spares)
            for values, bits in zip(self._plain, valid, strict=True)
        }
        if self._taken:
            places, tables = zip(*self._taken, strict=True)
            row = np.empty(self._count, np.int64)
            row[np.concatenate(places)] = np.arange(self._count)
            wanted = pa.array(row.take(self._place, mode="clip"), mask=self._place < 0)
            rows = stacked(tables).take(wanted)
            columns |= zip(rows.column_names, rows.columns, strict=True)
        return columns

    def _ordered(
        self, values: _Values, valid: pa.Buffer, spares: dict[int, pa.Buffer]
    ) -> pa.ChunkedArray:
        """Return a column in order; where it waited becomes the spare of its width.

        Questions in the order of time, that all have their rows, find them in order already.
        """
        ordered, size = values.buffer, len(self._place)
        if not self._waits_in_order:
            ordered = spares.pop(values.width, None) or _memory(values.buffer.size)
            spares[values.width] = values.buffer
            words = values.words(ordered)

            def bring(block: slice) -> None:
                values.waiting.take(self._place[block], mode="clip", out=words[block])

            self._each_block(bring)
        return pa.chunked_array([pa.Array.from_buffers(values.type, size, [valid, ordered])])

    def _each_block(self, work: Callable[[slice], None]) -> None:
        blocks = blocks_of(len(self._place), _BLOCK)
        for _ in in_threads(work, blocks) if len(blocks) > 1 else map(work, blocks):
            pass


def _counts_up(place: Compact, count: int) -> bool:
    """Return whether places are 0, 1, …, as many as there are."""
    if len(place) != count or place[0] != 0 or place[-1] != count - 1:
        return False
    return bool((place == np.arange(count, dtype=place.dtype)).all())


class _Values:
    """The values of a column, of whole bytes and one width, that wait."""

    def __init__(self, name: str, kind: pa.DataType, size: int) -> None:
        self.name, self.type = name, kind
        self.width = kind.bit_width // 8
        self._word = f"V{self.width}" if self.width > 8 else f"u{self.width}"
        self.buffer = _memory(size * self.width)
        self.waiting = self.words(self.buffer)

    def words(self, buffer: pa.Buffer) -> NDArray[Any]:
        """Return a buffer of such values as NumPy sees it."""
        return np.frombuffer(buffer, self._word)

    def put(self, which: slice | Integers, array: pa.Array, rows: Integers) -> None:
        words = self.words(array.buffers()[1])[array.offset : array.offset + len(array)]
        if isinstance(which, slice):
            words.take(rows, mode="clip", out=self.waiting[which])
        else:
            self.waiting[which] = words.take(rows, mode="clip")


def _memory(size: int) -> pa.Buffer:
    """Return memory of NumPy's, not of Arrow's: its first touch alone took less time."""
    return pa.py_buffer(np.empty(size, np.uint8))


def _null_bits(array: pa.Array, bit: int) -> NDArray[np.uint8]:
    """Return one byte per value, in which a bit says whether it is null."""
    bitmap = ~np.frombuffer(array.buffers()[0], np.uint8)
    null = np.unpackbits(bitmap, bitorder="little")[array.offset : array.offset + len(array)]
    null *= 1 << bit  # takes a fraction of the time of a shift
    return null


def _is_plain(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_temporal(kind)
    )


def _nulls(size: int, kind: pa.DataType | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(size, kind or pa.null())])
