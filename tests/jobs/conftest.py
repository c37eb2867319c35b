"""A daily job that sees the rows that a test names."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from scanned_rows import instant, showing

from ingestion.jobs.ingest.data_ingest import DataIngestResult, data_ingest
from ingestion.jobs.ingest.scan import ScanRequest
from ingestion.markets.candidates import Candidates
from ingestion.project import Project
from ingestion.replay import ReplayScanner
from tests.conftest import QUICK


@pytest.fixture
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def ingest(
    settings: Project, scanner: ReplayScanner, at: Callable[[datetime], None]
) -> Callable[..., DataIngestResult]:
    """Show rows at an instant, and ingest them."""

    def run(now: str, *rows: dict, **options) -> DataIngestResult:
        scanner.panel = showing(*rows)
        at(instant(now))
        symbols = options.pop("asked", tuple(row["symbol"] for row in rows))
        source = options.pop("source", Candidates("some.json", symbols, (), 0))
        return data_ingest(settings, ScanRequest(source, scanner=QUICK, **options))

    return run
