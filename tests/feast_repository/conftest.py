"""A week of snapshots in a workspace, ingested once for all tests of this folder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.workspace import make_workspace
from ingestion.markets.candidates import read_candidates
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner
from tests.conftest import MONDAY, SAMPLE

WEEK = [MONDAY + timedelta(days=day) for day in range(5)]


@pytest.fixture(scope="session")
def week(sample_panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Five evenings, materialized on the last; only to be read."""
    folder = make_workspace(tmp_path_factory.mktemp("week") / "workspace")
    candidates = read_candidates(SAMPLE / "portfolio_candidates.json")
    with pytest.MonkeyPatch.context() as patch, ReplayScanner(sample_panel) as scanner:
        patch.setenv("TVFEAST_PROJECT", str(folder))
        settings = replace(Project.from_environment(), scanner_url=scanner.url)
        for evening in WEEK:
            patch.setenv("TVFEAST_NOW", evening.isoformat())
            feature_ingest(settings, FeatureIngestRequest(candidates))
        materialize(settings)
    return settings


@pytest.fixture
def writable_week(week: Project, tmp_path: Path) -> Project:
    """A copy of the week's lakehouse, with nothing registered or materialized yet."""
    folder = make_workspace(tmp_path / "workspace")
    shutil.copytree(week.lakehouse_at, folder / "data" / "lakehouse")
    return replace(week, folder=folder, lakehouse_at=folder / "data" / "lakehouse")
