"""TA-Lib as a second oracle, on all real bars of the sample.

It seeds three formulas otherwise than TradingView does. Those are compared from the bar on which
less than 1e-8 is left of the difference:

- the directional lines have a bar less in their first sum, and the index is smoothed from them;
- ``MACD`` starts its fast average with the slow one, 14 bars late; its parts agree from the start;
- ``STOCH`` publishes both lines only where the second is defined.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import talib
from local_bars import column

from ingestion.formulas import FEATURES, compute_local_features
from ingestion.formulas.oscillators import (
    directional_movement,
    momentum,
    stochastic_rsi,
    true_range,
    ultimate,
    williams_r,
)
from ingestion.formulas.windows import ema, hma, sma

SAMPLE = Path(__file__).resolve().parent.parent.parent / "data" / "sample" / "bars.parquet"
MACD_FADED, LINES_FADED, ADX_FADED = 200, 280, 340


class Series(NamedTuple):
    """One symbol's bars in the money of its first, as a library has to be given them."""

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    split: np.ndarray
    features: dict[str, np.ndarray]

    def matrices(self) -> list[np.ndarray]:
        """High, low and close in the shape that the formulas take."""
        return [price[:, None] for price in (self.high, self.low, self.close)]


@pytest.fixture(scope="module")
def symbols() -> list[Series]:
    bars = pq.read_table(SAMPLE).sort_by([("symbol", "ascending"), ("timestamp", "ascending")])
    features = compute_local_features(bars)
    found = []
    for symbol in bars["symbol"].unique().to_pylist():
        own = pc.equal(bars["symbol"], symbol)
        rows, computed = bars.filter(own), features.filter(own)
        split = np.cumprod(rows["split_ratio"].to_numpy())
        prices = [rows[name].to_numpy() * split for name in ("open", "high", "low", "close")]
        found.append(Series(*prices, split, {name: column(computed, name) for name in FEATURES}))
    assert len(found) == 60
    assert sum(series.split[-1] != 1 for series in found) == 5
    return found


def assert_same(found: np.ndarray, expected: np.ndarray, first: int = 0) -> None:
    """Equal to 1e-8 from a bar on, and undefined on the same bars."""
    assert len(found) > first + 50
    np.testing.assert_allclose(found[first:], expected[first:], rtol=1e-8, atol=1e-8)


def difference_of_averages(s: Series) -> np.ndarray:
    return talib.EMA(s.close, 12) - talib.EMA(s.close, 26)


def signal(s: Series) -> np.ndarray:
    """TA-Lib counts from the first value, so the undefined bars are cut off and put back."""
    return np.r_[np.full(25, np.nan), talib.EMA(difference_of_averages(s)[25:], 9)]


def stochastic(high: np.ndarray, low: np.ndarray, close: np.ndarray) -> tuple[np.ndarray, ...]:
    return talib.STOCH(high, low, close, 14, 3, 0, 3, 0)


def awesome(s: Series) -> np.ndarray:
    middle = talib.MEDPRICE(s.high, s.low)
    return talib.SMA(middle, 5) - talib.SMA(middle, 34)


def deviation(s: Series) -> np.ndarray:
    """TA-Lib divides by n, and the first bar has no return."""
    returns = talib.ROCP(s.close, 1)[1:]
    return np.r_[np.nan, talib.STDDEV(returns, 20) * np.sqrt(20 / 19)]


def volatility(s: Series) -> np.ndarray:
    return 100 * talib.TRANGE(s.high, s.low, s.close) / s.low


ORACLES: dict[str, tuple[Callable[[Series], np.ndarray], int]] = {
    "returns_1d": (lambda s: talib.ROCP(s.close, 1), 0),
    "volatility_20d": (deviation, 0),
    "momentum_60d": (lambda s: talib.ROCP(s.close, 60), 0),
    "RSI": (lambda s: talib.RSI(s.close, 14), 0),
    "ADX": (lambda s: talib.ADX(s.high, s.low, s.close, 14), ADX_FADED),
    "AO": (lambda s: awesome(s) / s.split, 0),
    "CCI20": (lambda s: talib.CCI(s.high, s.low, s.close, 20), 0),
    "Stoch.K": (lambda s: stochastic(s.high, s.low, s.close)[0], 17),
    "Stoch.D": (lambda s: stochastic(s.high, s.low, s.close)[1], 0),
    "MACD.macd": (lambda s: difference_of_averages(s) / s.split, 0),
    "MACD.signal": (lambda s: signal(s) / s.split, 0),
    "Volatility.D": (volatility, 1),
}
"""By feature: TA-Lib's values, and the bar from which they are comparable."""


def test_only_ratings_and_performance_have_no_counterpart() -> None:
    without = set(FEATURES) - set(ORACLES)
    assert without == {
        *("Recommend.All", "Recommend.MA", "Recommend.Other"),
        *("Perf.W", "Perf.1M"),
    }


@pytest.mark.parametrize("feature", ORACLES)
def test_feature_equals_that_of_talib(symbols: list[Series], feature: str) -> None:
    by_talib, first = ORACLES[feature]
    for series in symbols:
        assert_same(series.features[feature], by_talib(series), first)


def test_convergence_equals_talibs_own_once_its_seed_has_faded(symbols: list[Series]) -> None:
    for s in symbols:
        macd, smoothed, _ = talib.MACD(s.close, 12, 26, 9)
        assert_same(s.features["MACD.macd"] * s.split, macd, MACD_FADED)
        assert_same(s.features["MACD.signal"] * s.split, smoothed, MACD_FADED)


def test_directional_lines_and_true_range_equal_those_of_talib(symbols: list[Series]) -> None:
    for s in symbols:
        high, low, close = s.matrices()
        ranged = true_range(high, low, close)
        plus, minus = directional_movement(high, low, ranged)
        assert_same(ranged[:, 0], talib.TRANGE(s.high, s.low, s.close))
        assert_same(plus[:, 0], talib.PLUS_DI(s.high, s.low, s.close, 14), LINES_FADED)
        assert_same(minus[:, 0], talib.MINUS_DI(s.high, s.low, s.close, 14), LINES_FADED)


def test_what_votes_in_the_ratings_equals_that_of_talib(symbols: list[Series]) -> None:
    for s in symbols:
        high, low, close = s.matrices()
        for n in (10, 20, 30, 50, 100, 200):
            assert_same(sma(close, n)[:, 0], talib.SMA(s.close, n))
            assert_same(ema(close, n)[:, 0], talib.EMA(s.close, n))
        raw = (2 * talib.WMA(s.close, 4) - talib.WMA(s.close, 9))[8:]
        assert_same(hma(close, 9)[:, 0], np.r_[np.full(8, np.nan), talib.WMA(raw, 3)])
        assert_same(momentum(close)[:, 0], talib.MOM(s.close, 10))
        assert_same(williams_r(close, high, low)[:, 0], talib.WILLR(s.high, s.low, s.close, 14))
        ours = ultimate(close, low, true_range(high, low, close))
        assert_same(ours[:, 0], talib.ULTOSC(s.high, s.low, s.close, 7, 14, 28))
        k, d = stochastic_rsi(s.features["RSI"][:, None])
        rsi = talib.RSI(s.close, 14)[14:]
        for line, by_talib in zip((k, d), stochastic(rsi, rsi, rsi), strict=True):
            assert_same(line[14:, 0], by_talib, 17)
