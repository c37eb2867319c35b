"""Closed bars that wait for a split to be recorded.

They are kept apart, so that nothing is lost meanwhile: the scanner shows each bar for a day. Those
of the scanner have its previous close, and ``data-ingest`` releases them; those of an import are
released by the next import that has an answer. A bar waits until one of its symbol and session is
stored, or until it was found to be a bad one: then a later version of its row says so.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.catalog import HELD_BARS, OHLCV_1D
from ingestion import clock
from ingestion.bars.model import Bars
from ingestion.lakehouse import (
    append_parts,
    arrow_schema,
    by_date,
    created_after,
    list_parts,
    read_current,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VALUES = ("open", "high", "low", "close", "volume")
_COMPARED = (*_VALUES, "split_ratio", "previous_close", "source")
_SCHEMA = arrow_schema(HELD_BARS)
REFUSED = "refused;"
"""Begins the source of a held bar that was found to be a bad one: it waits no longer."""


def waiting_bars(root: Path) -> pa.Table:
    """Return the held bars that are not stored, in the schema of ``held_bars``.

    Sorted by and unique on (``symbol``, ``timestamp``).
    """
    parts = by_date(list_parts(root, HELD_BARS))
    stored = by_date(list_parts(root, OHLCV_1D))
    tables = [_SCHEMA.empty_table()]
    for day, of_day in parts.items():
        rows = read_current(of_day, HELD_BARS)
        # One that was stored and withdrawn since does not come back.
        there = read_current(
            stored.get(day, []),
            OHLCV_1D,
            ["symbol", "timestamp", "event_timestamp"],
            withdrawn=True,
        )
        known = set(sessions_of(there))
        tables.append(rows.filter(pa.array([key not in known for key in sessions_of(rows)])))
    rows = pa.concat_tables(tables)
    refused = pc.starts_with(rows["source"], REFUSED)
    rows = rows.filter(pc.invert(refused))
    return rows.sort_by([("symbol", "ascending"), ("timestamp", "ascending")])


def held_by_imports(waiting: pa.Table, symbols: Container[str]) -> tuple[pa.Table, list[str]]:
    """Return the waiting bars of some symbols that imports held back, and their sources."""
    rows = waiting.to_pylist()
    wanted = [is_import(row["source"]) and row["symbol"] in symbols for row in rows]
    waiting = waiting.filter(pa.array(wanted, pa.bool_()))
    return waiting, waiting["source"].to_pylist()


def is_import(source: str) -> bool:
    """Tell whether a person brought a bar with that source."""
    return source.startswith("import:")


def as_bars(waiting: pa.Table, numbers: dict[str, int], file: int, first_row: int = 0) -> Bars:
    """Return waiting bars under a file's number, the rows numbered on from ``first_row``.

    A ratio other than 1 is what their file said; 1 says nothing.
    """
    size = waiting.num_rows
    columns = {name: np.array(waiting[name].to_numpy()) for name in ("timestamp", *_VALUES)}
    ratio = np.array(waiting["split_ratio"].to_numpy())
    return Bars(
        file=np.full(size, file, dtype=np.int32),
        row=np.arange(first_row, first_row + size, dtype=np.int64),
        symbol=np.array([numbers[name] for name in waiting["symbol"].to_pylist()], dtype=np.int32),
        event=np.array([event for _, event in sessions_of(waiting)], dtype=np.int64),
        split_ratio=np.where(ratio == 1, np.nan, ratio),
        **columns,
    )


def with_waiting(
    bars: Bars, names: Sequence[str], previous: NDArray[np.float64], waiting: pa.Table
) -> tuple[Bars, list[str], NDArray[np.float64]]:
    """Return bars and waiting ones together; a session's newer bar stands for the waiting one."""
    numbers = {name: number for number, name in enumerate(names)}
    fresh = {
        (names[number], int(event)) for number, event in zip(bars.symbol, bars.event, strict=True)
    }
    waiting = waiting.filter(
        pa.array([key not in fresh for key in sessions_of(waiting)], pa.bool_())
    )
    for symbol in waiting["symbol"].to_pylist():
        numbers.setdefault(symbol, len(numbers))
    held = as_bars(waiting, numbers, 0, len(previous))
    theirs = waiting["previous_close"].cast(pa.float64()).to_numpy(zero_copy_only=False)
    return Bars.concatenate([bars, held]), list(numbers), np.concatenate([previous, theirs])


def newly_held(
    bars: Bars,
    names: Sequence[str],
    previous: NDArray[np.float64],
    sources: Sequence[str],
    waiting: pa.Table,
) -> list[pa.Table]:
    """Return the rows of ``held_bars`` for bars that do not wait there yet, created now.

    Parameters
    ----------
    previous, sources
        Shape ``(n,)`` each: the scanner's previous close, NaN for none, and the source, per bar.

    Returns
    -------
    list[pa.Table]
        One table per date.
    """
    now = clock.now()
    there = {(row["symbol"], row["timestamp"]): row for row in waiting.to_pylist()}
    days: dict[int, list[dict[str, Any]]] = {}
    for at in range(len(bars)):
        theirs, ratio = float(previous[at]), float(bars.split_ratio[at])
        row: dict[str, Any] = {name: float(getattr(bars, name)[at]) for name in _VALUES} | {
            "symbol": names[bars.symbol[at]],
            "timestamp": int(bars.timestamp[at]),
            "split_ratio": 1.0 if np.isnan(ratio) else ratio,
            "event_timestamp": int(bars.event[at]) * 1_000_000,
            "created_timestamp": now,
            "source": sources[at],
            "previous_close": None if np.isnan(theirs) else theirs,
        }
        known = there.get((row["symbol"], row["timestamp"]))
        if known is not None:
            if all(known[name] == row[name] for name in _COMPARED):
                continue
            row["created_timestamp"] = created_after(now, known["created_timestamp"])
        days.setdefault(int(bars.event[at]) // 86_400, []).append(row)
    return [pa.Table.from_pylist(rows, schema=_SCHEMA) for _, rows in sorted(days.items())]


def hold(root: Path, tables: list[pa.Table], run_id: str) -> list[Path]:
    """Append rows of ``held_bars``; the caller holds the lakehouse's lock."""
    return append_parts(root, HELD_BARS, tables, run_id) if tables else []


def sessions_of(rows: pa.Table) -> list[tuple[str, int]]:
    """Return symbol and close, Unix seconds, of each row."""
    seconds = pc.divide(rows["event_timestamp"].cast(pa.int64()), 1_000_000)
    return list(zip(rows["symbol"].to_pylist(), seconds.to_pylist(), strict=True))
