"""The rows of a view whose vectors are nearest to one: exact, by a look at all of them.

The vector is the feature that is declared with ``vector_index=True``; no index is kept. Rows that
are not valid now, and those whose vector is null, are not found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from feast import FeatureView, RepoConfig
from feast.infra.key_encoding_utils import deserialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.utils import _get_feature_view_vector_field_metadata
from numpy.typing import NDArray

from ingestion.base import clock
from ingestion.base.instants import from_micros
from ingestion.plugins.online.conversion import KEY_VERSION, stored_view, to_protos, types_of
from ingestion.plugins.online.reading import served
from ingestion.plugins.online.rows import Read, Tables

Floats = NDArray[np.float64]

_METRICS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "l2": lambda vectors, query: np.linalg.norm(vectors - query, axis=1),
    "l1": lambda vectors, query: np.abs(vectors - query).sum(axis=1),
    "cosine": lambda vectors, query: 1 - _cosine(vectors, query),
    "inner_product": lambda vectors, query: -(vectors @ query),
}
"""How far vectors are from one; the nearer, the less."""


@dataclass(frozen=True)
class Found:
    """A row that was found.

    Attributes
    ----------
    values
        The features that were asked for, and ``distance``.
    """

    event: datetime
    key: EntityKey
    vector: Value
    distance: Value
    values: dict[str, Value]


class VectorSearch:
    """What Feast calls the retrieval of documents, for stores whose rows can all be read."""

    def retrieve_online_documents(
        self,
        config: RepoConfig,
        table: FeatureView,
        requested_features: list[str],
        embedding: list[float],
        top_k: int,
        distance_metric: str | None = None,
    ) -> list[tuple[datetime, EntityKey, Value, Value, Value]]:
        """Find the rows whose vectors are nearest to one; see :func:`nearest`.

        Returns
        -------
        list of (event time, key, vector, vector, distance)
            The nearest first; Feast has two places for the vector.

        Raises
        ------
        ValueError
            See :func:`nearest`.
        FeastRepositoryError
            If the store cannot be read.
        """
        found = nearest(self.tables(config), config, table, [], embedding, top_k, distance_metric)
        return [(each.event, each.key, each.vector, each.vector, each.distance) for each in found]

    def retrieve_online_documents_v2(
        self,
        config: RepoConfig,
        table: FeatureView,
        requested_features: list[str],
        embedding: list[float] | None,
        top_k: int,
        distance_metric: str | None = None,
        query_string: str | None = None,
        filters: object = None,
        include_feature_view_version_metadata: bool = False,
    ) -> list[tuple[datetime, EntityKey, dict[str, Value]]]:
        """Find the rows whose vectors are nearest to one, and return features of theirs.

        Returns
        -------
        list of (event time, key, values by feature)
            In the order of the keys: Feast gives a key the features of another in any other order.

        Raises
        ------
        ValueError
            If words or filters are given; and see :func:`nearest`.
        FeastRepositoryError
            If the store cannot be read.
        """
        if query_string is not None or filters is not None:
            raise ValueError(
                f"{type(self).__name__} finds rows by their vector alone, not by words "
                "(query_string) or filters: give a query vector, or use another online store"
            )
        tables, query = self.tables(config), embedding or []
        found = nearest(tables, config, table, requested_features, query, top_k, distance_metric)
        found.sort(key=lambda each: [_value_of(value) for value in each.key.entity_values])
        return [(each.event, each.key, each.values) for each in found]

    def tables(self, config: RepoConfig) -> Tables:
        """Return the tables that a configuration names."""
        raise NotImplementedError


def nearest(
    tables: Tables,
    config: RepoConfig,
    view: FeatureView,
    names: Sequence[str],
    query: Sequence[float],
    top_k: int,
    metric: str | None,
) -> list[Found]:
    """Return the ``top_k`` rows whose vectors are nearest to a query, the nearest first.

    Parameters
    ----------
    names
        The features to return.
    metric
        ``L2`` (also if None), ``L1``, ``cosine`` or ``inner_product``, in any case.

    Raises
    ------
    ValueError
        If the view has no vector, the metric is unknown, or a vector is not as long as the query.
    """
    field = _get_feature_view_vector_field_metadata(view)
    if field is None:
        raise ValueError(
            f"the view {view.name} has no vector: declare one of its features with "
            "vector_index=True, and run feast apply"
        )
    distance = _METRICS.get((metric or "L2").lower())
    if distance is None:
        raise ValueError(f"unknown distance {metric}: use L2, L1, cosine or inner_product")
    types, stored, now = types_of(view, [field.name]), stored_view(config, view), clock.now()
    (rows,) = tables.read([Read(stored.table, [*types, *types_of(view, names)])])
    vectors = to_protos(served(rows, stored, types, now).values[field.name])
    known = [row for row, vector in enumerate(vectors) if vector.WhichOneof("val")]
    if not known:
        return []
    matrix = _matrix(view, [vectors[row] for row in known], len(query))
    distances = distance(matrix, np.array(query))
    chosen = np.argsort(distances, kind="stable")[:top_k]
    places = [known[row] for row in chosen]
    values = served(rows.take(places), stored, types_of(view, names), now).values
    columns = {name: to_protos(column) for name, column in values.items()}
    return [
        Found(
            event=from_micros(int(rows.event_us[place])),
            key=deserialize_entity_key(rows.keys[place], KEY_VERSION),
            vector=vectors[place],
            distance=(away := Value(float_val=float(distances[chosen[at]]))),
            values={name: column[at] for name, column in columns.items()} | {"distance": away},
        )
        for at, place in enumerate(places)
    ]


def _matrix(view: FeatureView, vectors: list[Value], width: int) -> Floats:
    lists = [_value_of(vector).val for vector in vectors]
    if other := {len(each) for each in lists} - {width}:
        raise ValueError(
            f"the query has {width} numbers, but {view.name} has vectors of {min(other)}"
        )
    return np.array(lists, np.float64)


def _value_of(value: Value) -> Any:
    return getattr(value, value.WhichOneof("val") or "")


def _cosine(vectors: Floats, query: Floats) -> Floats:
    """Return the cosines of angles; 0 where a vector has no direction."""
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    products: Floats = vectors @ query
    cosines: Floats = np.divide(products, lengths, out=np.zeros(len(vectors)), where=lengths > 0)
    return cosines
