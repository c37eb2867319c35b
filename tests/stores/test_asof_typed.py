"""Instants in every form that files, frames and JSON have, read and stored."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureView, Field, PushSource
from feast.data_source import PushMode
from feast.types import Float64, String, UnixTimestamp
from hypothesis import given
from hypothesis import strategies as st

from ingestion.base.columns import INSTANT
from ingestion.base.errors import InputError
from ingestion.plugins.offline.column_types import conform, storable
from tests.stores.asof_lake import write
from tests.stores.asof_repository import ENGINE, file_source, repository, symbol

AT = datetime(2026, 1, 16, 21, 30, tzinfo=UTC)
MIDNIGHT = datetime(2026, 1, 16, tzinfo=UTC)
TEXTS = ["2026-01-16T21:30:00Z", "2026-01-16 22:30+01:00", "2026-01-16T21:30:00", None]


def chunked(*values: Any, type: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, type)])


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_texts_are_read_as_iso_8601_and_utc_where_there_is_no_zone(kind: pa.DataType):
    assert conform(chunked(*TEXTS, type=kind), INSTANT).to_pylist() == [AT, AT, AT, None]


def test_a_date_is_its_midnight_of_utc():
    midnight = datetime(2026, 1, 16, tzinfo=UTC)
    assert conform(chunked(date(2026, 1, 16), None), INSTANT).to_pylist() == [midnight, None]


@pytest.mark.parametrize("value", ["yesterday", "01/02/2026", "2026-13-01", 7, 2.5, True])
def test_what_is_no_instant_is_refused_with_a_reason(value: object):
    with pytest.raises(TypeError, match="ISO 8601"):
        conform(chunked(value), INSTANT)


@given(
    st.lists(st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))),
    st.sampled_from(["s", "ms", "us", "ns"]),
    st.sampled_from([None, "UTC", "Asia/Tokyo"]),
    st.booleans(),
)
def test_instants_are_stored_in_the_unit_and_zone_of_their_source(instants, unit, zone, as_text):
    given = [at.isoformat() for at in instants] if as_text else instants
    kept = storable(
        chunked(*given, type=pa.string() if as_text else INSTANT), pa.timestamp(unit, zone)
    )
    step = timedelta(seconds=1) if unit == "s" else timedelta(milliseconds=1)
    if unit in ("us", "ns"):
        step = timedelta(microseconds=1)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert conform(kept, INSTANT).to_pylist() == [
        epoch + (at - epoch) // step * step for at in instants
    ]


def test_instants_are_stored_as_iso_8601_in_a_source_of_texts():
    kept = storable(chunked(AT, None, type=INSTANT), pa.large_string())
    assert kept.type == pa.large_string()
    assert conform(kept, INSTANT).to_pylist() == [AT, None]


def test_a_source_of_dates_takes_midnights_alone():
    midnight = AT.replace(hour=0, minute=0)
    assert storable(chunked(midnight, type=INSTANT), pa.date32()).to_pylist() == [date(2026, 1, 16)]
    with pytest.raises(TypeError, match="time of day"):
        storable(chunked(AT, type=INSTANT), pa.date32())


def test_an_instant_beyond_what_the_unit_reaches_is_refused():
    with pytest.raises(TypeError, match="out of bounds"):
        storable(chunked(datetime(2500, 1, 1), type=INSTANT), pa.timestamp("ns"))


@pytest.mark.parametrize(
    ("values", "declared", "right"),
    [
        ([["2026-01-16T21:30:00Z"]], pa.list_(INSTANT), [[AT]]),
        ([[date(2026, 1, 16)], None, []], pa.list_(INSTANT), [[MIDNIGHT], None, []]),
        ([[1768599000]], pa.list_(INSTANT), [[AT]]),
        ([[1, None], None], pa.list_(pa.float64()), [[1.0, None], None]),
        ([[[1]], [[], None]], pa.list_(pa.list_(pa.float64())), [[[1.0]], [[], None]]),
        ([1768599000, None], INSTANT, [AT, None]),
        ([1768599000.0, None], INSTANT, [AT, None]),
    ],
)
def test_lists_are_read_as_their_values_are_and_integers_of_features_are_seconds(
    values, declared, right
):
    given = pa.chunked_array([pa.array([values[0]]), pa.array(values).slice(0)])
    read = conform(given, declared, seconds=True)
    assert (read.type, read.to_pylist()) == (declared, [right[0], *right])


@pytest.mark.parametrize("stored", [pa.large_list(pa.float32()), pa.list_(pa.float32(), 2)])
def test_lists_of_any_form_are_lists(stored: pa.DataType):
    column = chunked([9.0, 9.0], [1.0, 2.0], None, [3.0, 4.0], type=stored).slice(1)
    assert conform(column, pa.list_(pa.float64())).to_pylist() == [[1.0, 2.0], None, [3.0, 4.0]]


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (date(2026, 1, 16), pa.int32()),
        (AT, pa.int64()),
        (AT, pa.string()),
        (timedelta(1), pa.int64()),
        ([date(2026, 1, 16)], pa.list_(pa.int64())),
        ([1768599000], pa.list_(INSTANT)),
        ([1.5], pa.list_(pa.int64())),
    ],
)
def test_a_time_is_no_number_and_a_number_no_time(value: object, declared: pa.DataType):
    with pytest.raises(TypeError):
        conform(chunked(value), declared)


MAP = pa.map_(pa.string(), pa.int32())


@pytest.mark.parametrize(
    ("given", "stored", "kept"),
    [
        ([{"a": 1}, {"b": 2}, None, {}], MAP, [[("a", 1)], [("b", 2)], None, []]),
        ([[{"a": 1}], None], pa.list_(MAP), [[[("a", 1)]], None]),
        ([{"a": 1}], pa.struct({"b": pa.string(), "a": pa.int32()}), [{"b": None, "a": 1}]),
        ([["2026-01-16T21:30:00Z"]], pa.list_(pa.timestamp("s")), [[AT.replace(tzinfo=None)]]),
        ([[date(2026, 1, 16)]], pa.large_list(pa.date32()), [[date(2026, 1, 16)]]),
        ([None, None], MAP, [None, None]),
    ],
)
def test_what_a_frame_has_in_lists_and_dictionaries_is_stored_as_the_source_has_it(
    given, stored, kept
):
    column = storable(chunked(*given), stored)
    assert (column.type, column.to_pylist()) == (stored, kept)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"a": 1, "c": 2}, pa.struct({"a": pa.int64()})),
        ([{"a": 1, "c": 2}], pa.list_(pa.struct({"a": pa.int64()}))),
        ({"a": "x"}, MAP),
        ({"a": 2**40}, MAP),
        ([AT], pa.list_(pa.date32())),
        ([1.0, 2.0, 3.0], pa.list_(pa.float64(), 2)),
    ],
)
def test_nothing_of_lists_and_dictionaries_is_lost_silently(given, stored: pa.DataType):
    with pytest.raises(TypeError):
        storable(chunked(given), stored)


def pushed_view() -> FeatureView:
    source = file_source("signals.parquet", created_timestamp_column="")
    return FeatureView(
        name="signals",
        entities=[symbol],
        ttl=timedelta(days=9),
        schema=[Field(name="symbol", dtype=String), Field(name="RSI", dtype=Float64)],
        source=PushSource(name="push", batch_source=source),
    )


@pytest.mark.parametrize("stored", [INSTANT, pa.timestamp("s"), pa.timestamp("ns", "Asia/Tokyo")])
@pytest.mark.parametrize("given", [*TEXTS[:3], pd.Timestamp(AT), pd.Timestamp("2026-01-16 21:30")])
@pytest.mark.filterwarnings("ignore")
def test_a_push_to_both_stores_takes_every_form_of_an_instant(
    tmp_path: Path, stored: pa.DataType, given: object
):
    types = {"symbol": pa.string(), "event_timestamp": stored, "RSI": pa.float64()}
    write(tmp_path / "signals.parquet", [], types)
    before = pq.read_schema(tmp_path / "signals.parquet")
    store = repository(tmp_path, symbol, pushed_view())
    # Columns in another order than those of the file, twice in a row.
    for number, name in enumerate("AB"):
        rows = pd.DataFrame({"RSI": [number + 0.5], "event_timestamp": [given], "symbol": [name]})
        store.push("push", rows, to=PushMode.ONLINE_AND_OFFLINE)
    assert pq.read_schema(tmp_path / "signals.parquet").equals(before)
    asked = pd.DataFrame({"symbol": ["A", "B"], "event_timestamp": [AT, AT]})
    found = store.get_historical_features(asked, ["signals:RSI"]).to_df()
    assert found["RSI"].tolist() == [0.5, 1.5]


@pytest.mark.parametrize("event", [pa.date32(), pa.string()], ids=str)
@pytest.mark.filterwarnings("ignore")
def test_dates_and_texts_are_event_times_and_features_in_history_and_online(
    tmp_path: Path, event: pa.DataType
):
    day = date(2026, 1, 16)
    midnight = datetime(2026, 1, 16, tzinfo=UTC)
    value = day if pa.types.is_date(event) else "2026-01-16"
    rows = [{"symbol": "A", "event_timestamp": value, "seen": value}]
    write(
        tmp_path / "days.parquet",
        rows,
        {"symbol": pa.string(), "event_timestamp": event, "seen": event},
    )
    view = FeatureView(
        name="days",
        entities=[symbol],
        ttl=timedelta(days=9),
        schema=[Field(name="symbol", dtype=String), Field(name="seen", dtype=UnixTimestamp)],
        source=file_source("days.parquet", created_timestamp_column=""),
    )
    store = repository(tmp_path, symbol, view, engine=ENGINE)
    asked = pd.DataFrame(
        {"symbol": ["A", "A"], "event_timestamp": [midnight, midnight - timedelta(seconds=1)]}
    )
    seen = store.get_historical_features(asked, ["days:seen"]).to_arrow()["seen"]
    assert seen.to_pylist() == [midnight, None]
    store.materialize(midnight - timedelta(days=1), midnight + timedelta(days=1))
    online = store.get_online_features(["days:seen"], [{"symbol": "A"}]).to_dict()["seen"]
    assert online[0].replace(tzinfo=UTC) == midnight


@pytest.mark.filterwarnings("ignore")
def test_a_declared_column_that_the_newest_file_lacks_is_named(tmp_path: Path):
    """A typing error is no column of nulls; a column that is newer than the rows is one."""
    types = {"symbol": pa.string(), "event_timestamp": INSTANT}
    row = {"symbol": "A", "event_timestamp": AT}
    write(tmp_path / "lake" / "part-0.parquet", [row], types)
    view = FeatureView(
        name="signals",
        entities=[symbol],
        ttl=timedelta(days=9),
        schema=[Field(name="symbol", dtype=String), Field(name="RSI", dtype=Float64)],
        source=file_source("lake", created_timestamp_column=""),
    )
    store = repository(tmp_path, symbol, view)
    asked = pd.DataFrame({"symbol": ["A"], "event_timestamp": [AT]})
    with pytest.raises(InputError, match=r"no column RSI .*part-0\.parquet.*they have event"):
        store.get_historical_features(asked, ["signals:RSI"]).to_df()
    with pytest.raises(InputError, match="no column RSI"):
        store.materialize(AT - timedelta(days=1), AT)
    write(
        tmp_path / "lake" / "part-1.parquet",
        [row | {"symbol": "B", "RSI": 7.0}],
        types | {"RSI": pa.float64()},
    )
    found = store.get_historical_features(asked, ["signals:RSI"]).to_df()
    assert found["RSI"].isna().all()
