"""The seventeen features of a block of bars.

1. Splits are adjusted forward: prices are put into the money of the symbol's first bar, by the
product
   of all split ratios up to the bar itself. What happens later cannot reach back.
2. The formulas run on the adjusted bars (:mod:`~ingestion.formulas.oscillators`,
   :mod:`~ingestion.formulas.directional`, :mod:`~ingestion.formulas.returns`,
   :mod:`~ingestion.formulas.ratings`).
3. What is measured in money is divided by the same product: it is again in the money of its own
   day.
4. Values whose window spans a missing session are taken out (:mod:`~ingestion.formulas.reach`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ingestion.formulas import oscillators, ratings
from ingestion.formulas.directional import adx, directional_movement, true_range
from ingestion.formulas.panel import Block
from ingestion.formulas.reach import DAYS_BACK, without_gaps
from ingestion.formulas.returns import (
    daily_volatility,
    performance,
    sample_deviation,
    simple_return,
)
from ingestion.formulas.windows import Matrix, emas, hma, smas, vwma

FEATURES = (
    "returns_1d",
    "volatility_20d",
    "momentum_60d",
    "Recommend.All",
    "Recommend.MA",
    "Recommend.Other",
    "RSI",
    "ADX",
    "AO",
    "CCI20",
    "Stoch.K",
    "Stoch.D",
    "MACD.macd",
    "MACD.signal",
    "Volatility.D",
    "Perf.W",
    "Perf.1M",
)
"""The feature columns, in the order of the result."""

AVERAGES = (10, 20, 30, 50, 100, 200)
"""Lengths of the simple and exponential averages that vote in ``Recommend.MA``."""


def compute_block(block: Block) -> dict[str, Matrix]:
    """Return the matrix of each of :data:`FEATURES`; undefined values are NaN or infinite."""
    # Prices near the limits of a double overflow; what comes of it is not finite, and so undefined.
    with np.errstate(over="ignore", invalid="ignore"):
        values = _compute(block)
    if block.missing_from is None:
        return values
    return without_gaps(values, block.missing_from)


def _compute(block: Block) -> dict[str, Matrix]:
    split = np.cumprod(block.split_ratio, axis=0)
    open_, high, low, close = (
        price * split for price in (block.open, block.high, block.low, block.close)
    )
    volume = block.volume / split

    ranged = true_range(high, low, close)
    plus, minus = directional_movement(high, low, ranged)
    trend_strength = adx(plus, minus)
    *exponential, ema12, ema13, ema26 = emas(close, (*AVERAGES, 12, 13, 26))
    ema50 = exponential[AVERAGES.index(50)]
    rsi = oscillators.rsi(close)
    cci = oscillators.cci((high + low + close) / 3)
    ao = oscillators.awesome(high, low)
    macd, signal = oscillators.macd(ema12, ema26)
    stoch_k, stoch_d = oscillators.smoothed_stochastic(close, high, low, 14)
    daily_return = simple_return(close, 1)

    def average_votes() -> Iterator[ratings.Vote]:
        for average in (*smas(close, AVERAGES), *exponential):
            yield ratings.average_vote(close, average)
        yield ratings.average_vote(close, hma(close, 9))
        yield ratings.average_vote(close, vwma(close, volume, 20))
        yield ratings.ichimoku_vote(close)

    def oscillator_votes() -> Iterator[ratings.Vote]:
        yield ratings.rsi_vote(rsi)
        yield ratings.stochastic_vote(*oscillators.smoothed_stochastic(close, high, low, 8))
        yield ratings.cci_vote(cci)
        yield ratings.adx_vote(trend_strength, plus, minus)
        yield ratings.awesome_vote(ao)
        yield ratings.momentum_vote(oscillators.momentum(close))
        yield ratings.macd_vote(macd, signal)
        yield ratings.stochastic_rsi_vote(close, ema50, *oscillators.stochastic_rsi(rsi))
        yield ratings.williams_vote(oscillators.williams_r(close, high, low))
        yield ratings.bull_bear_vote(close, ema50, high - ema13, low - ema13)
        yield ratings.ultimate_vote(oscillators.ultimate(close, low, ranged))

    recommend_ma = ratings.rating(average_votes())
    recommend_other = ratings.rating(oscillator_votes())
    return {
        "returns_1d": daily_return,
        "volatility_20d": sample_deviation(daily_return, 20),
        "momentum_60d": simple_return(close, 60),
        "Recommend.All": (recommend_ma + recommend_other) / 2,
        "Recommend.MA": recommend_ma,
        "Recommend.Other": recommend_other,
        "RSI": rsi,
        "ADX": trend_strength,
        "AO": ao / split,
        "CCI20": cci,
        "Stoch.K": stoch_k,
        "Stoch.D": stoch_d,
        "MACD.macd": macd / split,
        "MACD.signal": signal / split,
        "Volatility.D": daily_volatility(high, low, ranged),
        **{
            name: performance(open_, close, block.opened, block.closed, days, block.missing_from)
            for name, days in DAYS_BACK.items()
        },
    }
