"""The scanner's daily bars: which are written, which wait, and what the receipt says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scanned_rows import bar, instant, showing, unix

from ingestion.base.errors import GateRefused, LakehouseLocked, NothingFetched
from ingestion.base.plain import plain
from ingestion.catalog import HELD_BARS, OHLCV_1D
from ingestion.cli.daily import bars_text
from ingestion.jobs.ingest.data_ingest import DataIngestResult, data_ingest, refuse_unless_usable
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.ingest.scan import ScanRequest
from ingestion.lakehouse import lakehouse_lock, list_parts, read_current
from ingestion.markets.candidates import Candidates, read_candidates
from ingestion.project import Project
from ingestion.replay import FaultPlan, Panel, ReplayScanner
from tests.conftest import MONDAY, QUICK, SAMPLE

ALL = read_candidates(SAMPLE / "portfolio_candidates.json")
IBM = "NYSE:IBM"
WEDNESDAY = "2021-03-03T14:30"
"""An ordinary session of New York: closes at 21:00 UTC, final at 21:20 on a delayed feed."""


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def ingest(
    settings: Project, scanner: ReplayScanner, at: Callable[[datetime], None]
) -> Callable[..., DataIngestResult]:
    """Show rows at an instant, and ingest them."""

    def run(now: str, *rows: dict, **options) -> DataIngestResult:
        scanner.panel = showing(*rows)
        at(instant(now))
        symbols = options.pop("asked", tuple(row["symbol"] for row in rows))
        source = options.pop("source", Candidates("some.json", symbols, (), 0))
        return data_ingest(settings, ScanRequest(source, scanner=QUICK, **options))

    return run


def stored(settings: Project) -> list[dict]:
    rows: list[dict] = read_current(list_parts(settings.lakehouse, OHLCV_1D), OHLCV_1D).to_pylist()
    return rows


def files(settings: Project) -> int:
    return len(list_parts(settings.lakehouse, OHLCV_1D)) + len(
        list_parts(settings.lakehouse, HELD_BARS)
    )


def imported(settings: Project, tmp_path: Path, *lines: str) -> None:
    """Import bars of lines ``symbol,date,close``."""
    path = tmp_path / "vendor.csv"
    rows = (line.split(",") for line in lines)
    text = (
        f"{day},{symbol},{close},{float(close) * 1.01},{float(close) * 0.99},{close},1000\n"
        for symbol, day, close in rows
    )
    path.write_text("date,symbol,open,high,low,close,volume\n" + "".join(text))
    import_bars(settings, ImportRequest((path,)))


def recorded(settings: Project, tmp_path: Path, *lines: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_text("symbol,date,ratio\n" + "".join(f"{line}\n" for line in lines))
    import_bars(settings, ImportRequest(splits=path))


def sample(folder: Path, first: str, end: str) -> Path:
    """A file of the sample's bars that opened from one date to before another."""
    bars = pq.read_table(SAMPLE / "bars.parquet")
    opened = bars["timestamp"]
    inside = pc.and_(pc.greater_equal(opened, unix(first)), pc.less(opened, unix(end)))
    path = folder / "sample.parquet"
    pq.write_table(bars.filter(inside), path)
    return path


def from_file(settings: Project, folder: Path, first: str, end: str) -> pa.Table:
    """What another lakehouse holds after an import of those."""
    other = replace(settings, lakehouse=folder / "imported")
    import_bars(other, ImportRequest((sample(folder, first, end),)))
    return read_current(list_parts(other.lakehouse, OHLCV_1D), OHLCV_1D)


