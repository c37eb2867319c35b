"""What came from the scanner."""

from __future__ import annotations

from typing import Any

from ingestion.jobs.feature_ingest import FeatureIngestResult
from ingestion.render.units import minute


def ingest_document(result: FeatureIngestResult) -> dict[str, Any]:
    """Return a snapshot's outcome for ``--json``."""
    report = result.report
    return {
        "run_id": report.run_id,
        "known_at": report.known_at.isoformat(),
        "asked": report.asked,
        "fetched": report.fetched,
        "resumed": report.resumed,
        "failed": len(report.failed_symbols),
        "absent": len(report.absent),
        "shortfall": report.shortfall,
        "coverage": round(report.coverage, 6),
        "part": str(result.part) if result.part else None,
        "receipt": str(result.receipt),
    }


def ingest_text(result: FeatureIngestResult) -> str:
    """Return a snapshot's outcome for people."""
    report = result.report
    if result.part is None:
        missing = f"; {report.missing}" if report.missing else ""
        return (
            f"nothing to add: {report.resumed:,} of {report.asked:,} symbols had a row inside the "
            f"resume window{missing}"
        )
    resumed = f", {report.resumed:,} had a row already" if report.resumed else ""
    return (
        f"{report.fetched:,} rows known at {minute(report.known_at)}{resumed}\n"
        f"{report}\n{result.part}"
    )
