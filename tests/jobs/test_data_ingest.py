"""The scanner's daily bars: which are refused, what is written, and what the receipt says."""

from __future__ import annotations

import json
from datetime import timedelta

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from ingested import files, from_file, imported, stored
from scanned_rows import bar, instant, unix

from ingestion.base.errors import GateRefused, LakehouseLocked, NothingFetched, demand_all
from ingestion.base.plain import plain
from ingestion.catalog import OHLCV_1D
from ingestion.cli.ingest import bars_text
from ingestion.jobs.ingest.data_ingest import data_ingest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.ingest.scan import ScanRequest
from ingestion.lakehouse import lakehouse_lock, list_parts, read_current
from ingestion.markets.candidates import read_candidates
from ingestion.markets.universe import Market
from ingestion.project import Project
from ingestion.replay import FaultPlan, Panel
from ingestion.runs.run import Run
from tests.conftest import MONDAY, QUICK, SAMPLE

pytestmark = pytest.mark.usefixtures("no_power_cuts")

ALL = read_candidates(SAMPLE / "portfolio_candidates.json")
IBM = "NYSE:IBM"
WEDNESDAY = "2021-03-03T14:30"
"""An ordinary session of New York: closes at 21:00 UTC, final at 21:20 on a delayed feed."""


class TestRefused:
    @pytest.mark.parametrize(
        ("cells", "reason"),
        [
            ({"close": None}, "not a number"),
            ({"open": None}, "not a number"),
            ({"low": 0}, "price not positive and finite"),
            ({"open": -1}, "price not positive and finite"),
            ({"volume": -1}, "volume missing, negative or not finite"),
            ({"volume": None}, "volume missing, negative or not finite"),
            ({"high": 9}, "open or close outside low and high"),
            ({"time": None}, "unreadable time"),
            ({"time": unix("2021-03-06T14:30")}, "no session on that date"),
            ({"time": unix("2021-03-03T22:00")}, "no session on that date"),
            ({"last_bar_update_time": unix("2021-03-04T14:30:01")}, "last tick is of a later"),
        ],
    )
    def test_a_row_that_is_no_bar_never_loses_the_others(self, ingest, settings, cells, reason):
        good = bar("NASDAQ:AAPL", "2021-03-08T14:30")
        result = ingest("2021-03-08T22:00", bar(IBM, WEDNESDAY, **cells), good)
        (refused,) = result.bars.refused_rows
        assert refused.symbol == IBM
        assert refused.reason.startswith(reason)
        assert [row["symbol"] for row in stored(settings)] == ["NASDAQ:AAPL"]
        assert reason in bars_text(result)

    def test_dealers_have_no_volume(self, ingest, settings):
        ingest("2021-03-06T12:00", bar("OANDA:EURUSD", "2021-03-04T22:00", volume=None))
        assert [row["volume"] for row in stored(settings)] == [0.0]

    def test_a_text_in_place_of_a_number_costs_its_row(self, ingest, settings):
        result = ingest(
            "2021-03-03T22:00",
            bar(IBM, WEDNESDAY) | {"close": "12"},
            bar("NASDAQ:AAPL", WEDNESDAY),
            min_coverage=0.5,
        )
        assert "close" in result.report.failed_symbols[IBM]
        assert [row["symbol"] for row in stored(settings)] == ["NASDAQ:AAPL"]

    def test_an_unfinished_bar_is_not_judged(self, ingest):
        row = bar(IBM, WEDNESDAY, volume=None, high=None)
        counts = ingest("2021-03-03T14:31", row).bars
        assert (counts.open, counts.refused) == (1, 0)


