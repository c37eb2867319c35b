"""An online store for Feast in one SQLite file, one row per entity: ``WideSqliteOnlineStore``.

In ``feature_store.yaml``::

    online_store:
      type: ingestion.plugins.wide_sqlite.WideSqliteOnlineStore
      path: ../data/online.db

``docs/design/online_store.md`` says what it promises and what it costs. The parts, in
``ingestion/plugins/online/``:

``database``    the file: connections, transactions, what goes wrong with it
``tables``      the tables: made, changed, written, read
``layout``      how a row's values lie in a table
``keys``        entity keys as bytes
``reading``     what is valid at an instant; reads without Feast
``conversion``  what a feature view is to the store; rows and values from and to Feast and Arrow
``columnar``    which requests are answered by columns, and Feast's response made of them
``search``      the rows whose vectors are nearest to one
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from feast import Entity, FeatureService, FeatureView, RepoConfig, utils
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.registry.base_registry import BaseRegistry
from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel
from pydantic import StrictStr

from ingestion.base import clock
from ingestion.base.instants import from_micros
from ingestion.plugins.online.columnar import (
    ColumnarOnlineResponse,
    EntityRows,
    count_read,
    plan_request,
)
from ingestion.plugins.online.conversion import (
    WrittenRow,
    arrow_from_rows,
    layout_of,
    rows_from_arrow,
    rows_from_feast,
    serialize_keys,
    stored_view,
    to_protos,
    types_of,
)
from ingestion.plugins.online.database import Database
from ingestion.plugins.online.keys import encode_keys
from ingestion.plugins.online.reading import NOT_FOUND, OUTSIDE_MAX_AGE, read_rows
from ingestion.plugins.online.search import VectorSearch
from ingestion.plugins.online.tables import (
    Rows,
    drop_table,
    is_empty,
    make_table,
    stored_rows,
    upsert,
)

ReadRow = tuple[datetime | None, dict[str, Value] | None]
"""A row as Feast reads it: event time, and values by feature."""


class WideSqliteOnlineStoreConfig(FeastConfigBaseModel):
    """Configuration of :class:`WideSqliteOnlineStore`."""

    type: Literal[
        "ingestion.plugins.wide_sqlite.WideSqliteOnlineStore",
        "feature_repo.stores.wide_sqlite.WideSqliteOnlineStore",  # the former path
    ] = "ingestion.plugins.wide_sqlite.WideSqliteOnlineStore"

    path: StrictStr = "data/online.db"
    """The file; a relative path is relative to the repository."""


class WideSqliteOnlineStore(VectorSearch, OnlineStore):
    """Feast's online store with one row for each entity of a view; see the module.

    Examples
    --------
    >>> import tempfile
    >>> from feast import Field, FileSource, ValueType
    >>> from feast.types import Float64, String
    >>> view = FeatureView(
    ...     name="daily",
    ...     entities=[Entity(name="symbol", value_type=ValueType.STRING)],
    ...     schema=[Field(name="symbol", dtype=String), Field(name="RSI", dtype=Float64)],
    ...     source=FileSource(path="daily.parquet", timestamp_field="event_timestamp"),
    ... )
    >>> rows = pa.table({"symbol": ["AAPL"] * 2, "RSI": [40.0, 60.0],
    ...     "event_timestamp": [datetime(2026, 1, 15, 21), datetime(2026, 1, 16, 21)]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     config = RepoConfig(
    ...         project="demo", provider="local", registry="registry.db", repo_path=folder,
    ...         online_store={"type": "ingestion.plugins.wide_sqlite.WideSqliteOnlineStore"},
    ...         entity_key_serialization_version=3,
    ...     )
    ...     store = WideSqliteOnlineStore()
    ...     changed = store.online_write_table(config, view, rows)
    ...     stored = store.online_read_table(config, view)
    >>> stored["symbol"].to_pylist(), stored["RSI"].to_pylist()
    (['AAPL'], [60.0])
    """

    def __init__(self) -> None:
        self._databases: dict[tuple[Path | None, str], Database] = {}

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[WrittenRow],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows as Feast gives them; the newest event, then the newest created, wins.

        A row replaces the one before it as a whole: a feature that it does not give is null.

        Raises
        ------
        InputError
            If a value is not of its feature's type, or an entity key cannot be one.
        FeastRepositoryError
            If the file cannot be written.
        """
        self._write(config, table, rows_from_feast(table, data))
        if progress is not None:
            progress(len(data))

    async def online_write_batch_async(self, *args: Any, **options: Any) -> None:
        """Write rows in a thread; see :meth:`online_write_batch`."""
        await asyncio.to_thread(self.online_write_batch, *args, **options)

    def online_write_table(
        self,
        config: RepoConfig,
        view: FeatureView,
        rows: pa.Table,
        progress: Callable[[int], object] | None = None,
    ) -> int:
        """Write a table, in one transaction and without a protobuf for each value.

        Parameters
        ----------
        rows
            The view's join keys and features under the view's names, and the event and created
            times under their names in the view's batch source. Keys may repeat: the newest wins.
        progress
            Gets the number of rows when they are written.

        Returns
        -------
        int
            How many rows changed something.

        Raises
        ------
        InputError
            If a column is missing, or has a value that its declared type cannot represent.
        FeastRepositoryError
            If the file cannot be written.
        """
        changed = self._write(config, view, rows_from_arrow(view, rows))
        if progress is not None:
            progress(rows.num_rows)
        return changed

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[ReadRow]:
        """Read rows as Feast takes them, in the order of the keys.

        Returns
        -------
        list of (event time, values by feature)
            ``(None, None)`` for an unknown entity; an expired row has its event time alone.

        Raises
        ------
        FeastRepositoryError
            If the file cannot be read.
        """
        with self._database(config).reading() as connection:
            return _read_for_feast(connection, config, table, entity_keys, requested_features)

    async def online_read_async(self, *args: Any, **options: Any) -> list[ReadRow]:
        """Read rows in a thread; see :meth:`online_read`."""
        return await asyncio.to_thread(self.online_read, *args, **options)

    def online_read_table(
        self, config: RepoConfig, view: FeatureView, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Return all that is stored of a view, expired rows too, sorted by key.

        Parameters
        ----------
        columns
            The features to read; all if none are given.

        Returns
        -------
        pa.Table
            The join keys, the features, and the event and created times under their names in the
            view's batch source (timestamp[us, UTC]).

        Raises
        ------
        FeastRepositoryError
            If the file cannot be read.
        """
        names = list(types_of(view, columns))
        with self._database(config).reading() as connection:
            rows = stored_rows(connection, stored_view(config, view).table, names)
        return arrow_from_rows(view, rows, names)

    def get_online_features(
        self,
        config: RepoConfig,
        features: list[str] | FeatureService,
        entity_rows: EntityRows,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> OnlineResponse:
        """Answer a request for the features of entities, by columns where they can.

        Raises
        ------
        FeastRepositoryError
            If the file cannot be read.
        """
        plan = None
        if not include_feature_view_version_metadata:
            plan = plan_request(registry, project, features, entity_rows, full_feature_names)
        if plan is None:
            return super().get_online_features(
                config,
                features,
                entity_rows,
                registry,
                project,
                full_feature_names,
                include_feature_view_version_metadata,
            )
        started = time.monotonic()
        keys = [encode_keys({each.join_key: plan.keys[each.given_as]}) for each in plan.views]
        with self._database(config).reading() as connection:  # once: no load comes between views
            at = clock.now()
            answers = [
                read_rows(connection, stored_view(config, each.view), own, each.types, at)
                for each, own in zip(plan.views, keys, strict=True)
            ]
        names = [each.view.name for each in plan.views]
        count_read(time.monotonic() - started, list(zip(names, answers, strict=True)))
        if full_feature_names:
            prefixes = [f"{each.view.projection.name_to_use()}__" for each in plan.views]
            answers = [a.prefixed(p) for a, p in zip(answers, prefixes, strict=True)]
        return ColumnarOnlineResponse(plan.keys, answers)

    async def get_online_features_async(self, *args: Any, **options: Any) -> OnlineResponse:
        """Answer in a thread; see :meth:`get_online_features`."""
        return await asyncio.to_thread(self.get_online_features, *args, **options)

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Make what is missing, drop what is gone, and let changed views keep what they can.

        Raises
        ------
        FeastRepositoryError
            If the file cannot be written.
        """
        with self._database(config).writing() as connection:
            for view in tables_to_delete:
                drop_table(connection, stored_view(config, view).table)
            for view in tables_to_keep:
                if getattr(view, "write_to_online_store", True):  # False of on-demand views alone
                    make_table(connection, stored_view(config, view).table, layout_of(view))

    def teardown(
        self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]
    ) -> None:
        """Drop the views' tables, and delete the file if nothing of anybody is left in it.

        Raises
        ------
        FeastRepositoryError
            If the file cannot be written.
        """

        def empty(connection: sqlite3.Connection) -> bool:
            for view in tables:
                drop_table(connection, stored_view(config, view).table)
            return is_empty(connection)

        self._database(config).drop(empty)

    def _is_versioned_read_supported(self) -> bool:
        return True

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: list[tuple[FeatureView, list[str]]],
        join_key_values: dict[str, list[Value]],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: GetOnlineFeaturesResponse,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        """Answer as Feast does, and say of expired rows that they are.

        Feast's own step knows rows that are there and rows that are not.
        """
        with self._database(config).reading() as connection:  # once: no load comes between views
            for view, names in grouped_refs:
                entities, places, count = utils._get_unique_entities(
                    view, join_key_values, entity_name_to_join_key_map
                )
                protos = utils._get_entity_key_protos(entities)
                rows = _read_for_feast(connection, config, view, protos, names)
                utils._populate_response_from_feature_data(
                    names,
                    rows,
                    places,
                    online_features_response,
                    full_feature_names,
                    view,
                    count,
                    include_feature_view_version_metadata,
                )
                expired = [
                    place
                    for (event, values), at in zip(rows, places, strict=True)
                    if event is not None and values is None
                    for place in at
                ]
                for vector in online_features_response.results[-len(names) :]:
                    for place in expired:
                        vector.statuses[place] = OUTSIDE_MAX_AGE

    def _write(self, config: RepoConfig, view: FeatureView, rows: Rows) -> int:
        table = stored_view(config, view).table
        with self._database(config).writing() as connection:
            layout = make_table(connection, table, layout_of(view))
            return upsert(connection, table, layout, rows)

    def _database(self, config: RepoConfig) -> Database:
        place = (config.repo_path, config.online_store.path)
        if place not in self._databases:
            path = Path(*(each for each in place if each is not None))  # absolute: as it is
            self._databases.setdefault(place, Database(path))
        return self._databases[place]


def _read_for_feast(
    connection: sqlite3.Connection | None,
    config: RepoConfig,
    view: FeatureView,
    entity_keys: list[EntityKey],
    names: list[str] | None,
) -> list[ReadRow]:
    """Read rows as :meth:`WideSqliteOnlineStore.online_read` returns them."""
    keys = serialize_keys(entity_keys)
    types = types_of(view, names)
    read = read_rows(connection, stored_view(config, view), keys, types, clock.now())
    columns = [to_protos(values) for values in read.values.values()]
    result: list[ReadRow] = []
    for row, status in enumerate(read.status.tolist()):
        event = from_micros(int(read.event_us[row]))
        if status == NOT_FOUND:
            result.append((None, None))
        elif status == OUTSIDE_MAX_AGE:
            result.append((event, None))
        else:
            values = [column[row] for column in columns]
            result.append((event, dict(zip(read.values, values, strict=True))))
    return result
