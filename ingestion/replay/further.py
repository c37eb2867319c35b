"""Columns of a bar beyond its own: other frames, companies, coins; which are computed, which drawn.

=====================  =============================================================================
columns                come from
=====================  =============================================================================
``|1W``, ``|1M``       the formulas, on the weeks and months of the bars until then
``|60``, ``|240``      ranges of recorded rows: there are no hourly bars
analysts, reports      ranges of recorded rows, for stocks
coins                  ranges of recorded rows, or of the definition; see ``drawn``
=====================  =============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.formulas import LOCAL, compute
from ingestion.markets.frames import running_bar
from ingestion.markets.sessions import session_days
from ingestion.replay.drawn import drawn_coin, drawn_company, drawn_technicals

COMPUTED = {"1w": "|1W", "1mo": "|1M"}
DRAWN = {"1h": "|60", "4h": "|240"}
_TECHNICALS = tuple(
    each
    for name, each in LOCAL.items()
    if each.scanned and not each.follows_clock and name != "Volatility.D"
)
_BEFORE = ("RSI", "AO", "CCI20", "Stoch.K", "Stoch.D")


def is_drawn(column: str) -> bool:
    """Return whether a further column is drawn from ranges, and not computed.

    Examples
    --------
    >>> is_drawn("RSI|60"), is_drawn("RSI|1W"), is_drawn("price_target_average")
    (True, False, True)
    """
    return not column.endswith(tuple(COMPUTED.values()))


def drawn_cells(symbol: str, about: Mapping[str, Any], price: float, close: int) -> dict[str, Any]:
    """Return the columns of a symbol's last bar that are drawn.

    Parameters
    ----------
    about
        ``type`` and ``currency`` of the symbol.
    price, close
        The bar's close, and when that was.
    """
    found: dict[str, Any] = {}
    for frame, suffix in DRAWN.items():
        opened = running_bar(symbol, frame, close - 1)
        row = drawn_technicals(symbol, frame, opened or close, price)
        row |= {"time": opened, "last_bar_update_time": close}
        found |= {f"{name}{suffix}": value for name, value in row.items()}
    if about["type"] == "stock":
        found |= drawn_company(symbol, about["currency"], close, price)
    if symbol.startswith("CRYPTO:"):
        found |= drawn_coin(symbol, close)
    return found


def resampled_cells(symbol: str, bars: Mapping[str, NDArray[Any]], close: int) -> dict[str, Any]:
    """Return the technicals of a symbol's weeks and months.

    Parameters
    ----------
    bars
        Its bars until then: ``opened``, ``open``, ``high``, ``low``, ``close``, ``volume``,
        ``split_ratio``, each of shape ``(n,)``.
    close
        When the last one closed.
    """
    return {
        f"{name}{suffix}": value
        for frame, suffix in COMPUTED.items()
        for name, value in _resampled(symbol, frame, bars, close).items()
    }


def _resampled(
    symbol: str, frame: str, bars: Mapping[str, NDArray[Any]], close: int
) -> dict[str, Any]:
    """Compute technicals on weeks or months; the last one is the running one."""
    opened = bars["opened"]
    days = session_days(symbol, opened, np.append(opened[1:], close))
    if frame == "1w":
        period = (days + 3) // 7  # 1970-01-01 was a Thursday
    else:
        period = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    starts = np.flatnonzero(np.r_[True, period[1:] != period[:-1]])
    split = np.cumprod(bars["split_ratio"])
    money = split / split[-1]
    prices = {name: bars[name] * money for name in ("open", "high", "low", "close")}
    ends = np.append(starts[1:], len(opened)) - 1
    table = pa.table(
        {
            "timestamp": opened[starts],
            "symbol": [symbol] * len(starts),
            "open": prices["open"][starts],
            "high": np.maximum.reduceat(prices["high"], starts),
            "low": np.minimum.reduceat(prices["low"], starts),
            "close": prices["close"][ends],
            "volume": np.add.reduceat(bars["volume"] / money, starts),
        }
    )
    features = compute(table, _TECHNICALS)
    values = {each.name: features[each.name].to_pylist() for each in _TECHNICALS}
    return {
        **{name: cells[-1] for name, cells in values.items()},
        **{f"{name}[1]": values[name][-2] if len(starts) > 1 else None for name in _BEFORE},
        "time": int(opened[starts[-1]]),
        "last_bar_update_time": close,
    }
