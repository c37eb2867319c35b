"""What the wide store promises, beside what Feast's own SQLite store does (FEAST.md)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from feast import Entity, FeatureStore, ValueType
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import (
    Array,
    Bool,
    Bytes,
    Float32,
    Float64,
    Int32,
    Int64,
    Map,
    String,
    UnixTimestamp,
)
from wide_tools import (
    NOW,
    PRICES,
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

from ingestion.base.errors import FeastRepositoryError, InputError
from ingestion.plugins.online import sqlite

HOUR = timedelta(hours=1)
TTL = timedelta(days=4)
MICROSECOND = timedelta(microseconds=1)
KEY_A = EntityKey(join_keys=["symbol"], entity_values=[Value(string_val="A")])


@pytest.fixture(autouse=True)
def at_now(at: Callable[[datetime], None]) -> Callable[[datetime], None]:
    at(NOW)
    return at


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    made = repository(tmp_path / "repo")
    made.apply([SYMBOL, view(PRICES)])
    return made


@pytest.mark.parametrize("way", [FeatureStore.get_online_features, generic])
def test_a_request_sees_all_its_views_at_one_instant(tmp_path: Path, monkeypatch, way):
    store = repository(tmp_path)
    store.apply([SYMBOL, view({"a": Float64}, name="v"), view({"b": Float64}, name="w")])

    def load(into: FeatureStore, event: datetime, value: float) -> None:
        write(into, rows(["A"], event, a=[value]), "v")
        write(into, rows(["A"], event, b=[value]), "w")

    load(store, NOW - HOUR, 1.0)
    stored_rows = sqlite.stored_rows

    def beside_a_load(*args, **kwargs):
        monkeypatch.setattr(sqlite, "stored_rows", stored_rows)
        answer = stored_rows(*args, **kwargs)
        load(FeatureStore(repo_path=str(tmp_path)), NOW, 2.0)
        return answer

    monkeypatch.setattr(sqlite, "stored_rows", beside_a_load)
    for value in (1.0, 2.0):
        response = way(store, features=["v:a", "w:b"], entity_rows=[{"symbol": "A"}]).to_dict()
        assert response == {"symbol": ["A"], "a": [value], "b": [value]}


@pytest.mark.parametrize("ttl", [None, timedelta(0)])
def test_without_a_ttl_a_row_never_expires(tmp_path: Path, ttl):
    store = repository(tmp_path)
    store.apply([SYMBOL, view(PRICES, ttl=ttl)])
    write(store, rows(["A"], datetime(1969, 5, 4, tzinfo=UTC), price=[2.0], size=[1.0]))
    assert read(store, ["A"]).to_dict()["price"] == [2.0]


def test_teardown_leaves_what_is_others(tmp_path: Path):
    store = repository(tmp_path)
    mine, yours = view(PRICES), view(PRICES, name="w")
    store.apply([SYMBOL, mine, yours])
    for name in ("v", "w"):
        write(store, rows(["A"], NOW, price=[2.0], size=[1.0]), name)
    online(store).teardown(store.config, [mine], [])
    assert read(store, ["A"], ["v:price"]).to_dict()["price"] == [None]
    assert read(store, ["A"], ["w:price"]).to_dict()["price"] == [2.0]
    online(store).teardown(store.config, [yours], [])
    assert not list((tmp_path / "online").iterdir())
    online(store).teardown(store.config, [yours], [])


def test_both_stores_may_share_a_file(tmp_path: Path):
    ours, theirs = repository(tmp_path), repository(tmp_path)
    (tmp_path / "feature_store.yaml").write_text(
        (tmp_path / "feature_store.yaml")
        .read_text()
        .replace(ours.config.online_store.type, "sqlite")
    )
    theirs = FeatureStore(repo_path=str(tmp_path))
    for each, price in ((ours, 1.0), (theirs, 2.0)):
        each.apply([SYMBOL, view(PRICES)])
        push(each, symbol=["A"], price=[price], size=[0.0], event_timestamp=[NOW],
             created_timestamp=[NOW])  # fmt: skip
    assert read(ours, ["A"]).to_dict()["price"] == [1.0]
    assert read(theirs, ["A"]).to_dict()["price"] == [2.0]


def test_a_changed_view_keeps_what_it_can(store):
    write(store, rows(["A", "B"], NOW, price=[2.0, 2.5], size=[7.0, None]))
    store.apply([SYMBOL, view({"price": Int64, "note": String})])
    assert read(store, ["A", "B"], ["v:price", "v:note"]).to_dict() == {
        "symbol": ["A", "B"],
        "price": [2, None],
        "note": [None, None],
    }
    store.apply([SYMBOL, view({"note": String, "size": Float64})])
    assert read(store, ["A"], ["v:size"]).to_dict()["size"] == [None]


def test_a_running_reader_answers_by_what_it_has_refreshed_to(store):
    """A server keeps what it made of a request until its registry changes, and no longer."""
    write(store, rows(["A"], NOW - HOUR, price=[2.0], size=[7.0]))
    server = FeatureStore(repo_path=str(store.repo_path))
    assert read(server, ["A"]).to_dict()["price"] == [2.0]
    store.apply([SYMBOL, view({"price": Int64, "size": Float64})])
    assert repr(read(server, ["A"]).to_dict()["price"]) == "[2.0]"
    server.refresh_registry()
    assert repr(read(server, ["A"]).to_dict()["price"]) == "[2]"
    store.apply([SYMBOL, view({"price": Int64, "size": Float64}, ttl=HOUR - MICROSECOND)])
    assert read(server, ["A"]).to_dict()["price"] == [2]
    server.refresh_registry()
    assert statuses(read(server, ["A"]))["price"] == [FieldStatus.OUTSIDE_MAX_AGE]


def test_a_view_of_another_key_begins_empty(store, tmp_path: Path):
    write(store, rows(["A"], NOW, price=[2.0], size=[7.0]))
    isin = Entity(name="isin", join_keys=["isin"], value_type=ValueType.INT64)
    other = view(PRICES, entities=(isin,), keys={"isin": Int64})
    store.apply([isin, other])
    write(store, rows([""], NOW, isin=[7], price=[3.0], size=[None]))
    answer = store.get_online_features(["v:price"], {"isin": [7, 8]}).to_dict()
    assert answer == {"isin": [7, 8], "price": [3.0, None]}
    table = online(store).online_read_table(store.config, store.get_feature_view("v"))
    assert table.select(["isin", "price"]).to_pydict() == {"isin": [7], "price": [3.0]}


def test_applying_what_is_applied_already_changes_nothing(store, tmp_path: Path):
    write(store, rows(["A"], NOW, price=[2.0], size=[7.0]))
    files = [tmp_path / "repo" / "online" / name for name in ("online.db", "online.db-wal")]
    before = [path.read_bytes() for path in files]
    store.apply([SYMBOL, view(PRICES)])
    assert [path.read_bytes() for path in files] == before


def test_a_view_that_is_not_applied_yet_reads_what_was_stored_before(store):
    """A feature server's registry may be older than the file, or newer."""
    write(store, rows(["A"], NOW, price=[2.0], size=[7.0]))
    newer = view({"price": Int64, "new": Float64})
    assert online(store).online_read(store.config, newer, [KEY_A]) == [
        (NOW, {"price": Value(int64_val=2), "new": Value()})
    ]
    assert online(store).online_read(store.config, view(PRICES), [KEY_A], ["size"]) == [
        (NOW, {"size": Value(double_val=7.0)})
    ]
    table = online(store).online_read_table(store.config, newer)
    assert table.select(["price", "new"]).to_pydict() == {"price": [2], "new": [None]}


