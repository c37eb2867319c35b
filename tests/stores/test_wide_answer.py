"""What an online read answers: by columns, the same as Feast's own code makes of the same rows."""

from __future__ import annotations

import asyncio
import math
import random
import string
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast import Entity, FeatureService, FeatureStore, Field, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp
from wide_tools import (
    NOW,
    SYMBOL,
    generic,
    online,
    push,
    read,
    repository,
    rows,
    statuses,
    view,
    write,
)

from ingestion.plugins.online.columnar import ColumnarOnlineResponse

pytestmark = pytest.mark.filterwarnings("ignore:On demand feature view is an experimental")

KINDS = {
    "f64": (Float64, lambda r: r.choice([r.gauss(0, 1), 0.0, -0.0, math.inf, 1e300])),
    "f32": (Float32, lambda r: float(np.float32(r.gauss(0, 1)))),
    "i32": (Int32, lambda r: r.randint(-(2**31), 2**31 - 1)),
    "i64": (Int64, lambda r: r.randint(-(2**63), 2**63 - 1)),
    "flag": (Bool, lambda r: r.random() < 0.5),
    "text": (String, lambda r: "".join(r.choices(string.printable + "äß€", k=r.randint(0, 9)))),
    "raw": (Bytes, lambda r: r.randbytes(r.randint(0, 9))),
    "when": (UnixTimestamp, lambda r: datetime.fromtimestamp(r.randint(-(10**9), 10**9), UTC)),
    "numbers": (Array(Float64), lambda r: [r.gauss(0, 1) for _ in range(r.randint(1, 3))]),
    "texts": (Array(String), lambda r: r.choices(["a", "b"], k=2)),
}
FULL = {name: kind for name, (kind, _) in KINDS.items()}
ACCOUNT = Entity(name="account", join_keys=["account_id"], value_type=ValueType.INT64)


def random_rows(seed: int, count: int) -> pa.Table:
    """Make rows of all ages and types; one column without nulls, one of nulls only."""
    r = random.Random(seed)
    values = {}
    for name, (_, draw) in KINDS.items():
        nulls = {"i64": 0.0, "f32": 1.0}.get(name, 0.3)
        items = [None if r.random() < nulls else draw(r) for _ in range(count)]
        values[name] = pa.array(items, pa.float32()) if name == "f32" else pa.array(items)
    events = [NOW + timedelta(seconds=r.uniform(-8, 0.5) * 86400) for _ in range(count)]
    return rows([f"S{at}" for at in range(count)], events, **values)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Views of many types with one join key each, and of others; only to be read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TVFEAST_NOW", NOW.isoformat())
        made = repository(tmp_path_factory.mktemp("answer"))
        by_account = view({"x": Float64}, name="a", entities=(ACCOUNT,), keys={"account_id": Int64})
        both = view(
            {"x": Float64}, name="b", entities=(SYMBOL, ACCOUNT),
            keys={"symbol": String, "account_id": Int64},
        )  # fmt: skip
        nobody = view({"y": Float64}, name="n", entities=(), keys={})
        many = view(FULL)
        typed = view(FULL, name="w", ttl=None)

        @on_demand_feature_view(
            sources=[many, RequestSource(name="asked", schema=[Field(name="add", dtype=Float64)])],
            schema=[Field(name="sum", dtype=Float64)],
        )
        def computed(inputs: pd.DataFrame) -> pd.DataFrame:
            return pd.DataFrame({"sum": inputs["f64"] + inputs["add"]})

        service = FeatureService(name="service", features=[many[["f64", "text"]], by_account])
        aliased = FeatureService(
            name="aliased",
            features=[
                many[["f64"]].with_name("one").with_join_key_map({"symbol": "first"}),
                many[["f64"]].with_name("two").with_join_key_map({"symbol": "second"}),
            ],
        )
        made.apply(
            [SYMBOL, ACCOUNT, many, typed, by_account, both, nobody, computed, service, aliased]
        )
        write(made, random_rows(1, 200))
        write(made, random_rows(2, 150), "w")
        push(made, "a", account_id=[1, -(2**63)], x=[1.0, 2.0], event_timestamp=[NOW] * 2,
             created_timestamp=[NOW] * 2)  # fmt: skip
        push(made, "b", symbol=["S1", "S2"], account_id=[1, 1], x=[1.0, 2.0],
             event_timestamp=[NOW, NOW - timedelta(days=9)],
             created_timestamp=[NOW] * 2)  # fmt: skip
        push(made, "n", y=[5.0], event_timestamp=[NOW], created_timestamp=[NOW])
    return made


