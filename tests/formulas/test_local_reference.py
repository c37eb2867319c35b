"""All features against the bar-by-bar reference."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_bars import constant, random_walk, with_columns, with_splits
from local_reference import features as reference

from ingestion.formulas import FEATURES, compute_local_features


def assert_equals_reference(bars: pa.Table, names: tuple[str, ...] = FEATURES) -> None:
    computed = compute_local_features(bars).to_pydict()
    expected = reference(bars.to_pydict())
    for name in names:
        for bar, (got, want) in enumerate(zip(computed[name], expected[name], strict=True)):
            where = f"{name} at bar {bar}"
            assert (got is None) == (want is None), f"{where}: {got} against {want}"
            if want is not None:
                assert got == pytest.approx(want, rel=1e-9, abs=1e-9), where


@settings(max_examples=40, deadline=None, derandomize=True)
@given(bars=st.integers(1, 60), seed=st.integers(0, 2**32 - 1))
def test_short_histories_equal_the_reference(bars: int, seed: int) -> None:
    assert_equals_reference(random_walk(bars, seed))


@pytest.mark.parametrize("seed", range(8))
def test_long_histories_equal_the_reference(seed: int) -> None:
    assert_equals_reference(random_walk(300, seed))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    splits=st.dictionaries(
        st.integers(0, 119), st.sampled_from([2.0, 0.5, 1.5, 3.0, 7.0, 0.1]), max_size=4
    ),
)
def test_histories_with_splits_equal_the_reference(seed: int, splits: dict[int, float]) -> None:
    assert_equals_reference(with_splits(random_walk(120, seed), splits))


@pytest.mark.parametrize("bars", [1, 2, 20, 260])
def test_constant_prices_equal_the_reference(bars: int) -> None:
    assert_equals_reference(constant(bars))


def test_bars_without_volume_equal_the_reference() -> None:
    bars = random_walk(120, 5)
    volume = bars["volume"].to_numpy().copy()
    volume[30:80] = 0
    assert_equals_reference(with_columns(bars, volume=volume))
    assert_equals_reference(with_columns(bars, volume=np.zeros(len(bars))))


def test_a_halted_symbol_equals_the_reference() -> None:
    bars = random_walk(160, 6)
    halted = {name: bars[name].to_numpy().copy() for name in ("open", "high", "low", "close")}
    for prices in halted.values():
        prices[60:100] = bars["close"][60].as_py()
    # While nothing moves RSI is constant but for its last bit, which votes on "rising" read.
    names = tuple(name for name in FEATURES if not name.startswith("Recommend."))
    assert_equals_reference(with_columns(bars, **halted), names)


def test_prices_on_a_tick_grid_equal_the_reference() -> None:
    bars = random_walk(200, 7)
    rounded = {n: np.round(bars[n].to_numpy(), 1) for n in ("open", "high", "low", "close")}
    names = tuple(name for name in FEATURES if not name.startswith("Recommend."))
    assert_equals_reference(with_columns(bars, **rounded), names)


def test_a_symbol_that_starts_to_trade_late_equals_the_reference() -> None:
    bars = random_walk(120, 8)
    waiting = {name: bars[name].to_numpy().copy() for name in ("open", "high", "low", "close")}
    for prices in waiting.values():
        prices[:30] = 90.0
    assert_equals_reference(with_columns(bars, **waiting))
