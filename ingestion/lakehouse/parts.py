"""Where the parts of a dataset lie, and reading them.

``<root>/<storage>/date=YYYY-MM-DD/part-<n>.parquet``; anything else in these folders is not ours
and is neither read nor touched here. (Feast's DuckDB store reads every Parquet file it finds.)
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.catalog import Dataset
from ingestion.errors import CorruptPart

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
        for partition in folder.iterdir()
        if (day := _partition_date(partition)) is not None and day >= since
        for path in partition.iterdir()
        if (number := _part_number(path)) is not None
    )


def part_numbers(folder: Path) -> list[int]:
    """Return the numbers of the parts in a partition's folder, in no particular order."""
    return [number for path in folder.iterdir() if (number := _part_number(path)) is not None]


def read_part(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a part, or some of its columns.

    Raises
    ------
    CorruptPart
        If the file is not readable Parquet or lacks a column.
    """
    try:
        # A plain open file: the path's `date=` must not become a column.
        with path.open("rb") as file:
            return pq.ParquetFile(file).read(columns)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise CorruptPart(
            f"{path} cannot be read ({error}); move it out of the lakehouse and fetch the day again"
        ) from error


def utc_date(timestamp: int) -> date:
    """Return the UTC date of a Unix second: the partition that it belongs to."""
    return datetime.fromtimestamp(timestamp, UTC).date()


def _partition_date(path: Path) -> date | None:
    match = _PARTITION.fullmatch(path.name)
    if match is None or not path.is_dir():
        return None
    try:
        return date.fromisoformat(match[1])
    except ValueError:  # date=2026-02-31
        return None


def _part_number(path: Path) -> int | None:
    match = _PART.fullmatch(path.name)
    return int(match[1]) if match else None
