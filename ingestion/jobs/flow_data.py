"""The daily flow: each job in turn, in one process, so that Feast is imported once."""

from __future__ import annotations

from dataclasses import dataclass

from ingestion.jobs.feast_repository import open_repository
from ingestion.jobs.feature_ingest import (
    FeatureIngestRequest,
    FeatureIngestResult,
    Progress,
    feature_ingest,
)
from ingestion.jobs.materialize import MaterializeResult, materialize
from ingestion.settings import Settings


@dataclass(frozen=True)
class FlowResult:
    """What each job of the flow did."""

    ingest: FeatureIngestResult
    materialize: MaterializeResult


def flow_data(
    settings: Settings, request: FeatureIngestRequest, progress: Progress | None = None
) -> FlowResult:
    """Run feature-ingest, then materialize; the first that fails ends the flow with its error."""
    if (settings.project / "data" / "registry.db").exists():
        open_repository(settings, apply_if_missing=True)  # before anything is published
    return FlowResult(feature_ingest(settings, request, progress), materialize(settings))
