"""What the lakehouse holds around some bars."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.catalog import OHLCV_1D
from ingestion.bars.model import Bars
from ingestion.bars.times import DAY
from ingestion.lakehouse import by_date, list_parts, read_current

LOOKBACK = timedelta(days=12)
"""How far back a bar before is looked for: the longest pause of a large exchange is 11 days."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).date()


class NearbyBars:
    """The stored bars of some symbols, on the dates of some bars and in the days before.

    Parameters
    ----------
    bars
        In any order.
    names
        Symbols by number.
    """

    def __init__(self, root: Path, bars: Bars, names: Sequence[str]) -> None:
        days = {
            int(day) - back
            for day in np.unique(bars.event // DAY)
            for back in range(LOOKBACK.days + 1)
        }
        wanted = pa.array(sorted({names[number] for number in bars.symbol}), pa.string())
        self._closes: dict[str, list[tuple[int, float]]] = {}
        self._ratios: dict[tuple[str, int], float] = {}
        columns = ["symbol", "timestamp", "event_timestamp", "close", "split_ratio"]
        for day, parts in by_date(list_parts(root, OHLCV_1D)).items():
            if (day - _EPOCH).days not in days:
                continue
            rows = read_current(parts, OHLCV_1D, columns)
            rows = rows.filter(pc.is_in(rows["symbol"], value_set=wanted))
            events = (rows["event_timestamp"].cast(pa.int64()).to_numpy() // 1_000_000).tolist()
            symbols, closes, ratios = (
                rows[name].to_pylist() for name in ("symbol", "close", "split_ratio")
            )
            for symbol, event, close, ratio in zip(symbols, events, closes, ratios, strict=True):
                self._closes.setdefault(symbol, []).append((event, close))
                self._ratios[symbol, event] = ratio

    def before(self, symbol: str, event: int) -> tuple[int, float] | None:
        """Return close time and price of a symbol's newest bar before the one of ``event``."""
        earliest = event - LOOKBACK // timedelta(seconds=1)
        return max(
            (bar for bar in self._closes.get(symbol, []) if earliest <= bar[0] < event),
            default=None,
        )

    def ratio(self, symbol: str, event: int) -> float | None:
        """Return the stored bar's split ratio; None if there is no such bar."""
        return self._ratios.get((symbol, event))
