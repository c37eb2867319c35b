"""Where the parts of a dataset lie, and reading them.

``<root>/<storage>/date=YYYY-MM-DD/part-<n>.parquet``; anything else in these folders is not ours
and is neither read nor touched here. (Feast's DuckDB store reads every Parquet file it finds.)

Compaction adds a part that replaces those of a date, under a number that none of them had, and then
removes them (:mod:`ingestion.base.parts`). A reader that has listed the old ones finds them gone,
and never something else under their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.base.arrow import empty_table
from ingestion.base.columns import read_columns, widened
from ingestion.base.errors import CorruptPart
from ingestion.base.parts import hash_of, part_name, part_number, part_numbers
from ingestion.catalog import Dataset
from ingestion.lakehouse.backend import Folder, Lakehouse
from ingestion.lakehouse.schema import columns_to_read

_PARTITION = "date="


class StoredFile:
    """A file of the lakehouse. As text it is its location, and so it is in results."""

    __slots__ = ()

    key: str
    lakehouse: Lakehouse

    def __str__(self) -> str:
        return self.lakehouse.location(self.key)

    def document(self) -> str:
        """Return what results as JSON say of it."""
        return str(self)

    @property
    def path(self) -> Path:
        """Where it is, if that is a local disk."""
        return Path(str(self))

    def exists(self) -> bool:
        """Return whether it is there, as far as this user may look."""
        try:
            return self.lakehouse.exists(self.key)
        except PermissionError:
            return False

    def size(self) -> int:
        """Return how many bytes it has."""
        return self.lakehouse.size(self.key)

    def read(self) -> bytes:
        """Return its content.

        Raises
        ------
        OSError
            If it is not there, or cannot be read.
        """
        with self.lakehouse.open(self.key) as file:
            return file.read()

    def sha256(self) -> str:
        """Return the hash of its content; errors as of :meth:`read`."""
        with self.lakehouse.open(self.key) as file:
            return hash_of(file)


class _PartFields(NamedTuple):
    date: date
    number: int
    key: str
    lakehouse: Lakehouse


class Part(StoredFile, _PartFields):
    """One immutable file of a dataset; parts order by date, then by number."""

    __slots__ = ()


def partition_folder(dataset: Dataset, day: date) -> str:
    """Return the folder of a UTC day's parts."""
    return f"{dataset.storage}/{partition_name(day)}"


def list_parts(
    lakehouse: Lakehouse, dataset: Dataset, since: date = date.min, until: date = date.max
) -> list[Part]:
    """Return the parts of a dataset from one partition date to another, oldest first.

    Both dates are included; the folders of others are not looked into. Parts that a merged one
    replaces are left out, whether they are still there or not.
    """
    folders = lakehouse.folders(dataset.storage, partition_name(since), partition_name(until))
    return [part for folder in folders for part in _parts_in(folder, lakehouse)]


def days_back(
    lakehouse: Lakehouse, dataset: Dataset, last: date = date.max
) -> Iterator[tuple[date, list[Part]]]:
    """Yield partition dates up to one, and their parts, the newest first; a date without is none.

    Of years of history, the dates that the caller does not come to are not looked into.
    """
    for day in reversed(list_dates(lakehouse, dataset)):
        if day <= last and (parts := parts_of(lakehouse, dataset, day)):
            yield day, parts


def list_dates(lakehouse: Lakehouse, dataset: Dataset) -> list[date]:
    """Return the partition dates of a dataset, in their order; of one there may be no part.

    Of years of history that takes a hundredth of the time in which all parts are listed.
    """
    found = map(partition_date, lakehouse.names(dataset.storage))
    return sorted(day for day in found if day is not None)


def parts_of(lakehouse: Lakehouse, dataset: Dataset, day: date) -> list[Part]:
    """Return the parts of one partition date, as :func:`list_parts` does."""
    with suppress(NotADirectoryError):
        return _parts_in(lakehouse.folder(partition_folder(dataset, day)), lakehouse)
    return []


def replaced_parts(lakehouse: Lakehouse, dataset: Dataset) -> list[Part]:
    """Return the parts that a merged one replaces and that are still there, oldest first.

    There are some while parts are being merged, and after that was interrupted.
    """
    return [
        part
        for folder in lakehouse.folders(dataset.storage)
        for part in _parts_in(
            folder._replace(files=folder.replaced, replaced=frozenset()), lakehouse
        )
    ]


