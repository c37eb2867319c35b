from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureService, FeatureView, Field, RequestSource
from feast.errors import (
    EntityTimestampInferenceException,
    FeastEntityDFMissingColumnsError,
    SavedDatasetLocationAlreadyExists,
)
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Bool, Float64, Int64, String

from ingestion.base.columns import INSTANT
from ingestion.base.errors import InputError
from tests.stores.asof_lake import TYPES, write
from tests.stores.asof_reference import best_row
from tests.stores.asof_repository import entity, file_source, repository, signals_view, symbol
from tests.stores.asof_rows import DAY, MONDAY, REFS, ROWS, TICK, frame, row

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*experimental:RuntimeWarning"),
    pytest.mark.usefixtures("host_zone"),
]


@pytest.fixture
def store(tmp_path: Path):
    write(tmp_path / "data" / "signals.parquet", ROWS)
    return repository(tmp_path, symbol, signals_view("data/signals.parquet"))


def test_rows_out_are_rows_in_with_their_columns_untouched(store):
    given = frame(
        ("B", MONDAY + DAY),
        ("A", MONDAY - TICK),
        ("A", MONDAY + DAY),
        ("Z", MONDAY),
        ("A", MONDAY + DAY),
        (None, MONDAY),
        ("A", None),
        ("A", MONDAY + 3 * DAY),
        ("A", MONDAY + 3 * DAY + TICK),
        label=[object()] * 9,
        kind=pd.Categorical(["x", None] * 4 + ["x"]),
    )
    given.index = range(100, 109)
    before = given.copy()
    joined = store.get_historical_features(given, REFS).to_df()
    pd.testing.assert_frame_equal(given, before)
    pd.testing.assert_frame_equal(joined[list(given)], given.reset_index(drop=True))
    assert list(joined) == [*given, "RSI", "name_y"]
    nan = float("nan")
    np.testing.assert_equal(joined["RSI"].tolist(), [nan, nan, 3.5, nan, 3.5, nan, nan, 3.5, nan])
    assert joined["name_y"].tolist()[:3] == ["B of 13", None, "A of 13"]


@pytest.mark.parametrize(
    "times",
    [
        pd.Series([MONDAY]).astype("datetime64[ns, UTC]"),
        pd.Series([MONDAY]).astype("datetime64[s, UTC]"),
        pd.Series([MONDAY]).dt.tz_localize(None),
        pd.Series([MONDAY]).dt.tz_convert("Asia/Tokyo"),
        pd.Series([MONDAY, MONDAY.replace(tzinfo=None)], dtype=object),
        pd.Series(["2021-04-12T17:00:00-04:00", "2021-04-12 21:00"]),
    ],
    ids=lambda times: str(times.dtype),
)
def test_instants_are_utc_in_whatever_form(store, times):
    for moved, known in ((timedelta(0), True), (-timedelta(seconds=1), False)):
        column = times if not moved else pd.to_datetime(times, utc=True, format="mixed") + moved
        given = pd.DataFrame({"symbol": "A", "event_timestamp": column})
        joined = store.get_historical_features(given, REFS).to_df()
        assert (joined["RSI"] == 1.0).tolist() == [known] * len(times)
        assert str(joined["event_timestamp"].dt.tz) == "UTC"


@pytest.mark.parametrize("as_table", [False, True])
def test_a_frame_has_the_values_of_the_table_and_is_the_users_own(store, as_table):
    days = [MONDAY + n * DAY for n in (0, 1, 2, -1, 1)]
    given = frame(*zip("ABAAB", days, strict=True), weight=[0.1, None, 0.3, -0.0, 0.5])
    given.index = [7, 7, 3, 1, 0]
    before = given.copy()
    asked = pa.Table.from_pandas(given, preserve_index=False) if as_table else given
    job = store.get_historical_features(asked, ["signals:name_y", "signals:RSI"])
    joined, expected = job.to_df(), job.to_arrow().to_pandas()
    pd.testing.assert_frame_equal(joined, expected, check_dtype=False, check_exact=True)
    assert joined["RSI"].tolist()[0::2][:2] == [1.0, 3.5]
    assert joined["RSI"].dtype == np.float64
    # A write goes to the answer alone.
    joined.loc[:, "weight"] = 9.0
    joined.loc[1, "symbol"] = "Z"
    joined.loc[:, "RSI"] = joined["RSI"].fillna(8.0)
    assert joined["RSI"].tolist() == [1.0, 8.0, 3.5, 8.0, 8.0]
    pd.testing.assert_frame_equal(given, before)


