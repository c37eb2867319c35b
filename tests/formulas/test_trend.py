"""Averages, bands, ranges and performance against TA-Lib and against loops written out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.formulas import LOCAL, SHIPPED, compute
from ingestion.formulas.planning import plan_of
from tests.formulas.local_bars import DAY, random_walk, with_columns, with_splits

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample" / "bars.parquet"
TREND = {name: each for name, each in SHIPPED.items() if name not in LOCAL}
FADED = 400
"""Bars after which less than 1e-8 is left of another seed of an average of 14."""


def values(bars: pa.Table, name: str) -> np.ndarray:
    column = compute(bars, [SHIPPED[name]])[name]
    return column.to_numpy(zero_copy_only=False).astype(float)


@pytest.fixture(scope="module")
def real() -> list[tuple[pa.Table, dict[str, np.ndarray], np.ndarray]]:
    """Each symbol's bars, the same in the money of the first, and the splits' product."""
    bars = pq.read_table(SAMPLE).sort_by([("symbol", "ascending"), ("timestamp", "ascending")])
    found = []
    for symbol in bars["symbol"].unique().to_pylist():
        own = bars.filter(pc.equal(bars["symbol"], symbol))
        split = np.cumprod(own["split_ratio"].to_numpy())
        prices = {n: own[n].to_numpy() * split for n in ("open", "high", "low", "close")}
        found.append((own, prices | {"volume": own["volume"].to_numpy() / split}, split))
    return found


ORACLES = {
    **{f"SMA{n}": (lambda s, n=n: talib.SMA(s["close"], n), 0) for n in (20, 50, 100, 200)},
    **{f"EMA{n}": (lambda s, n=n: talib.EMA(s["close"], n), 0) for n in (20, 50, 200)},
    # TA-Lib begins the average one bar later, without the first bar's range.
    "ATR": (lambda s: talib.ATR(s["high"], s["low"], s["close"], 14), FADED),
    "BB.upper": (lambda s: talib.BBANDS(s["close"], 20, 2, 2)[0], 0),
    "BB.lower": (lambda s: talib.BBANDS(s["close"], 20, 2, 2)[2], 0),
    "W.R": (lambda s: talib.WILLR(s["high"], s["low"], s["close"], 14), 0),
    "Mom": (lambda s: talib.MOM(s["close"], 10), 0),
    "UO": (lambda s: talib.ULTOSC(s["high"], s["low"], s["close"], 7, 14, 28), 0),
}
MONEY = {name for name in ORACLES if TREND[name].unit == "price"}


@pytest.mark.parametrize("name", ORACLES)
def test_talib_agrees_on_all_real_bars(real, name: str):
    oracle, first = ORACLES[name]
    for bars, prices, split in real:
        expected = oracle(prices) / (split if name in MONEY else 1)
        found = values(bars, name)
        assert len(found) > first + 50
        np.testing.assert_allclose(
            found[first:], expected[first:], rtol=1e-7, atol=1e-7 * np.nanmax(abs(expected))
        )


def sar_by_hand(high: list[float], low: list[float], close: list[float]) -> list[float]:
    """The published program, statement by statement."""
    found: list[float] = []
    is_below, extreme, pace, stop = False, 0.0, 0.0, 0.0
    for i in range(len(close)):
        if i == 0:
            found.append(np.nan)
            continue
        is_first = False
        if i == 1:
            is_below = close[1] > close[0]
            extreme, stop = (high[1], low[0]) if is_below else (low[1], high[0])
            is_first, pace = True, 0.02
        stop += pace * (extreme - stop)
        if is_below and stop > low[i]:
            is_first, is_below, stop, extreme, pace = (
                True,
                False,
                max(high[i], extreme),
                low[i],
                0.02,
            )
        elif not is_below and stop < high[i]:
            is_first, is_below, stop, extreme, pace = (
                True,
                True,
                min(low[i], extreme),
                high[i],
                0.02,
            )
        if not is_first:
            if is_below and high[i] > extreme:
                extreme, pace = high[i], min(pace + 0.02, 0.2)
            if not is_below and low[i] < extreme:
                extreme, pace = low[i], min(pace + 0.02, 0.2)
        for back in (1, 2)[: min(i, 2)]:
            stop = min(stop, low[i - back]) if is_below else max(stop, high[i - back])
        found.append(stop)
    return found


def test_the_stop_and_reverse_is_the_published_program(real):
    turned = 0
    for bars, prices, split in real:
        series = [prices[name].tolist() for name in ("high", "low", "close")]
        expected = np.array(sar_by_hand(*series)) / split
        np.testing.assert_allclose(values(bars, "P.SAR"), expected, rtol=1e-12)
        turned += int((np.diff(np.sign(expected[1:] * split[1:] - prices["close"][1:])) != 0).sum())
    assert turned > 60


def test_talib_has_mostly_the_same_stop(real):
    """It begins by the directional movement, and lets a reversal's bar count otherwise."""
    same = total = 0
    for bars, prices, split in real:
        expected = talib.SAR(prices["high"], prices["low"], 0.02, 0.2) / split
        found = values(bars, "P.SAR")
        close_ = np.isclose(found[100:], expected[100:], rtol=1e-9)
        same, total = same + int(close_.sum()), total + len(close_)
    assert same / total > 0.9


