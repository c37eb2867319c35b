"""Behind a lost evening: which values of ``local_1d`` are null, until when, and nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.base.errors import GateRefused
from ingestion.catalog import OHLCV_1D
from ingestion.cli.explain import explain_text
from ingestion.formulas import FEATURES, LOCAL
from ingestion.jobs.audit.explain import ExplainRequest, explain
from ingestion.jobs.compute.local_features import backfill, local_features
from ingestion.jobs.flow import flow_data
from ingestion.jobs.ingest.data_ingest import data_ingest
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.ingest.missing_sessions import accept_hole
from ingestion.jobs.ingest.scan import ScanRequest
from ingestion.jobs.steps import Status
from ingestion.lakehouse import list_parts, read_current
from ingestion.markets.candidates import Candidates, read_candidates
from ingestion.project import Project
from tests.conftest import MONDAY, QUICK, SAMPLE
from tests.declared import LOCAL_1D

pytestmark = pytest.mark.usefixtures("no_power_cuts")

DAY = timedelta(days=1)
LOST = date(2021, 4, 13)
EVER = (date(1990, 1, 1), date(2100, 1, 1))
SCAN = replace(QUICK, retries=0)
FEW = [
    *("NASDAQ:AAPL", "NASDAQ:MSFT", "NASDAQ:TSLA", "NYSE:JPM", "NYSE:XOM", "NYSE:KO"),
    *("BINANCE:BTCUSDT", "BINANCE:ETHUSDT"),
]


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventy days of history of some symbols, imported and computed."""
    root = tmp_path_factory.mktemp("computed")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("os.fsync", lambda _: None)
        patched.setenv("TVFEAST_NOW", (MONDAY - DAY).isoformat())
        settings = Project(root, root / "lakehouse", "https://scanner.invalid")
        load(settings, root, MONDAY - 70 * DAY, MONDAY - 2 * DAY)
        local_features(settings)
    return root / "lakehouse"


@pytest.fixture
def lakehouse(settings: Project, computed: Path) -> Project:
    """The same, and Monday's evening."""
    shutil.rmtree(settings.lakehouse_at, ignore_errors=True)
    shutil.copytree(computed, settings.lakehouse_at)
    evening(settings)
    return settings


def load(
    settings: Project, folder: Path, first: datetime, last: datetime, few: bool = True
) -> None:
    bars = pq.read_table(SAMPLE / "bars.parquet")
    opened = pc.field("timestamp")
    wanted = (opened >= int(first.timestamp())) & (opened < int(last.timestamp()))
    if few:
        wanted &= pc.field("symbol").isin(FEW)
    pq.write_table(bars.filter(wanted), folder / "some.parquet")
    import_bars(settings, ImportRequest((folder / "some.parquet",)))


def evening(settings: Project) -> None:
    few = Candidates("few.json", tuple(FEW), (), 0)
    data_ingest(settings, ScanRequest(few, scanner=SCAN))
    local_features(settings)


def stored(settings: Project) -> dict[tuple[str, date], dict]:
    """The current rows, by symbol and date."""
    rows = read_current(list_parts(settings.lakehouse, LOCAL_1D), LOCAL_1D)
    return {(row["symbol"], row["event_timestamp"].date()): row for row in rows.to_pylist()}


def values(row: dict) -> dict[str, float | None]:
    return {name: row[name] for name in FEATURES}


def test_values_over_a_lost_evening_are_null_and_come_back_with_its_bars(
    lakehouse: Project, tmp_path: Path, at
):
    before = stored(lakehouse)
    for day in (2, 3, 4):
        at(MONDAY + day * DAY)
        evening(lakehouse)
    holed = stored(lakehouse)
    assert {key: values(row) for key, row in holed.items() if key in before} == {
        key: values(row) for key, row in before.items()
    }
    for symbol in ("NASDAQ:AAPL", "NYSE:JPM", "BINANCE:BTCUSDT"):
        # Of the coins, the bar of Tuesday is the first behind the one of Monday.
        for ago, day in enumerate((14, 15, 16)):
            row = holed[symbol, date(2021, 4, day)]
            for name, formula in LOCAL.items():
                if formula.follows_clock:
                    continue
                assert (row[name] is None) == (
                    ago < formula.look_back or before_first(before, symbol, name)
                )
            assert row["Perf.W"] is not None
    # The reference of seven days later is gone; that of thirty days is not.
    at(MONDAY + 8 * DAY)
    evening(lakehouse)
    row = stored(lakehouse)["NYSE:JPM", date(2021, 4, 20)]
    assert row["Perf.W"] is None
    assert row["Perf.1M"] is not None

    load(lakehouse, tmp_path, MONDAY - DAY, MONDAY + 8 * DAY)
    result = local_features(lakehouse)
    assert not result.holes
    twin = replace(lakehouse, lakehouse_at=tmp_path / "twin")
    load(twin, tmp_path, MONDAY - 70 * DAY, MONDAY + 8 * DAY)
    backfill(twin, *EVER)
    assert {key: values(row) for key, row in stored(lakehouse).items()} == {
        key: values(row) for key, row in stored(twin).items()
    }


