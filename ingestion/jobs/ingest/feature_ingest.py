"""One snapshot of the scanner becomes one part of a group."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pyarrow as pa

from ingestion.base import clock
from ingestion.base.errors import ClockError, InputError
from ingestion.base.plain import plain
from ingestion.catalog import FEEDS, UPDATE_MODE, FeatureGroup
from ingestion.jobs.ingest.joined import joined, key_of, pairs_table
from ingestion.jobs.ingest.needed import Needed, NotDue
from ingestion.jobs.ingest.scan import (
    CoverageReport,
    Scanned,
    ScanRequest,
    Scans,
    refuse_unless_enough,
)
from ingestion.jobs.ingest.snapshot_rows import Notes, notes_on, rows_of
from ingestion.lakehouse import (
    Lakehouse,
    Part,
    RunFile,
    append_part,
    created_at,
    newest_between,
)
from ingestion.markets.feeds import Feeds
from ingestion.markets.universe import not_shown
from ingestion.project import Project
from ingestion.quality.check import CheckReport
from ingestion.quality.gate import check_at_door, refuse_unless_accepted
from ingestion.runs.receipt_file import NOTHING, snapshot_file
from ingestion.runs.run import Run
from ingestion.scanner import Snapshot, Table


@dataclass(frozen=True)
class FeatureIngestRequest(ScanRequest):
    """What to fetch, when to be content, and what is fresh enough to be left alone."""

    resume_window: timedelta = timedelta(hours=2)
    refresh: bool = False
    """Fetch also what the resume window would skip."""
    group: str | None = None
    """The group of the scanner to fetch; the one that says which symbols are current if None."""


@dataclass(frozen=True)
class FeatureIngestResult:
    """What became of it."""

    report: CoverageReport
    receipt: RunFile
    part: Part | None
    """None if every symbol had a row inside the resume window."""
    quality: CheckReport | None = None
    """None likewise."""
    notes: Notes = field(default_factory=Notes)
    """What is remarkable about rows that are published all the same."""


def feature_ingest(
    project: Project,
    request: FeatureIngestRequest,
    run: Run | None = None,
    scans: Scans | None = None,
    needed: Needed | None = None,
) -> FeatureIngestResult:
    """Fetch a snapshot of the symbols for which the group is due, and publish it.

    The receipt is written first, then the part appears at one stroke. A run that died before that
    has published nothing; the next one fetches what is missing.

    Parameters
    ----------
    scans
        Those of the run that this job is a part of; it makes its own if None.
    needed
        What that run needs of the group.

    Raises
    ------
    NotDue
        If the group is due for no symbol; nothing is asked, and no receipt is left.
    LakehouseLocked
        If another run is writing.
    NothingFetched
        If no row came, and none is inside the resume window.
    GateRefused
        If the coverage is below ``min_coverage``, or the rows as a whole break a check.
    ClockError
        If the lakehouse already has rows of this very second.
    """
    group = scanned_group(project, request.group)
    needed = needed or needed_of(project, request, group)
    if not needed.is_asked:
        raise NotDue(f"{group.name} is not due: it is asked {group.asked}")
    with Run.open(
        project, "feature-ingest", request, file=snapshot_file(group), step_of=run
    ) as run:
        run.tell(group=group.name)
        tables, key = tables_of(project, request, group, needed), key_of(group)
        scans = scans or Scans(project, request, tables)
        without: Mapping[str, int] = {}
        if key is None:
            scanned = scans.table(group.name)
        else:
            scanned, without = joined(scans, group, key)
        snapshot, resumed, not_due = _without_idle(scanned, needed)
        rows, known_at = rows_of(group, snapshot, scanned.known_at), scanned.known_at
        scanned = scanned._replace(snapshot=snapshot)
        report = CoverageReport.of(run.id, request, scanned, resumed, not_due)
        if key is not None and not report.asked:
            run.tell(**plain(report) | {"verdict": NOTHING}, without=without)
            return FeatureIngestResult(report, run.receipt, None, None, Notes(without=without))
        feeds = Feeds(project.lakehouse)
        news = feeds.news({} if key else _modes(snapshot), known_at)
        feeds.observe(news)
        checked, told = None, plain(report)
        if report.is_enough and rows.num_rows:
            # Before the receipt, which says that the rows are published.
            _refuse_same_second(project.lakehouse, group, rows, known_at)
            # The product of an exact share may be off by a rounding.
            covered = math.ceil(report.min_coverage * report.asked - 1e-9)
            fewest = max(1, covered - report.resumed)
            checked = check_at_door(project, group, rows, run.id, fewest=fewest, feeds=feeds)
            told |= {"quality": checked, "verdict": checked.verdict}
        accepted = checked.accepted if checked else rows
        notes = replace(notes_on(project.lakehouse, group, accepted), without=without)
        run.tell(**told, **notes.told)
        refuse_unless_enough(report, run)
        part = None
        if checked is not None:
            refuse_unless_accepted(checked, run)
            run.write()
            # First: a snapshot without it would count as one of the usual feed.
            if news.num_rows:
                append_part(project.lakehouse, FEEDS, news, run.id)
            # The checks took their time; `known_at` is later where the clock was set back.
            accepted = created_at(checked.accepted, max(clock.now(), known_at))
            part = append_part(project.lakehouse, group, accepted, run.id)
    return FeatureIngestResult(report, run.receipt, part, checked, notes)


def scanned_group(project: Project, name: str | None) -> FeatureGroup:
    """Return the group to fetch; the one that says which symbols are current if none is named.

    Raises
    ------
    InputError
        If there is none of that name, or the scanner is not where its rows come from.
    """
    if name is None:
        return project.catalog.pulse
    group = project.catalog.group(name)
    if group not in project.catalog.scanned:
        raise InputError(
            f"the rows of {group.name} do not come from the scanner: `tvfeast "
            f"{group.source.command}` brings them"
        )
    return group


def needed_of(project: Project, request: FeatureIngestRequest, group: FeatureGroup) -> Needed:
    """Return what a run needs of a group now."""
    window = None if request.refresh else request.resume_window
    return Needed.of(project.lakehouse, group, request.source, window)


def tables_of(
    project: Project,
    request: FeatureIngestRequest,
    group: FeatureGroup,
    needed: Needed | None = None,
) -> tuple[Table, ...]:
    """Return what a group needs of the run's scans; none if it is not due."""
    needed = needed or needed_of(project, request, group)
    if not needed.is_asked:
        return ()
    recent = needed.recent | needed.idle(request.source.symbols or ())
    market, place = group.source.own_market, project.catalog.place(group)
    columns = (*group.scanned, UPDATE_MODE)
    if (key := key_of(group)) is None:
        return (Table(group.name, columns, market, recent, place),)
    whole = Table(group.name, (*columns, key), market, declared=place)
    return whole, pairs_table(group, key, recent)


