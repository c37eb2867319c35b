"""What a lakehouse says now, in a form that can be recorded: with pyarrow alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

KEYS = {
    "symbols": ("symbol", "valid_from"),
    "absences": ("symbol", "observed_at"),
    "feeds": ("symbol", "observed_at"),
    "accepted_holes": ("market", "timestamp"),
}
"""By folder; every other dataset has ``symbol`` and ``timestamp``."""


def dataset_folders(lakehouse: Path) -> Iterator[str]:
    """Yield the folders of the datasets, relative to the lakehouse."""
    for folder in sorted({path.parent for path in lakehouse.glob("[!_]*/**/date=*")}):
        yield folder.relative_to(lakehouse).as_posix()


def current_rows(lakehouse: Path, folder: str) -> pa.Table:
    """Return the last version of each row, sorted by its key, without the withdrawn bars."""
    files = sorted((lakehouse / folder).glob("date=*/*.parquet"))
    # A file object: the path's `date=` is no column.
    rows = pa.concat_tables(pq.ParquetFile(path).read() for path in files)
    key = KEYS.get(folder, ("symbol", "timestamp"))
    by_created = ["created_timestamp"] if "created_timestamp" in rows.column_names else []
    rows = rows.sort_by([(name, "ascending") for name in (*key, *by_created)])
    keys = list(zip(*(rows[name].to_pylist() for name in key), strict=True))
    last = [own != following for own, following in zip(keys, [*keys[1:], None], strict=True)]
    rows = rows.filter(pa.array(last, pa.bool_()))
    if folder == "ohlcv_1d":
        rows = rows.filter(pc.invert(pc.starts_with(rows["source"], "withdrawn;")))
    return rows


def described(rows: pa.Table) -> dict[str, Any]:
    """Return the number of rows, and of each column the nulls, the sum and a hash of all bits."""
    return {
        "rows": rows.num_rows,
        "columns": {name: _column(rows[name].combine_chunks()) for name in rows.column_names},
    }


def _column(values: pa.Array) -> dict[str, Any]:
    digest = hashlib.sha256("\n".join(map(_written, values.to_pylist())).encode())
    numbers = [value for value in values.to_pylist() if isinstance(value, (int, float))]
    return {
        "type": str(values.type),
        "nulls": values.null_count,
        "sum": math.fsum(numbers) if numbers else None,
        "sha256": digest.hexdigest(),
    }


def _written(value: object) -> str:
    """Write a value so that other bits are another text."""
    if isinstance(value, float):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime) else repr(value)
