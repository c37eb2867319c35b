"""Where the parts of a dataset lie, and reading them.

``<root>/<storage>/date=YYYY-MM-DD/part-<n>.parquet``; anything else in these folders is not ours
and is neither read nor touched here. (Feast's DuckDB store reads every Parquet file it finds.)

Compaction puts another part in the place of those of a date, under a number that none of them had:
who listed the old ones finds them gone, and never something else under their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path, PurePath
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.base.errors import CorruptPart
from ingestion.base.reading import names_in
from ingestion.catalog import DATASETS, Dataset
from ingestion.lakehouse.schema import arrow_schema

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


def read_part(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a part, or some of its columns.

    Raises
    ------
    CorruptPart
        If the file is not readable Parquet, lacks a column of its dataset, or has one of another
        type.
    FileNotFoundError
        If it is gone since it was listed; see :mod:`ingestion.base.reading`.
    """
    rows = read_file(path, columns)
    for dataset in DATASETS:
        if path.parent.parent.parts[-len(_levels(dataset)) :] == _levels(dataset):
            _refuse_another_schema(path, rows, dataset, columns)
    return rows


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
            f"{path} cannot be read ({error}); move it out of the lakehouse and fetch the day again"
        ) from error


def _levels(dataset: Dataset) -> tuple[str, ...]:
    return PurePath(dataset.storage).parts


def _refuse_another_schema(
    path: Path, rows: pa.Table, dataset: Dataset, columns: list[str] | None
) -> None:
    schema = arrow_schema(dataset)
    for name in columns or schema.names:
        wanted, found = (each.get_all_field_indices(name) for each in (schema, rows.schema))
        if wanted and (len(found) != 1 or rows.schema.types[found[0]] != schema.types[wanted[0]]):
            raise CorruptPart(
                f"{path} is not in the schema of {dataset.name} ({name}); move it out of the "
                "lakehouse and fetch the day again"
            )


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
