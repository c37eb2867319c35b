"""Candidates' pairs get the values of their coins, by an id that both scans have."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ingestion.cli.ingest import ingest_text
from ingestion.jobs.audit.status import status
from ingestion.jobs.audit.validate import validate
from ingestion.jobs.ingest.feature_ingest import (
    FeatureIngestRequest,
    FeatureIngestResult,
    feature_ingest,
    tables_of,
)
from ingestion.jobs.ingest.scan import Scans
from ingestion.lakehouse import read_part
from ingestion.markets.candidates import Candidates
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner, asked_columns
from tests.conftest import MONDAY, QUICK
from tests.jobs.test_chosen_groups import DEFAULT, choose

GROUP = "coin_sentiment_1d"
OPENED = int(MONDAY.timestamp()) // 86_400 * 86_400

ROWS: dict[str, dict[str, Any]] = {
    "CRYPTO:BTCUSD": {
        "base_currency_id": "XTVCBTC",
        "galaxyscore": 71,
        "socialdominance": 18.25,
        "24h_vol_cmc": 5e10,
        "time": OPENED,
    },
    "CRYPTO:ETHUSD": {"base_currency_id": "XTVCETH", "sentiment": 83, "time": OPENED},
    # Two coins of one id, as after a swap of tokens.
    "CRYPTO:OLDUSD": {"base_currency_id": "XTVCTWO", "galaxyscore": 1},
    "CRYPTO:NEWUSD": {"base_currency_id": "XTVCTWO", "galaxyscore": 2},
    "BINANCE:BTCUSDT": {"base_currency_id": "XTVCBTC"},
    "BYBIT:BTCUSDT.P": {"base_currency_id": "XTVCBTC"},
    "COINBASE:ETHUSD": {"base_currency_id": "XTVCETH"},
    "BINANCE:TWOUSDT": {"base_currency_id": "XTVCTWO"},
    "BINANCE:DEXUSDT": {"base_currency_id": "XTVCNONE"},
    "BYBIT:TSLAXUSDT": {"base_currency_id": ""},
    "NASDAQ:AAPL": {},
}
ASKED = Candidates("pairs.json", tuple(ROWS)[4:], (), 0)


@pytest.fixture
def chosen(settings: Project) -> Project:
    choose(settings, [*DEFAULT, GROUP])
    return settings


def ingest(
    project: Project, asked: Candidates, group: str = GROUP
) -> tuple[FeatureIngestResult, list[str]]:
    with ReplayScanner(Panel.from_rows(ROWS, asked_columns())) as scanner:
        request = FeatureIngestRequest(asked, scanner=QUICK, group=group)
        result = feature_ingest(replace(project, scanner_url=scanner.url), request)
    return result, [each.path for each in scanner.requests]


def test_pairs_have_the_values_of_their_coin(chosen: Project):
    result, paths = ingest(chosen, ASKED)
    assert result.part is not None
    group = chosen.catalog.group(GROUP)
    rows = {row["symbol"]: row for row in read_part(result.part, group).to_pylist()}
    found = {
        symbol: (row["coin"], row["galaxyscore"], row["sentiment"]) for symbol, row in rows.items()
    }
    assert found == {
        "BINANCE:BTCUSDT": ("CRYPTO:BTCUSD", 71, None),
        "BYBIT:BTCUSDT.P": ("CRYPTO:BTCUSD", 71, None),
        "COINBASE:ETHUSD": ("CRYPTO:ETHUSD", None, 83),
    }
    assert rows["BINANCE:BTCUSDT"]["vol_24h_cmc"] == 5e10
    assert rows["BINANCE:BTCUSDT"]["bar_timestamp"].timestamp() == OPENED
    assert Counter(path for path in paths if path.endswith("/scan")) == {
        "/coin/scan": 1,
        "/global/scan": 1,
    }


def test_pairs_without_one_coin_are_counted_and_are_not_missing(chosen: Project):
    result, _ = ingest(chosen, ASKED)
    assert dict(result.notes.without) == {
        "without an id": 2,
        "of no coin": 1,
        "of several coins": 1,
    }
    assert result.report.coverage == 1
    assert "without a row: 2 without an id, 1 of no coin, 1 of several coins" in ingest_text(result)
    ingest(chosen, ASKED, "tv_technicals_1d")
    (demand,) = [each for each in status(chosen).demands if each.view == GROUP]
    assert (demand.asked, demand.missing, demand.stale) == (3, (), ())


def test_candidates_without_any_coin_are_nothing_to_do(chosen: Project):
    result, _ = ingest(chosen, Candidates("stocks.json", ("NASDAQ:AAPL",), (), 0))
    assert result.part is None
    assert ingest_text(result) == "nothing to add; without a row: 1 without an id"


def test_a_flow_reads_the_market_of_coins_once_and_whole(chosen: Project):
    (chosen.feast_repository / "groups").mkdir(exist_ok=True)
    (chosen.feast_repository / "groups" / "coins.py").write_text(
        "from ingestion.catalog import Column, FeatureGroup, Scanner\n"
        "COINS = FeatureGroup(name='coins', meaning='m', source=Scanner(market='coin'), ttl='2d', "
        "features=[Column('galaxyscore', meaning='g')])\n"
    )
    choose(chosen, [*DEFAULT, GROUP, "coins"])
    request = FeatureIngestRequest(ASKED, scanner=QUICK)
    groups = [chosen.catalog.group(name) for name in (GROUP, "coins")]
    with ReplayScanner(Panel.from_rows(ROWS, asked_columns())) as scanner:
        project = replace(chosen, scanner_url=scanner.url)
        tables = [table for group in groups for table in tables_of(project, request, group)]
        scans = Scans(project, request, tables)
        for group in groups:
            feature_ingest(project, replace(request, group=group.name), scans=scans)
    asked = [each.path for each in scanner.requests]
    assert (asked.count("/coin/scan"), asked.count("/global/scan")) == (1, 1)


def test_stocks_without_any_coin_leave_the_gate_and_the_coverage_of_pairs_as_they_are(
    chosen: Project, at
):
    ingest(chosen, ASKED)
    at(MONDAY + timedelta(minutes=5))
    ingest(chosen, Candidates("stocks.json", ("NASDAQ:AAPL",), (), 0))
    assert validate(chosen).refused == {}
    report = status(chosen)
    assert [problem for problem in report.problems if "does not say" in problem] == []
    (group,) = [each for each in report.groups if each.view == GROUP]
    assert group.coverage == 1