def _without_idle(scanned: Scanned, needed: Needed) -> tuple[Snapshot, int, int]:
    """Return the snapshot of what is due and missing, and how many symbols are recent or not due.

    Of a market's symbols that no page has shown, those count as recent that may be of it.
    """
    whole, symbols = scanned.snapshot, scanned.universe.symbols
    shown = whole.rows.keys() | whole.failed.keys() | set(whole.absent)
    hidden = len(not_shown(scanned.universe, shown, needed.recent))
    resumed = len(shown.intersection(needed.recent)) + min(hidden, whole.shortfall)
    idle = needed.idle(shown if symbols is None else symbols)
    return whole.without(needed.recent | idle), resumed, len(idle)


def _modes(snapshot: Snapshot) -> dict[str, str | None]:
    place = snapshot.columns.index(UPDATE_MODE)
    cells = ((symbol, row[place]) for symbol, row in snapshot.rows.items())
    return {symbol: cell if isinstance(cell, str) else None for symbol, cell in cells}


def _refuse_same_second(
    lakehouse: Lakehouse, group: FeatureGroup, rows: pa.Table, known_at: datetime
) -> None:
    """Keep (symbol, timestamp) unique when the clock stands still or was set back."""
    second = int(known_at.timestamp())
    there = newest_between(lakehouse, group, second, second)
    repeated = [symbol for symbol in rows["symbol"].to_pylist() if symbol in there]
    if repeated:
        raise ClockError(
            f"the lakehouse already has {len(repeated)} of these symbols stamped "
            f"{known_at:%Y-%m-%d %H:%M:%S} UTC, {repeated[0]} among them: run again when the clock "
            "(TVFEAST_NOW, if it is set) has moved on"
        )