def test_arrow_goes_in_and_comes_out(store):
    given = pa.table(
        {"when": pa.array([MONDAY, None], pa.timestamp("ns", "UTC")), "symbol": ["A"] * 2}
    )
    job = store.get_historical_features(given, REFS)
    table = job.to_arrow()
    assert table.schema.names == ["when", "symbol", "RSI", "name_y"]
    assert table.schema.types == [
        pa.timestamp("us", "UTC"),
        pa.string(),
        pa.float64(),
        pa.string(),
    ]
    assert table["RSI"].to_pylist() == [1.0, None]
    assert job.to_df()["RSI"].tolist()[0] == 1.0
    assert job.metadata.min_event_timestamp == job.metadata.max_event_timestamp == MONDAY


def test_restated_values_count_from_their_creation_if_asked_as_recorded(store):
    given = frame(("A", MONDAY + DAY), ("A", MONDAY + 3 * DAY), ("B", MONDAY))
    knowable = store.get_historical_features(given, REFS)
    assert knowable.to_arrow()["RSI"].to_pylist() == [3.5, 3.5, 2.0]
    assert (knowable.counts["signals"].matched, knowable.counts["signals"].created_later) == (3, 1)
    recorded = store.get_historical_features(given, REFS, filter_by_created_timestamp=True)
    assert recorded.to_arrow()["RSI"].to_pylist() == [3.0, 3.5, 2.0]
    assert recorded.counts["signals"].created_later == 0


def test_without_entity_rows_every_key_of_the_range_is_asked_about_at_its_end(store):
    write(
        Path(store.config.repo_path) / "data" / "signals.parquet",
        [*ROWS, row("C", MONDAY - 9 * DAY, 9.0)],
    )
    job = store.get_historical_features(
        features=REFS, start_date=MONDAY, end_date=(MONDAY + 2 * DAY).replace(tzinfo=None)
    )
    table = job.to_arrow().sort_by("symbol")
    assert table.drop("name_y").to_pylist() == [
        {"symbol": "A", "event_timestamp": MONDAY + 2 * DAY, "RSI": 3.5},
        {"symbol": "B", "event_timestamp": MONDAY + 2 * DAY, "RSI": None},
    ]
    assert job.metadata.min_event_timestamp == MONDAY


def test_without_entity_rows_every_event_of_the_range_is_asked_about_if_that_is_set(
    tmp_path: Path,
):
    """As Feast's PostgreSQL and Ray stores do, and by this store's own rules."""
    chance = np.random.default_rng(5)
    lakes: dict[str, list[dict]] = {"one": [], "other": []}
    for view, rows in lakes.items():
        for _ in range(40):
            event = MONDAY + timedelta(hours=6 * int(chance.integers(0, 16)))
            created = event + timedelta(hours=int(chance.integers(0, 30)))
            value = None if chance.random() < 0.2 else float(chance.integers(0, 99))
            rows.append(row("ABC"[int(chance.integers(0, 3))], event, value, created))
        write(tmp_path / f"{view}.parquet", rows)
    views = [
        FeatureView(
            name=view,
            entities=[symbol],
            ttl=ttl,
            schema=[Field(name="symbol", dtype=String), Field(name="RSI", dtype=Float64)],
            source=file_source(f"{view}.parquet"),
        )
        for view, ttl in (("one", DAY), ("other", timedelta(hours=6)))
    ]
    store = repository(tmp_path, symbol, *views, without_entity_rows="events")
    start, end = MONDAY + DAY, MONDAY + 3 * DAY
    events = {
        (each["event_timestamp"], each["symbol"])
        for rows in lakes.values()
        for each in rows
        if start <= each["event_timestamp"] <= end
    }
    for as_recorded in (False, True):
        table = store.get_historical_features(
            features=["one:RSI", "other:RSI"],
            full_feature_names=True,
            start_date=start,
            end_date=end,
            filter_by_created_timestamp=as_recorded,
        ).to_arrow()
        right = []
        for event, name in sorted(events):
            answer = {"symbol": name, "event_timestamp": event}
            for view, ttl in (("one", DAY), ("other", timedelta(hours=6))):
                best = best_row(
                    lakes[view], {"symbol": name}, event, ttl=ttl, as_recorded=as_recorded
                )
                answer[f"{view}__RSI"] = best and best["RSI"]
            right.append(answer)
        assert table.to_pylist() == right
    assert len(right) > 12


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ("SELECT 1", InputError, "SQL query"),
        (frame(("A", 7)), InputError, "int64"),
        (frame(("A", "soon")), InputError, "event_timestamp is string and cannot be read"),
        (frame(("A", MONDAY), RSI=[1.0]), InputError, "signals:RSI .*full_feature_names"),
        (frame(("A", MONDAY)).drop(columns="symbol"), FeastEntityDFMissingColumnsError, "symbol"),
        (frame(("A", MONDAY)).rename(columns={"symbol": 0}), InputError, "0 has no text"),
        (pd.DataFrame({"symbol": ["A"]}), EntityTimestampInferenceException, "event_timestamp"),
        (frame((b"\xff", MONDAY)), InputError, "symbol cannot be read as string"),
    ],
)
def test_entity_rows_that_cannot_be_joined_are_refused(store, given, error, told):
    with pytest.raises(error, match=told):
        store.get_historical_features(given, REFS).to_df()


