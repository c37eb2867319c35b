from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
import pytest

from ingestion.base.errors import InputError
from ingestion.jobs.serve import rows_to_rank
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.select import SelectRequest, select
from ingestion.lakehouse import append_part, list_parts, read_file
from ingestion.markets.hours import BarState, bar_close
from ingestion.plugins.online import sqlite
from ingestion.project import Project
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.feast_repository.conftest import WEEK
from tests.lakehouse.technicals import technicals

FRIDAY = WEEK[-1]
BAR_FEATURES = ("returns_1d", "volatility_20d", "momentum_60d")  # no bars are loaded here


def snapshot(settings: Project, evening: datetime) -> dict[str, dict]:
    """Read a day's rows straight from its file: the oracle."""
    (part,) = [p for p in list_parts(settings.lakehouse, GROUP) if p.date == evening.date()]
    return {row["symbol"]: row for row in read_file(part).to_pylist()}


@pytest.fixture(autouse=True)
def now_is_friday_evening(at):
    at(FRIDAY)


def test_the_online_ranking_is_that_of_the_newest_snapshot(week: Project):
    selection = select(week, SelectRequest(by="RSI", top=None))
    expected = sorted(snapshot(week, FRIDAY).values(), key=lambda row: (-row["RSI"], row["symbol"]))
    assert [row.symbol for row in selection.rows] == [row["symbol"] for row in expected]
    for row, oracle in zip(selection.rows, expected, strict=True):
        served = {column.name: oracle[column.name] for column in GROUP.features}
        assert row.features == served | dict.fromkeys(BAR_FEATURES)
        assert row.known_at == FRIDAY
        assert row.bar_open == oracle["bar_timestamp"]
    assert selection.source == "online store"
    assert selection.left_out == {}


def test_limits_and_top_leave_out_and_count(week: Project):
    selection = select(
        week, SelectRequest(minimum={"ADX": 25}, maximum={"RSI": 65}, top=3, by="Perf.W")
    )
    rows = snapshot(week, FRIDAY).values()
    inside = [row for row in rows if row["ADX"] >= 25 and row["RSI"] <= 65]
    best = sorted(inside, key=lambda row: -row["Perf.W"])[:3]
    assert [row.symbol for row in selection.rows] == [row["symbol"] for row in best]
    assert selection.left_out == {"filtered": 60 - len(inside), "beyond_top": len(inside) - 3}


def test_a_load_while_it_reads_is_seen_whole_or_not_at_all(writable_week: Project, monkeypatch):
    materialize(writable_week)
    symbols = list(snapshot(writable_week, FRIDAY))
    read = sqlite.stored_rows

    def then_a_load(*arguments):
        monkeypatch.setattr(sqlite, "stored_rows", read)
        read(*arguments)
        restated = technicals(symbols, FRIDAY, created=FRIDAY + timedelta(1), RSI=[7.0] * 60)
        append_part(writable_week.lakehouse, GROUP, restated, "restated")
        materialize(writable_week)
        return read(*arguments)

    monkeypatch.setattr(sqlite, "stored_rows", then_a_load)
    for restated in (False, True):
        rows = select(writable_week, SelectRequest(symbols=symbols, top=None)).rows
        assert [row.features["RSI"] == 7.0 for row in rows] == [restated] * 60


def test_ascending_puts_the_smallest_first(week: Project):
    selection = select(week, SelectRequest(by="RSI", ascending=True, top=1))
    smallest = min(snapshot(week, FRIDAY).values(), key=lambda row: row["RSI"])
    assert selection.rows[0].symbol == smallest["symbol"]


def test_candidates_without_a_row_are_counted(week: Project):
    selection = select(week, SelectRequest(symbols=["NASDAQ:AAPL", "X:GONE", "NASDAQ:AAPL"]))
    assert selection.asked == 2
    assert selection.left_out == {"unknown": 1}


def test_a_row_is_served_to_the_last_microsecond_of_its_ttl_and_no_longer(week: Project, at):
    symbols = ["NASDAQ:AAPL"]
    forever = timedelta(days=999)
    at(FRIDAY + GROUP.ttl)
    assert select(week, SelectRequest(symbols=symbols, max_bar_age=forever)).rows
    at(FRIDAY + GROUP.ttl + timedelta(microseconds=1))
    selection = select(week, SelectRequest(symbols=symbols, max_bar_age=forever))
    assert not selection.rows
    assert selection.left_out == {"expired": 1}


