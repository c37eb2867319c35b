"""How far back each feature reads, and so how long a missing bar spoils it.

A formula counts bars, so behind a session that is missing it counts wrong: its values are undefined
until the gap has left the window. A window of n bars reads n - 1 bars back, and one more where it
compares closes. A recursion never forgets; it is taken as defined again where it would be if the
series began behind the gap, which is also when TradingView first shows it for a new symbol. What
the missing bar still weighs then is what a seed weighs in any young series.

``Perf.*`` follow the clock: :func:`ingestion.formulas.returns.performance` sees to them itself.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ingestion.formulas.windows import Matrix

BARS_BACK = MappingProxyType(
    {
        "returns_1d": 1,
        "volatility_20d": 20,  # 20 returns, of 21 closes
        "momentum_60d": 60,
        "Recommend.All": 199,
        "Recommend.MA": 199,  # SMA(200) and EMA(200)
        "Recommend.Other": 49,  # EMA(50), of the stochastic RSI's and the bull-bear vote
        "RSI": 14,
        "ADX": 27,  # 14 movements, then 14 indices of them
        "AO": 33,
        "CCI20": 19,
        "Stoch.K": 15,  # 14 bars, then 3 of their places
        "Stoch.D": 17,
        "MACD.macd": 25,
        "MACD.signal": 33,  # EMA(26), then 9 of its differences
        "Volatility.D": 1,  # the true range reaches from the close before
    }
)
"""Bars before its own that a feature reads; of a recursion, the bars before its first value."""

DAYS_BACK = MappingProxyType({"Perf.W": 7, "Perf.1M": 30})
"""Length of the window of a feature that counts days."""

NONE_MISSING = 0
"""Stands for "no session is missing before this bar"."""


def bars_since_gap(missing_from: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many bars have passed since the last one before which a session is missing.

    Parameters
    ----------
    missing_from
        Shape (bars, symbols); :data:`NONE_MISSING` where no session is missing before the bar.

    Returns
    -------
    NDArray of int64
        Shape (bars, symbols): 0 on such a bar; where there was none, more than any feature reads.
    """
    row = np.arange(len(missing_from), dtype=np.int64)[:, None]
    never = -1 - max(BARS_BACK.values())
    last = np.where(missing_from != NONE_MISSING, row, never)
    return row - np.maximum.accumulate(last, axis=0)


def without_gaps(values: dict[str, Matrix], missing_from: NDArray[np.int64]) -> dict[str, Matrix]:
    """Return features without the values whose window spans a missing session: NaN in place."""
    since = bars_since_gap(missing_from)
    for name, bars in BARS_BACK.items():
        values[name][since < bars] = np.nan
    return values
