"""Averages, bands, ranges and performance: the most asked-for columns beside the ratings.

Matrices as in :mod:`ingestion.formulas.windows`. "scanner_data" is TradingView's public
repository of the Pine scripts behind its screener.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from ingestion.catalog.formula import MONEY
from ingestion.formulas.declaration import BarFormula, Bars, formula, shared
from ingestion.formulas.oscillators import (
    exponential_averages,
    momentum,
    true_ranges,
    ultimate,
    williams_r,
)
from ingestion.formulas.parabolic import stop_and_reverse
from ingestion.formulas.performance import performance
from ingestion.formulas.windows import Matrix, ratio, rma, shift, sma, smas

_SIMPLE, _EXPONENTIAL = (20, 50, 100, 200), (20, 50, 200)


@shared
def simple_averages(bars: Bars) -> dict[int, Matrix]:
    """Return the SMAs of the close by length.

    Examples
    --------
    >>> rising = np.arange(1.0, 22.0)
    >>> bars = Bars(open=rising, high=rising, low=rising, close=rising, volume=rising)
    >>> simple_averages(bars)[20][18:].T
    array([[ nan, 10.5, 11.5]])
    """
    return dict(zip(_SIMPLE, smas(bars.close, _SIMPLE), strict=True))


def _simple(n: int) -> BarFormula:
    def average(bars: Bars) -> Matrix:
        """Return the simple moving average of the close. Source: scanner_data, ``ta.sma``."""
        return simple_averages(bars)[n]

    declared = formula(
        f"SMA{n}",
        f"simple moving average of {n} closes",
        unit=MONEY,
        look_back=n - 1,
        scanned=True,
    )
    return declared(average)


def _exponential(n: int) -> BarFormula:
    def average(bars: Bars) -> Matrix:
        """Return the exponential moving average of the close, seeded with the simple one.

        Source: scanner_data, ``ta.ema``.
        """
        return exponential_averages(bars)[n]

    declared = formula(
        f"EMA{n}",
        f"exponential moving average of {n} closes",
        unit=MONEY,
        look_back=n - 1,
        recursive=True,
        scanned=True,
    )
    return declared(average)


AVERAGES = [*map(_simple, _SIMPLE), *map(_exponential, _EXPONENTIAL)]


@formula(
    "ATR",
    "average true range, 14 bars",
    unit=MONEY,
    low=0,
    look_back=14,
    recursive=True,
    warm_up=13,
    scanned=True,
)
def average_range(bars: Bars) -> Matrix:
    """Return Wilder's average of the true range of 14 bars, in money.

    Source: scanner_data ``links/common.pine.link``, ``ta.rma(ta.tr(true), 14)``: the first bar has
    no previous close and counts with high - low.
    """
    ranged = true_ranges(bars)
    return rma(np.where(np.isnan(ranged), bars.high - bars.low, ranged), 14)


def _deviation(x: Matrix, n: int) -> Matrix:
    """Return the standard deviation of the last ``n`` values with n in the denominator."""
    mean = sma(x, n)
    squares = (x - mean) ** 2
    for back in range(1, n):
        squares += (shift(x, back) - mean) ** 2
    return np.sqrt(squares / n)


@formula(
    "BB.upper",
    "upper Bollinger band, 20 bars, 2 deviations",
    unit=MONEY,
    look_back=19,
    scanned=True,
)
def upper_band(bars: Bars) -> Matrix:
    """Return SMA(20) + 2 standard deviations. Source: scanner_data, ``ta.stdev(close, 20)``."""
    return simple_averages(bars)[20] + 2 * _deviation(bars.close, 20)


@formula(
    "BB.lower",
    "lower Bollinger band, 20 bars, 2 deviations",
    unit=MONEY,
    look_back=19,
    scanned=True,
)
def lower_band(bars: Bars) -> Matrix:
    """Return SMA(20) - 2 standard deviations. Source: scanner_data, ``ta.stdev(close, 20)``."""
    return simple_averages(bars)[20] - 2 * _deviation(bars.close, 20)


@formula("VWAP", "volume-weighted average price of the bar", unit=MONEY, look_back=0, scanned=True)
def weighted_price(bars: Bars) -> Matrix:
    """Return (high + low + close) / 3, undefined without volume.

    Source: scanner_data, ``ta.vwap(hlc3)``, which begins anew with each session: of daily bars it
    is the bar's own typical price.
    """
    price = (bars.high + bars.low + bars.close) / 3
    return np.where(bars.volume > 0, price, np.nan)


@formula("W.R", "Williams %R, 14 bars", unit="%", low=-100, high=0, look_back=13, scanned=True)
def percent_range(bars: Bars) -> Matrix:
    """Return Williams %R of 14 bars, -100 to 0. Source: scanner_data, ``W.R``."""
    return williams_r(bars.close, bars.high, bars.low)


@formula("Mom", "close − close 10 bars ago", unit=MONEY, look_back=10, scanned=True)
def ten_bar_momentum(bars: Bars) -> Matrix:
    """Return close - close 10 bars ago, in money. Source: scanner_data, ``Mom``."""
    return momentum(bars.close)


@formula(
    "UO", "ultimate oscillator, 7, 14 and 28 bars", low=0, high=100, look_back=28, scanned=True
)
def ultimate_oscillator(bars: Bars) -> Matrix:
    """Return the ultimate oscillator, 0 to 100. Source: scanner_data, ``UO``."""
    return ultimate(bars.close, bars.low, true_ranges(bars))


@formula(
    "P.SAR",
    "parabolic stop and reverse, 0.02, 0.02, 0.2",
    unit=MONEY,
    # Of its path nothing is known behind a hole; by then a trend has usually turned.
    look_back=60,
    recursive=True,
    warm_up=1,
    scanned=True,
)
def parabolic(bars: Bars) -> Matrix:
    """Return the parabolic stop-and-reverse, in money.

    Source: scanner_data, ``ta.sar(0.02, 0.02, 0.2)``.
    """
    return stop_and_reverse(bars.high, bars.low, bars.close)


@formula(
    "average_volume_10d_calc",
    "mean volume of 10 bars",
    unit="units",
    low=0,
    look_back=9,
    scanned=True,
)
def average_volume(bars: Bars) -> Matrix:
    """Return the mean volume of 10 bars, in the bar's own shares. Source: scanner_data."""
    return sma(bars.volume, 10) * bars.split