def test_what_the_online_store_knows_from_later_is_not_shown_earlier(week: Project, at):
    at(FRIDAY - timedelta(days=2))
    selection = select(week, SelectRequest(symbols=["NASDAQ:AAPL", "NYSE:UPS"]))
    assert not selection.rows
    assert selection.left_out == {"future": 2}


def test_a_bar_that_opened_too_long_ago_is_left_out(week: Project, at):
    at(FRIDAY + timedelta(days=3, hours=20))  # Tuesday: the snapshot is inside its TTL
    selection = select(week, SelectRequest())
    assert selection.left_out == {"stale_bar": 60}
    assert len(select(week, SelectRequest(max_bar_age=timedelta(days=7), top=99)).rows) == 60


class TestAsOf:
    def test_it_ranks_what_was_known_then(self, week: Project):
        selection = select(week, SelectRequest(by="RSI", as_of=WEEK[2] + timedelta(hours=1)))
        expected = sorted(snapshot(week, WEEK[2]).values(), key=lambda row: -row["RSI"])[:20]
        assert [(row.symbol, row.features["RSI"]) for row in selection.rows] == [
            (row["symbol"], row["RSI"]) for row in expected
        ]
        assert {row.known_at for row in selection.rows} == {WEEK[2]}
        assert selection.source == "offline store"

    def test_at_the_very_instant_of_a_snapshot_it_is_known(self, week: Project):
        selection = select(week, SelectRequest(as_of=WEEK[2], top=1))
        assert selection.rows[0].known_at == WEEK[2]

    def test_a_microsecond_earlier_it_is_not(self, week: Project):
        selection = select(week, SelectRequest(as_of=WEEK[2] - timedelta(microseconds=1), top=1))
        assert selection.rows[0].known_at == WEEK[1]

    def test_before_the_first_snapshot_nothing_is_known(self, week: Project):
        before = WEEK[0] - timedelta(seconds=1)
        selection = select(week, SelectRequest(symbols=["NASDAQ:AAPL"], as_of=before))
        assert selection.left_out == {"unknown": 1}

    def test_the_future_is_refused(self, week: Project):
        with pytest.raises(InputError, match="in the future") as error:
            select(week, SelectRequest(as_of=FRIDAY + timedelta(microseconds=1)))
        assert error.value.exit_code == 2

    def test_rows_written_later_are_not_used(self, writable_week: Project):
        """A row of Wednesday that was only written on Friday was not there on Thursday."""
        late = technicals(["NASDAQ:AAPL"], WEEK[2] + timedelta(hours=1), created=FRIDAY, RSI=[99.0])
        append_part(writable_week.lakehouse, GROUP, late, "late")
        materialize(writable_week)
        selection = select(
            writable_week,
            SelectRequest(symbols=["NASDAQ:AAPL"], as_of=WEEK[2] + timedelta(hours=2)),
        )
        assert selection.rows[0].known_at == WEEK[2]
        assert selection.rows[0].features["RSI"] != 99.0

    def test_a_snapshot_that_appears_meanwhile_is_taken_with_its_own_time(
        self, writable_week: Project, at, monkeypatch: pytest.MonkeyPatch
    ):
        materialize(writable_week)
        as_of = FRIDAY + timedelta(hours=1)
        at(as_of)
        news = technicals(["NASDAQ:AAPL"], FRIDAY + timedelta(minutes=1), RSI=[99.0])
        look = rows_to_rank.newest_known

        def beside(*arguments):
            known = look(*arguments)
            append_part(writable_week.lakehouse, GROUP, news, "meanwhile")
            monkeypatch.setattr(rows_to_rank, "newest_known", look)
            return known

        monkeypatch.setattr(rows_to_rank, "newest_known", beside)
        request = SelectRequest(symbols=["NASDAQ:AAPL"], as_of=as_of)
        (row,) = select(writable_week, request).rows
        assert (row.features["RSI"], row.known_at) == (99.0, FRIDAY + timedelta(minutes=1))

    def test_the_online_store_is_not_touched(self, week: Project):
        online = week.folder / "data" / "online.db"
        hidden = online.rename(online.with_suffix(".hidden"))
        try:
            assert select(week, SelectRequest(as_of=WEEK[1])).rows
            assert not online.exists()
        finally:
            hidden.rename(online)

    def test_the_ttl_counts_from_that_instant(self, week: Project, at):
        at(FRIDAY + timedelta(days=30))
        as_of = FRIDAY + GROUP.ttl + timedelta(microseconds=1)
        request = SelectRequest(
            symbols=["NASDAQ:AAPL"], as_of=as_of, max_bar_age=timedelta(days=99)
        )
        assert select(week, request).left_out == {"expired": 1}


