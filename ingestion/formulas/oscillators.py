"""Oscillators of price: RSI, ADX, stochastics, CCI, Williams %R, AO, MACD, Ultimate.

Matrices as in :mod:`ingestion.formulas.windows`. "scanner_data" is TradingView's public
repository of the Pine scripts behind its screener; the formulas are in its
``links/common.pine.link``.
"""

from __future__ import annotations

import numpy as np

from ingestion.catalog.formula import MONEY
from ingestion.formulas.declaration import Bars, formula, shared
from ingestion.formulas.windows import (
    Matrix,
    emas,
    highest,
    lowest,
    ratio,
    rma,
    rmas,
    rolling_sums,
    shift,
    sma,
    smas,
)

AVERAGES = (10, 20, 30, 50, 100, 200)
"""Lengths of the simple and exponential averages that vote in ``Recommend.MA``."""


@shared
def exponential_averages(bars: Bars) -> dict[int, Matrix]:
    """Return the EMAs of the close that formulas read, by length; side by side they cost least.

    Examples
    --------
    >>> rising = np.arange(1.0, 15.0)
    >>> bars = Bars(open=rising, high=rising, low=rising, close=rising, volume=rising)
    >>> exponential_averages(bars)[10][8:11].T
    array([[nan, 5.5, 6.5]])
    """
    lengths = (*AVERAGES, 12, 13, 26)
    return dict(zip(lengths, emas(bars.close, lengths), strict=True))


@shared
def true_ranges(bars: Bars) -> Matrix:
    """Return the true range of every bar but the first.

    Examples
    --------
    >>> bars = Bars(open=[8, 11], high=[9, 12], low=[7, 11], close=[8, 11.5], volume=[1, 1])
    >>> true_ranges(bars).T
    array([[nan,  4.]])
    """
    return true_range(bars.high, bars.low, bars.close)


@shared
def directions(bars: Bars) -> tuple[Matrix, Matrix]:
    """Return +DI(14) and -DI(14).

    Examples
    --------
    >>> rising = np.arange(1.0, 17.0)
    >>> bars = Bars(open=rising, high=rising, low=rising, close=rising, volume=rising)
    >>> plus, minus = directions(bars)
    >>> plus[13:].T, minus[13:].T
    (array([[ nan, 100., 100.]]), array([[nan,  0.,  0.]]))
    """
    return directional_movement(bars.high, bars.low, true_ranges(bars))


@formula(
    "RSI",
    "relative strength index, 14 bars",
    low=0,
    high=100,
    look_back=14,
    recursive=True,
    scanned=True,
)
def rsi(bars: Bars) -> Matrix:
    """Return the relative strength index of 14 bars, 0 to 100.

    Source: Pine reference, ``ta.rsi``: Wilder averages of rises and falls. No falls at all is 100,
    and that is asked first: constant prices have an RSI of 100.

    Examples
    --------
    >>> rising = [float(price) for price in range(1, 17)]
    >>> bars = Bars(**dict.fromkeys(("open", "high", "low", "close", "volume"), rising))
    >>> rsi(bars)[12:].T
    array([[ nan,  nan, 100., 100.]])
    """
    change = bars.close - shift(bars.close, 1)
    up, down = rmas([np.maximum(change, 0), np.maximum(-change, 0)], 14)
    index = 100 - 100 / (1 + ratio(up, down))
    index[down == 0] = 100
    index[np.isnan(up)] = np.nan
    return index


@formula(
    "ADX",
    "average directional index, 14 bars",
    low=0,
    high=100,
    look_back=27,  # 14 movements, then 14 indices of them
    recursive=True,
    scanned=True,
)
def directional_index(bars: Bars) -> Matrix:
    """Return the average directional index of 14 bars, 0 to 100.

    Source: scanner_data ``links/common.pine.link``, ``adx``: the Wilder average of |+DI - -DI|
    over their sum, where a sum of 0 counts as 1.
    """
    return adx(*directions(bars))


@formula(
    "AO",
    "awesome oscillator, 5 and 34 bars",
    unit=MONEY,
    look_back=33,
    scanned=True,
)
def awesome(bars: Bars) -> Matrix:
    """Return SMA(hl2, 5) - SMA(hl2, 34), in money. Source: scanner_data, ``AO``."""
    short, long = smas((bars.high + bars.low) / 2, (5, 34))
    return short - long


@formula("CCI20", "commodity channel index of hlc3, 20 bars", look_back=19, scanned=True)
def cci(bars: Bars) -> Matrix:
    """Return the commodity channel index of 20 bars, unbounded.

    Source: scanner_data, ``CCI20`` = ``ta.cci(hlc3, 20)``: distance from the SMA in units of 0.015
    mean absolute deviations. Undefined where the deviation is 0.
    """
    n = 20
    price = (bars.high + bars.low + bars.close) / 3
    mean = sma(price, n)
    deviation = np.abs(price - mean)
    for back in range(1, n):
        deviation += np.abs(shift(price, back) - mean)
    return ratio(price - mean, 0.015 * (deviation / n))