@formula(
    "relative_volume_10d_calc",
    "volume ÷ mean volume of 10 bars before",
    low=0,
    look_back=10,
    scanned=True,
)
def relative_volume(bars: Bars) -> Matrix:
    """Return volume / SMA(volume, 10) of the bar before; undefined without volume there.

    Source: scanner_data ``links/common.pine.link``, ``volume / AvgVol[1]``.
    """
    return ratio(bars.volume, shift(sma(bars.volume, 10), 1))


@formula("change", "change since the previous close", unit="%", low=-100, look_back=1, scanned=True)
def daily_change(bars: Bars) -> Matrix:
    """Return the close against the previous close, in percent.

    Source: recorded answers, in which close / (1 + change / 100) is the previous close.
    """
    return 100 * (ratio(bars.close, shift(bars.close, 1)) - 1)


_YEAR_OF_WEEKS = timedelta(weeks=52)


def _extreme_of_weeks(bars: Bars, price: Matrix, pick: np.ufunc) -> Matrix:
    """Return the extreme of the bars that opened within 52 weeks before each bar's close.

    Source: scanner_data ``links/high_and_low.pine.link``, with the bar's close as "now". It also
    counts a symbol's first bar for the few bars after which it leaves the weeks; that is left out.
    """
    reference = bars.reference(_YEAR_OF_WEEKS)
    own = np.arange(len(price), dtype=np.int64)[:, None]
    at = np.maximum(reference, 0)
    since = bars.closed - int(_YEAR_OF_WEEKS.total_seconds())
    is_outside = np.take_along_axis(bars.opened, at, axis=0) < since
    first = np.where(is_outside | (own - at == 1), at + 1, at)
    found = _extremes(price, np.minimum(first, own), own, pick)
    return np.where((reference < 0) | _spans_hole(bars, reference), np.nan, found)


def _extremes(
    x: Matrix, first: NDArray[np.int64], last: NDArray[np.int64], pick: np.ufunc
) -> Matrix:
    """Return the extreme of x from one row to another, of each column: by two doubled windows."""
    length = last - first + 1
    power = np.floor(np.log2(np.maximum(length, 1))).astype(np.int64)
    found, best = x.copy(), x
    for k in range(1, int(power.max(initial=0)) + 1):
        step = 1 << (k - 1)
        wider = best.copy()
        wider[step:] = pick(best[step:], best[:-step])
        best = wider
        other = np.take_along_axis(best, np.minimum(first + (1 << k) - 1, last), axis=0)
        found = np.where(power == k, pick(best, other), found)
    return found


