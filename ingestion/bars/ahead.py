"""Splits recorded ahead of their bars.

A split is a fact of its session, whether the bar is there yet or not: it waits here, and the bar
takes it up when it comes. A ratio of 1 says that there was no split, whatever it looked like.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from feature_repo.catalog import SPLITS
from ingestion.bars.model import Split
from ingestion.bars.times import DAY
from ingestion.lakehouse import (
    append_part,
    arrow_schema,
    created_after,
    list_parts,
    read_current,
)

_SCHEMA = arrow_schema(SPLITS)


def read_ahead(root: Path) -> dict[tuple[str, int], float]:
    """Return the ratios by symbol and close of the ex-date's session, Unix seconds."""
    rows = read_current(list_parts(root, SPLITS), SPLITS, ["symbol", "timestamp", "split_ratio"])
    symbols, events, ratios = (column.to_pylist() for column in rows.columns)
    return dict(zip(zip(symbols, events, strict=True), ratios, strict=True))


def record_ahead(
    root: Path, splits: Iterable[Split], source: str, now: datetime, run_id: str
) -> int:
    """Append the splits that are not recorded yet; the caller holds the lakehouse's lock.

    Returns
    -------
    int
        How many were appended; one that says something else than before is a restatement.
    """
    known = read_ahead(root)
    days: dict[int, list[Split]] = {}
    for split in splits:
        if known.get((split.symbol, split.event)) != split.ratio:
            days.setdefault(split.event // DAY, []).append(split)
    for day, of_day in sorted(days.items()):
        partition = date(1970, 1, 1) + timedelta(days=day)
        parts = [part for part in list_parts(root, SPLITS, partition) if part.date == partition]
        newest = max(read_current(parts, SPLITS)["created_timestamp"].to_pylist(), default=None)
        created = created_after(now, newest)
        rows = [
            {
                "timestamp": split.event,
                "symbol": split.symbol,
                "split_ratio": split.ratio,
                "event_timestamp": split.event * 1_000_000,
                "created_timestamp": created,
                "source": source,
            }
            for split in of_day
        ]
        append_part(root, SPLITS, pa.Table.from_pylist(rows, schema=_SCHEMA), run_id)
    return sum(map(len, days.values()))
