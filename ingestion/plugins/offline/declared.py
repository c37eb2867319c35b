"""What Feast declares: where a source's files lie, and what the columns of a view's files are."""

from __future__ import annotations

from datetime import datetime
from os import PathLike
from pathlib import Path

import pyarrow as pa
from feast import FeatureView, FileSource, RepoConfig
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
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
from pyarrow import fs

from ingestion.base.columns import INSTANT, Column
from ingestion.base.errors import InputError
from ingestion.base.executors import require
from ingestion.base.instants import to_micros
from ingestion.plugins.offline.answer_files import Tasks
from ingestion.plugins.offline.entities import EntityRows
from ingestion.plugins.offline.fetch import FeatureTable
from ingestion.plugins.offline.files import Location, location_of
from ingestion.plugins.offline.historical import ViewTable
from ingestion.plugins.offline.slices import Questions
from ingestion.plugins.offline.source import ParquetSource

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


def describe(
    view: FeatureView,
    features: list[str],
    full_feature_names: bool,
    repo_path: str | Path | None,
    known_at: datetime | None = None,
) -> ViewTable:
    """Describe some features of a view, as its files were at an instant.

    Raises
    ------
    InputError
        If the view has no source of Parquet files, or its source does not say when rows were
        created and an instant is given.
    """
    source = view.batch_source
    if source is None:
        raise InputError(f"the view {view.name} has no batch source to join")
    stored = stored_names(source)
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
    if known_at is not None and not created:
        raise InputError(
            f"known_at is {known_at.isoformat()}, and the view {view.name} does not say when rows "
            "were created: give its source a created_timestamp_column, or take known_at out"
        )
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
            known_at=None if known_at is None else to_micros(known_at),
        ),
        join_keys=tuple(view.projection.join_key_map.get(key, key) for key in keys),
        outputs={
            f"{view.projection.name_to_use()}:{each}": (
                f"{name}__{each}" if full_feature_names else each
            )
            for each in features
        },
        ttl=(to_micros(view.ttl) or None) if view.ttl else None,
    )


def entities_of(given: object, config: RepoConfig) -> EntityRows | Questions | None:
    """Return who is asked about: rows, the files of them that an address names, or nobody yet.

    Raises
    ------
    InputError
        If they are none.
    """
    if isinstance(given, (str, PathLike)):
        return Questions.at(locate(FileSource(path=str(given)), config.repo_path))
    return None if given is None else EntityRows.of(given)


def tasks_of(config: RepoConfig) -> Tasks:
    """Return how the configuration answers.

    Raises
    ------
    InputError
        If its executor is not installed, or its staging location is of no known file system.
    """
    store = config.offline_store
    require(store.executor)
    staging = None
    if store.staging_location is not None:
        staging = locate(FileSource(path=store.staging_location), config.repo_path)
    return Tasks(store.executor, store.rows_per_task, staging)


def stored_names(source: DataSource) -> dict[str, str]:
    """Return what the files call those columns that a view calls otherwise."""
    return {mapped: name for name, mapped in (source.field_mapping or {}).items()}


def arrow_type(declared: FeastType) -> pa.DataType | None:
    """Return what a feature of a type is read as; None, as it is stored, for the rarer types."""
    if isinstance(declared, Array):
        inner = arrow_type(declared.base_type)
        return None if inner is None else pa.list_(inner)
    return _ARROW_TYPES.get(declared)


def locate(source: DataSource, repo_path: str | Path | None) -> Location:
    """Find a source's files; a relative path is relative to the repository.

    The tag ``partition_date=event_utc`` promises that each folder ``date=YYYY-MM-DD`` contains the
    rows with events of that UTC day and no others.

    Raises
    ------
    InputError
        If it is no Parquet file source, or its file system is not known.
    """
    if not isinstance(source, FileSource) or not isinstance(
        source.file_format, (ParquetFormat, type(None))
    ):
        raise InputError(
            f"{source.name} is no FileSource of Parquet files, the only one that AsofOfflineStore "
            "reads: use another offline store for it"
        )
    dated = source.tags.get("partition_date") == "event_utc"
    uri = source.path
    if not uri.startswith("file://"):
        uri = FileSource.get_uri_for_file_path(repo_path, uri)
    if "://" not in uri:
        return location_of(str(Path(uri).absolute()), dated=dated)
    try:
        credentials = source.resolve_credentials()
        if uri.startswith("s3://") and not source.s3_endpoint_override and not credentials:
            return location_of(uri, dated=dated)
        if uri.startswith("s3://"):
            filesystem, path = FileSource.create_filesystem_and_path(
                uri, source.s3_endpoint_override, credentials
            )
        else:
            filesystem, path = fs.FileSystem.from_uri(uri)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{source.name}: {uri} cannot be reached ({error})") from None
    return Location(filesystem, path, dated)
