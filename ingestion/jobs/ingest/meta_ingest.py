"""The symbols' metadata: one row per observed change, and who has gone.

A row of ``absences`` is appended when a symbol is absent on another UTC day, and when it is seen
again; the newest one of a symbol counts. So a symbol that is there costs nothing, and one that has
gone three rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from ingestion.base import clock
from ingestion.base.errors import ClockError
from ingestion.base.plain import plain
from ingestion.catalog import ABSENCES, SYMBOLS, Column
from ingestion.jobs.ingest.scan import (
    CoverageReport,
    Scanned,
    ScanRequest,
    Scans,
    refuse_unless_enough,
)
from ingestion.lakehouse import (
    Lakehouse,
    Part,
    RunFile,
    append_part,
    arrow_schema,
    list_parts,
    read_part,
    read_symbols,
)
from ingestion.markets.symbols import exchange_of
from ingestion.markets.universe import not_shown
from ingestion.project import Project
from ingestion.runs.run import Run
from ingestion.scanner import Snapshot, Table

RECEIPT_FILE = "meta_ingest.json"
METADATA = Table("symbols", SYMBOLS.scanned)
"""What is asked of the scanner; no column here is worth the others."""


@dataclass(frozen=True)
class SymbolsReport:
    """What a run observed."""

    new: int
    """Symbols that were not known before."""
    changed: int
    """Symbols whose metadata are others than before, those that returned not counted."""
    unchanged: int
    returned: tuple[str, ...]
    """Symbols that were inactive and are there again."""
    became_inactive: tuple[str, ...]
    """Symbols absent from the third complete daily answer."""
    absent_days: dict[str, int]
    """By active symbol, on how many days in a row complete answers left it out."""
    unknown_columns: tuple[str, ...]
    """Columns that the scanner does not have; what was known of them before is kept."""
    other_exchange: dict[str, str]
    """By symbol, the scanner's exchange where it is not the symbol's own.

    It is kept as it came, and decides nothing: the symbol names the listing, and with it the hours.
    """


DAYS_TO_INACTIVE = 3
"""Complete daily answers that must leave a symbol out before it counts as gone."""


@dataclass(frozen=True)
class MetaIngestResult:
    """What a run did."""

    report: CoverageReport
    symbols: SymbolsReport
    receipt: RunFile
    part: Part | None
    """Of ``symbols``; None if nothing has changed."""


def meta_ingest(
    project: Project,
    request: ScanRequest,
    run: Run | None = None,
    scans: Scans | None = None,
) -> MetaIngestResult:
    """Fetch the symbols' metadata, and append a row for each symbol that is not as it was.

    A symbol becomes inactive when complete answers that asked for it have left it out on three UTC
    days without showing it in between. What failed, or was asked for only once, was not left out.
    Of a universe, the symbols that no page shows are asked for by name.

    The receipt is written first, then the absences, then the rows, so that a run that dies is
    simply run again.

    Parameters
    ----------
    scans
        Those of the run that this job is a part of; it makes its own if None.

    Raises
    ------
    LakehouseLocked
        If another run is writing.
    NothingFetched
        If no row came.
    GateRefused
        If the coverage is below ``min_coverage``; nothing counts as absent then.
    ClockError
        If the lakehouse knows one of the changed symbols as of now or later.
    """
    lakehouse = project.lakehouse
    with Run.open(project, "meta-ingest", request, file=RECEIPT_FILE, step_of=run) as run:
        known = _known(lakehouse)
        scans = scans or Scans(project, request, [METADATA])
        scanned = scans.table(METADATA.name)
        whole = scanned.snapshot
        # Of a column that the scanner does not have, what was known before is kept.
        snapshot = whole.table(
            [each for each in whole.columns if each.scanner not in whole.unknown]
        )
        seen, gone, now = _presence(scans, scanned, snapshot, known)
        scanned = scanned._replace(snapshot=snapshot, known_at=now)
        report = CoverageReport.of(run.id, request, scanned)
        run.tell(**plain(report))
        refuse_unless_enough(report, run)
        absent = [symbol for symbol in gone if symbol in known and known[symbol]["active"]]
        days, absences = _absences(lakehouse, seen, absent, now)
        final = [symbol for symbol, count in days.items() if count >= DAYS_TO_INACTIVE]
        changes = _changes(snapshot.columns, seen, final, known, now)
        _refuse_earlier(changes, known, now)
        others = _other_exchange(snapshot.columns, seen)
        symbols = _report(changes, seen, days, known, snapshot.unknown, others)
        run.tell(**plain(report), symbols=symbols)
        run.write()
        if absences:
            append_part(lakehouse, ABSENCES, _table(ABSENCES, absences), run.id)
        part = None
        if changes:
            part = append_part(lakehouse, SYMBOLS, _table(SYMBOLS, changes), run.id)
    return MetaIngestResult(report, symbols, run.receipt, part)


Row = dict[str, Any]
Seen = dict[str, tuple[Any, ...]]


def _known(lakehouse: Lakehouse) -> dict[str, Row]:
    """Return each symbol's newest row."""
    rows = read_symbols(lakehouse)
    newest = rows.filter(rows["valid_until"].is_null()).drop_columns(["valid_until"])
    return {row["symbol"]: row for row in newest.to_pylist()}


