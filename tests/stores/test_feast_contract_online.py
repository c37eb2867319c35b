"""What Feast's own stores and engine get wrong, S5 to S13 of FEAST.md, and ours right.

A stock store that has learned it makes its line here fail: then the line may go. S1 to S4 are in
``test_feast_contract_offline.py``; what ``tvfeast materialize`` adds to S6, S8 and S13 is in
``tests/feast_repository/test_materialize.py``.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.data_format import ParquetFormat
from feast.feature_view import FeatureViewState
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.types import Float64, String
from wide_tools import (
    NOW,
    PRICES,
    SYMBOL,
    WIDE,
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

pytestmark = [
    # The stock DuckDB store's, through ibis, and what Feast says of our registry.
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),
]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STOCK = {"offline": "duckdb", "online": "sqlite", "engine": "local"}
OURS = {
    "offline": "ingestion.plugins.asof.AsofOfflineStore",
    "online": WIDE,
    "engine": "ingestion.plugins.engine.ArrowComputeEngine",
}


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Tokyo"], autouse=True)
def host_zone(request: pytest.FixtureRequest, monkeypatch) -> Iterator[str]:
    """What time zone the host is in must not matter: New York skips 02:00 on 8 March 2020."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@pytest.fixture(autouse=True)
def at_now(at: Callable[[datetime], None]) -> Callable[[datetime], None]:
    at(NOW)
    return at


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    made = repository(tmp_path / "repo")
    made.apply([SYMBOL, view(PRICES)])
    return made


@pytest.fixture
def stock(tmp_path: Path) -> FeatureStore:
    made = repository(tmp_path / "stock", "sqlite")
    made.apply([SYMBOL, view(PRICES)])
    return made


def files(folder: Path, kind: dict[str, str], *features: str, **served: bool) -> FeatureStore:
    """Make a repository whose view ``v`` reads ``folder/feed``."""
    place = folder / kind["online"]
    place.mkdir()
    config = RepoConfig(
        project="p",
        provider="local",
        registry={"path": str(place / "registry.db"), **served},
        offline_store={"type": kind["offline"]},
        online_store={"type": kind["online"], "path": str(place / "online.db")},
        batch_engine={"type": kind["engine"]},
        entity_key_serialization_version=3,
        repo_path=place,
    )
    feed = FileSource(
        name="feed",
        path=str(folder / "feed"),
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )
    schema = [Field(name="symbol", dtype=String), *(Field(name=n, dtype=Float64) for n in features)]
    made = FeatureStore(config=config)
    made.apply([SYMBOL, FeatureView(name="v", entities=[SYMBOL], ttl=4 * DAY, schema=schema,
                                    source=feed)])  # fmt: skip
    return made


def part(folder: Path, name: str, table: pa.Table, **how: Any) -> None:
    """Write a file of the feed."""
    (folder / "feed").mkdir(exist_ok=True)
    pq.write_table(table, folder / "feed" / name, **how)


def prices(store: FeatureStore, *symbols: str) -> list[float | None]:
    answer: list[float | None] = read(store, list(symbols), ["v:price"]).to_dict()["price"]
    return answer


def test_s5_an_older_row_never_overwrites_a_newer_one(store, stock):
    for each in (store, stock):
        for event, price in ((NOW - HOUR, 2.0), (NOW - 9 * HOUR, 1.0)):
            push(each, symbol=["A"], price=[price], size=[0.0], event_timestamp=[event],
                 created_timestamp=[NOW])  # fmt: skip
    assert read(store, ["A"]).to_dict()["price"] == [2.0]
    assert read(stock, ["A"]).to_dict()["price"] == [1.0]


def test_s6_the_stock_command_works_as_ever_and_a_whole_window_finds_late_rows(tmp_path: Path):
    part(tmp_path, "part-0.parquet", rows(["A"], NOW - HOUR, price=[1.0]))
    store = files(tmp_path, OURS, "price")
    store.materialize(NOW - 4 * DAY, NOW - HOUR)
    part(tmp_path, "part-1.parquet", rows(["B"], NOW - 2 * HOUR, price=[2.0]))
    part(tmp_path, "part-2.parquet", rows(["A", "C"], NOW, price=[1.5, 3.0]))
    store.materialize_incremental(NOW)
    assert prices(store, "A", "B", "C") == [1.5, None, 3.0]
    store.materialize(NOW - 4 * DAY, NOW)
    assert prices(store, "A", "B", "C") == [1.5, 2.0, 3.0]


def test_s7_an_expired_row_is_null_and_told_apart_from_an_unknown_one(store, stock):
    for each in (store, stock):
        push(each, symbol=["A"], price=[2.0], size=[1.0], created_timestamp=[NOW],
             event_timestamp=[NOW - timedelta(days=300)])  # fmt: skip
    assert read(stock, ["A"]).to_dict()["price"] == [2.0]
    response = read(store, ["A", "B"])
    assert response.to_dict() == {"symbol": ["A", "B"], "price": [None, None], "size": [None, None]}
    assert statuses(response)["price"] == [FieldStatus.OUTSIDE_MAX_AGE, FieldStatus.NOT_FOUND]
    seconds = int((NOW - timedelta(days=300)).timestamp())
    assert response.to_dict(include_event_timestamps=True)["price__ts"] == [seconds, 0]


