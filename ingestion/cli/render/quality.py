"""What may be trusted: the promotion gate, and the site of its checks."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ingestion.cli.render.units import minute
from ingestion.jobs.audit.data_docs import DataDocsResult
from ingestion.jobs.audit.validate import ValidateResult
from ingestion.runs.receipt import plain


def validate_document(result: ValidateResult) -> dict[str, Any]:
    """Return a verdict for ``--json``."""
    return {
        "run_id": result.run_id,
        "at": result.at.isoformat(),
        "passed": result.passed,
        "promoted": [group.name for group in result.promoted],
        "refused": list(result.refused),
        "findings": plain(result.findings),
        "skipped": [
            {"group": group, "check": each.check, "reason": each.reason}
            for group, each in result.skipped
        ],
        "receipt": str(result.receipt),
    }


def validate_text(result: ValidateResult) -> str:
    """Return a verdict for people."""
    lines = [f"the newest rows at {minute(result.at)} {result.verdict}"]
    for finding in result.findings:
        mark = "ok" if finding.passed else "NO" if finding.is_fault else "waived"
        by = f" (waived by {finding.waived_by})" if finding.waived_by else ""
        lines.append(f"  {mark:<6} {finding}{by}")
    for group, count in Counter(group for group, _ in result.skipped).items():
        reasons = {each.reason for of, each in result.skipped if of == group}
        lines.append(f"  {'–':<6} {group}: {count} checks skipped: {'; '.join(sorted(reasons))}")
    return "\n".join([*lines, str(result.receipt)])


def data_docs_document(result: DataDocsResult) -> dict[str, Any]:
    """Return the site for ``--json``."""
    return {
        "index": str(result.index),
        "quality": [report.to_dict() for report in result.reports],
    }


def data_docs_text(result: DataDocsResult) -> str:
    """Return the site for people."""
    return "\n".join([*map(str, result.reports), str(result.index)])
