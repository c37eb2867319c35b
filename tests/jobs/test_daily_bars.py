"""Markets that never close get their closed bars from a bar source, in each flow."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import ingestion.bars.writing as writing
from ingestion.bars.gaps import read_absent
from ingestion.base.errors import CatalogError, InputError, NothingFetched, TvfeastError
from ingestion.catalog import OHLCV_1D
from ingestion.cli.commands import cli
from ingestion.cli.daily import flow_text
from ingestion.jobs.flow import FlowResult, flow_data
from ingestion.jobs.ingest.daily_bars import DailyRequest, DailyResult, fetch_daily
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest
from ingestion.jobs.ingest.fetched_spans import asked_so_far
from ingestion.jobs.ingest.unfinished_imports import half_imports
from ingestion.jobs.steps import Status
from ingestion.lakehouse import list_parts, read_current
from ingestion.markets.candidates import Candidates
from ingestion.project import Project
from tests.conftest import MONDAY, QUICK
from tests.declared import LOCAL_1D

BTC, ETH, COIN, STOCK = "BINANCE:BTCUSDT", "BINANCE:ETHUSDT", "COINBASE:ETHUSD", "NASDAQ:AAPL"
XRP = "BINANCE:XRPUSDT"
STEP, OTHER = "daily-bars coins", "daily-bars others"
FIRST = date(2021, 3, 8)
SOURCE = """
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from ingestion.catalog import BarRequest, BarSource, BarTable

HERE = Path(__file__).parent


def tables(want):
    with (HERE / "asked.jsonl").open("a") as file:
        file.write(json.dumps(["NAME", want.symbol, str(want.first), str(want.last)]) + "\\n")
    told = json.loads((HERE / "answers.json").read_text())
    if "NAME" in told["down"]:
        raise ValueError("the vendor is closed")
    if "NAME" in told["away"]:
        raise ConnectionRefusedError(111, "Connection refused")
    if want.symbol in told["unknown"]:
        return
    first = max(want.first, date(2021, 3, 8))
    days = [first + timedelta(n) for n in range((want.last - first).days + 1)]
    days = [each for each in days if str(each) not in told["lacks"].get(want.symbol, [])]
    level = 60_000.0 if "BTC" in want.symbol else 2_150.0  # the scanner shows a bar of each, too
    price = [level + (each.toordinal() * 7) % 13 for each in days]
    yield BarTable(
        {"date": days, "open": price, "high": [each + 2 for each in price],
         "low": [each - 2 for each in price], "close": [each + 1 for each in price],
         "volume": [5.0] * len(days)}
    )


SOURCE = BarSource("NAME", "bars of NAME", tables, times="dates", exchanges=["EXCHANGE"], delay=60)
"""


class Vendors:
    """Two bar sources of a project, and what they answer."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.folder = project.feast_repository / "sources"
        self.folder.mkdir(exist_ok=True)
        for name, exchange in (("coins", "BINANCE"), ("others", "COINBASE")):
            text = SOURCE.replace("NAME", name).replace("EXCHANGE", exchange)
            (self.folder / f"{name}.py").write_text(text)
        self.assign('[daily]\nBINANCE = "coins"\n')
        self.answers: dict[str, Any] = {"lacks": {}, "down": [], "away": [], "unknown": []}

    def assign(self, text: str) -> None:
        (self.project.feast_repository / "sources.toml").write_text(text)

    def flow(self, *symbols: str, run_id: str | None = None) -> FlowResult:
        (self.folder / "answers.json").write_text(json.dumps(self.answers))
        source = Candidates("mine.json", symbols, (), 0)
        request = FeatureIngestRequest(source, scanner=replace(QUICK, retries=0))
        return flow_data(replace(self.project, run_id=run_id), request)

    def daily(self, *symbols: str) -> DailyResult:
        """Run the step alone, without the scanner."""
        (self.folder / "answers.json").write_text(json.dumps(self.answers))
        source = Candidates("mine.json", symbols, (), 0)
        return fetch_daily(self.project, DailyRequest("coins", source, symbols))

    def asked(self) -> list[list[str]]:
        """Return what was asked for since the last look."""
        path = self.folder / "asked.jsonl"
        if not path.exists():
            return []
        lines = path.read_text().splitlines()
        path.unlink()
        return [json.loads(line) for line in lines]

    def days(self, symbol: str) -> list[date]:
        rows = read_current(list_parts(self.project.lakehouse, OHLCV_1D), OHLCV_1D).to_pylist()
        opens = [row["timestamp"] for row in rows if row["symbol"] == symbol]
        return [datetime.fromtimestamp(each, UTC).date() for each in sorted(opens)]


