"""Behind a missing session: what is null, for how long, and that all else is as it was."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.base.errors import InputError
from ingestion.formulas import FEATURES, LOCAL, compute_local_features
from tests.formulas.local_bars import DAY, random_walk, with_columns

BARS = 320
FINITE = ("returns_1d", "volatility_20d", "momentum_60d", "AO", "CCI20", "Stoch.K", "Stoch.D")
RECURSIVE = ("RSI", "ADX", "MACD.macd", "MACD.signal")
BARS_BACK = {n: each.look_back for n, each in LOCAL.items() if not each.follows_clock}
DAYS_BACK = {n: each.look_back.days for n, each in LOCAL.items() if each.follows_clock}
CLOCK = tuple(DAYS_BACK)


def without(bars: pa.Table, rows: list[int]) -> pa.Table:
    """Take bars away, and say before which of the others they are missing."""
    kept = [row for row in range(len(bars)) if row not in rows]
    opened = bars["timestamp"].to_numpy()
    missing = np.zeros(len(bars), dtype=np.int64)
    for place, row in enumerate(kept):
        before = kept[place - 1] if place else row - 1
        if before + 1 < row:
            missing[row] = opened[before + 1]
    return bars.append_column("missing_from", pa.array(missing)).take(pa.array(kept))


def both(bars: pa.Table, rows: list[int]) -> tuple[pa.Table, pa.Table, list[int | None]]:
    """Features of the bars that are left, those of all bars at the same, and how many bars ago."""
    left = without(bars, rows)
    kept = [row for row in range(len(bars)) if row not in rows]
    since: list[int | None] = []
    for missing in left["missing_from"].to_pylist():
        before = since[-1] if since else None
        since.append(0 if missing else None if before is None else before + 1)
    return (
        compute_local_features(left),
        compute_local_features(bars).take(pa.array(kept)),
        since,
    )


def unmarked(bars: pa.Table, rows: list[int]) -> pa.Table:
    """Features as they would be if nobody knew that bars are missing."""
    return compute_local_features(without(bars, rows).drop_columns(["missing_from"]))


def changed(bars: pa.Table, rows: list[int], name: str) -> list[int]:
    """How many bars behind the gap the values are that the missing bars would change."""
    _, whole, since = both(bars, rows)
    pairs = zip(since, unmarked(bars, rows)[name].to_pylist(), whole[name].to_pylist(), strict=True)
    return [ago for ago, wrong, right in pairs if ago is not None and wrong != right]


WALKS = st.builds(random_walk, st.just(BARS), st.integers(0, 10**6), gaps=st.just(False))
LOST = st.lists(st.integers(2, BARS - 2), min_size=1, max_size=4, unique=True)


@settings(max_examples=25, deadline=None)
@given(WALKS, LOST)
def test_a_value_of_a_window_is_that_of_all_bars_or_null(bars: pa.Table, lost: list[int]):
    """The window's numbers are the same then, so the value is, in every bit."""
    left, whole, since = both(bars, lost)
    for name in (*FINITE, *CLOCK, "Volatility.D"):
        for value, right, ago in zip(
            left[name].to_pylist(), whole[name].to_pylist(), since, strict=True
        ):
            if name in CLOCK:
                assert value is None or value == right
            elif ago is not None and ago < BARS_BACK[name]:
                assert value is None
            elif value is not None:
                assert value == right


@settings(max_examples=10, deadline=None)
@given(WALKS, LOST)
def test_what_is_not_spoiled_is_as_it_was(bars: pa.Table, lost: list[int]):
    """Of recursions, too: marked and unmarked bars give one value wherever it is not null."""
    marked, since = both(bars, lost)[0], both(bars, lost)[2]
    as_ever = unmarked(bars, lost)
    for name in FEATURES:
        for value, other, ago in zip(
            marked[name].to_pylist(), as_ever[name].to_pylist(), since, strict=True
        ):
            is_spoiled = name in CLOCK or (ago is not None and ago < BARS_BACK[name])
            assert value == other or (value is None and is_spoiled)


@pytest.mark.parametrize("name", [name for name in FINITE if not name.startswith("Stoch")])
def test_a_null_stands_where_the_missing_bar_would_change_the_value(name: str):
    bars = random_walk(BARS, 3, gaps=False)
    left, _, since = both(bars, [200])
    values = zip(since, left[name].to_pylist(), strict=True)
    nulls = [ago for ago, value in values if ago is not None and value is None]
    assert nulls == list(range(BARS_BACK[name]))
    assert nulls == changed(bars, [200], name)


