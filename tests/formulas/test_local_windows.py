"""Windows and recursions: their edges, and their bits."""

import math

import numpy as np
import pytest

from ingestion.formulas.windows import (
    ema,
    highest,
    lowest,
    ratio,
    rma,
    rolling_sums,
    shift,
    sma,
    vwma,
    wma,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 14, 20, 26, 30, 34, 50, 100, 200])
def test_a_rolling_sum_is_its_windows_sum_however_long_the_history(n: int) -> None:
    x = RNG.normal(0, 1, (2_000, 1))
    x[0] = 1e12
    total = rolling_sums(x, (n,))[0]
    assert np.isnan(total[: n - 1]).all()
    for t in (n - 1, n, 1_000, 1_999):
        window = x[t - n + 1 : t + 1, 0]
        assert total[t, 0] == pytest.approx(math.fsum(window), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("moving", [sma, wma, ema, rma, highest, lowest])
def test_a_value_does_not_depend_on_the_layout(moving: object) -> None:
    wide = RNG.normal(100, 1, (300, 9))
    together = moving(wide, 14)  # type: ignore[operator]
    for column in range(9):
        alone = moving(wide[:, column : column + 1].copy(), 14)  # type: ignore[operator]
        np.testing.assert_array_equal(together[:, column : column + 1], alone)
    np.testing.assert_array_equal(together, moving(np.asfortranarray(wide), 14))  # type: ignore[operator]


@pytest.mark.parametrize("moving", [sma, wma, ema, rma, highest, lowest])
@pytest.mark.parametrize("n", [3, 9, 20, 200])
def test_equal_values_average_to_themselves(moving: object, n: int) -> None:
    x = np.full((250, 2), [0.1, 1 / 3])
    np.testing.assert_array_equal(moving(x, n)[n - 1 :], x[n - 1 :])  # type: ignore[operator]


@pytest.mark.parametrize("moving", [ema, rma])
def test_a_recursion_is_seeded_after_each_symbols_own_first_value(moving: object) -> None:
    x = RNG.normal(100, 1, (60, 1))
    late = np.vstack([np.full((7, 1), np.nan), x[:-7]])
    both = moving(np.hstack([x, late]), 9)  # type: ignore[operator]
    np.testing.assert_array_equal(both[7:, 1], both[:-7, 0])
    assert np.argmin(np.isnan(both[:, 1])) == 15
    assert both[8, 0] == pytest.approx(x[:9].mean())


@pytest.mark.parametrize("moving", [sma, wma, ema, rma, highest, lowest])
def test_a_window_longer_than_history_is_undefined(moving: object) -> None:
    assert np.isnan(moving(np.ones((5, 1)), 6)).all()  # type: ignore[operator]


def test_a_series_without_values_stays_undefined() -> None:
    assert np.isnan(ema(np.full((30, 1), np.nan), 5)).all()


def test_shift_beyond_history_is_undefined() -> None:
    assert np.isnan(shift(np.ones((3, 1)), 5)).all()


def test_a_quotient_by_zero_is_undefined() -> None:
    quotient = ratio(np.array([[1.0, 0.0, 1.0]]), np.array([[0.0, 0.0, 2.0]]))
    np.testing.assert_array_equal(quotient, [[np.nan, np.nan, 0.5]])


def test_a_window_has_at_least_one_bar() -> None:
    with pytest.raises(ValueError, match="at least one bar"):
        rolling_sums(np.ones((3, 1)), (0, 2))


def test_no_volume_means_no_volume_weighted_average_even_of_equal_prices() -> None:
    price = np.full((6, 1), 0.1)
    volume = np.array([[1.0], [0.0], [0.0], [0.0], [0.0], [3.0]])
    np.testing.assert_array_equal(
        vwma(price, volume, 3)[:, 0], [np.nan, np.nan, 0.1, np.nan, np.nan, 0.1]
    )