class TestStore:
    def test_a_repeated_run_writes_nothing(self, ingest, settings):
        for _ in range(3):
            result = ingest("2021-03-03T22:00", bar(IBM, WEDNESDAY))
        assert (result.bars.written, result.bars.unchanged, result.parts) == (0, 1, ())
        assert files(settings) == 1

    def test_a_corrected_bar_is_a_new_row_created_later(self, ingest, settings):
        ingest("2021-03-03T22:00", bar(IBM, WEDNESDAY, volume=1_000))
        result = ingest("2021-03-03T22:00", bar(IBM, WEDNESDAY, volume=1_001))
        assert (result.bars.written, result.bars.restated) == (1, 1)
        (row,) = stored(settings)
        assert row["volume"] == 1_001
        assert row["created_timestamp"] == instant("2021-03-03T22:00:00.000001")
        assert files(settings) == 2

    def test_what_differs_by_a_rounding_error_is_unchanged(self, ingest, settings):
        ingest("2021-03-03T22:00", bar(IBM, WEDNESDAY, 10.0))
        assert ingest("2021-03-03T23:00", bar(IBM, WEDNESDAY, 10.0 * (1 + 1e-10))).bars.written == 0
        assert ingest("2021-03-03T23:00", bar(IBM, WEDNESDAY, 10.0 * (1 + 1e-8))).bars.written == 1

    def test_an_imported_bar_stays_and_the_difference_is_told(self, ingest, settings, tmp_path, at):
        at(instant("2021-03-03T21:30"))
        imported(settings, tmp_path, f"{IBM},2021-03-03,10.0")
        result = ingest("2021-03-03T22:00", bar(IBM, WEDNESDAY, 10.01))
        assert (result.bars.written, result.bars.overruled) == (0, (IBM,))
        assert stored(settings)[0]["source"] == "import:vendor.csv"
        assert "unlike the imported" in bars_text(result)

    def test_an_import_restates_the_scanners_bar_once(self, ingest, settings, tmp_path):
        ingest("2021-03-03T22:00", bar(IBM, WEDNESDAY, 10.01))
        for _ in range(2):
            imported(settings, tmp_path, f"{IBM},2021-03-03,10.0")
            ingest("2021-03-03T22:30", bar(IBM, WEDNESDAY, 10.01))
        assert files(settings) == 2
        assert stored(settings)[0]["close"] == 10.0

    def test_a_vendors_open_stays_where_the_scanner_has_another(self, ingest, settings, tmp_path):
        ingest("2021-03-03T22:00", bar(IBM, "2021-03-03T14:00"))
        ingest("2021-03-03T22:00", bar(IBM, WEDNESDAY))
        assert [row["timestamp"] for row in stored(settings)] == [unix("2021-03-03T14:00")]

    def test_eight_evenings_equal_the_imported_bars(self, settings, at, tmp_path):
        for day in range(8):
            at(MONDAY + timedelta(days=day))
            data_ingest(settings, ScanRequest(ALL))
        ours = read_current(list_parts(settings.lakehouse, OHLCV_1D), OHLCV_1D)
        theirs = from_file(settings, tmp_path, "2021-04-11", "2021-04-21")
        since = pc.min(ours["event_timestamp"])
        until = pc.max(ours["event_timestamp"])
        closed = theirs["event_timestamp"]
        theirs = theirs.filter(
            pc.and_(pc.greater_equal(closed, since), pc.less_equal(closed, until))
        )
        apart = ["created_timestamp", "source"]
        assert ours.num_rows == 56 * 6 + 4 * 8
        assert ours.drop_columns(apart).equals(theirs.drop_columns(apart))