GENERIC = {
    "f64": Float64,
    "f32": Float32,
    "i32": Int32,
    "i64": Int64,
    "flag": Bool,
    "text": String,
    "raw": Bytes,
    "when": UnixTimestamp,
    "numbers": Array(Float64),
    "texts": Array(String),
    "flags": Array(Bool),
    "whens": Array(UnixTimestamp),
    "blobs": Array(Bytes),
}
VALUES = {
    "f64": [0.1, None],
    "f32": [0.5, None],
    "i32": [-7, None],
    "i64": [2**53 + 1, None],
    "flag": [False, None],
    "text": ["ü\x00", None],
    "raw": [b"\xff\x00", None],
    "when": [datetime(2020, 3, 8, 2, 30, 0, tzinfo=UTC), None],
    "numbers": [[0.1, -2.0], None],
    "texts": [["a", "ü"], None],
    "flags": [[True, False], None],
    "whens": [[datetime(2020, 3, 8, tzinfo=UTC)], None],
    "blobs": [[b"\xff"], None],
}


def test_values_of_any_type_are_pushed_and_read_as_in_the_stock_store(tmp_path: Path):
    answers = []
    for kind in (None, "sqlite"):
        store = repository(tmp_path / str(kind), *([kind] if kind else []))
        store.apply([SYMBOL, view({**GENERIC, "mapped": Map})])
        first = {name: [values[0]] for name, values in VALUES.items()}
        first |= {"mapped": [{"k": "v"}]}
        push(store, symbol=["A"], event_timestamp=[NOW], created_timestamp=[NOW], **first)
        names = [f"v:{name}" for name in (*GENERIC, "mapped")]
        answers.append(read(store, ["A", "B"], names).to_dict())
    assert answers[0] == answers[1]
    assert answers[0] == {
        "symbol": ["A", "B"],
        **VALUES,
        "mapped": [{"k": "v"}, None],
    }


