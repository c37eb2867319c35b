"""Take back stored bars that are wrong, or of no session; nothing that was written is changed.

Each gets a last version of its row that says so (:mod:`ingestion.bars.writing`). A split that
only a withdrawn bar has stays known: the bar of its session gets the ratio, or else the symbol's
next one.

:func:`double_sessions` finds those of no session, and sessions that are stored twice. An earlier
version of the project stored such bars: those of an exchange with a calendar that close with no
session of it, and two bars of one symbol and session that close at different instants.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.arrays import Split, close_seconds
from ingestion.bars.pending_splits import keep_splits
from ingestion.bars.source import Source
from ingestion.bars.splits import record_splits
from ingestion.bars.writing import PARTS_AT_ONCE
from ingestion.base import clock
from ingestion.base.arrow import latest, to_numpy, to_objects
from ingestion.base.errors import InputError
from ingestion.base.instants import EPOCH, date_of_day, utc_date
from ingestion.base.wording import counted
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import (
    Lakehouse,
    Part,
    RunFile,
    append_parts,
    arrow_schema,
    by_date,
    created_after,
    created_at,
    list_parts,
    read_current,
    read_current_of,
    standing,
)
from ingestion.markets.sessions import are_misplaced, by_hours, session_days
from ingestion.markets.symbols import symbol_problem
from ingestion.project import Project
from ingestion.runs.run import Run

RECEIPT_FILE = "withdraw_bars.json"
_AROUND = timedelta(days=2)
"""How far from its session's date the partition of a bar may be."""

Row = Mapping[str, Any]
Key = tuple[str, int]
"""Symbol and open of a bar."""
Gone = dict[date, set[Key]]
"""Bars to take back, by the dates of their partitions, in order."""
_COLUMNS = ["symbol", "timestamp", "event_timestamp", "created_timestamp"]


class StoredBar(NamedTuple):
    """Which bar it is."""

    symbol: str
    opens: int
    """Unix s."""
    day: date
    """Its partition's."""


class _Bar(NamedTuple):
    key: StoredBar
    session: int
    """Day of its session, from 1970-01-01."""
    created: datetime
    is_misplaced: bool
    """Whether it closes with no session of its exchange's calendar."""


class DoubleSession(NamedTuple):
    """A superfluous bar: it is in no session, or it is the later one of two in one session."""

    superfluous: StoredBar
    """The bar that is in no session, or else the one that was written later."""
    session: date
    parts: tuple[str, ...]
    """Where the bars of that session are, below the lakehouse's root; the superfluous one last."""
    is_misplaced: bool
    """Whether it closes with no session of its exchange's calendar."""

    def __str__(self) -> str:
        what = "closes with no session of its exchange" if self.is_misplaced else "is there twice"
        return f"{self.superfluous.symbol}, session {self.session}, {what}"


def double_sessions(parts: dict[date, list[Part]]) -> Iterator[DoubleSession]:
    """Yield the superfluous bars, in the order of their dates.

    Parameters
    ----------
    parts
        Of ``ohlcv_1d``, by date.
    """
    seen: dict[tuple[str, int], _Bar] = {}
    for day, of_day in parts.items():
        # Bars of one session lie two dates apart at most.
        seen = {key: bar for key, bar in seen.items() if day - bar.key.day <= timedelta(days=2)}
        for bar in _bars(day, read_current(of_day, OHLCV_1D, _COLUMNS)):
            key = bar.key.symbol, bar.session
            other = seen.get(key)
            if other is None or other.is_misplaced:
                seen[key] = kept = bar
            else:
                kept = other if bar.is_misplaced or other.created <= bar.created else bar
                seen[key] = kept
            if bar.is_misplaced:
                extra = bar
            elif other is None or other.is_misplaced:
                continue
            else:
                extra = other if kept is bar else bar
            beside = {bar.key.day, *([other.key.day] if other else [])} - {extra.key.day}
            keys = (parts[each][-1].key for each in (*sorted(beside), extra.key.day))
            session = date_of_day(extra.session)
            yield DoubleSession(extra.key, session, tuple(keys), extra.is_misplaced)


def _bars(day: date, rows: pa.Table) -> Iterator[_Bar]:
    symbols, opens, closes = (
        rows["symbol"].to_pylist(),
        to_numpy(rows["timestamp"]),
        close_seconds(rows),
    )
    days = np.zeros(len(symbols), dtype=np.int64)
    wrong = np.zeros(len(symbols), dtype=bool)
    for symbol, at in by_hours(symbols).items():
        days[at] = session_days(symbol, opens[at], closes[at])
        wrong[at] = are_misplaced(symbol, opens[at], closes[at])
    created = to_objects(rows["created_timestamp"])
    columns = (symbols, opens.tolist(), days.tolist(), created, wrong.tolist())
    for name, opened, number, written, is_wrong in zip(*columns, strict=True):
        yield _Bar(StoredBar(name, opened, day), number, written, is_wrong)


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
    """Ratios that other bars got, because only withdrawn bars had them."""
    parts: tuple[Part, ...]
    receipt: RunFile


