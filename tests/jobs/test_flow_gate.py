"""Each group passes the gate by itself: what is refused keeps nothing else from being served."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.base.errors import GateRefused, NothingFetched
from ingestion.cli.daily import flow_text
from ingestion.jobs.audit.compact import compact
from ingestion.jobs.audit.status import status
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.flow import FlowResult, flow_data
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.serve.feast_repository import feast_calls, open_repository, read_online
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.select import SelectRequest, select
from ingestion.jobs.serve.verify_online import verify_online
from ingestion.jobs.steps import Status
from ingestion.lakehouse import write_run_file
from ingestion.markets.candidates import read_candidates
from ingestion.project import Project
from ingestion.replay import FaultPlan, ReplayScanner
from tests.conftest import MONDAY, QUICK, SAMPLE
from tests.declared import GROUPS, LOCAL_1D, TV_TECHNICALS_1D

TV, LOCAL = TV_TECHNICALS_1D.name, LOCAL_1D.name
TUESDAY, LATER = MONDAY + timedelta(days=1), MONDAY + timedelta(days=14)


@pytest.fixture
def request_all() -> FeatureIngestRequest:
    candidates = read_candidates(SAMPLE / "portfolio_candidates.json")
    return FeatureIngestRequest(candidates, scanner=replace(QUICK, retries=0))


@pytest.fixture
def history(settings: Project, tmp_path: Path) -> Project:
    """The sample's bars of the two months until Monday."""
    bars = pq.read_table(SAMPLE / "bars.parquet")
    stamps = pc.field("timestamp")
    recent = (stamps > MONDAY.timestamp() - 60 * 86_400) & (stamps < MONDAY.timestamp())
    pq.write_table(bars.filter(recent), tmp_path / "recent.parquet")
    import_bars(settings, ImportRequest((tmp_path / "recent.parquet",)))
    local_features(settings)
    return settings


def refused_groups(settings: Project) -> list[str | None]:
    """Return what the newest verdict says no to."""
    path = max((settings.lakehouse_at / "_runs").glob("*/validate.json"))
    groups = json.loads(path.read_text())["groups"]
    return [name for name, told in groups.items() if told["verdict"] == "refuse"]


def refuse_technicals(settings: Project, run_id: str) -> None:
    """Leave a comparison by which the served values are not the recomputed ones."""
    column = {"feature": "RSI", "n": 100, "beyond": 60, "rank_correlation": 1.0}
    content = json.dumps({"run_id": run_id, "columns": [column | {"sign_agreement": 1.0}]})
    write_run_file(settings.lakehouse, run_id, "parity.json", content.encode())


def test_old_bars_keep_no_fresh_snapshot_from_being_served(
    history: Project,
    request_all: FeatureIngestRequest,
    scanner: ReplayScanner,
    at: Callable[[datetime], None],
):
    at(LATER)
    sound = scanner.panel
    spoil_column(scanner, "open")  # which bars alone need
    flow = flow_data(history, request_all)
    assert isinstance(flow.error, GateRefused)
    assert flow.verdict == "refused"
    assert flow["validate"].status is Status.REFUSED
    assert refused_groups(history) == [LOCAL]
    assert [each.view for each in flow["materialize"].result.loads] == [TV]
    assert flow["verify --online"].status is Status.DONE
    assert [(each.dataset, each.rows, each.online) for each in flow.published] == [
        ("symbols", 60, 0),
        (TV, 60, 60),
    ]
    assert ("validate", LOCAL) in [(each.step, each.group) for each in flow.refused]
    told = str(flow.error)
    assert "published: symbols (60 rows), tv_technicals_1d (60 rows, 60 online); " in told
    assert "no rows came" in told
    receipt = json.loads(flow.receipt.path.read_text())
    assert receipt["outcome"] == "refused"
    assert [each["dataset"] for each in receipt["published"]] == ["symbols", TV]
    # Both views are asked for; the one that was never loaded has no values.
    picked = select(history, SelectRequest(max_bar_age=timedelta(days=40), top=60))
    assert len(picked.rows) == 60
    assert {row.features["returns_1d"] for row in picked.rows} == {None}
    at(LATER + timedelta(minutes=5))
    scanner.panel = sound
    again = flow_data(history, request_all)  # with newer bars, nothing is old
    assert again["validate"].status is Status.DONE
    assert [each.view for each in again["materialize"].result.loads] == [TV, LOCAL]


