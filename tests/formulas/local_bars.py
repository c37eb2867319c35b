"""Bars to test with: seeded random walks, and small tables written by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

DAY = 86_400
START = 1_600_000_000 // DAY * DAY + 52_200


def random_walk(bars: int, seed: int, *, symbol: str = "TEST:WALK", gaps: bool = True) -> pa.Table:
    """One symbol's geometric random walk; with gaps, some days and whole weeks have no bar."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, bars)))
    open_ = close * np.exp(rng.normal(0, 0.008, bars))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.006, bars)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.006, bars)))
    days = np.cumsum(rng.choice([1, 1, 1, 1, 3, 9], bars) if gaps else np.ones(bars, dtype=int))
    opened = START + days.astype(np.int64) * DAY
    return pa.table(
        {
            "timestamp": opened,
            "symbol": [symbol] * bars,
            "open": open_,
            "high": high,
            "low": low,
            "close": close,
            "volume": rng.integers(1, 10**6, bars).astype(float),
            "split_ratio": np.ones(bars),
            "close_timestamp": opened + rng.choice([23_400, 12_600], bars),
        }
    )


def constant(bars: int, price: float = 0.1) -> pa.Table:
    """Bars of a symbol that never moves; 0.1 is no binary fraction, so sloppy sums show."""
    return with_columns(
        random_walk(bars, 0, gaps=False),
        **{name: np.full(bars, price) for name in ("open", "high", "low", "close")},
    )


def with_columns(bars: pa.Table, **columns: object) -> pa.Table:
    """Replace columns, keeping their order."""
    return pa.table({name: columns.get(name, bars[name]) for name in bars.column_names})


def with_splits(bars: pa.Table, ratios: dict[int, float]) -> pa.Table:
    """Turn a continuous series into the as-traded one that has these splits at these bars."""
    split = np.ones(len(bars))
    for row, ratio in ratios.items():
        split[row] = ratio
    factor = np.cumprod(split)
    prices = {n: bars[n].to_numpy() / factor for n in ("open", "high", "low", "close")}
    return with_columns(
        bars, **prices, volume=bars["volume"].to_numpy() * factor, split_ratio=split
    )


def column(features: pa.Table, name: str) -> np.ndarray:
    """A feature as float64, NaN for null."""
    return features[name].to_numpy()
