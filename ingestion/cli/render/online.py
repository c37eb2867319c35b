"""The online store."""

from __future__ import annotations

from typing import Any

from ingestion.cli.render.units import minute
from ingestion.jobs.serve.materialize import MaterializeResult, ViewLoad
from ingestion.jobs.serve.rebuild import RebuildResult
from ingestion.jobs.serve.verify_online import OnlineReport

_NAMED = 20
"""How many differences the text names."""


def materialize_document(result: MaterializeResult) -> dict[str, Any]:
    """Return a materialization's outcome for ``--json``."""
    return {
        "run_id": result.run_id,
        "until": result.until.isoformat(),
        "duration_s": result.duration_s,
        "views": {
            load.view: {
                "rows": load.rows,
                "changed": load.changed,
                "parts": len(load.parts),
                "new_parts": load.new_parts,
                "late_parts": load.late_parts,
            }
            for load in result.loads
        },
        "receipt": str(result.receipt),
    }


def materialize_text(result: MaterializeResult) -> str:
    """Return a materialization's outcome for people."""
    views = "; ".join(map(_load_text, result.loads))
    return f"online store as of {minute(result.until)}: {views} ({result.duration_s:.1f} s)"


def _load_text(load: ViewLoad) -> str:
    late = f", {load.late_parts} of them late" if load.late_parts else ""
    counts = f"{load.rows:,} rows, {load.changed:,} new" if load.rows is not None else "loaded"
    return f"{load.view} {counts} from {load.new_parts} new parts{late}"


def online_document(report: OnlineReport) -> dict[str, Any]:
    """Return a comparison of the online store with the lakehouse for ``--json``."""
    return {
        "passed": report.passed,
        "at": report.at.isoformat(),
        "views": {
            view.view: {
                "symbols": view.symbols,
                "values": view.values,
                "expired": view.expired,
                "different": view.different,
                "as_of": view.as_of.isoformat() if view.as_of else None,
            }
            for view in report.views
        },
        "differences": [str(difference) for difference in report.differences],
    }


def online_text(report: OnlineReport) -> str:
    """Return a comparison of the online store with the lakehouse for people."""
    verdict = (
        "online store = lakehouse"
        if report.passed
        else f"THE ONLINE STORE DIFFERS in {report.different:,} places"
    )
    views = "; ".join(
        f"{view.view} {view.symbols:,} symbols, {view.values:,} values"
        + (f", {view.expired:,} expired" if view.expired else "")
        + (f", as loaded at {minute(view.as_of)}: not promoted since" if view.as_of else "")
        for view in report.views
    )
    named = [f"  {difference}" for difference in report.differences[:_NAMED]]
    return "\n".join([f"{verdict} at {minute(report.at)}: {views}", *named])


def rebuild_document(result: RebuildResult) -> dict[str, Any]:
    """Return a rebuild's outcome for ``--json``."""
    return {
        "materialize": materialize_document(result.materialize),
        "verify_online": online_document(result.report),
        "dropped": list(result.dropped),
    }


def rebuild_text(result: RebuildResult) -> str:
    """Return a rebuild's outcome for people."""
    text = (
        f"registry.db and online.db made anew\n{materialize_text(result.materialize)}\n"
        f"{online_text(result.report)}"
    )
    if result.dropped:
        text += (
            f"\nno longer registered: {', '.join(result.dropped)}, which this project does not "
            "define: run `feast apply` with their definitions, and load their rows again"
        )
    return text
