"""Splits that nobody has recorded: the scanner's bars wait until somebody says what they are."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from ingested import from_file, imported, recorded, sample, stored
from scanned_rows import bar

from ingestion.catalog import HELD_BARS, OHLCV_1D
from ingestion.cli.ingest import bars_text
from ingestion.jobs.ingest.data_ingest import DataIngestResult, data_ingest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.ingest.scan import ScanRequest
from ingestion.lakehouse import list_parts, read_current
from ingestion.markets.candidates import read_candidates
from ingestion.project import Project
from tests.conftest import SAMPLE

pytestmark = pytest.mark.usefixtures("no_power_cuts")

ALL = read_candidates(SAMPLE / "portfolio_candidates.json")
IBM = "NYSE:IBM"
WEDNESDAY = "2021-03-03T14:30"
"""An ordinary session of New York: closes at 21:00 UTC, final at 21:20 on a delayed feed."""


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
        receipt = json.loads(result.receipt.path.read_bytes())
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
