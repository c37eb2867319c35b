"""Sources for the tests: rows as dictionaries, written as files in whatever layout."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from ingestion.base.columns import INSTANT, Column
from ingestion.plugins.offline.fetch import FeatureTable
from ingestion.plugins.offline.files import Location
from ingestion.plugins.offline.source import ParquetSource

TYPES = {
    "symbol": pa.string(),
    "RSI": pa.float64(),
    "name_y": pa.string(),
    "event_timestamp": INSTANT,
    "created_timestamp": INSTANT,
}


def write(path: Path, rows: Iterable[dict], types: dict[str, pa.DataType] = TYPES, **how) -> Path:
    """Write rows to a file, in columns of those types and no others."""
    rows = list(rows)
    arrays = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in types.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays), path, **how)
    return path


def source(path: Path | str, *, dated: bool = False) -> ParquetSource:
    return ParquetSource(Location(fs.LocalFileSystem(), str(path), dated), "event_timestamp")


def feature_table(path: Path | str, *features: str, dated: bool = False) -> FeatureTable:
    """Describe a source of ``TYPES``."""
    return FeatureTable(
        source=source(path, dated=dated),
        keys=(Column("symbol", pa.string(), True),),
        event=Column("event_timestamp", INSTANT, True),
        created=Column("created_timestamp", INSTANT),
        features=tuple(Column(name, TYPES[name]) for name in features or ("RSI", "name_y")),
    )