def _parts_in(folder: Folder, lakehouse: Lakehouse) -> list[Part]:
    """Return the parts in a folder that no other one there replaces; none if it is of no date."""
    day = partition_date(folder.key.rpartition("/")[2])
    if day is None:
        return []
    return sorted(
        Part(day, number, f"{folder.key}/{name}", lakehouse)
        for name in {*folder.files} - folder.replaced
        if (number := part_number(name)) is not None
    )


def newest_part(lakehouse: Lakehouse, dataset: Dataset) -> Part | None:
    """Return the part of the highest number of the newest date; None if there is no part."""
    for name in sorted(lakehouse.names(dataset.storage), reverse=True):
        if day := partition_date(name):
            folder = f"{dataset.storage}/{name}"
            with suppress(NotADirectoryError):
                if numbers := part_numbers(lakehouse.names(folder)):
                    number = max(numbers)
                    return Part(day, number, f"{folder}/{part_name(number)}", lakehouse)
    return None


def read_part(
    part: Part,
    dataset: Dataset,
    columns: Sequence[str] | None = None,
    *,
    unless: Callable[[pq.FileMetaData], bool] = lambda _: False,
) -> pa.Table:
    """Read a part, or some of its columns, in the types that the catalog declares.

    A column that was declared after the part was written is null; see
    :mod:`ingestion.base.columns`.

    Parameters
    ----------
    columns
        Names of the dataset's columns, in the wanted order; all of them if not given.
    unless
        Given the footer, says whether no row is wanted.

    Raises
    ------
    CorruptPart
        If the file is not readable Parquet, differs from its record of its columns, or lacks a
        column that may not be null.
    InputError
        If a column is declared with a type that the stored one cannot widen to.
    FileNotFoundError
        If it is gone since it was listed; see :mod:`ingestion.base.reading`.
    """
    wanted = columns_to_read(dataset, columns)
    with _reading(part) as file:
        parquet = pq.ParquetFile(file)
        if unless(parquet.metadata):
            return empty_table(pa.schema([(column.name, column.type) for column in wanted]))
        return read_columns(parquet, str(part), wanted, widened, content=file)


def read_file(file: StoredFile, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file of the lakehouse, whatever its columns are.

    Raises
    ------
    CorruptPart
        If it is not readable Parquet.
    FileNotFoundError
        If it is gone since it was listed; see :mod:`ingestion.base.reading`.
    """
    with _reading(file) as opened:
        return pq.ParquetFile(opened).read(columns)


def read_metadata(part: Part) -> pq.FileMetaData:
    """Return what a part's footer says; see :func:`read_file`."""
    with _reading(part) as file:
        return pq.read_metadata(file)


def read_schema(part: Part) -> pa.Schema:
    """Return the columns and the metadata of a part; see :func:`read_file`."""
    with _reading(part) as file:
        return pq.read_schema(file)


@contextmanager
def _reading(stored: StoredFile) -> Iterator[BinaryIO]:
    try:
        # A plain open file: the `date=` of its folder must not become a column.
        with stored.lakehouse.open(stored.key) as file:
            yield file
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, KeyError) as error:
        raise CorruptPart(
            f"{stored} cannot be read ({error}); put it back from a backup (`tvfeast verify` names "
            "all such files)"
        ) from error


def utc_date(timestamp: int) -> date:
    """Return the UTC date of a Unix second: the partition that it belongs to."""
    return datetime.fromtimestamp(timestamp, UTC).date()


def partition_name(day: date) -> str:
    """Return the name of the folder of a UTC day's parts."""
    return f"{_PARTITION}{day.isoformat()}"


@lru_cache(maxsize=1 << 14)
def partition_date(name: str) -> date | None:
    """Return the date in the name of a partition's folder; None for another name."""
    prefix, text = name[: len(_PARTITION)], name[len(_PARTITION) :]
    try:
        day = date.fromisoformat(text) if prefix == _PARTITION else None
    except ValueError:  # date=2026-02-31
        return None
    # It reads 20260131 too, and the days of weeks.
    return day if day is not None and day.isoformat() == text else None