@pytest.fixture
def vendors(settings: Project, no_power_cuts: None) -> Vendors:
    return Vendors(settings)


def days_from(first: date, last: date) -> list[date]:
    return [first + timedelta(n) for n in range((last - first).days + 1)]


def test_a_flow_fetches_the_closed_bars_that_the_scanner_cannot_give(
    vendors: Vendors, at: Callable[[datetime], None]
):
    flow = vendors.flow(BTC, STOCK)
    assert flow.error is None, flow_text(flow)
    names = [step.name for step in flow.steps]
    assert names.index("feature-ingest") < names.index(STEP) < names.index("local-features")
    assert "35 closed bars of coins written, 1 of 1 symbol due" in flow_text(flow)
    yesterday = MONDAY.date() - timedelta(days=1)
    assert vendors.days(BTC) == days_from(FIRST, yesterday)
    assert vendors.asked() == [["coins", BTC, "1970-01-01", str(MONDAY.date())]]
    computed = read_current(list_parts(vendors.project.lakehouse, LOCAL_1D), LOCAL_1D)
    assert set(computed["symbol"].to_pylist()) >= {BTC}
    rows = {each.dataset: each.rows for each in flow.published}
    assert rows["ohlcv_1d"] == 37  # with the scanner's of both, of which one is restated
    # No session has closed since: nobody is asked.
    again = vendors.flow(BTC, STOCK)
    assert again.error is None
    assert "0 closed bars of coins written, 0 of 1 symbol due" in flow_text(again)
    assert vendors.asked() == []
    # Midnight is over, and the source's delay is not.
    at(datetime(2021, 4, 13, 0, 0, 30, tzinfo=UTC))
    vendors.flow(BTC)
    assert vendors.asked() == []
    at(datetime(2021, 4, 13, 0, 1, tzinfo=UTC))
    assert vendors.flow(BTC, ETH).error is None  # one that is new is filled from its listing
    assert vendors.asked() == [
        ["coins", BTC, "2021-04-05", "2021-04-13"],
        ["coins", ETH, "1970-01-01", "2021-04-13"],
    ]
    assert vendors.days(BTC) == vendors.days(ETH) == days_from(FIRST, MONDAY.date())
    result = CliRunner().invoke(cli, ["verify"])
    assert result.exit_code == 0, result.output


def test_a_source_that_fails_fails_its_own_markets_alone(vendors: Vendors):
    vendors.assign('[daily]\nBINANCE = "coins"\nCOINBASE = "others"\n[from]\nothers = 2021-03-20\n')
    vendors.answers["down"] = ["coins"]
    flow = vendors.flow(BTC, COIN, STOCK)
    assert flow.error is not None
    assert flow.error.exit_code == 3
    assert flow[STEP].status is Status.FAILED
    assert "the vendor is closed" in flow[STEP].reason
    assert flow[OTHER].status is Status.DONE
    assert flow["materialize"].status is Status.DONE
    assert vendors.days(COIN) == days_from(date(2021, 3, 20), date(2021, 4, 11))
    assert vendors.days(BTC) == [date(2021, 4, 11)]  # the scanner's own
    told = json.loads(flow.receipt.path.read_text())
    assert [each["step"] for each in told["refused"]] == [STEP]
    status = CliRunner().invoke(cli, ["status"])
    assert isinstance(status.exception, TvfeastError)
    assert "daily-bars coins" in f"{status.output}{status.exception}"
    vendors.answers["down"] = []
    assert vendors.flow(BTC, COIN, STOCK).error is None
    assert vendors.days(BTC) == days_from(FIRST, date(2021, 4, 11))


