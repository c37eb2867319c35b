"""What each online store of this project promises, whatever it keeps its rows in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feast import FeatureStore
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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
from wide_versions import LAYOUT, VERSIONS, Version, as_rows, as_versions, newest

from ingestion.plugins.online.layout import Layout
from ingestion.plugins.online.opening import open_tables
from ingestion.plugins.online.rows import NEVER, Read, Rows, TableContent, Tables
from tests.stores.online_servers import (
    RedisServer,
    at_length,
    postgres_server,
    postgres_with_tls,
    redis_cluster,
    redis_server,
    redis_with_tls,
    short_folder,
    valkey_program,
)

HOUR = timedelta(hours=1)
TTL = timedelta(days=4)
MICROSECOND = timedelta(microseconds=1)

Place = dict[str, Any]
"""The settings of an online store, with its type."""


AT_LENGTH = ("valkey", "redis cluster", "redis with TLS", "postgres with TLS")


@pytest.fixture(
    scope="module",
    params=["sqlite", "redis", "postgres", *(pytest.param(n, marks=at_length) for n in AT_LENGTH)],
)
def kind(request: pytest.FixtureRequest) -> Iterator[tuple[str, Place]]:
    name: str = request.param
    settings: Place = {}
    with short_folder() as folder, ExitStack() as stack:
        if name == "sqlite":
            yield "ingestion.plugins.wide_sqlite.WideSqliteOnlineStore", settings
        elif name.startswith("postgres"):
            server = postgres_with_tls(folder) if "TLS" in name else postgres_server()
            settings = {"conninfo": stack.enter_context(server)}
            yield "ingestion.plugins.wide_postgres.WidePostgresOnlineStore", settings
        else:
            if name == "redis cluster":
                settings = {"url": stack.enter_context(redis_cluster(folder)), "cluster": True}
            elif name == "redis with TLS":
                settings = {"url": stack.enter_context(redis_with_tls(folder))}
            elif name == "valkey":
                started = RedisServer(folder, program=valkey_program())
                stack.callback(started.kill)
                settings = {"url": started.url}
            else:
                settings = {"url": stack.enter_context(redis_server(folder))}
            yield "ingestion.plugins.wide_redis.WideRedisOnlineStore", settings


@pytest.fixture
def place(kind: tuple[str, Place], tmp_path: Path) -> Place:
    """Settings of an empty store of each kind."""
    name, settings = kind
    apart = {"WideSqliteOnlineStore": "path", "WideRedisOnlineStore": "prefix"}
    setting = apart.get(name.rpartition(".")[2], "db_schema")
    own = {setting: str(tmp_path / "online.db") if setting == "path" else tmp_path.name}
    return {"type": name, **settings, **own}


@pytest.fixture
def tables(place: Place) -> Tables:
    return opened(place)


def opened(place: Place) -> Tables:
    tables = open_tables(place, Path("/"))
    assert tables is not None
    return tables


@pytest.fixture
def store(place: Place, tmp_path: Path, at: Callable[[datetime], None]) -> FeatureStore:
    at(NOW)
    made = in_store(place, tmp_path)
    made.apply([SYMBOL, view(PRICES)])
    return made


def in_store(place: Place, folder: Path) -> FeatureStore:
    others = {name: value for name, value in place.items() if name != "type"}
    return repository(folder / "repo", place["type"], **others)


def stored(tables: Tables, table: str = "t") -> list[Version]:
    (found,) = tables.read([Read(table, ["x", "s"])])
    return as_versions(found) if found.keys else []


def written_in(tables: Tables, batches: list[list[Version]]) -> int:
    tables.update(["t"], {"t": LAYOUT})
    return sum(tables.write("t", LAYOUT, as_rows(batch)) for batch in batches)


reusing = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@reusing
@given(st.lists(VERSIONS, max_size=12), st.integers(1, 5))
def test_the_newest_event_then_the_newest_created_then_the_last_written_wins(
    tables: Tables, versions, size
):
    written_in(tables, [versions[at : at + size] for at in range(0, len(versions), size)])
    assert stored(tables) == newest(versions)


@reusing
@given(
    st.lists(VERSIONS, max_size=10, unique_by=lambda row: row[:3]).flatmap(
        lambda versions: st.tuples(st.just(versions), st.permutations(versions))
    ),
    st.integers(1, 10),
)
def test_the_order_of_writes_does_not_matter(tables: Tables, orders, size):
    one, other = orders
    written_in(tables, [one])
    first = stored(tables)
    written_in(tables, [other[at : at + size] for at in range(0, len(other), size)])
    assert stored(tables) == first


@pytest.mark.parametrize("event", [-(2**63) + 1, -(2**33), -1, 0, 2**32, 2**53 + 1, 2**63 - 2])
def test_an_event_one_microsecond_newer_wins_wherever_it_lies(tables: Tables, event: int):
    for created in (NEVER, event):
        both = [(b"a", event, created, 1.0, "old"), (b"a", event + 1, NEVER, 2.0, "new")]
        for order in (both, both[::-1]):
            written_in(tables, [[each] for each in order])
            assert stored(tables) == [both[1]]


def test_rows_that_change_nothing_are_not_counted(tables: Tables):
    given_rows: list[Version] = [(b"a", 5, 5, 1.0, "x"), (b"b", 5, 5, None, None)]
    assert written_in(tables, [given_rows]) == 2
    for versions, changed in (
        (given_rows, 0),
        ([(b"a", 4, 9, 2.0, "y")], 0),
        ([(b"a", 5, 5, 1.0, None)], 1),
        ([(b"b", 5, 6, None, None)], 1),
        ([], 0),
    ):
        assert tables.write("t", LAYOUT, as_rows(versions)) == changed


def test_rows_come_in_the_order_of_the_keys_asked_for_however_many(tables: Tables):
    keys = [f"{at}".encode() for at in range(25_000)]
    written_in(tables, [[(key, at, at, float(at), str(at)) for at, key in enumerate(keys)]])
    asked = [b"nobody", *reversed(keys), keys[7], b"nobody", keys[7]]
    (found,) = tables.read([Read("t", ["s", "other"], asked)])
    assert found.keys == [key if key != b"nobody" else None for key in asked]
    assert found.values.keys() == {"s"}
    assert found.values["s"].to_list() == [None if k == b"nobody" else k.decode() for k in asked]
    assert stored(tables)[0] == (b"0", 0, 0, 0.0, "0")
    assert len(stored(tables)) == 25_000


def test_a_table_of_changed_features_keeps_what_it_can(tables: Tables):
    written_in(tables, [[(b"a", 5, NEVER, 1.0, "x"), (b"b", 6, 7, 2.5, None)]])
    changed = Layout.of([("s", "STRING"), ("new", "DOUBLE"), ("x", "INT64"), ("b", "BYTES")])
    tables.update([], {"t": changed})
    (found,) = tables.read([Read("t", list(changed.type_of))])
    assert found.keys == [b"a", b"b"]
    assert found.event_us.tolist() == [5, 6]
    assert found.created_us.tolist() == [NEVER, 7]
    assert {name: values.to_list() for name, values in found.values.items()} == {
        "s": ["x", None],
        "new": [None, None],
        "x": [1, None],
        "b": [None, None],
    }


def test_another_order_of_the_same_features_changes_nothing(tables: Tables):
    written_in(tables, [[(b"a", 5, 5, 1.0, "x")]])
    turned = Layout.of(reversed(LAYOUT.types))
    tables.update([], {"t": turned})
    assert stored(tables) == [(b"a", 5, 5, 1.0, "x")]
    assert tables.write("t", turned, as_rows([(b"b", 5, 5, 2.0, "y")])) == 1
    assert stored(tables) == [(b"a", 5, 5, 1.0, "x"), (b"b", 5, 5, 2.0, "y")]


def test_a_table_may_have_any_name_and_no_features(tables: Tables):
    name, none = 'odd "name"; -- {x} ü', Layout.of([])
    assert tables.write(name, none, Rows([b"a"], np.array([1]), np.array([1]), {})) == 1
    assert tables.read([Read(name, [])])[0].keys == [b"a"]
    tables.update([name, name], {})
    assert tables.read([Read(name, [])])[0].keys == []


def test_a_look_counts_rows_and_makes_nothing(tables: Tables):
    assert not tables.look({"t": (0, 1)})
    assert not tables.look({"t": (0, 1)})
    written_in(tables, [])
    assert tables.look({"t": (0, 9), "u": (0, 9)}) == {"t": TableContent(0, None, 0)}
    written_in(tables, [[(b"a", 5, 5, 1.0, "x"), (b"b", 7, 5, 1.0, "x"), (b"c", 9, 9, None, "")]])
    assert tables.look({"t": (5, 8)}) == {"t": TableContent(3, 9, 2)}
    tables.teardown(["t"])
    assert not tables.look({"t": (0, 1)})


def test_readers_see_all_tables_at_one_instant_while_others_write_and_change_them(place: Place):
    """Every round writes one number to all rows of a table, and changes the features of both."""
    keys = [b"%d" % at for at in range(50)]
    layouts = [Layout.of([("x", "DOUBLE")]), Layout.of([("x", "DOUBLE"), ("s", "STRING")])]
    tables, done = opened(place), threading.Event()

    def number(at: int) -> Rows:
        return as_rows([(key, at, at, float(at), "") for key in keys])

    def write_on() -> None:
        for at in range(1, 40):
            for table in ("t", "u"):
                layout = layouts[at % 2]
                writer.write(table, layout, number(at).laid_out(layout))
        done.set()

    writer = opened(place)
    for table in ("t", "u"):
        writer.write(table, layouts[0], number(0).laid_out(layouts[0]))
    thread = threading.Thread(target=write_on)
    thread.start()
    seen = set()
    while not done.is_set():
        first, second = tables.read([Read("t", ["x"], keys), Read("u", ["x"])])
        numbers = [{*each.values["x"].to_list()} for each in (first, second)]
        assert [len(each) for each in numbers] == [1, 1]
        (one,), (other,) = numbers
        assert one - other in (0, 1)
        seen.add(one)
    thread.join()
    assert len(seen) > 1


WRITER = """
import sys, json
from pathlib import Path
import numpy as np
from ingestion.plugins.online.layout import Layout, Values
from ingestion.plugins.online.opening import open_tables
from ingestion.plugins.online.rows import Rows
tables = open_tables(json.loads(sys.argv[1]), Path("/"))
layout = Layout.of([("x", "DOUBLE"), ("s", "STRING")])
keys = [b"%d" % at for at in range(5_000)]
at = int(sys.argv[2])
while True:
    at += 1
    us = np.full(len(keys), at)
    values = {"x": Values.of("DOUBLE", us * 1.0), "s": Values.of("STRING", [""] * len(us))}
    tables.write("t", layout, Rows(keys, us, us, values))
    print(at, flush=True)