def _spans_hole(bars: Bars, reference: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return where a session is missing between the reference and the bar."""
    own = np.arange(len(reference), dtype=np.int64)[:, None]
    if bars.since_gap is None:
        return np.zeros(reference.shape, dtype=bool)
    spans: NDArray[np.bool_] = bars.since_gap < own - reference
    return spans


@formula(
    "price_52_week_high",
    "highest price of 52 weeks",
    unit=MONEY,
    look_back=_YEAR_OF_WEEKS,
    warm_up=1,
    scanned=True,
    max_beyond_share=0.2,
)
def year_high(bars: Bars) -> Matrix:
    """Return the highest high of 52 weeks, in money. Source: scanner_data, ``high_and_low``."""
    return _extreme_of_weeks(bars, bars.high, np.maximum)


@formula(
    "price_52_week_low",
    "lowest price of 52 weeks",
    unit=MONEY,
    look_back=_YEAR_OF_WEEKS,
    warm_up=1,
    scanned=True,
    max_beyond_share=0.2,
)
def year_low(bars: Bars) -> Matrix:
    """Return the lowest low of 52 weeks, in money. Source: scanner_data, ``high_and_low``."""
    return _extreme_of_weeks(bars, bars.low, np.minimum)


def _performance(name: str, days: int) -> BarFormula:
    window = timedelta(days=days)

    def change(bars: Bars) -> Matrix:
        """Return the close against the open of the last bar that opened so long before, in percent.

        Source: scanner_data ``links/performance_functions.pine.link``, ``rr``.
        """
        return performance(bars, window)

    declared = formula(
        name,
        f"change since the open of the bar {days} days ago",
        unit="%",
        low=-100,
        look_back=window,
        warm_up=1,
        scanned=True,
        max_beyond_share=0.2,
    )
    return declared(change)


PERFORMANCES = [
    _performance("Perf.3M", 90),
    _performance("Perf.6M", 180),
    _performance("Perf.Y", 365),
]


@formula(
    "Perf.YTD",
    "change since the open of the year's first bar",
    unit="%",
    low=-100,
    look_back=timedelta(days=368),  # a leap year, and the bar's own length
    warm_up=0,
    scanned=True,
)
def year_to_date(bars: Bars) -> Matrix:
    """Return the close against the open of the first bar of its year, in percent.

    Source: scanner_data ``links/performance_functions.pine.link``, ``perfYTD``. The year is that of
    the bar's open, UTC; undefined where a session is missing before the year's first bar.
    """
    years = bars.opened.astype("datetime64[s]").astype("datetime64[Y]")
    starts = years.astype("datetime64[s]").astype(np.int64)
    first = np.empty(starts.shape, dtype=np.int64)
    for column in range(starts.shape[1]):
        first[:, column] = np.searchsorted(bars.opened[:, column], starts[:, column])
    first = np.minimum(first, len(first) - 1)
    base = np.take_along_axis(bars.open, first, axis=0)
    change = 100 * ratio(bars.close - base, np.abs(base))
    if bars.missing_from is not None:
        change[np.take_along_axis(bars.missing_from, first, axis=0) != 0] = np.nan
    return change


def _mean_range(name: str, days: int) -> BarFormula:
    window = timedelta(days=days)

    def volatility(bars: Bars) -> Matrix:
        """Return the mean range of the bars since the one that opened so long before, in percent.

        Source: scanner_data ``links/high_and_low.pine.link``, ``volatility``: the range counts
        against the low, and the days from the bar's open.
        """
        reference = bars.reference(window, of_open=True)
        own = np.arange(len(bars.close), dtype=np.int64)[:, None]
        count = np.where(reference < 0, 0, own - reference)
        ranged = 100 * ratio(bars.high - bars.low, np.abs(bars.low))
        total = np.zeros(ranged.shape)
        for back in range(int(count.max(initial=0))):
            total += np.where(back < count, shift(ranged, back) if back else ranged, 0.0)
        mean = ratio(total, count.astype(np.float64))
        return np.where((reference < 0) | _spans_hole(bars, reference), np.nan, mean)

    declared = formula(
        name,
        f"mean range ÷ low of the bars of {days} days",
        unit="%",
        low=0,
        look_back=window + timedelta(days=2),  # it counts from the open, and a bar may last 25 h
        warm_up=1,
        scanned=True,
    )
    return declared(volatility)


VOLATILITIES = [_mean_range("Volatility.W", 7), _mean_range("Volatility.M", 30)]