class TestGates:
    def test_coverage_is_of_answers_and_not_of_closed_bars(self, ingest):
        assert ingest("2021-03-03T15:00", bar(IBM, WEDNESDAY), min_coverage=1).bars.closed == 0

    def test_below_the_least_coverage_nothing_is_published(self, ingest, settings):
        with pytest.raises(GateRefused, match="the scanner does not know X:GONE; "):
            ingest("2021-03-03T22:00", bar(IBM, WEDNESDAY), asked=(IBM, "X:GONE"))
        assert not stored(settings)
        (receipt,) = receipts(settings)
        assert receipt["absent"] == ["X:GONE"]
        assert receipt["verdict"] == "refuse"

    def test_no_rows_at_all_is_an_error_of_its_own(self, ingest, settings, scanner):
        scanner.plan = FaultPlan(chances={"empty": 1.0})
        with pytest.raises(NothingFetched):
            ingest("2021-03-03T22:00", bar(IBM, WEDNESDAY), min_coverage=0)
        assert receipts(settings)[0]["verdict"] == "refuse"

    def test_another_run_in_the_lakehouse_is_not_disturbed(self, ingest, settings, scanner):
        with lakehouse_lock(settings.lakehouse, "other"), pytest.raises(LakehouseLocked):
            ingest("2021-03-03T22:00", bar(IBM, WEDNESDAY))
        assert not scanner.requests

    def test_a_universe_has_bars_too(self, settings, at):
        result = data_ingest(settings, ScanRequest(Market("america"), scanner=QUICK))
        assert result.report.profile == "america"
        assert result.bars.written == 56


def receipts(settings: Project) -> list[dict]:
    found = sorted((settings.lakehouse_at / "_runs").glob("*/data_ingest.json"))
    return [json.loads(file.read_bytes()) for file in found]


class TestReceipt:
    def test_it_accounts_for_every_row(self, ingest, settings):
        ingest(
            "2021-03-03T22:00",
            bar(IBM, WEDNESDAY),
            bar("NASDAQ:AAPL", WEDNESDAY, high=1),
            bar("BINANCE:BTCUSDT", "2021-03-03T00:00"),
        )
        (receipt,) = receipts(settings)
        bars = receipt["bars"]
        assert receipt["fetched"] == 3
        assert (bars["closed"], bars["written"], bars["never_closing"], bars["refused"]) == (
            *(1, 1, 1),
            1,
        )
        assert bars["refused_by_reason"] == {"open or close outside low and high": 1}
        assert bars["refusals"][0]["symbol"] == "NASDAQ:AAPL"
        assert "high 1" in bars["refusals"][0]["detail"]
        assert pq.read_table(bars["refused_file"])["symbol"].to_pylist() == ["NASDAQ:AAPL"]

    @pytest.mark.parametrize("dies_in", ["hold_back", "append_new"])
    def test_a_run_that_dies_is_simply_run_again(
        self, ingest, settings, tmp_path, monkeypatch, dies_in
    ):
        """The receipt is there first; then what is held back, then the bars."""
        imported(settings, tmp_path, f"{IBM},2021-03-02,40.0")
        rows = (bar(IBM, WEDNESDAY, 10.0), bar("NASDAQ:AAPL", WEDNESDAY))
        whole = files(settings) + 2
        with monkeypatch.context() as patched:
            patched.setattr(
                f"ingestion.jobs.ingest.data_ingest.{dies_in}",
                lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
            )
            with pytest.raises(KeyboardInterrupt):
                ingest("2021-03-03T22:00", *rows)
        assert len(receipts(settings)) == 1
        assert files(settings) == whole - (2 if dies_in == "hold_back" else 1)
        result = ingest("2021-03-03T22:00", *rows)
        assert (result.bars.written, result.bars.waiting) == (1, 1)
        assert files(settings) == whole

    def test_a_step_has_the_run_id_of_its_flow(self, settings):
        with Run.open(settings, "flow-data", file="flow_data.json") as flow:
            result = data_ingest(settings, ScanRequest(ALL), run=flow)
        assert result.receipt.path == settings.lakehouse_at / "_runs" / flow.id / "data_ingest.json"
        assert plain(result)["report"]["run_id"] == flow.id


def test_the_sample_shows_closed_bars_alone(sample_panel: Panel, settings: Project):
    result = data_ingest(settings, ScanRequest(ALL))
    assert (result.bars.closed, result.bars.open, result.bars.refused) == (60, 0, 0)


