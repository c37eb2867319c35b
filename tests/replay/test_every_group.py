"""The replay serves every shipped group: computed by formulas, or drawn from recorded ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import requests

from ingestion.formulas import compute_local_features
from ingestion.jobs.flow import flow_data
from ingestion.jobs.ingest.data_ingest import BARS
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, tables_of
from ingestion.jobs.ingest.meta_ingest import METADATA
from ingestion.lakehouse import list_parts, read_part
from ingestion.markets.candidates import Candidates
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner
from ingestion.replay.drawn import RANGES
from ingestion.replay.further import is_drawn
from ingestion.scanner import ScannerClient, ScanPlan, Table
from ingestion.scanner.values import scanner_name
from tests.conftest import MONDAY, QUICK
from tests.declared import BY_CHOICE
from tests.jobs.test_chosen_groups import DEFAULT, choose

STOCKS = ("NASDAQ:AAPL", "NASDAQ:AMZN", "NYSE:IBM")
PAIRS = ("BINANCE:BTCUSDT", "COINBASE:ETHUSD")
NOW = int(MONDAY.timestamp())


def cells(panel: Panel, symbol: str, names: list[str], market: str | None = None) -> dict[str, Any]:
    row = panel.known(NOW, market)[symbol]
    return dict(zip(names, panel.values(symbol, row, names), strict=True))


@pytest.fixture
def flow(settings: Project, sample_panel: Panel) -> tuple[Project, Mapping[str, Any], list[str]]:
    """All shipped groups in one flow's scan, and the paths that were asked."""
    choose(settings, [*DEFAULT, *BY_CHOICE])
    asked = Candidates("some.json", (*STOCKS, *PAIRS), (), 0)
    with ReplayScanner(sample_panel) as scanner:
        project = replace(settings, scanner_url=scanner.url)
        result = flow_data(project, FeatureIngestRequest(asked, scanner=QUICK))
    return project, {step.name: step for step in result.steps}, [r.path for r in scanner.requests]


def test_one_flow_stores_every_shipped_group(flow):
    project, steps, paths = flow
    for group in project.catalog.scanned:
        (part,) = list_parts(project.lakehouse, group)
        rows = {row["symbol"]: row for row in read_part(part, group).to_pylist()}
        expected = PAIRS if group.name == "coin_sentiment_1d" else (*STOCKS, *PAIRS)
        assert rows.keys() == set(expected), group.name
        filled = [
            c.name for c in group.features if any(row[c.name] is not None for row in rows.values())
        ]
        assert len(filled) > len(group.features) / 3, group.name
        if "bar_check" in part_columns(group):
            # A coin's last closed day is yesterday's: at half past nine its bars are earlier ones.
            assert {rows[symbol]["bar_check"] for symbol in STOCKS} == {"expected"}, group.name
        name = (
            "feature-ingest" if group == project.catalog.pulse else f"feature-ingest {group.name}"
        )
        assert steps[name].result.quality.quarantined.num_rows == 0
    scans = [path for path in paths if path.endswith("/scan")]
    assert scans.count("/coin/scan") == 1
    assert len(scans) - 1 == math.ceil(len(columns_of(project)) / 91)


def tables(project: Project, request: FeatureIngestRequest) -> list[Table]:
    """What a flow asks of its candidates."""
    groups = project.catalog.scanned
    found = [BARS, METADATA, *(t for g in groups for t in tables_of(project, request, g))]
    return [table for table in found if table.market is None]


def columns_of(project: Project) -> set[str]:
    request = FeatureIngestRequest(Candidates("some.json", STOCKS, (), 0), refresh=True)
    return {scanner_name(c) for table in tables(project, request) for c in table.columns}


def test_a_scan_sends_a_request_for_each_batch_and_each_piece_of_its_columns(
    settings: Project, sample_panel: Panel
):
    """⌈symbols ÷ batch⌉ × ⌈columns ÷ widest⌉, also where the last piece is full."""
    choose(settings, [*DEFAULT, *BY_CHOICE])
    request = FeatureIngestRequest(Candidates("some.json", (*STOCKS, *PAIRS), (), 0))
    plan = ScanPlan.of(tables(settings, request))
    count = len(columns_of(settings))
    whole = None
    widths = {
        count,
        count - 1,
        *(math.ceil(count / n) + d for n in (2, 3, 5, 8) for d in (-1, 0, 1)),
    }
    with ReplayScanner(sample_panel) as scanner:
        for number, widest in enumerate([10, 11, 91, *sorted(widths, reverse=True)]):
            batch = 1 + number % 6
            before = len(scanner.requests)
            options = replace(QUICK, max_columns=widest, batch_size=batch)
            with ScannerClient(scanner.url, options) as client:
                found = client.fetch(request.source.symbols, plan.columns)
            asked = scanner.requests[before:]
            assert len(asked) == math.ceil(5 / batch) * math.ceil(count / widest), (widest, batch)
            assert sum(attempt.requests for attempt in found.attempts) == len(asked)
            assert max(len(each.body["columns"]) for each in asked) <= widest
            whole = whole or found.rows
            assert found.rows == whole


