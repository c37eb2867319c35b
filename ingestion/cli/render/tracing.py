"""What is stored, and where it comes from."""

from __future__ import annotations

from typing import Any

from ingestion.jobs.audit.accept import AcceptResult
from ingestion.jobs.audit.compact import CompactResult
from ingestion.jobs.audit.verify_lakehouse import LakehouseReport


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
        "warnings": list(report.warnings),
        "faults": [{"file": fault.file, "reason": fault.reason} for fault in report.faults],
    }


def verify_text(report: LakehouseReport) -> str:
    """Return a check of the lakehouse for people, a line a fault."""
    verdict = "the lakehouse is sound" if report.passed else "THE LAKEHOUSE IS NOT SOUND"
    apart = (
        (report.not_recorded, "without a recorded hash"),
        (report.unpublished, "announced by runs that died before they appeared"),
        (report.replaced, "merged into others"),
        (report.accepted, "gone, as somebody recorded"),
    )
    left_out = "".join(f"; {count:,} {what}" for count, what in apart if count)
    line = f"{verdict}: {report.parts:,} parts, {report.rows:,} rows, {report.receipts:,} receipts"
    warnings = (f"  warning: {warning}" for warning in report.warnings)
    return "\n".join([line + left_out, *(f"  {fault}" for fault in report.faults), *warnings])


def accept_document(result: AcceptResult) -> dict[str, Any]:
    """Return what is accepted as gone, for ``--json``."""
    return {
        "run_id": result.run_id,
        "reason": result.reason,
        "accepted": [entry.part for entry in result.accepted],
        "receipt": str(result.receipt),
    }


def accept_text(result: AcceptResult) -> str:
    """Return what is accepted as gone, a line per file."""
    lines = [
        f"  {entry.part}, {f'{entry.rows:,} rows ' * bool(entry.rows)}of run {entry.run_id}"
        for entry in result.accepted
    ]
    return "\n".join([f"gone, and {result.receipt} says why:", *lines])


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