def test_s8_a_dead_or_failing_run_leaves_the_previous_values_served(tmp_path: Path):
    """By a registry that says so; ``tvfeast materialize`` repairs what a failing run leaves."""
    part(tmp_path, "part-0.parquet", rows(["A"], NOW - HOUR, price=[1.0]))
    store = files(tmp_path, OURS, "price", serve_features_while_materializing=True)
    refusing = files(tmp_path, STOCK, "price")
    for each in (store, refusing):
        each.materialize(NOW - 4 * DAY, NOW)
        killed = each.get_feature_view("v")
        killed.state = FeatureViewState.MATERIALIZING
        each.registry.apply_feature_view(killed, each.project)
    assert prices(store, "A") == [1.0]
    with pytest.raises(ValueError, match="MATERIALIZING"):
        prices(refusing, "A")
    part(tmp_path, "part-1.parquet", rows(["A"], NOW, price=["none"]))
    with pytest.raises(Exception, match="price"):
        store.materialize(NOW - 4 * DAY, NOW)
    (table,) = (
        online(store).online_read_table(store.config, store.get_feature_view("v")).to_pylist()
    )
    assert table["price"] == 1.0


def test_s9_instants_do_not_pass_through_local_time(store, stock, at_now):
    instant = datetime(2020, 3, 8, 2, 30, 0, 123457, tzinfo=UTC)
    naive = instant.replace(tzinfo=None)
    at_now(instant)
    for each in (store, stock):
        for symbol, stamp in (("A", instant), ("B", naive)):
            push(each, symbol=[symbol], price=[1.0], size=[1.0], event_timestamp=[stamp],
                 created_timestamp=[stamp])  # fmt: skip
    write(store, rows(["C"], instant, price=[1.0], size=[1.0]))
    table = online(store).online_read_table(store.config, store.get_feature_view("v"))
    for name in ("event_timestamp", "created_timestamp"):
        assert table[name].to_pylist() == [instant] * 3
    assert read(store, ["A", "B", "C"]).to_dict()["price"] == [1.0] * 3
    for response in (read(store, ["A"]), generic(store, ["v:price"], {"symbol": ["A"]})):
        assert response.proto.results[1].event_timestamps[0].ToDatetime(UTC) == instant
    (seen,) = read(stock, ["A"]).proto.results[1].event_timestamps
    assert seen.ToDatetime(UTC) != instant  # on a UTC host, too: it cuts the microseconds


def test_s10_every_batch_of_every_chunk_is_written(tmp_path: Path):
    names = [f"S{number:04}" for number in range(1000)]
    table = rows(names, NOW, price=[float(number) for number in range(1000)])
    part(tmp_path, "part-0.parquet", table.slice(0, 700), row_group_size=100)
    part(tmp_path, "part-1.parquet", table.slice(700))
    store = files(tmp_path, OURS, "price")
    store.materialize(NOW - DAY, NOW)
    assert prices(store, *names) == table["price"].to_pylist()


def test_s11_a_name_with_a_dot_is_a_name(tmp_path: Path):
    part(tmp_path, "part-0.parquet", rows(["A"], NOW, **{"Stoch.K": [1.5]}))
    store = files(tmp_path, OURS, "Stoch.K")
    store.materialize(NOW - DAY, NOW)
    assert read(store, ["A"], ["v:Stoch.K"]).to_dict()["Stoch.K"] == [1.5]
    asked = pa.table({"symbol": ["A"], "event_timestamp": [NOW]}).to_pandas()
    assert store.get_historical_features(asked, ["v:Stoch.K"]).to_df()["Stoch.K"].tolist() == [1.5]


def test_s13_a_copied_repository_touches_nothing_but_its_own_file(tmp_path: Path, monkeypatch):
    first = repository(tmp_path / "first")
    first.apply([SYMBOL, view(PRICES)])
    write(first, rows(["A"], NOW, price=[2.0], size=[1.0]))
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    monkeypatch.chdir(tmp_path)
    second = FeatureStore(repo_path=str(tmp_path / "second"))
    second.apply([], objects_to_delete=[second.get_feature_view("v")], partial=False)
    assert read(first, ["A"]).to_dict()["price"] == [2.0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


def test_s13_a_deleted_file_is_made_again_by_whoever_writes_and_reads_as_empty(
    store, tmp_path: Path
):
    write(store, rows(["A"], NOW, price=[2.0], size=[1.0]))
    shutil.rmtree(tmp_path / "repo" / "online")
    assert statuses(read(store, ["A"]))["price"] == [FieldStatus.NOT_FOUND]
    assert not (tmp_path / "repo" / "online").exists()
    write(store, rows(["A"], NOW, price=[3.0], size=[1.0]))
    assert read(store, ["A"]).to_dict()["price"] == [3.0]


def test_s13_a_missing_table_is_made_again(store):
    online(store).teardown(store.config, [], [])
    online(store).update(store.config, [store.get_feature_view("v")], [], [], [], True)
    assert statuses(read(store, ["A"]))["price"] == [FieldStatus.NOT_FOUND]
    write(store, rows(["A"], NOW, price=[3.0], size=[1.0]))
    assert read(store, ["A"]).to_dict()["price"] == [3.0]