def stochastic(close: Matrix, high: Matrix, low: Matrix, n: int) -> Matrix:
    """Return where the close lies in the range of the last ``n`` bars, 0 to 100.

    Source: Pine reference, ``ta.stoch``. Undefined where the range is 0: the quotient is 0 / 0.

    Examples
    --------
    >>> high, low = np.array([[9.0], [12.0]]), np.array([[7.0], [11.0]])
    >>> stochastic(np.array([[8.0], [11.0]]), high, low, 2).T
    array([[nan, 80.]])
    """
    floor = lowest(low, n)
    # The quotient first: it is at most 1, so that rounding cannot lift the result above 100.
    return 100 * ratio(close - floor, highest(high, n) - floor)


def smoothed_stochastic(
    close: Matrix, high: Matrix, low: Matrix, n: int, smooth_k: int = 3, smooth_d: int = 3
) -> tuple[Matrix, Matrix]:
    """Return %K = SMA(stochastic(n), smooth_k) and %D = SMA(%K, smooth_d), each 0 to 100.

    Source: scanner_data, ``Stoch.K`` and ``Stoch.D`` (14, 3, 3). Undefined where one of the
    averaged values is.

    Examples
    --------
    >>> rising = np.arange(1.0, 11.0)[:, None]
    >>> k, d = smoothed_stochastic(rising, rising, rising, 3)
    >>> k[3:6].T, d[5:8].T
    (array([[ nan, 100., 100.]]), array([[ nan, 100., 100.]]))
    """
    k = sma(stochastic(close, high, low, n), smooth_k)
    return k, sma(k, smooth_d)


@shared
def stochastics(bars: Bars) -> tuple[Matrix, Matrix]:
    """Return %K and %D of 14, 3 and 3 bars.

    Examples
    --------
    >>> rising = np.arange(1.0, 20.0)
    >>> bars = Bars(open=rising, high=rising, low=rising, close=rising, volume=rising)
    >>> stochastics(bars)[0][14:17].T
    array([[ nan, 100., 100.]])
    """
    return smoothed_stochastic(bars.close, bars.high, bars.low, 14)


@formula(
    "Stoch.K",
    "stochastic %K 14, 3",
    unit="%",
    low=0,
    high=100,
    look_back=15,  # 14 bars, then 3 of their places
    scanned=True,
)
def stochastic_k(bars: Bars) -> Matrix:
    """Return %K: the mean of 3 of the close's places in the range of 14 bars, 0 to 100.

    Source: scanner_data, ``Stoch.K``; see :func:`smoothed_stochastic`.
    """
    return stochastics(bars)[0]


@formula(
    "Stoch.D",
    "stochastic %D 14, 3, 3",
    unit="%",
    low=0,
    high=100,
    look_back=17,
    scanned=True,
)
def stochastic_d(bars: Bars) -> Matrix:
    """Return %D: the mean of the last 3 values of %K, 0 to 100.

    Source: scanner_data, ``Stoch.D``; see :func:`smoothed_stochastic`.
    """
    return stochastics(bars)[1]


@formula(
    "MACD.macd",
    "EMA 12 − EMA 26 of close",
    unit=MONEY,
    look_back=25,
    recursive=True,
    scanned=True,
)
def macd(bars: Bars) -> Matrix:
    """Return EMA(12) - EMA(26) of the close, in money. Source: scanner_data, ``MACD.macd``."""
    averages = exponential_averages(bars)
    return averages[12] - averages[26]


@formula(
    "MACD.signal",
    "EMA 9 of MACD.macd",
    unit=MONEY,
    look_back=33,  # EMA(26), then 9 of its differences
    recursive=True,
    scanned=True,
)
def macd_signal(bars: Bars) -> Matrix:
    """Return EMA(9) of the MACD, in money. Source: scanner_data, ``MACD.signal``."""
    return emas(macd(bars), (9,))[0]


def stochastic_rsi(index: Matrix) -> tuple[Matrix, Matrix]:
    """Return %K and %D of the RSI's place in its own range of 14 bars, each 0 to 100.

    Source: scanner_data, ``Stoch.RSI.K``. ``index`` is RSI(14).

    Examples
    --------
    >>> rising = np.arange(40.0, 60.0)[:, None]
    >>> k, d = stochastic_rsi(rising)
    >>> k[14:17].T, d[16:19].T
    (array([[ nan, 100., 100.]]), array([[ nan, 100., 100.]]))
    """
    return smoothed_stochastic(index, index, index, 14)


