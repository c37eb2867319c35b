"""The figures of one column, against plain Python and pandas."""

from __future__ import annotations

import math
import statistics
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.quality.parity import NAMED, compare_column, rank_correlation
from tests.declared import TV_TECHNICALS_1D

COLUMNS = {column.name: column for column in TV_TECHNICALS_1D.features}
RSI, MACD = COLUMNS["RSI"], COLUMNS["MACD.macd"]
CLOSE = 1_618_257_600

# A few values, so that ties, zeros and equal pairs are common.
SOME = st.sampled_from([-2.5, -1.0, -0.0, 0.0, 0.3, 1.0, 1.01, 40.0])
PAIRS = st.lists(
    st.tuples(st.sampled_from("ABC"), st.none() | SOME, st.none() | SOME), min_size=0, max_size=30
)


def pairs_of(rows: list[tuple[str, float | None, float | None]]) -> pa.Table:
    """Pairs of (symbol, served, recomputed), a day apart."""
    return pa.table(
        {
            "symbol": pa.array([f"X:{symbol}" for symbol, _, _ in rows], pa.string()),
            "bar_close": pa.array([CLOSE + 86_400 * row for row in range(len(rows))], pa.int64()),
            "served": pa.array([served for _, served, _ in rows], pa.float64()),
            "recomputed": pa.array([recomputed for _, _, recomputed in rows], pa.float64()),
        }
    )


def sign(value: float) -> int:
    return (value > 0) - (value < 0)


@given(rows=PAIRS, name=st.sampled_from(["RSI", "MACD.macd"]), tolerance=st.sampled_from([0, 0.02]))
def test_every_figure_equals_the_one_counted_by_hand(rows, name: str, tolerance: float):
    found = compare_column(COLUMNS[name], pairs_of(rows), tolerance)
    both = [(s, a, b) for s, a, b in rows if a is not None and b is not None]
    errors = [abs(a - b) for _, a, b in both]
    largest = {s: max(abs(b) for t, _, b in both if t == s) for s, _, _ in both}
    scales = [100.0 if name == "RSI" else largest[s] for s, _, _ in both]
    assert found.n == len(both)
    assert found.served_only == sum(b is None and a is not None for _, a, b in rows)
    assert found.recomputed_only == sum(a is None and b is not None for _, a, b in rows)
    assert found.beyond == sum(e > tolerance * k for e, k in zip(errors, scales, strict=True))
    if not both:
        assert (found.median_error, found.max_error, found.sign_agreement) == (None, None, None)
        return
    assert found.median_error == pytest.approx(statistics.median(errors))
    assert found.max_error == max(errors)
    same = sum(sign(a) == sign(b) for _, a, b in both)
    assert found.sign_agreement == pytest.approx(same / len(both))


@given(st.lists(st.tuples(SOME | st.floats(-1e6, 1e6), SOME | st.floats(-1e6, 1e6)), max_size=40))
def test_rank_correlation_equals_that_of_pandas(pairs: list[tuple[float, float]]):
    frame = pd.DataFrame(pairs, columns=["a", "b"], dtype=float)
    expected = frame.corr(method="spearman", min_periods=2).loc["a", "b"]
    found = rank_correlation(frame["a"].to_numpy(), frame["b"].to_numpy())
    if math.isnan(expected):
        assert found is None
    else:
        assert found == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30, unique=True))
def test_ranks_see_the_order_alone(values: list[float]):
    a = np.array(values)
    curved = np.sign(a) * a**2  # keeps the order, but for squares that underflow
    if len(np.unique(curved)) == len(a):
        assert rank_correlation(a, curved) == pytest.approx(1)
        assert rank_correlation(a, -curved) == pytest.approx(-1)


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0]])
def test_without_variation_there_is_no_rank_correlation(values: list[float]):
    assert rank_correlation(np.array(values), np.arange(len(values), dtype=float)) is None


def test_the_worst_are_named_first_and_the_rest_counted():
    rows = [("A", 50.0 + row, 50.0) for row in range(NAMED + 10)]
    found = compare_column(RSI, pairs_of(rows), 0.01)
    assert found.beyond == NAMED + 8, "0 and 1 point of 100 are within 1 %"
    assert [each.served for each in found.worst] == [50.0 + NAMED + 9 - i for i in range(NAMED)]
    worst = found.worst[0]
    assert (worst.symbol, worst.recomputed) == ("X:A", 50.0)
    assert worst.bar_close == datetime.fromtimestamp(CLOSE + 86_400 * (NAMED + 9), UTC)


def test_a_price_column_is_judged_in_the_symbols_own_money():
    rows = [("A", 100.0, 100.5), ("B", 0.001, 0.002), ("B", 0.1, 0.1), ("A", 0.5, 0.1)]
    found = compare_column(MACD, pairs_of([*rows, ("B", 0.1, 0.102)]), 0.01)
    assert [(each.symbol, each.served) for each in found.worst] == [("X:B", 0.1)]


def test_a_wild_served_value_does_not_hide_itself():
    found = compare_column(MACD, pairs_of([("A", 1e9, 1.0), ("A", 1.0, 1.0)]), 0.01)
    assert found.beyond == 1


def test_where_all_recomputed_values_are_zero_any_other_is_beyond():
    found = compare_column(MACD, pairs_of([("A", 1e-12, 0.0), ("A", 0.0, 0.0)]), 0.01)
    assert [each.served for each in found.worst] == [1e-12]
