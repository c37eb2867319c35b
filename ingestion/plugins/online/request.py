"""Which requests are answered by columns, without a protobuf a value.

Those for feature views with one join key each, a text or an integer, given as plain Python values.
All others are Feast's: on-demand views, views without an entity or with several join keys,
versions, data that comes with the request, and mistakes, which Feast tells in its own words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from feast import FeatureService, FeatureView, utils
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.registry.base_registry import BaseRegistry
from feast.value_type import ValueType

from ingestion.plugins.online.views import types_of

_RANGES = {ValueType.INT32: 2**31, ValueType.INT64: 2**63}
_INTEGERS = {int, np.int64, np.int32}

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
    if key_type not in _RANGES or not kinds <= _INTEGERS:
        return None
    limit = _RANGES[key_type]
    return list(map(int, values)) if -limit <= min(values) and max(values) < limit else None
