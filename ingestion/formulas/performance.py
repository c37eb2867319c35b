"""The day's range, and the change over days of the calendar, in percent.

The sources are in TradingView's public repository of the Pine scripts behind its screener,
scanner_data.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from ingestion.formulas.declaration import Bars, formula
from ingestion.formulas.oscillators import true_ranges
from ingestion.formulas.windows import Matrix, ratio


@formula(
    "Volatility.D",
    "today's true range ÷ low",
    unit="%",
    low=0,
    look_back=1,  # the true range reaches from the close before
    warm_up=0,
    scanned=True,
)
def daily_volatility(bars: Bars) -> Matrix:
    """Return today's true range in percent of the low: one bar's range, not a deviation.

    Source: scanner_data ``links/high_and_low.pine.link``, ``Volatility.D`` = tr(true) * 100 /
    abs(low). The first bar has no previous close and takes high - low.
    """
    ranged = true_ranges(bars)
    ranged = np.where(np.isnan(ranged), bars.high - bars.low, ranged)
    return 100 * ratio(ranged, np.abs(bars.low))


def performance(bars: Bars, window: timedelta) -> Matrix:
    """Return the close against the open of the reference bar, in percent.

    Source: scanner_data ``links/performance_functions.pine.link`` (``rr``) and
    ``fastSearchTimeIndex`` of ``links/high_and_low.pine.link``, with the bar's close as "now". The
    reference is the last bar that opened before now - ``window``. The search ends at the symbol's
    first bar, so a symbol younger than that is measured from its first open; its first bar has
    nothing to be measured against and is undefined, as is every bar that would be its own
    reference, and a rise from a negative price.

    Examples
    --------
    >>> price = dict.fromkeys(("open", "high", "low", "close"), [8.0, 8.0, 10.0, 5.0])
    >>> performance(Bars(**price, volume=[1.0] * 4), timedelta(days=2)).T
    array([[  nan,   0. ,  25. , -37.5]])
    """
    reference = bars.reference(window)
    base = np.take_along_axis(bars.open, np.maximum(reference, 0), axis=0)
    change = 100 * ratio(bars.close - base, np.abs(base))
    change[(reference < 0) | ((base < 0) & (bars.close > 0))] = np.nan
    return change


_WEEK, _MONTH = timedelta(days=7), timedelta(days=30)


# They move with TradingView's clock, and so does the bar that they are measured from.
@formula(
    "Perf.W",
    "change since the open of the bar 7 days ago",
    unit="%",
    low=-100,
    look_back=_WEEK,
    warm_up=1,
    scanned=True,
    max_beyond_share=0.2,
)
def week(bars: Bars) -> Matrix:
    """Return the close against the open of the last bar that opened 7 days before, in percent.

    Source: scanner_data ``links/performance_functions.pine.link``; see :func:`performance`.
    """
    return performance(bars, _WEEK)


@formula(
    "Perf.1M",
    "change since the open of the bar 30 days ago",
    unit="%",
    low=-100,
    look_back=_MONTH,
    warm_up=1,
    scanned=True,
    max_beyond_share=0.2,
)
def month(bars: Bars) -> Matrix:
    """Return the close against the open of the last bar that opened 30 days before, in percent.

    Source: scanner_data ``links/performance_functions.pine.link``; see :func:`performance`.
    """
    return performance(bars, _MONTH)
