"""A source's columns by their part, and reading the rows that a join or a ranking has chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from feature_repo.stores.files import SourceFile
from feature_repo.stores.gather import gather
from feature_repo.stores.instants import microseconds
from feature_repo.stores.join import NEVER, Integers
from feature_repo.stores.source import Column, ParquetSource, Piece, in_threads
from ingestion.errors import CorruptPart

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
    if not len(asked) or not columns:
        return [pa.chunked_array([pa.nulls(len(numbers), c.type or pa.null())]) for c in columns]
    by_file = numbers[asked] >> _ROW_BITS
    # Sixteen bits are sorted by radix.
    narrow = by_file.astype(np.uint16) if by_file.max() < 1 << 16 else by_file
    asked = asked[np.argsort(narrow, kind="stable")]
    counts = np.bincount(by_file)
    place = np.full(len(numbers), -1)
    wanted: list[tuple[SourceFile, Integers]] = []
    begin = read = 0
    for file in np.flatnonzero(counts).tolist():
        questions = asked[begin : begin + counts[file]]
        rows = numbers[questions] & ((1 << _ROW_BITS) - 1)
        used = np.zeros(int(rows.max()) + 1, dtype=bool)
        used[rows] = True
        place[questions] = (read - 1 + np.cumsum(used))[rows]
        wanted.append((files[file], np.flatnonzero(used)))
        begin, read = begin + len(questions), read + len(wanted[-1][1])
    tables = in_threads(lambda each: source.take(*each, columns), wanted)
    return _spread(stacked(tables), place)


def stacked(tables: Iterable[pa.Table]) -> pa.Table:
    """Put tables one below the other, in types that hold what all of them have.

    Raises
    ------
    CorruptPart
        If there are none for a column.
    """
    try:
        return pa.concat_tables(list(tables), promote_options="permissive")
    except pa.ArrowException as error:
        raise CorruptPart(
            f"the source's files do not agree on a column's type ({error}): rewrite those that "
            "differ, or declare the column's type"
        ) from None


def _spread(rows: pa.Table, places: Integers) -> list[pa.ChunkedArray]:
    """Take rows into the order of the questions, a column at a time: each is let go after."""
    columns = dict(zip(rows.column_names, rows.columns, strict=True))
    names = rows.column_names
    del rows
    return list(in_threads(lambda name: gather(columns.pop(name), places), names))
