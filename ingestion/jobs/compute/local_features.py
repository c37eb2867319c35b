"""Recompute the features of bars: what is new, or any span of history.

A day computed live equals the same day of a backfill bit for bit: a feature is computed on all of
its symbol's history, or goes on from what that left, by the same operations; and only the rows of
the wanted dates that differ from the stored ones are written, as restatements.

Bars lie by date and formulas need them by symbol: :mod:`~ingestion.jobs.compute.transpose`
brings them there and back, and :mod:`~ingestion.jobs.compute.publication` writes the rows. What the
next bars need is kept (:mod:`~ingestion.jobs.compute.formula_state`), and
:mod:`~ingestion.jobs.compute.further_bars` goes on from that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

import pyarrow.compute as pc

from ingestion.bars.arrays import SymbolTable
from ingestion.bars.attendance import Attendance, read_attendance
from ingestion.bars.holes import OpenHoles, open_holes
from ingestion.base.errors import InputError
from ingestion.base.executors import engine_of
from ingestion.base.memory import memory_of_the_system
from ingestion.catalog import ACCEPTED_HOLES, MISSED_BARS, OHLCV_1D
from ingestion.formulas import SHIPPED
from ingestion.formulas.planning import plan_of
from ingestion.jobs.compute.all_bars import Wanted, turn_of
from ingestion.jobs.compute.changes import BackfillPlan, planned_writing
from ingestion.jobs.compute.cross_sections import CrossSectionsResult
from ingestion.jobs.compute.definitions import (
    BACKFILL_FILE,
    LOCAL_FEATURES_FILE,
    changed_formulas,
    computed_formulas,
    mark_definitions,
)
from ingestion.jobs.compute.formula_state import FormulaState, Seen, StateUse, StateWriter, Unfit
from ingestion.jobs.compute.further_bars import Done, compute_further
from ingestion.jobs.compute.publication import GroupRows, Publication
from ingestion.jobs.compute.transpose import Names
from ingestion.jobs.ingest.missing_sessions import known_holes
from ingestion.jobs.ingest.unfinished_imports import refuse_half_imports
from ingestion.lakehouse import (
    Lakehouse,
    Part,
    RunFile,
    SeenParts,
    list_parts,
    newest_part,
    read_metadata,
    read_part,
    utc_date,
)
from ingestion.lakehouse.caches import UnreadableCache
from ingestion.lakehouse.origins import runs_of
from ingestion.project import Project
from ingestion.runs.receipt_file import is_done, newest_receipt
from ingestion.runs.run import Run

RECEIPT_FILE = LOCAL_FEATURES_FILE

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
    parts: tuple[Part, ...]
    groups: tuple[GroupRows, ...] = ()
    """The same counts, of each group."""
    quarantined: int = 0
    holes: OpenHoles = field(default_factory=lambda: OpenHoles(()))
    """Sessions that are missing: values over them are null."""
    rows_defined: int = 0
    """Of the rows written, those that are stored already and restate nothing: they differ only in
    columns that were declared later, or whose formula computes something else now."""
    defined: tuple[Part, ...] = ()
    """The parts with these rows and no others."""
    planned: BackfillPlan | None = None
    """About how much a backfill was going to write."""
    state: StateUse = field(default_factory=StateUse)
    """Of how many symbols new bars were computed from what was kept of the bars before."""
    receipt: RunFile | None = None
    """Where it is written down; None while the run goes on."""
    cross_sections: CrossSectionsResult | None = None
    """What was done to the groups that compare members; None where there are none."""


def backfill(
    project: Project,
    first: date,
    last: date,
    announce: Callable[[BackfillPlan], None] = lambda planned: None,
) -> LocalFeaturesResult:
    """Bring computed features up to date for bars that closed on these UTC dates, both included.

    That fills a column that was added to a group, or whose formula computes something else now:
    rows that are stored already are written once more with it, and the receipt has ``definition``
    as the reason of their parts.

    Parameters
    ----------
    announce
        Is called with what will be written, before that begins.

    Raises
    ------
    InputError
        If there are no bars until the last date, or the dates are the wrong way round.
    GateRefused
        If an import of bars is half done.
    LakehouseLocked
        If another run is writing.
    """
    if first > last:
        raise InputError(f"--from {first} is after --to {last}")
    span = {"first": first, "last": last}
    with Run.open(project, "backfill", span, file=BACKFILL_FILE) as run:
        seen = Seen.look(project)
        bars = seen.bars.parts
        # One over all bars sees what `local_features` would look for.
        if bars and first <= bars[0].date and bars[-1].date <= last:
            run.file = RECEIPT_FILE
        refuse_half_imports(project.lakehouse)
        planned = plan_backfill(project, first, last, seen.bars)
        announce(planned)
        publication = Publication(project, run, mark_definitions(project, run))
        done = _compute_all(project, run, publication, seen, first, last)
        return _finished(project, run, publication, done, planned)


def plan_backfill(
    project: Project, first: date, last: date, seen: SeenParts | None = None
) -> BackfillPlan:
    """Return about how much :func:`backfill` will write; reads the footers of the span's parts.

    Parameters
    ----------
    seen
        All parts of bars, if they have been looked at: their footers are not read again.

    Raises
    ------
    InputError
        If there are no bars.
    """
    seen = seen or SeenParts({})
    bars = Counter[date]()
    for part in _require_bars(project.lakehouse):
        if first <= part.date <= last:
            bars[part.date] += seen.rows(part)
    groups = {
        group: list_parts(project.lakehouse, group, first) for group in project.catalog.computed
    }
    changed = {each.name for each in changed_formulas(project)}
    return planned_writing(bars, groups, changed)


def local_features(project: Project, run: Run | None = None) -> LocalFeaturesResult:
    """Bring computed features up to date with the bars written since it was.

    New bars are computed from what was kept of their symbols; of symbols with an old bar that was
    restated, everything is. Where nothing was kept, or it does not fit, all bars are read and
    everything from the earliest new bar on is looked at. Up to date is then what a run of this job
    has finished, as its receipt says: rows alone do not show it, for a run that was killed and a
    backfill of a span leave some too.

    Raises
    ------
    InputError
        If there are no bars.
    GateRefused
        If an import of bars is half done, or a formula computes something else than stored rows
        contain.
    LakehouseLocked
        If another run is writing.
    """
    with Run.open(project, "local-features", file=RECEIPT_FILE, step_of=run) as run:
        refuse_half_imports(project.lakehouse)
        mark_definitions(project, run, refuse=True)
        if newest_part(project.lakehouse, OHLCV_1D) is None:
            raise _no_bars(project.lakehouse)
        publication = Publication(project, run)
        try:
            with FormulaState(project.lakehouse) as state:
                done = compute_further(project, run, state, publication)
        except (Unfit, UnreadableCache) as unfit:
            first = _first_news(project.lakehouse)
            if isinstance(unfit, Unfit):
                first = min(first, unfit.first)
            done = None
            if first < date.max:
                seen = Seen.look(project)
                done = _compute_all(project, run, publication, seen, first, date.max, str(unfit))
        return _finished(project, run, publication, done)


def _finished(
    project: Project,
    run: Run,
    publication: Publication,
    done: Done | None,
    planned: BackfillPlan | None = None,
) -> LocalFeaturesResult:
    """Put what was done into the receipt; the parts and their hashes are in its head."""
    groups = publication.groups
    if done is None:
        done = Done(0, known_holes(project.lakehouse), StateUse())
    result = LocalFeaturesResult(
        run.id,
        done.bars,
        dates=max(group.dates for group in groups),
        rows_written=sum(group.rows_written for group in groups),
        rows_unchanged=sum(group.rows_unchanged for group in groups),
        parts=tuple(part for group in groups for part in group.parts),
        quarantined=sum(group.quarantined for group in groups),
        groups=tuple(group.counts() for group in groups),
        holes=done.holes,
        rows_defined=sum(group.rows_defined for group in groups),
        defined=tuple(part for group in groups for part in group.defined),
        planned=planned,
        state=done.state,
    )
    counts = ("bars", "dates", "rows_written", "rows_defined", "rows_unchanged", "quarantined")
    told = {name: getattr(result, name) for name in (*counts, "groups", "holes", "state")}
    run.tell(**told)
    if result.defined:
        names = [part.key for part in result.defined]
        run.tell(reasons=dict.fromkeys(names, "definition"))
    return replace(result, receipt=run.receipt)


def _first_news(lakehouse: Lakehouse) -> date:
    """Return the earliest date whose rows a bar or an accepted hole may change that is new.

    The last of all dates if no finished run lacks one.

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
    news = [part.date for part in said if _is_news(part, finished)]
    # By the open: a bar that opened later may have closed earlier, beside a wrong one.
    news += [_first_open(part) for part in bars if _is_news(part, finished)]
    return min(news, default=date.max)


