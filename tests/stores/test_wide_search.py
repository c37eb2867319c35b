"""The rows whose vectors are nearest to one, beside a look at all of them in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Array, FeastType, Float32, Float64, Int64, String
from hypothesis import given
from hypothesis import strategies as st
from wide_tools import NOW, repository

from ingestion.plugins.online import search

ITEM = Entity(name="item", join_keys=["item"], value_type=ValueType.INT64)
DISTANCES: dict[str, Callable[[list[float], list[float]], float]] = {
    "L2": math.dist,
    "L1": lambda a, b: sum(abs(x - y) for x, y in zip(a, b, strict=True)),
    "inner_product": lambda a, b: -sum(x * y for x, y in zip(a, b, strict=True)),
    "cosine": lambda a, b: (
        1 - sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))
        if any(a) and any(b)
        else 1.0
    ),
}
VECTOR = Array(Float64)
NUMBERS = st.integers(-9, 9).map(float)


@pytest.fixture(autouse=True)
def at_now(at: Callable[..., None]) -> None:
    at(NOW)


def view(vector: FeastType = VECTOR, *, index: bool = True) -> FeatureView:
    return FeatureView(
        name="items",
        entities=[ITEM],
        ttl=timedelta(days=1),
        schema=[
            Field(name="item", dtype=Int64),
            Field(name="vector", dtype=vector, vector_index=index, vector_length=2),
            Field(name="name", dtype=String),
        ],
        source=FileSource(name="items", path="items.parquet", timestamp_field="event_timestamp"),
    )


def store_of(folder: Path, vectors: dict[int, Any], *, old: int | None = None, **how: Any):
    """Write an item a vector; one of them may be older than the TTL."""
    store = repository(folder)
    store.apply([ITEM, view(**how)])
    rows = {
        "item": list(vectors),
        "vector": list(vectors.values()),
        "name": [f"item {item}" for item in vectors],
        "event_timestamp": [NOW - timedelta(days=2 * (item == old)) for item in vectors],
    }
    store.write_to_online_store("items", pd.DataFrame(rows))
    return store


def found(store: FeatureStore, query: list[float] | None = None, **how: Any) -> dict[str, Any]:
    asked = {"features": ["items:name", "items:vector"], "top_k": 2, "query": query} | how
    return store.retrieve_online_documents_v2(**asked).to_dict()


@pytest.mark.parametrize("metric", DISTANCES)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1), st.tuples(NUMBERS, NUMBERS))
def test_distances_are_those_of_plain_python(metric: str, vectors, query):
    measured = search._METRICS[metric.lower()](np.array(vectors), np.array(query))
    expected = [DISTANCES[metric](list(vector), list(query)) for vector in vectors]
    assert measured.tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("vector", [Array(Float32), Array(Float64), Array(Int64)], ids=str)
@pytest.mark.filterwarnings("ignore")
def test_the_nearest_come_with_their_own_features_and_keys(tmp_path: Path, vector: FeastType):
    kind = int if vector == Array(Int64) else float
    vectors = {7: [9, 9], 5: [1, 0], 3: [2, 0], 2: [8, 0]}
    given = {item: [kind(x) for x in each] for item, each in vectors.items()}
    store = store_of(tmp_path, given, vector=vector)
    answer = found(store, [0.0, 0.0], top_k=3)
    assert answer["item"] == [2, 3, 5]
    assert answer["name"] == ["item 2", "item 3", "item 5"]
    assert answer["vector"] == [given[2], given[3], given[5]]
    assert answer["distance"] == [8.0, 2.0, 1.0]
    first = store.retrieve_online_documents(
        features=["items:vector", "items:item", "items:distance"], query=[0.0, 0.0], top_k=2
    ).to_dict()
    assert (first["item"], first["distance"]) == ([5, 3], [1.0, 2.0])


@pytest.mark.filterwarnings("ignore")
def test_rows_that_are_not_valid_or_have_no_vector_are_not_found(tmp_path: Path):
    store = store_of(tmp_path, {1: [0.0, 0.0], 2: None, 3: [5.0, 5.0]}, old=1)
    assert found(store, [0.0, 0.0], top_k=9)["item"] == [3]


@pytest.mark.filterwarnings("ignore")
def test_nothing_is_found_where_nothing_was_written(tmp_path: Path):
    store = repository(tmp_path)
    store.apply([ITEM, view()])
    assert found(store, [0.0, 0.0])["name"] == []


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"query_string": "item"}, "not by words"),
        ({"query": [1.0, 2.0], "distance_metric": "hamming"}, "unknown distance hamming: use L2"),
        ({"query": [1.0, 2.0, 3.0]}, "the query has 3 numbers, but items has vectors of 2"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_searched_is_refused_in_a_sentence(tmp_path: Path, how, words: str):
    store = store_of(tmp_path, {1: [1.0, 2.0]})
    with pytest.raises(ValueError, match=words):
        found(store, **how)


@pytest.mark.filterwarnings("ignore")
def test_a_view_without_a_vector_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="declare one of its features with vector_index=True"):
        found(store_of(tmp_path, {1: [1.0, 2.0]}, index=False), [1.0, 2.0])
