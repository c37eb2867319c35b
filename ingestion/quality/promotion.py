"""What speaks for and against serving the newest rows: findings, one per check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.arrow import latest
from ingestion.base.errors import CorruptPart, InputError
from ingestion.base.wording import counted
from ingestion.catalog import FeatureGroup
from ingestion.catalog.quality import ParityLimits
from ingestion.lakehouse import Lakehouse, RunFile, run_files, run_ids
from ingestion.lakehouse.inspect import recorded_origins
from ingestion.lakehouse.ledger import read_run_ledger
from ingestion.lakehouse.origins import Origin
from ingestion.lakehouse.parts import Part
from ingestion.lakehouse.run_files import receipts_of_run
from ingestion.project import Project
from ingestion.quality.check import CheckReport
from ingestion.quality.figures import Figure, Skipped, age
from ingestion.quality.parity import PARITY_FILE
from ingestion.quality.rules import Level
from ingestion.quality.waivers import Waivers
from ingestion.runs.receipt_file import (
    NOT_SAID,
    ended_before,
    is_done,
    is_of_group,
    read_receipt,
    snapshot_receipts,
)
from ingestion.runs.run import catalog_hash

_NAMED = 3


@dataclass(frozen=True)
class Finding:
    """What a check found."""

    group: str
    """The feature group; ``waivers`` for a waiver's own fault."""
    check: str
    passed: bool
    detail: str
    waived_by: str | None = None
    """File name of the waiver that sets it aside."""

    @property
    def is_fault(self) -> bool:
        """Whether the gate says no for it."""
        return not self.passed and self.waived_by is None

    @property
    def told(self) -> str:
        """What was found, without the group."""
        return f"{self.check}: {self.detail}"

    def __str__(self) -> str:
        return f"{self.group}: {self.told}"


def waive(finding: Finding, waivers: Waivers) -> Finding:
    """Set a finding aside if there is a waiver for it."""
    waiver = None if finding.passed else waivers.of(finding.group, finding.check)
    return replace(finding, waived_by=waiver.path.name) if waiver else finding


def quality(report: CheckReport) -> Iterator[Finding]:
    """Yield a finding for each check that the newest rows broke, or one that they broke none."""
    for failure in report.failures:
        named = ", ".join(failure.symbols[:_NAMED])
        detail = f"{failure.detail} ({named})" if named else failure.detail
        yield Finding(report.group, failure.check, False, detail)
    if not report.failures:
        yield Finding(report.group, "quality", True, str(report))


class NoVerdict(Exception):
    """There is no verdict that counts; ``str()`` says why."""


def gate_verdicts(
    project: Project, group: FeatureGroup, parts: Iterable[Part]
) -> dict[str, dict[str, Any]]:
    """Return what the gate said of the rows of some parts, by run: the receipts' ``quality``.

    A verdict counts if nothing has changed since: the part is the file that its run recorded, the
    receipt names this part by its hash, the run's ledger has the receipt's hash, and the catalog is
    the same. Else the rows have to be judged again.

    Raises
    ------
    NoVerdict
        If there is a part of which it has said nothing, or nothing that still counts.
    FileNotFoundError
        If a part is gone since it was listed; under the lakehouse lock none goes.
    """
    verdicts: dict[str, dict[str, Any]] = {}
    for part in parts:
        try:
            origins = recorded_origins(part)
        except (ValueError, CorruptPart, InputError) as error:
            raise NoVerdict(f"{part.key} {error}") from None
        for origin in origins:
            verdicts[origin.run_id] = _verdict(project, group, origin)
    return verdicts


def _verdict(project: Project, group: FeatureGroup, origin: Origin) -> dict[str, Any]:
    lakehouse, run_id = project.lakehouse, origin.run_id
    try:
        recorded = read_run_ledger(lakehouse, run_id).files
        for file in receipts_of_run(lakehouse, run_id):
            content = file.sha256()
            receipt = read_receipt(file)
            quality = _said_of(group, receipt.get("quality"))
            if quality is None:
                continue
            if content not in {entry.sha256 for entry in recorded.get(file.key, ())}:
                raise NoVerdict(f"{file.key} is not what run {run_id} wrote")
            if receipt["catalog_sha256"] != catalog_hash(project.catalog):
                raise NoVerdict(f"the catalog has changed since run {run_id}")
            parts = {(each["part"], each["sha256"]) for each in receipt["parts"]}
            if quality["verdict"] == "publish" and (origin.part, origin.sha256) in parts:
                return quality
    except (InputError, OSError, *NOT_SAID) as error:
        raise NoVerdict(f"a receipt of run {run_id} cannot be read ({error})") from None
    raise NoVerdict(f"no receipt of run {run_id} has the gate's verdict on {origin.part}")


def _said_of(group: FeatureGroup, quality: object) -> dict[str, Any] | None:
    """Return what a receipt says of a group: one verdict, or a list of several groups'."""
    verdicts = quality if isinstance(quality, list) else [quality]
    told = (each for each in verdicts if isinstance(each, dict) and each["group"] == group.name)
    return next(told, None)


