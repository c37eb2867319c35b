"""The scanner's closed daily bars become parts of ``ohlcv_1d``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from ingestion.bars.arrays import Bars
from ingestion.bars.bar_reader import describe
from ingestion.bars.changed_past import ChangedPast
from ingestion.bars.held_bars import (
    hold_back,
    newly_held,
    symbols_and_closes,
    waiting_bars,
    with_waiting,
)
from ingestion.bars.holes import read_accepted, record_accepted, record_missed
from ingestion.bars.pending_splits import take_recorded
from ingestion.bars.refusals import EXAMPLES, Reason, Refusal, Refusals
from ingestion.bars.scanned import (
    DID_NOT_OPEN,
    Inspection,
    Scanned,
    SessionsBefore,
    SuspectedChange,
    Unsettled,
    find_missed_bars,
    inspect_previous_closes,
    read_scanned,
)
from ingestion.bars.source import SCANNER, Source
from ingestion.bars.stored_bars import LOOKBACK
from ingestion.bars.writing import Incoming, NewRows, Written, append_new, new_rows
from ingestion.base import clock
from ingestion.base.errors import GateRefused
from ingestion.base.plain import plain
from ingestion.base.wording import counted
from ingestion.catalog import SCANNED_BAR
from ingestion.jobs.ingest.missing_sessions import MissingSession, find_holes
from ingestion.jobs.ingest.scan import (
    CoverageReport,
    ScanRequest,
    Scans,
    refuse_unless_enough,
)
from ingestion.lakehouse import Lakehouse, Part, RunFile
from ingestion.project import Project
from ingestion.runs.run import Run
from ingestion.scanner import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

RECEIPT_FILE = "data_ingest.json"
BARS = Table("ohlcv_1d", SCANNED_BAR)
"""What is asked of the scanner."""
ROUNDING = 1e-9
"""Relative difference up to which a bar is the stored one."""


@dataclass(frozen=True)
class BarsReport:
    """What became of a snapshot's bars."""

    SHOWN: ClassVar = ("refused", "refused_by_reason", "refusals")

    closed: int
    """Good bars of closed sessions: written, unchanged, overruled, or held back."""
    written: int
    """Bars that this run adds, those released among them."""
    restated: int
    """Bars among the written that replace an earlier version."""
    changed_past: ChangedPast
    """Those among the restated that the scanner gave other values before."""
    unchanged: int
    """Bars that were there already."""
    released: int
    """Bars among the written that had been held back."""
    waiting: int
    """Bars that are held back now, of this run and of earlier ones."""
    open: int
    """Bars that may still move, of markets that close."""
    never_closing: int
    """Running bars of markets that never close."""
    unknown_hours: int
    """Bars of exchanges of unknown hours, which count as closed 24 h after their open."""
    first: int
    """Closed bars without a stored one in the twelve days before, to compare with."""
    held_back: tuple[SuspectedChange, ...]
    """Split suspected: symbols whose bars wait until the split is recorded."""
    suspected_in_store: tuple[SuspectedChange, ...]
    """Split suspected of bars that are stored without one."""
    unsettled: tuple[Unsettled, ...]
    """Symbols whose previous close differs from the stored one, and not as by a split."""
    overruled: tuple[str, ...]
    """Symbols whose bar disagrees with an imported one, which stays."""
    traded_on_closed_days: tuple[str, ...]
    """Days on which symbols traded and the calendar has none."""
    did_not_open: tuple[str, ...]
    """Markets and sessions that the calendar has and in which, by the previous closes, nobody
    traded: they are accepted as missing."""
    assumed_hours: dict[str, int]
    """By exchange, bars among the written that lie beyond the end of its calendar."""
    held_by_import: tuple[str, ...]
    """Symbols whose bars wait since an import, for an answer to its suspected split."""
    refused_rows: tuple[Refusal, ...] = field(repr=False)
    refused_file: RunFile | None = None
    """The file of all refused rows; None if there are none."""

    @property
    def refused(self) -> int:
        """Rows that were no bars."""
        return len(self.refused_rows)

    @property
    def refused_by_reason(self) -> dict[str, int]:
        """How many they were, by reason, the commonest first."""
        return dict(Counter(str(row.reason) for row in self.refused_rows).most_common())

    @property
    def refusals(self) -> list[Refusal]:
        """The first :data:`EXAMPLES` of each reason, in the order in which they were met."""
        seen: Counter[Reason] = Counter()
        shown = []
        for row in self.refused_rows:
            seen[row.reason] += 1
            if seen[row.reason] <= EXAMPLES:
                shown.append(row)
        return shown


