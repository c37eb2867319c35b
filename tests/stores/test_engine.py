"""``ArrowComputeEngine`` between stock stores and ours: the source's rows arrive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import BatchFeatureView, Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.data_format import ParquetFormat
from feast.repo_config import RepoConfig
from feast.transformation.mode import TransformationMode
from feast.types import Array, Bool, Float64, Int64, String, UnixTimestamp

NOON = datetime(2021, 4, 14, 12, tzinfo=UTC)
ENGINE = "ingestion.plugins.engine.ArrowComputeEngine"
OURS = {
    "offline": "ingestion.plugins.asof.AsofOfflineStore",
    "online": "ingestion.plugins.wide_sqlite.WideSqliteOnlineStore",
}
STOCK = {"offline": "duckdb", "online": "sqlite"}
STORES = [
    pytest.param(STOCK, id="stock"),
    pytest.param(OURS, id="ours"),
    pytest.param(OURS | {"offline": "duckdb"}, id="duckdb-wide"),
    pytest.param(OURS | {"online": "sqlite"}, id="asof-sqlite"),
]

# The stock DuckDB store's, through ibis.
pytestmark = [
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Batch feature views:RuntimeWarning"),
]

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)


@pytest.fixture
def make_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FeatureStore]:
    """Make a feature store of a folder's own."""
    monkeypatch.setenv("TVFEAST_NOW", (NOON + timedelta(hours=1)).isoformat())

    def make(stores: dict[str, str], engine: str = ENGINE, **options: Any) -> FeatureStore:
        config = RepoConfig(
            project="engine",
            provider="local",
            registry={
                "path": str(tmp_path / "registry.db"),
                "serve_features_while_materializing": True,
            },
            offline_store={"type": stores["offline"]},
            online_store={"type": stores["online"], "path": str(tmp_path / "online.db")},
            batch_engine={"type": engine},
            entity_key_serialization_version=3,
            repo_path=tmp_path,
            **options,
        )
        return FeatureStore(config=config)

    return make


def source(path: Path, *tables: pa.Table, **options: Any) -> FileSource:
    """Write tables into a folder, a file each."""
    path.mkdir()
    for number, table in enumerate(tables):
        pq.write_table(table, path / f"part-{number}.parquet")
    return FileSource(
        name=path.name,
        path=str(path),
        file_format=ParquetFormat(),
        timestamp_field="event",
        created_timestamp_column="created",
        **options,
    )


def rows(ids: list[int], event: datetime = NOON, created: datetime = NOON, **columns: Any) -> Any:
    instant = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "driver_id": pa.array(ids, pa.int64()),
            "event": pa.array([event] * len(ids), instant),
            "created": pa.array([created] * len(ids), instant),
            **columns,
        }
    )


def view(feed: FileSource, *fields: Field, **options: Any) -> FeatureView:
    return FeatureView(
        name="trips",
        entities=[driver],
        ttl=timedelta(days=2),
        schema=[Field(name="driver_id", dtype=Int64), *fields],
        source=feed,
        **options,
    )


def load(store: FeatureStore, each: FeatureView) -> None:
    store.apply([driver, each])
    store.materialize(NOON - timedelta(days=2), NOON)


def served(store: FeatureStore, ids: list[int], *features: str) -> dict[str, list[Any]]:
    answer = store.get_online_features(
        features=[f"trips:{name}" for name in features],
        entity_rows=[{"driver_id": number} for number in ids],
    ).to_dict()
    return {name: answer[name] for name in features}


@pytest.mark.parametrize("stores", STORES)
def test_every_row_of_every_file_is_written(stores, make_store, tmp_path: Path):
    """Feast's local engine writes the first record batch of a table alone."""
    tables = [rows(list(range(n, n + 50)), x=[float(i) for i in range(50)]) for n in (0, 50, 100)]
    feed = source(tmp_path / "feed", *tables)
    store = make_store(stores)
    load(store, view(feed, Field(name="x", dtype=Float64)))
    assert served(store, [0, 49, 50, 149], "x") == {"x": [0.0, 49.0, 0.0, 49.0]}


@pytest.mark.parametrize("stores", STORES)
def test_the_newest_event_and_then_the_newest_created_is_written(
    stores, make_store, tmp_path: Path
):
    tables = [
        rows([1], NOON, NOON, x=[1.0]),
        rows([1], NOON - timedelta(hours=1), NOON + timedelta(hours=1), x=[2.0]),
        rows([2], NOON, NOON, x=[3.0]),
        rows([2], NOON, NOON + timedelta(microseconds=1), x=[None]),
        rows([3], NOON + timedelta(microseconds=1), NOON, x=[4.0]),
    ]
    tables[3] = tables[3].set_column(3, "x", pa.array([None], pa.float64()))
    store = make_store(stores)
    load(store, view(source(tmp_path / "feed", *tables), Field(name="x", dtype=Float64)))
    assert served(store, [1, 2, 3], "x") == {"x": [1.0, None, None]}


