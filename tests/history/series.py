"""Years of daily bars for a vendor's replay: real ones of the sample, drawn ones before them."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np

from ingestion.markets.hours import time_zone
from ingestion.markets.sessions import sessions_between
from ingestion.replay.yahoo import Series


def drawn_series(
    symbol: str, first: date, last: date, splits: tuple[tuple[date, float, float], ...] = ()
) -> Series:
    """Return a random walk over the sessions of a symbol's exchange; the same each time."""
    sessions = sessions_between(symbol.partition(":")[0], first, last)
    days = [session.label for session in sessions]
    zone = time_zone(symbol) or "UTC"
    opened = datetime.fromtimestamp(sessions[0].opens, ZoneInfo(zone))
    draw = np.random.default_rng(list(symbol.encode()))
    steps = draw.normal(0.0004, 0.018, len(days))
    # Trends that last for months: ratings then come and go as real ones do.
    steps += 0.004 * np.sin(np.arange(len(days)) / draw.uniform(15, 60) + draw.uniform(0, 6))
    close = 50 * np.exp(np.cumsum(steps))
    for ex_date, new, old in splits:
        close[np.array(days) >= ex_date] /= new / old
    open_ = close * np.exp(draw.normal(0, 0.004, len(days)))
    high = np.maximum(open_, close) * (1 + draw.uniform(0, 0.012, len(days)))
    low = np.minimum(open_, close) * (1 - draw.uniform(0, 0.012, len(days)))
    volume = draw.integers(100_000, 9_000_000, len(days))
    columns = [each.round(4).tolist() for each in (open_, high, low, close)]
    bars = list(zip(days, *columns, volume.tolist(), strict=True))
    return Series(bars, splits, zone=zone, opens=opened.time())
