"""Technical Ratings: one function per vote, and the mean of the votes.

Source: scanner_data ``links/common.pine.link`` by the rule set :data:`RULES`: the directional vote
needs no cross, and the stochastic vote reads (8, 3, 3) although the ``Stoch.K`` column is
(14, 3, 3). Matrices as in :mod:`ingestion.formulas.windows`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingestion.catalog.formula import RuleSet
from ingestion.formulas import oscillators
from ingestion.formulas.declaration import BarFormula, Bars, formula
from ingestion.formulas.windows import Matrix, hma, ratio, shift, smas, vwma

Mask = NDArray[np.bool_]

RULES = RuleSet(
    "2024-12-26",
    since=date(2024, 12, 26),
    source="scanner_data, commit 5f44e167",
)
"""TradingView has changed its rules under unchanged names five times; each date is that of the
public commit, and the scanner may have followed later."""
OSCILLATOR_RULES = replace(
    RULES,
    differs="the source of 2025-06-23 also counts the stochastic RSI's and the bull-bear vote of a "
    "symbol's first 49 bars",
)


class Vote(NamedTuple):
    """One member's opinion, shape (bars, symbols)."""

    value: NDArray[np.int8]
    """1 buy, -1 sell, 0 neutral or undefined."""
    defined: Mask
    """Whether all that the member reads is defined; where not, it leaves the denominator."""
    reads: tuple[Matrix, ...] = ()
    """What decides it."""


@formula(
    "Recommend.All",
    "technical rating, mean of the next two",
    low=-1,
    high=1,
    look_back=199,
    recursive=True,
    warm_up=11,
    scanned=True,
    rules=OSCILLATOR_RULES,
)
def recommendation(bars: Bars) -> Matrix:
    """Return the mean of the two ratings, -1 to 1.

    Source: scanner_data ``links/common.pine.link``.
    """
    return (average_rating(bars) + oscillator_rating(bars)) / 2


@formula(
    "Recommend.MA",
    "moving-average rating, mean of up to 15 votes",
    low=-1,
    high=1,
    look_back=199,  # SMA(200) and EMA(200)
    recursive=True,
    warm_up=9,
    scanned=True,
    rules=RULES,
)
def average_rating(bars: Bars) -> Matrix:
    """Return the mean of the votes of 15 moving averages, -1 to 1.

    Source: scanner_data ``links/common.pine.link``: SMA and EMA of 10 to 200 bars, Hull's average
    of 9, the volume-weighted one of 20, and Ichimoku's lines.
    """
    return rating(vote for _, vote in average_votes(bars))


def average_votes(bars: Bars) -> Iterator[tuple[str, Vote]]:
    """Yield the members of ``Recommend.MA``, each with its name.

    Examples
    --------
    >>> rising = np.arange(300.0)
    >>> bars = Bars(**dict.fromkeys(("open", "high", "low", "close", "volume"), rising))
    >>> {name: int(vote.value[-1, 0]) for name, vote in average_votes(bars)}["SMA200"]
    1
    """
    exponential = oscillators.exponential_averages(bars)
    lengths = oscillators.AVERAGES
    for n, average in zip(lengths, smas(bars.close, lengths), strict=True):
        yield f"SMA{n}", average_vote(bars.close, average)
    for n in lengths:
        yield f"EMA{n}", average_vote(bars.close, exponential[n])
    yield "HullMA9", average_vote(bars.close, hma(bars.close, 9))
    yield "VWMA", average_vote(bars.close, vwma(bars.close, bars.volume, 20))
    yield "Ichimoku", ichimoku_vote(bars.close)


@formula(
    "Recommend.Other",
    "oscillator rating, mean of up to 11 votes",
    low=-1,
    high=1,
    look_back=49,  # EMA(50), of the stochastic RSI's and the bull-bear vote
    recursive=True,
    warm_up=11,
    scanned=True,
    rules=OSCILLATOR_RULES,
)
def oscillator_rating(bars: Bars) -> Matrix:
    """Return the mean of the votes of 11 oscillators, -1 to 1.

    Source: scanner_data ``links/common.pine.link``.
    """
    return rating(vote for _, vote in oscillator_votes(bars))


