"""Between Feast, Arrow and the store: what a feature view is there, and its rows and values.

A ``UNIX_TIMESTAMP`` is stored in microseconds. Feast's value of it is whole seconds, so that is
what every answer of Feast's interface carries; Arrow tables carry the microseconds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import FeatureView, Field, RepoConfig
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_versioned_name
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.types import String
from feast.value_type import ValueType
from numpy.typing import NDArray

from ingestion.base.columns import INSTANT
from ingestion.base.errors import InputError
from ingestion.base.instants import MICROSECONDS, to_micros
from ingestion.plugins.online.keys import decode_keys, encode_keys
from ingestion.plugins.online.layout import Layout, Values, convert, is_float
from ingestion.plugins.online.reading import View, table_name
from ingestion.plugins.online.rows import NEVER, Rows

_NO_INSTANT = -(2**63)  # what Feast's own conversion makes of a missing instant
FIELDS = {
    "DOUBLE": "double_val",
    "FLOAT": "float_val",
    "INT32": "int32_val",
    "INT64": "int64_val",
    "BOOL": "bool_val",
    "UNIX_TIMESTAMP": "unix_timestamp_val",
    "STRING": "string_val",
    "BYTES": "bytes_val",
}
"""The protobuf field of the types that are stored as they are; others are stored as protobufs."""

_ARROW = {
    "DOUBLE": pa.float64(),
    "FLOAT": pa.float32(),
    "INT32": pa.int32(),
    "INT64": pa.int64(),
    "BOOL": pa.bool_(),
    "UNIX_TIMESTAMP": INSTANT,
    "STRING": pa.string(),
    "BYTES": pa.binary(),
}
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
        If a column is missing, or has a value that its declared type cannot represent.
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


def from_protos(feature: str, value_type: str, protos: Sequence[Value | None]) -> Values:
    """Return the values of protobufs; an empty one, or none, is a null.

    Raises
    ------
    InputError
        If one has a value of another type than the feature's.
    """
    given = [(proto, "" if proto is None else proto.WhichOneof("val") or "") for proto in protos]
    given = [(None, "") if field in ("", "null_val") else (proto, field) for proto, field in given]
    if value_type not in FIELDS:
        raw = [None if proto is None else proto.SerializeToString() for proto, _ in given]
        return Values.of(value_type, raw)
    expected = FIELDS[value_type]
    if strangers := {field for _, field in given} - {expected, ""}:
        raise InputError(
            f"the feature {feature} is of type {value_type}, but {', '.join(sorted(strangers))} "
            "was written: convert it, or correct its declaration"
        )
    items = [None if proto is None else getattr(proto, expected) for proto, _ in given]
    if value_type == "UNIX_TIMESTAMP":
        items = [None if s is None or s == _NO_INSTANT else s * MICROSECONDS for s in items]
    return Values.of(value_type, items)


def to_protos(values: Values) -> list[Value]:
    """Return one protobuf for each value, an empty one for a null."""
    if values.type in FIELDS:
        return make_protos(values.type, feast_items(values))
    return [Value() if raw is None else Value.FromString(raw) for raw in values.to_list()]


def make_protos(value_type: str, items: Sequence[Any]) -> list[Value]:
    """Return one protobuf for each object, an empty one for None, of a type in ``FIELDS``."""
    field = FIELDS[value_type]
    return [Value() if item is None else Value(**{field: item}) for item in items]


def to_python(values: Values) -> list[Any]:
    """Return the objects that Feast makes of the values, None for a null."""
    if values.type == "UNIX_TIMESTAMP":
        whole = values.data // MICROSECONDS * MICROSECONDS
        return Values(values.type, whole, values.valid).to_objects()
    if values.type in FIELDS:
        return values.to_objects()
    read = partial(feast_value_type_to_python_type, feature_type=ValueType[values.type])
    return [None if raw is None else read(Value.FromString(raw)) for raw in values.to_list()]


def feast_items(values: Values) -> list[Any]:
    """Return the objects that a protobuf of their type has, None for a null."""
    if values.type == "UNIX_TIMESTAMP":
        return Values(values.type, values.data // MICROSECONDS, values.valid).to_list()
    return values.to_objects()


def from_arrow(name: str, value_type: ValueType, column: pa.ChunkedArray) -> Values:
    """Return the values of a column, cast to their declared type; NaN stays NaN.

    Raises
    ------
    InputError
        If a value cannot be of that type: 3.5 as an integer.
    """
    kind = value_type.name
    try:
        if kind == "UNIX_TIMESTAMP":
            data, valid = instants(name, column)
            return Values(kind, data, valid)
        if kind in FIELDS:
            return _from_typed(kind, column.cast(_ARROW[kind]))
        # Feast makes these of dictionaries and datetimes, of which NumPy has none.
        if any(word in kind for word in ("MAP", "STRUCT", "ZONED")):
            objects = column.to_pylist(maps_as_pydicts="strict")
        else:
            objects = column.combine_chunks().to_numpy(zero_copy_only=False)
        return from_protos(name, kind, python_values_to_proto_values(objects, value_type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError, ValueError) as error:
        raise InputError(f"the column {name} cannot be of type {kind}: {error}") from error


def to_arrow(values: Values) -> pa.Array:
    """Return a column of the values.

    Scalars and lists of them have their declared type; of others, Arrow decides by the values.
    """
    if values.type == "UNIX_TIMESTAMP":
        return pa.array(values.data, mask=~values.valid).cast(INSTANT)
    if values.type == "BOOL":
        return pa.array(values.data.astype(bool), mask=~values.valid)
    if is_float(values.type) or values.type in ("INT32", "INT64"):
        data = pa.array(values.data, mask=~values.valid, from_pandas=False)
        return data.cast(_ARROW[values.type])
    if values.type in _ARROW:
        return pa.array(values.to_list(), _ARROW[values.type])
    items = to_python(values)
    element = _ARROW.get(values.type.removesuffix("_LIST"))
    return pa.array(items, None if element is None else pa.list_(element))


def keys_to_arrow(value_type: str, items: list[Any]) -> pa.Array:
    """Return a column of join keys, of their declared type."""
    if value_type == "UNIX_TIMESTAMP":
        items = [seconds * MICROSECONDS for seconds in items]
    return to_arrow(Values.of(value_type, items))


def instants(name: str, column: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return instants in microseconds since 1970 UTC, 0 where null, and where they are not null.

    One without a zone is UTC. What is finer than a microsecond is cut.

    Raises
    ------
    InputError
        If the column has no instants.
    """
    if pa.types.is_null(column.type):
        column = column.cast(INSTANT)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    if not pa.types.is_timestamp(column.type):
        raise InputError(f"the column {name} is {column.type}, not a timestamp: convert it")
    micros = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False).cast(pa.int64())
    return micros.fill_null(0).to_numpy(), column.is_valid().to_numpy()


def _from_typed(kind: str, column: pa.ChunkedArray) -> Values:
    if kind in ("STRING", "BYTES"):
        return Values.of(kind, column.to_pylist())
    data = column.fill_null(False if kind == "BOOL" else 0).to_numpy()
    return Values(
        kind,
        data.astype(np.float64 if is_float(kind) else np.int64),
        column.is_valid().to_numpy(),
    )
