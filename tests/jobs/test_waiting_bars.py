"""The daily path: symbols that wait for an answer, and splits that wait for a bar."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path

import pytest
from scanned_rows import bar, instant, showing

from ingestion.catalog import OHLCV_1D
from ingestion.cli.ingest import bars_text
from ingestion.jobs.audit.explain import ExplainRequest, explain
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.ingest.data_ingest import BarsReport, DataIngestResult, data_ingest
from ingestion.jobs.ingest.import_bars import ImportRequest, ImportResult, import_bars
from ingestion.jobs.ingest.scan import ScanRequest
from ingestion.jobs.ingest.withdraw import WithdrawRequest, withdraw_bars
from ingestion.lakehouse import list_parts, read_current
from ingestion.markets.candidates import Candidates
from ingestion.project import Project
from ingestion.replay import ReplayScanner
from tests.conftest import QUICK

pytestmark = pytest.mark.usefixtures("no_power_cuts")

IBM = "NYSE:IBM"
DAYS = [date(2021, 3, day) for day in (1, 2, 3, 4, 5, 8, 9)]


class World:
    """A lakehouse between a vendor's files and the scanner."""

    def __init__(
        self,
        settings: Project,
        scanner: ReplayScanner,
        at: Callable[[datetime], None],
        folder: Path,
    ) -> None:
        self.settings, self._scanner, self._at, self._folder = settings, scanner, at, folder

    def imported(self, closes: Sequence[float], first: int = 0, **options) -> ImportResult:
        """Import closes of sessions in a row, opens alike."""
        path = self._folder / "vendor.csv"
        lines = [
            f"{day},{IBM},{close},{close * 1.01},{close * 0.99},{close},1000\n"
            for day, close in zip(DAYS[first:], closes, strict=False)
        ]
        path.write_text("date,symbol,open,high,low,close,volume\n" + "".join(lines))
        return import_bars(self.settings, ImportRequest((path,), **options))

    def recorded(self, *lines: str) -> ImportResult:
        path = self._folder / "splits.csv"
        path.write_text("symbol,date,ratio\n" + "".join(f"{line}\n" for line in lines))
        return import_bars(self.settings, ImportRequest(splits=path))

    def evening(self, day: int, close: float, previous: float) -> DataIngestResult:
        """Ingest what the scanner shows in the evening of a session."""
        self._at(instant(f"{DAYS[day]}T22:00"))
        change = 100 * (close / previous - 1)
        shown = bar(IBM, f"{DAYS[day]}T14:30", close, open=close, change=change)
        self._scanner.panel = showing(shown)
        asked = Candidates("some.json", (IBM,), (), 0)
        return data_ingest(self.settings, ScanRequest(asked, scanner=QUICK))

    def at(self, now: str) -> None:
        self._at(instant(now))

    def notes(self, as_of: str | None = None) -> list[str]:
        """What ``explain`` says of IBM's newest return besides."""
        then = None if as_of is None else instant(as_of)
        request = ExplainRequest(IBM, "local_1d:returns_1d", as_of=then, online=False)
        (story,) = explain(self.settings, request).stories
        return list(story.notes)

    @property
    def stored(self) -> list[tuple[date, float, float]]:
        """Session, close and split ratio of each bar."""
        rows = read_current(list_parts(self.settings.lakehouse, OHLCV_1D), OHLCV_1D).to_pylist()
        return [
            (row["event_timestamp"].date(), round(row["close"], 6), row["split_ratio"])
            for row in rows
        ]

    def series(self, *closes_and_ratios: tuple[float, float]) -> list[tuple[date, float, float]]:
        return [(day, *each) for day, each in zip(DAYS, closes_and_ratios, strict=False)]


@pytest.fixture
def world(settings: Project, scanner: ReplayScanner, at, tmp_path: Path) -> World:
    at(instant("2021-03-02T23:00"))
    return World(settings, scanner, at, tmp_path)


def counts(bars: BarsReport) -> tuple[int, int, int]:
    return bars.written, bars.released, bars.waiting


