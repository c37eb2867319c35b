"""Yahoo's chart endpoint, spoken by a server over real bars: what is stored is what was traded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ingestion.bars import fetching
from ingestion.catalog import DIVIDENDS, OHLCV_1D
from ingestion.cli.commands import cli
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.lakehouse import list_parts, read_current
from ingestion.project import Project
from ingestion.replay.vendor import Fault
from ingestion.replay.yahoo import ReplayYahoo, Series
from ingestion.sources.yahoo import ticker
from tests.bars.vendors import (
    AAPL,
    EVENING,
    PAID,
    PRICES,
    SYMBOLS,
    Fetch,
    fetch_from,
    series_of,
    stored,
)

SHW = "NYSE:SHW"


@pytest.fixture
def yahoo(
    bars: pa.Table, at: Callable[[datetime], None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[ReplayYahoo]:
    at(EVENING)
    monkeypatch.setattr(fetching, "_BACKOFF", 0.01)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with ReplayYahoo({ticker(each): series_of(bars, each) for each in SYMBOLS}) as server:
        monkeypatch.setenv("TVFEAST_YAHOO_URL", server.url)
        yield server


@pytest.fixture
def fetch(folder: Path, yahoo: ReplayYahoo) -> Fetch:
    return partial(fetch_from, folder, "yahoo")


def dividends(symbol: str) -> list[tuple[str, float]]:
    """Return what is recorded, without what was withdrawn."""
    lakehouse = Project.from_environment().lakehouse
    rows = read_current(list_parts(lakehouse, DIVIDENDS), DIVIDENDS).to_pylist()
    own = [each for each in rows if each["symbol"] == symbol and each["amount"]]
    return sorted((each["ex_date"], each["amount"]) for each in own)


def test_bars_and_dividends_are_as_traded_and_paid_before_the_splits_that_came_later(
    fetch, bars, tmp_path
):
    """Yahoo shows 0.113333 for the 0.17 that ODFL paid before a split of 3:2."""
    code, told = fetch(*SYMBOLS, since=None)
    assert (code, told["written"], told["refused"]) == (0, len(stored()), 0)
    assert {symbol: dividends(symbol) for symbol in PAID} == PAID
    (run,) = told["imports"]
    assert (run["dividends"], run["dividends_restated"]) == (9, 0)
    assert "dividends_without_drop" not in run["findings"]
    assert fetch(*PAID, since="2019-07-01")[1]["imports"][0]["dividends"] == 0
    fetched = stored()
    other = Project(tmp_path, tmp_path / "imported", "https://scanner.invalid")
    pq.write_table(bars, tmp_path / "bars.parquet")
    import_bars(other, ImportRequest((tmp_path / "bars.parquet",)))
    rows = read_current(list_parts(other.lakehouse, OHLCV_1D), OHLCV_1D)
    file = rows.sort_by([("symbol", "ascending"), ("timestamp", "ascending")])
    for name in ("symbol", "timestamp", "split_ratio", "event_timestamp"):
        assert fetched[name].equals(file[name]), name
    for name in PRICES:  # divided by the splits to come, and multiplied again
        assert fetched[name].to_pylist() == pytest.approx(file[name].to_pylist(), rel=1e-12)
    assert fetched["volume"].to_pylist() == pytest.approx(file["volume"].to_pylist(), abs=2)
    assert set(fetched["source"].to_pylist()) == {"fetch:yahoo"}
    assert set(fetched.filter(pc.equal(fetched["symbol"], AAPL))["split_ratio"].to_pylist()) == {
        1,
        4,
    }


def test_a_server_that_stays_down_loses_nothing_but_time(fetch, yahoo: ReplayYahoo):
    yahoo.faults.extend([Fault("status")] * 4)
    code, told = fetch(AAPL, "NYSE:SHW")
    assert code == 3
    assert list(told["failed"]) == [f"yahoo {AAPL}"]
    assert set(stored()["symbol"].to_pylist()) == {"NYSE:SHW"}
    code, told = fetch(AAPL, "NYSE:SHW", since=None)  # it knows what is missing since when
    assert code == 0
    again = stored()
    assert again.filter(pc.equal(again["symbol"], AAPL)).num_rows > 40


def test_rows_of_nulls_are_no_bars_and_a_running_session_is_none_yet(
    fetch, yahoo: ReplayYahoo, bars, at
):
    series = series_of(bars, AAPL)
    days = list(series.bars)
    holiday = (date(2021, 4, 2), None, None, None, None, None)
    places = [place for place, row in enumerate(days) if row[0] > holiday[0]]
    days.insert(places[0], holiday)
    yahoo.series["AAPL"] = Series(days, series.splits)
    yahoo.running = True
    at(datetime(2021, 4, 12, 18, tzinfo=UTC))  # two hours before the close
    code, told = fetch(AAPL)
    assert (code, told["refused"]) == (0, 0)
    last = max(stored()["timestamp"].to_pylist())
    assert datetime.fromtimestamp(last, UTC).date() == date(2021, 4, 9)
    at(EVENING)
    assert fetch(AAPL, since=None)[0] == 0
    last = max(stored()["timestamp"].to_pylist())
    assert datetime.fromtimestamp(last, UTC).date() == date(2021, 4, 12)
    assert (
        datetime(2021, 4, 2, 13, 30, tzinfo=UTC).timestamp()
        not in stored()["timestamp"].to_pylist()
    )


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"symbol": "META"}, "about META in place of AAPL: was it renamed?"),
        ({"dataGranularity": "1mo"}, "bars of 1mo in place of 1d"),
        ({"exchangeTimezoneName": "Mars/Olympus"}, "an answer without a chart"),
    ],
)
def test_an_answer_about_something_else_is_refused(fetch, yahoo, bars, extra, reason):
    series = series_of(bars, AAPL)
    yahoo.series["AAPL"] = Series(series.bars, series.splits, extra=extra)
    code, told = fetch(AAPL)
    assert code == 4
    assert reason in told["error"]
    assert len(stored()) == 0


def test_a_symbol_that_yahoo_does_not_know_is_told(fetch, yahoo):
    code, told = fetch(AAPL, "NASDAQ:GONE")
    assert code == 3
    assert told["empty"] == ["NASDAQ:GONE"]


def test_a_split_that_yahoo_lists_and_does_not_apply_is_not_stored(fetch, yahoo):
    """Its prices would leap twice: they are turned back by a split that they never had."""
    yahoo.unadjusted = frozenset({"AAPL"})
    code, told = fetch(AAPL, since="2020-08-01")
    assert code == 2
    assert "the split 4:1 of 2020-08-31 shows a leap of its ratio" in told["error"]
    assert 4 not in stored()["split_ratio"].to_pylist()


@pytest.mark.parametrize("day", [date(2021, 3, 1), date(2021, 4, 8)])
@pytest.mark.parametrize("applied", [True, False])
def test_an_invented_split_does_not_change_what_is_stored(fetch, yahoo, bars, at, day, applied):
    """Of bars that are not stored yet nothing shows it: they are smooth with it or without it."""
    symbol = "NASDAQ:KHC"
    assert fetch(symbol)[0] == 0
    before = stored()
    yahoo.series["KHC"] = Series(series_of(bars, symbol).bars, [(day, 10.0, 1.0)])
    yahoo.unadjusted = frozenset() if applied else frozenset({"KHC"})
    at(EVENING + timedelta(days=1))
    assert fetch(symbol)[0] == 2
    after = stored()
    assert after.slice(0, len(before)).equals(before)
    assert set(after["split_ratio"].to_pylist()) == {1}


def test_a_later_split_changes_what_yahoo_shows_and_nothing_that_is_recorded(
    fetch, yahoo: ReplayYahoo, bars, at
):
    """1.65 is shown as 0.55, and after another split of 7:1 as 0.078571: 1.649991 divided by 21."""
    assert fetch("NYSE:SHW")[0] == 0
    paid = dividends("NYSE:SHW")
    assert paid == [("2021-02-26", 1.65)]
    series = series_of(bars, "NYSE:SHW")
    at(EVENING + timedelta(days=1))
    (tuesday,) = [row for row in series.bars if row[0] == date(2021, 4, 13)]
    after = [
        (row[0], *(each / 7 for each in row[1:5]), row[5] * 7) if row[0] >= tuesday[0] else row
        for row in series.bars
    ]
    splits = [*series.splits, (tuesday[0], 7.0, 1.0)]
    yahoo.series["SHW"] = Series(after, splits, series.dividends)
    code, told = fetch("NYSE:SHW")
    assert code == 0, told
    assert told["imports"][0]["dividends"] == 0
    assert dividends("NYSE:SHW") == paid


def test_a_dividend_that_yahoo_changes_or_drops_is_a_later_version(
    fetch, yahoo: ReplayYahoo, bars, at
):
    """Two were paid before the split of 3:1 on 1 April, one after it."""
    days = date(2021, 2, 12), date(2021, 2, 26), date(2021, 4, 6)
    paid = [(str(day), amount) for day, amount in zip(days, (1.5, 1.65, 0.55), strict=True)]
    bars_of = series_of(bars, SHW)
    series = Series(bars_of.bars, bars_of.splits, list(zip(days, (1.5, 1.65, 0.55), strict=True)))
    yahoo.series["SHW"] = series
    assert fetch(SHW)[0] == 0
    assert dividends(SHW) == paid
    at(EVENING + timedelta(hours=1))
    changed = [(days[0], 1.6), (days[2], 0.55)]
    yahoo.series["SHW"] = Series(series.bars, series.splits, changed)
    (run,) = fetch(SHW)[1]["imports"]
    assert (run["dividends"], run["dividends_restated"], run["dividends_withdrawn"]) == (2, 2, 1)
    assert dividends(SHW) == [(paid[0][0], pytest.approx(1.6)), paid[2]]
    # An answer that has lost its events proves nothing about all of them.
    yahoo.series["SHW"] = Series(series.bars, series.splits)
    (run,) = fetch(SHW)[1]["imports"]
    assert (run["dividends"], run["dividends_withdrawn"]) == (0, 0)
    assert run["findings"]["dividends_missing"]["examples"] == [SHW]
    assert len(dividends(SHW)) == 2
    # Of an answer that begins later the others are not missing.
    yahoo.series["SHW"] = series
    assert fetch(SHW, since="2021-03-15")[1]["imports"][0]["dividends"] == 0
    at(EVENING + timedelta(hours=2))
    assert fetch(SHW)[0] == 0
    assert dividends(SHW) == paid


def test_a_dividend_for_which_the_price_did_not_fall_is_named(fetch, yahoo, bars):
    """Of 150 dollars in place of 1.50, say, or for a share that never paid one."""
    symbol, day = "NASDAQ:KHC", date(2021, 3, 2)
    yahoo.series["KHC"] = Series(series_of(bars, symbol).bars, [], [(day, 4.0)])
    code, told = fetch(symbol)
    assert code == 0
    (example,) = told["imports"][0]["findings"]["dividends_without_drop"]["examples"]
    assert example.startswith(f"{symbol} 2021-03-02: 4 is 1")
    assert dividends(symbol) == [("2021-03-02", 4.0)]


def test_dividends_wait_while_the_splits_are_in_doubt(fetch, yahoo, bars):
    series = series_of(bars, AAPL)
    yahoo.unadjusted = frozenset({"AAPL"})
    paid = [(date(2020, 8, 7), 0.82)]
    yahoo.series["AAPL"] = Series(series.bars, series.splits, paid)
    assert fetch(AAPL, since="2020-08-01")[0] == 2
    assert dividends(AAPL) == []
    yahoo.unadjusted = frozenset()
    assert fetch(AAPL, since=None)[0] == 0  # the same dates are asked for again
    assert dividends(AAPL) == [("2020-08-07", 0.82)]


def test_a_changed_past_is_a_restatement_with_both_versions(fetch, yahoo, bars, at):
    assert fetch("NYSE:SHW")[0] == 0
    before = stored()
    series = series_of(bars, "NYSE:SHW")
    at(EVENING + timedelta(days=1))
    changed = [
        (*row[:4], row[4] + 0.01 if row[0] == date(2021, 4, 9) else row[4], row[5])
        for row in series.bars
    ]
    yahoo.series["SHW"] = Series(changed, series.splits)
    code, told = fetch("NYSE:SHW", since=None)
    assert code == 0
    assert told["imports"][0]["restated"] == 1
    (price,) = [row[4] for row in series.bars if row[0] == date(2021, 4, 9)]
    assert told["imports"][0]["changed_past"] == {
        "fetch:yahoo": {
            "bars": 1,
            "symbols": ["NYSE:SHW"],
            "volumes": 0,
            "largest": pytest.approx(0.01 / price),
            "largest_of": "NYSE:SHW 2021-04-09",
        }
    }
    moved = set(stored()["close"].to_pylist()) - set(before["close"].to_pylist())
    assert len(moved) == 2  # the bar of that Friday, and the one of the next evening
    at(EVENING + timedelta(days=1, hours=1))  # and it takes that back
    yahoo.series["SHW"] = series
    assert fetch("NYSE:SHW", since=None)[0] == 0
    result = CliRunner().invoke(cli, ["status"])
    told = "past changed by fetch:yahoo in 90 days: 2 bars of 1 symbol, by at most 0.00"
    assert told in result.output
    lakehouse = Project.from_environment().lakehouse
    (row,) = [
        each
        for each in read_current(
            list_parts(lakehouse, OHLCV_1D), OHLCV_1D, known_at=EVENING + timedelta(days=1)
        ).to_pylist()
        if each["close"] == pytest.approx(price + 0.01, abs=1e-9)
    ]  # as it was known then
    assert row["source"] == "fetch:yahoo"


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("NASDAQ:AAPL", "AAPL"),
        ("NYSE:BRK.B", "BRK-B"),
        ("HKEX:700", "0700.HK"),
        ("HKEX:9988", "9988.HK"),
        ("TSE:7203", "7203.T"),
        ("LSE:VOD", "VOD.L"),
        ("TSX:BAM.A", "BAM-A.TO"),
    ],
)
def test_yahoos_names(symbol: str, name: str):
    assert ticker(symbol) == name
