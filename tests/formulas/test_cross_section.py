"""Ranks, z-scores, limits and residuals against plain loops and NumPy's own least squares."""

from __future__ import annotations

import math
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.formulas.cross_section import percentiles, ranks, residuals, winsorised, z_scores

NUMBERS = st.lists(st.one_of(st.integers(-5, 5).map(float), st.floats(-1e6, 1e6)), max_size=30)
SEVERAL = NUMBERS.filter(lambda values: len(values) > 1)


def array(values: list[float]) -> np.ndarray:
    return np.array(values, dtype=np.float64)


@given(SEVERAL)
def test_a_rank_counts_the_smaller_values_and_shares_among_equal_ones(values: list[float]):
    expected = []
    for value in values:
        places = [n for n, other in enumerate(sorted(values), start=1) if other == value]
        expected.append(sum(places) / len(places))
    assert ranks(array(values)).tolist() == expected
    shares = [(rank - 1) / (len(values) - 1) for rank in expected]
    assert percentiles(array(values)).tolist() == shares
    assert all(0 <= share <= 1 for share in shares)


@given(SEVERAL)
def test_a_z_score_is_the_distance_from_the_mean_in_deviations(values: list[float]):
    found = z_scores(array(values))
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    variance = sum((each - mean) ** 2 for each in exact) / len(exact)
    if not variance:
        assert np.isnan(found).all()
        return
    spread = max(abs(each - mean) for each in exact)
    scale = max(map(abs, exact)) / spread  # what the mean's own rounding amounts to
    expected = [float((each - mean) / spread) / math.sqrt(variance / spread**2) for each in exact]
    assert found == pytest.approx(expected, rel=1e-12, abs=float(1e-14 * scale))


@given(SEVERAL, st.floats(0.01, 0.49))
def test_values_are_limited_to_interpolated_quantiles(values: list[float], tails: float):
    def quantile(share: float) -> float:
        ordered, place = sorted(values), share * (len(values) - 1)
        below = min(math.floor(place), len(values) - 2)
        return ordered[below] + (place - below) * (ordered[below + 1] - ordered[below])

    low, high = quantile(tails), quantile(1 - tails)
    expected = [min(max(value, low), high) for value in values]
    scale = max(map(abs, values))
    assert winsorised(array(values), tails) == pytest.approx(expected, rel=1e-9, abs=1e-9 * scale)


@given(st.data())
def test_residuals_are_those_of_numpys_least_squares(data: st.DataObject):
    n = data.draw(st.integers(2, 40))
    chance = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    categories = [chance.integers(0, data.draw(st.integers(1, 5)), n) for _ in range(2)]
    numbers = [chance.normal(20, 3, n) for _ in range(data.draw(st.integers(0, 2)))]
    values = chance.normal(0, 10.0 ** int(chance.integers(-3, 6)), n)
    design = [np.ones(n), *numbers]
    for each in categories:
        design += [(each == name).astype(float) for name in np.unique(each)]
    matrix = np.column_stack(design)
    found = residuals(values, categories, numbers)
    if np.linalg.matrix_rank(matrix) >= n:
        assert np.isnan(found).all()
        return
    expected = values - matrix @ np.linalg.lstsq(matrix, values, rcond=None)[0]
    assert found == pytest.approx(expected, rel=1e-7, abs=1e-9 * np.abs(values).max())


def test_the_residuals_of_one_classification_are_distances_from_its_means():
    values = array([1, 2, 6, 10, 30])
    found = residuals(values, [np.array(["a", "a", "a", "b", "b"])])
    assert found == pytest.approx([-2, -1, 3, -10, 10])


@pytest.mark.parametrize("shift", [1e-300, 1.0, 1e300])
def test_very_small_and_very_large_values_have_the_results_of_others(shift: float):
    values = array([1, 2, 4, 8]) * shift
    assert z_scores(values) == pytest.approx(z_scores(array([1, 2, 4, 8])))
    of = residuals(values, [np.array([0, 0, 1, 1])]) / shift
    assert of == pytest.approx([-0.5, 0.5, -2, 2])


@pytest.mark.parametrize("values", [[], [3.0]])
def test_one_value_alone_is_compared_with_nothing(values: list[float]):
    of = array(values)
    for found in (ranks(of), percentiles(of), z_scores(of), winsorised(of, 0.1), residuals(of)):
        assert len(found) == len(values)
        assert np.isnan(found).all()


@given(st.floats(-1e300, 1e300), st.integers(2, 12))
def test_equal_values_have_ranks_and_no_deviation(value: float, n: int):
    of = np.full(n, value)
    assert (ranks(of) == (n + 1) / 2).all()
    assert (percentiles(of) == 0.5).all()
    assert (winsorised(of, 0.1) == value).all()
    assert np.isnan(z_scores(of)).all()
    assert np.isnan(residuals(of)).all()


def test_a_size_that_all_share_takes_nothing_away():
    values = array([1, 2, 6])
    assert residuals(values, numbers=[np.full(3, 0.1)]) == pytest.approx([-2, -1, 3])


@given(SEVERAL, st.randoms(use_true_random=False))
def test_the_order_of_the_members_changes_no_result(values: list[float], chance: Random):
    order = chance.sample(range(len(values)), len(values))
    of, other = array(values), array([values[place] for place in order])
    for compute in (ranks, percentiles, lambda one: winsorised(one, 0.2)):
        assert compute(other).tolist() == compute(of)[order].tolist()
    spread = max(np.ptp(of), 1e-9 * np.abs(of).max())
    groups = np.arange(len(of)) % 2
    if spread > 1e-6 * np.abs(of).max():
        assert z_scores(other) == pytest.approx(z_scores(of)[order], abs=1e-6)
    left, again = residuals(of, [groups]), residuals(other, [groups[order]])
    assert again == pytest.approx(
        left[order], abs=1e-9 * max(spread, np.abs(of).max()), nan_ok=True
    )
