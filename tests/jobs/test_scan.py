"""Groups of a project's own, in one scan with all the rest: of any type, optional, of a market."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner

from ingestion.base.errors import GateRefused, UnknownColumn
from ingestion.cli.commands import cli
from ingestion.cli.ingest import ingest_text
from ingestion.jobs.flow import flow_data
from ingestion.jobs.ingest.data_ingest import data_ingest
from ingestion.jobs.ingest.feature_ingest import (
    FeatureIngestRequest,
    FeatureIngestResult,
    feature_ingest,
)
from ingestion.jobs.ingest.scan import ScanRequest, Scans
from ingestion.jobs.steps import Status
from ingestion.lakehouse import list_parts, read_part
from ingestion.markets.candidates import Candidates
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner
from ingestion.scanner import Table
from ingestion.scanner.transport import Transport
from ingestion.scanner.wire import Answer
from tests.conftest import QUICK

A, B, C = "NASDAQ:AAPL", "NASDAQ:AMZN", "NYSE:IBM"
ASKED = Candidates("three.json", (A, B, C), (), 0)

CRYPTO = {"BINANCE:BTCUSDT", "BINANCE:ETHUSDT", "COINBASE:ETHUSD", "INDEX:BTCUSD"}

MINE = """
from ingestion.catalog import Column, FeatureGroup, Scanner

GROUP = FeatureGroup(
    name="mine",
    meaning="columns of every type",
    source=Scanner({market}),
    ttl="4d",
    features=[
        Column("beta_1_year", meaning="a number"),
        Column("number_of_employees", "int64", meaning="a whole number"),
        Column("is_primary", "bool", meaning="a truth"),
        Column("AnalystRating", "string", meaning="a category", values=("Buy", "Hold", "Sell")),
        Column("earnings_release_date", "timestamp", meaning="a time"),
        Column("gone", meaning="not there any more"{gone}),
    ],
)
"""

CELLS: dict[str, dict[str, Any]] = {
    "beta_1_year": {A: 1.25, B: 2},
    "number_of_employees": {A: 164_000, B: 26_000.0},
    "is_primary": {A: True, B: False},
    "AnalystRating": {A: "Buy", B: None},
    "earnings_release_date": {A: 1_619_640_000, B: 1_619_553_600.5},
}


NUMBERS = ("beta_1_year", "number_of_employees")
REST = ("is_primary", "AnalystRating", "earnings_release_date")


def declare(project: Project, **how: str) -> None:
    """Write a project's own group."""
    folder = project.feast_repository / "groups"
    folder.mkdir(parents=True, exist_ok=True)
    text = MINE.format(**{"market": "", "gone": ", optional=True", **how})
    (folder / "mine.py").write_text(text)


def ingest(project: Project, asked: Candidates = ASKED, **changes: Any) -> FeatureIngestResult:
    request = FeatureIngestRequest(asked, 0.5, QUICK, group="mine")
    return feature_ingest(project, replace(request, **changes))


def rows_of(project: Project, name: str = "mine") -> dict[str, dict[str, Any]]:
    group = project.catalog.group(name)
    (part,) = list_parts(project.lakehouse, group)
    return {row["symbol"]: row for row in read_part(part, group).to_pylist()}


@pytest.fixture
def project(settings: Project, scanner: ReplayScanner, sample_panel: Panel) -> Project:
    declare(settings)
    cells = {name: {**dict.fromkeys(CRYPTO, 1), **CELLS[name]} for name in NUMBERS}
    cells["is_primary"] = {**dict.fromkeys(CRYPTO, True), **CELLS["is_primary"]}
    scanner.panel = sample_panel.with_columns({**CELLS, **cells})
    return settings


