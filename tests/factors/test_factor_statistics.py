"""The figures of a factor: those of pandas and SciPy, whatever is equal, missing or alone."""

from __future__ import annotations

from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ingestion.datasets.factor_study import DateRows, FactorStudy
from ingestion.datasets.factors import (
    CrossSection,
    FactorSeries,
    average_ranks,
    correlation,
    quantile_numbers,
)
from ingestion.datasets.significance import (
    half_life,
    independent,
    largest_by_chance,
    newey_west_lags,
    newey_west_t,
    overlap,
    plain_t,
    threshold,
)

FEW = st.lists(st.sampled_from([-1.5, 0.0, 0.1, 0.2, 0.3, 7.0]), min_size=2, max_size=25)
MANY = st.lists(
    st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 4)), min_size=2, max_size=25
)


@given(st.one_of(FEW, MANY), st.randoms(use_true_random=False))
def test_a_rank_correlation_is_spearmans(values: list[float], chance):
    one = np.array(values)
    other = np.array([chance.choice([0.0, 0.5, chance.random()]) for _ in values])
    found = correlation(average_ranks(one), average_ranks(other))
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(one, other)[0], abs=1e-12)


@given(st.one_of(FEW, MANY), st.integers(2, 12))
def test_quantiles_are_those_that_pandas_cuts(values: list[float], quantiles: int):
    """Where edges are equal, which pandas refuses, the quantiles between them stay empty."""
    found = quantile_numbers(np.array(values), quantiles)
    edges = pd.Series(values).quantile(np.linspace(0, 1, quantiles + 1)).to_numpy()
    if len(set(edges)) == len(edges):
        assert found.tolist() == (pd.qcut(values, quantiles, labels=False) + 1).tolist()
    else:
        dropped = pd.qcut(values, quantiles, labels=False, duplicates="drop")
        pairs = sorted(set(zip(dropped.tolist(), found.tolist(), strict=True)))
        # The same rows together, and in the same order.
        if dropped.tolist().count(-1) == 0 and not np.isnan(dropped).any():
            assert all(one[1] < two[1] for one, two in pairwise(pairs) if one[0] != two[0])


def history(seed: int, dates: int = 30, symbols: int = 23, horizon: int = 3) -> pd.DataFrame:
    """Rows of a random walk of values, some of them equal, with some symbols missing each date."""
    chance = np.random.default_rng(seed)
    walk = np.cumsum(chance.normal(size=(dates, symbols)), axis=0).round(1)
    rows = [
        {"date": day, "asset": asset, "factor": walk[day, asset], "label": chance.normal()}
        for day in range(dates)
        for asset in range(symbols)
        if chance.random() > 0.2
    ]
    return pd.DataFrame(rows).assign(end=lambda frame: frame["date"] + horizon)


def series_of(frame: pd.DataFrame, quantiles: int) -> FactorSeries:
    series = FactorSeries(quantiles)
    for day, rows in frame.groupby("date"):
        columns = (rows[name].to_numpy() for name in ("asset", "factor", "label", "end"))
        series.add(CrossSection(int(str(day)), int(str(day)), *columns))
    return series


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("horizon", [1, 3])
def test_turnover_and_rank_autocorrelation_compare_with_the_date_whose_labels_are_over(
    seed: int, horizon: int
):
    frame = history(seed, horizon=horizon)
    series = series_of(frame, 4)
    frame["quantile"] = frame.groupby("date")["factor"].transform(
        lambda of: pd.qcut(of, 4, labels=False)
    )
    sets = frame.groupby(["quantile", "date"])["asset"].apply(set)
    for number in range(4):
        of = sets[number]
        shares = [
            len(of[day] - of[day - horizon]) / len(of[day])
            for day in of.index
            if day - horizon in of.index
        ]
        assert series.mean_turnover()[number] == pytest.approx(np.mean(shares))
    ranks = frame.assign(rank=frame.groupby("date")["factor"].rank())
    wide = ranks.pivot(index="date", columns="asset", values="rank")
    expected = wide.corrwith(wide.shift(horizon), axis=1)[horizon:]
    assert series.autocorrelation == pytest.approx(expected.tolist())


def test_a_quantiles_return_is_the_mean_over_dates_of_the_dates_means():
    frame = history(7)
    series = series_of(frame, 5)
    frame["quantile"] = frame.groupby("date")["factor"].transform(
        lambda of: pd.qcut(of, 5, labels=False)
    )
    by_date = frame.groupby(["date", "quantile"])["label"].mean().unstack()
    assert series.mean_returns() == pytest.approx(by_date.mean().to_numpy())
    excess = frame.assign(label=frame["label"] - frame.groupby("date")["label"].transform("mean"))
    expected = excess.groupby(["date", "quantile"])["label"].mean().unstack().mean()
    assert series.mean_returns(demeaned=True) == pytest.approx(expected.to_numpy())
    assert series.spreads() == pytest.approx((by_date[4] - by_date[0]).to_numpy())


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=30), st.integers(0, 8))
def test_the_variance_of_newey_and_west_is_the_weighted_sum_over_all_pairs(
    values: list[float], lags: int
):
    """By its other definition: pairs at distance k count 1 − k / (lags + 1)."""
    off = np.array(values) - np.mean(values)
    pairs = np.abs(np.subtract.outer(np.arange(len(off)), np.arange(len(off))))
    weights = np.clip(1 - pairs / (lags + 1), 0, None)
    variance = float(off @ weights @ off) / len(off) ** 2
    found = newey_west_t(values, lags)
    if variance > 1e-12:
        assert found == pytest.approx(np.mean(values) / variance**0.5, rel=1e-6)
    elif np.ptp(values) == 0:
        assert found is None


