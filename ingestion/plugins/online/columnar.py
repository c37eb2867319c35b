"""Requests that are answered by columns, and Feast's response made of columns.

Answered by columns, without a protobuf for each value, are requests for feature views with one join
key each, a text or an integer, given as plain Python values. All others are Feast's: on-demand
views, views without an entity or with several join keys, versions, data that comes with the
request, and mistakes, which Feast reports in its own words.

Feast's own response has a protobuf for each value, and takes it apart again for a frame. This one
has arrays; the protobuf is made when somebody asks for it, as the feature server does. What it
answers is what Feast's own response would: the same columns, in the same order, of the same types.
A column without any value (all rows are expired, say) is the one exception: Feast's is of objects,
or of Arrow's null type; this one is of the feature's type, as with some values: a model accepts it.

The protobuf has a message for each value and for each event time. To make them one by one in Python
takes ten times as long as to make their bytes by columns, and to parse those. What the bytes are is
fixed by protobuf's encoding and by the numbers of Feast's fields.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import FeatureService, FeatureView, utils
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.registry.base_registry import BaseRegistry
from feast.online_response import TIMESTAMP_POSTFIX, OnlineResponse, _convert_uuids_for_arrow
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value
from feast.value_type import ValueType
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from ingestion.base.instants import MICROSECONDS
from ingestion.plugins.online.conversion import (
    FIELDS,
    make_protos,
    to_arrow,
    to_protos,
    to_python,
    types_of,
)
from ingestion.plugins.online.layout import Values, is_float, is_word
from ingestion.plugins.online.reading import PRESENT, Answer

_RANGES = {ValueType.INT32: 2**31, ValueType.INT64: 2**63}
_KEY_TYPES = {int, np.int64, np.int32}
_INTEGERS = ("INT32", "INT64")
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

EntityRows = list[dict[str, Any]] | Mapping[str, Any]


@dataclass(frozen=True)
class ViewRequest:
    """Features of one view.

    Attributes
    ----------
    types
        Of the features, in the order of the answer.
    join_key
        As the view calls it.
    given_as
        As the request calls it.
    """

    view: FeatureView
    types: dict[str, str]
    join_key: str
    given_as: str


@dataclass(frozen=True)
class ColumnarRequest:
    """A request that columns can answer.

    Attributes
    ----------
    keys
        Of each join key, as the request calls it: the name of its type, and its values.
    """

    keys: dict[str, tuple[str, list[Any]]]
    views: Sequence[ViewRequest]


class _Context:
    """What Feast makes of a request's features: the same object until its registry changes."""

    def __init__(self, resolved: tuple[Any, ...]) -> None:
        self.resolved = resolved

    def __hash__(self) -> int:
        return id(self.resolved)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Context) and self.resolved is other.resolved


def plan_request(
    registry: BaseRegistry,
    project: str,
    features: list[str] | FeatureService,
    entity_rows: EntityRows,
    full_feature_names: bool,
) -> ColumnarRequest | None:
    """Resolve a request; None if it is Feast's to answer.

    Raises
    ------
    Exception
        Whatever Feast raises for features that it does not know or does not serve.
    """
    if isinstance(features, FeatureService) and getattr(features, "precompute_online", False):
        return None
    resolved = utils._get_cached_request_context(registry, project, features, full_feature_names)
    views = _view_requests(_Context(resolved))
    columns = _columns(entity_rows)
    if views is None or columns is None:
        return None
    _, _, entities, key_types, join_keys, *_ = resolved
    given = {name for name in columns if name in join_keys or name in entities}
    if given != {view.given_as for view in views}:
        return None
    keys = {}
    for name in columns:
        if name in given:
            key_type = key_types.get(name)
            values = _plain_keys(columns[name], key_type)
            if values is None or key_type is None:
                return None
            keys[name] = (key_type.name, values)
    if len({len(values) for _, values in keys.values()}) != 1:
        return None
    return ColumnarRequest(keys, views)


@lru_cache(maxsize=64)
def _view_requests(context: _Context) -> tuple[ViewRequest, ...] | None:
    """Return what is asked of each view; None if one of them is Feast's to answer."""
    (_, on_demand, _, _, _, grouped, _, request_data, entityless) = context.resolved
    if on_demand or request_data or entityless:
        return None
    views = [_view_request(view, names) for view, names in grouped]
    plain = tuple(view for view in views if view is not None)
    return plain if len(plain) == len(views) else None


def _columns(entity_rows: EntityRows) -> Mapping[str, Any] | None:
    """Turn rows into columns, if all rows have the same names."""
    if not isinstance(entity_rows, list):
        return entity_rows
    if not entity_rows or any(row.keys() != entity_rows[0].keys() for row in entity_rows):
        return None
    return {name: [row[name] for row in entity_rows] for name in entity_rows[0]}


def _view_request(view: object, features: Sequence[str]) -> ViewRequest | None:
    if not isinstance(view, FeatureView) or view.projection.version_tag is not None:
        return None
    if len(view.entity_columns) != 1 or len(view.entities) != 1:
        return None
    join_key = view.entity_columns[0].name
    if join_key == DUMMY_ENTITY_ID:
        return None
    given_as = view.projection.join_key_map.get(join_key, join_key)
    return ViewRequest(view, types_of(view, features), join_key, given_as)