@dataclass(frozen=True)
class DataIngestResult:
    """What a run did."""

    report: CoverageReport
    bars: BarsReport
    receipt: RunFile
    parts: tuple[Part, ...]
    """The new parts of ``ohlcv_1d``, one per date; none if nothing was new."""
    missing: tuple[MissingSession, ...] = ()
    """Sessions that the lakehouse lacks now."""

    @property
    def refusal(self) -> str | None:
        """Why bars were refused, where the good ones are fewer than asked for; else None."""
        report, bars = self.report, self.bars
        if report.is_enough:
            return None
        why = "; ".join(f"{count:,} {reason}" for reason, count in bars.refused_by_reason.items())
        return (
            f"{report} is below --min-coverage {report.min_coverage:g}: "
            f"{counted(bars.written, 'good bar was', 'good bars were')} written, the others "
            f"refused ({why}); {self.receipt} says why, bar by bar"
        )


def data_ingest(
    project: Project,
    request: ScanRequest,
    run: Run | None = None,
    scans: Scans | None = None,
) -> DataIngestResult:
    """Fetch the current daily bars, and append those that have closed and are new.

    Whether a bar is final is judged by the instant before the request that brought it: what was
    final then has its last values in the answer. The receipt is written first; a run that died is
    simply run again, and adds what is missing.

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
        If the coverage is below ``min_coverage``; how many of the bars are closed does not matter.
        Bars that are refused count as missing: where only they bring the coverage below it, the
        good ones are written, and :func:`~ingestion.base.errors.demand_all` raises.
    """
    lakehouse = project.lakehouse
    with Run.open(project, "data-ingest", request, file=RECEIPT_FILE, step_of=run) as run:
        scans = scans or Scans(project, request, [BARS])
        brought = scans.table(BARS.name)
        report = CoverageReport.of(run.id, request, brought)
        run.tell(**plain(report))
        refuse_unless_enough(report, run)
        scanned = read_scanned(brought.snapshot.rows, brought.snapshot.asked_at)
        plan = _plan(lakehouse, scanned, brought.known_at)
        refused = plan.report.refused_rows
        report = replace(report, refused=len({row.symbol for row in refused}))
        bars = replace(plan.report, refused_file=_save_refused(lakehouse, refused, run))
        run.tell(**plain(report), bars=bars)
        run.write()
        hold_back(lakehouse, newly_held(*plan.held), run.id)
        _record(lakehouse, plan.before, run.id)
        parts = tuple(append_new(lakehouse, plan.rows, run.id))
        missing = find_holes(lakehouse, clock.now()).open
        run.tell(missing=missing)
        result = DataIngestResult(report, bars, run.receipt, parts, missing)
        if result.refusal is not None:
            run.fail(GateRefused(result.refusal))
    return result


def _record(lakehouse: Lakehouse, before: SessionsBefore, run_id: str) -> None:
    """Record missed bars, and sessions in which a market did not open."""
    now = clock.now()
    record_missed(lakehouse, before.missed, now, run_id)
    known = {(each.market, each.session) for each in read_accepted(lakehouse)}
    closed = [each for each in before.closed if each[:2] not in known]
    record_accepted(lakehouse, closed, DID_NOT_OPEN, now, run_id)


def _save_refused(lakehouse: Lakehouse, refused: Sequence[Refusal], run: Run) -> RunFile | None:
    """List all refused rows in the run's folder; ``row`` is their place among them."""
    refusals = Refusals(run.scratch("refused"))
    for each in refused:
        refusals.add(each)
    return refusals.save(lakehouse, run.id)


@dataclass(frozen=True)
class _Plan:
    """What is to be appended."""

    rows: list[NewRows]
    held: tuple[Bars, list[str], NDArray[np.float64], list[str], pa.Table]
    """What :func:`newly_held` takes."""
    report: BarsReport
    before: SessionsBefore


