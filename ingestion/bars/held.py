"""Closed bars that wait for a split to be recorded.

They are kept apart, with the scanner's previous close, so that nothing is lost meanwhile: the
scanner shows each bar for a day. A bar waits until one of its symbol and session is stored.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.catalog import HELD_BARS, OHLCV_1D
from ingestion import clock
from ingestion.bars.model import Bars
from ingestion.lakehouse import (
    append_part,
    arrow_schema,
    by_date,
    created_after,
    list_parts,
    read_current,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VALUES = ("open", "high", "low", "close", "volume")
_SCHEMA = arrow_schema(HELD_BARS)


def waiting_bars(root: Path) -> pa.Table:
    """Return the held bars that are not stored, in the schema of ``held_bars``.

    Sorted by and unique on (``symbol``, ``timestamp``).
    """
    parts = by_date(list_parts(root, HELD_BARS))
    stored = by_date(list_parts(root, OHLCV_1D))
    tables = [_SCHEMA.empty_table()]
    for day, of_day in parts.items():
        rows = read_current(of_day, HELD_BARS)
        there = read_current(
            stored.get(day, []), OHLCV_1D, ["symbol", "timestamp", "event_timestamp"]
        )
        known = set(sessions_of(there))
        tables.append(rows.filter(pa.array([key not in known for key in sessions_of(rows)])))
    return pa.concat_tables(tables).sort_by([("symbol", "ascending"), ("timestamp", "ascending")])


def with_waiting(
    bars: Bars, names: list[str], previous: NDArray[np.float64], waiting: pa.Table
) -> tuple[Bars, list[str], NDArray[np.float64]]:
    """Return bars and waiting ones together; a session's newer bar stands for the waiting one."""
    numbers = {name: number for number, name in enumerate(names)}
    fresh = {
        (names[number], int(event)) for number, event in zip(bars.symbol, bars.event, strict=True)
    }
    waiting = waiting.filter(
        pa.array([key not in fresh for key in sessions_of(waiting)], pa.bool_())
    )
    symbols = waiting["symbol"].to_pylist()
    for symbol in symbols:
        numbers.setdefault(symbol, len(numbers))
    size = waiting.num_rows
    columns = {name: waiting[name].to_numpy() for name in ("timestamp", *_VALUES)}
    held = Bars(
        file=np.zeros(size, dtype=np.int32),
        row=np.arange(len(previous), len(previous) + size, dtype=np.int64),
        symbol=np.array([numbers[symbol] for symbol in symbols], dtype=np.int32),
        event=np.array([event for _, event in sessions_of(waiting)], dtype=np.int64),
        split_ratio=np.full(size, np.nan),
        **columns,
    )
    theirs = waiting["previous_close"].cast(pa.float64()).to_numpy(zero_copy_only=False)
    return Bars.concatenate([bars, held]), list(numbers), np.concatenate([previous, theirs])


def newly_held(
    bars: Bars, names: list[str], previous: NDArray[np.float64], waiting: pa.Table
) -> list[pa.Table]:
    """Return the rows of ``held_bars`` for bars that do not wait there yet, created now.

    Returns
    -------
    list[pa.Table]
        One table per date.
    """
    now = clock.now()
    there = {(row["symbol"], row["timestamp"]): row for row in waiting.to_pylist()}
    days: dict[int, list[dict[str, Any]]] = {}
    for at in range(len(bars)):
        theirs = float(previous[bars.row[at]])
        row: dict[str, Any] = {name: float(getattr(bars, name)[at]) for name in _VALUES} | {
            "symbol": names[bars.symbol[at]],
            "timestamp": int(bars.timestamp[at]),
            "split_ratio": 1.0,
            "event_timestamp": int(bars.event[at]) * 1_000_000,
            "created_timestamp": now,
            "source": "scanner",
            "previous_close": None if np.isnan(theirs) else theirs,
        }
        known = there.get((row["symbol"], row["timestamp"]))
        if known is not None:
            if all(known[name] == row[name] for name in (*_VALUES, "previous_close")):
                continue
            row["created_timestamp"] = created_after(now, known["created_timestamp"])
        days.setdefault(int(bars.event[at]) // 86_400, []).append(row)
    return [pa.Table.from_pylist(rows, schema=_SCHEMA) for _, rows in sorted(days.items())]


def hold(root: Path, tables: list[pa.Table], run_id: str) -> list[Path]:
    """Append rows of ``held_bars``; the caller holds the lakehouse's lock."""
    return [append_part(root, HELD_BARS, rows, run_id) for rows in tables]


def sessions_of(rows: pa.Table) -> list[tuple[str, int]]:
    """Return symbol and close, Unix seconds, of each row."""
    seconds = pc.divide(rows["event_timestamp"].cast(pa.int64()), 1_000_000)
    return list(zip(rows["symbol"].to_pylist(), seconds.to_pylist(), strict=True))