def _first_open(part: Part) -> date:
    opens = read_part(part, OHLCV_1D, ["timestamp"])["timestamp"]
    return utc_date(pc.min(opens).as_py())


def _first_changed(lakehouse: Lakehouse, holes: OpenHoles) -> date:
    """Return the date of the first hole that is open now and was not, or the reverse."""
    changed = holes.keys ^ known_holes(lakehouse).keys
    days = (datetime.fromtimestamp(closes, UTC).date() for closes, _ in changed)
    return min(days, default=date.max)


def _is_news(part: Part, seen_by: str) -> bool:
    """Return whether a part contains rows that were written after a run began."""
    try:
        runs = runs_of(read_metadata(part).metadata)
    except ValueError:
        return True  # nobody knows, and looking again costs time only
    # Ids sort by their second, and within it by chance.
    return any(run != seen_by and run[:_SECOND] >= seen_by[:_SECOND] for run in runs)


def _require_bars(lakehouse: Lakehouse) -> list[Part]:
    parts = list_parts(lakehouse, OHLCV_1D)
    if not parts:
        raise _no_bars(lakehouse)
    return parts


def _no_bars(lakehouse: Lakehouse) -> InputError:
    return InputError(f"{lakehouse} has no bars yet: run `tvfeast import-bars FILE`")


