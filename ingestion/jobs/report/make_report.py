"""The whole report, into one file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ingestion.base import clock
from ingestion.base.disk import check_writable, replace_file
from ingestion.base.errors import CorruptPart
from ingestion.catalog import OHLCV_1D
from ingestion.jobs.audit.status import StatusReport, status
from ingestion.jobs.report.agreement import agreement_section
from ingestion.jobs.report.catalogue import catalogue
from ingestion.jobs.report.completeness import completeness, completeness_section
from ingestion.jobs.report.distributions import distributions, drift_section
from ingestion.jobs.report.feed_lag import feed_lag_section
from ingestion.jobs.report.freshness import (
    freshness_section,
    gaps_section,
    late_markets,
    no_verdict,
    untold,
    verdict,
)
from ingestion.jobs.report.operation import (
    growth_section,
    read_runs,
    stopped_section,
    timings_section,
)
from ingestion.jobs.report.ranking import ranking_section
from ingestion.jobs.report.revisions import revisions_section
from ingestion.jobs.report.stored_rows import read_stored_rows
from ingestion.project import Project
from ingestion.report.contents import Report
from ingestion.report.page import page

FILE = "report.html"
"""Below ``data/`` of the project, unless another place is named."""


@dataclass(frozen=True)
class ReportResult:
    """What was written, and its answer."""

    path: Path
    at: datetime
    answer: str
    reasons: tuple[str, ...]
    size: int
    """Bytes of the file."""


def make_report(project: Project, out: Path | None = None) -> ReportResult:
    """Write the report of what there is now; the lakehouse is only read.

    Parameters
    ----------
    out
        The file; ``data/report.html`` of the project if None. It is replaced as a whole.

    Raises
    ------
    InputError
        If it is a folder, or cannot be written.
    """
    path = out or project.folder / "data" / FILE
    check_writable(path)
    report = gather(project)
    content = page(report).encode()
    replace_file(path, content)
    told = report.verdict
    return ReportResult(path, report.at, told.answer, tuple(told.reasons), len(content))


def gather(project: Project) -> Report:
    """Return the report of what there is now.

    What cannot be read is named on the first screen, and the rest is shown.
    """
    with project.lakehouse.looking():
        return _gathered(project)


def _gathered(project: Project) -> Report:
    at, lakehouse, catalog = clock.now(), project.lakehouse, project.catalog
    found: StatusReport | None = None
    unread: list[str] = []
    try:
        found = status(project)
    except CorruptPart as error:
        unread.append(str(error))
    stored = {
        dataset.name: read_stored_rows(lakehouse, dataset, at)
        for dataset in (*catalog.groups, OHLCV_1D)
    }
    unread += [said for each in stored.values() for said in each.unread if said not in unread]
    stored = {name: each for name, each in stored.items() if each.days}
    began = stored.get(catalog.pulse.name)
    shapes = {
        group.name: distributions(stored[group.name])
        for group in catalog.groups
        if group.name in stored
    }
    complete = {name: completeness(each, at) for name, each in stored.items()}
    late = late_markets(found) if found else []
    runs = read_runs(lakehouse)
    newest = {each.view: each.newest for each in found.groups} if found else {}
    sections = [
        freshness_section(found, late) if found else untold("fresh", "Fresh and complete", unread),
        ranking_section(project, at, {each.market for each in late}),
        completeness_section(complete),
        stopped_section(runs, found.held_back if found else ()),
        drift_section(shapes),
        agreement_section(project, at),
        revisions_section(stored, began.days[0].day if began else None),
        gaps_section(found) if found else untold("gaps", "Gaps in bars", unread),
        feed_lag_section(stored),
        timings_section(runs),
        growth_section(lakehouse, catalog, runs),
    ]
    return Report(
        title="tvfeast",
        lakehouse=str(lakehouse),
        at=at,
        verdict=verdict(catalog, found, late, unread) if found else no_verdict(unread),
        sections=sections,
        catalogue=catalogue(project, shapes, stored, newest, at),
    )