def withdraw_bars(project: Project, request: WithdrawRequest) -> WithdrawnBars:
    """Take bars back.

    Raises
    ------
    InputError
        If there is no reason, no such bar, or a session has two bars and no close says which.
    CorruptPart
        If a part that had to be read cannot be.
    LakehouseLocked
        If another run is writing.
    """
    _check(request)
    lakehouse = project.lakehouse
    with Run.open(project, "withdraw-bars", request, file=RECEIPT_FILE) as run:
        stored = by_date(list_parts(lakehouse, OHLCV_1D))
        gone = _listed(stored) if request.listed else _chosen(stored, request)
        if not gone:
            raise InputError(_nothing(request))
        source = str(Source(withdrawn=" ".join(request.reason.split())))
        splits = keep_splits(lakehouse, _splits(stored, gone), set().union(*gone.values()))
        record_splits(lakehouse, splits.ahead, "of a withdrawn bar", clock.now(), run.id)
        parts = tuple(_append(lakehouse, stored, gone, splits.ratios, source, run.id))
        bars, symbols = sum(map(len, gone.values())), _symbols(*gone.values())
        run.tell(bars=bars, symbols=len(symbols), splits=splits.ratios)
    return WithdrawnBars(
        run.id, request.reason, bars, len(symbols), tuple(splits.ratios), parts, run.receipt
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


def _listed(stored: Mapping[date, list[Part]]) -> Gone:
    """Return the bars of no session, and the later one of two bars of one session."""
    days: Gone = {}
    for bar in (each.superfluous for each in double_sessions(dict(stored))):
        days.setdefault(bar.day, set()).add((bar.symbol, bar.opens))
    return dict(sorted(days.items()))


def _chosen(stored: Mapping[date, list[Part]], request: WithdrawRequest) -> Gone:
    symbol, first = request.symbol or "", request.first or EPOCH
    last = request.last or first
    of_session: dict[int, list[Row]] = {}
    for day in sorted(stored):
        if first - _AROUND <= day <= last + _AROUND:
            rows = read_current_of(stored[day], OHLCV_1D, [symbol])
            opens, closes = rows["timestamp"].to_numpy(), close_seconds(rows)
            for session, row in zip(
                session_days(symbol, opens, closes).tolist(), rows.to_pylist(), strict=True
            ):
                if first <= date_of_day(session) <= last:
                    of_session.setdefault(session, []).append(row)
    chosen: Gone = {}
    for session, rows_of in of_session.items():
        wanted = [row for row in rows_of if request.close in (None, row["event_timestamp"])]
        if len(wanted) > 1:
            closes_at = ", ".join(f"{row['event_timestamp'].isoformat()}" for row in wanted)
            raise InputError(
                f"{symbol} has {counted(len(wanted), 'bar')} of session "
                f"{date_of_day(session)}: say "
                f"which by its --close, one of {closes_at}"
            )
        for row in wanted:
            day = row["event_timestamp"].date()
            chosen.setdefault(day, set()).add((symbol, row["timestamp"]))
    return dict(sorted(chosen.items()))


def _splits(stored: Mapping[date, list[Part]], gone: Gone) -> list[Row]:
    rows: list[Row] = []
    for day, keys_of_day in gone.items():
        table = _of_keys(read_current_of(stored[day], OHLCV_1D, _symbols(keys_of_day)), keys_of_day)
        rows += table.filter(pc.not_equal(table["split_ratio"], 1)).to_pylist()
    return rows


def _append(
    lakehouse: Lakehouse,
    stored: Mapping[date, list[Part]],
    gone: Gone,
    ratios: Iterable[Split],
    source: str,
    run_id: str,
) -> Iterator[Part]:
    """Append the versions that take bars back, and those with other ratios; one part per date."""
    changed: dict[date, list[Split]] = {}
    for split in ratios:
        changed.setdefault(utc_date(split.event), []).append(split)
    dates = iter(sorted(gone.keys() | changed.keys()))
    while batch := list(islice(dates, PARTS_AT_ONCE)):
        tables = [
            _versions(stored[day], gone.get(day, set()), changed.get(day, []), source)
            for day in batch
        ]
        yield from append_parts(lakehouse, OHLCV_1D, tables, run_id)


def _versions(
    parts: list[Part], gone: AbstractSet[Key], changed: list[Split], source: str
) -> pa.Table:
    """Return the new versions of a date's bars, created now and after what they restate."""
    symbols = sorted({*_symbols(gone), *(split.symbol for split in changed)})
    there = read_current_of(parts, OHLCV_1D, symbols, withdrawn=True)
    created = created_after(clock.now(), latest(there["created_timestamp"]))
    there = standing(there)
    taken = _of_keys(there, gone)
    place = taken.column_names.index("source")
    taken = taken.set_column(place, "source", pa.array([source] * taken.num_rows, pa.string()))
    ratios = {(split.symbol, split.event): split.ratio for split in changed}
    others = [
        row | {"split_ratio": ratio}
        for row in (there.to_pylist() if ratios else [])
        if (row["symbol"], row["timestamp"]) not in gone
        and (ratio := ratios.get((row["symbol"], int(row["event_timestamp"].timestamp()))))
    ]
    schema = arrow_schema(OHLCV_1D)
    rows = pa.concat_tables([taken.cast(schema), pa.Table.from_pylist(others, schema=schema)])
    return created_at(rows, created)


def _of_keys(rows: pa.Table, wanted: AbstractSet[Key]) -> pa.Table:
    found = zip(rows["symbol"].to_pylist(), rows["timestamp"].to_pylist(), strict=True)
    return rows.filter(pa.array([key in wanted for key in found], pa.bool_()))


def _symbols(*several: AbstractSet[Key]) -> list[str]:
    return sorted({symbol for bars in several for symbol, _ in bars})


def _nothing(request: WithdrawRequest) -> str:
    if request.listed:
        return "`tvfeast verify` lists no bar of no session, and no session that is stored twice"
    until = f" to {request.last}" if request.last else ""
    closing = f" that closes {request.close.isoformat()}" if request.close else ""
    return f"no bar of {request.symbol}, session {request.first}{until},{closing} is stored"
