"""Feast's retrieval of documents: the rows whose vectors are nearest to one."""

from __future__ import annotations

import pytest
import requests
from feast import Field
from feast.types import Array, Float32, String

from tests.feast_surface.repositories import DAY, MONDAY, SYMBOL, Repository, instants, price_view
from tests.feast_surface.surface import refused, surface
from tests.serving import serving

FEATURES = ["v:vector", "v:title"]


@pytest.fixture
def loaded(repository: Repository) -> Repository:
    """Three symbols with vectors, materialized."""
    feed = repository.file(
        "feed",
        symbol=["A", "B", "C"],
        event_timestamp=instants(MONDAY, MONDAY, MONDAY),
        vector=[[9.0, 9.0], [1.0, 0.0], [0.0, 2.0]],
        title=["far", "near", "middling"],
    )
    vector = Field(
        name="vector",
        dtype=Array(Float32),
        vector_index=True,
        vector_length=2,
        vector_search_metric="L2",
    )
    fields = [Field(name="symbol", dtype=String), vector, Field(name="title", dtype=String)]
    view = price_view(feed, "v", schema=fields)
    repository.store.apply([SYMBOL, view])
    repository.store.materialize(MONDAY - DAY, MONDAY + DAY)
    return repository


@surface("`vector_index=True`: applied, materialized and served as any list")
def test_a_vector_is_a_list(loaded: Repository):
    answer = loaded.store.get_online_features(FEATURES, [{"symbol": "B"}]).to_dict()
    assert (answer["vector"], answer["title"]) == ([[1.0, 0.0]], ["near"])


@surface(
    "`retrieve_online_documents`",
    stock=refused("sqlite-vss is not enabled in the online store config", ValueError),
    remark="stock: with `vector_enabled` and the package sqlite-vec; ours: exact, without an index",
)
def test_documents(loaded: Repository):
    found = loaded.store.retrieve_online_documents(
        features=["v:vector", "v:distance", "v:symbol"], query=[0.0, 0.0], top_k=2
    ).to_dict()
    assert (found["symbol"], found["distance"]) == (["B", "C"], [1.0, 2.0])


NOT_ENABLED = refused("You must enable either vector search or text search", ValueError)


@surface(
    "`retrieve_online_documents_v2`",
    stock=NOT_ENABLED,
    remark="in the order of the keys: Feast pairs keys and features in no other",
)
def test_documents_v2(loaded: Repository):
    found = loaded.store.retrieve_online_documents_v2(
        features=FEATURES, query=[9.0, 8.0], top_k=2
    ).to_dict()
    assert (found["symbol"], found["title"]) == (["A", "C"], ["far", "middling"])
    assert found["distance"] == [1.0, pytest.approx((81 + 36) ** 0.5)]


@surface(
    "… by words (`query_string`)",
    stock=NOT_ENABLED,
    ours=refused("finds rows by their vector alone", ValueError),
)
def test_words(loaded: Repository):
    loaded.store.retrieve_online_documents_v2(features=FEATURES, query_string="near", top_k=1)


@surface("`/search` of the feature server", stock=NOT_ENABLED)
def test_search(loaded: Repository):
    asked = {"features": FEATURES, "query": [0.0, 0.0], "top_k": 1, "api_version": 2}
    with serving(loaded.store) as post:
        try:
            answer = post("/search", asked)
        except requests.HTTPError as error:
            raise ValueError(error.response.text) from error
    names = answer["metadata"]["feature_names"]
    assert answer["results"][names.index("title")]["values"] == ["near"]
