"""The daily flow."""

from __future__ import annotations

from typing import Any

from ingestion.jobs.flow_data import FlowResult
from ingestion.render.online import materialize_document, materialize_text
from ingestion.render.scans import ingest_document, ingest_text


def flow_document(result: FlowResult) -> dict[str, Any]:
    """Return a flow's outcome for ``--json``, a member a job."""
    return {
        "feature_ingest": ingest_document(result.ingest),
        "materialize": materialize_document(result.materialize),
    }


def flow_text(result: FlowResult) -> str:
    """Return a flow's outcome for people."""
    return f"{ingest_text(result.ingest)}\n{materialize_text(result.materialize)}"