class TestClosedBars:
    def test_a_closed_bar_is_written_as_shown(self, ingest, settings):
        result = ingest(
            "2021-03-03T21:30",
            bar(IBM, WEDNESDAY, 12.5, open=12, high=13, low=11, volume=5_000_000),
        )
        (row,) = stored(settings)
        assert row == {
            "timestamp": unix(WEDNESDAY),
            "symbol": IBM,
            "open": 12.0,
            "high": 13.0,
            "low": 11.0,
            "close": 12.5,
            "volume": 5e6,
            "split_ratio": 1.0,
            "event_timestamp": instant("2021-03-03T21:00"),
            "created_timestamp": instant("2021-03-03T21:30"),
            "source": "scanner",
        }
        assert [part.parent.name for part in result.parts] == ["date=2021-03-03"]

    @pytest.mark.parametrize(
        ("symbol", "opened", "mode", "final"),
        [
            (IBM, WEDNESDAY, "delayed_streaming_900", "2021-03-03T21:20:00"),
            (IBM, WEDNESDAY, "streaming", "2021-03-03T21:05:00"),
            (IBM, WEDNESDAY, None, "2021-03-03T21:20:00"),
            (IBM, WEDNESDAY, "delayed_streaming_1200", "2021-03-03T21:25:00"),
            (IBM, WEDNESDAY, "endofday", "2021-03-03T21:20:00"),
            # A half day, and the first session of New York's daylight saving.
            ("NASDAQ:AAPL", "2020-11-27T14:30", "streaming", "2020-11-27T18:05:00"),
            (IBM, "2021-03-15T13:30", "delayed_streaming_900", "2021-03-15T20:20:00"),
            # Monday's currency bar opens on Sunday, and closes at 17:00 New York, in winter time
            # and on the day on which it ends.
            ("OANDA:EURUSD", "2021-03-07T22:00", "streaming", "2021-03-08T22:05:00"),
            ("OANDA:EURUSD", "2021-03-14T21:00", "streaming", "2021-03-15T21:05:00"),
            ("BINANCE:BTCUSDT", "2021-03-03T00:00", "streaming", "2021-03-04T00:05:00"),
            # Hours unknown: 24 hours after the open.
            ("KRAKENX:ABC", "2021-03-03T09:00", "streaming", "2021-03-04T09:05:00"),
        ],
    )
    def test_to_the_second(self, ingest, settings, symbol, opened, mode, final):
        row = bar(symbol, opened, update_mode=mode)
        before = (instant(final) - timedelta(seconds=1)).isoformat()
        assert ingest(before, row).bars.written == 0
        assert not stored(settings)
        assert ingest(final, row).bars.written == 1
        assert stored(settings)[0]["timestamp"] == unix(opened)

    def test_what_counts_is_the_instant_before_the_first_question(
        self, ingest, settings, scanner, monkeypatch
    ):
        """A bar that becomes final while the answers come may have been shown unfinished."""
        early, late = instant("2021-03-03T21:19:59.9"), instant("2021-03-03T21:21")
        monkeypatch.setattr(
            "ingestion.jobs.ingest.data_ingest.clock.now",
            lambda: late if scanner.requests else early,
        )
        assert ingest("2021-03-03T21:21", bar(IBM, WEDNESDAY)).bars.open == 1
        assert not stored(settings)

    def test_an_illiquid_symbols_last_tick_may_be_long_before_the_close(self, ingest, settings):
        row = bar(IBM, WEDNESDAY, last_bar_update_time=unix("2021-03-03T14:31"))
        assert ingest("2021-03-03T22:00", row).bars.written == 1

    def test_a_halted_symbols_last_bar_is_written_once(self, ingest, settings):
        assert ingest("2021-03-03T22:00", bar(IBM, WEDNESDAY)).bars.written == 1
        later = ingest("2021-03-12T22:00", bar(IBM, WEDNESDAY)).bars
        assert (later.written, later.unchanged, later.closed) == (0, 1, 1)
        assert files(settings) == 1


class TestOpenBars:
    def test_they_are_counted_by_kind_and_are_no_error(self, ingest, settings):
        result = ingest(
            "2021-03-03T20:00",
            bar(IBM, WEDNESDAY),
            bar("OANDA:EURUSD", "2021-03-02T22:00"),
            bar("BINANCE:BTCUSDT", "2021-03-03T00:00", update_mode="streaming"),
            bar("INDEX:BTCUSD", "2021-03-03T00:00"),
            bar("KRAKENX:ABC", "2021-03-03T09:00"),
        )
        counts = result.bars
        assert (counts.open, counts.never_closing, counts.unknown_hours) == (3, 2, 1)
        assert (counts.closed, counts.written, result.parts) == (0, 0, ())
        assert "2 of markets that never close" in bars_text(result)
        assert "import-bars" in bars_text(result)
        assert not stored(settings)

    def test_a_market_that_never_closes_never_yields_a_bar(self, ingest, settings):
        """Every evening the row is of the day that is still running."""
        for day in range(1, 8):
            opened = f"2021-03-0{day}T00:00"
            result = ingest(f"2021-03-0{day}T23:59:59", bar("BINANCE:BTCUSDT", opened))
            assert result.bars.never_closing == 1
        assert not stored(settings)


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
        (refused,) = result.bars.refused
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
        assert (counts.open, counts.refused) == (1, ())


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
        with pytest.raises(GateRefused, match="1 unknown to the scanner"):
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
        result = data_ingest(settings, ScanRequest("america", scanner=QUICK))
        assert result.report.profile == "america"
        assert result.bars.written == 56


