"""Take back stored bars that are wrong, or of no session; nothing that was written is changed.

Each gets a last version of its row that says so (:mod:`ingestion.bars.withdrawn`). A split that
only a withdrawn bar tells stays known: the bar of its session gets the ratio, or else the symbol's
next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from feature_repo.catalog import OHLCV_1D, WITHDRAWN
from ingestion import clock
from ingestion.bars import record_ahead
from ingestion.bars.model import Split
from ingestion.bars.store import PARTS_AT_ONCE
from ingestion.bars.twins import keys
from ingestion.bars.withdrawn import keep_splits
from ingestion.errors import InputError
from ingestion.jobs.double_sessions import StoredBar, double_sessions
from ingestion.jobs.run import new_run_id
from ingestion.lakehouse import (
    append_rows,
    by_date,
    created_after,
    lakehouse_lock,
    list_parts,
    read_current_of,
    sweep_staging,
)
from ingestion.lakehouse.parts import Part
from ingestion.placing import session_days
from ingestion.quality.receipt import Job
from ingestion.settings import Settings
from ingestion.symbols import symbol_problem

RECEIPT_FILE = "withdraw_bars.json"
_AROUND = timedelta(days=2)
"""How far from its session's date the partition of a bar may be."""
_EPOCH = date(1970, 1, 1)
_NAMED = 20
"""Bars that the receipt names."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class WithdrawRequest:
    """Which bars, and why."""

    reason: str
    listed: bool = False
    """All that ``verify`` lists: of no session, and of two in one the one that came later."""
    symbol: str | None = None
    first: date | None = None
    """Session of the symbol's first bar, a local date."""
    last: date | None = None
    """Session of its last one, included; the first alone if there is none."""
    close: datetime | None = None
    """Close of the bar, where a session has two."""


@dataclass(frozen=True)
class WithdrawnBars:
    """What was taken back."""

    run_id: str
    reason: str
    bars: int
    symbols: int
    splits: tuple[Split, ...]
    """Ratios that other bars got, because only withdrawn ones told them."""
    parts: tuple[Path, ...]
    receipt: Path


def withdraw_bars(settings: Settings, request: WithdrawRequest) -> WithdrawnBars:
    """Take bars back.

    Raises
    ------
    InputError
        If there is no reason, no such bar, or a session has two bars and no close tells which.
    CorruptPart
        If a part that had to be read cannot be.
    LakehouseLocked
        If another run is writing.
    """
    _check(request)
    root, run_id = settings.lakehouse, new_run_id()
    with (
        lakehouse_lock(root, run_id),
        Job(settings, run_id, "withdraw-bars", RECEIPT_FILE, request) as job,
    ):
        sweep_staging(root)
        stored = by_date(list_parts(root, OHLCV_1D))
        rows = _listed(stored) if request.listed else _chosen(stored, request)
        if not rows:
            raise InputError(_nothing(request))
        source = f"{WITHDRAWN}{' '.join(request.reason.split())}"
        splits = keep_splits(root, rows)
        record_ahead(root, splits.ahead, "of a withdrawn bar", clock.now(), run_id)
        gone = {(row["symbol"], row["timestamp"]) for row in rows}
        others = (
            row
            for row in _with_ratios(stored, splits.ratios)
            if (row["symbol"], row["timestamp"]) not in gone
        )
        changed = [*({**row, "source": source} for row in rows), *others]
        parts = tuple(_append(root, stored, changed, run_id))
        named = [_told(row) for row in rows[:_NAMED]]
        job.tell(bars=len(rows), splits=splits.ratios, first_bars=named)
    symbols = len({row["symbol"] for row in rows})
    return WithdrawnBars(
        run_id, request.reason, len(rows), symbols, tuple(splits.ratios), parts, job.receipt
    )


def _check(request: WithdrawRequest) -> None:
    if not request.reason.strip():
        raise InputError("withdraw-bars needs a --reason: what is wrong, and who says so")
    if request.listed == (request.symbol is not None):
        raise InputError(
            "name SYMBOL and SESSION, or give --listed for what `tvfeast verify` lists"
        )
    if request.listed:
        if request.last or request.close:
            raise InputError("--to and --close go with SYMBOL and SESSION")
        return
    if problem := symbol_problem(request.symbol or ""):
        raise InputError(f"{request.symbol!r}: {problem}")
    if request.first is None:
        raise InputError("name the SESSION of the bar, a local date")
    if request.last and request.first > request.last:
        raise InputError(f"the first session, {request.first}, is after the last, {request.last}")


