"""A flow, and the single jobs, about the members of a universe."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingestion.catalog import UNIVERSE_MEMBERS, Listing, Universe
from ingestion.cli.commands import cli
from ingestion.cli.daily import flow_text
from ingestion.jobs.flow import FlowResult, flow_data
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest
from ingestion.jobs.steps import Status
from ingestion.lakehouse import list_parts, newest_between
from ingestion.markets.universe import Market
from ingestion.project import Project
from ingestion.replay import FaultPlan, Panel, ReplayScanner
from tests.conftest import MONDAY, QUICK

INDEX = "SYML:SP;SPX"
SP500 = Universe("sp500", Listing(symbolset=INDEX))
ALWAYS = [(0.0, float("inf"))]


@pytest.fixture
def scanner(sample_panel: Panel, at: Callable[[datetime], None]) -> Iterator[ReplayScanner]:
    with ReplayScanner(sample_panel.with_columns({})) as replay:
        replay.panel.symbolsets[INDEX] = dict.fromkeys(replay.panel.symbols[:12], ALWAYS)
        yield replay


def flow(settings: Project) -> FlowResult:
    request = FeatureIngestRequest(Market("sp500"), scanner=replace(QUICK, retries=0))
    return flow_data(settings, request, universe=SP500)


def snapshot(settings: Project, instant: datetime) -> set[str]:
    second = int(instant.timestamp())
    return set(newest_between(settings.lakehouse, settings.catalog.pulse, second, second))


def test_a_flow_fetches_the_members_and_records_them(settings: Project, scanner: ReplayScanner):
    result = flow(settings)
    members = set(scanner.panel.symbols[:12])
    assert result.error is None
    assert result.steps[0].name == "universe"
    assert result["universe"].status is Status.DONE
    assert snapshot(settings, MONDAY) == members
    receipt = json.loads(result.receipt.read())
    assert set(receipt["request"]["source"]["symbols"]) == members
    assert receipt["profile"] == "sp500"
    assert "12 members of sp500, 12 new" in flow_text(result)
    assert {each.dataset: each.rows for each in result.published}["universe_members"] == 12


def test_a_killed_flow_goes_on_with_the_members_that_its_run_has_asked_for(
    settings: Project, scanner: ReplayScanner, monkeypatch: pytest.MonkeyPatch
):
    settings = replace(settings, run_id="20210412T213000Z-000000abcd")
    members = set(scanner.panel.symbols[:12])

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ingestion.jobs.flow.data_ingest", killed)
        with pytest.raises(KeyboardInterrupt):
            flow(settings)
    scanner.panel.symbolsets[INDEX] = dict.fromkeys(scanner.panel.symbols[3:15], ALWAYS)
    result = flow(settings)
    assert result.error is None
    assert "has done universe-ingest already" in result["universe"].reason
    assert snapshot(settings, MONDAY) == members


def test_after_a_short_answer_a_flow_is_about_the_last_members(
    settings: Project, scanner: ReplayScanner, at: Callable[[datetime], None]
):
    flow(settings)
    scanner.panel.symbolsets[INDEX] = dict.fromkeys(scanner.panel.symbols[3:15], ALWAYS)
    at(MONDAY + timedelta(days=1))
    scanner.plan = FaultPlan(["count-too-high"] * 4)
    result = flow(settings)
    assert result["universe"].status is Status.REFUSED
    assert "the universe sp500 is not recorded" in result["universe"].reason
    assert result.error is not None
    assert result.error.exit_code == 3
    assert snapshot(settings, MONDAY + timedelta(days=1)) == set(scanner.panel.symbols[:12])
    assert len(list_parts(settings.lakehouse, UNIVERSE_MEMBERS)) == 1


def test_a_flow_without_members_fetches_nothing(settings: Project, scanner: ReplayScanner):
    scanner.plan = FaultPlan(chances={"count-too-high": 1.0})
    result = flow(settings)
    assert result["universe"].status is Status.REFUSED
    assert result["feature-ingest"].status is Status.NOT_RUN
    assert result["feature-ingest"].reason == "it needs universe"
    assert result.error is not None
    assert "the universe sp500 is not recorded" in str(result.error)


@pytest.fixture
def declared(settings: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    folder = settings.feast_repository / "universes"
    folder.mkdir()
    (folder / "sp500.toml").write_text(f'symbolset = "{INDEX}"\n')
    monkeypatch.setenv("TVFEAST_SCANNER_URL", settings.scanner_url)
    return settings


@pytest.mark.parametrize("command", ["feature-ingest", "data-ingest", "meta-ingest"])
def test_each_job_asks_for_the_members(declared: Project, scanner: ReplayScanner, command: str):
    result = CliRunner().invoke(cli, [command, "--universe", "sp500"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "12 members of sp500" in result.stderr
    asked = [each.body["symbols"].get("tickers") for each in scanner.requests if each.body]
    assert {*scanner.panel.symbols[:12]} in [set(each) for each in asked if each]
    again = CliRunner().invoke(cli, [command, "--universe", "sp500", "--candidates", "x.json"])
    assert "name either --candidates FILE or --universe NAME" in str(again.exception)


def test_a_short_answer_is_told_after_the_job(declared: Project, scanner: ReplayScanner, at):
    CliRunner().invoke(cli, ["feature-ingest", "--universe", "sp500"], catch_exceptions=False)
    at(MONDAY + timedelta(days=1))
    scanner.plan = FaultPlan(["count-too-high"] * 8)
    result = CliRunner().invoke(cli, ["feature-ingest", "--universe", "sp500", "--backoff", "0"])
    assert getattr(result.exception, "exit_code", None) == 3
    assert "is not recorded" in str(result.exception)
    assert "12 rows known at" in result.stdout


def test_a_market_is_still_a_market(declared: Project, scanner: ReplayScanner):
    result = CliRunner().invoke(cli, ["feature-ingest", "--universe", "crypto"])
    assert result.exit_code == 0, result.output
    assert list_parts(declared.lakehouse, UNIVERSE_MEMBERS) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sp50", "did you mean sp500?"),
        ("amrica", "did you mean america"),
        ("SP500", "did you mean sp500?"),
        ("zzzz", "feature_repo/universes/ (there are sp500, us_large)"),
    ],
)
@pytest.mark.parametrize("command", ["flow-data", "feature-ingest", "data-ingest", "meta-ingest"])
def test_a_name_that_is_no_universe_and_no_market_is_refused_before_anything_is_asked(
    declared: Project, scanner: ReplayScanner, command: str, name: str, said: str
):
    result = CliRunner().invoke(cli, [command, "--universe", name])
    assert getattr(result.exception, "exit_code", None) == 2
    assert f"--universe {name}: there is no such universe" in str(result.exception)
    assert said in str(result.exception)
    assert scanner.requests == []


def test_a_universe_that_was_only_imported_is_to_be_declared_before_a_run(
    declared: Project, scanner: ReplayScanner, tmp_path: Path
):
    spans = tmp_path / "past.csv"
    spans.write_text("symbol,from,to\nNASDAQ:AAPL,2019-01-02,\n")
    CliRunner().invoke(cli, ["universe", "import", str(spans), "--name", "mine"])
    result = CliRunner().invoke(cli, ["flow-data", "--universe", "mine"])
    assert getattr(result.exception, "exit_code", None) == 2
    assert "declare it in feature_repo/universes/mine.toml" in str(result.exception)
    assert scanner.requests == []


def test_a_symbolset_that_the_scanner_does_not_list_is_named_with_its_line(
    declared: Project, scanner: ReplayScanner
):
    path = declared.feast_repository / "universes" / "odd.toml"
    path.write_text('meaning = "an index"\nmax_age = "3d"\nsymbolset = "SYML:SP;SPY"\n')
    for members in (None, {}):  # a set that the scanner rejects, and one that is empty
        scanner.panel.symbolsets.pop("SYML:SP;SPY", None)
        if members is not None:
            scanner.panel.symbolsets["SYML:SP;SPY"] = members
        result = CliRunner().invoke(cli, ["feature-ingest", "--universe", "odd"])
        assert getattr(result.exception, "exit_code", None) in (2, 4)
        assert f"{path}, line 3 asks for the symbols of SYML:SP;SPY" in str(result.exception)


def test_entries_of_a_file_that_are_no_symbols_are_named(declared: Project, scanner: ReplayScanner):
    folder = declared.feast_repository / "universes"
    (folder / "mine.toml").write_text('symbols = "mine.json"\n')
    missing = CliRunner().invoke(cli, ["feature-ingest", "--universe", "mine"])
    assert "mine.json cannot be read: No such file or directory" in str(missing.exception)
    assert f"{folder / 'mine.toml'}, line 1 names it" in str(missing.exception)
    (folder / "mine.json").write_text('["NASDAQ:AAPL", "AAPL", "NYSE:GE"]')
    result = CliRunner().invoke(cli, ["feature-ingest", "--universe", "mine"])
    assert result.exit_code == 0, result.output
    assert "1 names are no symbols (entry 2: 'AAPL'" in result.stderr
