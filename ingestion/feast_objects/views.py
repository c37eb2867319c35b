"""From a catalog group to a Feast source and view."""

from __future__ import annotations

from pathlib import Path

from feast import FeatureView, Field, FileSource
from feast.data_format import ParquetFormat
from feast.types import FeastType, Float64, Int64, String, UnixTimestamp

from ingestion.catalog import Column, Dtype, FeatureGroup
from ingestion.feast_objects.entity import symbol
from ingestion.lakehouse.parts import location

_FEAST_TYPES: dict[Dtype, FeastType] = {
    Dtype.INT64: Int64,
    Dtype.STRING: String,
    Dtype.DOUBLE: Float64,
    Dtype.TIMESTAMP: UnixTimestamp,
}


def file_source(group: FeatureGroup, lakehouse: Path) -> FileSource:
    """Describe a group's partitioned folder."""
    return FileSource(
        name=f"{group.name}_source",
        # Absolute: the DuckDB store reads relative paths from the current directory.
        path=location(lakehouse, group),
        # A folder's format cannot be told from its name.
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
        description=f"Parquet, partitioned by the UTC date of the event: {group.storage}",
        tags={"partition_date": "event_utc"},
    )


def feature_view(group: FeatureGroup, source: FileSource) -> FeatureView:
    """Serve a group: its features, and the instants that say which bar they describe."""
    return FeatureView(
        name=group.name,
        entities=[symbol],
        ttl=group.ttl,
        schema=[
            Field(name="symbol", dtype=String),
            *(_field(column) for column in group.served),
        ],
        source=source,
        online=True,
        description=group.meaning,
        tags={"schema_version": str(group.schema_version)},
    )


def _field(column: Column) -> Field:
    tags = {"unit": column.unit, "values": column.bounds}
    return Field(
        name=column.name,
        dtype=_FEAST_TYPES[column.dtype],
        description=column.meaning,
        tags={name: text for name, text in tags.items() if text},
    )