def test_a_flow_waits_for_a_host_that_it_has_not_reached_yet(
    vendors: Vendors, monkeypatch: pytest.MonkeyPatch
):
    waits: list[float] = []
    monkeypatch.setattr("ingestion.bars.fetching.time.sleep", waits.append)
    vendors.answers["away"] = ["coins"]
    with pytest.raises(NothingFetched):
        vendors.daily(BTC, ETH, XRP)
    assert [each[1] for each in vendors.asked()] == [
        each for each in (BTC, ETH, XRP) for _ in "1234"
    ]
    assert sum(waits) >= 3 * (1 + 2 + 4)


def test_each_source_leaves_receipts_of_its_own_which_other_commands_find(vendors: Vendors):
    vendors.assign('[daily]\nBINANCE = "coins"\nCOINBASE = "others"\n')
    flow = vendors.flow(BTC, COIN)
    assert flow.error is None
    lakehouse = vendors.project.lakehouse
    names = {path.name for path in flow.receipt.path.parent.iterdir()}
    assert {"daily_bars.coins.json", "daily_bars.others.json"} <= names
    assert {"import_bars.json", "import_bars.2.json"} <= names
    assert half_imports(lakehouse) == []
    for source, symbol in (("coins", BTC), ("others", COIN)):
        assert [set(each) for each in asked_so_far(lakehouse, source)] == [{symbol}]


def test_a_session_without_a_bar_is_asked_for_again_and_then_recorded_as_absent(
    vendors: Vendors, at: Callable[[datetime], None]
):
    hole, late = date(2021, 3, 12), date(2021, 3, 16)
    vendors.answers["lacks"] = {BTC: [str(hole)], ETH: [str(late)]}
    flow = vendors.flow(BTC, ETH)
    assert flow.error is None
    assert "2 sessions without a bar, to be asked for again" in flow_text(flow)
    vendors.asked()
    vendors.answers["lacks"].pop(ETH)  # the vendor has found it
    for number in (1, 2):
        at(MONDAY + timedelta(days=number))
        flow = vendors.flow(BTC, ETH)
        assert flow.error is None
        firsts = {symbol: first for _, symbol, first, _ in vendors.asked()}
        assert firsts[BTC] == str(hole)
        assert (firsts[ETH] == str(late)) == (number == 1)
    assert "1 sessions recorded as absent" in flow_text(flow)
    assert read_absent(vendors.project.lakehouse) == {(BTC, hole)}
    assert set(days_from(FIRST, date(2021, 4, 13))) - set(vendors.days(BTC)) == {hole}
    assert vendors.days(ETH) == days_from(FIRST, date(2021, 4, 13))
    at(MONDAY + timedelta(days=3))
    vendors.flow(BTC, ETH)
    assert vendors.asked()[0] == ["coins", BTC, "2021-04-07", "2021-04-15"]


def test_sessions_that_are_not_there_yet_are_asked_for_again_each_time_and_reported(
    vendors: Vendors,
):
    """Of one the last page is missing, one has no bar at all, and one has all of them."""
    vendors.answers |= {"lacks": {BTC: ["2021-04-10", "2021-04-11", "2021-04-12"]}}
    vendors.answers |= {"unknown": [ETH]}
    result = vendors.daily(BTC, ETH, XRP)
    assert result.refusal is not None
    assert "coverage 33.3% is below --min-coverage 0.95" in result.refusal
    assert f"no bar of the newest session of {BTC}, {ETH}" in result.refusal
    assert vendors.days(XRP) == days_from(FIRST, date(2021, 4, 11))
    assert json.loads(result.receipt.path.read_text())["outcome"] == "refused"
    vendors.asked()
    vendors.answers |= {"lacks": {}, "unknown": []}
    result = vendors.daily(BTC, ETH, XRP)
    assert result.refusal is None
    assert {symbol: first for _, symbol, first, _ in vendors.asked()} == {
        BTC: "2021-04-03",
        ETH: "1970-01-01",
    }
    assert vendors.days(BTC) == vendors.days(ETH) == days_from(FIRST, date(2021, 4, 11))


