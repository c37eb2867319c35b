"""The whole chain against the replay scanner."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.base.errors import GateRefused, LakehouseLocked
from ingestion.cli.daily import flow_text
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.flow import FlowResult, flow_data
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.steps import Status
from ingestion.lakehouse import lakehouse_lock, list_parts
from ingestion.markets.candidates import read_candidates
from ingestion.project import Project
from ingestion.replay import FaultPlan, ReplayScanner
from tests.conftest import MONDAY, QUICK, SAMPLE
from tests.declared import DATASETS

TUESDAY = MONDAY + timedelta(days=1)
STEPS = [
    *("data-ingest", "meta-ingest", "feature-ingest", "local-features"),
    *("validate", "materialize", "verify --online", "status"),
]


@pytest.fixture
def request_all() -> FeatureIngestRequest:
    candidates = read_candidates(SAMPLE / "portfolio_candidates.json")
    return FeatureIngestRequest(candidates, scanner=replace(QUICK, retries=0))


@pytest.fixture
def with_history(settings: Project, tmp_path: Path) -> Project:
    """The sample's last three months: all that a flow of these days looks at."""
    bars = pq.read_table(SAMPLE / "bars.parquet")
    recent = bars.filter(pc.field("timestamp") > MONDAY.timestamp() - 90 * 86_400)
    pq.write_table(recent, tmp_path / "recent.parquet")
    import_bars(settings, ImportRequest((tmp_path / "recent.parquet",)))
    local_features(settings)
    return settings


def parts(settings: Project) -> set[Path]:
    return {part.path for dataset in DATASETS for part in list_parts(settings.lakehouse, dataset)}


def statuses(flow: FlowResult) -> list[Status]:
    return [step.status for step in flow.steps]


def test_one_run_goes_all_the_way_and_leaves_one_receipt(
    with_history: Project, request_all: FeatureIngestRequest, at
):
    at(TUESDAY)
    flow = flow_data(with_history, request_all)
    assert flow.error is None
    assert [step.name for step in flow.steps] == STEPS
    assert statuses(flow) == [Status.DONE] * len(STEPS)
    assert flow["data-ingest"].result.bars.written == 60
    assert flow["verify --online"].result.passed
    runs = {path.parent.name for path in with_history.lakehouse_at.glob("_runs/*/*.json")}
    assert flow.run_id in runs
    document = json.loads(flow.receipt.path.read_bytes())
    assert [step["step"] for step in document["steps"]] == STEPS
    assert {part["part"].split("/")[0] for part in document["parts"]} == {
        *("features", "ohlcv_1d", "symbols")
    }
    told = dict(line.split(maxsplit=1) for line in flow_text(flow).splitlines()[:-1])
    assert told["status"] == "everything is within its limits"


def test_a_failing_step_stops_no_other_and_the_next_run_picks_up_there(
    with_history: Project, request_all: FeatureIngestRequest, scanner: ReplayScanner, at
):
    at(TUESDAY)
    # The first column is the bars' own: a bad cell there costs no other table its row.
    scanner.spoiled = dict.fromkeys(request_all.source.symbols or (), "text-value")
    flow = flow_data(with_history, request_all)
    assert isinstance(flow.error, GateRefused)
    assert {step.name: step.status for step in flow.steps} == {
        "data-ingest": Status.FAILED,
        "meta-ingest": Status.DONE,
        "feature-ingest": Status.DONE,
        "local-features": Status.DONE,
        "validate": Status.DONE,
        "materialize": Status.DONE,
        "verify --online": Status.DONE,
        "status": flow["status"].status,
    }
    assert flow["local-features"].result.rows_written == 0
    assert flow["materialize"].result.loads[0].changed == 60
    told = json.loads(flow.receipt.path.read_bytes())["steps"]
    assert [step["status"] for step in told] == [step.status for step in flow.steps]

    scanner.spoiled = {}
    at(TUESDAY + timedelta(minutes=5))
    again = flow_data(with_history, request_all)
    assert again.error is None
    assert again["data-ingest"].result.bars.written == 60
    assert again["feature-ingest"].result.part is None  # inside the resume window
    assert again["local-features"].result.rows_written == 60


def test_a_flow_asks_the_scanner_once(
    with_history: Project, request_all: FeatureIngestRequest, scanner: ReplayScanner, at
):
    at(TUESDAY)
    scanner.requests.clear()
    flow = flow_data(with_history, replace(request_all, scanner=replace(QUICK, batch_size=25)))
    assert flow.error is None
    sizes = [len(each.body["symbols"]["tickers"]) for each in scanner.requests]
    assert sorted(sizes) == [10, 25, 25]  # each symbol once, for bars, symbols and features
    known_at = flow["feature-ingest"].result.report.known_at
    assert flow["meta-ingest"].result.report.known_at == known_at

    at(TUESDAY + timedelta(minutes=5))
    scanner.requests.clear()
    flow_data(with_history, request_all)
    (only,) = scanner.requests
    assert "RSI" not in only.body["columns"]  # inside the resume window nothing of it is due
    assert "close" in only.body["columns"]


def test_a_scanner_that_is_down_is_waited_for_once(
    with_history: Project, request_all: FeatureIngestRequest, scanner: ReplayScanner, at
):
    at(TUESDAY)
    scanner.requests.clear()
    scanner.plan = FaultPlan(chances={"empty": 1.0})
    flow = flow_data(with_history, request_all)
    assert len(scanner.requests) == 1 + request_all.scanner.retries
    for step in ("data-ingest", "meta-ingest", "feature-ingest"):
        assert "the answer is empty" in flow[step].reason


def test_without_bars_the_snapshot_is_served_all_the_same(
    settings: Project, request_all: FeatureIngestRequest
):
    """Before New York's close of the first day no bar has closed yet."""
    flow = flow_data(settings, request_all)
    assert flow["data-ingest"].status is Status.DONE
    assert flow["materialize"].status is Status.DONE
    assert flow["materialize"].result.loads[0].rows == 60


def test_a_repeated_run_adds_nothing(with_history: Project, request_all: FeatureIngestRequest, at):
    at(TUESDAY)
    flow_data(with_history, request_all)
    before = parts(with_history)
    at(TUESDAY + timedelta(minutes=5))
    again = flow_data(with_history, request_all)
    assert again.error is None
    assert parts(with_history) == before


def test_a_flow_holds_the_lock_from_the_first_step_to_the_last(
    settings: Project, request_all: FeatureIngestRequest
):
    with lakehouse_lock(settings.lakehouse, "other"), pytest.raises(LakehouseLocked, match="other"):
        flow_data(settings, request_all)
