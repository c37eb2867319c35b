"""Values at the store's border: Feast's protobufs, Python objects and Arrow columns.

A ``UNIX_TIMESTAMP`` is stored in microseconds. Feast's value of it is whole seconds, so that is
what every answer of Feast's interface carries; Arrow tables carry the microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.value_type import ValueType
from numpy.typing import NDArray

from ingestion.base.errors import InputError
from ingestion.plugins.online.layout import Values, is_float

SECOND_US = 1_000_000
INSTANT = pa.timestamp("us", tz="UTC")

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


def from_protos(feature: str, value_type: str, protos: Sequence[Value | None]) -> Values:
    """Return the values of protobufs; an empty one, or none, is a null.

    Raises
    ------
    InputError
        If one holds a value of another type than the feature's.
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
            "was written: convert it, or mend its declaration"
        )
    items = [None if proto is None else getattr(proto, expected) for proto, _ in given]
    if value_type == "UNIX_TIMESTAMP":
        items = [None if s is None or s == _NO_INSTANT else s * SECOND_US for s in items]
    return Values.of(value_type, items)


def to_protos(values: Values) -> list[Value]:
    """Return a protobuf a value, an empty one for a null."""
    if values.type in FIELDS:
        return make_protos(values.type, feast_items(values))
    return [Value() if raw is None else Value.FromString(raw) for raw in values.to_list()]


def make_protos(value_type: str, items: Sequence[Any]) -> list[Value]:
    """Return a protobuf an object, an empty one for None; the type is one stored as it is."""
    field = FIELDS[value_type]
    return [Value() if item is None else Value(**{field: item}) for item in items]


def to_python(values: Values) -> list[Any]:
    """Return the objects that Feast makes of the values, None for a null."""
    if values.type == "UNIX_TIMESTAMP":
        whole = values.data // SECOND_US * SECOND_US
        return Values(values.type, whole, values.valid).to_objects()
    if values.type in FIELDS:
        return values.to_objects()
    read = partial(feast_value_type_to_python_type, feature_type=ValueType[values.type])
    return [None if raw is None else read(Value.FromString(raw)) for raw in values.to_list()]


def feast_items(values: Values) -> list[Any]:
    """Return the objects that a protobuf of their type holds, None for a null."""
    if values.type == "UNIX_TIMESTAMP":
        return Values(values.type, values.data // SECOND_US, values.valid).to_list()
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
        items = [seconds * SECOND_US for seconds in items]
    return to_arrow(Values.of(value_type, items))


def instants(name: str, column: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return instants in microseconds since 1970 UTC, 0 where null, and where they are not null.

    One without a zone is UTC. What is finer than a microsecond is cut.

    Raises
    ------
    InputError
        If the column holds no instants.
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