def _plan(lakehouse: Lakehouse, scanned: Scanned, known_at: datetime) -> _Plan:
    waiting = waiting_bars(lakehouse)
    bars, names, previous = with_waiting(scanned.bars, scanned.names, scanned.previous, waiting)
    incoming = Incoming(
        bars,
        names,
        source=lambda at: pa.repeat(str(SCANNER), len(at)),
        tolerance=ROUNDING,
        stays=lambda stored: not stored.is_scanned,
    )
    _, news = _new_rows(lakehouse, incoming)
    # The scanner shows a halted symbol's last bar for ever: it was inspected when it was new.
    recent = news.is_new | (bars.event >= int((known_at - LOOKBACK).timestamp()))
    # A bar that an import held back waits for an import with an answer, and so do later bars.
    held = _after_import_held(bars, names, len(scanned.previous), waiting)
    by_import = sorted({names[number] for number in bars.symbol[held].tolist()})
    recent &= ~held
    inspection = inspect_previous_closes(lakehouse, bars.take(recent), names, previous)
    held[np.flatnonzero(recent)[inspection.held]] = True
    kept = bars.take(~held)
    moved = take_recorded(lakehouse, kept, names)
    rows, written = _new_rows(lakehouse, replace(incoming, bars=kept, splits=moved))
    for at, against in written.not_taken.items():
        detail = f"{describe(kept, at)}; {against}"
        scanned.refuse(names[kept.symbol[at]], against.reason, detail)
    waited = set(symbols_and_closes(waiting))
    keys = zip(bars.symbol[~held].tolist(), bars.event[~held].tolist(), strict=True)
    was_waiting = np.array([(names[n], event) in waited for n, event in keys], dtype=bool)
    before = find_missed_bars(lakehouse, bars.take(recent & ~held), names, previous)
    report = _report(scanned, inspection, written, int(held.sum()), was_waiting, by_import, before)
    held_bars = bars.take(held)
    sources = _sources(held_bars, names, len(scanned.previous), waiting)
    waits = held_bars, names, previous[held_bars.row], sources, waiting
    return _Plan(rows, waits, report, before)


def _after_import_held(
    bars: Bars, names: list[str], scanned: int, waiting: pa.Table
) -> NDArray[np.bool_]:
    """Find bars that an import held back, and the later ones of their symbols.

    Where the scanner shows such a session itself, its previous close shows whether it was a split.
    """
    by_import = {
        key
        for key, source in zip(
            symbols_and_closes(waiting), waiting["source"].to_pylist(), strict=True
        )
        if Source.parse(source).is_imported
    }
    first: dict[int, int] = {}
    for number, event, row in zip(bars.symbol, bars.event, bars.row, strict=True):
        if row >= scanned and (names[number], int(event)) in by_import:
            first[int(number)] = min(int(event), first.get(int(number), int(event)))
    since = np.array([first.get(int(number), 1 << 62) for number in bars.symbol], dtype=np.int64)
    held: NDArray[np.bool_] = bars.event >= since
    return held


def _sources(bars: Bars, names: list[str], scanned: int, waiting: pa.Table) -> list[str]:
    """Return the source of each held bar; a bar that waited before keeps its source."""
    origins = dict(zip(symbols_and_closes(waiting), waiting["source"].to_pylist(), strict=True))
    return [
        str(SCANNER) if row < scanned else origins[names[number], int(event)]
        for number, event, row in zip(bars.symbol, bars.event, bars.row, strict=True)
    ]


def _new_rows(lakehouse: Lakehouse, incoming: Incoming) -> tuple[list[NewRows], Written]:
    written = Written(np.zeros(len(incoming.bars), dtype=bool))
    return list(new_rows(lakehouse, incoming, written)), written


def _report(
    scanned: Scanned,
    inspection: Inspection,
    written: Written,
    held: int,
    was_waiting: NDArray[np.bool_],
    by_import: list[str],
    before: SessionsBefore,
) -> BarsReport:
    added = int(written.is_new.sum())
    return BarsReport(
        closed=len(scanned.bars) - len(written.not_taken),
        written=added,
        restated=written.restated,
        changed_past=written.past,
        unchanged=len(written.is_new) - added - len(written.overruled) - len(written.not_taken),
        released=int((written.is_new & was_waiting).sum()),
        waiting=held,
        open=scanned.open,
        never_closing=scanned.never_closing,
        unknown_hours=scanned.unknown_hours,
        first=inspection.first,
        held_back=tuple(each for each in inspection.suspects if not each.is_stored),
        suspected_in_store=tuple(each for each in inspection.suspects if each.is_stored),
        unsettled=tuple(inspection.unsettled),
        overruled=tuple(written.overruled),
        assumed_hours=dict(sorted(written.assumed.items())),
        traded_on_closed_days=tuple(scanned.trading_days.on_closed_days()),
        did_not_open=tuple(f"{market} {session}" for market, session, _ in before.closed),
        held_by_import=tuple(by_import),
        refused_rows=tuple(scanned.refused),
    )