def _plain_keys(values: object, key_type: ValueType | None) -> list[Any] | None:
    """Return keys as a list if they are what their type says, to the last."""
    if not isinstance(values, Sequence) or isinstance(values, str | bytes) or not values:
        return None
    kinds = set(map(type, values))
    if key_type == ValueType.STRING:
        return list(values) if kinds == {str} else None
    if key_type not in _RANGES or not kinds <= _KEY_TYPES:
        return None
    limit = _RANGES[key_type]
    return list(map(int, values)) if -limit <= min(values) and max(values) < limit else None


class ColumnarOnlineResponse(OnlineResponse):
    """Feast's online response, made of columns.

    Parameters
    ----------
    keys
        The join keys as they were asked for, by name.
    views
        What each view answers, under the names of the response.
    """

    def __init__(
        self,
        keys: Mapping[str, tuple[str, list[Any]]],
        views: Sequence[Answer],
    ) -> None:
        self._keys = keys
        self._views = views

    @cached_property
    def proto(self) -> GetOnlineFeaturesResponse:
        """The response as Feast's own has it."""
        response = GetOnlineFeaturesResponse()
        names = response.metadata.feature_names.val
        for name, (value_type, column) in self._keys.items():
            names.append(name)
            given = np.full(len(column), PRESENT), np.zeros(len(column), np.int64)
            protos = make_protos(value_type, column)
            response.results.add(values=protos).MergeFromString(rows_bytes(*given))
        for view in self._views:
            rows = rows_bytes(view.status, view.event_us)
            for name, values in view.values.items():
                names.append(name)
                add_vector(response, values, rows)
        return response

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, Any]:
        """Return a list a column: the join keys, then the features.

        Parameters
        ----------
        include_event_timestamps
            Add, after each column, the seconds of its event times, 0 where there is none.
        """
        return dict(self._columns(include_event_timestamps, list, to_python, np.ndarray.tolist))

    def to_df(self, include_event_timestamps: bool = False) -> pd.DataFrame:
        """Return a frame of the columns of :meth:`to_dict`."""
        columns = self._columns(include_event_timestamps, list, _to_pandas, np.asarray)
        return pd.DataFrame(dict(columns))

    def to_arrow(self, include_event_timestamps: bool = False) -> pa.Table:
        """Return a table of the columns of :meth:`to_dict`."""
        columns = self._columns(include_event_timestamps, pa.array, _to_arrow, pa.array)
        return pa.table(dict(columns))

    def _columns(
        self,
        include_event_timestamps: bool,
        of_keys: Callable[[list[Any]], Any],
        of_values: Callable[[Values], Any],
        of_seconds: Callable[[NDArray[np.int64]], Any],
    ) -> Iterator[tuple[str, Any]]:
        for name, (_, column) in self._keys.items():
            yield name, of_keys(column)
            if include_event_timestamps:
                yield name + TIMESTAMP_POSTFIX, of_seconds(np.zeros(len(column), np.int64))
        for view in self._views:
            for name, values in view.values.items():
                yield name, of_values(values)
                if include_event_timestamps:
                    yield name + TIMESTAMP_POSTFIX, of_seconds(view.event_us // MICROSECONDS)


def _to_pandas(values: Values) -> Any:
    """Return what pandas makes of the list of objects; without any value, of the feature's type.

    Integers of which some are missing are floats, as pandas has them.
    """
    if is_float(values.type) or (values.type in _INTEGERS and not values.valid.any()):
        return np.where(values.valid, values.data, np.nan)
    if values.type in _INTEGERS and values.valid.all():
        return values.data
    if values.type == "UNIX_TIMESTAMP" and not values.valid.any():
        return pd.DatetimeIndex([pd.NaT] * len(values), dtype="datetime64[ns, UTC]")
    return to_python(values)


def _to_arrow(values: Values) -> pa.Array:
    """Return what Arrow makes of the list of objects; without any value, of the feature's type."""
    if is_float(values.type) or values.type in _INTEGERS:
        return pa.array(values.data, mask=~values.valid, from_pandas=False)
    if not values.valid.any():
        return to_arrow(values)
    return pa.array(_convert_uuids_for_arrow({"": to_python(values)})[""])


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
    return _entries(values, *_varints(values.data // MICROSECONDS if is_instant else values.data))


def rows_bytes(status: NDArray[np.int64], event_us: NDArray[np.int64]) -> bytes:
    """Return the ``statuses`` and ``event_timestamps`` of a ``FeatureVector``."""
    statuses: bytes = _VECTOR(statuses=status.tolist()).SerializeToString()
    events = event_us.tolist()  # mostly a few instants, a day's
    stamps = {
        us: _VECTOR(
            event_timestamps=[Timestamp(seconds=us // MICROSECONDS, nanos=us % MICROSECONDS * 1000)]
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


def count_read(seconds: float, answers: Sequence[tuple[str, Answer]]) -> None:
    """Count a read of some views for Feast's metrics (``feast serve --metrics``), as Feast does.

    The server has loaded Feast's metrics; elsewhere nobody counts, and to import them would make
    folders and hooks that nobody asked for.
    """
    metrics: ModuleType | None = sys.modules.get("feast.metrics")
    if metrics is None or not metrics._config.online_features:
        return
    metrics.track_online_store_read(seconds)
    for name, answer in answers:
        present = int(np.count_nonzero(answer.status == PRESENT))
        absent = len(answer.status) - present
        features = len(answer.values)
        metrics.track_feature_statuses(name, present * features, absent * features)