def test_values_of_any_type_come_through_the_bulk_writer(tmp_path: Path):
    store = repository(tmp_path)
    store.apply([SYMBOL, view(GENERIC)])
    assert write(store, rows(["A", "N"], NOW, **VALUES)) == 2
    names = [f"v:{name}" for name in GENERIC]
    assert read(store, ["A", "N"], names).to_dict() == {"symbol": ["A", "N"], **VALUES}
    table = online(store).online_read_table(store.config, store.get_feature_view("v"))
    assert table.to_pydict() == {
        "symbol": ["A", "N"],
        **VALUES,
        "event_timestamp": [NOW, NOW],
        "created_timestamp": [NOW, NOW],
    }
    assert [str(kind) for kind in table.schema.types] == [
        "string", "double", "float", "int32", "int64", "bool", "string", "binary",
        "timestamp[us, tz=UTC]", "list<item: double>", "list<item: string>", "list<item: bool>",
        "list<item: timestamp[us, tz=UTC]>", "list<item: binary>",
        "timestamp[us, tz=UTC]", "timestamp[us, tz=UTC]",
    ]  # fmt: skip


def test_nan_and_null_are_two_things(store):
    nan = float("nan")
    write(store, rows(["A", "B"], NOW, price=[nan, None], size=[1.0, 1.0]))
    values = read(store, ["A", "B"]).to_dict()["price"]
    assert values[0] != values[0]
    assert values[1] is None
    table = online(store).online_read_table(store.config, store.get_feature_view("v"), ["price"])
    assert table.column_names == ["symbol", "price", "event_timestamp", "created_timestamp"]
    assert table["price"].is_null().to_pylist() == [False, True]


