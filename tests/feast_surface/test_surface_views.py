"""Views that are more than a table of features, and who may see them."""

from __future__ import annotations

from typing import Any

import pandas as pd
from feast import FeatureView, Field, PushSource
from feast.data_source import PushMode
from feast.labeling import ConflictPolicy, LabelView
from feast.permissions.action import READ
from feast.permissions.permission import Permission
from feast.permissions.policy import RoleBasedPolicy
from feast.stream_feature_view import StreamFeatureView
from feast.types import Int64, String

from tests.feast_surface.repositories import (
    DAY,
    MONDAY,
    SYMBOL,
    Repository,
    instants,
    price_file,
    price_view,
    served,
)
from tests.feast_surface.surface import broken, surface


def history(repository: Repository, *features: str, at: Any = MONDAY) -> dict[str, list[Any]]:
    """Return what A had."""
    rows = pd.DataFrame({"symbol": ["A"], "event_timestamp": [at]})
    found = repository.opened().get_historical_features(rows, list(features)).to_df()
    return {name: found[name].tolist() for name in (each.partition(":")[2] for each in features)}


def versioned(repository: Repository) -> Repository:
    """Make two versions of a view, of which the second has no volume and is newer online."""
    made = Repository(
        repository.kind,
        repository.folder,
        registry={"enable_online_feature_view_versioning": True},
    )
    source = price_file(made)
    made.store.apply([SYMBOL, price_view(source)])
    made.store.materialize(MONDAY - DAY, MONDAY)
    fields = [field for field in price_view(source).schema if field.name != "volume"]
    made.store.apply([price_view(source, schema=fields)])
    made.store.materialize(MONDAY - DAY, MONDAY + DAY)
    return made


@surface("view versions: `view@vN:feature`", remark="in history and online")
def test_a_version_is_read_by_its_number(repository: Repository):
    shop = versioned(repository)
    listed = [each["version"] for each in shop.store.list_feature_view_versions("prices")]
    assert listed == ["v0", "v1"]
    store = shop.opened()
    for reference, price in (("prices", 3.5), ("prices@latest", 3.5), ("prices@v1", 3.5),
                             ("prices@v0", 1.5)):  # fmt: skip
        assert served(store, "A", features=(f"{reference}:price",)) == {"price": [price]}
    assert served(store, "A", features=("prices@v0:volume",)) == {"volume": [10]}
    assert history(shop, "prices@v0:volume") == {"volume": [10]}


@surface("… several versions in one question")
def test_versions_stand_side_by_side(repository: Repository):
    store = versioned(repository).opened()
    asked = ["prices@v0:price", "prices@v1:price"]
    answer = store.get_online_features(asked, [{"symbol": "A"}], full_feature_names=True).to_dict()
    assert (answer["prices@v0__price"], answer["prices@v1__price"]) == ([1.5], [3.5])


@surface("stream feature views over a `PushSource`", remark="materialized, pushed to, joined")
def test_a_stream_view_is_loaded_and_pushed_to(repository: Repository):
    ticks = PushSource(name="ticks", batch_source=price_file(repository))
    schema = price_view(ticks).schema
    view = StreamFeatureView(
        name="stream", entities=[SYMBOL], ttl=0 * DAY, schema=schema, source=ticks
    )
    store = repository.store
    store.apply([SYMBOL, ticks, view])
    store.materialize(MONDAY - DAY, MONDAY)
    assert served(store, "A", features=("stream:price",)) == {"price": [1.5]}
    row = {"symbol": ["A"], "event_timestamp": [MONDAY + 2 * DAY], "price": [9.0], "volume": [9]}
    store.push("ticks", pd.DataFrame(row), to=PushMode.ONLINE_AND_OFFLINE)
    assert served(store, "A", features=("stream:price",)) == {"price": [9.0]}
    assert history(repository, "stream:price", at=MONDAY + 3 * DAY) == {"price": [9.0]}


def labelled(repository: Repository, policy: ConflictPolicy) -> Repository:
    """Let three people judge A: good, good and bad, in this order."""
    first = repository.file(
        "labels",
        symbol=["A"],
        labeler=["ann"],
        good=[1],
        event_timestamp=instants(MONDAY),
    )
    source = PushSource(name="judged", batch_source=first)
    fields = {"symbol": String, "labeler": String, "good": Int64}
    view = LabelView(
        name="quality",
        entities=[SYMBOL],
        schema=[Field(name=name, dtype=dtype) for name, dtype in fields.items()],
        source=source,
        conflict_policy=policy,
    )
    repository.store.apply([SYMBOL, source, view])
    for number, (labeler, good) in enumerate((("bob", 1), ("eve", 0)), start=1):
        row = {"symbol": ["A"], "labeler": [labeler], "good": [good]}
        row["event_timestamp"] = [MONDAY + number * DAY]
        repository.store.push("judged", pd.DataFrame(row), to=PushMode.ONLINE_AND_OFFLINE)
    return repository


@surface("label views: pushed, served, joined", remark="the last label of all")
def test_labels_are_pushed_and_read(repository: Repository):
    shop = labelled(repository, ConflictPolicy.LAST_WRITE_WINS)
    assert served(shop.opened(), "A", features=("quality:good",)) == {"good": [0]}
    assert history(shop, "quality:good", at=MONDAY + DAY) == {"good": [1]}
    assert history(shop, "quality:good", at=MONDAY + 3 * DAY) == {"good": [0]}
    assert [each.name for each in shop.opened().list_label_views()] == ["quality"]


UNUSED = broken("history gives the last label, whatever the policy says", AssertionError)


@surface("… a policy for labels that differ (`MAJORITY_VOTE`)", stock=UNUSED, ours=UNUSED)
def test_the_majority_of_labels_counts(repository: Repository):
    shop = labelled(repository, ConflictPolicy.MAJORITY_VOTE)
    assert history(shop, "quality:good", at=MONDAY + 3 * DAY) == {"good": [1]}


@surface(
    "permissions, without authentication",
    remark="kept and listed; Feast's servers alone enforce them, with OIDC or Kubernetes",
)
def test_permissions_are_registered(repository: Repository):
    only = Permission(
        name="readers",
        types=[FeatureView],
        actions=READ,
        policy=RoleBasedPolicy(roles=["reader"]),
    )
    repository.store.apply([SYMBOL, price_view(price_file(repository)), only])
    repository.store.materialize(MONDAY - DAY, MONDAY + DAY)
    assert [each.name for each in repository.opened().list_permissions()] == ["readers"]
    assert "readers" in repository.run("permissions", "list")
    assert served(repository.opened(), "A") == {"price": [3.5]}
