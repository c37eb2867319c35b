"""A set read back, and its rows as pandas, Polars and others take them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.base.columns import INSTANT
from ingestion.base.errors import InputError
from ingestion.datasets import (
    PurgedKFold,
    adjusted_prices,
    alphalens_factor,
    alphalens_returns,
    forward_returns,
    long_frame,
    long_table,
    read_set,
    wide_frame,
    wide_table,
)
from ingestion.datasets.set_file import SetFile
from tests.targets.target_bars import daily

CLOSE = datetime(2026, 1, 5, 21, tzinfo=UTC)
FEATURES = [
    {"column": "RSI", "group": "local_1d", "feature": "RSI", "sha256": "0"},
    {"column": "ADX", "group": "local_1d", "feature": "ADX", "sha256": "1"},
]


def rows(days: int = 3, names: str = "BA") -> pa.Table:
    """The decisions of some symbols at different hours of each day."""
    keys = [
        (name, CLOSE + timedelta(days=day, hours=hour))
        for day in range(days)
        for hour, name in enumerate(names)
    ]
    values = np.arange(len(keys), dtype=float)
    return pa.table(
        {
            "symbol": [name for name, _ in keys],
            "event_timestamp": pa.array([at for _, at in keys], INSTANT),
            "RSI": pa.array(values, mask=values == 1),
            "fwd_return_5d": values / 100,
        }
    )


def test_wide_has_a_row_per_date_of_all_markets_and_null_where_nothing_was_known():
    wide = wide_table(rows(), "RSI")
    assert wide.column_names == ["date", "A", "B"]
    assert wide["date"].to_pylist() == [CLOSE.replace(hour=0) + timedelta(days=n) for n in range(3)]
    assert wide["A"].to_pylist() == [None, 3.0, 5.0]
    assert wide["B"].to_pylist() == [0.0, 2.0, 4.0]
    frame = wide_frame(rows(), "RSI")
    assert frame.index.name == "date"
    assert str(frame.index.dtype) == "datetime64[ns, UTC]"
    assert frame.dtypes.tolist() == [np.dtype(float)] * 2


@given(st.sets(st.tuples(st.integers(0, 5), st.sampled_from("ABCD")), min_size=1), st.randoms())
def test_wide_is_the_pivot_of_pandas(keys: set[tuple[int, str]], chance):
    order = sorted(keys)
    chance.shuffle(order)
    table = pa.table(
        {
            "symbol": [name for _, name in order],
            "event_timestamp": pa.array([CLOSE + timedelta(days=n) for n, _ in order], INSTANT),
            "x": pa.array([None if n == 2 else float(n) for n, _ in order], pa.float64()),
        }
    )
    frame = table.to_pandas().assign(date=lambda of: of["event_timestamp"].dt.floor("D"))
    expected = frame.pivot(index="date", columns="symbol", values="x")
    found = wide_frame(table, "x")
    assert found.index.tolist() == expected.index.tolist()
    pd.testing.assert_frame_equal(found, expected, check_index_type=False, check_freq=False)


def test_long_keeps_all_columns_and_is_sorted():
    frame = long_frame(rows())
    assert frame.index.names == ["date", "symbol"]
    assert frame.index.is_monotonic_increasing
    assert list(frame.columns) == ["RSI", "fwd_return_5d"]
    assert frame.loc[("2026-01-06", "A"), "RSI"] == 3.0


def test_polars_gives_rows_and_takes_tables():
    given_ = pl.from_arrow(rows())
    assert wide_table(given_, "RSI").equals(wide_table(rows(), "RSI"))
    assert long_table(given_).equals(long_table(rows()))
    wide = pl.from_arrow(wide_table(given_, "RSI"))
    assert isinstance(wide, pl.DataFrame)
    expected = pl.DataFrame(given_).with_columns(
        pl.col("event_timestamp").dt.truncate("1d").alias("date")
    )
    pivot = expected.pivot("symbol", index="date", values="RSI").sort("date")
    assert wide["B"].to_list() == pivot["B"].to_list()


def test_the_frames_of_alphalens_are_indexed_by_date_and_asset():
    factor, returns = alphalens_factor(rows(), "RSI"), alphalens_returns(rows())
    assert factor.index.names == returns.index.names == ["date", "asset"]
    assert len(factor) == 5  # without the row that has no value
    assert list(returns.columns) == ["5D"]
    assert returns.loc[("2026-01-06", "A"), "5D"] == 0.03


@pytest.mark.parametrize(
    ("table", "column", "said"),
    [
        (rows(), "MACD", "no column MACD; there are symbol"),
        (rows(), "symbol", "no column symbol"),
        (rows().drop_columns("symbol"), "RSI", "no column symbol"),
        (rows().append_column("grade", pa.array(["a"] * 6)), "grade", "no numbers, but string"),
        ([1, 2], "RSI", "no table of rows, but list"),
        (pa.concat_tables([rows(1), rows(1)]), "RSI", "A is there twice on 2026-01-05 UTC"),
    ],
)
def test_what_cannot_be_a_frame_is_refused_with_the_reason(table, column: str, said: str):
    with pytest.raises(InputError, match=said):
        wide_table(table, column)


def test_without_a_forward_return_there_is_nothing_for_alphalens():
    with pytest.raises(InputError, match="no column is called fwd_return_<n>d"):
        alphalens_returns(rows().drop_columns("fwd_return_5d"))


def test_no_rows_make_an_empty_frame():
    empty = rows().slice(0, 0)
    assert wide_table(empty, "RSI").num_rows == 0
    assert long_frame(empty).empty


def test_returns_of_adjusted_prices_are_the_forward_returns():
    closes = [100.0, 51.0, 52.0, 26.5, 27.0]
    bars = pa.concat_tables(
        [
            daily(closes, symbol="TEST:B", splits={1: 2.0, 3: 2.0}),
            daily([10.0, 11.0, 12.0, 13.0, 14.0], symbol="TEST:A"),
        ]
    )
    prices = wide_frame(adjusted_prices(bars), "price")
    assert prices["TEST:B"].tolist() == [25.0, 25.5, 26.0, 26.5, 27.0]
    made = forward_returns(
        bars, 2, entry="close", first=date(2026, 1, 5), last=date(2026, 1, 9), max_gap=None
    )
    expected = wide_frame(made.table, "fwd_return_2d")
    found = (prices.shift(-2) / prices - 1).dropna()
    np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=1e-12)


def test_opens_are_adjusted_too_and_no_other_price():
    bars = daily([10.0, 5.0], opens=[9.0, 4.5], splits={1: 2.0})
    assert adjusted_prices(bars, "open")["price"].to_pylist() == [4.5, 4.5]
    with pytest.raises(InputError, match="open or close"):
        adjusted_prices(bars, "high")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A training set of two labels, one of which a row lacks."""
    table = rows(12)
    ends = pa.array([CLOSE + timedelta(days=n // 2 + 3) for n in range(24)], INSTANT)
    table = table.append_column("fwd_return_1d", pa.array([None, *range(23)], pa.float64()))
    for name in ("label_start_timestamp", "label_end_timestamp", "fwd_return_1d__end_timestamp"):
        table = table.append_column(name, ends)
    table = table.append_column("local_1d__age_s", pa.array([5] * 24))
    table = table.append_column("ADX", pa.array([1.0] * 24))
    spans = {
        name: ["label_start_timestamp", f"{name}__end_timestamp"]
        for name in ("fwd_return_5d", "fwd_return_1d")
    }
    place = tmp_path / "set.parquet"
    with SetFile(place, table.schema, "run") as file:
        file.write(table)
        file.record(kind="training set", features=FEATURES, labels={"spans": spans})
    return place


def test_a_set_read_back_has_its_rows_its_columns_by_kind_and_what_it_says_of_itself(written: Path):
    found = read_set(written)
    assert found.table.equals(pq.read_table(written).replace_schema_metadata())
    assert found.features == ["RSI", "ADX"]
    assert found.targets == ["fwd_return_5d", "fwd_return_1d"]
    assert found.provenance["kind"] == "training set"
    assert found.provenance["fingerprint"]["rows"]


def test_it_is_read_in_pieces_that_are_the_whole(written: Path):
    found = read_set(str(written))
    pieces = list(found.batches(["ADX", "symbol"], 10))
    assert [each.num_rows for each in pieces] == [10, 10, 4]
    assert pa.concat_tables(pieces).equals(found.table.select(["ADX", "symbol"]))
    with pytest.raises(InputError, match="has no column MACD; it has symbol"):
        list(found.batches(["MACD"]))


def test_its_spans_split_it_without_an_overlap(written: Path):
    found = read_set(written)
    spans = found.spans
    assert len(spans) == found.table.num_rows
    for train, test in PurgedKFold(spans, 2).split():
        for row in test.tolist():
            apart = (spans.ends[train] < spans.decided[row]) | (
                spans.decided[train] > spans.ends[row]
            )
            assert apart.all()


def test_the_targets_of_a_label_file_are_its_own_columns(tmp_path: Path):
    table = rows().rename_columns(["symbol", "event_timestamp", "RSI", "y"])
    place = tmp_path / "set.parquet"
    with SetFile(place, table.schema, "run") as file:
        file.write(table)
        file.record(kind="training set", features=FEATURES[:1], labels={"file": "labels.csv"})
    found = read_set(place)
    assert (found.features, found.targets) == (["RSI"], ["y"])
    with pytest.raises(InputError, match="no column label_end_timestamp: make its labels with"):
        _ = found.spans


def test_a_file_that_is_no_set_is_refused(tmp_path: Path):
    place = tmp_path / "other.parquet"
    pq.write_table(rows(), place)
    with pytest.raises(InputError, match="does not say where its rows come from"):
        read_set(place)
    with pytest.raises(InputError, match="cannot be read"):
        read_set(tmp_path / "absent.parquet")
