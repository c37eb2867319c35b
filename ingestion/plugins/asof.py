"""Feast's offline store over Parquet files: ``AsofOfflineStore``.

In ``feature_store.yaml``: ``offline_store: {type: ingestion.plugins.asof.AsofOfflineStore}``.

Goes in: what Feast asks. Comes out: a job that answers when it is read. The parts, in
``ingestion/plugins/offline/``:

``declared``      what Feast declares: where a source's files lie, and what their columns are
``files``         which files a source consists of, and which of them matter
``source``        reading them in the declared types, a bounded piece at a time
``column_types``  columns in the type that was declared, or that a source stores
``entities``      who is asked about and when
``key_codes``     their keys as integers
``queries``       the values as of many instants, or the rows between two
``historical``    the features that a retrieval asks of each entity row
``join``          which row answers which question
``lookup``        rows ready to be asked what a key had at an instant
``fetch``         the features of the rows that won, brought to the questions
``slices``        entity rows in files, cut by time
``executors``     what runs tasks: this process, Ray or Spark
``answer_files``  a task for each slice, a file for each task
``retrieval``     the job
``writing``       saved datasets, logs, and rows appended to a source
``monitoring``    metrics of Feast's monitoring, measured and kept
``threads``       work done ahead by as many threads as there are cores
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureView, OnDemandFeatureView, RepoConfig
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel
from feast.utils import (
    _get_requested_feature_views_to_features_dict,
    _get_requested_on_demand_feature_views,
    compute_non_entity_date_range,
)
from pydantic import PositiveInt, StrictStr

from ingestion.base import clock
from ingestion.base.columns import INSTANT, Column
from ingestion.base.errors import InputError
from ingestion.base.executors import ROWS_PER_TASK, ExecutorName
from ingestion.plugins.offline.column_types import readable, storable
from ingestion.plugins.offline.declared import describe, entities_of, locate, stored_names, tasks_of
from ingestion.plugins.offline.entities import EVENT_TIMESTAMP, EntityRows
from ingestion.plugins.offline.fetch import FeatureTable
from ingestion.plugins.offline.files import Location, Span
from ingestion.plugins.offline.historical import Retrieved, ViewCounts, Wanted
from ingestion.plugins.offline.monitoring import (
    clear_baseline,
    compute_metrics,
    ensure_tables,
    max_timestamp,
    query_metrics,
    save_metrics,
)
from ingestion.plugins.offline.queries import newest_between, rows_between, span
from ingestion.plugins.offline.retrieval import AsofRetrievalJob
from ingestion.plugins.offline.slices import Questions
from ingestion.plugins.offline.source import ParquetSource
from ingestion.plugins.offline.writing import add_file, append


class AsofOfflineStoreConfig(FeastConfigBaseModel):
    """Configuration of :class:`AsofOfflineStore`."""

    type: Literal[
        "ingestion.plugins.asof.AsofOfflineStore",
        "feature_repo.stores.asof.AsofOfflineStore",  # the former path
    ] = "ingestion.plugins.asof.AsofOfflineStore"
    known_at: datetime | None = None
    """Historical features are read as the files were then: rows created later are not there."""

    without_entity_rows: Literal["end", "events"] = "end"
    """What a retrieval from ``start_date`` to ``end_date`` has: one row for each key that has an
    event in that range, as of its end; or one row for each key and event, as of the event."""

    executor: ExecutorName = "local"
    """What answers entity rows that are in files, or too many for one task."""

    rows_per_task: PositiveInt = ROWS_PER_TASK
    """How many entity rows a task has at most: its memory goes by them."""

    staging_location: StrictStr | None = None
    """A folder, or its address, that all machines of the executor see. Entity rows in memory pass
    to the tasks there, and ``to_remote_storage`` writes there."""


class AsofOfflineStore(OfflineStore):
    """Point-in-time features from any Parquet ``FileSource``.

    A row is valid at t if its event is not after t and at most the view's TTL before it, both
    inclusive, to the microsecond. The newest event decides, then the newest creation, then the
    place in the files; its nulls stay null. Rows out are the rows in, in their order.

    Examples
    --------
    >>> import tempfile
    >>> from feast import FileSource
    >>> config = RepoConfig(
    ...     project="demo", provider="local", registry="registry.db",
    ...     offline_store={"type": "ingestion.plugins.asof.AsofOfflineStore"},
    ... )
    >>> rsi = pa.table({"symbol": ["AAPL"] * 2, "RSI": [40.0, 60.0],
    ...     "event_timestamp": [datetime(2026, 1, 15, 21), datetime(2026, 1, 16, 21)]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pq.write_table(rsi, f"{folder}/rsi.parquet")
    ...     source = FileSource(path=f"{folder}/rsi.parquet", timestamp_field="event_timestamp")
    ...     job = AsofOfflineStore.pull_latest_from_table_or_query(
    ...         config, source, ["symbol"], ["RSI"], "event_timestamp", None, None, None
    ...     )
    ...     newest = job.to_arrow()
    >>> newest["RSI"].to_pylist()
    [60.0]
    """

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | pa.Table | str | PathLike[str] | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> AsofRetrievalJob:
        """Join features to entity rows, each as of its own instant.

        Parameters
        ----------
        entity_df
            The rows, or the address of a Parquet file, folder or glob of them, as of a source; None
            for each key with an event from ``start_date`` to ``end_date``, as of the latter or, by
            ``without_entity_rows``, as of each of its events.
        filter_by_created_timestamp
            Let only rows count that had been created by the instant as well.

        Raises
        ------
        InputError
            If the entity rows cannot be joined: which column, and why. If the executor is not
            installed.
        """
        wanted, _ = _get_requested_feature_views_to_features_dict(
            feature_refs,
            feature_views,
            _get_requested_on_demand_feature_views(feature_refs, project, registry),
        )
        tables = [
            describe(
                view,
                names,
                full_feature_names,
                config.repo_path,
                config.offline_store.known_at,
            )
            for view, names in wanted.items()
        ]
        asked, tasks = Wanted(tables, feature_refs, filter_by_created_timestamp), tasks_of(config)
        entities = entities_of(entity_df, config)
        if entities is None:
            bounds = start, end = compute_non_entity_date_range(
                feature_views, start_date=start_date, end_date=end_date or clock.now()
            )
            names, event = [*asked.join_keys, EVENT_TIMESTAMP], EVENT_TIMESTAMP
        else:
            bounds, names, event = entities.bounds, entities.names, entities.event
        asked.refuse(names, event)
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        make_job = partial(
            AsofRetrievalJob,
            repo_path=config.repo_path,
            on_demand_feature_views=on_demand,
            full_feature_names=full_feature_names,
            metadata=RetrievalMetadata(
                feature_refs, [name for name in names if name != event], *bounds
            ),
        )

        def rows() -> EntityRows:
            if entities is None:
                each_event = config.offline_store.without_entity_rows == "events"
                return asked.found(start, end, each_event=each_event)
            return entities.rows() if isinstance(entities, Questions) else entities

        def read(as_frame: bool) -> Retrieved:
            return tasks.answer_here(rows(), asked, as_frame=as_frame)

        def write(folder: Location) -> Mapping[str, ViewCounts]:
            finish = partial(_computed, make_job) if on_demand else Retrieved.table
            if isinstance(entities, Questions):
                return tasks.answer(entities, asked, finish, folder)
            return tasks.answer_rows(rows(), asked, finish, folder)

        in_files = isinstance(entities, Questions)
        return make_job(
            read,
            write=write if in_files or tasks.executor != "local" else None,
            in_order=in_files,
            staging=tasks.staging,
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime | None,
        end_date: datetime | None,
    ) -> AsofRetrievalJob:
        """Return each key's newest row between two instants, both inclusive.

        The newest event decides, then the newest creation; rows whose key is null in part are left
        out. Columns have the names and the types of the files: Feast names no view here.
        """
        return _pull(
            newest_between,
            config,
            data_source,
            join_key_columns,
            feature_name_columns,
            timestamp_field,
            created_timestamp_column,
            span(start_date, end_date),
        )

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> AsofRetrievalJob:
        """Return all rows between two instants, both inclusive; by file, in the files' order.

        Without either instant, rows without an event time are there too.
        """
        return _pull(
            rows_between,
            config,
            data_source,
            join_key_columns,
            feature_name_columns,
            timestamp_field,
            created_timestamp_column,
            span(start_date, end_date, nulls=True),
        )

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Append rows to a view's source.

        A single file is written anew with them, a folder gets a new file; with partition dates, one
        in the folder of each event's UTC date.

        Raises
        ------
        InputError
            If the columns are not those of the source, or not of their types.
        """
        source = feature_view.batch_source
        if source is None:
            raise InputError(f"the view {feature_view.name} has no batch source to write to")
        stored = stored_names(source)
        table = table.rename_columns([stored.get(name, name) for name in table.column_names])
        location = locate(source, config.repo_path)
        schema = ParquetSource(location, source.timestamp_field).schema()
        if schema.names and set(schema.names) != set(table.column_names):
            raise InputError(
                f"{feature_view.name}: the rows have the columns {', '.join(table.column_names)}; "
                f"its source has {', '.join(schema.names)}"
            )
        append(
            location,
            _typed(table, schema),
            stored.get(source.timestamp_field, source.timestamp_field),
        )
        if progress:
            progress(table.num_rows)

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        """Add what was served to the files of a feature service's log.

        Parameters
        ----------
        data
            The rows, or a Parquet file or folder of them.

        Raises
        ------
        InputError
            If the log's destination is no ``FileLoggingDestination``.
        """
        destination = logging_config.destination
        if not isinstance(destination, FileLoggingDestination):
            raise InputError(
                f"AsofOfflineStore writes logs to a FileLoggingDestination, not to a "
                f"{type(destination).__name__}: give the feature service such a one"
            )
        rows = data if isinstance(data, pa.Table) else pq.read_table(data, use_threads=False)
        location = locate(destination.to_data_source(), config.repo_path)
        add_file(location, rows, destination.partition_by or ())

    compute_monitoring_metrics = staticmethod(compute_metrics)
    get_monitoring_max_timestamp = staticmethod(max_timestamp)
    ensure_monitoring_tables = staticmethod(ensure_tables)
    save_monitoring_metrics = staticmethod(save_metrics)
    query_monitoring_metrics = staticmethod(query_metrics)
    clear_monitoring_baseline = staticmethod(clear_baseline)

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> Iterable[tuple[str, str]]:
        """Return the columns of a source's files; folders' names are none.

        The types are those that Feast infers features from: it knows no dates, no dictionaries and
        no views.
        """
        source = ParquetSource(locate(data_source, config.repo_path), data_source.timestamp_field)
        return [(field.name, str(readable(field.type))) for field in source.schema()]


def _computed(make_job: Callable[..., AsofRetrievalJob], answer: Retrieved) -> pa.Table:
    """Return an answer with what Feast computes of it, row by row."""
    return make_job(lambda _: answer).to_arrow()


def _pull(
    query: Callable[[FeatureTable, Span], pa.Table],
    config: RepoConfig,
    source: DataSource,
    keys: list[str],
    features: list[str],
    event: str,
    created: str | None,
    between: Span,
) -> AsofRetrievalJob:
    """Return a job that asks a source without a view: its columns have the types of the files."""
    files = ParquetSource(locate(source, config.repo_path), event)
    if not features:
        features = [name for name in files.schema().names if name not in {*keys, event, created}]
    table = FeatureTable(
        source=files,
        keys=tuple(Column(name, None, True) for name in keys),
        event=Column(event, INSTANT, True),
        created=Column(created, INSTANT) if created else None,
        features=tuple(Column(name, None) for name in features),
    )

    def read(as_frame: bool) -> Retrieved:
        rows = query(table, between)
        if not keys:  # Feast writes views without entities under a key of its own
            dummy = pa.repeat(DUMMY_ENTITY_VAL, rows.num_rows)
            rows = rows.append_column(DUMMY_ENTITY_ID, dummy)
        return Retrieved(rows)

    return AsofRetrievalJob(read, staging=tasks_of(config).staging, repo_path=config.repo_path)


def _typed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows in the types of their source, in its order of columns."""
    arrays = {}
    for name in schema.names or rows.column_names:
        declared = schema.field(name).type if schema.names else None
        try:
            arrays[name] = rows[name] if declared is None else storable(rows[name], declared)
        except TypeError as error:
            raise InputError(
                f"column {name} is {rows[name].type}, but {declared} in its source ({error})"
            ) from None
    return pa.table(arrays)
