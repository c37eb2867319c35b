"""Feast's servers over a repository, and a client whose stores and registry are those servers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
from feast import FeatureService, FeatureStore, PushSource, RepoConfig
from feast.data_source import PushMode
from feast.errors import DataSourceObjectNotFoundException, FeatureViewNotFoundException
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

from tests.feast_surface.repositories import (
    DAY,
    MONDAY,
    SYMBOL,
    Repository,
    price_file,
    price_view,
    served,
)
from tests.feast_surface.servers import HOST, Ports, serving
from tests.feast_surface.surface import KINDS, broken, fails, surface

ASKED = {"features": ["prices:price", "prices:volume"], "entities": {"symbol": ["A", "X"]}}
QUESTIONS = pd.DataFrame({"symbol": ["A", "B"], "event_timestamp": [MONDAY, MONDAY + DAY]})


@dataclass(frozen=True)
class Served:
    """A repository whose servers run."""

    repository: Repository
    ports: Ports

    def client(self) -> FeatureStore:
        """Open a store that keeps nothing itself."""
        config = RepoConfig(
            project="shop",
            provider="local",
            registry={"registry_type": "remote", "path": f"{HOST}:{self.ports.registry}"},
            online_store={"type": "remote", "path": f"http://{HOST}:{self.ports.features}"},
            offline_store={"type": "remote", "host": HOST, "port": self.ports.offline},
            entity_key_serialization_version=3,
        )
        return FeatureStore(config=config)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Ask the feature server."""
        url = f"http://{HOST}:{self.ports.features}/{path}"
        answer = requests.post(url, json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """Load a repository of each kind, and run their servers."""
    repositories = [Repository(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS]
    for each in repositories:
        prices = price_view(price_file(each))
        ticks = PushSource(name="ticks", batch_source=price_file(each, "ticks"))
        objects = [
            prices,
            price_view(ticks, "pushed"),
            FeatureService(name="all", features=[prices]),
        ]
        each.store.apply([SYMBOL, ticks, *objects])
        each.store.materialize(MONDAY - DAY, MONDAY + DAY)
    with serving(*(each.folder for each in repositories)) as ports:
        pairs = zip(repositories, ports, strict=True)
        yield {repository.kind: Served(repository, port) for repository, port in pairs}


@pytest.fixture
def shop(kind: str, both: dict[str, Served]) -> Served:
    return both[kind]


@surface("`feast serve`: `/get-online-features`")
def test_the_feature_server_answers(shop: Served):
    answer = shop.post("get-online-features", ASKED)
    columns = dict(zip(answer["metadata"]["feature_names"], answer["results"], strict=True))
    assert columns["price"]["values"] == [3.5, None]
    assert columns["volume"]["values"] == [30, None]
    assert columns["price"]["statuses"] == ["PRESENT", "NOT_FOUND"]
    assert columns["price"]["event_timestamps"] == ["2021-04-13T21:30:00Z", "1970-01-01T00:00:00Z"]
    by_service = {"feature_service": "all", "entities": {"symbol": ["B"]}}
    answer = shop.post("get-online-features", by_service)
    assert sorted(answer["metadata"]["feature_names"]) == ["price", "symbol", "volume"]


@surface("remote online store (`feast serve` behind it)", remark="reads, and writes a row")
def test_a_remote_online_store_reads_and_writes(shop: Served):
    client = shop.client()
    features = client.get_feature_service("all")
    assert served(client, "A", "X", features=features) == {
        "price": [3.5, None], "volume": [30, None]
    }  # fmt: skip
    row = {"symbol": ["B"], "event_timestamp": [MONDAY + 3 * DAY], "price": [9.0], "volume": [9]}
    client.write_to_online_store("prices", pd.DataFrame(row))
    assert served(client, "B") == {"price": [9.0]}
    assert served(shop.repository.opened(), "B") == {"price": [9.0]}


@surface("remote offline store (`feast serve_offline`)", remark="joins, and takes rows")
def test_a_remote_offline_store_joins_and_writes(shop: Served):
    client = shop.client()
    job = client.get_historical_features(QUESTIONS, ["prices:price"])
    assert job.to_df()["price"].tolist() == [1.5, 2.5]
    row = {"symbol": ["C"], "event_timestamp": [MONDAY], "price": [5.0], "volume": [5]}
    client.write_to_offline_store("pushed", pd.DataFrame(row))
    asked = pd.DataFrame({"symbol": ["C"], "event_timestamp": [MONDAY]})
    for store in (client, shop.repository.opened()):
        job = store.get_historical_features(asked, ["pushed:price"])
        assert job.to_df()["price"].tolist() == [5.0]


@surface("… `get_historical_features` without entity rows")
def test_a_remote_offline_store_finds_the_keys(shop: Served):
    job = shop.client().get_historical_features(
        None, ["prices:price"], start_date=MONDAY - DAY, end_date=MONDAY
    )
    found = job.to_df()
    assert dict(zip(found["symbol"], found["price"], strict=True)) == {"A": 1.5, "B": 2.5}


UNKNOWN = broken(
    "the server looks for the new dataset's source in the registry",
    DataSourceObjectNotFoundException,
    "does not exist in project",
)


@surface("… saved datasets", stock=UNKNOWN, ours=UNKNOWN)
def test_a_remote_offline_store_saves_a_dataset(shop: Served):
    client = shop.client()
    client.create_saved_dataset(
        from_=client.get_historical_features(QUESTIONS, ["prices:price"]),
        name="saved",
        storage=SavedDatasetFileStorage(path=str(shop.repository.folder / "saved.parquet")),
    )


@surface("remote push: `to=PushMode.ONLINE_AND_OFFLINE`")
def test_a_push_reaches_both_remote_stores(shop: Served):
    row = {"symbol": ["D"], "event_timestamp": [MONDAY + DAY], "price": [7.0], "volume": [7]}
    client = shop.client()
    client.push("ticks", pd.DataFrame(row), to=PushMode.ONLINE_AND_OFFLINE)
    assert served(client, "D", features=("pushed:price",)) == {"price": [7.0]}
    asked = pd.DataFrame({"symbol": ["D"], "event_timestamp": [MONDAY + DAY]})
    job = client.get_historical_features(asked, ["pushed:price"])
    assert job.to_df()["price"].tolist() == [7.0]


@surface(
    "a view that a client applies and materializes, all its stores being remote",
    stock=fails("nothing makes the view's online table", RuntimeError, "no such table"),
)
def test_a_client_materializes(shop: Served):
    client = shop.client()
    source = client.get_feature_view("prices").batch_source
    client.apply([price_view(source, "loaded")])
    client.materialize(MONDAY - DAY, MONDAY, feature_views=["loaded"])
    assert served(client, "A", "B", features=("loaded:price",)) == {"price": [1.5, 2.5]}


@surface("remote registry (`feast serve_registry`): read, applied to, deleted from")
def test_a_remote_registry_is_changed(shop: Served):
    client = shop.client()
    assert {each.name for each in client.list_feature_views()} >= {"prices", "pushed"}
    client.apply([price_view(client.get_feature_view("prices").batch_source, "more")])
    assert shop.repository.opened().get_feature_view("more").features
    client.registry.delete_feature_view("more", "shop")
    with pytest.raises(FeatureViewNotFoundException):
        shop.repository.opened().get_feature_view("more")


@surface("`feast ui`: its pages and what they ask", remark="seen in a browser, too")
def test_the_uis_server_answers(shop: Served, tmp_path: Path):
    root = f"http://{HOST}:{shop.ports.ui}"
    assert "<html" in requests.get(f"{root}/p/shop/feature-view/prices", timeout=60).text

    def ask(path: str, **query: str) -> Any:
        answer = requests.get(f"{root}/api/v1/{path}", {"project": "shop", **query}, timeout=60)
        answer.raise_for_status()
        return answer.json()

    assert "prices" in [each["spec"]["name"] for each in ask("feature_views")["featureViews"]]
    assert ask("metrics/resource_counts")["counts"]["featureServices"] == 1
    assert ask("search", query="price")["results"]
    assert ask("lineage/complete")["objects"]["entities"]