def test_the_bulk_writer_takes_every_chunk_and_casts_to_the_declared_types(store):
    parts = [
        rows(["A"], NOW, price=pa.array([3], pa.int64()), size=pa.array([1.5], pa.float32())),
        rows(["B"], NOW, price=pa.array([4], pa.int64()), size=pa.array([None], pa.float32())),
    ]
    told: list[int] = []
    table = pa.concat_tables(parts)
    changed = online(store).online_write_table(
        store.config, store.get_feature_view("v"), table, told.append
    )
    assert (changed, told) == (2, [2])
    assert read(store, ["A", "B"]).to_dict() == {
        "symbol": ["A", "B"], "price": [3.0, 4.0], "size": [1.5, None]
    }  # fmt: skip
    assert write(store, table) == 0
    assert write(store, table.slice(0, 0)) == 0


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_event_times_of_any_unit_and_zone_are_instants(store, unit, zone):
    table = rows(["A"], NOW, price=[1.0], size=[1.0])
    naive = table["event_timestamp"].cast(pa.timestamp(unit))
    column = naive if zone is None else naive.cast(pa.timestamp(unit, "UTC"))
    column = column.cast(pa.timestamp(unit, zone))
    write(store, table.set_column(3, "event_timestamp", column))
    stored = online(store).online_read_table(store.config, store.get_feature_view("v"))
    assert stored["event_timestamp"].to_pylist() == [NOW]


def test_rows_without_a_key_or_an_event_time_are_left_out_and_told(store, caplog):
    write(
        store,
        rows(["A", None, "C"], [NOW, NOW, None], [NOW] * 3, price=[1.0] * 3, size=[1.0] * 3),
    )
    push(store, symbol=["D", "E"], price=[1.0, 1.0], size=[1.0, 1.0],
         event_timestamp=[pd.NaT, NOW], created_timestamp=[NOW, pd.NaT])  # fmt: skip
    assert read(store, list("ACDE")).to_dict()["price"] == [1.0, None, None, 1.0]
    assert "v: 2 rows without a key or an event time were left out" in caplog.text
    assert "v: 1 rows without an event time were left out" in caplog.text


def test_what_a_declared_type_cannot_hold_is_refused_by_name(tmp_path: Path):
    store = repository(tmp_path)
    store.apply([SYMBOL, view({"count": Int64})])
    write(store, rows(["A"], NOW - HOUR, count=[1]))
    with pytest.raises(InputError, match="column count cannot be of type INT64"):
        write(store, rows(["A", "B"], NOW, count=[2.0, 3.5]))
    seconds = pa.array([1_600_000_000])
    wrong = rows(["A"], NOW, count=[2]).set_column(2, "event_timestamp", seconds)
    with pytest.raises(InputError, match="event_timestamp is int64, not a timestamp"):
        write(store, wrong)
    with pytest.raises(InputError, match="rows of v have no count, created_timestamp"):
        write(store, rows(["A"], NOW).drop_columns(["created_timestamp"]))
    assert read(store, ["A", "B"], ["v:count"]).to_dict()["count"] == [1, None]


def test_a_row_is_replaced_as_a_whole(store):
    told: list[int] = []
    for event, values in (
        (NOW - HOUR, {"price": Value(double_val=1.0), "size": Value(double_val=2.0)}),
        (NOW, {"price": Value(double_val=3.0)}),
    ):
        batch = [(KEY_A, values, event, None)]
        online(store).online_write_batch(store.config, view(PRICES), batch, told.append)
    assert read(store, ["A"]).to_dict() == {"symbol": ["A"], "price": [3.0], "size": [None]}
    assert told == [1, 1]
    with pytest.raises(InputError, match=r"price is of type DOUBLE, but string_val"):
        online(store).online_write_batch(
            store.config, view(PRICES), [(KEY_A, {"price": Value(string_val="x")}, NOW, None)], None
        )


def test_a_corrupt_file_is_told_with_its_path_and_the_remedy(store, tmp_path: Path):
    # A connection that is open still has the sound pages in its cache and in the log.
    online(store)._files.clear()
    (tmp_path / "repo" / "online" / "online.db").write_bytes(b"\xff" * 5000)
    with pytest.raises(FeastRepositoryError, match=r"online\.db cannot be read.*materialize"):
        read(store, ["A"])
    with pytest.raises(FeastRepositoryError, match=r"online\.db cannot be read.*materialize"):
        push(store, symbol=["A"], price=[1.0], size=[1.0], event_timestamp=[NOW],
             created_timestamp=[NOW])  # fmt: skip
