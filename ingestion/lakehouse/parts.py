"""Where the parts of a dataset lie, and reading them.

``<root>/<storage>/date=YYYY-MM-DD/part-<n>.parquet``; anything else in these folders is not ours
and is neither read nor touched here. (Feast's DuckDB store reads every Parquet file it finds.)

Compaction adds a part that replaces those of a date, under a number that none of them had, and then
removes them (:mod:`ingestion.base.parts`). A reader that has listed the old ones finds them gone,
and never something else under their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.base.columns import read_columns, widened
from ingestion.base.errors import CorruptPart
from ingestion.base.parts import names_in, part_name, part_number, part_numbers, replaced_in
from ingestion.catalog import Dataset
from ingestion.lakehouse.schema import columns_to_read

_PARTITION = re.compile(r"date=(\d{4}-\d{2}-\d{2})")


class Part(NamedTuple):
    """One immutable file of a dataset; parts order by date, then by number."""

    date: date
    number: int
    key: str
    """Where it is below the lakehouse's root, with ``/`` between its levels."""
    root: Path

    @property
    def path(self) -> Path:
        """Where it is on the disk, for messages."""
        return self.root / self.key

    def exists(self) -> bool:
        """Tell whether it is still there."""
        return self.path.exists()

    def size(self) -> int:
        """Return how many bytes it has."""
        return self.path.stat().st_size


def partition_folder(root: Path, dataset: Dataset, day: date) -> Path:
    """Return the folder that holds a UTC day's parts."""
    return root / dataset.storage / f"date={day:%Y-%m-%d}"


def list_parts(root: Path, dataset: Dataset, since: date = date.min) -> list[Part]:
    """Return the parts of a dataset from a partition date on, oldest first.

    Parts that a merged one replaces are left out, whether they are still there or not.
    """
    return sorted(part for part, is_replaced in _listed(root, dataset, since) if not is_replaced)


def replaced_parts(root: Path, dataset: Dataset) -> list[Part]:
    """Return the parts that a merged one replaces and that are still there, oldest first.

    There are some while parts are being merged, and after that was interrupted.
    """
    return sorted(part for part, is_replaced in _listed(root, dataset, date.min) if is_replaced)


def _listed(root: Path, dataset: Dataset, since: date) -> Iterator[tuple[Part, bool]]:
    storage = root / dataset.storage
    for partition in names_in(storage) if storage.is_dir() else ():
        day = partition_date(partition)
        if day is None or day < since:
            continue
        key, folder = f"{dataset.storage}/{partition}", f"{storage}/{partition}"
        try:
            names = names_in(folder)
        except NotADirectoryError:
            continue
        replaced = replaced_in(folder, names)
        for name in names:
            if (number := part_number(name)) is not None:
                yield Part(day, number, f"{key}/{name}", root), name in replaced


def newest_part(root: Path, dataset: Dataset) -> Part | None:
    """Return the part of the highest number of the newest date; None if there is no part."""
    storage = root / dataset.storage
    names = names_in(storage) if storage.is_dir() else []
    for name in sorted(names, reverse=True):
        day, folder = partition_date(name), storage / name
        if day and folder.is_dir() and (numbers := part_numbers(folder)):
            number = max(numbers)
            return Part(day, number, f"{dataset.storage}/{name}/{part_name(number)}", root)
    return None


def read_part(part: Part, dataset: Dataset, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a part, or some of its columns, in the types that the catalog declares.

    A column that was declared after the part was written is null; see
    :mod:`ingestion.base.columns`.

    Parameters
    ----------
    columns
        Names of the dataset's columns, in the wanted order; all of them if not given.

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
    path = part.path
    with _reading(path) as file:
        return read_columns(pq.ParquetFile(file), path, wanted, widened)


def read_file(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file of the lakehouse, whatever its columns are.

    Raises
    ------
    CorruptPart
        If it is not readable Parquet.
    FileNotFoundError
        If it is gone since it was listed; see :mod:`ingestion.base.reading`.
    """
    with _reading(path) as file:
        return pq.ParquetFile(file).read(columns)


def read_metadata(part: Part) -> pq.FileMetaData:
    """Return what a part's footer says; see :func:`read_file`."""
    with _reading(part.path) as file:
        return pq.read_metadata(file)


def read_schema(part: Part) -> pa.Schema:
    """Return the columns and the metadata of a part; see :func:`read_file`."""
    with _reading(part.path) as file:
        return pq.read_schema(file)


@contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    try:
        # A plain open file: the path's `date=` must not become a column.
        with path.open("rb") as file:
            yield file
    except (pa.ArrowException, OSError, KeyError) as error:
        if isinstance(error, FileNotFoundError) and not path.is_symlink():
            raise
        raise CorruptPart(
            f"{path} cannot be read ({error}); put it back from a backup (`tvfeast verify` names "
            "all such files)"
        ) from error


def key_below(root: Path, name: str) -> str | None:
    """Return a place below the root, given so or as a whole path; None for the root, or another."""
    path = root / name
    return path.relative_to(root).as_posix() if root in path.parents else None


def location(root: Path, dataset: Dataset) -> str:
    """Return where a dataset is, as Feast and other programs are to be told."""
    return str(root / dataset.storage)


def is_there(root: Path, key: str) -> bool:
    """Tell whether a part or a run's file is there, by its place below the lakehouse's root."""
    return (root / key).exists()


def utc_date(timestamp: int) -> date:
    """Return the UTC date of a Unix second: the partition that it belongs to."""
    return datetime.fromtimestamp(timestamp, UTC).date()


def partition_date(name: str) -> date | None:
    """Return the date in the name of a partition's folder; None for another name."""
    match = _PARTITION.fullmatch(name)
    try:
        return date.fromisoformat(match[1]) if match else None
    except ValueError:  # date=2026-02-31
        return None
