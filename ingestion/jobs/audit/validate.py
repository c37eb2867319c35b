"""The promotion gate: which groups' newest rows may be served, each group by itself.

1. Waivers: one that is expired or malformed is a fault, and waives nothing; it refuses no group.
2. Quality and age of each group's newest rows, by Great Expectations.
3. Coverage of the newest snapshot, by its receipt and the rows that are really there.
4. Parity, by the newest comparison, if one was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa

from ingestion.base import clock
from ingestion.base.errors import GateRefused, InputError
from ingestion.catalog import FeatureGroup, Scanner
from ingestion.jobs.ingest.missing_sessions import known_holes
from ingestion.jobs.serve.loads import VERDICT_FILE
from ingestion.lakehouse import lakehouse_lock
from ingestion.project import Project
from ingestion.quality import promotion
from ingestion.quality.check import CheckContext, CheckReport, check_rows
from ingestion.quality.engine import Engine
from ingestion.quality.figures import Skipped
from ingestion.quality.history import newest_rows, read_history
from ingestion.quality.promotion import Finding
from ingestion.quality.waivers import Waivers, read_waivers
from ingestion.runs.receipt import Job
from ingestion.runs.run_id import new_run_id

WAIVERS = "waivers"
"""Stands for a group in the findings about waivers themselves."""


class Checked(NamedTuple):
    """A group's newest rows and what they hold."""

    group: FeatureGroup
    rows: pa.Table
    report: CheckReport


@dataclass(frozen=True)
class ValidateResult:
    """The verdict on each group, and what it rests on."""

    SHOWN: ClassVar = ("passed", "promoted", "refused")

    run_id: str
    at: datetime
    groups: tuple[FeatureGroup, ...] = field(repr=False)
    findings: tuple[Finding, ...]
    skipped: tuple[tuple[str, Skipped], ...]
    """Checks that could not be judged, each with its group."""
    receipt: Path

    @property
    def passed(self) -> bool:
        """Whether the newest rows of all groups may be served, and no waiver is at fault."""
        return not self.faults

    @property
    def promoted(self) -> tuple[str, ...]:
        """The groups whose newest rows may be served; one without rows is among them."""
        return tuple(group.name for group in self.groups if group.name not in self.refused)

    @property
    def refused(self) -> dict[str, tuple[Finding, ...]]:
        """By group, what speaks against serving its newest rows."""
        names = {group.name for group in self.groups}
        faults: dict[str, tuple[Finding, ...]] = {}
        for each in self.faults:
            if each.group in names:
                faults[each.group] = (*faults.get(each.group, ()), each)
        return faults

    @property
    def verdict(self) -> str:
        """Which groups' newest rows may be promoted and which not, for people."""
        judged = dict.fromkeys(each.group for each in self.findings if each.group != WAIVERS)
        passed = ", ".join(name for name in judged if name not in self.refused)
        refused = f"; MAY NOT BE PROMOTED: {', '.join(self.refused)}" if self.refused else ""
        return f"may be promoted: {passed or 'none'}{refused}"

    @property
    def faults(self) -> tuple[Finding, ...]:
        """What the gate says no for."""
        return tuple(finding for finding in self.findings if finding.is_fault)

    @property
    def waived(self) -> tuple[Finding, ...]:
        """What it would have said no for."""
        return tuple(finding for finding in self.findings if finding.waived_by)


def validate(project: Project, run_id: str | None = None) -> ValidateResult:
    """Judge the newest rows of each group and write the receipt.

    The verdict is in the result; :func:`refuse_unless_passed` makes an error of it.

    Raises
    ------
    InputError
        If the lakehouse has no features yet.
    CorruptPart
        If a part cannot be read.
    LakehouseLocked
        If another run is writing.
    """
    run_id, at = run_id or new_run_id(), clock.now()
    with (
        lakehouse_lock(project.lakehouse, run_id),
        Job(project, run_id, "validate", VERDICT_FILE) as job,
    ):
        waivers = read_waivers(project.feast_repository, project.catalog.groups, at)
        newest = newest_of_groups(project, at)
        checked = check_newest(project, newest, at, Engine())
        findings = [Finding(WAIVERS, "valid", False, problem) for problem in waivers.problems]
        skipped: list[tuple[str, Skipped]] = []
        for group, judged in _judged(project, at, checked):
            if isinstance(judged, Finding):
                findings.append(promotion.waive(judged, waivers))
            else:
                skipped.append((group, judged))
        result = ValidateResult(
            run_id, at, project.catalog.groups, tuple(findings), tuple(skipped), Path()
        )
        job.tell(**_document(result, waivers, checked))
        if not result.passed:
            job.fail(GateRefused(_refusal(result)))
    return replace(result, receipt=job.receipt)


def refuse_unless_passed(result: ValidateResult) -> None:
    """Make an error of a verdict that is not yes for all.

    Raises
    ------
    GateRefused
        If a group's newest rows may not be served, or a waiver is at fault.
    """
    if not result.passed:
        raise GateRefused(f"{_refusal(result)}; {result.receipt} says why")


def _refusal(result: ValidateResult) -> str:
    first, *others = result.faults
    more = f" and {len(others)} more" if others else ""
    return f"{first}{more}; {result.verdict}"


def newest_of_groups(project: Project, at: datetime) -> dict[FeatureGroup, pa.Table]:
    """Return each group's newest rows; a group without any is left out.

    Raises
    ------
    InputError
        If no group has any.
    """
    tables = {group: newest_rows(project.lakehouse, group, at) for group in project.catalog.groups}
    newest = {group: rows for group, rows in tables.items() if rows.num_rows}
    if not newest:
        raise InputError(
            f"{project.lakehouse} has no features up to {at:%Y-%m-%d %H:%M} UTC: run "
            "`tvfeast feature-ingest`"
        )
    return newest


def check_newest(
    project: Project, newest: dict[FeatureGroup, pa.Table], at: datetime, engine: Engine
) -> list[Checked]:
    """Check the newest rows of each group."""
    checked = []
    for group, rows in newest.items():
        holes = known_holes(project.lakehouse) if group.source.of_closed_bars else None
        history = read_history(project.lakehouse, group, rows, holes, formulas=project.formulas)
        context = CheckContext(history, at)
        checked.append(Checked(group, rows, check_rows(group, rows, context, engine)))
    return checked


def _judged(
    project: Project, at: datetime, checked: list[Checked]
) -> Iterator[tuple[str, Finding | Skipped]]:
    lakehouse = project.lakehouse
    for group in project.catalog.groups:
        if all(each.group is not group for each in checked):
            yield group.name, Skipped("quality", "no rows")
    for group, rows, report in checked:
        yield from ((group.name, each) for each in promotion.quality(report))
        yield from ((group.name, each) for each in report.skipped)
        if isinstance(group.source, Scanner):
            yield group.name, promotion.coverage(lakehouse, group, rows, at)
        yield from ((group.name, each) for each in promotion.parity(lakehouse, group))


def _document(result: ValidateResult, waivers: Waivers, checked: list[Checked]) -> dict[str, Any]:
    return {
        "at": result.at,
        "verdict": "promote" if result.passed else "refuse",
        "groups": {
            group.name: {
                "verdict": "refuse" if group.name in result.refused else "promote",
                "reasons": [each.told for each in result.refused.get(group.name, ())],
            }
            for group in result.groups
        },
        "findings": result.findings,
        "skipped": [
            {"group": group, "check": each.check, "reason": each.reason}
            for group, each in result.skipped
        ],
        "waivers": waivers.valid,
        "quality": [each.report for each in checked],
    }
