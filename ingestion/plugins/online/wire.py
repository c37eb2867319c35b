"""Columns as the bytes of Feast's protobufs: a response is parsed from them at once.

A response has a message for each value and for each event time. To make them one by one in Python
takes ten times as long as to make their bytes by columns, and to parse those. What the bytes are is
fixed by protobuf's encoding and by the numbers of Feast's fields.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from ingestion.plugins.online.layout import Values, is_float, is_word
from ingestion.plugins.online.values import FIELDS, SECOND_US, to_protos

Bytes = NDArray[np.uint8]

_VECTOR = GetOnlineFeaturesResponse.FeatureVector
_FEW = 8
"""Rows that are made one by one sooner than by columns."""
_VARINT, _EIGHT_BYTES, _MESSAGE, _FOUR_BYTES = 0, 1, 2, 5
_FLOATS = {"DOUBLE": (_EIGHT_BYTES, "<f8"), "FLOAT": (_FOUR_BYTES, "<f4")}
_SEVENS = 7 * np.arange(10, dtype=np.uint64)  # what a varint's bytes have of its 64 bits


def _tag(message: Any, field: str, kind: int) -> int:
    number: int = message.DESCRIPTOR.fields_by_name[field].number
    return number << 3 | kind


_VALUES = _tag(_VECTOR, "values", _MESSAGE)
_TAGS = {
    value_type: _tag(Value, field, _FLOATS.get(value_type, (_VARINT,))[0])
    for value_type, field in FIELDS.items()
}


def add_vector(response: GetOnlineFeaturesResponse, values: Values, rows: bytes) -> None:
    """Add the ``FeatureVector`` of a column, whose rows are as :func:`rows_bytes` gives them."""
    if len(values) < _FEW or not is_word(values.type):
        response.results.add(values=to_protos(values)).MergeFromString(rows)
    else:
        response.results.add().MergeFromString(_values_bytes(values) + rows)


def _values_bytes(values: Values) -> bytes:
    """Return the ``values`` of a ``FeatureVector``; an empty one for a null."""
    if is_float(values.type):
        content = values.data.astype(_FLOATS[values.type][1]).view(np.uint8)
        return _entries(values, content.reshape(len(values), -1), None)
    is_instant = values.type == "UNIX_TIMESTAMP"
    return _entries(values, *_varints(values.data // SECOND_US if is_instant else values.data))


def rows_bytes(status: NDArray[np.int64], event_us: NDArray[np.int64]) -> bytes:
    """Return the ``statuses`` and ``event_timestamps`` of a ``FeatureVector``."""
    statuses: bytes = _VECTOR(statuses=status.tolist()).SerializeToString()
    events = event_us.tolist()  # mostly a few instants, a day's
    stamps = {
        us: _VECTOR(
            event_timestamps=[Timestamp(seconds=us // SECOND_US, nanos=us % SECOND_US * 1000)]
        ).SerializeToString()
        for us in set(events)
    }
    return statuses + b"".join([stamps[us] for us in events])


def _entries(values: Values, content: Bytes, used: NDArray[np.bool_] | None) -> bytes:
    """Return a ``Value`` of each row: its tag, then all of its content or the bytes used."""
    count, width = content.shape
    entries = np.empty((count, 3 + width), np.uint8)
    entries[:, 0] = _VALUES
    entries[:, 1] = 1 + (width if used is None else used.sum(axis=1))  # how long it is
    entries[:, 2] = _TAGS[values.type]
    entries[:, 3:] = content
    if used is None and values.valid.all():
        return entries.tobytes()
    keep = np.ones(entries.shape, bool)
    if used is not None:
        keep[:, 3:] = used
    keep[~values.valid, 2:] = False
    entries[~values.valid, 1] = 0
    return entries[keep].tobytes()


def _varints(numbers: NDArray[np.int64]) -> tuple[Bytes, NDArray[np.bool_]]:
    """Return seven bits a byte, lowest first, and which bytes are used; all but the last go on."""
    rest = numbers.view(np.uint64)[:, None] >> _SEVENS
    used = rest != 0
    used[:, 0] = True
    content = (rest & np.uint64(127)).astype(np.uint8)
    content[:, :-1] |= used[:, 1:].astype(np.uint8) << 7
    return content, used
