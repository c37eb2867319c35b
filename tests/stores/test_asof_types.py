"""Which types keys, instants and features may have, and what becomes of each."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from feast import FeatureView, Field
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp

from ingestion.base.errors import InputError
from tests.stores.asof_lake import TYPES, write
from tests.stores.asof_repository import entity, file_source, repository, signals_view, symbol
from tests.stores.asof_rows import DAY, MONDAY, REFS, ROWS, TICK, frame

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*experimental:RuntimeWarning"),
    pytest.mark.usefixtures("host_zone"),
]


def test_instants_that_are_integers_are_refused(tmp_path: Path):
    """S4: what unit they are in, nobody says."""
    types = TYPES | {"event_timestamp": pa.int64()}
    write(tmp_path / "a.parquet", [ROWS[0] | {"event_timestamp": 1618261200}], types)
    store = repository(tmp_path, symbol, signals_view("a.parquet"))
    with pytest.raises(InputError, match=r"a\.parquet: column event_timestamp is int64"):
        store.get_historical_features(frame(("A", MONDAY)), REFS).to_df()


def test_what_a_feature_cannot_be_read_as_is_refused(tmp_path: Path):
    types = TYPES | {"RSI": pa.string()}
    write(tmp_path / "a.parquet", [ROWS[0] | {"RSI": "high"}], types)
    store = repository(tmp_path, symbol, signals_view("a.parquet"))
    with pytest.raises(InputError, match=r"a\.parquet: column RSI is string.* double"):
        store.get_historical_features(frame(("A", MONDAY)), REFS).to_df()


GENERIC = {
    "int32": (Int32, pa.int32(), [1, None]),
    "int64": (Int64, pa.int64(), [2**60 + 1, None]),
    "float32": (Float32, pa.float32(), [0.5, None]),
    "float64": (Float64, pa.float64(), [0.1, None]),
    "string": (String, pa.string(), ["é", None]),
    "bytes": (Bytes, pa.binary(), [b"\0\xff", None]),
    "bool": (Bool, pa.bool_(), [True, None]),
    "time": (UnixTimestamp, pa.timestamp("us", "UTC"), [MONDAY + TICK, None]),
    "ints": (Array(Int64), pa.list_(pa.int64()), [[1, 2], None]),
    "texts": (Array(String), pa.list_(pa.string()), [["a", None], []]),
    "floats": (Array(Float32), pa.list_(pa.float32()), [[0.5], None]),
}


WIDE = {
    pa.int32(): pa.int64(),
    pa.float32(): pa.float64(),
    pa.list_(pa.float32()): pa.list_(pa.float64()),
}


@pytest.mark.parametrize(
    ("dtype", "arrow", "key"),
    [
        (Int64, pa.int64(), 2**60 + 1),
        (Int32, pa.int32(), 7),
        (String, pa.string(), "key"),
        (Bytes, pa.binary(), b"\xff"),
        (Bool, pa.bool_(), True),
        (UnixTimestamp, pa.timestamp("us", "UTC"), MONDAY),
    ],
    ids=str,
)
def test_keys_and_values_of_every_type_come_back_as_they_are(tmp_path, dtype, arrow, key):
    types = {"key": arrow, "event_timestamp": pa.timestamp("us", "UTC")}
    types |= {name: kind for name, (_, kind, _) in GENERIC.items()}
    rows = [
        {"key": key, "event_timestamp": MONDAY + n * DAY}
        | {name: values[n] for name, (*_, values) in GENERIC.items()}
        for n in range(2)
    ]
    write(tmp_path / "g.parquet", rows, types)
    key_entity = entity("key", dtype)
    view = FeatureView(
        name="generic",
        entities=[key_entity],
        ttl=None,
        schema=[
            Field(name="key", dtype=dtype),
            *(Field(name=name, dtype=declared) for name, (declared, *_) in GENERIC.items()),
        ],
        source=file_source("g.parquet", created_timestamp_column=""),
    )
    store = repository(tmp_path, key_entity, view)
    given = pa.table(
        {"key": pa.array([key, key], arrow), "event_timestamp": [MONDAY, MONDAY + DAY]}
    )
    refs = [f"generic:{name}" for name in GENERIC]
    table = store.get_historical_features(given.to_pandas(), refs).to_arrow()
    for name, (_, kind, values) in GENERIC.items():
        # As wide as Feast's own local stores give them.
        assert table[name].type == WIDE.get(kind, kind)
        assert table[name].to_pylist() == values, name
    if dtype == Bool:  # no key of Feast's online stores
        return
    store.materialize(MONDAY, MONDAY + DAY / 2)
    online = store.get_online_features(refs, [{"key": key}]).to_dict()
    assert {name: online[name] for name in ("int64", "string", "bytes", "bool", "ints")} == {
        name: GENERIC[name][2][:1] for name in ("int64", "string", "bytes", "bool", "ints")
    }
