"""Reading a Parquet source: only the columns, the files and the row groups that are needed."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.base.columns import Column, read_columns, stored_columns
from ingestion.base.errors import CorruptPart, InputError
from ingestion.base.instants import to_micros
from ingestion.base.reading import reading_again
from ingestion.plugins.offline.column_types import conform
from ingestion.plugins.offline.files import (
    UNKNOWN,
    Location,
    SourceFile,
    Span,
    is_local,
    list_files,
    state,
)
from ingestion.plugins.offline.lookup import Integers
from ingestion.plugins.offline.object_files import object_files
from ingestion.plugins.offline.threads import Given, Made, in_flight, in_threads


@dataclass(frozen=True)
class Piece:
    """What is read at once: a file of a partition date, or one row group of another."""

    file: SourceFile
    span: Span
    row_group: int | None
    first_row: int
    """Where it begins in its file."""


class ParquetSource:
    """The files of one source.

    Reading one that is gone, or is another than when it was listed, raises ``FileNotFoundError``:
    list again.

    Parameters
    ----------
    event
        The column whose statistics say which times a row group contains.
    """

    def __init__(self, location: Location, event: str) -> None:
        self._location = location
        self._event = event
        self._seen: set[str] = set()

    def at_once(self, work: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[Made]:
        """Yield the results in order of what reads files of the source, made ahead by threads."""
        return (in_threads if is_local(self._location.filesystem) else in_flight)(work, items)

    def pieces(self, needs: Callable[[int, int], bool]) -> list[Piece]:
        """List what may contain needed events, the newest last event first.

        Raises
        ------
        CorruptPart
            If a file's footer cannot be read.
        """
        files = list_files(self._location, needs)
        undated = [file for file in files if file.span is None]
        pieces = [Piece(file, file.span, None, 0) for file in files if file.span is not None]
        for found in self.at_once(self._row_groups, undated):
            pieces.extend(piece for piece in found if needs(*piece.span))
        return sorted(pieces, key=lambda piece: piece.span[1], reverse=True)

    def read(self, piece: Piece, columns: Sequence[Column]) -> pa.Table:
        """Read a piece in the declared types.

        Raises
        ------
        CorruptPart
            If the file cannot be read.
        InputError
            If a column is not of its declared type.
        """
        groups = None if piece.row_group is None else [piece.row_group]
        with self._opened(piece.file) as (opened, content):
            return self._read(opened, piece.file, groups, columns, content)

    def groups(
        self, file: SourceFile, rows: Integers, columns: Sequence[Column]
    ) -> Iterator[tuple[int, pa.Table]]:
        """Read the row groups that some rows are in.

        Parameters
        ----------
        rows
            Their places in the file, shape ``(k,)``.

        Yields
        ------
        tuple
            Where a row group begins in the file, and its rows.
        """
        with self._opened(file) as (opened, _):
            footer, begin = opened.metadata, 0
            for group in range(footer.num_row_groups):
                end = begin + footer.row_group(group).num_rows
                if ((rows >= begin) & (rows < end)).any():
                    yield begin, self._read(opened, file, [group], columns)
                begin = end

    def refuse_unknown(self, columns: Iterable[Column]) -> None:
        """Refuse columns that no file has, after the files of a question were read.

        A file that lacks a column is older than it, and reads as null. Where all files that were
        read lack it, the newest file of the source decides.

        Raises
        ------
        InputError
            If that file lacks it too: the name is wrong, in the declaration or in the files.
        """
        if not {column.name for column in columns} - self._seen:
            return

        def newest() -> SourceFile | None:
            files = list_files(self._location, lambda *_: True)
            file = max(files, key=lambda file: (file.span or UNKNOWN, file.number), default=None)
            if file is not None:
                with self._opened(file) as (opened, _):
                    self._seen |= {*opened.schema_arrow.names, *file.constants}
            return file

        file = reading_again(newest)
        unknown = [column.name for column in columns if column.name not in self._seen]
        if file is not None and unknown:
            has = ", ".join(sorted(self._seen))
            raise InputError(
                f"no column {', '.join(unknown)} in {self._location.path}: neither the files that "
                f"were asked nor the newest one, {file.path}, have it; they have {has}. Correct "
                "the declaration, or write the column"
            )

    def schema(self) -> pa.Schema:
        """Return all columns of all files, each in a type that represents what all files have.

        Raises
        ------
        CorruptPart
            If the files' types of a column have nothing in common.
        """

        def columns_of(file: SourceFile) -> pa.Schema:
            with self._opened(file) as (opened, _):
                return opened.schema_arrow.remove_metadata()

        def read() -> list[pa.Schema]:
            files = list_files(self._location, lambda *_: True)
            return list(dict.fromkeys(self.at_once(columns_of, files)))

        schemas = reading_again(read) or [pa.schema([])]
        try:
            return pa.unify_schemas(schemas, promote_options="permissive")
        except pa.ArrowException as error:
            raise CorruptPart(
                f"the files of {self._location.path} do not agree on a column's type ({error}): "
                "rewrite those that differ"
            ) from None

    def _row_groups(self, file: SourceFile) -> list[Piece]:
        with self._opened(file) as (opened, _):
            footer, leaves = opened.metadata, range(len(opened.schema))
            column = next((n for n in leaves if opened.schema.column(n).path == self._event), None)
            pieces, first_row = [], 0
            for group in range(footer.num_row_groups):
                pieces.append(Piece(file, _span(footer, group, column), group, first_row))
                first_row += footer.row_group(group).num_rows
            return pieces

    @contextmanager
    def _opened(self, file: SourceFile) -> Iterator[tuple[pq.ParquetFile, pa.NativeFile | None]]:
        """Open a file; its content is with it where it is at hand."""
        filesystem = self._location.filesystem
        try:
            if (objects := object_files(filesystem)) is not None:
                with pq.ParquetFile(objects.listed(file.path, file.state)) as opened:
                    yield opened, None
                return
            local = is_local(filesystem)
            with (
                filesystem.open_input_file(file.path) as content,
                # Fetching columns ahead is for filesystems that are far away.
                pq.ParquetFile(content, pre_buffer=not local) as opened,
            ):
                if state(filesystem.get_file_info(file.path)) != file.state:
                    raise FileNotFoundError(errno.ENOENT, "replaced since it was listed", file.path)
                yield opened, content if local else None
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise CorruptPart(
                f"{file.path} cannot be read ({error}); put it back from a backup, or write it anew"
            ) from error

    def _read(
        self,
        opened: pq.ParquetFile,
        file: SourceFile,
        groups: list[int] | None,
        columns: Sequence[Column],
        content: pa.NativeFile | None = None,
    ) -> pa.Table:
        stored = stored_columns(opened)
        self._seen |= {*stored.names, *file.constants}
        return read_columns(
            opened,
            file.path,
            columns,
            _conformed,
            row_groups=groups,
            constants=file.constants,
            stored=stored,
            content=content,
        )


def _conformed(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    return conform(values, column.type, seconds=column.seconds)


def stacked(tables: Iterable[pa.Table]) -> pa.Table:
    """Put tables one below the other, in types that represent what all of them have.

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


def _span(footer: pq.FileMetaData, group: int, column: int | None) -> Span:
    """Return the span that a row group's statistics give."""
    statistics = None if column is None else footer.row_group(group).column(column).statistics
    if statistics is None or not statistics.has_min_max:
        return UNKNOWN
    try:
        return to_micros(statistics.min), to_micros(statistics.max)
    except (AttributeError, TypeError, ValueError, OverflowError):
        # No timestamp, or none that Python can represent: reading the rows will show.
        return UNKNOWN
