"""From a Feast view to the columns of its files: names, types, TTL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from feast import FeatureView
from feast.feature_view import DUMMY_ENTITY_ID
from feast.types import (
    Array,
    Bool,
    Bytes,
    FeastType,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    UnixTimestamp,
)

from ingestion.base.columns import INSTANT, Column
from ingestion.base.errors import InputError
from ingestion.plugins.offline.file_source import locate
from ingestion.plugins.offline.instants import microsecond
from ingestion.plugins.offline.source import ParquetSource
from ingestion.plugins.offline.table import FeatureTable

_ARROW_TYPES: dict[FeastType, pa.DataType] = {
    Bool: pa.bool_(),
    Bytes: pa.binary(),
    # As wide as Feast's own local stores give them, and as pandas reads them.
    Float32: pa.float64(),
    Float64: pa.float64(),
    Int32: pa.int64(),
    Int64: pa.int64(),
    String: pa.string(),
    UnixTimestamp: INSTANT,
}


@dataclass(frozen=True)
class ViewTable:
    """A view, as much of it as is asked for."""

    name: str
    """Or its alias."""
    table: FeatureTable
    join_keys: tuple[str, ...]
    """What the entity rows call the table's keys."""
    outputs: dict[str, str]
    """By reference, what each of the table's features is called in the answer, in their order."""
    ttl: int | None
    """µs; None is without limit."""

    @property
    def keys(self) -> tuple[tuple[str, pa.DataType | None], ...]:
        """The entity rows' columns that are the table's keys, and of what type they are there."""
        types = (key.type for key in self.table.keys)
        return tuple(zip(self.join_keys, types, strict=True))


def describe(
    view: FeatureView, features: list[str], full_feature_names: bool, repo_path: str | Path | None
) -> ViewTable:
    """Describe some features of a view.

    Raises
    ------
    InputError
        If the view has no source of Parquet files.
    """
    source = view.batch_source
    if source is None:
        raise InputError(f"the view {view.name} has no batch source to join")
    stored = {mapped: name for name, mapped in (source.field_mapping or {}).items()}
    types = {each.name: arrow_type(each.dtype) for each in view.features}
    keys = {
        each.name: arrow_type(each.dtype)
        for each in view.entity_columns
        if each.name != DUMMY_ENTITY_ID
    }
    name = view.projection.name_alias or view.name
    features = list(dict.fromkeys(features))
    event, created = source.timestamp_field, source.created_timestamp_column
    event = stored.get(event, event)
    return ViewTable(
        name=name,
        table=FeatureTable(
            source=ParquetSource(locate(source, repo_path), event),
            keys=tuple(Column(stored.get(key, key), kind, True) for key, kind in keys.items()),
            event=Column(event, INSTANT, True),
            created=Column(stored.get(created, created), INSTANT) if created else None,
            features=tuple(
                Column(stored.get(each, each), types.get(each), seconds=True) for each in features
            ),
        ),
        join_keys=tuple(view.projection.join_key_map.get(key, key) for key in keys),
        outputs={
            f"{view.projection.name_to_use()}:{each}": (
                f"{name}__{each}" if full_feature_names else each
            )
            for each in features
        },
        ttl=(microsecond(view.ttl) or None) if view.ttl else None,
    )


def arrow_type(declared: FeastType) -> pa.DataType | None:
    """Return what a feature of a type is read as; None, as it is stored, for the rarer types."""
    if isinstance(declared, Array):
        inner = arrow_type(declared.base_type)
        return None if inner is None else pa.list_(inner)
    return _ARROW_TYPES.get(declared)
