"""Bars to label: real sessions with their closes, random walks with splits and gaps."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingestion.markets.hours import bar_closes

SAMPLE = Path(__file__).resolve().parent.parent.parent / "data" / "sample" / "bars.parquet"
DAY = 86_400
ALWAYS = {"first": date.min, "last": date.max}
"""Decisions of all dates."""


def instants(seconds: np.ndarray) -> pa.Array:
    """Unix seconds as timestamps."""
    return pa.array(seconds.astype(np.int64) * 1_000_000).cast(pa.timestamp("us", tz="UTC"))


def bar_table(rows: list[dict]) -> pa.Table:
    """Bars from dictionaries, opened and closed in Unix seconds; the rest has defaults."""
    column = {
        name: [row.get(name, default) for row in rows]
        for name, default in {"open": 10.0, "close": 10.0, "split_ratio": 1.0}.items()
    }
    return pa.table(
        {
            "timestamp": pa.array([row["opened"] for row in rows], pa.int64()),
            "symbol": pa.array([row.get("symbol", "TEST:A") for row in rows], pa.string()),
            **{name: pa.array(values, pa.float64()) for name, values in column.items()},
            "event_timestamp": instants(np.array([row["closed"] for row in rows], dtype=np.int64)),
        }
    )


def with_range(rows: list[dict]) -> pa.Table:
    """The same, with highs and lows, which each of them gives."""
    bars = bar_table(rows)
    for name in ("high", "low"):
        bars = bars.append_column(name, pa.array([row[name] for row in rows], pa.float64()))
    return bars


def daily(
    closes: list[float],
    *,
    symbol: str = "TEST:A",
    start: datetime = datetime(2026, 1, 5, 14, 30, tzinfo=UTC),
    opens: list[float] | None = None,
    splits: dict[int, float] | None = None,
    missing: tuple[int, ...] = (),
) -> pa.Table:
    """A bar a calendar day of 6.5 h, without those at the missing positions."""
    first = int(start.timestamp())
    return bar_table(
        [
            {
                "symbol": symbol,
                "opened": first + day * DAY,
                "closed": first + day * DAY + 23_400,
                "open": (opens or closes)[day],
                "close": close,
                "split_ratio": (splits or {}).get(day, 1.0),
            }
            for day, close in enumerate(closes)
            if day not in missing
        ]
    )


@cache
def sample_bars(*symbols: str) -> pa.Table:
    """The sample's bars with the closes that the calendars give; all symbols if none are named."""
    if symbols:
        bars = sample_bars()
        return bars.filter(pc.is_in(bars["symbol"], value_set=pa.array(symbols)))
    bars = pq.read_table(SAMPLE)
    opened = bars["timestamp"].to_numpy()
    closed = np.empty(len(opened), dtype=np.int64)
    owners = np.array(bars["symbol"].to_pylist())
    for symbol in np.unique(owners):
        closed[owners == symbol] = bar_closes(str(symbol), opened[owners == symbol])
    return bars.append_column("event_timestamp", instants(closed)).append_column(
        "close_timestamp", pa.array(closed)
    )


def oracle(
    bars: pa.Table, n: int, entry: str, first: object, last: object, max_gap: timedelta
) -> tuple[list[dict], dict[str, int], int]:
    """Label bar by bar, as the definitions say: rows, counts by reason, decisions."""
    rows = bars.to_pylist()
    newest = max((row["event_timestamp"] for row in rows), default=None)
    labels: list[dict] = []
    dropped: dict[str, int] = {}
    decisions = 0
    for symbol in sorted({row["symbol"] for row in rows}):
        own = sorted(
            (row for row in rows if row["symbol"] == symbol), key=lambda row: row["timestamp"]
        )
        for d, row in enumerate(own):
            decided = row["event_timestamp"]
            if not first <= decided.date() <= last:
                continue
            decisions += 1
            window = own[d : d + n + 1]
            closes = [bar["event_timestamp"] for bar in window]
            if len(window) < n + 1:
                closes.append(newest)
            if any(b - a > max_gap for a, b in pairwise(closes)):
                reason = "gap_in_window"
            elif len(window) < n + 1:
                reason = "no_full_window"
            else:
                label = _label(window, entry)
                if label["label_start_timestamp"] < decided:
                    reason = "entry_before_decision"
                else:
                    labels.append({"symbol": symbol, "event_timestamp": decided, **label})
                    continue
            dropped[reason] = dropped.get(reason, 0) + 1
    return labels, dropped, decisions


def _label(window: list[dict], entry: str) -> dict:
    """Buy one share and hold it through the splits."""
    if entry == "open":
        paid, held = window[1]["open"], window[2:]
        start = datetime.fromtimestamp(window[1]["timestamp"], UTC)
    else:
        paid, held = window[0]["close"], window[1:]
        start = window[0]["event_timestamp"]
    shares = 1.0
    for bar in held:
        shares *= bar["split_ratio"]
    return {
        "return": shares * window[-1]["close"] / paid - 1,
        "label_start_timestamp": start,
        "label_end_timestamp": window[-1]["event_timestamp"],
    }
