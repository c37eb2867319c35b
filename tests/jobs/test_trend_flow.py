"""The trend groups through the whole flow: served, recomputed day by day, compared, selected."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.base.errors import GateRefused
from ingestion.jobs.compute.local_features import backfill, local_features
from ingestion.jobs.compute.parity import parity
from ingestion.jobs.flow import flow_data
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.serve.select import SelectRequest, select
from ingestion.lakehouse import list_parts, read_current
from ingestion.markets.candidates import Candidates, read_candidates
from ingestion.project import Project
from tests.conftest import MONDAY, QUICK, SAMPLE
from tests.jobs.test_chosen_groups import DEFAULT, choose

ASKED = tuple(read_candidates(SAMPLE / "portfolio_candidates.json").symbols[:24])
TREND = ("tv_trend_1d", "local_trend_1d")


@pytest.fixture
def evening(settings: Project, tmp_path: Path) -> Project:
    """Some symbols' bars of ten months until Friday, computed; then Monday's flow."""
    choose(settings, [*DEFAULT, *TREND])
    bars = pq.read_table(SAMPLE / "bars.parquet")
    opened, friday = pc.field("timestamp"), MONDAY.timestamp() - 86_400
    some = (opened < friday) & (opened > friday - 300 * 86_400) & pc.field("symbol").isin(ASKED)
    pq.write_table(bars.filter(some), tmp_path / "some.parquet")
    import_bars(settings, ImportRequest((tmp_path / "some.parquet",)))
    local_features(settings)
    request = FeatureIngestRequest(Candidates("some.json", ASKED, (), 0), scanner=QUICK)
    flow = flow_data(settings, request)
    assert flow.error is None or isinstance(flow.error, GateRefused)
    assert flow["verify --online"].result.passed
    return settings


def test_the_trend_groups_are_served_recomputed_and_compared(evening: Project):
    project = evening
    report = parity(project).report
    names = {column.feature: column for column in report.columns}
    assert {"SMA200", "P.SAR", "price_52_week_high", "Perf.YTD", "Volatility.M"} <= names.keys()
    for name in ("SMA20", "BB.upper", "W.R", "UO", "change", "Perf.YTD", "Volatility.W"):
        assert names[name].n > 10
        assert names[name].beyond == 0, name
    group = project.catalog.group("local_trend_1d")
    before = read_current(list_parts(project.lakehouse, group), group)
    parts = len(list_parts(project.lakehouse, group))
    backfill(project, MONDAY.date() - timedelta(days=9), MONDAY.date() + timedelta(days=1))
    assert len(list_parts(project.lakehouse, group)) == parts  # a backfill finds the same bits
    assert read_current(list_parts(project.lakehouse, group), group).equals(before)
    chosen = select(
        project, SelectRequest(by="tv_trend_1d:Perf.3M", minimum={"tv_technicals_1d:RSI": 0.0})
    )
    assert chosen.group == "tv_trend_1d"
    assert chosen.rows
