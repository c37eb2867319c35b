"""Recompute ``local_1d`` from the bars: what is new, or any span of history.

One function for both, so that a day computed live equals the same day of a backfill bit for bit:
every feature is computed on all of its symbol's history, and only the rows of the wanted dates
that differ from the stored ones are written, as restatements.

Bars lie by date and formulas need them by symbol: :mod:`~ingestion.jobs.compute.transpose`
brings them there and back. Of each date's rows, those that are stored already are dropped, and the
others are written as one part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.holes import Attendance, OpenHoles, open_holes, read_attendance
from ingestion.base import clock
from ingestion.base.errors import InputError
from ingestion.base.spill import Spill
from ingestion.catalog import ACCEPTED_HOLES, LOCAL_1D, MISSED_BARS, OHLCV_1D, Dataset
from ingestion.jobs.compute.transpose import (
    Names,
    features,
    spill_by_month,
    spill_by_symbol,
    stamped,
)
from ingestion.jobs.ingest.missing_sessions import LOCAL_FEATURES_FILE, known_holes
from ingestion.jobs.ingest.unfinished_imports import refuse_half_imports
from ingestion.lakehouse import (
    append_part,
    by_date,
    created_after,
    created_at,
    lakehouse_lock,
    list_parts,
    read_current,
)
from ingestion.lakehouse.origins import runs_of
from ingestion.lakehouse.parts import Part, read_metadata
from ingestion.project import Project
from ingestion.quality.gate import check_at_door, refuse_unless_accepted, screen, write_quarantine
from ingestion.runs.receipt import Job
from ingestion.runs.receipt_file import is_done, newest_receipt
from ingestion.runs.run_id import new_run_id

RECEIPT_FILE, BACKFILL_FILE = LOCAL_FEATURES_FILE, "backfill.json"

_KEYS_AND_CREATED = ("timestamp", "symbol", "event_timestamp", "created_timestamp")
_SECOND = len("20260116T213000Z")


@dataclass(frozen=True)
class LocalFeaturesResult:
    """What a run did."""

    run_id: str
    bars: int
    """Bars read."""
    dates: int
    """Dates looked at."""
    rows_written: int
    rows_unchanged: int
    parts: tuple[Path, ...]
    quarantined: int = 0
    """Rows that break a rule of the catalog."""
    holes: OpenHoles = field(default_factory=lambda: OpenHoles(()))
    """Sessions that are missing: values over them are null."""
    receipt: Path | None = None
    """Where it is written down; None while the run goes on."""


def backfill(project: Project, first: date, last: date) -> LocalFeaturesResult:
    """Bring ``local_1d`` up to date for bars that closed on these UTC dates, both included.

    Raises
    ------
    InputError
        If there are no bars, or the dates are the wrong way round.
    GateRefused
        If an import of bars is half done.
    LakehouseLocked
        If another run is writing.
    """
    if first > last:
        raise InputError(f"--from {first} is after --to {last}")
    run_id = new_run_id()
    with lakehouse_lock(project.lakehouse, run_id):
        bars = list_parts(project.lakehouse, OHLCV_1D)
        # One over all bars sees what `local_features` would look for.
        whole = bool(bars) and first <= bars[0].date and bars[-1].date <= last
        file_name, span = RECEIPT_FILE if whole else BACKFILL_FILE, {"first": first, "last": last}
        with Job(project, run_id, "backfill", file_name, span) as job:
            refuse_half_imports(project.lakehouse)
            return _recompute(project, job, run_id, first, last)


def local_features(project: Project, run_id: str | None = None) -> LocalFeaturesResult:
    """Bring ``local_1d`` up to date with the bars written since it was.

    An old bar that was restated changes what follows it, so everything from the earliest new bar on
    is looked at. Up to date is what a run of this job has finished, as its receipt says: rows alone
    do not tell, for a run that was killed and a backfill of a span leave some too.

    Raises
    ------
    InputError
        If there are no bars.
    GateRefused
        If an import of bars is half done.
    LakehouseLocked
        If another run is writing.
    """
    run_id = run_id or new_run_id()
    with (
        lakehouse_lock(project.lakehouse, run_id),
        Job(project, run_id, "local-features", RECEIPT_FILE) as job,
    ):
        refuse_half_imports(project.lakehouse)
        first = _first_news(project.lakehouse)
        if first is None:
            known = known_holes(project.lakehouse)
            return _finished(job, LocalFeaturesResult(run_id, 0, 0, 0, 0, (), holes=known))
        return _recompute(project, job, run_id, first, date.max)


def _finished(job: Job, result: LocalFeaturesResult) -> LocalFeaturesResult:
    """Tell the receipt; the parts and their hashes are in its head."""
    counts = ("bars", "dates", "rows_written", "rows_unchanged", "quarantined")
    job.tell(**{name: getattr(result, name) for name in counts}, holes=result.holes)
    return replace(result, receipt=job.receipt)


def _first_news(lakehouse: Path) -> date | None:
    """Return the earliest date with a bar, or an accepted hole, that no finished run has seen.

    A run that was refused, failed or was killed has not seen any: it may have written some dates
    only.
    """
    bars = _require_bars(lakehouse)
    finished: str | None = newest_receipt(
        lakehouse, RECEIPT_FILE, lambda receipt: receipt["run_id"] if is_done(receipt) else None
    )
    if finished is None:
        return bars[0].date
    said = (part for each in (MISSED_BARS, ACCEPTED_HOLES) for part in list_parts(lakehouse, each))
    news = (part.date for part in (*bars, *said) if _is_news(part, finished))
    return min(news, default=None)


def _first_changed(lakehouse: Path, holes: OpenHoles) -> date:
    """Return the date of the first hole that is open now and was not, or the reverse."""
    changed = holes.keys ^ known_holes(lakehouse).keys
    days = (datetime.fromtimestamp(closes, UTC).date() for closes, _ in changed)
    return min(days, default=date.max)


def _is_news(part: Part, seen_by: str) -> bool:
    """Tell whether a part holds rows that were written after a run began."""
    try:
        runs = runs_of(read_metadata(part.path).metadata)
    except ValueError:
        return True  # nobody knows, and looking again costs time only
    # Ids sort by their second, and within it by chance.
    return any(run != seen_by and run[:_SECOND] >= seen_by[:_SECOND] for run in runs)


def _require_bars(lakehouse: Path) -> list[Part]:
    parts = list_parts(lakehouse, OHLCV_1D)
    if not parts:
        raise InputError(f"{lakehouse} has no bars yet: run `tvfeast import-bars FILE`")
    return parts


def _recompute(
    project: Project, job: Job, run_id: str, first: date, last: date
) -> LocalFeaturesResult:
    lakehouse = project.lakehouse
    everything = _require_bars(lakehouse)
    bars = [part for part in everything if part.date <= last]
    attendance = Attendance(everything[0].date, everything[-1].date)
    # Beside the run's own staging folder, which goes with each part written.
    staging = lakehouse / "_tmp"
    began = clock.now()
    count = 0
    written: list[Path] = []
    kept = dates = quarantined = 0
    # The newest date, if it is young enough to be served; there is none in history alone.
    served = bars[-1].date if began.date() - bars[-1].date <= LOCAL_1D.ttl else None
    with (
        Spill(staging / f"{run_id}-symbols") as symbols,
        Spill(staging / f"{run_id}-months") as months,
    ):
        found, count = spill_by_symbol(bars, symbols, attendance)
        names = Names(found)
        # Whether a session is missing is told by what came later, too.
        read_attendance(everything[len(bars) :], attendance, found)
        holes = open_holes(lakehouse, attendance)
        if last == date.max:
            first = min(first, _first_changed(lakehouse, holes))
        for _, rows in symbols.drain():
            spill_by_month(features(rows, names, holes), first, last, months)
        stored = by_date(list_parts(lakehouse, LOCAL_1D))
        rows_written = 0
        for _, of_month in months.drain():
            changed: dict[date, pa.Table] = {}
            newest: dict[date, datetime | None] = {}
            for day, new in stamped(of_month, names, began):
                dates += 1
                changed[day], newest[day] = _differing(new, stored.get(day, []))
                kept += new.num_rows - changed[day].num_rows
            beside = stored.get(served, []) if served else []
            judged = _accepted(project, job, run_id, changed, served, beside, holes)
            for day, accepted in judged:
                quarantined += changed[day].num_rows - accepted.num_rows
                if accepted.num_rows:
                    rows_written += accepted.num_rows
                    created = created_after(max(clock.now(), began), newest[day])
                    rows = created_at(accepted, created)
                    written.append(append_part(lakehouse, LOCAL_1D, rows, run_id))
    result = LocalFeaturesResult(
        run_id,
        count,
        dates,
        rows_written,
        kept,
        tuple(written),
        quarantined=quarantined,
        holes=holes,
    )
    return _finished(job, result)


def _accepted(
    project: Project,
    job: Job,
    run_id: str,
    changed: dict[date, pa.Table],
    served: date | None,
    stored: list[Part],
    holes: OpenHoles,
) -> Iterator[tuple[date, pa.Table]]:
    """Yield by date the rows that may be published; the others go to the run's quarantine.

    Great Expectations judges the date that will be served, as a batch too and as it will be. The
    row rules judge history.

    Parameters
    ----------
    stored
        The parts of the date that will be served.

    Raises
    ------
    GateRefused
        If the date that will be served is refused; those before it are published.
    """
    history = {day: rows for day, rows in changed.items() if rows.num_rows and day != served}
    if history:
        # All at once: the rules cost more a call than a row.
        stopped = screen(LOCAL_1D, pa.concat_tables(history.values())).quarantined
        write_quarantine(project.lakehouse, LOCAL_1D, stopped, run_id)
        for day, rows in history.items():
            yield day, screen(LOCAL_1D, rows).accepted if stopped.num_rows else rows
    if served in changed and changed[served].num_rows:
        rows, beside = changed[served], read_current(stored, LOCAL_1D)
        replaced = set(_keys(rows))
        stays = pa.array([key not in replaced for key in _keys(beside)], pa.bool_())
        report = check_at_door(
            project, LOCAL_1D, rows, run_id, beside=beside.filter(stays), holes=holes
        )
        job.tell(quality=report)
        refuse_unless_accepted(report, job)
        yield served, report.accepted


def _differing(new: pa.Table, stored: list[Part]) -> tuple[pa.Table, datetime | None]:
    """Return the rows whose features are not stored yet, or differ in any bit that shows.

    Returns
    -------
    tuple
        The rows, and when the newest of those that are stored was created; None if there is none.
    """
    if not stored:
        return new, None
    old = read_current(stored, LOCAL_1D)
    newest = pc.max(old["created_timestamp"]).as_py()
    position = {key: i for i, key in enumerate(_keys(old))}
    places = np.array([position.get(key, -1) for key in _keys(new)], dtype=np.int64)
    changed = places < 0
    old = old.take(pa.array(np.maximum(places, 0))) if old.num_rows else new
    for name in _compared(LOCAL_1D):
        a, b = new[name].combine_chunks(), old[name].combine_chunks()
        same = pc.fill_null(pc.equal(a, b), False)
        same = pc.or_(same, pc.and_(pc.is_null(a), pc.is_null(b)))
        changed |= ~same.to_numpy(zero_copy_only=False)
    return new.filter(pa.array(changed)), newest


def _compared(dataset: Dataset) -> list[str]:
    return [c.name for c in dataset.columns if c.name not in _KEYS_AND_CREATED]


def _keys(rows: pa.Table) -> Iterator[tuple[str, int]]:
    return zip(rows["symbol"].to_pylist(), rows["timestamp"].to_pylist(), strict=True)
