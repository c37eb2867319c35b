"""Materialization from Arrow to the online store: ``ArrowComputeEngine``.

In ``feature_store.yaml``: ``batch_engine: {type: ingestion.plugins.engine.ArrowComputeEngine}``.

Feast's local engine takes a view's rows through pandas, makes a protobuf of each value, and of a
table in several chunks writes the first alone. This one hands the offline store's Arrow table to an
online store that accepts one (``online_write_table``), whole and in one call. Views that Feast must
compute first (transformations, aggregations, validation) go Feast's own way up to that last step,
and other online stores get the protobufs that they want, of every chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureView, RepoConfig, StreamFeatureView
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.dag.context import ExecutionContext
from feast.infra.compute_engines.dag.node import DAGNode
from feast.infra.compute_engines.local.arrow_table_value import ArrowTableValue
from feast.infra.compute_engines.local.compute import LocalComputeEngine
from feast.infra.compute_engines.local.feature_builder import LocalFeatureBuilder
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.compute_engines.local.local_node import LocalNode
from feast.infra.offline_stores.offline_store import OfflineStore
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel
from feast.types import FeastType, Json, UnixTimestamp, from_feast_to_pyarrow_type
from feast.utils import _convert_arrow_to_proto, _get_column_names

from ingestion.base.columns import INSTANT
from ingestion.plugins.offline.column_types import conform


class ArrowComputeEngineConfig(FeastConfigBaseModel):
    """Configuration of :class:`ArrowComputeEngine`: nothing but its name."""

    type: Literal[
        "ingestion.plugins.engine.ArrowComputeEngine",
        "feature_repo.stores.engine.ArrowComputeEngine",  # the former path
    ] = "ingestion.plugins.engine.ArrowComputeEngine"


class ArrowMaterializationJob(LocalMaterializationJob):
    """What became of a task.

    Attributes
    ----------
    rows
        Rows that the offline store gave.
    written
        Rows among them that changed the online store; as many as ``rows`` where a store does not
        say.
    """

    rows: int = 0
    written: int = 0


class ArrowComputeEngine(LocalComputeEngine):
    """Feast's local engine, with Arrow all the way.

    Examples
    --------
    >>> config = RepoConfig(
    ...     project="demo", provider="local", registry="registry.db",
    ...     batch_engine={"type": "ingestion.plugins.engine.ArrowComputeEngine"},
    ... )
    >>> config.batch_engine
    ArrowComputeEngineConfig(type='ingestion.plugins.engine.ArrowComputeEngine')
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs.pop("type", None)
        super().__init__(**kwargs)

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **kwargs: Any
    ) -> ArrowMaterializationJob:
        name = f"{task.feature_view.name}-{task.start_time}-{task.end_time}"
        try:
            context = self.get_execution_context(registry, task)
            if _is_plain(task.feature_view):
                rows = _pull(context, task)
            else:
                plan = _Builder(registry, task, self._get_backend(context)).build()
                rows = plan.execute(context).data
            written = _write(context, task, _typed(rows, task.feature_view))
        except Exception as error:  # noqa: BLE001 - Feast raises it again from the job
            return ArrowMaterializationJob(name, MaterializationJobStatus.ERROR, error)
        job = ArrowMaterializationJob(name, MaterializationJobStatus.SUCCEEDED)
        job.rows, job.written = rows.num_rows, written
        return job


class _Builder(LocalFeatureBuilder):
    """Feast's plan for a view that must be computed, up to the rows that are to be written."""

    def build_output_nodes(self, view: FeatureView, input_node: DAGNode) -> DAGNode:
        node = _Rows("rows", inputs=[input_node])
        self.nodes.append(node)
        return node


class _Rows(LocalNode):
    """The last step of a plan: what the step before it computed."""

    def execute(self, context: ExecutionContext) -> ArrowTableValue:
        return self.get_single_table(context)


def _is_plain(view: FeatureView) -> bool:
    """Return whether a view's rows are its source's rows."""
    return view.batch_source is not None and not (
        getattr(view, "feature_transformation", None)
        or getattr(view, "aggregations", None)
        or getattr(view, "filter", None)
        or getattr(view, "source_views", None)
        or view.enable_validation
        or isinstance(view, StreamFeatureView)
    )