def oscillator_votes(bars: Bars) -> Iterator[tuple[str, Vote]]:
    """Yield the members of ``Recommend.Other``, each with its name.

    Examples
    --------
    >>> rising = np.arange(100.0)
    >>> bars = Bars(**dict.fromkeys(("open", "high", "low", "close", "volume"), rising))
    >>> [name for name, vote in oscillator_votes(bars) if vote.value[-1, 0] == 1]
    ['UO']
    """
    high, low, close = bars.high, bars.low, bars.close
    averages = oscillators.exponential_averages(bars)
    rsi = oscillators.rsi(bars)
    yield "RSI", rsi_vote(rsi)
    yield "Stoch", stochastic_vote(*oscillators.smoothed_stochastic(close, high, low, 8))
    yield "CCI20", cci_vote(oscillators.cci(bars))
    yield "ADX", adx_vote(oscillators.directional_index(bars), *oscillators.directions(bars))
    yield "AO", awesome_vote(oscillators.awesome(bars))
    yield "Mom", momentum_vote(oscillators.momentum(close))
    yield "MACD", macd_vote(oscillators.macd(bars), oscillators.macd_signal(bars))
    yield "Stoch.RSI", stochastic_rsi_vote(close, averages[50], *oscillators.stochastic_rsi(rsi))
    yield "W.R", williams_vote(oscillators.williams_r(close, high, low))
    bull, bear = high - averages[13], low - averages[13]
    yield "BBPower", bull_bear_vote(close, averages[50], bull, bear)
    yield "UO", ultimate_vote(oscillators.ultimate(close, low, oscillators.true_ranges(bars)))


Votes = Callable[[Bars], Iterator[tuple[str, Vote]]]

RATINGS: Mapping[BarFormula, Votes] = {
    average_rating: average_votes,
    oscillator_rating: oscillator_votes,
}
"""The formulas that are a mean of votes, and their votes."""


def rating(votes: Iterable[Vote]) -> Matrix:
    """Return the mean of the defined votes, -1 to 1; undefined where no vote is defined.

    Examples
    --------
    >>> buys = Vote(np.array([[1], [1]], np.int8), np.array([[True], [True]]))
    >>> sells = Vote(np.array([[-1], [0]], np.int8), np.array([[True], [False]]))
    >>> rating([buys, sells]).T
    array([[0., 1.]])
    """
    following = iter(votes)
    first = next(following)
    total, count = first.value.copy(), first.defined.astype(np.int8)
    for vote in following:
        total += vote.value
        count += vote.defined.view(np.int8)
    return ratio(total.astype(np.float64), count.astype(np.float64))


def _vote(buy: Mask, sell: Mask, *reads: Matrix) -> Vote:
    defined = ~np.isnan(reads[0])
    for matrix in reads[1:]:
        defined &= ~np.isnan(matrix)
    return Vote((buy & defined).view(np.int8) - (sell & defined).view(np.int8), defined, reads)


def average_vote(close: Matrix, average: Matrix) -> Vote:
    """Buy while the close is above a moving average, sell below, neutral at it.

    Examples
    --------
    >>> average_vote(np.array([[9.0], [7.0], [8.0]]), np.full((3, 1), 8.0)).value.T
    array([[ 1, -1,  0]], dtype=int8)
    """
    return _vote(close > average, close < average, close, average)


def ichimoku_vote(close: Matrix) -> Vote:
    """Never buy and never sell, but count from bar 51 on, where all lines are defined.

    TradingView's rule asks for base > lead 1 and conversion > base, or the mirror of it. It reads
    lead 1 undisplaced, as the mean of conversion and base, which lies between the two: no bar can
    pass.

    Examples
    --------
    >>> ichimoku_vote(np.ones((53, 1))).defined[50:].T
    array([[False,  True,  True]])
    """
    neutral = np.zeros(close.shape, dtype=np.bool_)
    return _vote(neutral, neutral, shift(close, 51))


def rsi_vote(rsi: Matrix) -> Vote:
    """Buy below 30 and rising, sell above 70 and falling.

    Examples
    --------
    >>> rsi_vote(np.array([[20.0], [25.0], [80.0], [75.0]])).value.T
    array([[ 0,  1,  0, -1]], dtype=int8)
    """
    before = shift(rsi, 1)
    return _vote((rsi < 30) & (rsi > before), (rsi > 70) & (rsi < before), rsi, before)


def stochastic_vote(k: Matrix, d: Matrix) -> Vote:
    """Buy while both are below 20 and %K leads up, sell above 80 and %K leads down.

    Examples
    --------
    >>> stochastic_vote(np.array([[15.0], [85.0]]), np.array([[10.0], [90.0]])).value.T
    array([[ 1, -1]], dtype=int8)
    """
    low, high = (k < 20) & (d < 20), (k > 80) & (d > 80)
    return _vote(low & (k > d), high & (k < d), k, d)


def cci_vote(cci: Matrix) -> Vote:
    """Buy below -100 and rising, sell above 100 and falling.

    Examples
    --------
    >>> cci_vote(np.array([[-150.0], [-120.0], [150.0], [120.0]])).value.T
    array([[ 0,  1,  0, -1]], dtype=int8)
    """
    before = shift(cci, 1)
    return _vote((cci < -100) & (cci > before), (cci > 100) & (cci < before), cci, before)


