"""A feature table, and fetching the features of the rows that a query has chosen.

Questions are in no order that the files know: to bring each value straight to its question is to
write where no cache has been. Values of one width, as features are, therefore go in two steps:

1. Out of a file to where its questions' values wait, one behind the other.
2. When all are there, from there to the questions in their order. Each file's values are read from
   the first to the last meanwhile, so the caches contain what comes next.

Values of other types stay in Arrow's hands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.base.columns import Column
from ingestion.plugins.offline.column_types import microseconds, one_chunk
from ingestion.plugins.offline.files import SourceFile
from ingestion.plugins.offline.lookup import NEVER, Integers
from ingestion.plugins.offline.source import ParquetSource, Piece, stacked
from ingestion.plugins.offline.threads import in_threads

_ROW_BITS = 40


@dataclass(frozen=True)
class FeatureTable:
    """A source, and what its columns are."""

    source: ParquetSource
    keys: tuple[Column, ...]
    event: Column
    created: Column | None
    features: tuple[Column, ...]

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


def row_numbers(piece: Piece, rows: int) -> Integers:
    """Return numbers for a piece's rows: by file, and within a file by place."""
    first = (piece.file.number << _ROW_BITS) + piece.first_row
    return np.arange(first, first + rows)


def fetch(
    source: ParquetSource,
    files: dict[int, SourceFile],
    numbers: Integers,
    columns: Sequence[Column],
) -> list[pa.ChunkedArray]:
    """Read rows by their numbers; each file once, and of it the row groups that are needed.

    Parameters
    ----------
    files
        By their own numbers.
    numbers
        Shape ``(n,)``, in any order, some perhaps several times; −1 makes a row of nulls.

    Returns
    -------
    list of pa.ChunkedArray
        For each column its ``n`` values.
    """
    asked = np.flatnonzero(numbers >= 0)
    by_file = numbers[asked] >> _ROW_BITS
    # Integers of one or two bytes are sorted by radix.
    narrow = by_file.astype(np.min_scalar_type(by_file.max(initial=0)))
    asked = asked[np.argsort(narrow, kind="stable")]
    places = numbers[asked] & ((1 << _ROW_BITS) - 1)
    counts = np.bincount(by_file)
    ends = np.cumsum(counts)
    answer = Gathered(columns, asked, len(numbers))

    def get(file: int) -> None:
        begin, end = ends[file] - counts[file], ends[file]
        rows = places[begin:end]
        for first, table in source.groups(files[file], rows, columns):
            here = (rows >= first) & (rows < first + table.num_rows)
            if here.all():
                answer.put(slice(begin, end), table, rows - first)
            else:
                answer.put(begin + np.flatnonzero(here), table, rows[here] - first)

    for _ in in_threads(get, np.flatnonzero(counts).tolist() if columns else []):
        pass
    return answer.columns()


_MARKS = 8
"""Columns whose nulls are the bits of one byte per row."""


class Gathered:
    """Columns of an answer.

    Parameters
    ----------
    asked
        The questions that get a row, in the order of the files that have it, shape ``(n,)``.
    size
        How many questions there are; those that get no row are null.
    """

    def __init__(self, columns: Sequence[Column], asked: Integers, size: int) -> None:
        self._columns, self._asked, self._size = columns, asked, size
        self._plain = [
            _Values(column.name, column.type, size)
            for column in columns
            if column.type is not None and _is_plain(column.type)
        ]
        self._null = np.zeros((-(-len(self._plain) // _MARKS), size), np.uint8)
        plain = {values.name for values in self._plain}
        self._others = [column.name for column in columns if column.name not in plain]
        self._taken: list[tuple[Integers, pa.Table]] = []

    def put(self, which: slice | Integers, table: pa.Table, rows: Integers) -> None:
        """Give some of the asked, by their place among them, a row of a table each.

        Threads may at once, each to others.
        """
        null = np.zeros((len(self._null), table.num_rows), np.uint8)
        for number, values in enumerate(self._plain):
            array = one_chunk(table[values.name])
            values.put(which, array, rows)
            if array.null_count:
                null[number // _MARKS] |= _null_bits(array) << number % _MARKS
        for waiting, marks in zip(self._null, null, strict=True):
            if marks.any():
                waiting[which] = marks.take(rows, mode="clip")
        if self._others:
            taken = table.select(self._others).take(pa.array(rows))
            self._taken.append((self._asked[which], taken))

    def columns(self) -> list[pa.ChunkedArray]:
        """Return each column's values, in the order of the questions; to be called once, at last.

        Raises
        ------
        CorruptPart
            If the tables do not agree on the type of a column that has none declared.
        """
        columns = self._in_order() if len(self._asked) else {}
        return [
            columns.get(column.name, _nulls(self._size, column.type)) for column in self._columns
        ]

    def _in_order(self) -> dict[str, pa.ChunkedArray]:
        place = np.full(self._size, -1)
        place[self._asked] = np.arange(len(self._asked))
        answered = place >= 0
        null = [waiting.take(place, mode="clip") for waiting in self._null]
        spares: dict[int, list[pa.Buffer]] = defaultdict(list)

        def ordered(number: int) -> tuple[str, pa.ChunkedArray]:
            values, bit = self._plain[number], 1 << number % _MARKS
            valid = answered & (null[number // _MARKS] & bit == 0)
            return values.name, values.ordered(place, valid, spares)

        columns = dict(in_threads(ordered, range(len(self._plain))))
        if self._taken:
            questions, tables = zip(*self._taken, strict=True)
            place[np.concatenate(questions)] = np.arange(len(self._asked))
            rows = stacked(tables).take(pa.array(place, mask=~answered))
            columns |= zip(rows.column_names, rows.columns, strict=True)
        return columns


class _Values:
    """The values of a column, of whole bytes and one width, that wait."""

    def __init__(self, name: str, kind: pa.DataType, size: int) -> None:
        self.name, self._type = name, kind
        width = kind.bit_width // 8
        self._word = f"V{width}" if width > 8 else f"u{width}"
        self._buffer = pa.allocate_buffer(size * width)
        self._words = np.frombuffer(self._buffer, self._word)

    def put(self, which: slice | Integers, array: pa.Array, rows: Integers) -> None:
        words = np.frombuffer(array.buffers()[1], self._word)
        words = words[array.offset : array.offset + len(array)]
        if isinstance(which, slice):
            words.take(rows, mode="clip", out=self._words[which])
        else:
            self._words[which] = words.take(rows, mode="clip")

    def ordered(
        self, place: Integers, valid: NDArray[np.bool_], spares: dict[int, list[pa.Buffer]]
    ) -> pa.ChunkedArray:
        """Return them in order; where they waited becomes a spare, by width, and one is used."""
        fitting = spares[self._words.itemsize]
        ordered = fitting.pop() if fitting else pa.allocate_buffer(self._buffer.size)
        self._words.take(place, mode="clip", out=np.frombuffer(ordered, self._word))
        fitting.append(self._buffer)
        bits = pa.py_buffer(np.packbits(valid, bitorder="little"))
        return pa.chunked_array([pa.Array.from_buffers(self._type, len(place), [bits, ordered])])


def _null_bits(array: pa.Array) -> NDArray[np.uint8]:
    """Return one byte per value: whether it is null."""
    valid = np.unpackbits(np.frombuffer(array.buffers()[0], np.uint8), bitorder="little")
    null: NDArray[np.uint8] = 1 - valid[array.offset : array.offset + len(array)]
    return null


def _is_plain(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_temporal(kind)
    )


def _nulls(size: int, kind: pa.DataType | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(size, kind or pa.null())])
