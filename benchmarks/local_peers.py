"""The formulas of ``local_1d`` by other libraries, from the same arrays.

None has ratings or ``Perf.*``; each computes the twelve other columns. They are given prices that
are split-adjusted already, and none is asked to seed as TradingView does: ``ewm`` starts with the
first value, the libraries in ways of their own.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = (
    *("returns_1d", "volatility_20d", "momentum_60d", "RSI", "ADX", "AO", "CCI20"),
    *("Stoch.K", "Stoch.D", "MACD.macd", "MACD.signal", "Volatility.D"),
)
"""What the others compute."""

_PRICES = ("open", "high", "low", "close")


def ours(bars: pa.Table) -> Callable[[], Any]:
    """Take all seventeen columns, split adjustment included."""
    from ingestion.formulas import compute_local_features

    return lambda: compute_local_features(bars)


def pandas_group_by(bars: pa.Table) -> Callable[[], Any]:
    """Take rolling and exponentially weighted windows of a group-by over symbols."""
    frame = _adjusted(bars)
    return lambda: _grouped(frame)


def pandas_ta_classic(bars: pa.Table) -> Callable[[], Any]:
    """Take the library's functions, symbol by symbol."""
    import pandas as pd
    import pandas_ta_classic as ta

    def of(own: Any) -> Any:
        high, low, close = own["high"], own["low"], own["close"]
        returns = ta.percent_return(close, 1)
        stochastic = ta.stoch(high, low, close, 14, 3, 3)
        macd = ta.macd(close, 12, 26, 9)
        return (
            *(returns, ta.stdev(returns, 20), ta.percent_return(close, 60), ta.rsi(close, 14)),
            *(ta.adx(high, low, close, 14), ta.ao(high, low), ta.cci(high, low, close, 20)),
            *(stochastic, macd, 100 * ta.true_range(high, low, close) / low),
        )

    frame = _adjusted(bars)
    return lambda: pd.concat([pd.concat(of(own), axis=1) for _, own in frame.groupby("symbol")])


def ta_lib(bars: pa.Table) -> Callable[[], Any]:
    """Take the C functions, symbol by symbol, over arrays."""
    import talib

    def of(high: Any, low: Any, close: Any) -> Any:
        returns, middle = talib.ROCP(close, 1), talib.MEDPRICE(high, low)
        deviation = talib.STDDEV(returns[1:], 20) * np.sqrt(20 / 19)
        return (
            *(returns, np.append(np.nan, deviation), talib.ROCP(close, 60)),
            *(talib.RSI(close, 14), talib.ADX(high, low, close, 14)),
            *(talib.SMA(middle, 5) - talib.SMA(middle, 34), talib.CCI(high, low, close, 20)),
            *talib.STOCH(high, low, close, 14, 3, 0, 3, 0),
            *talib.MACD(close, 12, 26, 9)[:2],
            100 * talib.TRANGE(high, low, close) / low,
        )

    arrays = list(_by_symbol(bars))
    return lambda: [np.concatenate(c) for c in zip(*(of(*own) for own in arrays), strict=True)]


ENGINES: dict[str, Callable[[pa.Table], Callable[[], Any]]] = {
    "ours": ours,
    "TA-Lib": ta_lib,
    "pandas group-by": pandas_group_by,
    "pandas-ta-classic": pandas_ta_classic,
}
"""By name: what takes the bars and returns the work to measure."""


def _adjusted(bars: pa.Table) -> Any:
    frame = bars.to_pandas()
    factor = frame.groupby("symbol")["split_ratio"].cumprod()
    for name in _PRICES:
        frame[name] *= factor
    return frame


def _by_symbol(bars: pa.Table) -> Iterator[tuple[Any, Any, Any]]:
    for _, own in _adjusted(bars).groupby("symbol"):
        high, low, close = (np.ascontiguousarray(own[name]) for name in ("high", "low", "close"))
        yield high, low, close


def _grouped(frame: Any) -> Any:
    import pandas as pd

    symbol = frame["symbol"]
    high, low, close = frame["high"], frame["low"], frame["close"]

    def before(x: Any, n: int = 1) -> Any:
        return x.groupby(symbol, sort=False).shift(n)

    def rolling(x: Any, n: int) -> Any:
        return x.groupby(symbol, sort=False).rolling(n)

    def flat(x: Any) -> Any:
        return x.droplevel(0)

    def mean(x: Any, n: int) -> Any:
        return flat(rolling(x, n).mean())

    def smoothed(x: Any, alpha: float) -> Any:
        return flat(x.groupby(symbol, sort=False).ewm(alpha=alpha, adjust=False).mean())

    out = pd.DataFrame(index=frame.index)
    out["returns_1d"] = close / before(close) - 1
    out["volatility_20d"] = flat(rolling(out["returns_1d"], 20).std())
    out["momentum_60d"] = close / before(close, 60) - 1
    change = close - before(close)
    gain, loss = (smoothed(part.clip(lower=0), 1 / 14) for part in (change, -change))
    out["RSI"] = 100 * gain / (gain + loss)
    up, down = high - before(high), before(low) - low
    ranged = pd.concat(
        [high - low, (high - before(close)).abs(), (low - before(close)).abs()], axis=1
    ).max(axis=1)
    average_range = smoothed(ranged, 1 / 14)
    plus = smoothed(up.where((up > down) & (up > 0), 0.0), 1 / 14) / average_range
    minus = smoothed(down.where((down > up) & (down > 0), 0.0), 1 / 14) / average_range
    out["ADX"] = 100 * smoothed((plus - minus).abs() / (plus + minus), 1 / 14)
    middle = (high + low) / 2
    out["AO"] = mean(middle, 5) - mean(middle, 34)
    typical = (high + low + close) / 3
    centre = mean(typical, 20)
    deviation = sum((before(typical, n) - centre).abs() for n in range(20)) / 20
    out["CCI20"] = (typical - centre) / (0.015 * deviation)
    lowest, highest = flat(rolling(low, 14).min()), flat(rolling(high, 14).max())
    out["Stoch.K"] = mean(100 * (close - lowest) / (highest - lowest), 3)
    out["Stoch.D"] = mean(out["Stoch.K"], 3)
    out["MACD.macd"] = smoothed(close, 2 / 13) - smoothed(close, 2 / 27)
    out["MACD.signal"] = smoothed(out["MACD.macd"], 2 / 10)
    out["Volatility.D"] = 100 * ranged / low
    return out


def main() -> None:
    """Measure one engine on a Parquet file of bars; print wall and CPU seconds and peak MB."""
    name, path = sys.argv[1:]
    work = ENGINES[name](pq.read_table(Path(path)))
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": wall, "cpu": cpu, "peak_mb": peak}))


if __name__ == "__main__":
    main()
