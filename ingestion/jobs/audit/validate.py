"""The promotion gate: which groups' newest rows may be served, each group by itself.

1. Waivers: one that is expired or malformed is a fault, and waives nothing; it refuses no group.
2. Quality of each group's newest rows: the gate's verdict on them, which their runs' receipts have.
   Where there is none that counts, the rows are judged again, and the result says why.
3. Their age.
4. Coverage of the newest snapshot, by its receipt and the rows that are really there.
5. Parity, by the newest comparison, if one was made.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from ingestion.base import clock
from ingestion.base.errors import GateRefused, InputError
from ingestion.base.wording import some_of
from ingestion.catalog import FeatureGroup, FromBars, Scanner
from ingestion.jobs.ingest.missing_sessions import known_holes
from ingestion.jobs.serve.loads import VERDICT_FILE
from ingestion.lakehouse import Lakehouse, RunFile
from ingestion.project import Project
from ingestion.quality import promotion
from ingestion.quality.check import CheckContext, CheckReport, check_rows
from ingestion.quality.engine import Engine
from ingestion.quality.figures import Skipped
from ingestion.quality.history import Newest, newest_rows, read_history
from ingestion.quality.promotion import Finding, NoVerdict, gate_verdicts
from ingestion.quality.waivers import Waivers, read_waivers
from ingestion.runs.run import Run

WAIVERS = "waivers"
"""Stands for a group in the findings about waivers themselves."""


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
    judged: dict[str, str]
    """By group with rows, who judged their quality: the gate, or this job and why."""
    receipt: RunFile

    @property
    def passed(self) -> bool:
        """Whether the newest rows of all groups may be served, and no waiver is at fault."""
        return not self.faults

    @property
    def refusal(self) -> str | None:
        """What the gate says no for; None if it does not."""
        if self.passed:
            return None
        return f"{some_of(self.faults)}; {self.verdict}; {self.receipt} says why"

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


def validate(project: Project, run: Run | None = None) -> ValidateResult:
    """Judge the newest rows of each group and write the receipt.

    The verdict is in the result; :func:`~ingestion.base.errors.demand_all` makes an error of it.

    Raises
    ------
    InputError
        If the lakehouse has no features yet.
    CorruptPart
        If a part cannot be read.
    LakehouseLocked
        If another run is writing.
    """
    at = clock.now()
    with Run.open(project, "validate", file=VERDICT_FILE, step_of=run) as run:
        waivers = read_waivers(project.feast_repository, project.catalog.groups, at)
        findings = [Finding(WAIVERS, "valid", False, problem) for problem in waivers.problems]
        skipped: list[tuple[str, Skipped]] = []
        judged: dict[str, str] = {}
        quality: list[object] = []
        for group, newest in newest_of_groups(project, at).items():
            if not newest.rows.num_rows:
                skipped.append((group.name, Skipped("quality", "no rows")))
                continue
            try:
                said = gate_verdicts(project, group, newest.parts)
                found: Iterable[Finding | Skipped] = promotion.passed_gate(group, said)
                judged[group.name] = f"by the gate, in {_runs(said)}"
                quality += said.values()
            except NoVerdict as why:
                report = check_newest(project, group, newest.rows)
                found = [*promotion.quality(report), *report.skipped]
                judged[group.name] = f"now: {why}"
                quality.append(report)
            for each in (*found, *_beside_quality(project.lakehouse, group, newest.rows, at)):
                if isinstance(each, Finding):
                    findings.append(promotion.waive(each, waivers))
                else:
                    skipped.append((group.name, each))
        result = ValidateResult(
            *(
                run.id,
                at,
                project.catalog.groups,
                tuple(findings),
                tuple(skipped),
                judged,
                run.receipt,
            )
        )
        run.tell(**_document(result, waivers), quality=quality)
        if not result.passed:
            run.fail(GateRefused(str(result.refusal)))
    return result


FOLDER = "docs_gx"
"""Below ``data/`` of the project; replaced by each run."""


@dataclass(frozen=True)
class DataDocsResult:
    """The site and what is on it."""

    index: Path
    reports: tuple[CheckReport, ...]


def data_docs(project: Project) -> DataDocsResult:
    """Check each group's newest rows, as the gate does, and show every expectation.

    The lakehouse is only read; nothing is fetched.

    Raises
    ------
    InputError
        If the lakehouse has no features yet.
    CorruptPart
        If a part cannot be read.
    """
    at, site = clock.now(), project.folder / "data" / FOLDER
    newest = newest_of_groups(project, at)
    engine = Engine(site)
    reports = tuple(
        check_newest(project, group, each.rows, engine)
        for group, each in newest.items()
        if each.rows.num_rows
    )
    shutil.rmtree(site, ignore_errors=True)
    return DataDocsResult(engine.build_site(), reports)


def newest_of_groups(project: Project, at: datetime) -> dict[FeatureGroup, Newest]:
    """Return each group's newest rows.

    Raises
    ------
    InputError
        If no group has any.
    """
    newest = {group: newest_rows(project.lakehouse, group, at) for group in project.catalog.groups}
    if not any(each.rows.num_rows for each in newest.values()):
        raise InputError(
            f"{project.lakehouse} has no features up to {at:%Y-%m-%d %H:%M} UTC: run "
            "`tvfeast feature-ingest`"
        )
    return newest


def check_newest(
    project: Project, group: FeatureGroup, rows: pa.Table, engine: Engine | None = None
) -> CheckReport:
    """Judge the newest rows of a group as the gate would, whatever it has said of them."""
    holes = known_holes(project.lakehouse) if isinstance(group.source, FromBars) else None
    history = read_history(project.lakehouse, group, rows, holes, formulas=project.formulas)
    return check_rows(group, rows, CheckContext(history), engine)


def _runs(run_ids: Collection[str]) -> str:
    first = next(iter(run_ids))
    return f"run {first}" if len(run_ids) == 1 else f"run {first} and {len(run_ids) - 1} others"


def _beside_quality(
    lakehouse: Lakehouse, group: FeatureGroup, rows: pa.Table, at: datetime
) -> Iterator[Finding | Skipped]:
    yield from promotion.age_of(group, rows, at)
    if isinstance(group.source, Scanner):
        yield promotion.coverage(lakehouse, group, rows, at)
    yield from promotion.parity(lakehouse, group)


def _document(result: ValidateResult, waivers: Waivers) -> dict[str, Any]:
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
        "judged": result.judged,
    }
