"""What all online stores of this project have in common towards Feast: `WideOnlineStore`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
from feast import Entity, FeatureService, FeatureView, RepoConfig, utils
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.registry.base_registry import BaseRegistry
from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

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
from ingestion.plugins.online.keys import encode_keys
from ingestion.plugins.online.reading import (
    NOT_FOUND,
    OUTSIDE_MAX_AGE,
    Answer,
    Asked,
    read_views,
)
from ingestion.plugins.online.rows import Read, Rows, Tables
from ingestion.plugins.online.search import VectorSearch

ReadRow = tuple[datetime | None, dict[str, Value] | None]
"""A row as Feast reads it: event time, and values by feature."""


class WideOnlineStore(VectorSearch, OnlineStore):
    """Feast's online store with one row for each entity of a view, in the tables of a subclass."""

    def tables(self, config: RepoConfig) -> Tables:
        """Return the tables that a configuration names."""
        raise NotImplementedError

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
            If the store cannot be written.
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
            If the store cannot be written.
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
            If the store cannot be read.
        """
        asked = _asked(config, table, entity_keys, requested_features)
        at = clock.now()
        (answer,) = read_views(self.tables(config), [asked], at)
        return _for_feast(answer)

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
            If the store cannot be read.
        """
        names = list(types_of(view, columns))
        (rows,) = self.tables(config).read([Read(stored_view(config, view).table, names)])
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
            If the store cannot be read.
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
        asked = [
            Asked(stored_view(config, each.view), each.types, own)
            for each, own in zip(plan.views, keys, strict=True)
        ]
        answers = read_views(self.tables(config), asked, clock.now())
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
            If the store cannot be written.
        """
        drop = [stored_view(config, view).table for view in tables_to_delete]
        keep = {
            stored_view(config, view).table: layout_of(view)
            for view in tables_to_keep
            if getattr(view, "write_to_online_store", True)  # False of on-demand views alone
        }
        self.tables(config).update(drop, keep)

    def teardown(
        self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]
    ) -> None:
        """Drop the views' tables, and what the store needs if nothing of anybody is left in it.

        Raises
        ------
        FeastRepositoryError
            If the store cannot be written.
        """
        self.tables(config).teardown([stored_view(config, view).table for view in tables])

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
        asked, places, counts = [], [], []
        for view, names in grouped_refs:
            entities, at, count = utils._get_unique_entities(
                view, join_key_values, entity_name_to_join_key_map
            )
            asked.append(_asked(config, view, utils._get_entity_key_protos(entities), names))
            places.append(at)
            counts.append(count)
        # Once: no load comes between views.
        answers = read_views(self.tables(config), asked, clock.now())
        for (view, names), answer, at, count in zip(
            grouped_refs, answers, places, counts, strict=True
        ):
            utils._populate_response_from_feature_data(
                names,
                _for_feast(answer),
                at,
                online_features_response,
                full_feature_names,
                view,
                count,
                include_feature_view_version_metadata,
            )
            expired = [
                place
                for status, of_row in zip(answer.status.tolist(), at, strict=True)
                if status == OUTSIDE_MAX_AGE
                for place in of_row
            ]
            for vector in online_features_response.results[-len(names) :]:
                for place in expired:
                    vector.statuses[place] = OUTSIDE_MAX_AGE

    def _write(self, config: RepoConfig, view: FeatureView, rows: Rows) -> int:
        table = stored_view(config, view).table
        return self.tables(config).write(table, layout_of(view), rows)


def _asked(
    config: RepoConfig,
    view: FeatureView,
    entity_keys: list[EntityKey],
    names: list[str] | None,
) -> Asked:
    return Asked(stored_view(config, view), types_of(view, names), serialize_keys(entity_keys))


def _for_feast(read: Answer) -> list[ReadRow]:
    """Return rows as :meth:`WideOnlineStore.online_read` does."""
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