def part_columns(group) -> set[str]:
    return {column.name for column in group.columns}


def test_weeks_are_computed_from_the_bars(sample_panel: Panel):
    """A week of AAPL's closes, put together by hand, gives the served values."""
    found = cells(
        sample_panel, STOCKS[0], ["RSI|1W", "RSI[1]|1W", "Stoch.K|1W", "time|1W", "AO|1M"]
    )
    bars = sample_panel._columns._bars  # the sample's own bars
    own = bars.filter(pa.compute.equal(bars["symbol"], STOCKS[0]))
    own = own.filter(pa.compute.less_equal(own["timestamp"], NOW)).to_pylist()
    weeks: dict[Any, list[dict[str, Any]]] = {}
    split = 1.0
    for bar in own:
        split *= bar["split_ratio"]
        week = np.datetime64(bar["timestamp"], "s").astype("datetime64[D]").item().isocalendar()[:2]
        prices = {name: bar[name] * split for name in ("open", "high", "low", "close")}
        weeks.setdefault(week, []).append({**bar, **prices})
    table = pa.Table.from_pylist(
        [
            {
                "timestamp": week[0]["timestamp"],
                "symbol": "X:A",
                "open": week[0]["open"],
                "high": max(bar["high"] for bar in week),
                "low": min(bar["low"] for bar in week),
                "close": week[-1]["close"],
                "volume": 1.0,
            }
            for week in weeks.values()
        ]
    )
    expected = compute_local_features(table).to_pylist()
    assert found["RSI|1W"] == pytest.approx(expected[-1]["RSI"], rel=1e-9)
    assert found["RSI[1]|1W"] == pytest.approx(expected[-2]["RSI"], rel=1e-9)
    assert found["Stoch.K|1W"] == pytest.approx(expected[-1]["Stoch.K"], rel=1e-9)
    assert found["time|1W"] == list(weeks.values())[-1][0]["timestamp"]


def test_what_is_drawn_is_inside_the_recorded_ranges_and_fits_together(sample_panel: Panel):
    names = [name for name in RANGES if name in sample_panel.columns]
    more = ["recommendation_total", "recommendation_mark", "close"]
    more += [f"price_target_{name}" for name in ("low", "average", "high")]
    for symbol in STOCKS:
        row = cells(sample_panel, symbol, [*names, *more])
        for name in names:
            if row[name] is not None and name not in ("RSI", "ADX", "CCI20", "Stoch.K"):
                low, high = RANGES[name]
                assert low <= row[name] <= high, name
        kinds = ("buy", "over", "hold", "under", "sell")
        counts = [row[f"recommendation_{kind}"] for kind in kinds]
        assert row["recommendation_total"] == sum(counts)
        weighted = np.dot(counts, [1, 1.5, 2, 2.5, 3]) / sum(counts)
        assert row["recommendation_mark"] == pytest.approx(weighted)
        assert row["price_target_low"] <= row["price_target_average"] <= row["price_target_high"]
    coin = cells(sample_panel, PAIRS[0], ["base_currency_id", "galaxyscore"])
    assert coin == {"base_currency_id": "XTVCBTC", "galaxyscore": None}
    assert set(sample_panel.known(NOW, "coin")) == {"CRYPTO:BTCUSD", "CRYPTO:ETHUSD"}
    assert not set(sample_panel.known(NOW)) & {"CRYPTO:BTCUSD", "CRYPTO:ETHUSD"}


def test_an_answer_names_the_columns_that_are_drawn(sample_panel: Panel):
    names = ["RSI", "SMA50", "RSI|60", "RSI|1M", "price_target_average", "close"]
    question = {"symbols": {"tickers": list(STOCKS)}, "columns": names, "range": [0, 3]}
    with ReplayScanner(sample_panel) as scanner:
        answer = requests.post(f"{scanner.url}/global/scan", json=question, timeout=60)
        plain = requests.post(
            f"{scanner.url}/global/scan", json={**question, "columns": ["RSI"]}, timeout=60
        )
    assert answer.headers["X-Replay-Drawn"] == "RSI|60,price_target_average"
    assert "X-Replay-Drawn" not in plain.headers
    assert is_drawn("galaxyscore")
    assert not is_drawn("RSI|1M")
