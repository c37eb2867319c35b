"""A source's columns by their part, and reading the rows that a join or a ranking has chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ingestion.base.columns import Column
from ingestion.plugins.offline.files import SourceFile
from ingestion.plugins.offline.gather import Gathered
from ingestion.plugins.offline.instants import microseconds
from ingestion.plugins.offline.lookup import NEVER, Integers
from ingestion.plugins.offline.prefetch import in_threads
from ingestion.plugins.offline.source import ParquetSource, Piece

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
