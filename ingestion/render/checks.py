"""Proofs."""

from __future__ import annotations

from typing import Any

from ingestion.jobs.lookahead import LookaheadReport


def lookahead_document(report: LookaheadReport) -> dict[str, Any]:
    """Return a lookahead proof for ``--json``."""
    return {
        "passed": report.passed,
        "features": list(report.features),
        "bars": report.bars,
        "symbols": report.symbols,
        "recomputations": report.recomputations,
        "rows_compared": report.rows_compared,
        "leaks": [str(leak) for leak in report.leaks],
    }


def lookahead_text(report: LookaheadReport) -> str:
    """Return a lookahead proof for people."""
    verdict = "no feature looks ahead" if report.passed else "FEATURES LOOK AHEAD"
    lines = [
        f"{verdict}: {len(report.features)} features of {report.bars:,} bars, {report.symbols:,} "
        f"symbols; {report.rows_compared:,} rows of {report.recomputations} recomputations "
        "compared bit for bit"
    ]
    return "\n".join([*lines, *(f"  {leak}" for leak in report.leaks)])
