"""The online store."""

from __future__ import annotations

from typing import Any

from ingestion.jobs.materialize import MaterializeResult
from ingestion.render.units import minute


def materialize_document(result: MaterializeResult) -> dict[str, Any]:
    """Return a materialization's outcome for ``--json``."""
    return {
        "views": list(result.views),
        "until": result.until.isoformat(),
        "duration_s": result.duration_s,
    }


def materialize_text(result: MaterializeResult) -> str:
    """Return a materialization's outcome for people."""
    return (
        f"online store holds {', '.join(result.views)} as of {minute(result.until)} "
        f"({result.duration_s:.1f} s)"
    )