def _pull(context: ExecutionContext, task: MaterializationTask) -> pa.Table:
    """Return the task's rows from the offline store, under the view's names and types."""
    view, source = task.feature_view, task.feature_view.batch_source
    join_keys, features, event, created = _get_column_names(view, context.entity_defs)
    store: OfflineStore = context.offline_store
    pull = (
        store.pull_latest_from_table_or_query
        if task.only_latest  # all that an online store keeps of a key
        else store.pull_all_from_table_or_query
    )
    job = pull(
        config=context.repo_config,
        data_source=source,
        join_key_columns=join_keys,
        feature_name_columns=features,
        timestamp_field=event,
        created_timestamp_column=created,
        start_date=task.start_time,
        end_date=task.end_time,
    )
    rows = job.to_arrow()
    # A mapping may rename the times too, or not: the source's own names count.
    names = {**(source.field_mapping or {}), event: source.timestamp_field}
    if created:
        names[created] = source.created_timestamp_column
    return rows.rename_columns([names.get(name, name) for name in rows.column_names])


def _typed(rows: pa.Table, view: FeatureView) -> pa.Table:
    """Return what the view declares, in its types; a column that the source lacks is null.

    Instants are cut to microseconds: a source may have nanoseconds, and nothing here does.
    """
    source, features = view.batch_source, {field.name for field in view.features}
    stored = {field.name: field.type for field in rows.schema}
    wanted = {
        field.name: _arrow_type(field.dtype, stored.get(field.name, pa.null()))
        for field in (*view.entity_columns, *view.features)
    }
    times = (source.timestamp_field, source.created_timestamp_column)
    wanted |= {name: INSTANT for name in times if name}
    columns = {}
    for name, dtype in wanted.items():
        if name not in rows.column_names:
            columns[name] = pa.nulls(rows.num_rows, dtype or pa.null())
            continue
        try:
            columns[name] = conform(rows[name], dtype, seconds=name in features)
        except TypeError as error:
            if dtype is not None and pa.types.is_nested(dtype):
                # The store makes Feast's values of Python's: a struct is a map there.
                columns[name] = conform(rows[name], None)
                continue
            raise ValueError(
                f"{view.name}: column {name} of its source is not {dtype}: {error}"
            ) from error
    return pa.table(columns)


def _arrow_type(declared: FeastType, stored: pa.DataType) -> pa.DataType | None:
    """Return the type of a column; None, as it is stored, where Feast has none for it."""
    if declared == UnixTimestamp:
        return INSTANT
    if declared == Json and pa.types.is_nested(stored):
        return None
    try:
        return from_feast_to_pyarrow_type(declared)
    except ValueError:
        return None


def _write(context: ExecutionContext, task: MaterializationTask, rows: pa.Table) -> int:
    """Write rows to the stores that the view is kept in; return how many changed the online one."""
    view, written = task.feature_view, 0
    if not rows.num_rows:
        return 0
    if view.online:
        bar = task.tqdm_builder(rows.num_rows) if task.tqdm_builder else None
        try:
            written = _write_online(
                context.repo_config,
                context.online_store,
                view,
                rows,
                bar.update if bar else lambda _: None,
            )
        finally:
            if bar:
                bar.close()
    if view.offline:
        store: OfflineStore = context.offline_store
        store.offline_write_batch(context.repo_config, view, rows, lambda _: None)
    return written


def _write_online(
    config: RepoConfig,
    store: OnlineStore,
    view: FeatureView,
    rows: pa.Table,
    progress: Callable[[int], object],
) -> int:
    if hasattr(store, "online_write_table"):
        return int(store.online_write_table(config, view, rows, progress))
    join_keys = {column.name: column.dtype.to_value_type() for column in view.entity_columns}
    size = config.materialization_config.online_write_batch_size
    for batch in _newest(rows, view).to_batches(max_chunksize=size):
        if batch.num_rows:
            data = _convert_arrow_to_proto(batch, view, join_keys)
            store.online_write_batch(config, view, data, progress)
    return int(rows.num_rows)


def _newest(rows: pa.Table, view: FeatureView) -> pa.Table:
    """Return each key's newest row; Feast's stores keep what they are given last."""
    keys = [column.name for column in view.entity_columns]
    source = view.batch_source
    times = [name for name in (source.timestamp_field, source.created_timestamp_column) if name]
    if rows.group_by(keys).aggregate([]).num_rows == rows.num_rows:
        return rows
    rows = rows.append_column("", pa.array(range(rows.num_rows)))
    rows = rows.sort_by([(name, "ascending") for name in (*times, "")])
    last = rows.group_by(keys, use_threads=False).aggregate([("", "last")])
    return rows.filter(pc.is_in(rows[""], last["_last"])).drop_columns("")