def passed_gate(
    group: FeatureGroup, verdicts: Mapping[str, dict[str, Any]]
) -> Iterator[Finding | Skipped]:
    """Yield the gate's verdict on the newest rows: that they passed, and what a waiver let pass.

    Parameters
    ----------
    verdicts
        As :func:`gate_verdicts` returns them.
    """
    waived = False
    for verdict in verdicts.values():
        for failure in verdict["failures"]:
            if failure["level"] == Level.BATCH:
                waived = True
                yield Finding(group.name, failure["check"], False, failure["detail"])
        for each in verdict["skipped"]:
            yield Skipped(each["check"], each["reason"])
    if not waived:
        rows = sum(verdict["accepted"] for verdict in verdicts.values())
        yield Finding(group.name, "quality", True, f"{counted(rows, 'row')} passed the gate")


def age_of(group: FeatureGroup, rows: pa.Table, at: datetime) -> Iterator[Finding | Skipped]:
    """Yield the age of the newest row where it is beyond the group's limit."""
    figure = age(group, rows, at)
    if isinstance(figure, Figure) and not figure.is_inside:
        yield Finding(group.name, figure.check, False, str(figure))


def coverage(
    lakehouse: Lakehouse, group: FeatureGroup, rows: pa.Table, at: datetime
) -> Finding | Skipped:
    """Judge the newest snapshot by its receipt, and by the rows that are really there.

    Parameters
    ----------
    rows
        The group's newest row of each symbol, up to the instant ``at``.
    """
    newest = latest(rows["event_timestamp"])
    newest_first = sorted(run_ids(lakehouse), reverse=True)
    for file in (each for run in newest_first for each in snapshot_receipts(lakehouse, run, group)):
        try:
            receipt = read_receipt(file)
            if ended_before(receipt, "verdict") or not is_of_group(receipt, group):
                continue
            known_at = datetime.fromisoformat(receipt["known_at"])
            if receipt["verdict"] == "publish" and newest and newest <= known_at <= at:
                there = pc.sum(pc.equal(rows["timestamp"], int(known_at.timestamp()))).as_py()
                if there or is_done(receipt):  # else the snapshot has never appeared
                    return _coverage(group, receipt, there)
        except (InputError, *NOT_SAID) as error:
            return _unreadable(group, "coverage", file, error)
    return Skipped("coverage", "the newest rows have no receipt")


def parity(lakehouse: Lakehouse, group: FeatureGroup) -> Iterator[Finding | Skipped]:
    """Judge the newest comparison with recomputed values, one column at a time."""
    limits = group.quality.parity
    if limits is None:
        return
    for file in run_files(lakehouse, PARITY_FILE):
        try:
            receipt = read_receipt(file)
            if ended_before(receipt, "columns"):
                continue
            judged = [_parity(group, limits, figures) for figures in receipt["columns"]]
        except (InputError, *NOT_SAID) as error:
            judged = [_unreadable(group, "parity", file, error)]
        yield from judged
        return
    yield Skipped("parity", "not measured: `tvfeast parity` does")


def _unreadable(group: FeatureGroup, check: str, file: RunFile, error: Exception) -> Finding:
    """Say no where a receipt does not say anything; a newer one of its job takes its place."""
    told = str(error) if isinstance(error, InputError) else f"{file} cannot be read ({error!r})"
    return Finding(group.name, check, False, told)


def _coverage(group: FeatureGroup, receipt: dict[str, Any], there: int) -> Finding:
    asked, resumed, least = (receipt[key] for key in ("asked", "resumed", "min_coverage"))
    share = min(1.0, (there + resumed) / asked) if asked else 0.0
    detail = f"{share:.1%} of {counted(asked, 'symbol')}, least {least:.1%}"
    return Finding(group.name, "coverage", share >= least, detail)


def _parity(
    group: FeatureGroup, limits: ParityLimits, figures: dict[str, Any]
) -> Finding | Skipped:
    column, values = figures["feature"], figures["n"]
    check = f"{column} parity"
    if values < group.quality.judged_from:
        return Skipped(
            check, f"{counted(values, 'value')}, judged from {group.quality.judged_from}"
        )
    faults = _faults(column, figures, limits)
    detail = "; ".join(faults) or f"{counted(values, 'value')} compared"
    return Finding(group.name, check, not faults, detail)


def _faults(column: str, figures: dict[str, Any], limits: ParityLimits) -> list[str]:
    faults = []
    beyond, most = figures["beyond"] / figures["n"], limits.max_beyond_share.of(column)
    # Asked this way round, not-a-number is a fault.
    if most is not None and not beyond <= most:
        faults.append(f"{beyond:.1%} beyond the tolerance, at most {most:.1%}")
    leasts = (
        ("rank_correlation", limits.min_rank_correlation),
        ("sign_agreement", limits.min_sign_agreement),
    )
    for key, least in leasts:
        value = figures[key]
        if value is not None and not value >= least:
            faults.append(f"{key.replace('_', ' ')} {value:.3f}, least {least:g}")
    return faults