def test_no_entity_rows_is_no_answer(store):
    table = store.get_historical_features(frame(), REFS).to_arrow()
    assert (table.num_rows, table.schema.names[2:]) == (0, ["RSI", "name_y"])


@pytest.mark.parametrize("form", ["{}", "file://{}", "{}/../data/*.parquet"])
def test_a_source_is_a_path_an_address_or_a_glob(tmp_path: Path, form):
    write(tmp_path / "data" / "a.parquet", ROWS)
    path = form.format(tmp_path / "data")
    store = repository(tmp_path, symbol, signals_view(path))
    table = store.get_historical_features(frame(("A", MONDAY)), REFS).to_arrow()
    assert table["RSI"].to_pylist() == [1.0]


def test_a_feature_may_have_an_entity_columns_name_if_it_is_called_by_its_view(store):
    given = frame(("A", MONDAY), RSI=["mine"])
    table = store.get_historical_features(given, REFS, full_feature_names=True).to_arrow()
    assert table.schema.names == [*given, "signals__RSI", "signals__name_y"]
    assert (table["RSI"][0].as_py(), table["signals__RSI"][0].as_py()) == ("mine", 1.0)


def test_without_entity_rows_a_feature_named_like_their_instants_is_refused(tmp_path: Path):
    types = {"symbol": pa.string(), "at": INSTANT, "event_timestamp": pa.float64()}
    write(tmp_path / "a.parquet", [{"symbol": "A", "at": MONDAY, "event_timestamp": 1.0}], types)
    view = FeatureView(
        name="v",
        entities=[symbol],
        schema=[Field(name="symbol", dtype=String), Field(name="event_timestamp", dtype=Float64)],
        source=file_source("a.parquet", timestamp_field="at", created_timestamp_column=""),
    )
    store = repository(tmp_path, symbol, view)
    asked = {"features": ["v:event_timestamp"], "start_date": MONDAY, "end_date": MONDAY}
    with pytest.raises(InputError, match="second column event_timestamp"):
        store.get_historical_features(**asked)
    whole = store.get_historical_features(**asked, full_feature_names=True).to_df()
    assert whole["v__event_timestamp"].tolist() == [1.0]


