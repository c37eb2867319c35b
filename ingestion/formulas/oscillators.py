"""Oscillators of price: RSI, stochastics, CCI, Williams %R, AO, MACD, Ultimate.

Matrices as in :mod:`ingestion.formulas.windows`. "scanner_data" is TradingView's public
repository of the Pine scripts behind its screener; the formulas are in its
``links/common.pine.link``.
"""

from __future__ import annotations

import numpy as np

from ingestion.formulas.windows import (
    Matrix,
    emas,
    highest,
    lowest,
    ratio,
    rmas,
    rolling_sums,
    shift,
    sma,
    smas,
)


def rsi(close: Matrix, n: int = 14) -> Matrix:
    """Return the relative strength index, 0 to 100, from bar n on (counted from 0).

    Source: Pine reference, ``ta.rsi``: Wilder averages of rises and falls. No falls at all is 100,
    and that is asked first: constant prices have an RSI of 100.
    """
    change = close - shift(close, 1)
    up, down = rmas([np.maximum(change, 0), np.maximum(-change, 0)], n)
    index = 100 - 100 / (1 + ratio(up, down))
    index[down == 0] = 100
    index[np.isnan(up)] = np.nan
    return index


def stochastic(close: Matrix, high: Matrix, low: Matrix, n: int) -> Matrix:
    """Return where the close lies in the range of the last ``n`` bars, 0 to 100.

    Source: Pine reference, ``ta.stoch``. Undefined where the range is 0: the quotient is 0 / 0.
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
    """
    k = sma(stochastic(close, high, low, n), smooth_k)
    return k, sma(k, smooth_d)


def stochastic_rsi(index: Matrix) -> tuple[Matrix, Matrix]:
    """Return %K and %D of the RSI's place in its own range of 14 bars, each 0 to 100.

    Source: scanner_data, ``Stoch.RSI.K``. ``index`` is RSI(14).
    """
    return smoothed_stochastic(index, index, index, 14)


def cci(price: Matrix, n: int = 20) -> Matrix:
    """Return the commodity channel index of ``price``, unbounded.

    Source: scanner_data, ``CCI20`` = ``ta.cci(hlc3, 20)``: distance from the SMA in units of 0.015
    mean absolute deviations. Undefined where the deviation is 0.
    """
    mean = sma(price, n)
    deviation = np.abs(price - mean)
    for back in range(1, n):
        deviation[back:] += np.abs(price[:-back] - mean[back:])
    return ratio(price - mean, 0.015 * (deviation / n))


def williams_r(close: Matrix, high: Matrix, low: Matrix, n: int = 14) -> Matrix:
    """Return Williams %R, -100 to 0; undefined where the range is 0. Source: scanner_data."""
    ceiling = highest(high, n)
    return -100 * ratio(ceiling - close, ceiling - lowest(low, n))


def awesome(high: Matrix, low: Matrix, fast: int = 5, slow: int = 34) -> Matrix:
    """Return SMA(hl2, fast) - SMA(hl2, slow), in money. Source: scanner_data, ``AO``."""
    short, long = smas((high + low) / 2, (fast, slow))
    return short - long


def macd(fast: Matrix, slow: Matrix) -> tuple[Matrix, Matrix]:
    """Return MACD = fast - slow and its signal EMA(MACD, 9), in the unit of price.

    Source: scanner_data, ``MACD.macd`` and ``MACD.signal``, with EMA(12) and EMA(26) of the close.
    """
    line = fast - slow
    return line, emas(line, (9,))[0]


def momentum(close: Matrix, n: int = 10) -> Matrix:
    """Return close - close n bars ago, in the unit of price. Source: scanner_data, ``Mom``."""
    return close - shift(close, n)


def ultimate(
    close: Matrix, low: Matrix, true_range: Matrix, lengths: tuple[int, int, int] = (7, 14, 28)
) -> Matrix:
    """Return the ultimate oscillator, 0 to 100.

    Source: scanner_data, ``UO``: buying pressure over true range in three windows, weighted 4, 2
    and 1. ``true_range`` is undefined on the first bar. Undefined where one window has no range at
    all.
    """
    pressure = close - np.fmin(shift(close, 1), low)
    bought = rolling_sums(pressure, lengths)
    ranged = rolling_sums(true_range, lengths)
    weights = [lengths[2] / n for n in lengths]
    parts = [w * ratio(b, r) for w, b, r in zip(weights, bought, ranged, strict=True)]
    return 100 * ((parts[0] + parts[1] + parts[2]) / sum(weights))