def test_a_day_of_bars_is_its_own_weighted_price():
    bars = random_walk(30, 5)
    volume = bars["volume"].to_numpy().copy()
    volume[7] = 0
    found = values(with_columns(bars, volume=volume), "VWAP")
    expected = (bars["high"].to_numpy() + bars["low"].to_numpy() + bars["close"].to_numpy()) / 3
    assert np.isnan(found[7])
    np.testing.assert_allclose(np.delete(found, 7), np.delete(expected, 7))


def test_volumes_are_in_the_bars_own_shares():
    walk = random_walk(40, 6)
    bars = with_splits(walk, {20: 4.0})
    for name, factor in (("average_volume_10d_calc", 4.0), ("relative_volume_10d_calc", 1.0)):
        found, plain = values(bars, name), values(walk, name)
        np.testing.assert_allclose(found[:20], plain[:20])
        np.testing.assert_allclose(found[20:], plain[20:] * factor)
    traded = walk["volume"].to_numpy()
    np.testing.assert_allclose(values(walk, "average_volume_10d_calc")[12], traded[3:13].mean())
    np.testing.assert_allclose(
        values(walk, "relative_volume_10d_calc")[12], traded[12] / traded[2:12].mean()
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), bars=st.integers(1, 330), gaps=st.booleans())
def test_windows_by_the_clock_are_loops_over_dates(seed: int, bars: int, gaps: bool):
    table = random_walk(bars, seed, gaps=gaps)
    opened, closed = table["timestamp"].to_pylist(), table["close_timestamp"].to_pylist()
    high, low = table["high"].to_pylist(), table["low"].to_pylist()
    first, close = table["open"].to_pylist(), table["close"].to_pylist()
    found = {name: values(table, name) for name in TREND if TREND[name].follows_clock}
    for k in range(bars):
        expected = dict.fromkeys(found, np.nan)
        year = datetime.fromtimestamp(opened[k], UTC).year
        start = next(i for i in range(k + 1) if datetime.fromtimestamp(opened[i], UTC).year == year)
        expected["Perf.YTD"] = 100 * (close[k] / first[start] - 1)
        if k:
            for name, days in (("Perf.3M", 90), ("Perf.6M", 180), ("Perf.Y", 365)):
                before = [i for i in range(k) if opened[i] < closed[k] - days * DAY] or [0]
                expected[name] = 100 * (close[k] / first[before[-1]] - 1)
            inside = [i for i in range(k + 1) if opened[i] >= closed[k] - 364 * DAY]
            inside = inside if k > 1 else [k]
            expected["price_52_week_high"] = max(high[i] for i in inside)
            expected["price_52_week_low"] = min(low[i] for i in inside)
            for name, days in (("Volatility.W", 7), ("Volatility.M", 30)):
                before = [i for i in range(k) if opened[i] <= opened[k] - days * DAY] or [0]
                rows = range(before[-1] + 1, k + 1)
                expected[name] = np.mean([(high[i] - low[i]) / low[i] * 100 for i in rows])
        for name, value in expected.items():
            # A close like that of then leaves a difference of roundings.
            np.testing.assert_allclose(
                found[name][k], value, rtol=1e-9, atol=1e-12, err_msg=f"{name} {k}"
            )


def test_a_window_over_a_missing_session_is_null():
    """Of 40 daily bars the 20th is missing: what spans it is null until it is out of the window."""
    whole = random_walk(40, 8, gaps=False)
    missing = np.zeros(39, dtype=np.int64)
    missing[20] = whole["timestamp"][20].as_py()
    kept = pa.array([row for row in range(40) if row != 20])
    left = whole.take(kept).append_column("missing_from", pa.array(missing))
    for name, days in (("Volatility.W", 7), ("price_52_week_high", 364)):
        found, plain = values(left, name), values(whole, name)
        assert np.isnan(found[20])
        inside = [row for row in range(20, 39) if row + 1 - days <= 20]
        assert np.isnan(found[inside]).all(), name
        rest = [row for row in range(21, 39) if row not in inside]
        np.testing.assert_array_equal(found[rest], plain[[row + 1 for row in rest]])


def test_every_formula_reads_as_far_back_as_it_says_and_goes_on_to_the_same_bits():
    assert plan_of(TREND.values(), {}).others == {}
