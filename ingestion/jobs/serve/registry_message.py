"""Reading Feast's registry, a protobuf message, without Feast and without protobuf.

The names and numbers are those of the ``.proto`` files in ``feast/protos/feast/core/``; a test
compares them with the installed Feast's.
"""

from __future__ import annotations

from typing import Any

Message = dict[str, list[Any]]
"""By field name, the values in their order: integers, or bytes that are text or a message."""

FIELDS: dict[str, dict[str, int]] = {
    "feast.core.Registry": {"feature_views": 6, "feature_services": 7},
    "feast.core.FeatureView": {"spec": 1, "meta": 2},
    "feast.core.FeatureViewSpec": {
        **{"name": 1, "project": 2, "features": 4, "ttl": 6, "batch_source": 7},
        "disabled": 20,
    },
    "feast.core.FeatureViewMeta": {"state": 6},
    "feast.core.FeatureSpecV2": {"name": 1, "value_type": 2},
    "feast.core.DataSource": {"file_options": 11},
    "feast.core.DataSource.FileOptions": {"uri": 2},
    "feast.core.FeatureService": {"spec": 1},
    "feast.core.FeatureServiceSpec": {"name": 1, "project": 2, "features": 3},
    "feast.core.FeatureViewProjection": {
        **{"feature_view_name": 1, "feature_columns": 2, "feature_view_name_alias": 3},
    },
    "google.protobuf.Duration": {"seconds": 1, "nanos": 2},
}
"""By message, the numbers of the fields that are read."""

VALUE_TYPES = {"STRING": 2, "INT64": 4, "DOUBLE": 5, "BOOL": 7, "UNIX_TIMESTAMP": 8}
"""Of ``feast.types.ValueType.Enum``, those of the types that a catalog has."""
UNSERVED_STATES = {"CREATED": 1, "GENERATED": 2}
"""Of ``feast.core.FeatureViewState``, those in which Feast does not serve a view."""

_NAMES = {
    kind: {number: name for name, number in fields.items()} for kind, fields in FIELDS.items()
}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""How a field's value is encoded: https://protobuf.dev/programming-guides/encoding/."""


def decode(kind: str, message: bytes) -> Message:
    """Decode one level of a message; fields that :data:`FIELDS` does not name are left out.

    Parameters
    ----------
    kind
        A message of :data:`FIELDS`.

    Raises
    ------
    ValueError
        If the bytes are no message.

    Examples
    --------
    >>> decode("google.protobuf.Duration", bytes([0x08, 0x80, 0x01]))
    {'seconds': [128]}
    """
    names, found, at = _NAMES[kind], Message(), 0
    while at < len(message):
        tag, at = _varint(message, at)
        encoding = tag & 7
        value: int | bytes
        if encoding == _VARINT:
            value, at = _varint(message, at)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}.get(encoding, 0)
            if encoding == _BYTES:
                size, at = _varint(message, at)
            elif not size:
                raise ValueError(f"no field of a message is encoded as {encoding}")
            value, at = message[at : at + size], at + size
        if at > len(message):
            raise ValueError("the message ends inside a field")
        if (name := names.get(tag >> 3)) is not None:
            found.setdefault(name, []).append(value)
    return found


def part(message: Message, name: str, kind: str) -> Message:
    """Decode a message that is a field of another one; an absent one has no fields."""
    return decode(kind, one(message, name, b""))


def one(message: Message, name: str, default: Any) -> Any:
    """Return a field's last value, as protobuf reads one that is repeated."""
    return message.get(name, [default])[-1]


def text(message: Message, name: str) -> str:
    """Return a field that is a text; empty if it is absent."""
    return bytes(one(message, name, b"")).decode()


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for byte in message[at : at + 10]:
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("the message ends inside a number")
