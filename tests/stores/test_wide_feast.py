"""Feast's own ways to write and to describe, on the wide store as on its own SQLite store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import (
    BatchFeatureView,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    StreamFeatureView,
)
from feast.data_source import PushMode
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, String
from wide_tools import NOW, PRICES, SYMBOL, WIDE, online, push, read, repository, rows, view, write

pytestmark = [
    pytest.mark.filterwarnings("ignore:On demand feature view is an experimental"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning:feast.*"),
]

BOTH = pytest.mark.parametrize("kind", [WIDE, "sqlite"])


@pytest.fixture(autouse=True)
def at_now(at: Callable[..., None]) -> None:
    at(NOW)


def source(folder: Path) -> FileSource:
    return FileSource(
        name="files",
        path=str(folder / "prices.parquet"),
        timestamp_field="stamp",
        created_timestamp_column="made",
        field_mapping={"px": "price", "sz": "size"},
    )


@BOTH
def test_feasts_own_engine_materializes_mapped_columns(tmp_path: Path, kind: str):
    store = repository(tmp_path, kind)
    schema = [Field(name=n, dtype=t) for n, t in {"symbol": String, **PRICES}.items()]
    store.apply(
        [SYMBOL, FeatureView(name="v", entities=[SYMBOL], schema=schema, source=source(tmp_path),
                             ttl=timedelta(days=4))]
    )  # fmt: skip
    hour = timedelta(hours=1)
    stamps = pa.array([NOW - hour, NOW - 2 * hour, NOW - hour], pa.timestamp("us", "UTC"))
    pq.write_table(
        pa.table({"symbol": ["A", "A", "B"], "px": [1.0, 2.0, 3.0], "sz": [None, 1.0, 4.0],
                  "stamp": stamps, "made": stamps}),
        tmp_path / "prices.parquet",
    )  # fmt: skip
    store.materialize(NOW - timedelta(days=1), NOW)
    assert read(store, ["A", "B"]).to_dict() == {
        "symbol": ["A", "B"], "price": [1.0, 3.0], "size": [None, 4.0]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (WIDE, FeatureView),
        (WIDE, StreamFeatureView),
        (WIDE, BatchFeatureView),  # for which Feast's own store makes no table
        ("sqlite", FeatureView),
        ("sqlite", StreamFeatureView),
    ],
)
def test_pushed_rows_are_served(tmp_path: Path, kind: str, make: type[FeatureView]):
    store = repository(tmp_path, kind)
    pushes = PushSource(name="pushes", batch_source=source(tmp_path))
    schema = [Field(name=n, dtype=t) for n, t in {"symbol": String, **PRICES}.items()]
    origin = source(tmp_path) if make is BatchFeatureView else pushes
    store.apply(
        [SYMBOL, make(name="v", entities=[SYMBOL], schema=schema, source=origin, ttl=timedelta(0))]
    )
    frame = pd.DataFrame(
        {"symbol": ["A"], "price": [1.0], "size": [2.0], "stamp": [NOW], "made": [NOW]}
    )
    if make is BatchFeatureView:
        store.write_to_online_store("v", frame)
    else:
        store.push("pushes", frame, to=PushMode.ONLINE)
    assert read(store, ["A"]).to_dict() == {"symbol": ["A"], "price": [1.0], "size": [2.0]}


@BOTH
def test_an_on_demand_view_computes_when_written(tmp_path: Path, kind: str, monkeypatch):
    monkeypatch.delenv("TVFEAST_NOW")  # Feast stamps these rows itself, by the wall clock
    store = repository(tmp_path, kind)
    prices = view(PRICES)

    @on_demand_feature_view(
        entities=[SYMBOL],
        sources=[prices],
        schema=[Field(name="value", dtype=Float64)],
        write_to_online_store=True,
        mode="pandas",
    )
    def worth(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"value": inputs["price"] * inputs["size"]})

    store.apply([SYMBOL, prices, worth])
    frame = pd.DataFrame({"symbol": ["A"], "price": [2.0], "size": [4.0]})
    store.write_to_online_store("worth", frame)
    answered = store.get_online_features(["worth:value"], {"symbol": ["A", "B"]}).to_dict()
    assert answered["value"] == [8.0, None]


def versioned(folder: Path) -> FeatureStore:
    repository(folder)
    yaml = folder / "feature_store.yaml"
    yaml.write_text(
        yaml.read_text().replace(
            "registry: data/registry.db",
            "registry: {path: data/registry.db, enable_online_feature_view_versioning: true}",
        )
    )
    return FeatureStore(repo_path=str(folder))


def test_versions_of_a_view_are_kept_apart(tmp_path: Path):
    store = versioned(tmp_path)
    store.apply([SYMBOL, view(PRICES)])
    write(store, rows(["A"], NOW, price=[1.0], size=[1.0]))
    store.apply([SYMBOL, view({**PRICES, "more": Float64})])
    write(store, rows(["A"], NOW, price=[2.0], size=[1.0], more=[3.0]))
    assert read(store, ["A"], ["v:price"]).to_dict()["price"] == [2.0]
    for number, price in ((0, 1.0), (1, 2.0)):
        answered = read(store, ["A"], [f"v@v{number}:price"], full_feature_names=True).to_dict()
        assert answered[f"v@v{number}__price"] == [price]


def test_tearing_down_removes_the_file(tmp_path: Path):
    store = repository(tmp_path)
    store.apply([SYMBOL, view(PRICES)])
    push(store, symbol=["A"], price=[1.0], size=[1.0], event_timestamp=[NOW],
         created_timestamp=[NOW])  # fmt: skip
    assert online(store).online_read_table(store.config, view(PRICES)).num_rows == 1
    store.teardown()
    assert not list((tmp_path / "online").iterdir())
