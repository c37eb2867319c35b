"""A Feast repository in a folder of its own, on the as-of store or a stock one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.data_format import ParquetFormat
from feast.types import FeastType, Float64, String

ASOF = "ingestion.plugins.asof.AsofOfflineStore"


def entity(name: str, dtype: FeastType) -> Entity:
    return Entity(name=name, join_keys=[name], value_type=dtype.to_value_type())


symbol = entity("symbol", String)


ENGINE = "ingestion.plugins.engine.ArrowComputeEngine"


def repository(
    folder: Path, *objects, store: str = ASOF, engine: str = "local", **offline
) -> FeatureStore:
    """Open a store in a folder and register objects there; `offline` are the offline store's."""
    config = RepoConfig(
        project="p",
        provider="local",
        registry=str(folder / "registry.db"),
        offline_store={"type": store} | offline,
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        batch_engine={"type": engine},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    opened = FeatureStore(config=config)
    opened.apply(list(objects))
    return opened


def file_source(path: str, **how) -> FileSource:
    how = {"created_timestamp_column": "created_timestamp"} | how
    return FileSource(
        name=how.pop("name", path),
        path=path,
        file_format=ParquetFormat(),
        timestamp_field=how.pop("timestamp_field", "event_timestamp"),
        **how,
    )


def signals_view(path: str, *, ttl: timedelta | None = timedelta(days=2), **how) -> FeatureView:
    """``signals`` of ``symbol``: RSI, and a name that ends in ``_y``."""
    return FeatureView(
        name="signals",
        entities=[symbol],
        ttl=ttl,
        schema=[
            Field(name="symbol", dtype=String),
            Field(name="RSI", dtype=Float64),
            Field(name="name_y", dtype=String),
        ],
        source=file_source(path, **how),
    )
