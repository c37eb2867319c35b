"""Entity rows in Parquet files, cut by time into slices that a task can answer by itself.

The questions are counted by UTC day first, a row group at a time. In the order of their days, and
within a day of their places, each slice is the next so many of them. So a slice has a bounded
number of questions even where all have one instant, and needs those feature rows alone that are
valid on its days. A slice names the row groups that it has questions in; of files in the order of
time, these are few.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from ingestion.base.columns import Column
from ingestion.base.errors import InputError
from ingestion.base.instants import from_micros, to_micros
from ingestion.plugins.offline.column_types import microseconds
from ingestion.plugins.offline.entities import EntityRows, event_column
from ingestion.plugins.offline.files import UNKNOWN, Location
from ingestion.plugins.offline.lookup import NEVER, Integers
from ingestion.plugins.offline.source import ParquetSource, Piece, stacked

_DAY = to_micros(timedelta(days=1))


@dataclass(frozen=True)
class Slice:
    """Some questions: of the days from the first to the last, without what other slices have."""

    number: int
    pieces: Sequence[Piece]
    """Where there are questions of these days, by file and place."""
    first_day: int = 0
    before: int = 0
    """How many questions of the first day earlier slices have."""
    last_day: int = 0
    until: int = 0
    """How many questions of the last day this slice and earlier ones have."""


@dataclass(frozen=True)
class DayCounts:
    """How many questions a piece has of each UTC day."""

    days: Integers
    """Counted from 1970, ascending."""
    counts: Integers


@dataclass(frozen=True)
class Questions:
    """The entity rows of some Parquet files."""

    source: ParquetSource
    schema: pa.Schema
    """The columns of all files, each in a type that represents what all files have."""
    event: str
    """The column with the instants."""
    pieces: Sequence[Piece]
    """By file and place."""

    @classmethod
    def at(cls, location: Location, event: str | None = None) -> Questions:
        """Look at the footers of a file, or of the files of a folder or glob.

        Parameters
        ----------
        event
            The column with the instants, where it is known.

        Raises
        ------
        InputError
            If there is no file, or one cannot be read.
        EntityTimestampInferenceException
            If no column is named ``event_timestamp`` and not exactly one other is a timestamp.
        """
        schema = ParquetSource(location, "").schema()
        if not schema.names:
            raise InputError(
                f"there is no Parquet file at {location.path}: as text, entity_df is the address "
                "of one or of a folder of them, and no SQL query"
            )
        event = event or event_column(schema.empty_table())
        source = ParquetSource(location, event)
        pieces = sorted(source.pieces(lambda *_: True), key=lambda p: (p.file.number, p.first_row))
        return cls(source, schema, event, pieces)

    @property
    def names(self) -> list[str]:
        """The columns."""
        return list(self.schema.names)

    @property
    def bounds(self) -> tuple[datetime | None, datetime | None]:
        """The first and the last instant, if the footers say them."""
        spans = [piece.span for piece in self.pieces]
        if not spans or UNKNOWN in spans:
            return None, None
        first, last = min(first for first, _ in spans), max(last for _, last in spans)
        return from_micros(first), from_micros(last)

    def rows(self) -> EntityRows:
        """Read all of them.

        Raises
        ------
        InputError
            If a file cannot be read, or was written anew since its footer was read.
        """
        return self._entities(self._read(piece) for piece in self.pieces)

    def rows_of(self, slice_: Slice) -> EntityRows:
        """Read a slice's, by file and place.

        Raises
        ------
        InputError
            As :meth:`rows`.
        """

        def tables() -> Iterator[pa.Table]:
            first, last = slice_.before, slice_.until
            for piece in slice_.pieces:
                table = self._read(piece)
                day = self._days(table)
                kept = (day >= slice_.first_day) & (day <= slice_.last_day)
                at_first = np.flatnonzero(day == slice_.first_day)
                at_last = np.flatnonzero(day == slice_.last_day)
                kept[at_first[: max(first, 0)]] = False
                kept[at_last[max(last, 0) :]] = False
                first, last = first - len(at_first), last - len(at_last)
                yield table if kept.all() else table.filter(pa.array(kept))

        return self._entities(tables())

    def days_of(self, pieces: Sequence[Piece]) -> list[DayCounts]:
        """Count the questions of some pieces.

        Raises
        ------
        InputError
            As :meth:`rows`.
        """
        days = (self._days(self._read(piece, [self.event])) for piece in pieces)
        return [DayCounts(*np.unique(day, return_counts=True)) for day in days]

    def cut(self, counted: Sequence[DayCounts], rows_per_slice: int) -> list[Slice]:
        """Cut into slices of about the same number of questions, and of at most so many.

        Parameters
        ----------
        counted
            Of each piece.

        Returns
        -------
        list of Slice
            At least one; that of no questions has none.
        """
        days = np.unique(np.concatenate([[NEVER], *(each.days for each in counted)]))
        total = np.zeros(len(days), np.int64)
        of_piece = [np.searchsorted(days, each.days) for each in counted]
        for place, each in zip(of_piece, counted, strict=True):
            total[place] += each.counts
        until = np.cumsum(total)
        count = int(until[-1])
        slices = max(-(-count // rows_per_slice), 1)
        if not count:
            return [Slice(0, [])]
        cut = []
        for number in range(slices):
            begin, end = count * number // slices, count * (number + 1) // slices
            first = int(np.searchsorted(until, begin, side="right"))
            last = int(np.searchsorted(until, end))
            pieces = [
                piece
                for piece, place in zip(self.pieces, of_piece, strict=True)
                if np.searchsorted(place, first) < np.searchsorted(place, last, side="right")
            ]
            before, at_last = begin - (until - total)[first], end - (until - total)[last]
            cut.append(
                Slice(number, pieces, int(days[first]), int(before), int(days[last]), int(at_last))
            )
        return cut

    def _read(self, piece: Piece, names: Sequence[str] | None = None) -> pa.Table:
        names = self.schema.names if names is None else names
        columns = [Column(name, self.schema.field(name).type) for name in names]
        try:
            return self.source.read(piece, columns)
        except FileNotFoundError:
            raise InputError(
                f"{piece.file.path} was removed or written anew while its rows were being "
                "answered: ask again"
            ) from None

    def _days(self, table: pa.Table) -> Integers:
        """Return the UTC day of each row; ``NEVER`` without an instant."""
        instants = microseconds(EntityRows.of(table, self.event).times)
        return np.where(instants == NEVER, NEVER, instants // _DAY)

    def _entities(self, tables: Iterable[pa.Table]) -> EntityRows:
        return EntityRows.of(stacked([self.schema.empty_table(), *tables]), self.event)
