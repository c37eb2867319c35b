"""Bars of days on which nothing was traded, in markets where TradingView has none.

Exchanges deliver them: no volume, and the close before as all four prices. Formulas count bars, so
they must be the bars that TradingView counts. The rows stay in ``ohlcv_1d``; whoever computes
formulas leaves them out. In which markets, :mod:`ingestion.markets.hours` says.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.base.arrow import from_numpy, to_numpy
from ingestion.markets.hours import hours_of


def is_untraded(bars: pa.Table) -> NDArray[np.bool_]:
    """Return which bars formulas do not count.

    Parameters
    ----------
    bars
        ``symbol``, prices, ``volume`` and ``split_ratio`` of ``ohlcv_1d``.

    Examples
    --------
    >>> prices = dict.fromkeys(("open", "high", "low", "close", "split_ratio"), [1.0, 1.0])
    >>> bars = pa.table({"symbol": ["KRAKEN:ABCUSD", "XETR:ABC"], "volume": [0.0, 0.0], **prices})
    >>> is_untraded(bars).tolist()
    [True, False]
    """
    found: NDArray[np.bool_] = to_numpy(bars["volume"]) == 0
    if not found.any():
        return found
    opened, high, low, close = (to_numpy(bars[name]) for name in ("open", "high", "low", "close"))
    found &= (opened == close) & (high == close) & (low == close)
    found &= to_numpy(bars["split_ratio"]) == 1  # a split takes effect at its bar
    at = np.flatnonzero(found)
    symbols = bars["symbol"].take(from_numpy(at)).to_pylist()
    found[at] = [_has_none(symbol) for symbol in symbols]
    return found


def traded(bars: pa.Table) -> pa.Table:
    """Return the bars that formulas count."""
    gone = is_untraded(bars)
    return bars.filter(from_numpy(~gone)) if gone.any() else bars


@lru_cache(maxsize=4096)
def _has_none(symbol: str) -> bool:
    return hours_of(symbol).has_no_bars_without_trades