def _presence(
    scans: Scans, scanned: Scanned, snapshot: Snapshot, known: dict[str, Row]
) -> tuple[Seen, tuple[str, ...], datetime]:
    """Return the rows by symbol, the symbols that complete answers left out twice, and since when.

    Symbols that the pages of a market do not show are asked for by name: those of another market
    answer to it.
    """
    if not snapshot.is_complete:
        return snapshot.rows, (), scanned.known_at
    shown = snapshot.rows.keys() | snapshot.failed.keys() | set(snapshot.absent)
    active = [symbol for symbol, row in known.items() if row["active"]]
    missing = not_shown(scanned.universe, shown, active)
    if not missing:
        return snapshot.rows, snapshot.absent, scanned.known_at
    again = scans.ask(missing, snapshot.columns)
    gone = again.absent if again.is_complete else ()
    return snapshot.rows | again.rows, (*snapshot.absent, *gone), clock.now()


def _absences(
    lakehouse: Lakehouse, seen: Collection[str], absent: Iterable[str], now: datetime
) -> tuple[dict[str, int], list[Row]]:
    """Return on how many days each symbol has been absent, and the rows that say what is new.

    Parameters
    ----------
    seen
        Symbols that the scanner showed.
    absent
        Active symbols that complete answers left out.
    """
    newest: dict[str, tuple[int, datetime]] = {}
    for part in list_parts(lakehouse, ABSENCES):
        for row in read_part(part, ABSENCES).to_pylist():
            symbol, at = row["symbol"], row["observed_at"]
            if symbol not in newest or newest[symbol][1] < at:
                newest[symbol] = row["days"], at
    observed: dict[str, int] = {}
    absent_days: dict[str, int] = {}
    for symbol in absent:
        days, last = newest.get(symbol, (0, None))
        if last is None or (days == 0 and last < now) or last.date() < now.date():
            days += 1
            observed[symbol] = days
        absent_days[symbol] = days
    again = (name for name, (days, last) in newest.items() if days and name in seen and last < now)
    observed |= dict.fromkeys(again, 0)
    rows = [{"symbol": name, "days": days, "observed_at": now} for name, days in observed.items()]
    return absent_days, rows


def _changes(
    columns: Sequence[Column],
    seen: Seen,
    gone: Iterable[str],
    known: dict[str, Row],
    now: datetime,
) -> list[Row]:
    """Return the rows of the symbols that are not as they were."""
    names = [column.name for column in columns]
    nothing = dict.fromkeys(arrow_schema(SYMBOLS).names)
    changes = []
    for symbol, values in seen.items():
        before = known.get(symbol, nothing)
        row = before | dict(zip(names, values, strict=True)) | {"symbol": symbol, "active": True}
        if row != before:
            changes.append(row | {"valid_from": now})
    changes += [known[symbol] | {"active": False, "valid_from": now} for symbol in gone]
    return changes


def _refuse_earlier(changes: list[Row], known: dict[str, Row], now: datetime) -> None:
    """Keep each symbol's rows in the order in which they were observed."""
    late = [
        row["symbol"]
        for row in changes
        if row["symbol"] in known and known[row["symbol"]]["valid_from"] >= now
    ]
    if late:
        raise ClockError(
            f"the lakehouse knows {len(late)} of the symbols that have changed as of now or later, "
            f"{late[0]} among them, and it is {now:%Y-%m-%d %H:%M:%S} UTC (TVFEAST_NOW?): replay "
            "earlier days in a project of their own, or run again when the clock has moved on"
        )


def _report(
    changes: list[Row],
    seen: Seen,
    absent_days: dict[str, int],
    known: dict[str, Row],
    unknown_columns: tuple[str, ...],
    other_exchange: dict[str, str],
) -> SymbolsReport:
    there = [row["symbol"] for row in changes if row["active"]]
    inactive = tuple(row["symbol"] for row in changes if not row["active"])
    returned = tuple(symbol for symbol in there if symbol in known and not known[symbol]["active"])
    new = sum(symbol not in known for symbol in there)
    return SymbolsReport(
        new=new,
        changed=len(there) - new - len(returned),
        unchanged=len(seen) - len(there),
        returned=returned,
        became_inactive=inactive,
        absent_days=absent_days,
        unknown_columns=unknown_columns,
        other_exchange=other_exchange,
    )


def _other_exchange(columns: Sequence[Column], seen: Seen) -> dict[str, str]:
    names = [column.name for column in columns]
    if "exchange" not in names:
        return {}
    at = names.index("exchange")
    told = {symbol: values[at] for symbol, values in seen.items() if values[at] is not None}
    return {symbol: text for symbol, text in told.items() if text != exchange_of(symbol)}


def _table(dataset: Any, rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=arrow_schema(dataset))
