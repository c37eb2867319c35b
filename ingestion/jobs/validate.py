"""The promotion gate: whether what is newest in the lakehouse may be served.

1. Waivers: one that is expired or malformed fails the gate.
2. Quality and age of each group's newest rows, by Great Expectations.
3. Coverage of the newest snapshot, by its receipt and the rows that are really there.
4. Parity, by the newest comparison, if one was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from feature_repo.catalog import GROUPS, TV_TECHNICALS_1D, FeatureGroup
from ingestion import clock
from ingestion.errors import GateRefused, InputError
from ingestion.jobs.run import new_run_id
from ingestion.lakehouse import lakehouse_lock
from ingestion.quality import promotion
from ingestion.quality.check import CheckContext, CheckReport, check_rows
from ingestion.quality.engine import Engine
from ingestion.quality.figures import Skipped
from ingestion.quality.history import newest_rows, read_history
from ingestion.quality.promotion import Finding
from ingestion.quality.receipt import Job
from ingestion.quality.waivers import Waivers, read_waivers
from ingestion.settings import Settings

RECEIPT_FILE = "validate.json"


class Checked(NamedTuple):
    """A group's newest rows and what they hold."""

    group: FeatureGroup
    rows: pa.Table
    report: CheckReport


@dataclass(frozen=True)
class ValidateResult:
    """The verdict and what it rests on."""

    run_id: str
    at: datetime
    findings: tuple[Finding, ...]
    skipped: tuple[tuple[str, Skipped], ...]
    """Checks that could not be judged, each with its group."""
    receipt: Path

    @property
    def passed(self) -> bool:
        """Whether the newest rows may be served."""
        return not self.faults

    @property
    def faults(self) -> tuple[Finding, ...]:
        """What the gate says no for."""
        return tuple(finding for finding in self.findings if finding.is_fault)

    @property
    def waived(self) -> tuple[Finding, ...]:
        """What it would have said no for."""
        return tuple(finding for finding in self.findings if finding.waived_by)


def validate(settings: Settings, run_id: str | None = None) -> ValidateResult:
    """Judge the newest rows of each group and write the receipt.

    The verdict is in the result; :func:`refuse_unless_passed` makes an error of it.

    Raises
    ------
    InputError
        If the lakehouse holds no features yet.
    CorruptPart
        If a part cannot be read.
    LakehouseLocked
        If another run is writing.
    """
    run_id, at = run_id or new_run_id(), clock.now()
    with lakehouse_lock(settings.lakehouse, run_id):
        job = Job(settings, run_id, "validate")
        waivers = read_waivers(settings.feast_repository, at)
        newest = newest_of_groups(settings, at)
        checked = check_newest(settings, newest, at, Engine())
        findings = [Finding("waivers", "valid", False, problem) for problem in waivers.problems]
        skipped: list[tuple[str, Skipped]] = []
        for group, judged in _judged(settings.lakehouse, at, checked):
            if isinstance(judged, Finding):
                findings.append(promotion.waive(judged, waivers))
            else:
                skipped.append((group, judged))
        result = ValidateResult(run_id, at, tuple(findings), tuple(skipped), Path())
        receipt = job.write(RECEIPT_FILE, **_document(result, waivers, checked))
    return replace(result, receipt=receipt)


def refuse_unless_passed(result: ValidateResult) -> None:
    """Stop what would serve the newest rows.

    Raises
    ------
    GateRefused
        If the verdict is no.
    """
    if not result.passed:
        first, *others = result.faults
        more = f" and {len(others)} more" if others else ""
        raise GateRefused(f"{first}{more}: nothing was promoted; {result.receipt} says why")


def newest_of_groups(settings: Settings, at: datetime) -> dict[FeatureGroup, pa.Table]:
    """Return each group's newest rows; a group without any is left out.

    Raises
    ------
    InputError
        If no group has any.
    """
    tables = {group: newest_rows(settings.lakehouse, group, at) for group in GROUPS}
    newest = {group: rows for group, rows in tables.items() if rows.num_rows}
    if not newest:
        raise InputError(
            f"{settings.lakehouse} holds no features up to {at:%Y-%m-%d %H:%M} UTC: run "
            "`tvfeast feature-ingest`"
        )
    return newest


def check_newest(
    settings: Settings, newest: dict[FeatureGroup, pa.Table], at: datetime, engine: Engine
) -> list[Checked]:
    """Check the newest rows of each group."""
    checked = []
    for group, rows in newest.items():
        context = CheckContext(read_history(settings.lakehouse, group, rows), at)
        checked.append(Checked(group, rows, check_rows(group, rows, context, engine)))
    return checked


def _judged(
    lakehouse: Path, at: datetime, checked: list[Checked]
) -> Iterator[tuple[str, Finding | Skipped]]:
    for group in GROUPS:
        if all(each.group is not group for each in checked):
            yield group.name, Skipped("quality", "no rows")
    for group, rows, report in checked:
        yield from ((group.name, each) for each in promotion.quality(report))
        yield from ((group.name, each) for each in report.skipped)
        if group is TV_TECHNICALS_1D:
            yield group.name, promotion.coverage(lakehouse, group, rows, at)
        yield from ((group.name, each) for each in promotion.parity(lakehouse, group))


def _document(result: ValidateResult, waivers: Waivers, checked: list[Checked]) -> dict[str, Any]:
    return {
        "at": result.at,
        "verdict": "promote" if result.passed else "refuse",
        "findings": result.findings,
        "skipped": [
            {"group": group, "check": each.check, "reason": each.reason}
            for group, each in result.skipped
        ],
        "waivers": waivers.valid,
        "quality": [each.report.to_dict() for each in checked],
    }