def test_every_type_comes_from_the_scanner_to_the_lakehouse(project: Project) -> None:
    assert ingest(project).report.fetched == 3
    rows = rows_of(project)
    told = {symbol: [rows[symbol][name] for name in (*NUMBERS, *REST)] for symbol in (A, B)}
    assert told[A] == [1.25, 164_000, True, "Buy", datetime(2021, 4, 28, 20, tzinfo=UTC)]
    half = datetime(2021, 4, 27, 20, 0, 0, 500_000, tzinfo=UTC)
    assert told[B] == [2.0, 26_000, False, None, half]
    assert [rows[C][name] for name in (*NUMBERS, *REST)] == [None] * 5


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("beta_1_year", "high", "'high' where a number belongs"),
        ("number_of_employees", 0.5, "0.5 where a whole number belongs"),
        ("is_primary", 1, "1 where true or false belongs"),
        ("AnalystRating", 5, "5 where text belongs"),
        ("AnalystRating", "Strong", "'Strong' is none of 'Buy, Hold, Sell'"),
        ("earnings_release_date", "soon", "'soon' where a number belongs"),
        ("earnings_release_date", -5, "-5 is not a time in Unix seconds"),
    ],
)
def test_a_value_of_another_type_costs_its_row_and_says_why(
    project: Project, scanner: ReplayScanner, column: str, value: Any, reason: str
) -> None:
    scanner.panel = scanner.panel.with_columns({**CELLS, column: {**CELLS[column], B: value}})
    result = ingest(project)
    assert result.report.failed_symbols == {B: f"{column}: {reason}"}
    assert set(rows_of(project)) == {A, C}


def asked_for(scanner: ReplayScanner) -> list[tuple[str, int]]:
    """Path and number of columns of each request."""
    return [(each.path, len((each.body or {}).get("columns", ()))) for each in scanner.requests]


def test_an_optional_column_that_is_unknown_is_asked_alone_and_is_null(
    project: Project, scanner: ReplayScanner
) -> None:
    scanner.requests.clear()
    result = ingest(project)
    # metainfo lists all others; the request for three symbols has not been rejected.
    assert asked_for(scanner) == [("/global/metainfo", 0), ("/global/scan", 1), ("/global/scan", 8)]
    assert scanner.requests[1].body["columns"] == ["gone"]
    assert scanner.requests[1].body["symbols"]["tickers"] == [A]
    assert result.report.unknown_columns == ("gone",)
    assert json.loads(result.receipt.path.read_bytes())["unknown_columns"] == ["gone"]
    first = ingest_text(result).splitlines()[0]
    assert first.endswith("; the scanner does not know gone: null in these rows")
    assert [row["gone"] for row in rows_of(project).values()] == [None] * 3


def test_an_optional_column_that_the_scanner_knows_is_taken(
    project: Project, scanner: ReplayScanner
) -> None:
    scanner.panel = scanner.panel.with_columns({**CELLS, "gone": {A: 7}})
    assert ingest(project).report.unknown_columns == ()
    assert rows_of(project)[A]["gone"] == 7.0


def test_without_metainfo_an_optional_column_is_asked_alone(
    project: Project, scanner: ReplayScanner
) -> None:
    scanner.metainfo = False
    scanner.panel = scanner.panel.with_columns({**CELLS, "gone": {A: 7}})
    ingest(project)
    assert rows_of(project)[A]["gone"] == 7.0


