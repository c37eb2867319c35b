"""Recompute the features of bars: what is new, or any span of history.

One function for both, so that a day computed live equals the same day of a backfill bit for bit:
every feature is computed on all of its symbol's history, and only the rows of the wanted dates
that differ from the stored ones are written, as restatements.

Bars lie by date and formulas need them by symbol: :mod:`~ingestion.jobs.compute.transpose`
brings them there and back. Of each date's rows, those that are stored already are dropped, and the
others are written as one part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

import pyarrow as pa

from ingestion.bars.holes import Attendance, OpenHoles, open_holes, read_attendance
from ingestion.base import clock
from ingestion.base.errors import InputError
from ingestion.base.spill import Spill
from ingestion.catalog import ACCEPTED_HOLES, MISSED_BARS, OHLCV_1D, FeatureGroup
from ingestion.formulas import BarFormula
from ingestion.jobs.compute.changes import (
    BackfillPlan,
    Changes,
    changes_of,
    planned_writing,
    row_keys,
)
from ingestion.jobs.compute.definitions import (
    BACKFILL_FILE,
    changed_formulas,
    mark_definitions,
)
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
    Lakehouse,
    Part,
    RunFile,
    append_part,
    by_date,
    created_after,
    created_at,
    list_parts,
    read_current,
    read_metadata,
)
from ingestion.lakehouse.origins import runs_of
from ingestion.project import Project
from ingestion.quality.check import CheckReport
from ingestion.quality.gate import check_at_door, refuse_unless_accepted, screen, write_quarantine
from ingestion.runs.receipt_file import is_done, newest_receipt
from ingestion.runs.run import Run

RECEIPT_FILE = LOCAL_FEATURES_FILE

_SECOND = len("20260116T213000Z")


@dataclass(frozen=True)
class GroupRows:
    """What a run did to one group."""

    group: str
    written: int
    unchanged: int
    quarantined: int
    """Rows that break a rule of the catalog."""


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
    receipt: RunFile | None = None
    """Where it is written down; None while the run goes on."""


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
        If there are no bars, or the dates are the wrong way round.
    GateRefused
        If an import of bars is half done.
    LakehouseLocked
        If another run is writing.
    """
    if first > last:
        raise InputError(f"--from {first} is after --to {last}")
    span = {"first": first, "last": last}
    with Run.open(project, "backfill", span, file=BACKFILL_FILE) as run:
        bars = list_parts(project.lakehouse, OHLCV_1D)
        # One over all bars sees what `local_features` would look for.
        if bars and first <= bars[0].date and bars[-1].date <= last:
            run.file = RECEIPT_FILE
        refuse_half_imports(project.lakehouse)
        planned = plan_backfill(project, first, last)
        announce(planned)
        changed = mark_definitions(project, run)
        return _recompute(project, run, first, last, planned, changed)


def plan_backfill(project: Project, first: date, last: date) -> BackfillPlan:
    """Return about how much :func:`backfill` will write; reads the footers of the span's parts.

    Raises
    ------
    InputError
        If there are no bars.
    """
    bars = [part for part in _require_bars(project.lakehouse) if first <= part.date <= last]
    groups = {
        group: list_parts(project.lakehouse, group, first) for group in project.catalog.computed
    }
    changed = {each.name for each in changed_formulas(project)}
    return planned_writing(bars, groups, changed)