@memory_of_the_system()
def _compute_all(
    project: Project,
    run: Run,
    publication: Publication,
    seen: Seen,
    first: date,
    last: date,
    because: str | None = None,
) -> Done:
    """Compute all bars until a date, publish some dates, and keep what the next bars need.

    Parameters
    ----------
    seen
        What there is, as the run has found it.
    because
        Why the computation did not go on from what was kept.
    """
    lakehouse = project.lakehouse
    everything = seen.bars.parts
    if not everything:
        raise _no_bars(lakehouse)
    bars = [part for part in everything if part.date <= last]
    if not bars:
        raise InputError(
            f"{lakehouse} has no bar that closed by {last}: its bars are from "
            f"{everything[0].date} to {everything[-1].date}"
        )
    # What is kept goes with the rows of all bars.
    keeps = last == date.max or (first <= everything[0].date and last >= everything[-1].date)
    attendance, symbols = Attendance(everything[0].date, everything[-1].date), SymbolTable()
    plan = plan_of(computed_formulas(project), SHIPPED)
    with turn_of(project, run, engine_of(project), seen.bars) as turn:
        count = turn.read(bars, attendance, symbols)
        # What came later shows, too, whether a session is missing.
        read_attendance(everything[len(bars) :], attendance, symbols.names)
        holes = open_holes(lakehouse, attendance)
        if last == date.max:
            first = min(first, _first_changed(lakehouse, holes))
        with StateWriter(run.scratch("state"), plan, symbols.names) as writer:
            wanted = Wanted(plan, symbols.names, holes, first, last)
            months = turn.compute(wanted, writer.keep)
            publication.publish(bars[-1].date, months, Names(symbols.names), holes)
            if keeps:
                now = seen.with_own(publication.written, run.id)
                writer.finish(project, run.id, now, holes, attendance, everything[0].date)
    reasons = {because: len(symbols.names)} if because else {}
    return Done(count, holes, StateUse(recomputed=len(symbols.names), reasons=reasons))