def williams_r(close: Matrix, high: Matrix, low: Matrix, n: int = 14) -> Matrix:
    """Return Williams %R, -100 to 0; undefined where the range is 0. Source: scanner_data.

    Examples
    --------
    >>> rising = np.arange(1.0, 16.0)[:, None]
    >>> williams_r(rising - 0.5, rising, rising - 1)[12:].T
    array([[        nan, -3.57142857, -3.57142857]])
    """
    ceiling = highest(high, n)
    return -100 * ratio(ceiling - close, ceiling - lowest(low, n))


def momentum(close: Matrix, n: int = 10) -> Matrix:
    """Return close - close n bars ago, in the unit of price. Source: scanner_data, ``Mom``.

    Examples
    --------
    >>> momentum(np.arange(1.0, 13.0)[:, None])[9:].T
    array([[nan, 10., 10.]])
    """
    return close - shift(close, n)


def ultimate(
    close: Matrix, low: Matrix, true_range: Matrix, lengths: tuple[int, int, int] = (7, 14, 28)
) -> Matrix:
    """Return the ultimate oscillator, 0 to 100.

    Source: scanner_data, ``UO``: buying pressure over true range in three windows, weighted 4, 2
    and 1. ``true_range`` is undefined on the first bar. Undefined where one window has no range at
    all.

    Examples
    --------
    >>> rising = np.arange(1.0, 31.0)[:, None]
    >>> ultimate(rising, rising, rising - shift(rising, 1))[27:].T
    array([[ nan, 100., 100.]])
    """
    pressure = close - np.fmin(shift(close, 1), low)
    bought = rolling_sums(pressure, lengths)
    ranged = rolling_sums(true_range, lengths)
    weights = [lengths[2] / n for n in lengths]
    parts = [w * ratio(b, r) for w, b, r in zip(weights, bought, ranged, strict=True)]
    return 100 * ((parts[0] + parts[1] + parts[2]) / sum(weights))


def true_range(high: Matrix, low: Matrix, close: Matrix) -> Matrix:
    """Return the larger of the bar's range and its reach from the previous close.

    Source: Pine reference, ``ta.tr``. Undefined on the first bar, which has no previous close.

    Examples
    --------
    >>> high, low = np.array([[9.0], [12.0]]), np.array([[7.0], [11.0]])
    >>> true_range(high, low, close=np.array([[8.0], [11.5]])).T
    array([[nan,  4.]])
    """
    before = shift(close, 1)
    return np.maximum(high - low, np.maximum(np.abs(high - before), np.abs(low - before)))


def directional_movement(
    high: Matrix, low: Matrix, ranged: Matrix, n: int = 14
) -> tuple[Matrix, Matrix]:
    """Return +DI and -DI, each 0 to 100, from bar n on.

    Source: scanner_data ``links/common.pine.link``, ``dirmov``: Wilder averages of the movements
    over that of the true range ``ranged``, each seeded from the second bar on, where a movement
    exists. Undefined until there was a range; Pine's ``fixnan`` has nothing to fix after that,
    for an average of ranges that was once above 0 stays above 0.

    Examples
    --------
    >>> rising = np.arange(10.0, 30.0)[:, None]
    >>> ranged = true_range(rising + 1, rising, rising)
    >>> plus, minus = directional_movement(rising + 1, rising, ranged)
    >>> plus[12:16].T, minus[12:16].T
    (array([[nan, nan, 50., 50.]]), array([[nan, nan,  0.,  0.]]))
    """
    up = high - shift(high, 1)
    down = shift(low, 1) - low
    exists = np.where(np.isnan(up), np.nan, 0.0)
    rise = np.where((up > down) & (up > 0), up, exists)
    fall = np.where((down > up) & (down > 0), down, exists)
    rise_average, fall_average, range_average = rmas([rise, fall, ranged], n)
    plus = 100 * ratio(rise_average, range_average)
    minus = 100 * ratio(fall_average, range_average)
    return plus, minus


def adx(plus: Matrix, minus: Matrix, n: int = 14) -> Matrix:
    """Return the average directional index, 0 to 100, from bar 2n - 1 on.

    Source: scanner_data ``links/common.pine.link``, ``adx``: the Wilder average of |+DI - -DI|
    over their sum, where a sum of 0 counts as 1.

    Examples
    --------
    >>> one_way = np.full((16, 1), 50.0)
    >>> adx(one_way, 0 * one_way)[12:15].T
    array([[ nan, 100., 100.]])
    """
    total = plus + minus
    return 100 * rma(ratio(np.abs(plus - minus), np.where(total == 0, 1.0, total)), n)