@pytest.mark.parametrize("stores", STORES)
def test_types_are_the_declared_ones(stores, make_store, tmp_path: Path):
    table = rows(
        [1],
        whole=pa.array([3], pa.int32()),
        name=pa.array(["x"], pa.large_string()),
        yes=pa.array([True]),
        # Nanoseconds come out of the stock DuckDB store as text.
        when=pa.array([NOON], pa.timestamp("us" if stores["offline"] == "duckdb" else "ns", "UTC")),
        several=pa.array([[1.0, 2.0]], pa.list_(pa.float64())),
    )
    fields = [
        Field(name="whole", dtype=Float64),
        Field(name="name", dtype=String),
        Field(name="yes", dtype=Bool),
        Field(name="when", dtype=UnixTimestamp),
        Field(name="several", dtype=Array(Float64)),
    ]
    store = make_store(stores)
    load(store, view(source(tmp_path / "feed", table), *fields))
    answer = served(store, [1], *(field.name for field in fields))
    assert [type(value[0]) for value in answer.values()][:3] == [float, str, bool]
    assert answer["when"] == [NOON]
    assert answer["several"] == [[1.0, 2.0]]


@pytest.mark.parametrize("stores", STORES)
def test_a_field_mapping_names_the_features(stores, make_store, tmp_path: Path):
    table = rows([7], raw_x=[1.5]).rename_columns(["raw_id", "event", "created", "raw_x"])
    mapping = {"raw_id": "driver_id", "raw_x": "x"}
    feed = source(tmp_path / "feed", table, field_mapping=mapping)
    store = make_store(stores)
    load(store, view(feed, Field(name="x", dtype=Float64)))
    assert served(store, [7], "x") == {"x": [1.5]}


@pytest.mark.parametrize("stores", STORES)
@pytest.mark.parametrize("declared", ["event", "at"])
def test_a_field_mapping_may_rename_the_times(stores, declared: str, make_store, tmp_path: Path):
    mapping = {"event": "at", "created": "made"}
    feed = source(tmp_path / "feed", rows([7], x=[1.5]), field_mapping=mapping)
    feed.timestamp_field = declared
    feed.created_timestamp_column = mapping["created"] if declared == "at" else "created"
    store = make_store(stores)
    load(store, view(feed, Field(name="x", dtype=Float64)))
    assert served(store, [7], "x") == {"x": [1.5]}


# The stock DuckDB store does not give the columns that a transformation starts from.
@pytest.mark.parametrize("stores", STORES[1::2])
def test_a_view_that_feast_computes_is_computed_first(stores, make_store, tmp_path: Path):
    def double(frame):  # Feast compiles it anew, without this module's names
        frame["twice"] = frame["x"] * 2
        return frame

    feed = source(tmp_path / "feed", rows([1, 2], x=[1.0, 2.0]))
    each = BatchFeatureView(
        name="trips",
        entities=[driver],
        ttl=timedelta(days=2),
        mode=TransformationMode.PANDAS,
        udf=double,
        udf_string="double",
        schema=[Field(name="driver_id", dtype=Int64), Field(name="twice", dtype=Float64)],
        source=feed,
        online=True,
    )
    store = make_store(stores)
    load(store, each)
    assert served(store, [1, 2], "twice") == {"twice": [2.0, 4.0]}


@pytest.mark.parametrize("stores", STORES)
def test_a_column_of_another_kind_fails_with_its_name_and_keeps_what_was_served(
    stores, make_store, tmp_path: Path
):
    feed = source(tmp_path / "feed", rows([1], x=[1.0]))
    store = make_store(stores)
    each = view(feed, Field(name="x", dtype=Float64))
    load(store, each)
    for bad in ("not a number", [1.0]):
        table = rows([1], NOON, NOON + timedelta(hours=1), x=[bad])
        pq.write_table(table, tmp_path / "feed" / "part-0.parquet")
        with pytest.raises(Exception, match="column x"):
            store.materialize(NOON - timedelta(days=2), NOON)
    assert served(store, [1], "x") == {"x": [1.0]}


@pytest.mark.parametrize("stores", STORES)
def test_incremental_runs_add_what_came_since(stores, make_store, tmp_path: Path):
    feed = source(tmp_path / "feed", rows([1], x=[1.0]))
    store = make_store(stores)
    load(store, view(feed, Field(name="x", dtype=Float64)))
    later = NOON + timedelta(minutes=30)
    pq.write_table(rows([2], later, later, x=[2.0]), tmp_path / "feed" / "part-1.parquet")
    store.materialize_incremental(NOON + timedelta(hours=1))
    assert served(store, [1, 2], "x") == {"x": [1.0, 2.0]}