def local_features(project: Project, run: Run | None = None) -> LocalFeaturesResult:
    """Bring computed features up to date with the bars written since it was.

    An old bar that was restated changes what follows it, so everything from the earliest new bar on
    is looked at. Up to date is what a run of this job has finished, as its receipt says: rows alone
    do not show it, for a run that was killed and a backfill of a span leave some too.

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
        first = _first_news(project.lakehouse)
        if first is None:
            known = known_holes(project.lakehouse)
            return _finished(
                project.lakehouse, run, LocalFeaturesResult(run.id, 0, 0, 0, 0, (), holes=known)
            )
        return _recompute(project, run, first, date.max)


def _finished(lakehouse: Lakehouse, run: Run, result: LocalFeaturesResult) -> LocalFeaturesResult:
    """Put the counts into the receipt; the parts and their hashes are in its head."""
    counts = ("bars", "dates", "rows_written", "rows_defined", "rows_unchanged", "quarantined")
    told = {name: getattr(result, name) for name in (*counts, "groups", "holes")}
    run.tell(**told)
    if result.defined:
        names = [part.key for part in result.defined]
        run.tell(reasons=dict.fromkeys(names, "definition"))
    return replace(result, receipt=run.receipt)


def _first_news(lakehouse: Lakehouse) -> date | None:
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
        raise InputError(f"{lakehouse} has no bars yet: run `tvfeast import-bars FILE`")
    return parts


def _recompute(
    project: Project,
    run: Run,
    first: date,
    last: date,
    planned: BackfillPlan | None = None,
    changed: frozenset[str] = frozenset(),
) -> LocalFeaturesResult:
    lakehouse = project.lakehouse
    everything = _require_bars(lakehouse)
    bars = [part for part in everything if part.date <= last]
    attendance = Attendance(everything[0].date, everything[-1].date)
    groups = [
        _Group(project, run, each, bars[-1].date, changed) for each in project.catalog.computed
    ]
    formulas = list({each.name: each for group in groups for each in group.formulas}.values())
    with (
        Spill(run.scratch("symbols")) as symbols,
        Spill(run.scratch("months")) as months,
    ):
        found, count = spill_by_symbol(bars, symbols, attendance)
        names = Names(found)
        # What came later shows, too, whether a session is missing.
        read_attendance(everything[len(bars) :], attendance, found)
        holes = open_holes(lakehouse, attendance)
        if last == date.max:
            first = min(first, _first_changed(lakehouse, holes))
        for _, rows in symbols.drain():
            spill_by_month(features(rows, names, holes, formulas), first, last, months)
        for _, of_month in months.drain():
            for group in groups:
                group.publish(of_month, names, holes)
    for group in groups:
        if group.refused:
            refuse_unless_accepted(group.refused, run)
    result = LocalFeaturesResult(
        run.id,
        count,
        dates=max(group.dates for group in groups),
        rows_written=sum(group.rows_written for group in groups),
        rows_unchanged=sum(group.rows_unchanged for group in groups),
        parts=tuple(part for group in groups for part in group.parts),
        groups=tuple(group.counts() for group in groups),
        quarantined=sum(group.quarantined for group in groups),
        holes=holes,
        rows_defined=sum(group.rows_defined for group in groups),
        defined=tuple(part for group in groups for part in group.defined),
        planned=planned,
    )
    return _finished(lakehouse, run, result)


def formulas_of(project: Project, group: FeatureGroup) -> list[BarFormula]:
    """Return the formulas that a group's features are, but for retired ones.

    Raises
    ------
    InputError
        If there is no formula of a feature's name.
    """
    names = [column.name for column in group.features if not column.retired]
    if unknown := [name for name in names if name not in project.formulas]:
        raise InputError(
            f"{group.name} has the feature {unknown[0]}, and no formula is called so: declare one "
            f"in a file of {project.feast_repository / 'formulas'}"
        )
    return [project.formulas[name] for name in names]


class _Group:
    """What a run writes of one group, and how much it was."""

    def __init__(
        self,
        project: Project,
        run: Run,
        group: FeatureGroup,
        newest: date,
        changed: frozenset[str],
    ) -> None:
        self.formulas = formulas_of(project, group)
        self.dates = self.rows_written = self.rows_unchanged = self.quarantined = 0
        self.rows_defined = 0
        self.refused: CheckReport | None = None
        self.parts: list[Part] = []
        self.defined: list[Part] = []
        self._project, self._run, self._group = project, run, group
        self._changed_formulas = changed
        self._began = clock.now()
        self._stored = by_date(list_parts(project.lakehouse, group))
        # The newest date, if it is young enough to be served; there is none in history alone.
        self._served = newest if self._began.date() - newest <= group.ttl else None

    def counts(self) -> GroupRows:
        """Return how many rows it was so far."""
        return GroupRows(self._group.name, self.rows_written, self.rows_unchanged, self.quarantined)

    def publish(self, of_month: pa.Table, names: Names, holes: OpenHoles) -> None:
        """Write what is not stored yet of a month's rows.

        If the date that will be served is refused, :attr:`refused` says why, and those before it
        are published.
        """
        found: dict[date, Changes] = {}
        for day, new in stamped(self._group, of_month, names, self._began):
            self.dates += 1
            found[day] = changes_of(
                self._group, new, self._stored.get(day, []), self._changed_formulas
            )
            self.rows_unchanged += new.num_rows - found[day].rows.num_rows
        changed = {day: each.rows for day, each in found.items()}
        for day, accepted in self._accepted(changed, holes):
            self.quarantined += changed[day].num_rows - accepted.num_rows
            restated, defined = found[day].by_reason(accepted)
            for rows in (restated, defined):
                if rows.num_rows:
                    part = self._append(rows, found[day].newest)
                    if rows is defined:
                        self.rows_defined += rows.num_rows
                        self.defined.append(part)

    def _append(self, rows: pa.Table, newest: datetime | None) -> Part:
        self.rows_written += rows.num_rows
        rows = created_at(rows, created_after(max(clock.now(), self._began), newest))
        part = append_part(self._project.lakehouse, self._group, rows, self._run.id)
        self.parts.append(part)
        return part

    def _accepted(
        self, changed: dict[date, pa.Table], holes: OpenHoles
    ) -> Iterator[tuple[date, pa.Table]]:
        """Yield by date the rows that may be published; the others go to the run's quarantine.

        Great Expectations judges the date that will be served, as a batch too and as it will be.
        The row rules judge history.
        """
        group, served = self._group, self._served
        history = {day: rows for day, rows in changed.items() if rows.num_rows and day != served}
        if history:
            # All at once: the rules cost more a call than a row.
            stopped = screen(group, pa.concat_tables(history.values())).quarantined
            write_quarantine(self._project.lakehouse, group, stopped, self._run.id)
            for day, rows in history.items():
                yield day, screen(group, rows).accepted if stopped.num_rows else rows
        if served in changed and changed[served].num_rows:
            rows, beside = changed[served], read_current(self._stored.get(served, []), group)
            replaced = set(row_keys(rows))
            stays = pa.array([key not in replaced for key in row_keys(beside)], pa.bool_())
            beside = beside.filter(stays)
            report = check_at_door(
                self._project, group, rows, self._run.id, beside=beside, holes=holes
            )
            self._run.tell(quality=report)
            if not report.refused:
                yield served, report.accepted
            else:
                self.refused = report
