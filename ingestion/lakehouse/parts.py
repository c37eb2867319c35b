"""Where the parts of a dataset lie, and reading them.

``<root>/<storage>/date=YYYY-MM-DD/part-<n>.parquet``; anything else in these folders is not ours
and is neither read nor touched here. (Feast's DuckDB store reads every Parquet file it finds.)

Compaction puts another part in the place of those of a date, under a number that none of them had:
who listed the old ones finds them gone, and never something else under their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.catalog import Dataset
from ingestion.errors import CorruptPart

_PARTITION = re.compile(r"date=(\d{4}-\d{2}-\d{2})")
_PART = re.compile(r"part-(0|[1-9]\d*)\.parquet")
_ATTEMPTS = 5

Made = TypeVar("Made")


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
        for partition in folder.iterdir()
        if (day := partition_date(partition)) is not None and day >= since
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
        If the file is not readable Parquet or lacks a column.
    FileNotFoundError
        If it is gone since it was listed; see :func:`reading_again`.
    """
    try:
        # A plain open file: the path's `date=` must not become a column.
        with path.open("rb") as file:
            return pq.ParquetFile(file).read(columns)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, KeyError) as error:
        raise CorruptPart(
            f"{path} cannot be read ({error}); move it out of the lakehouse and fetch the day again"
        ) from error


def reading_again(read: Callable[[], Made]) -> Made:
    """List and read, and once more if a part vanished in between: compaction replaces parts.

    For readers that do not hold the lakehouse lock, which keeps compaction away.

    Raises
    ------
    FileNotFoundError
        If parts vanish faster than they can be read.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return read()
        except FileNotFoundError:
            continue
    return read()


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
