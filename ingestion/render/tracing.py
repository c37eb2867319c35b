"""What is stored, where it comes from, and how fresh it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from ingestion.jobs.accept import AcceptResult
from ingestion.jobs.compact import CompactResult
from ingestion.jobs.status import GroupStatus, StatusReport
from ingestion.jobs.verify_lakehouse import LakehouseReport
from ingestion.quality.receipt import plain
from ingestion.render.units import age, minute

_NAMED = 5
"""How many symbols of a kind the text names."""


def verify_document(report: LakehouseReport) -> dict[str, Any]:
    """Return a check of the lakehouse for ``--json``."""
    return {
        "passed": report.passed,
        "parts": report.parts,
        "rows": report.rows,
        "not_recorded": report.not_recorded,
        "unpublished": report.unpublished,
        "replaced": report.replaced,
        "accepted": report.accepted,
        "receipts": report.receipts,
        "faults": [{"file": fault.file, "reason": fault.reason} for fault in report.faults],
    }


def verify_text(report: LakehouseReport) -> str:
    """Return a check of the lakehouse for people, a line a fault."""
    verdict = "the lakehouse holds" if report.passed else "THE LAKEHOUSE DOES NOT HOLD"
    apart = (
        (report.not_recorded, "without a recorded hash"),
        (report.unpublished, "announced by runs that died before they appeared"),
        (report.replaced, "merged into others"),
        (report.accepted, "gone and answered for"),
    )
    left_out = "".join(f"; {count:,} {what}" for count, what in apart if count)
    line = f"{verdict}: {report.parts:,} parts, {report.rows:,} rows, {report.receipts:,} receipts"
    return "\n".join([line + left_out, *(f"  {fault}" for fault in report.faults)])


def accept_document(result: AcceptResult) -> dict[str, Any]:
    """Return what was answered for, for ``--json``."""
    return {
        "run_id": result.run_id,
        "reason": result.reason,
        "accepted": [entry.part for entry in result.accepted],
        "receipt": str(result.receipt),
    }


def accept_text(result: AcceptResult) -> str:
    """Return what was answered for, a line a file."""
    lines = [
        f"  {entry.part}, {f'{entry.rows:,} rows ' * bool(entry.rows)}of run {entry.run_id}"
        for entry in result.accepted
    ]
    return "\n".join([f"gone and answered for, as {result.receipt} says:", *lines])


def compact_document(result: CompactResult) -> dict[str, Any]:
    """Return a compaction for ``--json``."""
    return {
        "run_id": result.run_id,
        "before": result.before.isoformat(),
        "merged": len(result.merged),
        "replaced": result.replaced,
        "rows": result.rows,
        "left": list(result.left),
        "receipt": str(result.receipt),
    }


def compact_text(result: CompactResult) -> str:
    """Return a compaction for people, a line a date that was left alone."""
    if not result.merged and not result.left:
        return f"nothing to merge: no date before {result.before} has several parts"
    line = (
        f"{result.replaced:,} parts became {len(result.merged):,}, {result.rows:,} rows, all kept"
    )
    return "\n".join([line, *(f"  left alone: {reason}" for reason in result.left)])


def status_document(report: StatusReport) -> dict[str, Any]:
    """Return the status for ``--json``; durations are seconds."""
    document: dict[str, Any] = {"passed": report.passed, **plain(report)}
    document["sections"] = {section.name: plain(section.document) for section in report.sections}
    return document


def status_text(report: StatusReport) -> str:
    """Return the status for people: a table, what waits, and which limits are passed."""
    headers = ["", "newest", "age", "coverage", "asked", "stale", "missing", "quarantined"]
    rows = [_group_row(group) for group in report.groups]
    align = ["left", "left", *["right"] * (len(headers) - 2)]
    lines = [tabulate(rows, headers, disable_numparse=True, colalign=align)]
    for group in report.groups:
        for kind, symbols in (("stale", group.stale), ("missing", group.missing)):
            if symbols:
                lines.append(f"{group.view}, {kind}: {_some(symbols)}")
    if load := report.load:
        lines.append(f"online store as of {minute(load.until)}, {age(load.age)} ago")
    else:
        lines.append("online store: nothing was ever materialized")
    if report.without_bars:
        markets = ", ".join(f"{e} {len(s):,}" for e, s in report.without_bars.items())
        lines.append(f"no bars, so nothing recomputed: {markets}; load them: tvfeast import-bars")
    if report.held_back:
        waiting = [f"{held.get('symbol')} {held.get('ratio')}" for held in report.held_back]
        lines.append(f"split suspected, bars held back: {_some(waiting)}")
    lines += [line for section in report.sections for line in section.lines]
    lines += [f"warning: {warning}" for warning in report.warnings]
    return "\n".join([*lines, *(f"PAST ITS LIMIT: {problem}" for problem in report.problems)])


def _group_row(group: GroupStatus) -> list[str]:
    return [
        group.view,
        minute(group.newest) if group.newest else "–",
        age(group.age) if group.age is not None else "–",
        f"{group.coverage:.1%}" if group.coverage is not None else "–",
        *(f"{n:,}" for n in (group.asked, len(group.stale), len(group.missing))),
        f"{group.quarantined:,}",
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