def receipts(settings: Project) -> list[dict]:
    found = sorted((settings.lakehouse / "_runs").glob("*/data_ingest.json"))
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

    def test_it_bears_the_run_id_that_was_given(self, settings):
        result = data_ingest(settings, ScanRequest(ALL), run_id="flow-1")
        assert result.receipt == settings.lakehouse / "_runs" / "flow-1" / "data_ingest.json"
        assert plain(result)["report"]["run_id"] == "flow-1"


class TestSplits:
    """AAPL's split of four for one and TSLA's of five, on 2020-08-31, are in the sample."""

    EVENINGS = tuple(datetime.fromisoformat(f"2020-{day}T21:30Z") for day in ("08-28", "08-31"))

    def evening(self, settings: Project, at, when: datetime) -> DataIngestResult:
        at(when)
        return data_ingest(settings, ScanRequest(ALL))

    def test_it_is_held_back_until_it_is_recorded(self, settings, at, tmp_path):
        friday, monday = self.EVENINGS
        self.evening(settings, at, friday)
        result = self.evening(settings, at, monday)
        assert [(s.symbol, str(s.ratio)) for s in result.bars.held_back] == [
            ("NASDAQ:AAPL", "4"),
            ("NASDAQ:TSLA", "5"),
        ]
        assert (result.bars.written, result.bars.waiting) == (58, 2)
        assert "split suspected: NASDAQ:AAPL, 4:1" in bars_text(result)
        receipt = json.loads(result.receipt.read_bytes())
        told = [suspect["record"] for suspect in receipt["bars"]["held_back"]]
        assert told[0] == "NASDAQ:AAPL,2020-08-31T13:30:00Z,4:1"
        recorded(settings, tmp_path, told[0])
        again = self.evening(settings, at, monday)
        assert (again.bars.written, again.bars.released, again.bars.waiting) == (1, 1, 1)
        ratios = {(row["symbol"], row["event_timestamp"].date()): row for row in stored(settings)}
        assert ratios["NASDAQ:AAPL", monday.date()]["split_ratio"] == 4.0
        assert ("NASDAQ:TSLA", monday.date()) not in ratios
        assert self.evening(settings, at, monday).bars.written == 0

    def test_the_days_after_wait_too_and_nothing_is_lost(self, settings, at, tmp_path):
        """The scanner shows a bar for a day; a week later all of them are there in order."""
        for day in (*self.EVENINGS, *(self.EVENINGS[1] + timedelta(days=n) for n in range(1, 5))):
            result = self.evening(settings, at, day)
        assert result.bars.waiting == 2 * 5
        recorded(settings, tmp_path, "NASDAQ:AAPL,2020-08-31,4", "NASDAQ:TSLA,2020-08-31,5")
        last = self.evening(settings, at, day)
        assert (last.bars.released, last.bars.waiting, last.bars.held_back) == (10, 0, ())
        ours = read_current(list_parts(settings.lakehouse, OHLCV_1D), OHLCV_1D)
        theirs = from_file(settings, tmp_path, "2020-08-28", "2020-09-05")
        for symbol in ("NASDAQ:AAPL", "NASDAQ:TSLA"):
            assert values(ours, symbol) == values(theirs, symbol)[-len(values(ours, symbol)) :]
            assert len(values(ours, symbol)) == 6

    def test_no_repeated_run_holds_a_bar_twice(self, settings, at):
        for when in (*self.EVENINGS, self.EVENINGS[1], self.EVENINGS[1]):
            self.evening(settings, at, when)
        assert len(list_parts(settings.lakehouse, HELD_BARS)) == 1

    def test_an_import_of_the_bar_ends_the_waiting(self, settings, at, tmp_path):
        for when in self.EVENINGS:
            self.evening(settings, at, when)
        import_bars(settings, ImportRequest((sample(tmp_path, "2020-08-28", "2020-09-01"),)))
        result = self.evening(settings, at, self.EVENINGS[1])
        assert (result.bars.waiting, result.bars.held_back) == (0, ())

    def test_a_split_recorded_before_its_day_is_taken_up(self, settings, at, tmp_path):
        at(self.EVENINGS[0])
        recorded(settings, tmp_path, "NASDAQ:AAPL,2020-08-31,4", "NASDAQ:TSLA,2020-08-31,5")
        for when in self.EVENINGS:
            result = self.evening(settings, at, when)
        assert (result.bars.written, result.bars.held_back) == (60, ())
        splits = {r["symbol"]: r["split_ratio"] for r in stored(settings) if r["split_ratio"] != 1}
        assert splits == {"NASDAQ:AAPL": 4.0, "NASDAQ:TSLA": 5.0}

    def test_a_ratio_of_one_says_that_there_was_none(self, settings, at, tmp_path):
        for when in self.EVENINGS:
            self.evening(settings, at, when)
        recorded(settings, tmp_path, "NASDAQ:AAPL,2020-08-31,1")
        result = self.evening(settings, at, self.EVENINGS[1])
        assert [suspect.symbol for suspect in result.bars.held_back] == ["NASDAQ:TSLA"]

    @pytest.mark.parametrize(
        ("stored_close", "now", "verdict"),
        [
            (20.0, 10.0, "2:1"),
            (15.0, 10.0, "3:2"),
            (1.0, 10.0, "1:10"),
            (7.5, 10.0, "3:4"),
            (12.0, 10.0, "6:5"),
            (250.0, 10.0, "25:1"),
            (20.08, 10.0, "2:1"),
            (20.2, 10.0, None),
            # A dividend of 2 %, two vendors' closing auctions, a rounded change, a crash.
            (10.2, 10.0, None),
            (10.03, 10.0, None),
            (10.0000001, 10.0, None),
            (11.0, 10.0, None),
            (16.2, 10.0, None),
        ],
    )
    def test_what_looks_like_a_split(self, ingest, settings, tmp_path, stored_close, now, verdict):
        imported(settings, tmp_path, f"{IBM},2021-03-02,{stored_close}")
        result = ingest("2021-03-03T22:00", bar(IBM, WEDNESDAY, now))
        told = [f"{s.ratio.numerator}:{s.ratio.denominator}" for s in result.bars.held_back]
        assert told == ([verdict] if verdict else [])
        differs = verdict is None and abs(stored_close / now - 1) > 0.01
        assert [each.symbol for each in result.bars.unsettled] == ([IBM] if differs else [])

    @pytest.mark.parametrize("change", [-50.0, 100.0, -90.0])
    def test_a_days_move_is_none(self, ingest, settings, tmp_path, change):
        imported(settings, tmp_path, f"{IBM},2021-03-02,20.0")
        close = 20.0 * (1 + change / 100)
        result = ingest("2021-03-03T22:00", bar(IBM, WEDNESDAY, close, change=change))
        assert (result.bars.written, result.bars.held_back) == (1, ())

    @pytest.mark.parametrize(
        ("before", "told"),
        [
            ("20.0", "2:1"),
            ("15.0", "3:2"),
            ("15.01", None),
            ("17.9", None),
            ("18.3", "about 1.83:1"),
            ("1.02", "about 0.102:1"),
        ],
    )
    def test_across_a_gap_an_exact_ratio_tells_or_a_large_one(
        self, ingest, settings, tmp_path, before, told
    ):
        """Of Tuesday nothing is stored: the bar before may have closed elsewhere."""
        imported(settings, tmp_path, f"{IBM},2021-03-01,{before}")
        result = ingest("2021-03-03T22:00", bar(IBM, WEDNESDAY, 10.0))
        assert [suspect.ratio_text for suspect in result.bars.held_back] == ([told] if told else [])
        if told is None:
            (unsettled,) = result.bars.unsettled
            assert unsettled.why == "the bar before is not stored"

    def test_an_evening_missed_on_the_ex_date_does_not_hide_the_split(self, settings, at, tmp_path):
        friday, monday = self.EVENINGS
        self.evening(settings, at, friday)
        result = self.evening(settings, at, monday + timedelta(days=1))
        assert [(suspect.symbol, suspect.ratio_text) for suspect in result.bars.held_back] == [
            ("NASDAQ:AAPL", "about 3.87:1"),
            ("NASDAQ:TSLA", "about 4.44:1"),
        ]
        assert result.bars.held_back[0].record == "NASDAQ:AAPL,2020-09-01T13:30:00Z,?"
        import_bars(settings, ImportRequest((sample(tmp_path, "2020-08-31", "2020-09-01"),)))
        again = self.evening(settings, at, monday + timedelta(days=1))
        assert (again.bars.released, again.bars.waiting, again.bars.held_back) == (2, 0, ())

    def test_without_anything_to_compare_the_bar_is_written_and_counted(
        self, ingest, settings, tmp_path
    ):
        imported(settings, tmp_path, f"{IBM},2021-02-01,20.0", "NASDAQ:AAPL,2021-03-02,20.0")
        result = ingest(
            "2021-03-03T22:00",
            bar(IBM, WEDNESDAY, 10.0),
            bar("NASDAQ:AAPL", WEDNESDAY, 10.0, change=None),
        )
        assert (result.bars.written, result.bars.first, result.bars.held_back) == (2, 1, ())

    def test_a_stored_bar_without_its_split_is_told(self, ingest, settings, tmp_path):
        """The market hid it from the import: 4 % lower at the open, it is like none."""
        imported(settings, tmp_path, f"{IBM},2021-03-02,20.0", f"{IBM},2021-03-03,9.6")
        shown = bar(IBM, WEDNESDAY, 9.6, change=-4.0)
        result = ingest("2021-03-03T22:00", shown)
        assert [suspect.symbol for suspect in result.bars.suspected_in_store] == [IBM]
        assert "stored without it" in bars_text(result)
        recorded(settings, tmp_path, f"{IBM},2021-03-03,2")
        result = ingest("2021-03-03T22:00", shown)
        assert result.bars.suspected_in_store == ()
        assert [row["split_ratio"] for row in stored(settings)] == [1.0, 2.0]