def test_a_flow_that_was_killed_while_it_stored_bars_is_completed_by_the_next_one(
    vendors: Vendors, monkeypatch: pytest.MonkeyPatch
):
    lakehouse = vendors.project.lakehouse
    assert vendors.daily(XRP).refusal is None
    append, calls = writing.append_parts, iter(range(99))

    def killed(*arguments: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return append(*arguments)

    monkeypatch.setattr(writing, "PARTS_AT_ONCE", 10)
    monkeypatch.setattr(writing, "append_parts", killed)
    with pytest.raises(KeyboardInterrupt):
        vendors.daily(BTC, XRP)
    monkeypatch.setattr(writing, "append_parts", append)
    assert vendors.days(BTC) == days_from(FIRST, FIRST + timedelta(days=19))
    (half,) = half_imports(lakehouse)
    assert "fetch-bars, run" in str(half)
    assert vendors.asked()[1:] == [["coins", BTC, "1970-01-01", "2021-04-12"]]  # XRP was not due
    assert vendors.daily(BTC, XRP).refusal is None
    assert vendors.asked() == [["coins", BTC, "1970-01-01", "2021-04-12"]]
    assert vendors.days(BTC) == vendors.days(XRP) == days_from(FIRST, date(2021, 4, 11))
    assert half_imports(lakehouse) == []
    # Nobody reads the receipts from before one that found all imports whole.
    (oldest, *_) = sorted(path.parent.name for path in lakehouse_files(vendors, "import_bars.json"))
    (vendors.project.lakehouse_at / "_runs" / oldest / "import_bars.json").write_text("{")
    damaged: list[InputError] = []
    assert half_imports(lakehouse, damaged.append) == damaged == []


def lakehouse_files(vendors: Vendors, name: str) -> list[Path]:
    return [*(vendors.project.lakehouse_at / "_runs").glob(f"*/{name}")]


def test_the_step_of_a_run_in_parts_is_done_once(
    vendors: Vendors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = "20210412T213000Z-000000abcd"
    monkeypatch.setenv("TVFEAST_SCANNER_URL", vendors.project.scanner_url)
    candidates = tmp_path / "c.json"
    candidates.write_text(json.dumps([BTC, STOCK]))
    (vendors.folder / "answers.json").write_text(json.dumps(vendors.answers))
    words = ["daily-bars", "--candidates", str(candidates), "--run-id", run]
    first = CliRunner().invoke(cli, words)
    assert first.exit_code == 0, first.exception
    assert "35 closed bars of coins written, 1 of 1 symbol due" in first.output
    assert len(vendors.asked()) == 1
    again = CliRunner().invoke(cli, words)
    assert f"run {run} has done daily-bars already" in str(again.exception)
    assert vendors.asked() == []
    flow = vendors.flow(BTC, STOCK, run_id=run)  # what is left of the run
    assert flow[STEP].status is Status.SKIPPED
    assert flow.error is None
    assert vendors.days(BTC) == days_from(FIRST, date(2021, 4, 11))


def test_the_catalog_lists_what_flows_fetch(vendors: Vendors):
    result = CliRunner().invoke(cli, ["catalog", "--json"])
    sources = {each["name"]: each["daily"] for each in json.loads(result.stdout)["sources"]}
    assert (sources["coins"], sources["others"]) == (["BINANCE"], [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[daily]\nBINANCE = "coin"', "line 2: there is no bar source 'coin'"),
        ('[daily]\nNYSE = "coins"', "line 2: coins has no bars of NYSE; it has those of BINANCE"),
        ('BINANCE = "coins"', "write [daily] and below it lines such as"),
        ('[daily]\nBINANCE = "coins"\n[from]\nothers = 2021-01-01', "line 4: no line of [daily]"),
        ('[daily]\nBINANCE = "coins"\n[from]\ncoins = "2021"', "line 4: '2021' is no date"),
        ("[daily", "cannot be read"),
    ],
)
def test_a_wrong_line_is_refused_with_its_place(vendors: Vendors, text: str, told: str):
    vendors.assign(text)
    with pytest.raises(CatalogError) as caught:
        _ = vendors.project.catalog
    assert told in str(caught.value)
    assert "sources.toml" in str(caught.value)
