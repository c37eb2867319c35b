"""What an online read answers: columns, and Feast's response made of them.

A response of Feast's holds a protobuf a value, and takes it apart again for a frame. This one holds
arrays; the protobuf is made when somebody asks for it, as the feature server does. What it answers
is what Feast's own response would: the same columns, in the same order, of the same types. A column
without any value (all rows are expired, say) is the one exception: Feast's is of objects, or of
Arrow's null type; this one is of the feature's type, as with some values: a model takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from feast.online_response import TIMESTAMP_POSTFIX, OnlineResponse, _convert_uuids_for_arrow
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from numpy.typing import NDArray

from ingestion.plugins.online.layout import Values, convert, is_float
from ingestion.plugins.online.tables import NEVER, Rows
from ingestion.plugins.online.values import SECOND_US, make_protos, to_arrow, to_python
from ingestion.plugins.online.wire import add_vector, rows_bytes

_INTEGERS = ("INT32", "INT64")
# An attribute of a protobuf's enum is a search.
_PRESENT = FieldStatus.PRESENT
_NOT_FOUND = FieldStatus.NOT_FOUND
_OUTSIDE_MAX_AGE = FieldStatus.OUTSIDE_MAX_AGE


@dataclass(frozen=True)
class ViewAnswer:
    """Features of one view for the entities asked for, a row each.

    Attributes
    ----------
    values
        By feature; null unless the row is valid.
    event_us
        int64; 0 where the entity is unknown.
    status
        Of every feature of the row: ``PRESENT``, though the value may be null, ``NOT_FOUND`` for an
        unknown entity, or ``OUTSIDE_MAX_AGE``.
    """

    values: dict[str, Values]
    event_us: NDArray[np.int64]
    status: NDArray[np.int64]

    def prefixed(self, prefix: str) -> ViewAnswer:
        """Return the same answer under longer names."""
        values = {prefix + name: values for name, values in self.values.items()}
        return replace(self, values=values)


def answer(
    rows: Rows,
    types: Mapping[str, str],
    now_us: int,
    ttl_us: int | None,
) -> ViewAnswer:
    """Let only valid rows be seen.

    Valid at an instant is a row whose event is not after it, nor more than the TTL before it.

    Parameters
    ----------
    rows
        One for each entity asked for.
    types
        Of the features asked for, in the order of the answer. One that the rows do not have is
        null.
    ttl_us
        None if rows never expire.
    """
    found = rows.event_us != NEVER
    event_us = np.where(found, rows.event_us, 0)
    valid = found & (event_us <= now_us)
    if ttl_us is not None:
        valid &= now_us - event_us <= ttl_us
    status = np.where(valid, _PRESENT, np.where(found, _OUTSIDE_MAX_AGE, _NOT_FOUND))
    some_expired = bool((found != valid).any())
    values = {}
    for name, value_type in types.items():
        stored = rows.values.get(name)
        if stored is None:
            stored = Values.nulls(value_type, len(found))
        stored = convert(stored, value_type)
        values[name] = stored.where(valid) if some_expired else stored
    return ViewAnswer(values, event_us, status)


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
        views: Sequence[ViewAnswer],
    ) -> None:
        self._keys = keys
        self._views = views

    @cached_property
    def proto(self) -> GetOnlineFeaturesResponse:
        """The response as Feast's own holds it."""
        response = GetOnlineFeaturesResponse()
        names = response.metadata.feature_names.val
        for name, (value_type, column) in self._keys.items():
            names.append(name)
            given = np.full(len(column), _PRESENT), np.zeros(len(column), np.int64)
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
                    yield name + TIMESTAMP_POSTFIX, of_seconds(view.event_us // SECOND_US)


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
