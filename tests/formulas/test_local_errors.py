"""Bars that are refused, and whether the message says which."""

import numpy as np
import pyarrow as pa
import pytest
from local_bars import random_walk, with_columns

from ingestion.base.errors import InputError
from ingestion.formulas import compute_local_features


def replaced(name: str, row: int, value: float | None) -> pa.Table:
    bars = random_walk(5, 1)
    values = bars[name].to_pylist()
    values[row] = value
    return with_columns(bars, **{name: pa.array(values, bars[name].type)})


@pytest.mark.parametrize("name", ["timestamp", "symbol", "open", "high", "low", "close", "volume"])
def test_a_missing_column_is_named(name: str) -> None:
    with pytest.raises(InputError, match=f"missing column {name}"):
        compute_local_features(random_walk(5, 1).drop_columns(name))


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["open", "high", "low", "close", "volume", "split_ratio"])
def test_a_value_that_is_no_number_is_named_with_its_row(name: str, value: float | None) -> None:
    bars = replaced(name, 3, value)
    when = bars["timestamp"][3].as_py()
    with pytest.raises(
        InputError, match=rf"column {name} is .* symbol TEST:WALK, timestamp {when}"
    ):
        compute_local_features(bars)


@pytest.mark.parametrize("name", ["timestamp", "symbol", "close_timestamp"])
def test_a_null_key_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"column {name} is null"):
        compute_local_features(replaced(name, 2, None))


def test_a_repeated_key_is_named_even_if_the_rows_agree() -> None:
    bars = random_walk(5, 1)
    when = bars["timestamp"][2].as_py()
    with pytest.raises(InputError, match=rf"repeated .* symbol TEST:WALK, timestamp {when}"):
        compute_local_features(pa.concat_tables([bars, bars.slice(2, 1)]))


@pytest.mark.parametrize("ratio", [0.0, -2.0])
def test_a_split_ratio_must_be_positive(ratio: float) -> None:
    with pytest.raises(InputError, match=f"split_ratio is {ratio}"):
        compute_local_features(replaced("split_ratio", 2, ratio))


def test_a_bar_cannot_close_before_it_opens() -> None:
    bars = random_walk(5, 1)
    closed = bars["timestamp"].to_numpy() - 1
    with pytest.raises(InputError, match="close_timestamp"):
        compute_local_features(with_columns(bars, close_timestamp=closed))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("timestamp", np.arange(5.0)),
        ("timestamp", pa.array(range(5), pa.timestamp("us"))),
        ("symbol", np.arange(5)),
        ("close", ["1", "2", "3", "4", "5"]),
    ],
)
def test_a_column_of_another_type_is_refused(name: str, values: object) -> None:
    with pytest.raises(InputError, match=f"column {name} must be"):
        compute_local_features(with_columns(random_walk(5, 1), **{name: values}))


def test_bad_bars_are_the_callers_fault() -> None:
    assert InputError("x").exit_code == 2