def before_first(before: dict, symbol: str, name: str) -> bool:
    """Whether the feature was null on the last date already: its window is not full yet."""
    last = max(day for each, day in before if each == symbol)
    return before[symbol, last][name] is None


def test_after_acceptance_the_same_values_are_computed_over_the_gap(lakehouse: Project, at):
    at(MONDAY + 2 * DAY)
    evening(lakehouse)
    closes = {
        (row["symbol"], row["event_timestamp"].date()): row["close"]
        for row in read_current(list_parts(lakehouse.lakehouse, OHLCV_1D), OHLCV_1D).to_pylist()
    }
    accept_hole(lakehouse, "NYSE", LOST, None, "the recorder was off")
    local_features(lakehouse)
    rows = stored(lakehouse)
    jpm, aapl = (rows[name, date(2021, 4, 14)] for name in ("NYSE:JPM", "NASDAQ:AAPL"))
    monday, wednesday = (closes["NYSE:JPM", date(2021, 4, day)] for day in (12, 14))
    assert jpm["returns_1d"] == pytest.approx(wednesday / monday - 1)
    monday = rows["NYSE:JPM", date(2021, 4, 12)]
    assert [name for name in FEATURES if jpm[name] is None] == ["momentum_60d"]
    assert [name for name in FEATURES if monday[name] is None] == ["momentum_60d"]
    assert aapl["returns_1d"] is None
    told = {
        symbol: explain_text(explain(lakehouse, ExplainRequest(symbol, feature, online=False)))
        for symbol, feature in (
            *(("NYSE:JPM", "local_1d:returns_1d"), ("NASDAQ:AAPL", "local_1d:AO")),
            ("NYSE:KO", "local_1d:Perf.W"),
        )
    }
    why = "session 2021-04-13 is missing in its window, "
    assert why + "accepted on 2021-04-14: the recorder was off" in told["NYSE:JPM"]
    assert why + "accepted on 2021-04-14: the recorder was off" in told["NYSE:KO"]
    assert why + "open: the value is null" in told["NASDAQ:AAPL"]
    earlier = ExplainRequest("NYSE:JPM", "local_1d:AO", MONDAY, online=False)
    assert "is missing" not in explain_text(explain(lakehouse, earlier))
    assert local_features(lakehouse).rows_written == 0


def test_days_computed_live_equal_a_backfill_bit_for_bit_with_holes_too(
    lakehouse: Project, tmp_path: Path, at
):
    for day in (2, 3, 7, 8):  # Tuesday, Friday and Monday are lost
        at(MONDAY + day * DAY)
        evening(lakehouse)
    accept_hole(lakehouse, "NASDAQ", date(2021, 4, 16), None, "nobody knows")
    local_features(lakehouse)
    live = stored(lakehouse)
    result = backfill(lakehouse, date(2021, 4, 1), date(2021, 4, 15))
    assert result.rows_written == 0
    assert result.rows_unchanged > 70
    result = backfill(lakehouse, *EVER)
    assert result.rows_written == 0
    assert stored(lakehouse) == live
    assert any(row["returns_1d"] is None for (_, day), row in live.items() if day > LOST)


def test_the_flow_after_a_lost_evening_serves_the_rest_and_exits_with_3(
    settings: Project, tmp_path: Path, at
):
    """With all symbols: shares are judged from twenty on."""
    lakehouse = settings
    load(settings, tmp_path, MONDAY - 20 * DAY, MONDAY - 2 * DAY, few=False)
    local_features(settings)
    request = FeatureIngestRequest(
        read_candidates(SAMPLE / "portfolio_candidates.json"), scanner=SCAN
    )
    flow_data(lakehouse, request)
    at(MONDAY + 2 * DAY)
    flow = flow_data(lakehouse, request)
    assert isinstance(flow.error, GateRefused)
    assert flow.error.exit_code == 3
    assert [step.name for step in flow.steps if step.status is not Status.DONE] == ["status"]
    assert flow["verify --online"].result.passed
    receipt = json.loads(flow["local-features"].result.receipt.path.read_bytes())
    assert {(each["market"], each["session"]) for each in receipt["holes"]["of_markets"]} == {
        *(("NASDAQ", "2021-04-13"), ("NYSE", "2021-04-13")),
        *(("BINANCE", "2021-04-12"), ("COINBASE", "2021-04-12")),
    }
    for market, session in (("XNYS", LOST), ("BINANCE", LOST - DAY), ("COINBASE", LOST - DAY)):
        accept_hole(lakehouse, market, session, None, "the scanner was down")
    at(MONDAY + 3 * DAY)
    assert flow_data(lakehouse, request).error is None
