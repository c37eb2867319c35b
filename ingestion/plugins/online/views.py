"""What a feature view is to the online store: a table, a layout, and rows from and to it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import FeatureView, Field, RepoConfig
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_versioned_name
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import String

from ingestion.base.errors import InputError
from ingestion.base.instants import to_micros
from ingestion.plugins.online.keys import decode_keys, encode_keys
from ingestion.plugins.online.layout import Layout, Values, convert
from ingestion.plugins.online.reading import View, table_name
from ingestion.plugins.online.tables import NEVER, Rows
from ingestion.plugins.online.values import (
    INSTANT,
    feast_items,
    from_arrow,
    from_protos,
    instants,
    keys_to_arrow,
    to_arrow,
)

WrittenRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
"""A row as Feast writes it: key, values by feature, event and created time."""

KEY_VERSION = 3
_NOBODY = EntityKey(join_keys=[DUMMY_ENTITY_ID], entity_values=[Value(string_val=DUMMY_ENTITY_VAL)])
"""The key of a view without an entity: Feast writes some of its rows under no key at all."""
_log = logging.getLogger(__name__)


def stored_view(config: RepoConfig, view: FeatureView) -> View:
    """Return a view's table and TTL; Feast's own SQLite store may have tables in the same file."""
    versioning = config.registry.enable_online_feature_view_versioning
    name = compute_versioned_name(view, versioning)
    ttl: timedelta | None = getattr(view, "ttl", None)  # on-demand views have none
    return View(table_name(config.project, name), ttl)


def layout_of(view: FeatureView) -> Layout:
    """Return the layout of a view's features."""
    return Layout.of(types_of(view).items())


def types_of(view: FeatureView, names: Iterable[str] | None = None) -> dict[str, str]:
    """Return the types of a view's features, or of those named, in that order."""
    fields = {field.name: field for field in view.features}
    wanted = fields if names is None else [name for name in names if name in fields]
    return {name: _type(fields[name]) for name in wanted}


def serialize_keys(keys: Iterable[EntityKey]) -> list[bytes]:
    """Encode keys; that of nobody as the one that Feast asks for."""
    return [serialize_entity_key(key if key.join_keys else _NOBODY, KEY_VERSION) for key in keys]


def rows_from_feast(view: FeatureView, data: Sequence[WrittenRow]) -> Rows:
    """Return rows that Feast writes; those without an event time are left out.

    Raises
    ------
    InputError
        If a value is not of its feature's type.
    """
    dated = [row for row in data if not pd.isnull(row[2])]
    _tell_left_out(view, len(data) - len(dated), "an event time")
    created = [NEVER if row[3] is None or pd.isnull(row[3]) else to_micros(row[3]) for row in dated]
    return Rows(
        keys=serialize_keys(row[0] for row in dated),
        event_us=np.array([to_micros(row[2]) for row in dated], np.int64),
        created_us=np.array(created, np.int64),
        values={
            name: from_protos(name, value_type, [row[1].get(name) for row in dated])
            for name, value_type in types_of(view).items()
        },
    )


def rows_from_arrow(view: FeatureView, table: pa.Table) -> Rows:
    """Return the rows of a table; those without a key or an event time are left out.

    Raises
    ------
    InputError
        If a column is missing, or holds what its declared type cannot.
    """
    source = view.batch_source
    key_fields = list(view.entity_columns) or [Field(name=DUMMY_ENTITY_ID, dtype=String)]
    table = _with_nobody(table, key_fields)
    _require(view, table, [*key_fields, *view.features])
    event_us, complete = instants(source.timestamp_field, table[source.timestamp_field])
    for field in key_fields:
        complete = complete & table[field.name].is_valid().to_numpy()
    if not complete.all():
        _tell_left_out(view, int((~complete).sum()), "a key or an event time")
        table, event_us = table.filter(pa.array(complete)), event_us[complete]
    created_us = np.full(len(event_us), NEVER)
    if name := source.created_timestamp_column:
        created, known = instants(name, table[name])
        created_us = np.where(known, created, NEVER)
    keys = _typed(table, key_fields)
    return Rows(
        keys=encode_keys({name: (key.type, feast_items(key)) for name, key in keys.items()}),
        event_us=event_us,
        created_us=created_us,
        values=_typed(table, view.features),
    )


def arrow_from_rows(view: FeatureView, rows: Rows, names: Iterable[str]) -> pa.Table:
    """Return rows as a table: join keys, the features named, event and created times.

    The times have their names in the view's batch source; one that it does not have is left out, as
    are rows of join keys that the view does not have any more.
    """
    source = view.batch_source
    key_types = {field.name: _type(field) for field in view.entity_columns}
    places, keys = decode_keys([key for key in rows.keys if key is not None], key_types)
    columns = {}
    for name, value_type in types_of(view, names).items():
        stored = rows.values.get(name)
        if stored is None:
            stored = Values.nulls(value_type, len(rows.keys))
        columns[name] = to_arrow(convert(stored, value_type))
    columns[source.timestamp_field] = pa.array(rows.event_us).cast(INSTANT)
    if source.created_timestamp_column:
        created = pa.array(rows.created_us, mask=rows.created_us == NEVER)
        columns[source.created_timestamp_column] = created.cast(INSTANT)
    table = pa.table(columns)
    if len(places) < table.num_rows:
        table = table.take(places)
    for name in reversed(key_types):
        table = table.add_column(0, name, keys_to_arrow(key_types[name], keys[name]))
    return table


def _type(field: Field) -> str:
    name: str = field.dtype.to_value_type().name
    return name


def _typed(table: pa.Table, fields: Iterable[Field]) -> dict[str, Values]:
    return {
        field.name: from_arrow(field.name, field.dtype.to_value_type(), table[field.name])
        for field in fields
    }


def _with_nobody(table: pa.Table, key_fields: list[Field]) -> pa.Table:
    """Add the key of a view without an entity, which not every source of rows has."""
    if [field.name for field in key_fields] != [DUMMY_ENTITY_ID]:
        return table
    if DUMMY_ENTITY_ID in table.column_names:
        return table
    nobody = pa.array([DUMMY_ENTITY_VAL] * table.num_rows, pa.string())
    return table.append_column(DUMMY_ENTITY_ID, nobody)


def _require(view: FeatureView, table: pa.Table, fields: Iterable[Field]) -> None:
    source = view.batch_source
    times = [source.timestamp_field, source.created_timestamp_column]
    wanted = [*(field.name for field in fields), *(name for name in times if name)]
    if missing := [name for name in wanted if name not in table.column_names]:
        raise InputError(
            f"the rows of {view.name} have no {', '.join(missing)}: it is declared, so give it, "
            "null where it is unknown"
        )


def _tell_left_out(view: FeatureView, count: int, lacking: str) -> None:
    if count:
        _log.warning("%s: %d rows without %s were left out", view.name, count, lacking)
