from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion.base.errors import (
    ClockError,
    GateRefused,
    LakehouseLocked,
    NothingFetched,
    ScannerRefused,
    UnknownColumn,
)
from ingestion.base.progress import Progress, showing
from ingestion.cli.ingest import ingest_text
from ingestion.formulas import compute_local_features
from ingestion.jobs.ingest import feature_ingest as job
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.lakehouse import lakehouse_lock, list_parts, read_file
from ingestion.markets.candidates import Candidates, read_candidates
from ingestion.markets.hours import bar_close, bar_closes
from ingestion.markets.universe import Market
from ingestion.project import Project
from ingestion.quality.gate import check_at_door
from ingestion.replay import FaultPlan, ReplayScanner
from tests.conftest import MONDAY, QUICK, SAMPLE
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.terminal import Shown, on_a_terminal

ALL = read_candidates(SAMPLE / "portfolio_candidates.json")
TEN = ALL.symbols[:10]


def of(*symbols: str) -> Candidates:
    return Candidates("some.json", symbols, (), 0)


def request(*symbols: str, **changes) -> FeatureIngestRequest:
    scanner = replace(QUICK, batch_size=changes.pop("batch_size", 500))
    return FeatureIngestRequest(of(*(symbols or TEN)), scanner=scanner, **changes)


def rows(settings: Project) -> pa.Table:
    return pa.concat_tables([read_file(part) for part in list_parts(settings.lakehouse, GROUP)])


def keys(settings: Project) -> list[tuple[str, int]]:
    table = rows(settings)
    return list(zip(table["symbol"].to_pylist(), table["timestamp"].to_pylist(), strict=True))


def receipts(settings: Project) -> list[dict]:
    files = sorted((settings.lakehouse_at / "_runs").glob("*/feature_ingest.tv_technicals_1d.json"))
    return [json.loads(file.read_bytes()) for file in files]


def test_a_snapshot_becomes_one_part_of_todays_partition(settings: Project):
    result = feature_ingest(settings, FeatureIngestRequest(ALL))
    assert result.part.path == (
        settings.lakehouse_at / "features/tv_technicals_1d/date=2021-04-12/part-0.parquet"
    )
    table = read_file(result.part)
    assert table["symbol"].to_pylist() == sorted(ALL.symbols)
    assert set(table["timestamp"].to_pylist()) == {int(MONDAY.timestamp())}
    assert set(table["event_timestamp"].to_pylist()) == {MONDAY}


def test_a_row_is_created_after_the_checks_that_let_it_in(
    settings: Project, at, monkeypatch: pytest.MonkeyPatch
):
    """As recorded, it would be given to decisions of which it could not be seen."""
    later = MONDAY + timedelta(minutes=1)

    def slowly(*arguments, **options):
        report = check_at_door(*arguments, **options)
        at(later)
        return report

    monkeypatch.setattr(job, "check_at_door", slowly)
    table = read_file(feature_ingest(settings, FeatureIngestRequest(ALL)).part)
    assert set(table["event_timestamp"].to_pylist()) == {MONDAY}
    assert set(table["created_timestamp"].to_pylist()) == {later}


def test_rows_hold_what_the_formulas_give_for_the_last_closed_bar(settings: Project):
    """The oracle goes around scanner, HTTP and job: straight from the bars."""
    feature_ingest(settings, FeatureIngestRequest(ALL))
    bars = pq.read_table(SAMPLE / "bars.parquet")
    symbols = np.asarray(bars["symbol"].to_pylist())
    closes = np.zeros(len(symbols), dtype=np.int64)
    for symbol in ALL.symbols:
        own = symbols == symbol
        closes[own] = bar_closes(symbol, bars["timestamp"].to_numpy()[own])
    computed = compute_local_features(bars.append_column("close_timestamp", pa.array(closes)))
    expected = {
        row["symbol"]: row
        for row, close in zip(computed.to_pylist(), closes, strict=True)
        if close <= MONDAY.timestamp()
    }
    for row in rows(settings).to_pylist():
        oracle = expected[row["symbol"]]
        assert {c.name: row[c.name] for c in GROUP.features} == {
            c.name: oracle[c.name] for c in GROUP.features
        }
        opened = int(row["bar_timestamp"].timestamp())
        assert opened == oracle["timestamp"]
        assert row["bar_update_timestamp"].timestamp() == bar_close(row["symbol"], opened)


