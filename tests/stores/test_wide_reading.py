"""Reading the online store without Feast: the same rows and values as through Feast."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feast import FeatureStore
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import feast_value_type_to_python_type
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wide_tools import NOW, SYMBOL, online, repository, view

from ingestion.base.errors import InputError
from ingestion.plugins.online.keys import encode_keys
from ingestion.plugins.online.reading import (
    NOT_FOUND,
    OUTSIDE_MAX_AGE,
    PRESENT,
    Asked,
    View,
    read_views,
    table_name,
)
from ingestion.plugins.online.sqlite import SqliteTables

TTL = timedelta(days=4)
NAMES = ["S0", "S1", "S2", "S3"]
FIELDS = {
    "f64": (Float64, "DOUBLE", "double_val", st.floats()),
    "f32": (Float32, "FLOAT", "float_val", st.floats(width=32)),
    "i32": (Int32, "INT32", "int32_val", st.integers(-(2**31), 2**31 - 1)),
    "i64": (Int64, "INT64", "int64_val", st.integers(-(2**63), 2**63 - 1)),
    "flag": (Bool, "BOOL", "bool_val", st.booleans()),
    "text": (String, "STRING", "string_val", st.text(st.characters(exclude_categories=["Cs"]))),
    "raw": (Bytes, "BYTES", "bytes_val", st.binary()),
    "when": (UnixTimestamp, "UNIX_TIMESTAMP", "unix_timestamp_val", st.integers(-(10**9), 10**10)),
}
TYPES = {name: kind for name, (_, kind, _, _) in FIELDS.items()}
EVENTS = st.sampled_from([-10, -4.01, -4, -3.99, -1, 0, 0.01]).map(lambda d: NOW + timedelta(d))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    made = repository(tmp_path_factory.mktemp("reading"))
    schema = {name: kind for name, (kind, *_) in FIELDS.items()}
    made.apply([SYMBOL, view(schema, ttl=TTL), view({"x": Array(Float64)}, name="lists")])
    return made


def path(store: FeatureStore) -> Path:
    return Path(str(store.repo_path)) / "online" / "online.db"


def symbol_key(symbol: str) -> EntityKey:
    return EntityKey(join_keys=["symbol"], entity_values=[Value(string_val=symbol)])


def bits(value: object) -> object:
    """A NaN equals itself, and -0.0 is not 0.0."""
    return np.float64(value).tobytes() if isinstance(value, float) else value


@st.composite
def stored_rows(draw: st.DrawFn) -> list[tuple[str, dict[str, Value], datetime]]:
    return [
        (
            symbol,
            {
                name: Value()
                if (item := draw(st.none() | items)) is None
                else Value(**{field: item})
                for name, (_, _, field, items) in FIELDS.items()
            },
            draw(EVENTS),
        )
        for symbol in draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True))
    ]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=stored_rows(), asked=st.lists(st.sampled_from(NAMES), min_size=1, max_size=6))
def test_rows_and_values_are_those_that_feast_reads(at, store: FeatureStore, rows, asked):
    at(NOW)
    feature_view = store.get_feature_view("v")
    path(store).unlink(missing_ok=True)
    online(store).online_write_batch(
        store.config,
        feature_view,
        [(symbol_key(symbol), values, event, NOW) for symbol, values, event in rows],
        None,
    )
    keys = encode_keys({"symbol": ("STRING", asked)})
    asked_of_view = Asked(View(table_name("p", "v"), TTL), TYPES, keys)
    (answer,) = read_views(SqliteTables(path(store)), [asked_of_view], NOW)
    expected = online(store).online_read(
        store.config, feature_view, [symbol_key(symbol) for symbol in asked], list(TYPES)
    )
    given_rows = {symbol: (values, event) for symbol, values, event in rows}
    objects = {name: values.to_objects() for name, values in answer.values.items()}
    for row, (event, values) in enumerate(expected):
        status = answer.status[row]
        found = {name: column[row] for name, column in objects.items()}
        if event is None:
            assert asked[row] not in given_rows
            assert status == NOT_FOUND
            assert set(found.values()) == {None}
        elif values is None:
            assert not NOW - TTL <= given_rows[asked[row]][1] <= NOW
            assert status == OUTSIDE_MAX_AGE
            assert set(found.values()) == {None}
        else:
            assert NOW - TTL <= given_rows[asked[row]][1] <= NOW
            assert status == PRESENT
            assert answer.event_us[row] == (event - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(
                microseconds=1
            )
            # Feast's reading of its own protobuf, of the value that was read and of the one given.
            for proto in (values, given_rows[asked[row]][0]):
                python = {name: _python(value) for name, value in proto.items()}
                assert {n: bits(v) for n, v in found.items()} == {
                    n: bits(v) for n, v in python.items()
                }


def _python(value: Value) -> Any:
    made = feast_value_type_to_python_type(value)
    return made.astimezone(UTC) if isinstance(made, datetime) else made


def test_a_column_that_the_table_lacks_and_a_table_that_the_file_lacks_are_null(store):
    online(store).update(store.config, [], [store.get_feature_view("v")], [], [], partial=True)
    keys = encode_keys({"symbol": ("STRING", ["S0"])})
    views = [View(table_name("p", table), TTL) for table in ("v", "other")]
    asked = [Asked(each, {"later": "DOUBLE"}, keys) for each in views]
    for answer in read_views(SqliteTables(path(store)), asked, NOW):
        assert answer.values["later"].to_objects() == [None]
    (answer,) = read_views(SqliteTables(path(store).with_name("none.db")), asked[:1], NOW)
    assert answer.status.tolist() == [NOT_FOUND]


def test_a_value_that_only_feast_can_read_is_refused_by_its_type(store):
    lists = store.get_feature_view("lists")
    value = Value()
    value.double_list_val.val.extend([1.0, 2.0])
    online(store).online_write_batch(
        store.config, lists, [(symbol_key("S0"), {"x": value}, NOW, NOW)], None
    )
    keys = encode_keys({"symbol": ("STRING", ["S0"])})
    asked = Asked(View(table_name("p", "lists"), None), {"x": "DOUBLE_LIST"}, keys)
    (read,) = read_views(SqliteTables(path(store)), [asked], NOW)
    with pytest.raises(InputError, match="DOUBLE_LIST can be read through Feast alone"):
        read.values["x"].to_objects()


def test_statuses_are_feasts_numbers():
    assert (PRESENT, NOT_FOUND, OUTSIDE_MAX_AGE) == (
        FieldStatus.PRESENT,
        FieldStatus.NOT_FOUND,
        FieldStatus.OUTSIDE_MAX_AGE,
    )


def test_reading_imports_neither_feast_nor_pandas_nor_arrow():
    code = (
        "import sys, ingestion.plugins.online.reading; "
        "print(*{'feast', 'pandas', 'pyarrow', 'google'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""