class TestSymbolsThatWaitSinceAnImport:
    @pytest.fixture
    def held(self, world: World) -> World:
        """A fall from 40 to 10 on the second session: a split of four for one, or a crash."""
        result = world.imported([40.0, 10.0])
        assert result.held == 1
        return world

    def test_what_the_scanner_brings_waits_too_and_is_said(self, held: World):
        first, second = held.evening(2, 10.2, 10.0), held.evening(3, 10.4, 10.2)
        assert counts(first.bars) == (0, 0, 2)
        assert counts(second.bars) == (0, 0, 3)
        assert second.bars.held_by_import == (IBM,)
        text = bars_text(second)
        assert "1 symbol waits since an import for an answer to a suspected split" in text
        assert IBM in text
        assert json.loads(second.receipt.path.read_bytes())["bars"]["held_by_import"] == [IBM]
        assert held.stored == held.series((40, 1))
        assert counts(held.evening(3, 10.4, 10.2).bars) == (0, 0, 3), "no bar waits twice"

    @pytest.mark.parametrize("ratio", [4, 1])
    def test_an_answer_releases_them_all_in_order(self, held: World, ratio: int):
        held.evening(2, 10.2, 10.0)
        held.evening(3, 10.4, 10.2)
        held.recorded(f"{IBM},2021-03-02,{ratio}")
        result = held.evening(4, 10.6, 10.4)
        assert counts(result.bars) == (3, 2, 0)
        assert result.bars.held_by_import == result.bars.held_back == ()
        assert held.stored == held.series((40, 1), (10, ratio), (10.2, 1), (10.4, 1), (10.6, 1))

    def test_the_scanner_shows_such_a_session_and_says_that_it_was_a_split(self, held: World):
        result = held.evening(1, 10.0, 10.0)
        assert [str(each.ratio) for each in result.bars.held_back] == ["4"]
        assert counts(result.bars) == (0, 0, 1)
        assert held.stored == held.series((40, 1))
        held.recorded(result.bars.held_back[0].record)
        # It is the scanner's bar now, with its previous close: the next evening releases it.
        assert counts(held.evening(2, 10.2, 10.0).bars) == (2, 1, 0)
        assert held.stored == held.series((40, 1), (10, 4), (10.2, 1))

    def test_the_scanner_shows_such_a_session_and_says_that_it_was_none(self, held: World):
        result = held.evening(1, 10.0, 40.0)
        assert counts(result.bars) == (1, 1, 0)
        assert held.stored == held.series((40, 1), (10, 1))
        assert counts(held.evening(2, 10.2, 10.0).bars) == (1, 0, 0)

    def test_verify_and_explain_name_them(self, held: World):
        held.evening(2, 10.2, 10.0)
        held.evening(3, 10.4, 10.2)
        local_features(held.settings)
        (warning,) = check_lakehouse(held.settings).warnings
        assert warning.startswith("3 bars of 1 symbol are held back until a suspected split")
        assert "NYSE:IBM" in warning
        assert held.notes() == [
            "3 bars since, from 2021-03-02 on, are held back until a suspected split is recorded: "
            "`tvfeast import-bars --splits FILE`, with a ratio of 1 if there was none"
        ]
        assert held.notes("2021-03-01T22:00") == []
        held.recorded(f"{IBM},2021-03-02,4")
        held.evening(4, 10.6, 10.4)
        assert check_lakehouse(held.settings).warnings == ()

    def test_other_symbols_do_not_wait(self, held: World, settings: Project):
        assert held.evening(2, 10.2, 10.0).bars.written == 0
        held._scanner.panel = showing(bar("NASDAQ:AAPL", f"{DAYS[2]}T14:30"))
        asked = Candidates("some.json", ("NASDAQ:AAPL",), (), 0)
        assert data_ingest(settings, ScanRequest(asked, scanner=QUICK)).bars.written == 1