def test_the_stamp_is_taken_when_the_last_answer_has_come(sample_panel, settings, monkeypatch):
    """On the wall clock, with a slow scanner: a stamp from the start would be before the answer."""
    monkeypatch.delenv("TVFEAST_NOW")
    with ReplayScanner(sample_panel, now=lambda: MONDAY, latency=0.2) as slow:
        result = feature_ingest(
            replace(settings, scanner_url=slow.url), request(*TEN, batch_size=4)
        )
    assert len(slow.requests) == 3
    row = read_file(result.part).to_pylist()[0]
    zone = row["event_timestamp"].tzinfo
    written = datetime.fromtimestamp(result.part.path.stat().st_mtime, zone)
    written += timedelta(milliseconds=10)  # the clock of file systems goes by the kernel's ticks
    assert row["event_timestamp"] <= row["created_timestamp"] <= written
    newest_receipt = json.loads(result.receipt.path.read_bytes())
    took = sum(attempt["duration_s"] for attempt in newest_receipt["attempts"])
    started = datetime.strptime(newest_receipt["run_id"][:16] + "+0000", "%Y%m%dT%H%M%SZ%z")
    assert row["event_timestamp"] - started >= timedelta(seconds=took - 1)


class TestReceipt:
    def test_it_accounts_for_every_symbol(self, settings: Project, scanner: ReplayScanner):
        scanner.spoiled = {TEN[0]: "text-value"}
        asked = (*TEN, "NASDAQ:GONE")
        feature_ingest(settings, request(*asked, min_coverage=0.5, batch_size=6))
        (receipt,) = receipts(settings)
        assert receipt["profile"] == "some.json"
        assert receipt["asked"] == 11
        assert receipt["fetched"] == 9
        assert receipt["coverage"] == pytest.approx(9 / 11, abs=1e-6)
        assert receipt["absent"] == ["NASDAQ:GONE"]
        assert list(receipt["failed_symbols"]) == [TEN[0]]
        assert "Recommend.All" in receipt["failed_symbols"][TEN[0]]
        for attempt in receipt["attempts"]:
            assert attempt.keys() >= {"idx", "requested", "fetched", "failed", "duration_s"}
        assert [attempt["idx"] for attempt in receipt["attempts"]] == [0, 1, 2]
        assert [attempt["requested"] for attempt in receipt["attempts"]] == [11, 1, 1]
        # The bad row is usable in part, for other tables of the scan.
        assert [attempt["fetched"] for attempt in receipt["attempts"]] == [9, 1, 0]
        assert [attempt["failed"] for attempt in receipt["attempts"]] == [1, 0, 0]

    def test_it_is_written_before_the_data(self, settings: Project, monkeypatch):
        monkeypatch.setattr(
            "ingestion.jobs.ingest.feature_ingest.append_part",
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            feature_ingest(settings, request())
        assert len(receipts(settings)) == 1
        assert not list_parts(settings.lakehouse, GROUP)

    def test_it_names_the_universe(self, settings: Project):
        feature_ingest(settings, FeatureIngestRequest(Market("crypto"), scanner=QUICK))
        (receipt,) = receipts(settings)
        assert receipt["profile"] == "crypto"
        assert receipt["asked"] == receipt["fetched"] == 4
        assert receipt["shortfall"] == 0

    def test_it_does_not_hold_the_session_cookie(self, settings: Project):
        feature_ingest(replace(settings, session_id="s3cret"), request())
        for file in settings.lakehouse_at.rglob("*.*"):
            assert b"s3cret" not in file.read_bytes()


class TestGates:
    def test_below_the_least_coverage_nothing_is_published(self, settings: Project):
        with pytest.raises(GateRefused, match=r"coverage 83\.3%.*0\.95") as refused:
            feature_ingest(settings, request(*TEN, "X:GONE", "X:LOST"))
        assert refused.value.exit_code == 3
        assert not list_parts(settings.lakehouse, GROUP)
        assert receipts(settings)[0]["verdict"] == "refuse"

    def test_at_the_least_coverage_it_is_published(self, settings: Project):
        feature_ingest(settings, request(*TEN, "X:GONE", "X:LOST", min_coverage=10 / 12))
        assert rows(settings).num_rows == 10

    def test_no_rows_at_all_is_an_error_of_its_own(self, settings: Project):
        with pytest.raises(NothingFetched) as error:
            feature_ingest(settings, request("X:GONE", min_coverage=0))
        assert error.value.exit_code == 4
        assert not list_parts(settings.lakehouse, GROUP)
        assert receipts(settings)[0]["absent"] == ["X:GONE"]
        assert receipts(settings)[0]["verdict"] == "refuse"

    def test_a_scanner_that_is_down_publishes_nothing(self, settings: Project):
        with pytest.raises(NothingFetched):
            feature_ingest(replace(settings, scanner_url="http://127.0.0.1:9"), request())
        assert "connection" in receipts(settings)[0]["failed_symbols"][TEN[0]]

    def test_an_unknown_column_is_named(self, settings: Project, scanner: ReplayScanner):
        scanner.plan = FaultPlan(["error-in-200"])
        with pytest.raises(UnknownColumn, match="RSI") as error:
            feature_ingest(settings, request())
        assert error.value.exit_code == 2
        assert not list_parts(settings.lakehouse, GROUP)

    def test_an_unknown_market_is_refused(self, settings: Project):
        with pytest.raises(ScannerRefused, match="germay"):
            feature_ingest(settings, FeatureIngestRequest(Market("germay"), scanner=QUICK))

    def test_another_run_in_the_lakehouse_is_not_disturbed(self, settings: Project, scanner):
        with lakehouse_lock(settings.lakehouse, "other"), pytest.raises(LakehouseLocked):
            feature_ingest(settings, request())
        assert not scanner.requests


class TestResume:
    def test_a_second_run_inside_the_window_asks_for_nothing(self, settings, scanner, at):
        feature_ingest(settings, request())
        asked = len(scanner.requests)
        at(MONDAY + timedelta(hours=1, minutes=59))
        result = feature_ingest(settings, request())
        assert result.part is None
        assert result.report.resumed == 10
        assert result.report.coverage == 1
        assert len(scanner.requests) == asked
        assert rows(settings).num_rows == 10

    def test_it_fetches_only_what_is_missing(self, settings, scanner, at):
        feature_ingest(settings, request(*TEN[:7]))
        at(MONDAY + timedelta(minutes=30))
        feature_ingest(settings, request())
        assert scanner.requests[-1].body["symbols"]["tickers"] == list(TEN[7:])
        assert rows(settings).num_rows == 10

    def test_it_holds_across_midnight(self, settings, at):
        at(datetime.fromisoformat("2021-04-12T23:50Z"))
        feature_ingest(settings, request(*TEN[:7]))
        at(datetime.fromisoformat("2021-04-13T00:10Z"))
        result = feature_ingest(settings, request())
        assert result.report.resumed == 7
        assert result.part.path.parent.name == "date=2021-04-13"
        assert sorted(rows(settings)["symbol"].to_pylist()) == sorted(TEN)

    def test_the_evening_is_not_blocked_by_the_morning(self, settings, at):
        at(MONDAY - timedelta(hours=12))
        feature_ingest(settings, request())
        at(MONDAY)
        result = feature_ingest(settings, request())
        assert result.report.fetched == 10
        assert len(set(keys(settings))) == 20

    def test_exactly_at_the_windows_end_a_row_is_no_longer_young(self, settings, at):
        feature_ingest(settings, request())
        at(MONDAY + timedelta(hours=2))
        assert feature_ingest(settings, request()).report.fetched == 10

    def test_the_window_can_be_chosen(self, settings, at):
        feature_ingest(settings, request())
        at(MONDAY + timedelta(minutes=20))
        window = timedelta(minutes=10)
        assert feature_ingest(settings, request(resume_window=window)).report.fetched == 10

    def test_refresh_ignores_it(self, settings, at):
        feature_ingest(settings, request())
        at(MONDAY + timedelta(minutes=5))
        result = feature_ingest(settings, request(refresh=True))
        assert result.part.path.name == "part-1.parquet"
        assert len(set(keys(settings))) == 20

    def test_refresh_within_the_same_second_is_refused(self, settings):
        feature_ingest(settings, request())
        with pytest.raises(ClockError, match="already has 10"):
            feature_ingest(settings, request(refresh=True))
        assert len(keys(settings)) == 10
        # No receipt says that the second run's rows are published.
        assert sorted((each["outcome"], each.get("verdict")) for each in receipts(settings)) == [
            ("done", "publish"),
            ("failed", None),
        ]

    def test_a_clock_set_back_a_little_adds_nothing_twice(self, settings, at):
        feature_ingest(settings, request())
        at(MONDAY - timedelta(minutes=1))
        assert feature_ingest(settings, request()).part is None

    def test_a_day_replayed_after_a_later_one_is_fetched(self, settings, at):
        feature_ingest(settings, request())
        at(MONDAY - timedelta(days=3))
        assert feature_ingest(settings, request()).report.fetched == 10

    def test_a_symbol_that_stays_unknown_does_not_fail_the_retry(self, settings, at):
        asked = (*ALL.symbols, "X:GONE")
        feature_ingest(settings, request(*asked))
        at(MONDAY + timedelta(minutes=5))
        result = feature_ingest(settings, request(*asked))
        assert result.part is None
        assert result.report.absent == ("X:GONE",)

    def test_a_universe_resumes_too(self, settings, at):
        feature_ingest(settings, request("BINANCE:BTCUSDT"))
        at(MONDAY + timedelta(minutes=5))
        result = feature_ingest(settings, FeatureIngestRequest(Market("crypto"), scanner=QUICK))
        assert (result.report.fetched, result.report.resumed) == (3, 1)
        assert result.report.shortfall == 0
        assert result.report.coverage == 1
        assert len(keys(settings)) == 4

    def test_a_recent_symbol_of_a_universe_that_now_fails_is_covered(self, settings, scanner, at):
        feature_ingest(settings, request("BINANCE:BTCUSDT"))
        at(MONDAY + timedelta(minutes=5))
        scanner.spoiled = {"BINANCE:BTCUSDT": "text-value"}
        result = feature_ingest(settings, FeatureIngestRequest(Market("crypto"), scanner=QUICK))
        assert (result.report.fetched, result.report.resumed) == (3, 1)
        assert (result.report.failed_symbols, result.report.coverage) == ({}, 1)

    def test_recent_symbols_on_a_lost_page_are_covered(self, settings, scanner, at):
        america = FeatureIngestRequest(Market("america"), scanner=replace(QUICK, batch_size=28))
        feature_ingest(settings, america)
        at(MONDAY + timedelta(minutes=5))
        scanner.plan = FaultPlan([None], chances={"empty": 1.0})
        result = feature_ingest(settings, america)
        assert result.report.lost_pages
        assert (result.report.resumed, result.report.shortfall) == (56, 0)
        assert (result.report.coverage, result.part) == (1, None)

    def test_recent_symbols_of_other_exchanges_fill_no_lost_page(self, settings, scanner, at):
        feature_ingest(settings, FeatureIngestRequest(Market("crypto"), scanner=QUICK))
        at(MONDAY + timedelta(minutes=5))
        scanner.plan = FaultPlan([None], chances={"empty": 1.0})
        america = FeatureIngestRequest(Market("america"), scanner=replace(QUICK, batch_size=28))
        with pytest.raises(GateRefused, match=r"28 of 56 symbols, 28 on no page"):
            feature_ingest(settings, america)


class Recorded(Progress):
    """Progress that remembers."""

    def __init__(self) -> None:
        self.total = self.settled = self.closed = 0

    def start(self, total: int | None) -> None:
        self.total = total or 0

    def advance(self, number: int) -> None:
        assert self.total
        self.settled += number

    def close(self) -> None:
        self.closed += 1


class TestProgress:
    def test_it_counts_rows_failures_and_unknown_symbols(self, settings, scanner):
        scanner.spoiled = {TEN[0]: "text-value"}
        shown = Recorded()
        with showing(lambda *_: shown):
            feature_ingest(settings, request(*TEN, "X:GONE", min_coverage=0.5, batch_size=6))
        assert (shown.total, shown.settled, shown.closed) == (11, 11, 1)

    def test_it_counts_every_page_of_a_universe(self, settings):
        shown = Recorded()
        options = replace(QUICK, batch_size=20)
        with showing(lambda *_: shown):
            feature_ingest(settings, FeatureIngestRequest(Market("america"), scanner=options))
        assert (shown.total, shown.settled, shown.closed) == (56, 56, 1)

    def test_it_counts_what_is_given_up(self, settings, scanner):
        scanner.plan = FaultPlan(chances={"empty": 1.0})
        shown = Recorded()
        with showing(lambda *_: shown), pytest.raises(NothingFetched):
            feature_ingest(settings, request())
        assert (shown.settled, shown.closed) == (10, 1)

    @pytest.mark.parametrize("error", [UnknownColumn("RSI"), KeyboardInterrupt()])
    def test_it_is_closed_whatever_happens(self, settings, monkeypatch, error):
        def scan(*_: object) -> None:
            raise error

        monkeypatch.setattr("ingestion.scanner.transport.Transport.scan", scan)
        shown = Recorded()
        with showing(lambda *_: shown), pytest.raises(type(error)):
            feature_ingest(settings, request())
        assert shown.closed == 1


class TestBar:
    CANDIDATES = ("--candidates", str(SAMPLE / "portfolio_candidates.json"))

    def shown(self, settings: Project, *words: str, **options) -> Shown:
        environment = {
            "TVFEAST_PROJECT": str(settings.folder),
            "TVFEAST_SCANNER_URL": settings.scanner_url,
            "TVFEAST_NOW": MONDAY.isoformat(),
        }
        return on_a_terminal("feature-ingest", *words, environment=environment, **options)

    @pytest.mark.parametrize(
        "source", [("--universe", "america", "--batch-size", "20"), CANDIDATES]
    )
    def test_it_is_shown_at_once_and_goes_when_all_is_there(self, settings, source):
        shown = self.shown(settings, *source)
        assert re.search(r"scanner: +0%.* 0/\d\d \[", shown.text)
        assert "rows known at" in shown.lines[0]
        assert not any("scanner:" in line for line in shown.lines)

    def test_it_goes_when_the_scanner_refuses(self, settings, scanner):
        scanner.plan = FaultPlan([None, "redirect"])
        shown = self.shown(settings, *self.CANDIDATES, "--batch-size", "20")
        assert "scanner:" in shown.text
        assert shown.lines[0].startswith("tvfeast: ")

    def test_it_goes_on_ctrl_c(self, settings, scanner):
        scanner.plan = FaultPlan([None], chances={"stall": 1.0})
        options, sent = ("--batch-size", "20", "--in-flight", "1"), list[str]()

        def interrupt(process: subprocess.Popen[bytes], text: str) -> None:
            while "0/60" in text and len(scanner.requests) < 2 and process.poll() is None:
                time.sleep(0.02)
            if not sent and len(scanner.requests) == 2:  # it stalls
                process.send_signal(signal.SIGINT)
                sent.append(text)

        shown = self.shown(settings, *self.CANDIDATES, *options, meanwhile=interrupt)
        assert shown.code == 130
        assert "interrupted" in shown.lines
        assert not any("scanner:" in line for line in shown.lines)


class TestText:
    def test_nothing_fetched_says_why(self, settings, scanner):
        scanner.plan = FaultPlan(chances={"forbidden-html": 1.0})
        with pytest.raises(NothingFetched, match=r"mostly: status 403"):
            feature_ingest(settings, request())
        with pytest.raises(NothingFetched, match=r"mostly: rows 0 to 500: status 403"):
            feature_ingest(settings, FeatureIngestRequest(Market("america"), scanner=QUICK))

    def test_nothing_to_add_says_what_is_missing(self, settings, at):
        asked = (*ALL.symbols, "X:GONE")
        feature_ingest(settings, request(*asked))
        at(MONDAY + timedelta(minutes=5))
        assert ingest_text(feature_ingest(settings, request(*asked))) == (
            "nothing to add: 60 of 61 symbols had a row inside the resume window; "
            "1 unknown to the scanner"
        )
        assert ingest_text(feature_ingest(settings, request())) == (
            "nothing to add: 10 of 10 symbols had a row inside the resume window"
        )

    def test_coverage_is_never_more_than_whole(self, settings):
        report = feature_ingest(settings, request()).report
        assert replace(report, fetched=90, asked=20).coverage == 1


def test_what_a_killed_run_left_in_staging_is_removed(settings: Project):
    left = settings.lakehouse_at / "_tmp" / "dead" / "tv_technicals_1d.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"PAR1")
    feature_ingest(settings, request())
    assert not left.exists()


def test_paths_in_the_result_exist(settings: Project):
    result = feature_ingest(settings, request())
    assert result.part is not None
    assert result.part.path.is_file()
    assert result.receipt.path.is_file()