class TestBarState:
    def test_every_rows_state_follows_from_its_close(self, week: Project):
        for row in select(week, SelectRequest(top=None)).rows:
            close = bar_close(row.symbol, int(row.bar_open.timestamp()))
            assert row.bar_state is BarState.CLOSED
            assert close <= row.known_at.timestamp()

    @pytest.fixture
    def with_states(self, writable_week: Project, at) -> Project:
        """Saturday: a running coin, an exchange nobody knows, and a row without a bar."""
        known_at = datetime.fromisoformat("2021-04-17T12:00Z")
        rows = technicals(["BINANCE:BTCUSDT", "NOWHERE:X", "NASDAQ:AAPL"], known_at)
        opens = [known_at.replace(hour=0), known_at.replace(hour=0), None]
        column = pa.array(opens, pa.timestamp("us", tz="UTC"))
        rows = rows.set_column(rows.column_names.index("bar_timestamp"), "bar_timestamp", column)
        append_part(writable_week.lakehouse, GROUP, rows, "saturday")
        at(known_at)
        materialize(writable_week)
        return writable_week

    def test_open_and_unknown_bars_are_shown_as_such(self, with_states: Project):
        symbols = ["BINANCE:BTCUSDT", "NOWHERE:X", "NASDAQ:AAPL", "NASDAQ:MSFT"]
        states = {
            row.symbol: row.bar_state.value
            for row in select(with_states, SelectRequest(symbols=symbols)).rows
        }
        assert (
            states
            == {
                "BINANCE:BTCUSDT": "open",
                "NOWHERE:X": "unknown",
                "NASDAQ:AAPL": "unknown",
                "NYSE:IBM": "closed",
            }
            or "NYSE:IBM" not in states
        )

    def test_closed_only_leaves_them_out_and_counts_them_apart(self, with_states: Project):
        symbols = ["BINANCE:BTCUSDT", "NOWHERE:X", "NASDAQ:AAPL", "NASDAQ:MSFT"]
        selection = select(with_states, SelectRequest(symbols=symbols, closed_only=True))
        assert [row.symbol for row in selection.rows] == ["NASDAQ:MSFT"]
        assert selection.left_out == {"open_bar": 1, "unsure_bar": 2}


def test_an_unknown_feature_is_refused_with_the_known_ones(week: Project):
    for request in (SelectRequest(by="rsi"), SelectRequest(minimum={"Nope": 1.0})):
        with pytest.raises(InputError, match=r"there is no feature.*Recommend\.All"):
            select(week, request)


def test_without_fresh_snapshots_and_candidates_it_says_what_to_do(week: Project, at):
    at(FRIDAY + timedelta(days=60))
    with pytest.raises(InputError, match="flow-data"):
        select(week, SelectRequest())


def test_a_null_to_rank_by_is_counted(writable_week: Project, at):
    rows = technicals(["A:A", "B:B"], FRIDAY, RSI=[None, 50.0])
    append_part(writable_week.lakehouse, GROUP, rows, "nulls")
    materialize(writable_week)
    selection = select(writable_week, SelectRequest(symbols=["A:A", "B:B"], by="RSI"))
    assert [row.symbol for row in selection.rows] == ["B:B"]
    assert selection.left_out == {"no_value": 1}


def test_more_symbols_than_sqlite_binds_variables(week: Project):
    many = ["NASDAQ:AAPL", *(f"X:S{number}" for number in range(40_000)), "NASDAQ:MSFT"]
    selection = select(week, SelectRequest(symbols=many))
    assert {row.symbol for row in selection.rows} == {"NASDAQ:AAPL", "NASDAQ:MSFT"}
    assert selection.left_out == {"unknown": 40_000}
