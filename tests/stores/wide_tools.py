"""Feast repositories on the wide store, and on Feast's own SQLite store beside it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.infra.online_stores.online_store import OnlineStore
from feast.online_response import OnlineResponse
from feast.types import FeastType, Float64, String

NOW = datetime(2026, 1, 16, 21, 30, tzinfo=UTC)
SYMBOL = Entity(name="symbol", join_keys=["symbol"], value_type=ValueType.STRING)
IN_A_FILE = {"path": "online/online.db"}
WIDE = "ingestion.plugins.wide_sqlite.WideSqliteOnlineStore"


def repository(folder: Path, store: str = WIDE, **settings: Any) -> FeatureStore:
    """Make an empty repository; its online store is ``online/online.db`` unless settings differ."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "online").mkdir(exist_ok=True)  # Feast's own store makes no folder
    (folder / "feature_store.yaml").write_text(
        "project: p\nprovider: local\nregistry: data/registry.db\n"
        f"online_store: {json.dumps({'type': store} | (settings or IN_A_FILE))}\n"
        "offline_store: {type: dask}\nentity_key_serialization_version: 3\n"
    )
    return FeatureStore(repo_path=str(folder))


def view(
    features: dict[str, FeastType],
    *,
    name: str = "v",
    ttl: timedelta | None = timedelta(days=4),
    entities: tuple[Entity, ...] = (SYMBOL,),
    keys: dict[str, FeastType] | None = None,
    created: str = "created_timestamp",
) -> FeatureView:
    """Describe a view; its keys are ``symbol`` unless others are given."""
    join_keys = {"symbol": String} if keys is None else keys
    return FeatureView(
        name=name,
        entities=list(entities),
        ttl=ttl,
        schema=[Field(name=n, dtype=t) for n, t in {**join_keys, **features}.items()],
        source=FileSource(
            name=f"{name}_source",
            path=f"{name}.parquet",
            timestamp_field="event_timestamp",
            created_timestamp_column=created,
        ),
    )


PRICES = {"price": Float64, "size": Float64}


def rows(
    symbols: list[str],
    event: datetime | list[datetime],
    created: datetime | list[datetime | None] | None = None,
    **features: Any,
) -> pa.Table:
    """Make a table for ``online_write_table``; created at its event unless told otherwise."""
    events = event if isinstance(event, list) else [event] * len(symbols)
    stamps = created if isinstance(created, list) else [created] * len(symbols)
    if created is None:
        stamps = list(events)
    columns = {"symbol": pa.array(symbols, pa.string())}
    columns |= {name: pa.array(values) for name, values in features.items()}
    columns["event_timestamp"] = pa.array(events, pa.timestamp("us", "UTC"))
    columns["created_timestamp"] = pa.array(stamps, pa.timestamp("us", "UTC"))
    return pa.table(columns)


def write(store: FeatureStore, table: pa.Table, name: str = "v") -> int:
    """Write a table through the bulk writer."""
    written: int = online(store).online_write_table(
        store.config, store.get_feature_view(name), table
    )
    return written


def push(store: FeatureStore, name: str = "v", **columns: Any) -> None:
    """Write rows as Feast's own users do."""
    store.write_to_online_store(name, pd.DataFrame(columns))


def online(store: FeatureStore) -> Any:
    """Return the store's online store."""
    return store._get_provider().online_store


def read(
    store: FeatureStore, symbols: list[str], features: list[str] | None = None, **options: Any
) -> OnlineResponse:
    """Read features of ``v``; ``price`` and ``size`` unless others are given."""
    references = features or ["v:price", "v:size"]
    return store.get_online_features(references, {"symbol": symbols}, **options)


def generic(store: FeatureStore, features: Any, entity_rows: Any, **options: Any) -> OnlineResponse:
    """Read as Feast's own code does, on top of the store's ``online_read``."""
    return OnlineStore.get_online_features(
        online(store),
        config=store.config,
        features=features,
        entity_rows=entity_rows,
        registry=store.registry,
        project=store.project,
        **options,
    )


def statuses(response: OnlineResponse) -> dict[str, list[int]]:
    """Return the statuses of each column, by name."""
    proto = response.proto
    return {
        name: list(vector.statuses)
        for name, vector in zip(proto.metadata.feature_names.val, proto.results, strict=True)
    }