def test_several_views_join_by_their_own_keys_aliases_and_mapped_columns(tmp_path: Path):
    types = {
        "num": pa.int32(),
        "side": pa.bool_(),
        "raw value": pa.float32(),
        "at": pa.timestamp("ms"),
    }
    write(
        tmp_path / "pairs.parquet",
        [
            {"num": 1, "side": True, "raw value": 0.5, "at": MONDAY},
            {"num": 1, "side": False, "raw value": 1.5, "at": MONDAY},
            {"num": 2, "side": True, "raw value": 2.5, "at": MONDAY},
            {"num": 2, "side": None, "raw value": 9.0, "at": MONDAY},
        ],
        types,
    )
    write(
        tmp_path / "market.parquet",
        [{"level": 7, "event_timestamp": MONDAY}],
        {"level": pa.int64(), "event_timestamp": pa.timestamp("us", "UTC")},
    )
    write(tmp_path / "signals.parquet", ROWS)
    number = entity("number", Int64)
    side = entity("side", Bool)
    pairs = FeatureView(
        name="pairs",
        entities=[number, side],
        ttl=timedelta(0),
        schema=[
            Field(name="number", dtype=Int64),
            Field(name="side", dtype=Bool),
            Field(name="value", dtype=Float64),
        ],
        source=file_source(
            "pairs.parquet",
            timestamp_field="when",
            created_timestamp_column="",
            field_mapping={"num": "number", "raw value": "value", "at": "when"},
        ),
    )
    market = FeatureView(
        name="market",
        entities=[],
        schema=[Field(name="level", dtype=Int64)],
        source=file_source("market.parquet", created_timestamp_column=""),
    )
    signals = signals_view("signals.parquet")
    service = FeatureService(
        name="service",
        features=[
            market,
            signals[["RSI"]].with_name("one"),
            signals[["RSI"]].with_name("other").with_join_key_map({"symbol": "against"}),
            pairs[["value"]].with_join_key_map({"number": "n"}),
        ],
    )
    store = repository(tmp_path, symbol, number, side, pairs, market, signals, service)
    given = pd.DataFrame(
        {
            "symbol": ["A", "B", "B"],
            "against": ["B", "A", None],
            "n": [2, 1, 2],
            "side": [True, False, None],
            "event_timestamp": [MONDAY, MONDAY + 9 * DAY, MONDAY],
        }
    )
    job = store.get_historical_features(given, service, full_feature_names=True)
    table = job.to_arrow()
    assert table.select(table.schema.names[5:]).to_pydict() == {
        "market__level": [7, 7, 7],
        "one__RSI": [1.0, None, 2.0],
        "other__RSI": [2.0, None, None],
        "pairs__value": [2.5, 1.5, None],
    }
    assert {name: counts.created_later for name, counts in job.counts.items()} == {
        "market": None,
        "one": 0,
        "other": 0,
        "pairs": None,
    }
    found = store.get_historical_features(
        features=["pairs:value", "signals:RSI"], start_date=MONDAY, end_date=MONDAY
    ).to_df()
    assert sorted(found["symbol"].dropna()) == ["A", "B"]
    assert sorted(found["value"].dropna()) == [0.5, 1.5, 2.5]
    assert len(found) == 5
    level = store.get_historical_features(
        features=["market:level"], start_date=MONDAY, end_date=MONDAY
    )
    assert level.to_df()["level"].tolist() == [7]


def test_on_demand_features_are_computed_from_features_and_request_data(tmp_path: Path):
    write(tmp_path / "signals.parquet", ROWS)
    signals = signals_view("signals.parquet")
    request = RequestSource(name="request", schema=[Field(name="factor", dtype=Float64)])

    @on_demand_feature_view(
        sources=[signals, request], schema=[Field(name="scaled", dtype=Float64)], mode="pandas"
    )
    def scaling(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"scaled": inputs["RSI"] * inputs["factor"]})

    store = repository(tmp_path, symbol, signals, scaling)
    given = frame(("A", MONDAY), ("Z", MONDAY), ("B", MONDAY), factor=[10.0, 10.0, 2.0])
    joined = store.get_historical_features(given, ["scaling:scaled"]).to_df()
    np.testing.assert_equal(joined["scaled"].tolist(), [10.0, float("nan"), 4.0])
    table = store.get_historical_features(given, ["signals:RSI", "scaling:scaled"]).to_arrow()
    assert table["scaled"].to_pylist()[::2] == [10.0, 4.0]
    assert table["RSI"].to_pylist() == [1.0, None, 2.0]