def adx_vote(adx: Matrix, plus: Matrix, minus: Matrix) -> Vote:
    """Follow the leading direction while ADX is above 20 and rising.

    Examples
    --------
    >>> adx, one, other = np.array([[25.0], [30.0]]), np.full((2, 1), 40.0), np.full((2, 1), 10.0)
    >>> adx_vote(adx, one, other).value.T, adx_vote(adx, other, one).value.T
    (array([[0, 1]], dtype=int8), array([[ 0, -1]], dtype=int8))
    """
    before = shift(adx, 1)
    trending = (adx > 20) & (adx > before)
    return _vote(trending & (plus > minus), trending & (plus < minus), adx, before, plus, minus)


def awesome_vote(ao: Matrix) -> Vote:
    """Buy on a cross above 0 or a saucer above 0, sell on the mirror of it.

    The saucer reads one bar more than the cross; on the first bar of both there is none yet.

    Examples
    --------
    >>> awesome_vote(np.array([[-1.0], [1.0], [-1.0]])).value.T
    array([[ 0,  1, -1]], dtype=int8)
    """
    before, earlier = shift(ao, 1), shift(ao, 2)
    rises = (ao > 0) & (before <= 0)
    falls = (ao < 0) & (before >= 0)
    rebounds = (ao > 0) & (before > 0) & (ao > before) & (earlier > before)
    relapses = (ao < 0) & (before < 0) & (ao < before) & (earlier < before)
    return _vote(rises | rebounds, falls | relapses, ao, before)


def momentum_vote(momentum: Matrix) -> Vote:
    """Buy while momentum rises, sell while it falls.

    Examples
    --------
    >>> momentum_vote(np.array([[1.0], [2.0], [1.0]])).value.T
    array([[ 0,  1, -1]], dtype=int8)
    """
    before = shift(momentum, 1)
    return _vote(momentum > before, momentum < before, momentum, before)


def macd_vote(macd: Matrix, signal: Matrix) -> Vote:
    """Buy while MACD is above its signal, sell below.

    Examples
    --------
    >>> macd_vote(np.array([[1.0], [2.0]]), np.array([[2.0], [1.0]])).value.T
    array([[-1,  1]], dtype=int8)
    """
    return _vote(macd > signal, macd < signal, macd, signal)


def stochastic_rsi_vote(close: Matrix, trend: Matrix, k: Matrix, d: Matrix) -> Vote:
    """Buy an oversold turn in a downtrend, sell an overbought turn in an uptrend.

    ``trend`` is EMA(50) of the close, ``k`` and ``d`` those of the stochastic RSI.

    Examples
    --------
    >>> close, trend = np.array([[8.0], [12.0]]), np.full((2, 1), 10.0)
    >>> k, d = np.array([[15.0], [85.0]]), np.array([[10.0], [90.0]])
    >>> stochastic_rsi_vote(close, trend, k, d).value.T
    array([[ 1, -1]], dtype=int8)
    """
    buy = (close < trend) & (k < 20) & (d < 20) & (k > d)
    sell = (close > trend) & (k > 80) & (d > 80) & (k < d)
    return _vote(buy, sell, close, trend, k, d)


def williams_vote(percent_r: Matrix) -> Vote:
    """Buy below -80 and rising, sell above -20 and falling.

    Examples
    --------
    >>> williams_vote(np.array([[-90.0], [-85.0], [-10.0], [-15.0]])).value.T
    array([[ 0,  1,  0, -1]], dtype=int8)
    """
    before = shift(percent_r, 1)
    buy = (percent_r < -80) & (percent_r > before)
    sell = (percent_r > -20) & (percent_r < before)
    return _vote(buy, sell, percent_r, before)


def bull_bear_vote(close: Matrix, trend: Matrix, bull: Matrix, bear: Matrix) -> Vote:
    """Buy a weakening bear in an uptrend, sell a weakening bull in a downtrend.

    ``trend`` is EMA(50) of the close; bull and bear power are high and low less EMA(13).

    Examples
    --------
    >>> close, trend = np.full((2, 1), 12.0), np.full((2, 1), 10.0)
    >>> bull, bear = np.array([[3.0], [3.0]]), np.array([[-2.0], [-1.0]])
    >>> bull_bear_vote(close, trend, bull, bear).value.T
    array([[0, 1]], dtype=int8)
    """
    bull_before, bear_before = shift(bull, 1), shift(bear, 1)
    buy = (close > trend) & (bear < 0) & (bear > bear_before)
    sell = (close < trend) & (bull > 0) & (bull < bull_before)
    return _vote(buy, sell, close, trend, bull, bull_before, bear, bear_before)


def ultimate_vote(ultimate: Matrix) -> Vote:
    """Buy above 70, sell below 30.

    Examples
    --------
    >>> ultimate_vote(np.array([[75.0], [50.0], [25.0]])).value.T
    array([[ 1,  0, -1]], dtype=int8)
    """
    return _vote(ultimate > 70, ultimate < 30, ultimate)
