"""Days of a coin on which nothing was traded: no bars for formulas, as for TradingView."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.catalog import OHLCV_1D
from ingestion.jobs.audit.explain import ExplainRequest, explain
from ingestion.jobs.compute.local_features import backfill, local_features
from ingestion.jobs.compute.lookahead import verify_lakehouse
from ingestion.jobs.compute.parity import ParityRequest, parity
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.lakehouse import list_parts, read_current
from ingestion.markets.candidates import Candidates
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner
from tests.conftest import SAMPLE
from tests.declared import LOCAL_1D

COIN, STOCK = "BINANCE:BTCUSDT", "NASDAQ:AAPL"
FIRST = int(datetime(2020, 11, 1, tzinfo=UTC).timestamp())
DAY = 86_400
NOON = datetime(2021, 4, 12, 12, tzinfo=UTC)
PRICES = ("open", "high", "low", "close")


def as_an_exchange_has_them(bars: pa.Table) -> tuple[pa.Table, pa.Table, set[int]]:
    """Return real bars as if two days in five had no trade: as an exchange and as TradingView has
    them, and these days' opens."""
    rows, quiet, close = [], set[int](), {}
    for row in bars.to_pylist():
        at, symbol = row["timestamp"], row["symbol"]
        if symbol in close and at // DAY % 5 in (1, 2):
            row |= dict.fromkeys(PRICES, close[symbol]) | {"volume": 0.0}
            if symbol == COIN:
                quiet.add(at)
        close[symbol] = row["close"]
        rows.append(row)
    delivered = pa.Table.from_pylist(rows, schema=bars.schema)
    is_quiet = pc.and_(
        pc.equal(bars["symbol"], COIN), pc.is_in(bars["timestamp"], pa.array([*quiet]))
    )
    return delivered, delivered.filter(pc.invert(is_quiet)), quiet


class Made:
    """A lakehouse of an exchange's bars, and one of those that TradingView has."""

    def __init__(self, folder: Path) -> None:
        table = pq.read_table(SAMPLE / "bars.parquet")
        table = table.filter(pc.is_in(table["symbol"], pa.array([COIN, STOCK])))
        table = table.filter(pc.greater_equal(table["timestamp"], FIRST))
        delivered, self.counted, self.quiet = as_an_exchange_has_them(table)
        self.mine = self._imported(folder / "mine", delivered)
        self.other = self._imported(folder / "other", self.counted)

    def _imported(self, folder: Path, bars: pa.Table) -> Project:
        project = Project(folder, folder / "lakehouse", "https://scanner.invalid")
        folder.mkdir()
        pq.write_table(bars, folder / "bars.parquet")
        import_bars(project, ImportRequest((folder / "bars.parquet",)))
        return project


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        patch.setenv("TVFEAST_NOW", datetime(2021, 5, 1, tzinfo=UTC).isoformat())
        made = Made(tmp_path_factory.mktemp("untraded"))
        local_features(made.mine)
        backfill(made.other, date(2020, 1, 1), date(2021, 12, 31))
    return made


def features(project: Project, symbol: str) -> dict[int, dict[str, object]]:
    """Return the rows by close, without their keys and when they were made."""
    rows = read_current(list_parts(project.lakehouse, LOCAL_1D), LOCAL_1D)
    names = [column.name for column in LOCAL_1D.features]
    own = rows.filter(pc.equal(rows["symbol"], symbol))
    return {row["timestamp"]: {name: row[name] for name in names} for row in own.to_pylist()}


def test_features_count_the_bars_that_tradingview_counts(made: Made):
    mine, other = features(made.mine, COIN), features(made.other, COIN)
    assert len(made.quiet) > 60
    assert mine.keys() - other.keys() == {at + DAY for at in made.quiet}
    assert {close: mine[close] for close in other} == other
    assert any(row["Recommend.All"] is not None for row in other.values())
    last: dict[str, object] = {}
    for close in sorted(mine):  # and on a day without a trade those of the bar before are valid
        if close in other:
            last = other[close]
        assert mine[close] == last


def test_the_rows_stay_among_the_bars(made: Made):
    rows = read_current(list_parts(made.mine.lakehouse, OHLCV_1D), OHLCV_1D)
    own = rows.filter(pc.equal(rows["symbol"], COIN))
    assert made.quiet <= set(own["timestamp"].to_pylist())


def test_a_stock_has_bars_without_trades(made: Made):
    """Recorded scans have such bars of stock exchanges."""
    assert features(made.mine, STOCK) == features(made.other, STOCK)
    bars = made.counted.filter(pc.equal(made.counted["symbol"], STOCK))
    assert pc.sum(pc.equal(bars["volume"], 0)).as_py() > 40
    assert len(features(made.mine, STOCK)) == len(bars)


def test_what_is_served_equals_what_is_recomputed(made: Made, at, monkeypatch):
    with (SAMPLE / "symbols.csv").open(encoding="utf-8") as file:
        about = {row["symbol"]: row for row in csv.DictReader(file)}
    monkeypatch.setattr("os.fsync", lambda _: None)
    with ReplayScanner(Panel.from_bars(made.counted, about)) as replay:
        project = replace(made.mine, scanner_url=replay.url)
        for days in range(5):
            at(NOON + timedelta(days=days))
            feature_ingest(project, FeatureIngestRequest(Candidates("test", (COIN,), (), 0)))
    at(datetime(2021, 5, 1, tzinfo=UTC))
    report = parity(project, ParityRequest()).report
    assert report.compared >= 2
    of_bars = [each for each in report.columns if not each.feature.startswith("Perf") and each.n]
    assert "Recommend.All" in {each.feature for each in of_bars}
    assert max(each.max_error or 0.0 for each in of_bars) < 1e-9


def test_explain_says_of_which_bar_the_values_are(made: Made, at):
    at(datetime(2021, 5, 1, tzinfo=UTC))
    close = datetime.fromtimestamp(sorted(made.quiet)[-5] + DAY, UTC)
    for later, notes in ((timedelta(0), 1), (timedelta(days=2), 0)):
        request = ExplainRequest(COIN, "local_1d:RSI", as_of=close + later, online=False)
        told = explain(made.mine, request).stories[0].notes
        assert len(told) == notes
        assert all("nothing was traded in the bar that closed then" in note for note in told)


def test_the_proof_of_no_look_ahead_reads_the_bars_that_count(made: Made):
    report = verify_lakehouse(made.mine)
    assert report.passed
    assert report.bars == made.counted.num_rows
