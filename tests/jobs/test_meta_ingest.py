"""The symbols' metadata: one row per observed change, and who counts as gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from scanned_rows import instant, showing

from ingestion.base.errors import ClockError, GateRefused, NothingFetched
from ingestion.base.plain import plain
from ingestion.catalog import ABSENCES, SYMBOLS
from ingestion.cli.ingest import symbols_text
from ingestion.jobs.ingest.meta_ingest import MetaIngestResult, meta_ingest
from ingestion.jobs.ingest.scan import ScanRequest
from ingestion.lakehouse import active_symbols, list_parts, read_symbols, symbols_at
from ingestion.markets.candidates import Candidates, read_candidates
from ingestion.markets.universe import Market
from ingestion.project import Project
from ingestion.replay import FaultPlan, ReplayScanner
from ingestion.replay.panel import COLUMNS
from ingestion.runs.run import Run
from tests.conftest import MONDAY, QUICK, SAMPLE

pytestmark = pytest.mark.usefixtures("no_power_cuts")

ALL = read_candidates(SAMPLE / "portfolio_candidates.json")
A, B, C = "NYSE:A", "NYSE:B", "NASDAQ:C"
DAY = timedelta(days=1)
ANYTHING = 0.01
"""A least coverage that lets symbols be absent."""


def of(symbol: str, **cells: object) -> dict:
    about = {
        "exchange": symbol.partition(":")[0],
        "type": "stock",
        "currency": "USD",
        "description": f"{symbol} Inc.",
        "pricescale": 100,
        "minmov": 1,
    }
    return {"symbol": symbol, **about, **cells}


@pytest.fixture
def ingest(
    settings: Project, scanner: ReplayScanner, at: Callable[[datetime], None]
) -> Callable[..., MetaIngestResult]:
    """Show rows on the n-th day, and ingest them; three symbols are asked for if not told."""

    def run(day: float, *rows: dict, asked: object = (A, B, C), **options) -> MetaIngestResult:
        scanner.panel = showing(*rows)
        at(MONDAY + day * DAY)
        source = Candidates("some.json", asked, (), 0) if isinstance(asked, tuple) else asked
        options = {"min_coverage": ANYTHING, "scanner": QUICK, **options}
        return meta_ingest(settings, ScanRequest(source, **options))

    return run


def versions(settings: Project, symbol: str) -> list[dict]:
    rows = read_symbols(settings.lakehouse).to_pylist()
    return [row for row in rows if row["symbol"] == symbol]


def states(settings: Project, symbol: str) -> list[tuple[int, bool]]:
    """Day and activity of each version."""
    return [
        ((row["valid_from"] - MONDAY) // DAY, row["active"]) for row in versions(settings, symbol)
    ]


class TestRows:
    def test_a_first_run_writes_a_row_a_symbol(self, settings: Project):
        result = meta_ingest(settings, ScanRequest(ALL))
        assert result.part.path == settings.lakehouse_at / "symbols/date=2021-04-12/part-0.parquet"
        assert (result.symbols.new, result.symbols.changed) == (60, 0)
        (apple,) = versions(settings, "NASDAQ:AAPL")
        assert apple == {
            "symbol": "NASDAQ:AAPL",
            "exchange": "NASDAQ",
            "type": "stock",
            "sector": None,
            "industry": None,
            "currency": "USD",
            "description": "Apple Inc.",
            "pricescale": 100,
            "minmov": 1,
            "timezone": "America/New_York",
            "active": True,
            "valid_from": MONDAY,
            "valid_until": None,
        }

    def test_what_is_unchanged_writes_nothing(self, ingest, settings):
        rows = of(A), of(B), of(C)
        ingest(0, *rows)
        result = ingest(1, *rows)
        assert (result.part, result.symbols.unchanged) == (None, 3)
        assert len(list_parts(settings.lakehouse, SYMBOLS)) == 1
        assert not list_parts(settings.lakehouse, ABSENCES)

    def test_a_change_is_one_row_from_then_on(self, ingest, settings):
        ingest(0, of(A), of(B), of(C))
        result = ingest(1, of(A, description="A plc", sector="Energy"), of(B), of(C))
        assert (result.symbols.changed, result.symbols.unchanged) == (1, 2)
        before, after = versions(settings, A)
        assert (before["description"], after["description"]) == (f"{A} Inc.", "A plc")
        assert before["valid_until"] == after["valid_from"] == MONDAY + DAY
        assert after["valid_until"] is None
        assert after["sector"] == "Energy"

    def test_an_exchange_that_contradicts_the_symbol_is_kept_as_it_came_and_told(
        self, ingest, settings
    ):
        result = ingest(0, of(A, exchange="NYSE ARCA"), of(B, exchange=None), of(C))
        assert result.symbols.other_exchange == {A: "NYSE ARCA"}
        receipt = json.loads(result.receipt.path.read_bytes())
        assert receipt["symbols"]["other_exchange"] == {A: "NYSE ARCA"}
        assert plain(result)["symbols"]["other_exchange"] == {A: "NYSE ARCA"}
        assert f"{A} NYSE ARCA" in symbols_text(result)
        assert versions(settings, A)[0]["exchange"] == "NYSE ARCA"

    def test_a_null_is_a_value_like_any(self, ingest, settings):
        ingest(0, of(A, sector="Energy"), of(B), of(C))
        ingest(1, of(A, sector=None), of(B), of(C))
        ingest(2, of(A, sector=None), of(B), of(C))
        assert [row["sector"] for row in versions(settings, A)] == ["Energy", None]

    @pytest.mark.parametrize("cells", [{"sector": 5}, {"pricescale": "x"}, {"minmov": 0.5}])
    def test_a_value_of_another_type_costs_its_row_and_no_other(self, ingest, settings, cells):
        result = ingest(0, of(A, **cells), of(B), of(C))
        assert next(iter(cells)) in result.report.failed_symbols[A]
        assert active_symbols(settings.lakehouse, MONDAY) == {B, C}

    def test_a_column_that_the_scanner_does_not_have_costs_no_other(
        self, ingest, settings, monkeypatch
    ):
        """Unknown columns cost a whole request; what was known of them before is kept."""
        ingest(0, of(A, timezone="Etc/UTC"), of(B), of(C))
        left = COLUMNS - {"timezone", "industry"}
        monkeypatch.setattr("ingestion.replay.panel.COLUMNS", left)
        monkeypatch.setattr("scanned_rows.COLUMNS", left)
        result = ingest(1, of(A, currency="EUR"), of(B), of(C))
        assert set(result.symbols.unknown_columns) == {"timezone", "industry"}
        assert result.symbols.changed == 1
        assert [row["timezone"] for row in versions(settings, A)] == ["Etc/UTC"] * 2
        first = symbols_text(result).splitlines()[0]
        assert "; the scanner does not know " in first
        assert first.endswith(": kept as before")

    def test_an_earlier_day_replayed_later_is_refused_where_it_would_change_history(
        self, ingest, settings
    ):
        ingest(1, of(A), of(B), of(C))
        assert ingest(0, of(A), of(B), of(C)).part is None
        with pytest.raises(ClockError, match=f"1 of the symbols.*{A}"):
            ingest(0, of(A, currency="EUR"), of(B), of(C))
        with pytest.raises(ClockError):
            ingest(1, of(A, currency="EUR"), of(B), of(C))
        assert len(versions(settings, A)) == 1


class TestAt:
    def test_rows_hold_from_their_instant_to_the_next(self, ingest, settings):
        ingest(0, of(A), of(B), of(C))
        ingest(1, of(A, currency="EUR"), of(B), of(C))
        microsecond = timedelta(microseconds=1)
        for t, currencies in (
            (MONDAY - microsecond, []),
            (MONDAY, ["USD"]),
            (MONDAY + DAY - microsecond, ["USD"]),
            (MONDAY + DAY, ["EUR"]),
            (MONDAY + 400 * DAY, ["EUR"]),
        ):
            rows = symbols_at(settings.lakehouse, t).to_pylist()
            assert [row["currency"] for row in rows if row["symbol"] == A] == currencies
        assert active_symbols(settings.lakehouse, MONDAY) == {A, B, C}

    def test_an_empty_lakehouse_knows_nobody(self, settings):
        assert symbols_at(settings.lakehouse, MONDAY).num_rows == 0
        assert active_symbols(settings.lakehouse, MONDAY) == set()


class TestAbsence:
    def test_the_third_daily_answer_without_it_ends_a_symbol(self, ingest, settings):
        ingest(0, of(A), of(B), of(C))
        for day, days in ((1, 1), (2, 2)):
            result = ingest(day, of(A), of(B))
            assert result.symbols.absent_days == {C: days}
            assert result.symbols.became_inactive == ()
        result = ingest(3, of(A), of(B))
        assert result.symbols.became_inactive == (C,)
        assert states(settings, C) == [(0, True), (3, False)]
        last = versions(settings, C)[-1]
        assert (last["description"], last["currency"]) == (f"{C} Inc.", "USD")
        assert active_symbols(settings.lakehouse, MONDAY + 2 * DAY) == {A, B, C}
        assert active_symbols(settings.lakehouse, MONDAY + 3 * DAY) == {A, B}
        assert "no longer active" in symbols_text(result)
        assert ingest(4, of(A), of(B)).part is None

    def test_three_answers_of_one_day_are_one(self, ingest, settings):
        ingest(0, of(A), of(B), of(C))
        for hour in range(3):
            ingest(1 + hour / 24 / 2, of(A), of(B))
        assert ingest(1 + 2 / 24, of(A), of(B)).symbols.absent_days == {C: 1}
        assert len(list_parts(settings.lakehouse, ABSENCES)) == 1

    def test_the_days_need_not_follow_each_other(self, ingest, settings):
        ingest(0, of(A), of(B), of(C))
        for day in (3, 10):
            ingest(day, of(A), of(B))
            ingest(day + 1, of(A), of(B), asked=(A, B))  # nobody asked for it
        assert ingest(20, of(A), of(B)).symbols.became_inactive == (C,)

    def test_a_symbol_that_is_seen_in_between_begins_anew(self, ingest, settings):
        ingest(0, of(A), of(B), of(C))
        for day in (1, 2):
            ingest(day, of(A), of(B))
        ingest(3, of(A), of(B), of(C))
        for day, days in ((4, 1), (5, 2)):
            assert ingest(day, of(A), of(B)).symbols.absent_days == {C: days}
        assert ingest(6, of(A), of(B)).symbols.became_inactive == (C,)

    def test_a_symbol_that_returns_is_active_again(self, ingest, settings):
        ingest(0, of(A), of(B), of(C))
        for day in (1, 2, 3):
            ingest(day, of(A), of(B))
        result = ingest(9, of(A), of(B), of(C))
        assert result.symbols.returned == (C,)
        assert states(settings, C) == [(0, True), (3, False), (9, True)]
        assert "active again" in symbols_text(result)
        assert ingest(10, of(A), of(B)).symbols.absent_days == {C: 1}

    def test_failures_and_short_answers_say_nothing(self, ingest, settings, scanner):
        """What is given up leaves doubt about all that was asked for only once."""
        asked = tuple(f"NYSE:{letter}" for letter in "ABCDEFGH")
        rows = [of(symbol) for symbol in asked]
        ingest(0, *rows, asked=asked)
        options = {"scanner": replace(QUICK, batch_size=4, in_flight=1, retries=0)}
        for day in range(1, 5):
            scanner.plan = FaultPlan([None, *["empty"] * 50])
            result = ingest(day, *rows[:3], *rows[4:], asked=asked, **options)
            assert result.report.absent
            assert result.report.failed_symbols
            assert result.symbols.absent_days == {}
        for day in range(5, 9):
            scanner.plan = FaultPlan()
            result = ingest(day, of(A, type=True), *rows[1:], asked=asked)
        assert A in result.report.failed_symbols
        assert len(active_symbols(settings.lakehouse, MONDAY + 9 * DAY)) == 8

    def test_a_refused_run_says_nothing(self, ingest, settings):
        ingest(0, of(A), of(B), of(C))
        for day in range(1, 5):
            with pytest.raises(GateRefused):
                ingest(day, of(A), of(B), min_coverage=0.9)
            with pytest.raises(NothingFetched):
                ingest(day)
        assert not list_parts(settings.lakehouse, ABSENCES)
        assert states(settings, C) == [(0, True)]

    def test_a_symbol_that_never_was_there_is_no_loss(self, ingest, settings):
        for day in range(4):
            result = ingest(day, of(A), of(B))
        assert result.report.absent == (C,)
        assert result.symbols.absent_days == {}
        assert versions(settings, C) == []

    @pytest.mark.parametrize("dies_before", [1, 2])
    def test_a_run_that_dies_is_simply_run_again(self, ingest, settings, monkeypatch, dies_before):
        """The receipt is there first; then the absences, then the symbols."""
        import ingestion.jobs.ingest.meta_ingest as job

        ingest(0, of(A), of(B), of(C))
        for day in (1, 2):
            ingest(day, of(A), of(B))
        whole, calls = job.append_part, []

        def deadly(*arguments):
            calls.append(arguments)
            if len(calls) == dies_before:
                raise KeyboardInterrupt
            return whole(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(job, "append_part", deadly)
            with pytest.raises(KeyboardInterrupt):
                ingest(3, of(A), of(B))
        assert len(receipts(settings)) == 4
        assert states(settings, C) == [(0, True)]
        assert ingest(3, of(A), of(B)).symbols.became_inactive == (C,)
        assert states(settings, C) == [(0, True), (3, False)]
        assert len(list_parts(settings.lakehouse, ABSENCES)) == 3


class TestUniverse:
    def test_a_symbol_that_no_page_shows_is_asked_for_by_name(self, ingest, settings, scanner):
        ingest(0, of(A), of(B), of(C), asked=Market("america"))
        for day in (1, 2, 3):
            result = ingest(day, of(A), of(C), asked=Market("america"))
        assert result.symbols.became_inactive == (B,)
        assert scanner.requests[-1].body["symbols"]["tickers"] == [B]

    def test_a_symbol_of_another_market_answers_to_its_name(self, ingest, settings, scanner):
        """It shares the exchange's code with the market, whose pages never show it."""
        ingest(0, of(A), of(B, market="crypto"), of(C))
        for day in range(1, 5):
            rows = of(A), of(B, market="crypto"), of(C)
            result = ingest(day, *rows, asked=Market("america"))
            assert result.symbols.absent_days == {}
        assert states(settings, B) == [(0, True)]

    def test_exchanges_that_the_market_does_not_show_are_left_alone(self, ingest, settings):
        ingest(0, of(A), of(B), of(C))
        for day in range(1, 5):
            assert ingest(day, of(A), of(B), asked=Market("america")).symbols.absent_days == {}

    def test_lost_pages_say_nothing(self, ingest, settings, scanner):
        symbols = [of(f"NYSE:{letter}") for letter in "ABCDEFGH"]
        ingest(0, *symbols, asked=Market("america"))
        options = {"scanner": replace(QUICK, batch_size=4, in_flight=1, retries=0)}
        for day in range(1, 5):
            scanner.plan = FaultPlan([None, *["empty"] * 50])
            result = ingest(day, *symbols[1:], asked=Market("america"), **options)
            assert result.report.lost_pages
            assert result.symbols.absent_days == {}


def receipts(settings: Project) -> list[dict]:
    found = (settings.lakehouse_at / "_runs").glob("*/meta_ingest.json")
    return [json.loads(file.read_bytes()) for file in found]


def test_the_receipt_says_what_was_observed(settings: Project):
    with Run.open(settings, "flow-data", file="flow_data.json") as flow:
        result = meta_ingest(settings, ScanRequest(ALL), run=flow)
    assert result.receipt.path == settings.lakehouse_at / "_runs" / flow.id / "meta_ingest.json"
    receipt = json.loads(result.receipt.path.read_bytes())
    assert receipt["known_at"] == instant("2021-04-12T21:30").isoformat()
    assert receipt["symbols"]["new"] == 60
    assert (receipt["asked"], receipt["coverage"], receipt["verdict"]) == (60, 1.0, "publish")
    assert plain(result)["symbols"]["new"] == 60
    assert "60 new symbols" in symbols_text(result)