@pytest.mark.parametrize("name", ["saved.parquet", "saved"])
def test_a_saved_dataset_is_read_back(store, name, host_zone):
    folder = Path(store.config.repo_path)
    given = frame(("A", MONDAY), ("B", MONDAY + DAY), label=[1, 2])
    job = store.get_historical_features(given, REFS)
    saved = store.create_saved_dataset(job, "saved", SavedDatasetFileStorage(name))
    assert (folder / name).exists()
    kept = ["symbol", "event_timestamp", "RSI", "name_y"]
    assert saved.to_arrow().select(kept).to_pylist() == job.to_arrow().select(kept).to_pylist()
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        store.create_saved_dataset(job, "saved", SavedDatasetFileStorage(name))
    one = store.get_historical_features(given[:1], REFS)
    store.create_saved_dataset(one, "saved", SavedDatasetFileStorage(name), allow_overwrite=True)
    assert store.get_saved_dataset("saved").to_df()["RSI"].tolist() == [1.0]
    files = [folder / name] if name.endswith(".parquet") else list((folder / name).iterdir())
    assert len(files) == 1
    assert not list(folder.glob(".*"))


def offline(store, *rows: dict) -> None:
    frame = pd.DataFrame(rows)
    for name in ("event_timestamp", "created_timestamp"):
        frame[name] = frame[name].astype("datetime64[ns, UTC]")
    store.write_to_offline_store("signals", frame)


@pytest.mark.parametrize("dated", [True, False, None])
def test_rows_written_to_the_source_are_read_back(tmp_path: Path, dated):
    """To a folder with partition dates, to one without, and to a single file."""
    where = "data.parquet" if dated is None else "data"
    first = {None: "", False: "part-0.parquet", True: "date=2021-04-12/part-0.parquet"}[dated]
    write(tmp_path / where / first, ROWS[:2])
    tags = {"partition_date": "event_utc"} if dated else {}
    store = repository(tmp_path, symbol, signals_view(where, tags=tags))
    offline(store, row("A", MONDAY + DAY, 5.0), row("C", MONDAY + 2 * TICK, 6.0))
    given = frame(("A", MONDAY + DAY), ("C", MONDAY + DAY), ("B", MONDAY + DAY))
    table = store.get_historical_features(given, REFS).to_arrow()
    assert table["RSI"].to_pylist() == [5.0, 6.0, 2.0]
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet"))
    assert (
        written
        == {
            None: ["data.parquet"],
            False: ["data/part-0.parquet", "data/part-1.parquet"],
            True: [
                "data/date=2021-04-12/part-0.parquet",
                "data/date=2021-04-12/part-1.parquet",
                "data/date=2021-04-13/part-0.parquet",
            ],
        }[dated]
    )
    assert all(pq.read_schema(path).names == list(TYPES) for path in tmp_path.rglob("*.parquet"))
    with pytest.raises(ValueError, match="missing_expected_columns: \\['RSI'\\]"):
        store.write_to_offline_store("signals", pd.DataFrame([ROWS[0]]).drop(columns="RSI"))


def test_the_stock_engine_materializes_from_it(store):
    store.materialize(MONDAY, MONDAY + DAY)
    online = store.get_online_features(REFS, [{"symbol": name} for name in "ABZ"]).to_dict()
    assert online["RSI"] == [3.5, None, None]


def test_the_latest_rows_are_of_the_window_alone(store):
    view = store.get_feature_view("signals")

    def pull(start, end, how="pull_latest_from_table_or_query"):
        job = getattr(store._get_provider().offline_store, how)(
            config=store.config,
            data_source=view.batch_source,
            join_key_columns=["symbol"],
            feature_name_columns=["RSI"],
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
            start_date=start,
            end_date=end,
        )
        return job.to_arrow()["RSI"].to_pylist()

    assert pull(MONDAY, MONDAY + DAY - TICK) == [1.0, 2.0]
    assert pull(MONDAY, MONDAY + DAY) == [3.5, None]
    assert pull(MONDAY + TICK, MONDAY + DAY) == [3.5, None]
    assert pull(MONDAY + DAY + TICK, MONDAY + 9 * DAY) == []
    assert pull(MONDAY, MONDAY, "pull_all_from_table_or_query") == [1.0, 2.0]
    assert pull(None, None, "pull_all_from_table_or_query") == [1.0, 2.0, 3.0, 3.5, None]