"""


def test_a_writer_killed_at_any_instant_leaves_one_whole_version(place: Place, tables: Tables):
    chance, last = np.random.default_rng(7), 0
    for _ in range(3):
        command = [sys.executable, "-c", WRITER, json.dumps(place), str(last)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            last = int(writer.stdout.readline())
            threading.Event().wait(chance.uniform(0, 0.1))
            os.kill(writer.pid, signal.SIGKILL)
            told = writer.stdout.read().split()
        whole = {int(row) for row in told} | {last}
        (found,) = tables.read([Read("t", ["x"])])
        (version,) = {*found.values["x"].to_list()}
        assert len(found.keys) == 5_000
        assert version in (max(whole), max(whole) + 1)  # the last one may be whole and not told
        last = int(version)


def test_a_row_is_valid_to_the_microsecond_of_its_ttl_and_from_that_of_its_event(store, at):
    write(store, rows(["A"], NOW, price=[2.0], size=[None]))
    for now, price in (
        (NOW - MICROSECOND, None),
        (NOW, 2.0),
        (NOW + TTL, 2.0),
        (NOW + TTL + MICROSECOND, None),
    ):
        at(now)
        response = read(store, ["A", "?"])
        assert response.to_dict()["price"] == [price, None]
        expected = FieldStatus.OUTSIDE_MAX_AGE if price is None else FieldStatus.PRESENT
        assert statuses(response)["price"] == [expected, FieldStatus.NOT_FOUND]
        way = generic(store, ["v:price"], {"symbol": ["A", "?"]})
        assert statuses(way)["price"] == [expected, FieldStatus.NOT_FOUND]


def test_a_restated_row_replaces_and_an_older_window_does_not(store):
    for event, created, price, served in (
        (NOW - HOUR, NOW - HOUR, 1.0, 1.0),
        (NOW - HOUR, NOW, 2.0, 2.0),
        (NOW - HOUR, NOW - HOUR, 3.0, 2.0),
        (NOW - 2 * HOUR, NOW, 4.0, 2.0),
        (NOW, NOW - 2 * HOUR, 5.0, 5.0),
    ):
        write(store, rows(["A"], event, created, price=[price], size=[None]))
        assert read(store, ["A"]).to_dict()["price"] == [served]


def test_teardown_leaves_what_is_others(store):
    yours = view(PRICES, name="w")
    store.apply([yours])
    for name in ("v", "w"):
        write(store, rows(["A"], NOW, price=[2.0], size=[1.0]), name)
    online(store).teardown(store.config, [view(PRICES)], [])
    assert read(store, ["A"], ["v:price"]).to_dict()["price"] == [None]
    assert read(store, ["A"], ["w:price"]).to_dict()["price"] == [2.0]
    online(store).teardown(store.config, [yours], [])
    assert read(store, ["A"], ["w:price"]).to_dict()["price"] == [None]


def test_a_changed_view_keeps_what_it_can(store):
    write(store, rows(["A", "B"], NOW, price=[2.0, 2.5], size=[7.0, None]))
    store.apply([SYMBOL, view({"price": Int64, "note": String})])
    assert read(store, ["A", "B"], ["v:price", "v:note"]).to_dict() == {
        "symbol": ["A", "B"],
        "price": [2, None],
        "note": [None, None],
    }


GENERIC = {
    "f64": (Float64, 0.1),
    "f32": (Float32, 0.5),
    "i32": (Int32, -7),
    "i64": (Int64, 2**53 + 1),
    "flag": (Bool, False),
    "text": (String, "ü\x00"),
    "none": (String, ""),
    "raw": (Bytes, b"\xff\x00"),
    "when": (UnixTimestamp, datetime(2020, 3, 8, 2, 30, tzinfo=UTC)),
    "numbers": (Array(Float64), [0.1, -2.0]),
    "texts": (Array(String), ["a", "ü"]),
    "flags": (Array(Bool), [True, False]),
    "whens": (Array(UnixTimestamp), [datetime(2020, 3, 8, tzinfo=UTC)]),
    "blobs": (Array(Bytes), [b"\xff"]),
}


def test_values_of_any_type_are_pushed_loaded_and_read(store):
    types = {name: kind for name, (kind, _) in GENERIC.items()}
    store.apply([SYMBOL, view({**types, "mapped": Map})])
    first = {name: [value] for name, (_, value) in GENERIC.items()} | {"mapped": [{"k": "v"}]}
    push(store, symbol=["A"], event_timestamp=[NOW], created_timestamp=[NOW], **first)
    names = [f"v:{name}" for name in first]
    expected = {"symbol": ["A", "B"]} | {name: [*value, None] for name, value in first.items()}
    assert read(store, ["A", "B"], names).to_dict() == expected
    store.apply([SYMBOL, view(types, name="w")])
    columns = {name: [value, None] for name, (_, value) in GENERIC.items()}
    assert write(store, rows(["A", "N"], NOW, **columns), "w") == 2
    table = online(store).online_read_table(store.config, store.get_feature_view("w"))
    assert table.select(list(columns)).to_pydict() == columns


def test_nan_null_and_the_zeros_are_different_things(store):
    nan = float("nan")
    write(store, rows(["A", "B", "C"], NOW, price=[nan, None, -0.0], size=[1.0, 1.0, 0.0]))
    values = read(store, ["A", "B", "C"]).to_dict()["price"]
    assert values[0] != values[0]
    assert values[1] is None
    assert str(values[2]) == "-0.0"