@pytest.fixture(autouse=True)
def at_now(at):
    at(NOW)


def same(one: Any, other: Any) -> bool:
    """Compare answers, NaN and all."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def check_same(ours: OnlineResponse, feasts: OnlineResponse) -> None:
    """Compare all that a response answers, but the type of a column without any value."""
    assert isinstance(ours, ColumnarOnlineResponse)
    assert not isinstance(feasts, ColumnarOnlineResponse)
    for stamps in (False, True):
        given = feasts.to_dict(stamps)
        assert same(ours.to_dict(stamps), given)
        full = [name for name, column in given.items() if any(v is not None for v in column)]
        frame, table = ours.to_df(stamps), ours.to_arrow(stamps)
        assert list(frame) == table.column_names == list(given)
        pd.testing.assert_frame_equal(frame[full], feasts.to_df(stamps)[full])
        assert table.select(full).equals(feasts.to_arrow(stamps).select(full))
        for name in given.keys() - set(full):
            assert frame[name].isna().all()
            assert table[name].null_count == len(frame)
    assert ours.proto == feasts.proto


ASKED = [f"S{at}" for at in (5, 3, 3, 199, 77)] + ["nobody", ""] + [f"S{at}" for at in range(200)]


@pytest.mark.parametrize("full", [False, True])
def test_columns_answer_what_feasts_own_code_answers(store: FeatureStore, full: bool):
    names = [f"v:{name}" for name in FULL]
    names += [f"w:{name}" for name in FULL] if full else []
    entities = {"symbol": ASKED}
    ours = store.get_online_features(names, entities, full_feature_names=full)
    check_same(ours, generic(store, names, entities, full_feature_names=full))


@pytest.mark.parametrize("asked", [["S1"], ["nobody"], ["S4", "S4"], ["S7", "nobody"]])
def test_columns_of_few_rows_are_of_the_same_types(store: FeatureStore, asked: list[str]):
    for prefix in ("v", "w"):
        names = [f"{prefix}:{name}" for name in FULL]
        check_same(
            store.get_online_features(names, {"symbol": asked}),
            generic(store, names, {"symbol": asked}),
        )


WITH_A_GAP = {
    "f64": ("float64", pa.float64()),
    "f32": ("float64", pa.float64()),
    "i32": ("float64", pa.int64()),
    "i64": ("float64", pa.int64()),
    "flag": ("object", pa.bool_()),
    "text": ("object", pa.string()),
    "raw": ("object", pa.binary()),
    "when": ("datetime64[ns, UTC]", pa.timestamp("us", "UTC")),
    "numbers": ("object", pa.list_(pa.float64())),
    "texts": ("object", pa.list_(pa.string())),
}
"""What pandas and Arrow call a column of each kind in which some value is missing."""


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        (["OLD"], 0),
        (["OLD", "OLDER", "OLD"], 0),
        (["nobody"], 0),
        (["nobody", "OLD", "AHEAD", "EMPTY"], 0),
        (["EMPTY"], 0),
        (["NEW", "OLD"], 1),
        (["nobody", "NEW", "NEW"], 2),
    ],
)
def test_a_column_has_the_type_of_its_feature_whatever_has_expired(
    tmp_path: Path, asked: list[str], there: int
):
    store = repository(tmp_path)
    store.apply([SYMBOL, view(FULL)])
    r = random.Random(3)
    values = {
        name: pa.array([*(draw(r) for _ in range(4)), None]) for name, (_, draw) in KINDS.items()
    }
    values["f32"] = values["f32"].cast(pa.float32())
    ages = [timedelta(days=age) for age in (0, 9, 900, -0.00001, 0)]
    names = ["NEW", "OLD", "OLDER", "AHEAD", "EMPTY"]
    write(store, rows(names, [NOW - age for age in ages], **values))
    answered = store.get_online_features([f"v:{name}" for name in KINDS], {"symbol": asked})
    frame, table = answered.to_df(), answered.to_arrow()
    for name, (dtype, kind) in WITH_A_GAP.items():
        assert (name, str(frame[name].dtype)) == (name, dtype)
        assert table.schema.field(name).type == kind
        assert frame[name].notna().sum() == len(asked) - table[name].null_count == there


def test_entity_rows_and_columns_are_the_same_request(store: FeatureStore):
    as_rows = [{"symbol": symbol, "ignored": 1} for symbol in ASKED]
    check_same(store.get_online_features(["v:f64"], as_rows), generic(store, ["v:f64"], as_rows))


def test_a_feature_service_over_views_of_different_keys_is_answered_by_columns(store):
    service = store.get_feature_service("service")
    entities = {"account_id": [1, 7, -(2**63)], "symbol": ["S1", "nobody", "S2"]}
    check_same(store.get_online_features(service, entities), generic(store, service, entities))


def test_keys_may_be_integers_of_numpy(store):
    entities = {"account_id": [np.int64(1), 7, np.int32(1)]}
    check_same(store.get_online_features(["a:x"], entities), generic(store, ["a:x"], entities))


def test_a_view_asked_twice_under_other_names_is_answered_by_columns(store):
    service = store.get_feature_service("aliased")
    entities = {"first": ["S1", "S2"], "second": ["S3", "nobody"]}
    ours = store.get_online_features(service, entities, full_feature_names=True)
    check_same(ours, generic(store, service, entities, full_feature_names=True))
    assert set(ours.to_dict()) == {"first", "second", "one__f64", "two__f64"}


@pytest.mark.parametrize(
    ("features", "entities", "expected"),
    [
        (["b:x"], {"symbol": ["S1", "S2"], "account_id": [1, 2]}, {"x": [1.0, None]}),
        (["n:y"], {"symbol": ["S1", "S2"]}, {"y": [5.0, 5.0]}),
        (["v:f64"], {"symbol": [Value(string_val="nobody")]}, {"f64": [None]}),
        (["a:x"], {"account_id": [Value(int64_val=1)]}, {"x": [1.0]}),
    ],
)  # fmt: skip
def test_what_columns_cannot_answer_is_feasts_to_answer(store, features, entities, expected):
    response = store.get_online_features(features, entities)
    assert not isinstance(response, ColumnarOnlineResponse)
    answered = response.to_dict()
    assert {name: answered[name] for name in expected} == expected


def test_a_view_without_an_entity_is_written_by_the_bulk_writer_too(tmp_path: Path):
    store = repository(tmp_path)
    store.apply([view({"y": Float64}, name="n", entities=(), keys={})])
    write(store, rows(["?"], NOW, y=[6.0]).drop_columns(["symbol"]), "n")
    assert store.get_online_features(["n:y"], {"any": [1, 2]}).to_dict() == {"y": [6.0, 6.0]}
    table = online(store).online_read_table(store.config, store.get_feature_view("n"), ["y"])
    assert table["y"].to_pylist() == [6.0]


def test_feasts_own_way_tells_expired_rows_from_unknown_ones(store):
    entities = {"symbol": ["S1", "S2", "S2"], "account_id": [1, 1, 2]}
    response = store.get_online_features(["b:x"], entities)
    assert statuses(response)["x"] == [
        FieldStatus.PRESENT, FieldStatus.OUTSIDE_MAX_AGE, FieldStatus.NOT_FOUND
    ]  # fmt: skip
    stamp = int((NOW - timedelta(days=9)).timestamp())
    assert response.to_dict(True)["x__ts"] == [int(NOW.timestamp()), stamp, 0]


def test_on_demand_views_compute_from_what_is_valid(store: FeatureStore):
    plain = store.get_online_features(["v:f64"], {"symbol": ASKED}).to_df()["f64"]
    computed = store.get_online_features(
        ["computed:sum"], {"symbol": ASKED, "add": [1.0] * len(ASKED)}
    ).to_df()["sum"]
    pd.testing.assert_series_equal(computed, plain + 1.0, check_names=False)


def test_version_metadata_is_answered(store: FeatureStore):
    response = read(store, ["S1"], ["v:f64"], include_feature_view_version_metadata=True)
    assert [each.name for each in response.proto.metadata.feature_view_metadata] == ["v"]


@pytest.mark.parametrize(
    ("features", "entities"),
    [
        (["v:f64"], {"symbol": []}),
        (["v:f64"], {"wrong": ["S1"]}),
        (["v:nothing"], {"symbol": ["S1"]}),
        (["nothing:f64"], {"symbol": ["S1"]}),
        (["v:f64", "w:f64"], {"symbol": ["S1"]}),
        (["v:f64"], [{"symbol": "S1"}, {"other": "S2"}]),
        (["v:f64", "a:x"], {"symbol": ["S1", "S2"], "account_id": [1]}),
        (["a:x"], {"account_id": [2**63]}),
    ],
)
def test_mistakes_are_told_in_feasts_own_words(store: FeatureStore, features, entities):
    with pytest.raises(Exception) as feasts:  # noqa: PT011 - whatever Feast raises
        generic(store, features, entities)
    with pytest.raises(type(feasts.value)) as ours:
        store.get_online_features(features, entities)
    assert str(ours.value) == str(feasts.value)


def test_only_the_features_asked_for_are_answered_in_any_number_of_views(store):
    answered = store.get_online_features(["v:text", "w:when"], {"symbol": ["S1"]}).to_dict()
    assert set(answered) == {"symbol", "text", "when"}


def test_forty_thousand_entities_are_one_call(store: FeatureStore, tmp_path: Path):
    large = repository(tmp_path)
    large.apply([SYMBOL, view({"x": Float64})])
    symbols = [f"S{at}" for at in range(40_000)]
    write(large, rows(symbols, NOW, x=np.arange(40_000.0)))
    asked = [*reversed(symbols), "nobody", *symbols[:500]]
    answered = large.get_online_features(["v:x"], {"symbol": asked}).to_df()
    expected = [*np.arange(39_999.0, -1, -1), math.nan, *np.arange(500.0)]
    np.testing.assert_array_equal(answered["x"], expected)
    assert answered["symbol"].tolist() == asked
    by_feast = generic(large, ["v:x"], {"symbol": asked[:11_000]}).to_df()
    np.testing.assert_array_equal(by_feast["x"], expected[:11_000])


def test_asynchronous_calls_answer_and_write_the_same(store: FeatureStore, tmp_path: Path):
    names = ["v:f64", "w:text"]
    ours = asyncio.run(store.get_online_features_async(names, {"symbol": ASKED}))
    assert same(ours.to_dict(), store.get_online_features(names, {"symbol": ASKED}).to_dict())
    entities = {"symbol": ["S1", "S2"], "account_id": [1, 1]}
    feasts = asyncio.run(store.get_online_features_async(["b:x"], entities))
    assert feasts.to_dict()["x"] == [1.0, None]
    other = repository(tmp_path)
    other.apply([SYMBOL, view({"x": Float64})])
    frame = pd.DataFrame({"symbol": ["A"], "x": [1.0], "event_timestamp": [NOW],
                          "created_timestamp": [NOW]})  # fmt: skip
    asyncio.run(other.write_to_online_store_async("v", frame))
    assert read(other, ["A"], ["v:x"]).to_dict()["x"] == [1.0]
    keys = [EntityKey(join_keys=["symbol"], entity_values=[Value(string_val="A")])]
    read_rows = online(other).online_read_async(other.config, other.get_feature_view("v"), keys)
    assert asyncio.run(read_rows) == [(NOW, {"x": Value(double_val=1.0)})]