def test_a_group_that_is_kept_back_is_served_as_it_was_loaded_and_nothing_calls_that_different(
    history: Project,
    request_all: FeatureIngestRequest,
    scanner: ReplayScanner,
    at: Callable[[datetime], None],
):
    at(TUESDAY)
    first = flow_data(history, request_all)
    assert first.error is None
    before = served(history, TV)
    refuse_technicals(history, f"{first.run_id}x")
    at(TUESDAY + timedelta(hours=1))  # of the same date
    flow = flow_data(history, replace(request_all, refresh=True))
    assert flow.verdict == "refused"
    assert refused_groups(history) == [TV]
    assert [each.view for each in flow["materialize"].result.loads] == [LOCAL]
    assert (TV, 60, 0) in [(each.dataset, each.rows, each.online) for each in flow.published]
    assert served(history, TV).equals(before)
    assert flow["verify --online"].status is Status.DONE
    (technicals, local) = flow["verify --online"].result.views
    assert (technicals.as_of, technicals.symbols) == (TUESDAY, 60)
    assert (local.as_of, local.symbols) == (None, 60)
    told = status(history)
    assert [each.group for each in told.unpromoted] == [TV]
    assert any(
        f"{TV} is not promoted: RSI parity: 60.0% beyond" in problem
        and "what is served was loaded as of 2021-04-13 21:30 UTC" in problem
        for problem in told.problems
    )
    at(TUESDAY + timedelta(hours=3))
    merged = {Path(each.part).parent.parent.name for each in compact(history).merged}
    assert TV in merged  # what was loaded, with what is kept back
    assert verify_online(history).passed
    spoil(history)
    report = verify_online(history)
    assert [(each.view, each.column, each.online) for each in report.differences] == [
        (TV, "row", None)
    ]
    by_hand = materialize(history)  # asks no gate
    assert [each.view for each in by_hand.loads] == [TV, LOCAL]
    report = verify_online(history)
    assert report.passed
    assert [each.as_of for each in report.views] == [None, None]


@pytest.mark.parametrize(
    ("column", "failed", "loaded_rows"),
    [
        ("RSI", "feature-ingest", {TV: 0, LOCAL: 60}),
        ("open", "data-ingest", {TV: 60, LOCAL: 0}),
        ("pricescale", "meta-ingest", {TV: 60, LOCAL: 60}),
    ],
)
def test_a_table_without_rows_keeps_nothing_of_the_others_back(
    history: Project,
    request_all: FeatureIngestRequest,
    scanner: ReplayScanner,
    at: Callable[[datetime], None],
    column: str,
    failed: str,
    loaded_rows: dict[str, int],
):
    at(TUESDAY)
    flow_data(history, request_all)
    at(TUESDAY + timedelta(days=1))
    spoil_column(scanner, column)
    flow = flow_data(history, request_all)
    assert isinstance(flow.error, GateRefused)
    assert flow[failed].status is Status.FAILED
    loads = flow["materialize"].result.loads
    assert {each.view: each.changed for each in loads} == loaded_rows
    assert [each.step for each in flow.refused if each.step != "status"] == [failed]
    assert flow["verify --online"].status is Status.DONE


def test_where_nothing_came_and_nothing_is_new_the_first_failure_decides(
    history: Project,
    request_all: FeatureIngestRequest,
    scanner: ReplayScanner,
    at: Callable[[datetime], None],
):
    at(TUESDAY)
    flow_data(history, request_all)
    at(TUESDAY + timedelta(hours=3))
    scanner.plan = FaultPlan(chances={"server-error": 1.0})
    patient = replace(request_all, scanner=replace(QUICK, retries=3))
    asked = len(scanner.requests)
    flow = flow_data(history, patient)
    assert isinstance(flow.error, NothingFetched)
    assert flow.published == ()
    assert str(flow.error).startswith("published nothing new; no rows came")
    assert json.loads(flow.receipt.path.read_text())["outcome"] == "failed"
    printed = f"{flow_text(flow)}\n{flow.error}"
    assert printed.count("no rows came") == printed.count("502") == 1
    assert "refused: data-ingest, meta-ingest, feature-ingest: see the last line" in printed
    # One scan: the outage is waited for once, and each job's receipt has its attempts.
    assert rounds(flow) == {"data-ingest": 4, "meta-ingest": 4, "feature-ingest": 4}
    assert len(scanner.requests) - asked == 4
    scanner.plan = FaultPlan(["server-error"])
    flow = flow_data(history, patient)
    assert rounds(flow) == {"data-ingest": 2, "meta-ingest": 2, "feature-ingest": 2}
    assert [each.dataset for each in flow.published] == ["ohlcv_1d", TV, LOCAL]
    assert flow.error is None


def spoil_column(scanner: ReplayScanner, column: str) -> None:
    """Let the scanner show a text where a number belongs, for every symbol."""
    wrong = dict.fromkeys(scanner.panel.symbols, "not a number")
    scanner.panel = scanner.panel.with_columns({column: wrong})


def rounds(flow: FlowResult) -> dict[str, int]:
    """Return how often each scan has asked, by its receipt."""
    names = {
        "data-ingest": "data_ingest.json",
        "meta-ingest": "meta_ingest.json",
        "feature-ingest": "feature_ingest.tv_technicals_1d.json",
    }
    return {
        job: len(json.loads(flow.receipt.path.with_name(name).read_text())["attempts"])
        for job, name in names.items()
    }


def served(settings: Project, view: str) -> pa.Table:
    store = open_repository(settings)
    (group,) = (group for group in GROUPS if group.name == view)
    with feast_calls(settings):
        return read_online(store, group).sort_by("symbol")


def spoil(settings: Project) -> None:
    """Take a row out of the online store, as no job would."""
    with closing(sqlite3.connect(settings.folder / "data" / "online.db")) as database:
        (table,) = database.execute(
            "select name from sqlite_master where name like 'wide_%tv_technicals_1d'"
        ).fetchone()
        smallest = f"(select min(entity_key) from {table})"
        assert database.execute(f"delete from {table} where entity_key = {smallest}").rowcount == 1
        database.commit()