def test_overlapping_labels_make_the_plain_t_value_too_large():
    """Of sums over 20 days of noise, 5 in 100 reach 1.96 if the overlap is counted in, not half."""
    chance, plain, counted_in, apart = np.random.default_rng(3), 0, 0, 0
    for _ in range(400):
        noise = chance.normal(size=1019)
        sums = np.convolve(noise, np.ones(20), "valid")
        plain += abs(plain_t(sums) or 0) > 1.96
        counted_in += abs(newey_west_t(sums, newey_west_lags(1000, 19)) or 0) > 1.96
        apart += abs(plain_t(sums[::20]) or 0) > 1.96
    assert plain > 0.5 * 400
    assert counted_in < 0.16 * 400  # Bartlett's weights leave some of it
    assert 0.02 * 400 < apart < 0.09 * 400


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=1, max_size=20))
def test_spans_that_are_chosen_do_not_overlap_and_none_could_be_added_between(
    spans: list[tuple[int, int]],
):
    begins = sorted({begin for begin, _ in spans})
    ends = np.maximum.accumulate([b + n for b, (_, n) in zip(begins, spans, strict=False)]).tolist()
    chosen = independent(begins, ends).tolist()
    assert chosen[0] == 0
    for one, two in pairwise(chosen):
        assert ends[one] <= begins[two]
        assert all(begins[between] < ends[one] for between in range(one + 1, two))
    brute = max(
        sum(b < end for b in begins[at + 1 :]) for at, end in enumerate(ends)
    )  # begins ascend, so those before the end are the next ones
    assert overlap(begins, ends) == brute


def test_the_threshold_is_bonferronis_and_the_largest_by_chance_is_near_the_simulated_one():
    assert threshold(1) == pytest.approx(1.959964, abs=1e-6)
    assert threshold(50) == pytest.approx(NormalDist().inv_cdf(1 - 0.0005), abs=1e-9)
    chance = np.random.default_rng(1).normal(size=(20_000, 50)).max(axis=1).mean()
    assert largest_by_chance(50) == pytest.approx(chance, abs=0.04)  # for many
    assert largest_by_chance(1) == 0


def test_a_half_life_is_the_first_crossing_and_none_where_there_is_none():
    assert half_life([0, 1, 5, 10], [-0.08, -0.06, -0.02, -0.05]) == 3
    assert half_life([0, 1, 5], [0.08, None, 0.0]) == 2.5
    for values in ([0.0, 0.1], [None, 0.1], [0.1, 0.09]):
        assert half_life([0, 1], values) is None


def rows_of(day: int, values: list[float], **more: object) -> DateRows:
    size = len(values)
    columns = {
        "codes": np.arange(size, dtype=np.int32),
        "decided": np.full(size, day),
        "values": np.array([values]),
        "labels": np.array([[0.1, 0.2, 0.3, 0.4][:size]]),
        "ends": np.full((1, size), day + 1),
        "sectors": np.full(size, -1, np.int32),
        "members": np.ones((1, size), dtype=bool),
    }
    return DateRows(day, **columns | more)


def test_decay_takes_the_value_of_the_date_before_for_the_symbols_that_had_one():
    study = FactorStudy(1, 1, (1,), quantiles=2)
    study.add(rows_of(0, [3.0, 1.0, 2.0]))
    study.add(rows_of(1, [1.0, 2.0, 3.0, 4.0]))  # the fourth had none
    assert study.decay(0, 0) == [pytest.approx((-0.5 + 1) / 2), pytest.approx(-0.5)]


def test_dates_of_few_members_are_no_dates_of_a_universe_also_for_its_decay():
    study = FactorStudy(1, 2, (1,), quantiles=2, least=3)
    both = np.array([[True, True, True, False], [True] * 4])
    for day, values in enumerate(([1.0, 2, 3, 4], [4.0, 3, 2, 1], [1.0, 2, 3, 4])):
        members = both if day != 1 else np.array([[True, False, False, False], [True] * 4])
        study.add(rows_of(day, list(values), members=members))
    assert study.few == [1, 0]
    assert study.series[0, 0, 0].days == [0, 2]
    assert study.decay(0, 0) == [1.0, 1.0]  # the date before is the first one
    assert study.decay(0, 1)[1] == 0.0


def test_a_sector_is_ranked_by_itself_and_unknown_ones_are_in_none():
    study = FactorStudy(1, 1, (1,), quantiles=2)
    sectors = np.array([0, 0, 1, -1], np.int32)
    study.add(rows_of(0, [2.0, 1.0, 5.0, 9.0], sectors=sectors))
    found = study.sectors[0, 0, 0]
    assert found.ic[0] == [-1.0]
    assert np.isnan(found.ic[1]).all()
    assert dict(found.counts) == {0: [2], 1: [1]}


def test_missing_values_and_labels_are_no_rows_and_lower_the_coverage():
    study = FactorStudy(1, 1, (1,), quantiles=2)
    labels = np.array([[0.1, np.nan, 0.3, 0.4]])
    study.add(rows_of(0, [1.0, 2.0, np.nan, 4.0], labels=labels))
    assert study.series[0, 0, 0].counts == [2]
    coverage = study.coverage[0, 0]
    assert (coverage.asked, coverage.valued) == ([4], [3])