def values(table: pa.Table, symbol: str) -> list[dict]:
    own = table.filter(pc.equal(table["symbol"], symbol))
    rows: list[dict] = own.drop_columns(["created_timestamp", "source"]).to_pylist()
    return rows


def test_the_sample_shows_closed_bars_alone(sample_panel: Panel, settings: Project):
    result = data_ingest(settings, ScanRequest(ALL))
    assert (result.bars.closed, result.bars.open, result.bars.refused) == (60, 0, ())


class TestSessionsAndHours:
    def test_a_bar_that_is_refused_counts_as_missing_and_the_good_ones_are_written(
        self, ingest, settings
    ):
        rows = (bar(IBM, WEDNESDAY), bar("NASDAQ:AAPL", "2021-03-06T14:30"))
        result = ingest("2021-03-07T22:00", *rows, min_coverage=0.9)
        assert [row["symbol"] for row in stored(settings)] == [IBM]
        assert (result.report.coverage, result.report.refused) == (0.5, 1)
        receipt = json.loads(result.receipt.read_text())
        assert (receipt["coverage"], receipt["verdict"]) == (0.5, "refuse")
        assert receipt["outcome"] == "refused"
        with pytest.raises(GateRefused, match=r"50\.0% .*1 good bars were written.*no session"):
            refuse_unless_usable(result)

    def test_a_day_on_which_symbols_trade_and_the_calendar_says_closed_is_told(self, ingest):
        rows = [bar(f"NSE:S{n}", "2021-03-06T03:45") for n in range(3)]
        result = ingest("2021-03-06T12:00", *rows, bar(IBM, WEDNESDAY))
        told = "NSE Sat 2021-03-06 (3 symbols)"
        assert plain(result)["bars"]["traded_on_closed_days"] == [told]
        assert json.loads(result.receipt.read_text())["bars"]["traded_on_closed_days"] == [told]
        assert f"write them to feature_repo/sessions.csv: {told}" in bars_text(result)

    def test_few_refused_bars_are_no_reason_to_refuse(self, ingest):
        rows = [bar(f"NYSE:S{n}", WEDNESDAY) for n in range(99)]
        result = ingest("2021-03-07T22:00", *rows, bar(IBM, "2021-03-06T14:30"))
        refuse_unless_usable(result)
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
