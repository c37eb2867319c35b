"""Splits recorded ahead of their bars.

A split is a fact of its session, whether the bar is there yet or not: it waits here, and the bar
takes it up when it comes. A ratio of 1 says that there was no split, whatever it looked like.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from math import prod
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.arrays import Split
from ingestion.catalog import OHLCV_1D, SPLITS
from ingestion.lakehouse import (
    append_rows,
    by_date,
    created_after,
    list_parts,
    read_current,
    read_current_of,
)
from ingestion.markets.hours import DAY

_EPOCH = date(1970, 1, 1)


def read_ahead(root: Path) -> dict[tuple[str, int], float]:
    """Return the ratios by symbol and close of the ex-date's session, Unix seconds."""
    rows = read_current(list_parts(root, SPLITS), SPLITS, ["symbol", "timestamp", "split_ratio"])
    symbols, events, ratios = (column.to_pylist() for column in rows.columns)
    return dict(zip(zip(symbols, events, strict=True), ratios, strict=True))


class Due:
    """The recorded splits that take effect at a bar, because their sessions have none.

    Parameters
    ----------
    ahead
        What :func:`read_ahead` gives.
    """

    def __init__(self, ahead: Mapping[tuple[str, int], float]) -> None:
        self._of: dict[str, list[tuple[int, float]]] = {}
        for (symbol, event), ratio in ahead.items():
            self._of.setdefault(symbol, []).append((event, ratio))

    def between(self, symbol: str, before: int, after: int) -> float:
        """Return the product of the ratios between two closes, both left out."""
        ratios = self._of.get(symbol, ())
        return prod(ratio for event, ratio in ratios if before < event < after)


def record_ahead(
    root: Path, splits: Iterable[Split], source: str, now: datetime, run_id: str
) -> int:
    """Append the splits that are not recorded yet; the caller holds the lakehouse's lock.

    Returns
    -------
    int
        How many were appended; one that says something else than before is a restatement.
    """
    versions = read_current(list_parts(root, SPLITS), SPLITS).to_pylist()
    known = {(row["symbol"], row["timestamp"]): row for row in versions}
    rows = []
    for split in splits:
        before = known.get((split.symbol, split.event))
        if before is None or before["split_ratio"] != split.ratio:
            rows.append(
                {
                    "timestamp": split.event,
                    "symbol": split.symbol,
                    "split_ratio": split.ratio,
                    "event_timestamp": datetime.fromtimestamp(split.event, UTC),
                    "created_timestamp": created_after(
                        now, before["created_timestamp"] if before else None
                    ),
                    "source": source,
                }
            )
    append_rows(root, SPLITS, rows, run_id)
    return len(rows)


def without_effect(root: Path) -> list[Split]:
    """Return the recorded splits that no stored bar shows yet, in the order of their sessions.

    They take effect at the symbol's first bar of their session or after it.
    """
    waiting = {key: ratio for key, ratio in read_ahead(root).items() if ratio != 1}
    first = min((event for _, event in waiting), default=0)
    dates = by_date(list_parts(root, OHLCV_1D, _EPOCH + timedelta(days=first // DAY)))
    for parts in dates.values():
        if not waiting:
            break
        symbols = sorted({symbol for symbol, _ in waiting})
        rows = read_current_of(parts, OHLCV_1D, symbols, ["symbol", "timestamp", "event_timestamp"])
        closes = pc.divide(rows["event_timestamp"].cast(pa.int64()), 1_000_000).to_pylist()
        stored = dict(zip(rows["symbol"].to_pylist(), closes, strict=True))
        waiting = {
            (symbol, event): ratio
            for (symbol, event), ratio in waiting.items()
            if stored.get(symbol, event - 1) < event
        }
    ordered = sorted(waiting.items(), key=lambda item: (item[0][1], item[0][0]))
    return [Split(symbol, event, ratio) for (symbol, event), ratio in ordered]
