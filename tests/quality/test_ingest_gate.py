"""What the scanner gets wrong stops at the door, row by row or whole."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from ingestion.base.errors import GateRefused
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.lakehouse import list_parts, read_file
from ingestion.markets.candidates import Candidates, read_candidates
from ingestion.project import Project
from ingestion.quality.rules import FAILED
from ingestion.replay import ReplayScanner
from ingestion.runs.quarantine import QUARANTINE_FILE
from tests.conftest import QUICK, SAMPLE
from tests.declared import TV_TECHNICALS_1D as GROUP

ALL = read_candidates(SAMPLE / "portfolio_candidates.json")
OFF = "integer-value"
"""A rating of 1, whatever its parts are: inside its bounds, and not their mean."""


def request(**changes: Any) -> FeatureIngestRequest:
    return FeatureIngestRequest(ALL, scanner=QUICK, **changes)


def receipt(settings: Project) -> dict[str, Any]:
    (path,) = (settings.lakehouse_at / "_runs").glob("*/feature_ingest.tv_technicals_1d.json")
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def test_a_row_that_contradicts_itself_is_quarantined_and_the_others_published(
    settings: Project, scanner: ReplayScanner
):
    bad, *good = sorted(ALL.symbols)
    scanner.spoiled = {bad: OFF}
    result = feature_ingest(settings, request())
    assert result.part is not None
    assert read_file(result.part)["symbol"].to_pylist() == good
    quarantine = pq.read_table(result.receipt.path.parent / QUARANTINE_FILE)
    assert quarantine["symbol"].to_pylist() == [bad]
    assert quarantine[FAILED].to_pylist() == [["Recommend.All identity"]]
    assert quarantine["Recommend.All"].to_pylist() == [1.0]
    document = receipt(settings)
    assert document["verdict"] == "publish"
    assert (document["quality"]["accepted"], document["quality"]["quarantined"]) == (59, 1)
    (failure,) = document["quality"]["failures"]
    assert failure["symbols"] == [bad]


def test_too_many_of_them_refuse_the_snapshot_and_keep_it_in_quarantine(
    settings: Project, scanner: ReplayScanner
):
    scanner.spoiled = dict.fromkeys(ALL.symbols[:4], OFF)
    with pytest.raises(GateRefused, match="quarantined share"):
        feature_ingest(settings, request(min_coverage=0.5))
    assert not list_parts(settings.lakehouse, GROUP)
    document = receipt(settings)
    assert document["verdict"] == "refuse"
    assert document["coverage"] == 1
    run = settings.lakehouse_at / "_runs" / document["run_id"]
    assert pq.read_metadata(run / QUARANTINE_FILE).num_rows == 60


def test_what_is_left_must_still_cover_what_was_asked(settings: Project, scanner: ReplayScanner):
    scanner.spoiled = {ALL.symbols[0]: OFF}
    with pytest.raises(GateRefused, match="rows: "):
        feature_ingest(settings, request(min_coverage=1.0))
    assert not list_parts(settings.lakehouse, GROUP)


def test_a_retry_fetches_what_was_quarantined(settings: Project, scanner: ReplayScanner):
    few = FeatureIngestRequest(
        Candidates("few.json", ALL.symbols[:5], (), 0), scanner=QUICK, min_coverage=0.8
    )
    scanner.spoiled = {ALL.symbols[0]: OFF}
    feature_ingest(settings, few)
    scanner.spoiled = {}
    asked = len(scanner.requests)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TVFEAST_NOW", "2021-04-12T21:40:00+00:00")
        result = feature_ingest(settings, few)
    assert [each.body["symbols"]["tickers"] for each in scanner.requests[asked:]] == [
        [ALL.symbols[0]]
    ]
    assert result.quality is not None
    assert result.quality.accepted["symbol"].to_pylist() == [ALL.symbols[0]]
