"""What ``make bench-feast`` measures on: generated rows, and a Feast repository on them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore

SEED = 20260116
FEATURES = tuple(f"f{number:02}" for number in range(14))
FIRST = datetime(2024, 8, 1, 21, 0, tzinfo=UTC)
OURS = {
    "offline_store": "ingestion.plugins.asof.AsofOfflineStore",
    "online_store": "ingestion.plugins.wide_sqlite.WideSqliteOnlineStore",
    "batch_engine": "ingestion.plugins.engine.ArrowComputeEngine",
}
STOCK = {"offline_store": "duckdb", "online_store": "sqlite", "batch_engine": "local"}

_INSTANT = pa.timestamp("us", "UTC")


def symbols(count: int) -> list[str]:
    """Return that many symbols, sorted."""
    return sorted(f"BENCH{number % 7}:S{number:06}" for number in range(count))


def event(day: int) -> datetime:
    """Return when a day's rows became knowable."""
    return FIRST + timedelta(days=day)


def write_panel(folder: Path, count: int, days: int, features: Sequence[str] = FEATURES) -> None:
    """Write one row per symbol and day, one file per day; one value in a hundred is null."""
    rng = np.random.default_rng(SEED)
    names = pa.array(symbols(count))
    for day in range(days):
        known = pa.repeat(pa.scalar(event(day), _INSTANT), count)
        written = pa.repeat(pa.scalar(event(day) + timedelta(seconds=5), _INSTANT), count)
        values = {
            name: pa.array(rng.normal(0, 10, count), mask=rng.random(count) < 0.01)
            for name in features
        }
        partition = folder / f"date={event(day):%Y-%m-%d}"
        partition.mkdir(parents=True)
        rows = {"symbol": names, **values, "event_timestamp": known, "created_timestamp": written}
        pq.write_table(pa.table(rows), partition / "part-0.parquet", compression="zstd")


def questions(count: int, first_day: int, last_day: int, rows: int) -> pd.DataFrame:
    """Return what training asks: random symbols at random microseconds of a range of days."""
    import pandas as pd

    rng = np.random.default_rng(SEED + 1)
    span = int((event(last_day) - event(first_day)) / timedelta(microseconds=1))
    start = int(event(first_day).timestamp()) * 1_000_000
    instants = start + rng.integers(0, span, rows)
    names = np.array(symbols(count), dtype=object)[rng.integers(0, count, rows)]
    stamps = pd.Series(instants.astype("datetime64[us]")).dt.tz_localize("UTC")
    return pd.DataFrame({"symbol": names, "event_timestamp": stamps})


def make_repository(
    folder: Path, panel: Path, stores: dict[str, str], ttl: timedelta | None
) -> None:
    """Write a ``feature_store.yaml`` and apply one view of the panel."""
    from feast import Entity, FeatureView, Field, FileSource, ValueType
    from feast.data_format import ParquetFormat
    from feast.types import Float64, String

    folder.mkdir(parents=True)
    (folder / "feature_store.yaml").write_text(
        "project: bench\nprovider: local\nentity_key_serialization_version: 3\n"
        f"registry: {{path: {folder / 'registry.db'}, cache_ttl_seconds: 3600}}\n"
        f"offline_store: {{type: {stores['offline_store']}}}\n"
        f"online_store: {{type: {stores['online_store']}, path: {folder / 'online.db'}}}\n"
        f"batch_engine: {{type: {stores['batch_engine']}}}\n"
    )
    symbol = Entity(name="symbol", join_keys=["symbol"], value_type=ValueType.STRING)
    source = FileSource(
        name="panel",
        path=str(panel),
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
        tags={"partition_date": "event_utc"},
    )
    view = FeatureView(
        name="panel",
        entities=[symbol],
        ttl=ttl,
        schema=[
            Field(name="symbol", dtype=String),
            *(Field(name=name, dtype=Float64) for name in FEATURES),
        ],
        source=source,
    )
    open_store(folder).apply([symbol, view])


def open_store(folder: Path) -> FeatureStore:
    """Open a repository."""
    from feast import FeatureStore

    return FeatureStore(repo_path=str(folder))