@pytest.mark.parametrize("name", ["Stoch.K", "Stoch.D", "Volatility.D"])
def test_of_extremes_no_longer_window_would_do_and_no_shorter(name: str):
    """The missing bar need not be an extreme; in some walk it is, to the window's last bar."""
    walks = [random_walk(120, seed, gaps=False) for seed in range(12)]
    found = [ago for bars in walks for ago in changed(bars, [80], name)]
    assert max(found) + 1 == BARS_BACK[name]


@pytest.mark.parametrize("name", [*RECURSIVE, "AO", "CCI20", "Stoch.K", "Stoch.D"])
def test_behind_a_gap_a_feature_starts_where_it_would_on_a_new_symbol(name: str):
    fresh = compute_local_features(random_walk(BARS, 5))[name].to_pylist()
    assert next(row for row, value in enumerate(fresh) if value is not None) == BARS_BACK[name]


def test_a_rating_waits_for_the_slowest_of_its_votes():
    assert BARS_BACK["Recommend.MA"] == 200 - 1  # SMA(200)
    slowest = max(BARS_BACK["AO"] + 2, BARS_BACK["ADX"] + 1, BARS_BACK["MACD.signal"], 50 - 1)
    assert BARS_BACK["Recommend.Other"] == slowest
    assert BARS_BACK["Recommend.All"] == BARS_BACK["Recommend.MA"]


def test_what_a_recursion_still_remembers_of_a_missing_bar_is_small():
    """In share of the column's width: ratings 2, RSI and ADX 100, MACD its own largest value."""
    worst = dict.fromkeys(RECURSIVE, 0.0)
    for seed in range(15):
        bars = random_walk(BARS, seed, gaps=False)
        left, whole, _ = both(bars, [150])
        for name in RECURSIVE:
            value, right = (np.array(each[name].to_pylist(), dtype=float) for each in (left, whole))
            scale = 100 if name in ("RSI", "ADX") else np.nanmax(np.abs(right))
            worst[name] = max(worst[name], float(np.nanmax(np.abs(value - right)[150:]) / scale))
    assert all(share < 0.06 for share in worst.values()), worst


def test_every_feature_says_how_far_back_it_reads():
    assert {*BARS_BACK, *DAYS_BACK} == set(FEATURES)


def test_performance_is_null_only_where_the_missing_bar_would_be_its_reference():
    """Daily bars: of 7 days ago the reference is the bar 7 opens before; the one gone is the 100th.

    Bars close within their day, so seven days before the close of bar k the last bar that has
    opened is bar k - 7: bar 107 alone refers to bar 100.
    """
    bars = random_walk(BARS, 7, gaps=False)
    opened = bars["timestamp"].to_numpy()
    bars = with_columns(bars, close_timestamp=opened + DAY // 4)
    left, whole, _ = both(bars, [100])
    for name, days in DAYS_BACK.items():
        kept = [row for row in range(BARS) if row != 100]
        nulls = [row for row, value in zip(kept, left[name].to_pylist(), strict=True)
                 if value is None]  # fmt: skip
        assert nulls == [0, 100 + days]
        for row, value in zip(kept, left[name].to_pylist(), strict=True):
            assert row in nulls or value == whole[name].to_pylist()[kept.index(row)]


def test_symbols_do_not_spoil_each_other():
    holed = without(random_walk(BARS, 1, symbol="TEST:A", gaps=False), [200])
    sound = random_walk(BARS, 2, symbol="TEST:B", gaps=False)
    zeros = pa.array(np.zeros(BARS, dtype=np.int64))
    together = compute_local_features(
        pa.concat_tables([holed, sound.append_column("missing_from", zeros)])
    )
    alone = [compute_local_features(each) for each in (holed, sound)]
    assert together.equals(pa.concat_tables(alone))


def test_a_session_that_is_missing_before_a_bar_cannot_open_after_it():
    bars = random_walk(5, 1)
    late = bars.append_column("missing_from", bars["timestamp"])
    with pytest.raises(InputError, match="missing_from"):
        compute_local_features(late)