class TestSessionsAndHours:
    def test_a_bar_that_is_refused_counts_as_missing_and_the_good_ones_are_written(
        self, ingest, settings
    ):
        rows = (bar(IBM, WEDNESDAY), bar("NASDAQ:AAPL", "2021-03-06T14:30"))
        result = ingest("2021-03-07T22:00", *rows, min_coverage=0.9)
        assert [row["symbol"] for row in stored(settings)] == [IBM]
        assert (result.report.coverage, result.report.refused) == (0.5, 1)
        receipt = json.loads(result.receipt.path.read_text())
        assert (receipt["coverage"], receipt["verdict"]) == (0.5, "refuse")
        assert receipt["outcome"] == "refused"
        with pytest.raises(GateRefused, match=r"50\.0% .*1 good bar was written.*no session"):
            demand_all(result)

    def test_a_day_on_which_symbols_trade_and_the_calendar_says_closed_is_told(self, ingest):
        rows = [bar(f"NSE:S{n}", "2021-03-06T03:45") for n in range(3)]
        result = ingest("2021-03-06T12:00", *rows, bar(IBM, WEDNESDAY))
        told = "NSE Sat 2021-03-06 (3 symbols)"
        assert plain(result)["bars"]["traded_on_closed_days"] == [told]
        assert json.loads(result.receipt.path.read_text())["bars"]["traded_on_closed_days"] == [
            told
        ]
        assert f"write them to feature_repo/sessions.csv: {told}" in bars_text(result)

    def test_few_refused_bars_are_no_reason_to_refuse(self, ingest):
        rows = [bar(f"NYSE:S{n}", WEDNESDAY) for n in range(99)]
        result = ingest("2021-03-07T22:00", *rows, bar(IBM, "2021-03-06T14:30"))
        demand_all(result)
        assert result.report.coverage == 0.99

    def test_beyond_a_calendars_end_a_bar_is_written_with_its_usual_hours_and_marked(
        self, ingest, settings
    ):
        rows = (bar("SSE:600519", "2027-01-05T01:30"), bar("NSE:TCS", "2027-01-05T03:45"))
        result = ingest("2027-01-05T21:00", *rows, bar(IBM, "2027-01-05T14:30"))
        assert {
            row["symbol"]: (row["event_timestamp"], row["source"]) for row in stored(settings)
        } == {
            "SSE:600519": (instant("2027-01-05T07:00"), "scanner;assumed_hours"),
            "NSE:TCS": (instant("2027-01-05T10:00"), "scanner;assumed_hours"),
        }
        assert result.bars.assumed_hours == {"NSE": 1, "SSE": 1}
        assert result.report.coverage == 1
        assert "NSE 1, SSE 1: update exchange_calendars" in bars_text(result)
        again = ingest("2027-01-05T21:10", *rows)
        assert (again.bars.written, again.bars.unchanged) == (0, 2)

    def test_a_dealers_bar_of_a_session_that_was_imported_cut_otherwise_gives_way(
        self, ingest, settings, tmp_path
    ):
        path = tmp_path / "utc.csv"
        path.write_text(
            "date,symbol,open,high,low,close\n2021-03-03T00:00:00Z,FX_IDC:EURUSD,1.2,1.3,1.1,1.2\n"
        )
        import_bars(settings, ImportRequest((path,)))
        result = ingest("2021-03-04T12:00", bar("FX_IDC:EURUSD", "2021-03-02T22:00", 1.21))
        assert len(stored(settings)) == 1
        assert result.bars.overruled == ("FX_IDC:EURUSD",)

    def test_what_is_written_was_created_when_it_was_written(self, ingest, settings, monkeypatch):
        """The receipt comes first; a clock that goes on meanwhile shows in the rows."""
        from ingestion.jobs.ingest import data_ingest as job

        ingest("2021-03-03T21:30", bar(IBM, WEDNESDAY, 12.5))
        append = job.append_new

        def later(*arguments):
            monkeypatch.setenv("TVFEAST_NOW", "2021-03-03T22:00:30+00:00")
            return append(*arguments)

        monkeypatch.setattr(job, "append_new", later)
        ingest("2021-03-03T22:00", bar(IBM, WEDNESDAY, 12.75))
        (row,) = stored(settings)
        assert (row["close"], row["created_timestamp"]) == (12.75, instant("2021-03-03T22:00:30"))
