"""From the catalog to Feast objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Bool, FeastType, Float64, Int64, String, UnixTimestamp

from ingestion.base.errors import TvfeastError
from ingestion.catalog import Catalog, Column, Dtype, FeatureGroup, Service
from ingestion.lakehouse import Lakehouse
from ingestion.project import Project

FEAST_TYPES: dict[Dtype, FeastType] = {
    Dtype.INT64: Int64,
    Dtype.STRING: String,
    Dtype.BOOL: Bool,
    Dtype.DOUBLE: Float64,
    Dtype.TIMESTAMP: UnixTimestamp,
}


@dataclass(frozen=True)
class Definitions:
    """All Feast objects of a project."""

    entity: Entity
    sources: tuple[FileSource, ...]
    views: tuple[FeatureView, ...]
    services: tuple[FeatureService, ...]

    @property
    def objects(self) -> list[object]:
        """All of them, for ``FeatureStore.apply``."""
        return [self.entity, *self.sources, *self.views, *self.services]


def define(file: str) -> dict[str, object]:
    """Return the Feast objects of a repository by their names.

    Feast finds objects among a module's names, so a repository's ``definitions.py`` is::

        from ingestion.feast_objects import define

        globals().update(define(__file__))

    Parameters
    ----------
    file
        The ``definitions.py``; the folder above its own is the project.

    Raises
    ------
    SystemExit
        If a declaration cannot be used, with what and where: Feast's commands would print a
        traceback of any other exception.
    """
    try:
        defined = describe(Project.from_environment(Path(file).resolve().parent.parent))
    except TvfeastError as error:
        raise SystemExit(str(error)) from None
    named = (*defined.sources, *defined.views, *defined.services)
    return {defined.entity.name: defined.entity, **{each.name: each for each in named}}


def describe(project: Project) -> Definitions:
    """Describe a project's lakehouse to Feast."""
    entity = Entity(
        name="symbol",
        join_keys=["symbol"],
        value_type=ValueType.STRING,
        description="An instrument as TradingView names it: EXCHANGE:TICKER",
    )
    groups = project.catalog.groups
    sources = tuple(_source(group, project.lakehouse) for group in groups)
    views = tuple(
        _view(group, entity, source) for group, source in zip(groups, sources, strict=True)
    )
    by_name = {view.name: view for view in views}
    services = tuple(_service(each, project.catalog, by_name) for each in project.catalog.services)
    return Definitions(entity, sources, views, services)


def _source(group: FeatureGroup, lakehouse: Lakehouse) -> FileSource:
    return FileSource(
        name=f"{group.name}_source",
        # Absolute: the DuckDB store reads relative paths from the current directory.
        path=lakehouse.location(group.storage),
        # A folder's name does not show its format.
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
        description=f"Parquet, partitioned by the UTC date of the event: {group.storage}",
        tags={"partition_date": "event_utc"},
    )


def _view(group: FeatureGroup, entity: Entity, source: FileSource) -> FeatureView:
    """Serve a group: its features, and the instants that say which bar they describe."""
    return FeatureView(
        name=group.name,
        entities=[entity],
        ttl=group.ttl,
        schema=[Field(name="symbol", dtype=String), *map(_field, group.served)],
        source=source,
        online=True,
        description=group.meaning,
    )


def _field(column: Column) -> Field:
    tags = {"unit": column.unit, "values": column.bounds}
    return Field(
        name=column.name,
        dtype=FEAST_TYPES[column.dtype],
        description=column.meaning,
        tags={name: text for name, text in tags.items() if text},
    )


def _service(service: Service, catalog: Catalog, views: dict[str, FeatureView]) -> FeatureService:
    features = [
        views[name][[each.name for each in catalog.columns_of(service, catalog.group(name))]]
        for name in service.groups
    ]
    return FeatureService(name=service.name, features=features, description=service.meaning)