class TestSplitsThatWaitForABar:
    """A split of a session on which the symbol did not trade, recorded before its next bar."""

    @pytest.fixture
    def recorded(self, world: World) -> World:
        world.imported([40.0])
        world.recorded(f"{IBM},2021-03-02,4")
        return world

    def test_it_takes_effect_at_the_next_bar_that_the_scanner_brings(self, recorded: World):
        result = recorded.evening(2, 10.2, 10.0)
        assert result.bars.held_back == result.bars.unsettled == ()
        assert recorded.stored == [(DAYS[0], 40, 1), (DAYS[2], 10.2, 4)]
        assert counts(recorded.evening(3, 10.3, 10.2).bars) == (1, 0, 0)
        assert recorded.stored[-1] == (DAYS[3], 10.3, 1)

    def test_verify_and_explain_name_it_until_then(self, recorded: World):
        local_features(recorded.settings)
        recorded.at("2021-03-02T23:30")
        (warning,) = check_lakehouse(recorded.settings).warnings
        assert warning == (
            "1 recorded split waits for a bar of their session or a later one: NYSE:IBM 4:1 on "
            "2021-03-02"
        )
        assert recorded.notes() == [
            "a split of 4:1 on 2021-03-02 is recorded, and waits for a bar to take effect at"
        ]
        recorded.evening(2, 10.2, 10.0)
        local_features(recorded.settings)
        assert check_lakehouse(recorded.settings).warnings == ()
        assert recorded.notes() == []

    def test_the_session_without_a_bar_is_no_missed_one(self, recorded: World):
        """The previous close is the stored one, in the new money: the symbol was halted."""
        assert recorded.evening(2, 10.2, 10.0).missing == ()
        # What it is not even so is the close of a session that is missing.
        assert len(recorded.evening(4, 10.5, 10.4).missing) == 1

    def test_several_multiply(self, recorded: World):
        recorded.recorded(f"{IBM},2021-03-03,2.5")
        assert counts(recorded.evening(3, 4.1, 4.0).bars) == (1, 0, 0)
        assert recorded.stored == [(DAYS[0], 40, 1), (DAYS[3], 4.1, 10)]

    def test_it_moves_to_a_bar_that_comes_between(self, recorded: World):
        recorded.evening(2, 10.2, 10.0)
        recorded.imported([10.1], first=1)
        assert recorded.stored == recorded.series((40, 1), (10.1, 4), (10.2, 1))

    def test_no_split_on_a_day_without_a_bar_changes_nothing(self, world: World):
        world.imported([40.0])
        world.recorded(f"{IBM},2021-03-02,1")
        assert counts(world.evening(2, 40.4, 40.0).bars) == (1, 0, 0)
        assert world.stored == [(DAYS[0], 40, 1), (DAYS[2], 40.4, 1)]

    def test_one_that_the_scanner_has_not_is_named(self, recorded: World):
        """Its previous close is still the stored one: there was no split, or not yet."""
        result = recorded.evening(2, 40.4, 40.0)
        (doubtful,) = result.bars.unsettled
        assert (doubtful.symbol, doubtful.ratio) == (IBM, 1.0)
        assert "recorded split of 4:1" in doubtful.why

    def test_another_split_besides_is_held_back(self, recorded: World):
        """Four for one is recorded, and the previous close has fallen to a twelfth."""
        result = recorded.evening(2, 3.4, 40 / 12)
        (suspect,) = result.bars.held_back
        assert str(suspect.ratio) == "3"
        assert recorded.stored == [(DAYS[0], 40, 1)]


class TestBarsThatWereWithdrawn:
    def withdrawn(self, world: World, session: date) -> None:
        request = WithdrawRequest("bad print", symbol=IBM, first=session)
        assert withdraw_bars(world.settings, request).bars == 1

    def test_the_scanner_does_not_bring_the_same_bar_again(self, world: World):
        world.imported([40.0])
        world.evening(1, 99.0, 40.0)
        self.withdrawn(world, DAYS[1])
        again = world.evening(1, 99.0, 40.0).bars
        assert (again.written, again.refused_by_reason) == (0, {"was withdrawn": 1})
        assert world.stored == world.series((40, 1))
        # What the vendor has corrected since is a bar again.
        assert counts(world.evening(1, 40.8, 40.0).bars) == (1, 0, 0)
        assert world.stored == world.series((40, 1), (40.8, 1))

    def test_a_bar_that_had_waited_and_was_withdrawn_since_waits_no_more(self, world: World):
        assert world.imported([40.0, 10.0]).held == 1
        world.recorded(f"{IBM},2021-03-02,1")
        assert world.stored == world.series((40, 1), (10, 1))
        self.withdrawn(world, DAYS[1])
        assert check_lakehouse(world.settings).warnings == ()
        assert counts(world.evening(2, 40.4, 40.0).bars)[1:] == (0, 0)
        assert world.stored == [(DAYS[0], 40, 1), (DAYS[2], 40.4, 1)]
