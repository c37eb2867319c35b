"""What is asked of history and of what is served."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from feast import Entity, FeatureService, FeatureView, Field, RequestSource, ValueType
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String

from tests.feast_surface.repositories import (
    DAY,
    MONDAY,
    SYMBOL,
    Repository,
    instants,
    served,
)
from tests.feast_surface.surface import broken, surface


def asked(*symbols: str, at: Any = MONDAY, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"symbol": list(symbols), "event_timestamp": at, **columns})


@surface("`get_historical_features` without entity rows (`start_date`, `end_date`)")
def test_the_keys_of_a_span_are_found(loaded: Repository):
    job = loaded.store.get_historical_features(
        None, ["prices:price"], start_date=MONDAY - DAY, end_date=MONDAY + DAY / 2
    )
    found = job.to_df()
    assert dict(zip(found["symbol"], found["price"], strict=True)) == {"A": 1.5, "B": 2.5}
    assert set(found["event_timestamp"]) == {MONDAY + DAY / 2}


@surface("names in full (`full_feature_names`)")
def test_features_are_called_by_view_and_name(loaded: Repository):
    history = loaded.store.get_historical_features(
        asked("A"), ["prices:price"], full_feature_names=True
    )
    assert history.to_df()["prices__price"].tolist() == [1.5]
    online = loaded.store.get_online_features(
        ["prices:price"], [{"symbol": "A"}], full_feature_names=True
    )
    assert online.to_dict()["prices__price"] == [3.5]


@surface("feature services, of some features and under another name")
def test_a_service_chooses_and_renames(loaded: Repository):
    view = loaded.store.get_feature_view("prices")
    service = FeatureService(name="some", features=[view[["price"]].with_name("quotes")])
    loaded.store.apply([service])
    assert served(loaded.opened(), "A", features=service) == {"price": [3.5]}
    history = loaded.store.get_historical_features(asked("B"), service, full_feature_names=True)
    assert history.to_df()["quotes__price"].tolist() == [2.5]


@surface("one view twice, for two keys of a row (`with_join_key_map`)")
def test_a_view_is_joined_by_another_name_of_its_key(loaded: Repository):
    view = loaded.store.get_feature_view("prices")
    pair = FeatureService(
        name="pair",
        features=[
            view[["price"]].with_name(name).with_join_key_map({"symbol": name})
            for name in ("left", "right")
        ],
    )
    loaded.store.apply([pair])
    rows = pd.DataFrame({"left": ["A"], "right": ["B"], "event_timestamp": [MONDAY]})
    history = loaded.store.get_historical_features(rows, pair, full_feature_names=True).to_df()
    assert history[["left__price", "right__price"]].values.tolist() == [[1.5, 2.5]]
    online = loaded.store.get_online_features(
        pair, [{"left": "A", "right": "B"}], full_feature_names=True
    ).to_dict()
    assert (online["left__price"], online["right__price"]) == ([3.5], [2.5])


@surface("views of several join keys")
def test_all_keys_of_a_view_count(repository: Repository):
    venue = Entity(name="venue", join_keys=["venue_id"], value_type=ValueType.INT64)
    source = repository.file(
        "spreads",
        symbol=["A", "A", "B"],
        venue_id=[1, 2, 1],
        event_timestamp=instants(MONDAY, MONDAY, MONDAY),
        spread=[0.1, 0.2, 0.3],
    )
    fields = {"symbol": String, "venue_id": Int64, "spread": Float64}
    spreads = FeatureView(
        name="spreads",
        entities=[SYMBOL, venue],
        ttl=timedelta(0),
        schema=[Field(name=name, dtype=dtype) for name, dtype in fields.items()],
        source=source,
    )
    repository.store.apply([SYMBOL, venue, spreads])
    repository.store.materialize(MONDAY - DAY, MONDAY)
    keys = {"symbol": ["A", "B", "B"], "venue_id": [2, 1, 2]}
    online = repository.store.get_online_features(["spreads:spread"], keys).to_dict()
    assert online["spread"] == [0.2, 0.3, None]
    rows = pd.DataFrame({**keys, "event_timestamp": [MONDAY] * 3})
    history = repository.store.get_historical_features(rows, ["spreads:spread"]).to_df()
    found = history.dropna().set_index(["symbol", "venue_id"])["spread"]
    assert found.to_dict() == {("A", 2): 0.2, ("B", 1): 0.3}


def market(repository: Repository) -> FeatureView:
    """Describe a view without an entity."""
    level = repository.file(
        "market", event_timestamp=instants(MONDAY, MONDAY + DAY), level=[1.0, 2.0]
    )
    schema = [Field(name="level", dtype=Float64)]
    return FeatureView(name="market", entities=[], ttl=timedelta(0), schema=schema, source=level)


@surface("views without an entity, beside one that has some")
def test_what_belongs_to_nobody_goes_to_every_row(loaded: Repository):
    loaded.store.apply([market(loaded)])
    loaded.store.materialize(MONDAY - DAY, MONDAY + DAY)
    both = ["market:level", "prices:price"]
    assert served(loaded.store, "A", "B", features=both) == {
        "level": [2.0, 2.0], "price": [3.5, 2.5]
    }  # fmt: skip
    history = loaded.store.get_historical_features(asked("A", "A", at=[MONDAY, MONDAY + DAY]), both)
    assert history.to_df()[["level", "price"]].values.tolist() == [[1.0, 1.5], [2.0, 3.5]]


NO_ROWS = broken("there is no way to ask for a row without a key", IndexError)


@surface("views without an entity, alone and online", stock=NO_ROWS, ours=NO_ROWS)
def test_what_belongs_to_nobody_is_served_alone(repository: Repository):
    repository.store.apply([market(repository)])
    repository.store.materialize(MONDAY - DAY, MONDAY + DAY)
    assert repository.store.get_online_features(["market:level"], []).to_dict()["level"] == [2.0]


@surface("on-demand views at read, with data of the request", remark="in history and online")
def test_a_view_is_computed_when_it_is_read(loaded: Repository):
    prices = loaded.store.get_feature_view("prices")
    request = RequestSource(name="asked", schema=[Field(name="rate", dtype=Float64)])

    @on_demand_feature_view(
        sources=[prices, request], schema=[Field(name="converted", dtype=Float64)]
    )
    def conversion(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"converted": inputs["price"] * inputs["rate"]})

    loaded.store.apply([conversion])
    wanted = ["prices:price", "conversion:converted"]
    rows = {"symbol": ["A", "X"], "rate": [2.0, 2.0]}
    online = loaded.store.get_online_features(wanted, rows).to_dict()
    assert (online["price"], online["converted"]) == ([3.5, None], [7.0, None])
    history = loaded.store.get_historical_features(asked("A", "B", rate=[2.0, 4.0]), wanted)
    assert history.to_df()["converted"].tolist() == [3.0, 10.0]
    assert history.to_arrow()["converted"].to_pylist() == [3.0, 10.0]


@surface("saved datasets", remark="saved once, and over an earlier one if that is allowed")
def test_an_answer_is_kept(loaded: Repository):
    storage = SavedDatasetFileStorage(path=str(loaded.folder / "kept.parquet"))

    def keep(symbol: str, **how: Any) -> Any:
        job = loaded.store.get_historical_features(asked(symbol), ["prices:price"])
        return loaded.store.create_saved_dataset(from_=job, name="kept", storage=storage, **how)

    keep("A")
    assert loaded.opened().get_saved_dataset("kept").to_df()["price"].tolist() == [1.5]
    keep("B", allow_overwrite=True)
    assert loaded.opened().get_saved_dataset("kept").to_df()["price"].tolist() == [2.5]
    with pytest.raises(Exception, match="exist"):
        keep("A")
