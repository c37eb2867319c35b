"""What a recomputation publishes: of each group and date, the rows that are not stored yet.

Of each date's rows, those that are stored already are dropped, and the others are written as one
part. The gate judges them before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pyarrow as pa

from ingestion.bars.holes import OpenHoles
from ingestion.base import clock
from ingestion.base.arrow import from_numpy
from ingestion.base.progress import watched
from ingestion.catalog import FeatureGroup
from ingestion.jobs.compute.all_bars import Months
from ingestion.jobs.compute.changes import Changes, changes_of, row_keys
from ingestion.jobs.compute.transpose import Names, stamped
from ingestion.lakehouse import (
    Part,
    append_parts,
    created_after,
    created_at,
    parts_of,
    read_current,
)
from ingestion.project import Project
from ingestion.quality.check import CheckReport
from ingestion.quality.gate import check_at_door, refuse_unless_accepted, screen, write_quarantine
from ingestion.runs.run import Run

_ROWS_TOGETHER = 5_000
"""Of several dates that are compared with stored rows at once, or wait to be written."""
_PARTS_TOGETHER = 128
"""That are written together, so that the disk is waited for once."""


@dataclass(frozen=True)
class GroupRows:
    """What a run did to one group."""

    group: str
    written: int
    unchanged: int
    quarantined: int
    """Rows that break a rule of the catalog."""


class Publication:
    """What a run writes of all groups that are computed from bars.

    Parameters
    ----------
    changed
        Names of formulas that compute something else than stored rows contain.
    """

    def __init__(self, project: Project, run: Run, changed: frozenset[str] = frozenset()) -> None:
        self._run = run
        reports: list[CheckReport] = []
        self.groups = [
            GroupWriter(project, run, each, changed, reports) for each in project.catalog.computed
        ]

    @property
    def written(self) -> dict[str, list[Part]]:
        """The parts that were written so far, by group."""
        return {group.name: group.parts for group in self.groups}

    def publish(self, newest: date, months: Months, names: Names, holes: OpenHoles) -> None:
        """Write what is not stored yet of the rows of some months.

        Parameters
        ----------
        newest
            Date of the newest bar.

        Raises
        ------
        GateRefused
            If the date that will be served is refused for a group; its earlier dates are published,
            and so are the other groups.
        """
        for _, of_month in watched(months.drain(), "months written", len(months.numbers)):
            for group in self.groups:
                group.publish(newest, group.stamped(of_month, names), holes)
        for group in self.groups:
            group.append()
        for group in self.groups:
            if group.refused:
                refuse_unless_accepted(group.refused, self._run)


class GroupWriter:
    """What a run writes of one group, and how much it was."""

    def __init__(
        self,
        project: Project,
        run: Run,
        group: FeatureGroup,
        changed: frozenset[str],
        reports: list[CheckReport],
    ) -> None:
        self.dates = self.rows_written = self.rows_unchanged = self.quarantined = 0
        self.rows_defined = self.rows_restated = 0
        self.refused: CheckReport | None = None
        self.parts: list[Part] = []
        self.defined: list[Part] = []
        self.name = group.name
        self._project, self._run, self._group = project, run, group
        self._changed_formulas, self._reports = changed, reports
        self._began = clock.now()
        self._likely: tuple[str, ...] = ()
        self._waiting: list[tuple[pa.Table, datetime | None, bool]] = []
        """Rows of one date that are to be written, when the newest that they may replace was
        created, and whether they are written for a definition."""

    def counts(self) -> GroupRows:
        """Return how many rows it was so far."""
        return GroupRows(self._group.name, self.rows_written, self.rows_unchanged, self.quarantined)

    def stamped(self, of_month: pa.Table, names: Names) -> Iterator[tuple[date, pa.Table]]:
        """Yield the rows of each date of a month, as the group has them."""
        return stamped(self._group, of_month, names, self._began)

    def publish(
        self, newest: date, dated: Iterable[tuple[date, pa.Table]], holes: OpenHoles | None = None
    ) -> None:
        """Write what is not stored yet of some dates' rows; a few wait for :meth:`append`.

        If the date that will be served is refused, :attr:`refused` says why, and those before it
        are published.

        Parameters
        ----------
        newest
            The newest date of which there can be rows.
        dated
            The rows of each date, in the group's schema.
        """
        found: dict[date, Changes] = {}
        for days in _together(dated):
            found |= self._changes(days)
        changed = {day: each.rows for day, each in found.items()}
        # The newest date, if it is young enough to be served; there is none in history alone.
        served = newest if self._began.date() - newest <= self._group.ttl else None
        if served in changed:
            self.append()  # what the served rows are compared with
        for day, accepted in self._accepted(changed, served, holes):
            self.quarantined += changed[day].num_rows - accepted.num_rows
            restated, defined = found[day].by_reason(accepted)
            for rows in (restated, defined):
                if rows.num_rows:
                    self._waiting.append((rows, found[day].newest, rows is defined))
        rows_waiting = sum(rows.num_rows for rows, _, _ in self._waiting)
        if rows_waiting > _ROWS_TOGETHER or len(self._waiting) > _PARTS_TOGETHER:
            self.append()

    def _changes(self, days: dict[date, pa.Table]) -> dict[date, Changes]:
        """Return what is to be written of the rows of some dates."""
        stored = [part for day in days for part in self._stored(day)]
        self.dates += len(days)
        if not stored:
            return {day: Changes(rows, frozenset(), None) for day, rows in days.items()}
        new = pa.concat_tables(days.values())
        changes = changes_of(self._group, new, stored, self._changed_formulas, self._likely)
        self._likely = changes.likely
        self.rows_restated += changes.restated
        self.rows_unchanged += new.num_rows - changes.rows.num_rows
        return dict(changes.by_date())

    def append(self) -> None:
        """Write a part for each table that waits: the disk is waited for once."""
        several, self._waiting = self._waiting, []
        if not several:
            return
        now = max(clock.now(), self._began)
        tables = [created_at(rows, created_after(now, newest)) for rows, newest, _ in several]
        parts = append_parts(self._project.lakehouse, self._group, tables, self._run.id)
        self.parts += parts
        for part, (rows, _, is_defined) in zip(parts, several, strict=True):
            self.rows_written += rows.num_rows
            if is_defined:
                self.rows_defined += rows.num_rows
                self.defined.append(part)

    def _stored(self, day: date) -> list[Part]:
        return parts_of(self._project.lakehouse, self._group, day)

    def _accepted(
        self, changed: dict[date, pa.Table], served: date | None, holes: OpenHoles | None
    ) -> Iterator[tuple[date, pa.Table]]:
        """Yield by date the rows that may be published; the others go to the run's quarantine.

        Great Expectations judges the date that will be served, as a batch too and as it will be.
        The row rules judge history.
        """
        group = self._group
        history = {day: rows for day, rows in changed.items() if rows.num_rows and day != served}
        if history:
            # All at once: the rules cost more a call than a row.
            stopped = screen(group, pa.concat_tables(history.values())).quarantined
            write_quarantine(self._project.lakehouse, group, stopped, self._run.id)
            for day, rows in history.items():
                yield day, screen(group, rows).accepted if stopped.num_rows else rows
        if served in changed and changed[served].num_rows:
            rows, beside = changed[served], read_current(self._stored(served), group)
            if beside.num_rows:
                replaced = set(row_keys(rows))
                stays = np.array([key not in replaced for key in row_keys(beside)], dtype=bool)
                beside = beside.filter(from_numpy(stays))
            report = check_at_door(
                self._project, group, rows, self._run.id, beside=beside, holes=holes
            )
            self._reports.append(report)
            self._run.tell(quality=self._reports)
            if not report.refused:
                yield served, report.accepted
            else:
                self.refused = report


def _together(several: Iterable[tuple[date, pa.Table]]) -> Iterator[dict[date, pa.Table]]:
    """Yield dates together that have few rows: a comparison costs more a call than a row."""
    days: dict[date, pa.Table] = {}
    count = 0
    for day, rows in several:
        if days and count + rows.num_rows > _ROWS_TOGETHER:
            yield days
            days, count = {}, 0
        days[day] = rows
        count += rows.num_rows
    if days:
        yield days