def _listed(stored: Mapping[date, list[Part]]) -> list[Row]:
    """Return the rows of all bars that stand in the way of their session's right one."""
    days: dict[date, set[tuple[str, int]]] = {}
    for each in double_sessions(dict(stored)):
        bar: StoredBar = each.superfluous
        days.setdefault(bar.day, set()).add((bar.symbol, bar.opens))
    return [
        row
        for day, wanted in sorted(days.items())
        for row in _rows(stored[day], sorted({symbol for symbol, _ in wanted}))
        if (row["symbol"], row["timestamp"]) in wanted
    ]


def _chosen(stored: Mapping[date, list[Part]], request: WithdrawRequest) -> list[Row]:
    """Return the rows of a symbol's bars of some sessions."""
    symbol, first = request.symbol or "", request.first or _EPOCH
    last = request.last or first
    of_session: dict[int, list[Row]] = {}
    for day in sorted(stored):
        if first - _AROUND <= day <= last + _AROUND:
            rows = read_current_of(stored[day], OHLCV_1D, [symbol])
            _, opens, closes = keys(rows)
            for session, row in zip(
                session_days(symbol, opens, closes).tolist(), rows.to_pylist(), strict=True
            ):
                if first <= _EPOCH + timedelta(session) <= last:
                    of_session.setdefault(session, []).append(row)
    chosen = []
    for session, rows_of in of_session.items():
        wanted = [row for row in rows_of if request.close in (None, row["event_timestamp"])]
        if len(wanted) > 1:
            closes_at = ", ".join(f"{row['event_timestamp'].isoformat()}" for row in wanted)
            raise InputError(
                f"{symbol} has {len(wanted)} bars of session {_EPOCH + timedelta(session)}: tell "
                f"which by its --close, one of {closes_at}"
            )
        chosen += wanted
    return chosen


def _rows(parts: list[Part], symbols: list[str]) -> list[Row]:
    rows: list[Row] = read_current_of(parts, OHLCV_1D, symbols).to_pylist()
    return rows


def _with_ratios(stored: Mapping[date, list[Part]], ratios: Iterable[Split]) -> Iterator[Row]:
    """Yield the rows of bars that get another split ratio."""
    for split in ratios:
        day = (datetime(1970, 1, 1) + timedelta(seconds=split.event)).date()
        for row in _rows(stored[day], [split.symbol]):
            if int(row["event_timestamp"].timestamp()) == split.event:
                yield {**row, "split_ratio": split.ratio}


def _append(
    root: Path, stored: Mapping[date, list[Part]], changed: Iterable[Row], run_id: str
) -> Iterator[Path]:
    """Append new versions of rows, one part per date."""
    days: dict[date, list[Row]] = {}
    for row in changed:
        days.setdefault(row["event_timestamp"].date(), []).append(row)
    dates = iter(sorted(days))
    while batch := list(islice(dates, PARTS_AT_ONCE)):
        yield from append_rows(
            root,
            OHLCV_1D,
            (row for day in batch for row in _created(stored[day], days[day])),
            run_id,
        )


def _created(parts: list[Part], rows: list[Row]) -> list[Row]:
    """Return rows of a date as created now, and after what they restate."""
    symbols = sorted({row["symbol"] for row in rows})
    there = read_current_of(parts, OHLCV_1D, symbols, withdrawn=True)
    created = created_after(clock.now(), pc.max(there["created_timestamp"]).as_py())
    return [{**row, "created_timestamp": created} for row in rows]


def _told(row: Row) -> dict[str, Any]:
    names = ("symbol", "timestamp", "event_timestamp", "close", "source")
    return {name: row[name] for name in names}


def _nothing(request: WithdrawRequest) -> str:
    if request.listed:
        return "`tvfeast verify` lists no bar of no session, and no session that is stored twice"
    until = f" to {request.last}" if request.last else ""
    closing = f" that closes {request.close.isoformat()}" if request.close else ""
    return f"no bar of {request.symbol}, session {request.first}{until},{closing} is stored"