def test_an_optional_column_that_metainfo_lists_and_no_scan_has_is_null(
    project: Project, scanner: ReplayScanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = {"fields": [{"n": name} for name in (*CELLS, "gone")]}
    monkeypatch.setattr("ingestion.replay.protocol.metainfo", lambda _: listed)
    assert ingest(project).report.unknown_columns == ("gone",)


def test_a_column_that_is_not_optional_stops_the_run_with_its_name_and_its_file(
    project: Project,
) -> None:
    declare(project, gone="")
    project = Project(project.folder, project.lakehouse_at, project.scanner_url)
    with pytest.raises(UnknownColumn, match=r'"gone".*groups/mine\.py, line \d+') as error:
        ingest(project)
    assert error.value.exit_code == 2


def test_a_group_that_cannot_be_had_stops_no_other_table_of_the_scan(
    project: Project, scanner: ReplayScanner, at: Callable[[datetime], None]
) -> None:
    declare(project, gone="")
    project = Project(project.folder, project.lakehouse_at, project.scanner_url)
    flow = flow_data(project, FeatureIngestRequest(ASKED, scanner=QUICK))
    assert '"gone"' in flow["feature-ingest mine"].reason
    for step in ("data-ingest", "meta-ingest", "feature-ingest"):
        assert flow[step].status is Status.DONE
    assert isinstance(flow.error, GateRefused)


def test_a_market_of_a_group_is_asked_by_itself_and_stops_no_other(
    project: Project, scanner: ReplayScanner
) -> None:
    declare(project, market='market="crypto"')
    project = Project(project.folder, project.lakehouse_at, project.scanner_url)
    scanner.requests.clear()
    request = FeatureIngestRequest(ASKED, scanner=QUICK)
    flow = flow_data(project, request)
    assert flow["feature-ingest mine"].status is Status.DONE
    crypto = flow["feature-ingest mine"].result
    assert crypto.report.profile == "crypto"
    assert set(rows_of(project)) == CRYPTO
    paths = [path for path, _ in asked_for(scanner)]
    assert paths.count("/global/scan") == 1

    declare(project, market='market="bonds"')  # which this scanner does not have
    project = Project(project.folder, project.lakehouse_at, project.scanner_url)
    flow = flow_data(project, replace(request, refresh=True))
    assert 'no market "bonds"' in flow["feature-ingest mine"].reason
    for step in ("data-ingest", "meta-ingest"):
        assert flow[step].status is Status.DONE


@contextmanager
def counted(scanner: ReplayScanner) -> Iterator[list[Any]]:
    scanner.requests.clear()
    yield scanner.requests


def test_a_group_of_a_market_is_fetched_without_naming_the_market_again(
    project: Project, scanner: ReplayScanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(project, market='market="crypto"')
    monkeypatch.setenv("TVFEAST_PROJECT", str(project.folder))
    monkeypatch.setenv("TVFEAST_SCANNER_URL", scanner.url)
    scanner.requests.clear()
    words = ["feature-ingest", "--group", "mine", "--min-coverage", "0.1", "--json"]
    told = json.loads(CliRunner().invoke(cli, words, catch_exceptions=False).stdout)
    assert told["report"]["asked"] == len(CRYPTO)
    assert {each.path for each in scanner.requests} == {"/crypto/metainfo", "/crypto/scan"}


def test_a_scan_is_made_once_and_what_it_raised_is_raised_for_each_of_its_tables(
    project: Project, scanner: ReplayScanner
) -> None:
    close, rsi = project.catalog.pulse.scanned[3], project.catalog.pulse.scanned[4]
    tables = [Table("one", (close,)), Table("two", (close, rsi)), Table("far", (rsi,), "bonds")]
    scans = Scans(project, ScanRequest(ASKED, scanner=QUICK), tables)
    with counted(scanner) as requests:
        one, two = scans.table("one"), scans.table("two")
        assert len(requests) == 1
    assert [row[0] for row in one.snapshot.rows.values()] == [
        row[0] for row in two.snapshot.rows.values()
    ]
    with counted(scanner) as requests:
        for _ in range(2):
            with pytest.raises(Exception, match='no market "bonds"'):
                scans.table("far")
        assert len(requests) == 1


def test_what_is_done_meanwhile_begins_with_a_scan_and_ends_before_its_rows_are_there(
    project: Project, scanner: ReplayScanner
) -> None:
    close, rsi = project.catalog.pulse.scanned[3], project.catalog.pulse.scanned[4]
    tables = [Table("one", (close,)), Table("far", (rsi,), "bonds")]
    done: list[bool] = []

    def work(waits: Callable[[], bool]) -> None:
        time.sleep(1)
        done.append(waits())

    scans = Scans(project, ScanRequest(ASKED, scanner=QUICK), tables, meanwhile=work)
    assert not done
    scans.table("one")
    assert done == [False]  # the answer was there by then
    with pytest.raises(Exception, match='no market "bonds"'):
        scans.table("far")
    assert done == [False] * 2


def test_nothing_is_done_meanwhile_where_nothing_is_asked(
    project: Project, scanner: ReplayScanner
) -> None:
    close, done = project.catalog.pulse.scanned[3], list[object]()
    table = Table("one", (close,), recent=frozenset(ASKED.symbols or ()))
    scans = Scans(project, ScanRequest(ASKED, scanner=QUICK), [table], meanwhile=done.append)
    with counted(scanner) as requests:
        assert scans.table("one").snapshot.rows == {}
    assert (requests, done, scans.answered) == ([], [], None)


def test_a_bar_is_judged_by_the_instant_before_its_own_request(
    settings: Project,
    scanner: ReplayScanner,
    at: Callable[[datetime], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """New York's bars are final some 15 minutes after 20:00: between these two requests."""
    instants = iter(["2021-04-12T20:14:00Z", "2021-04-12T20:30:00Z"])

    class Wire(Transport):
        def scan(self, *question: Any) -> Answer:
            at(datetime.fromisoformat(next(instants)))
            return super().scan(*question)

    monkeypatch.setattr("ingestion.scanner.client.Transport", Wire)
    options = replace(QUICK, batch_size=2, in_flight=1)
    result = data_ingest(settings, ScanRequest(ASKED, scanner=options))
    assert (result.bars.open, result.bars.written) == (2, 1)
