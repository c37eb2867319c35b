"""Where the parts of a dataset lie, and reading them.

``<root>/<storage>/date=YYYY-MM-DD/part-<n>.parquet``; anything else in these folders is not ours
and is neither read nor touched here. (Feast's DuckDB store reads every Parquet file it finds.)

Compaction puts another part in the place of those of a date, under a number that none of them had:
who listed the old ones finds them gone, and never something else under their names.
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
from ingestion.base.reading import names_in
from ingestion.catalog import Dataset
from ingestion.lakehouse.schema import columns_to_read

_PARTITION = re.compile(r"date=(\d{4}-\d{2}-\d{2})")
_PART = re.compile(r"part-(0|[1-9]\d*)\.parquet")


class Part(NamedTuple):
    """One immutable file of a dataset; parts order by date, then by number."""

    date: date
    number: int
    path: Path


def partition_folder(root: Path, dataset: Dataset, day: date) -> Path:
    """Return the folder that holds a UTC day's parts."""
    return root / dataset.storage / f"date={day:%Y-%m-%d}"


def part_name(number: int) -> str:
    """Return the file name of a partition's n-th part."""
    return f"part-{number}.parquet"


def list_parts(root: Path, dataset: Dataset, since: date = date.min) -> list[Part]:
    """Return the parts of a dataset from a partition date on, oldest first."""
    folder = root / dataset.storage
    if not folder.is_dir():
        return []
    return sorted(
        Part(day, number, path)
        for name in names_in(folder)
        if (day := partition_date(partition := folder / name)) is not None and day >= since
        for path in partition.iterdir()
        if (number := part_number(path)) is not None
    )


def part_numbers(folder: Path) -> list[int]:
    """Return the numbers of the parts in a partition's folder, in no particular order."""
    return [number for path in folder.iterdir() if (number := part_number(path)) is not None]


def read_part(path: Path, dataset: Dataset, columns: Sequence[str] | None = None) -> pa.Table:
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


def read_metadata(path: Path) -> pq.FileMetaData:
    """Return what a part's footer says; see :func:`read_file`."""
    with _reading(path) as file:
        return pq.read_metadata(file)


def read_schema(path: Path) -> pa.Schema:
    """Return the columns and the metadata of a part; see :func:`read_file`."""
    with _reading(path) as file:
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


def utc_date(timestamp: int) -> date:
    """Return the UTC date of a Unix second: the partition that it belongs to."""
    return datetime.fromtimestamp(timestamp, UTC).date()


def partition_date(path: Path) -> date | None:
    """Return the date of a partition's folder; None if it is none."""
    match = _PARTITION.fullmatch(path.name)
    if match is None or not path.is_dir():
        return None
    try:
        return date.fromisoformat(match[1])
    except ValueError:  # date=2026-02-31
        return None


def part_number(path: Path) -> int | None:
    """Return the number of a part's file; None if it is not named like one."""
    match = _PART.fullmatch(path.name)
    return int(match[1]) if match else None
