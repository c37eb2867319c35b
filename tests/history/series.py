"""Years of daily bars for a vendor's replay: real ones of the sample, drawn ones before them."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np

from ingestion.markets.calendars import calendar_of
from ingestion.replay.yahoo import NEW_YORK, Series


def drawn_series(
    symbol: str, first: date, last: date, splits: tuple[tuple[date, float, float], ...] = ()
) -> Series:
    """Return a random walk over the sessions of a symbol's exchange; the same each time."""
    calendar = calendar_of(symbol.partition(":")[0])
    there = calendar.between(first, last)
    days = calendar.labels[there.start : there.stop].tolist()
    zone = ZoneInfo(calendar.time_zone)
    opened = datetime.fromtimestamp(int(calendar.opens[there.start]), zone)
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
    return Series(bars, splits, zone=calendar.time_zone or NEW_YORK, opens=opened.time())
