"""Tiingo's prices, spoken by a server over real bars; and its key, which is nowhere but there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion.bars import fetching
from ingestion.catalog import DIVIDENDS, OHLCV_1D
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.lakehouse import list_parts, read_current
from ingestion.project import Project
from ingestion.replay.tiingo import ReplayTiingo
from ingestion.replay.vendor import Reply
from ingestion.replay.yahoo import Series
from ingestion.sources.tiingo import ticker
from tests.bars.vendors import (
    AAPL,
    EVENING,
    PAID,
    SYMBOLS,
    Fetch,
    fetch_from,
    series_of,
    stored,
)

KEY = "7f3a9c41d5e86b20aa1479fe3bd26c58e0914b7d"
NIGHT = EVENING + timedelta(hours=4)
"""Tiingo corrects for four hours."""
SHW = "NYSE:SHW"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that were waited for, and wait for none."""
    found: list[float] = []
    monkeypatch.setattr("time.sleep", found.append)
    return found


@pytest.fixture
def tiingo(
    bars: pa.Table,
    at: Callable[[datetime], None],
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ReplayTiingo]:
    at(NIGHT)
    monkeypatch.setattr(fetching, "_BACKOFF", 0.01)
    series = {ticker(each): series_of(bars, each) for each in SYMBOLS}
    with ReplayTiingo(series, KEY) as server:
        monkeypatch.setenv("TVFEAST_TIINGO_URL", server.url)
        monkeypatch.setenv("TVFEAST_TIINGO_KEY", KEY)
        yield server


@pytest.fixture
def fetch(folder: Path, tiingo: ReplayTiingo) -> Iterator[Fetch]:
    """Run the command; afterwards the key is in nothing that was printed or written."""
    printed: list[str] = []
    yield partial(fetch_from, folder, "tiingo", printed=printed)
    assert KEY not in "".join(printed)
    assert not [path for path in written(folder) if KEY.encode() in path.read_bytes()]
    assert KEY not in f"{vars(tiingo)}"


def written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_bars_splits_and_dividends_are_those_that_were_traded(fetch, bars, folder, tmp_path):
    code, told = fetch(*SYMBOLS, since=None)
    assert (code, told["written"], told["refused"]) == (0, len(stored()), 0)
    fetched = stored()
    other = Project(tmp_path, tmp_path / "imported", "https://scanner.invalid")
    pq.write_table(bars, tmp_path / "bars.parquet")
    import_bars(other, ImportRequest((tmp_path / "bars.parquet",)))
    rows = read_current(list_parts(other.lakehouse, OHLCV_1D), OHLCV_1D)
    file = rows.sort_by([("symbol", "ascending"), ("timestamp", "ascending")])
    for name in set(file.column_names) - {"created_timestamp", "source"}:
        assert fetched[name].equals(file[name]), name
    assert set(fetched["source"].to_pylist()) == {"fetch:tiingo"}
    lakehouse = Project.from_environment().lakehouse
    paid = read_current(list_parts(lakehouse, DIVIDENDS), DIVIDENDS).to_pylist()
    found = {(each["symbol"], each["ex_date"], each["amount"]) for each in paid}
    assert found == {(symbol, *each) for symbol, several in PAID.items() for each in several}


def test_a_spent_limit_ends_the_run_and_the_next_one_goes_on(
    fetch, tiingo: ReplayTiingo, waits: list[float]
):
    tiingo.allocation = 2
    code, told = fetch(*SYMBOLS)
    assert code == 3
    assert (told["symbols"], told["not_asked"]) == (3, SYMBOLS[3:])
    (why,) = told["failed"].values()
    assert "the limit of requests is spent" in why
    assert max(waits, default=0) < 2, "nobody waits for an hour"
    assert len(tiingo.asked) == 3
    tiingo.allocation = None
    assert fetch(*SYMBOLS, since=None)[0] == 0
    assert set(stored()["symbol"].to_pylist()) == set(SYMBOLS)


def test_a_spent_limit_that_is_told_with_success_ends_the_run_too(
    fetch, tiingo: ReplayTiingo, monkeypatch: pytest.MonkeyPatch
):
    told = {"detail": "Error: You have run over your 500 symbol look up for this month."}
    monkeypatch.setattr(tiingo, "reply", lambda *_: Reply(told))
    code, result = fetch(AAPL, SHW)
    assert code == 4
    assert "the limit of requests is spent" in result["error"]
    assert len(tiingo.asked) == 1


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("", "Tiingo wants a key: set TVFEAST_TIINGO_KEY"),
        ("0000000000000000", "HTTP 401"),
        (f"{KEY} and more", "TVFEAST_TIINGO_KEY is no key"),
        (f"{KEY}\nX-Other: 1", "TVFEAST_TIINGO_KEY is no key"),
        (f"{KEY}\u00e9", "TVFEAST_TIINGO_KEY is no key"),
    ],
    ids=["none", "wrong", "blank", "line", "letter"],
)
def test_a_key_that_is_none_is_said_without_it(
    fetch, monkeypatch: pytest.MonkeyPatch, key: str, told: str
):
    monkeypatch.setenv("TVFEAST_TIINGO_KEY", key)
    code, result = fetch(AAPL)
    assert code == 4
    assert told in result["error"]


def test_the_key_is_sent_to_nobody_who_could_be_overheard(fetch, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TVFEAST_TIINGO_URL", "http://vendor.example")
    code, result = fetch(AAPL)
    assert code == 4
    assert "TVFEAST_TIINGO_URL is not https" in result["error"]


def test_an_answer_that_repeats_the_key_is_quoted_without_it(
    fetch, tiingo: ReplayTiingo, monkeypatch: pytest.MonkeyPatch
):
    detail = {"detail": f"Error: the header 'Authorization: Token {KEY}' is from another plan"}
    monkeypatch.setattr(tiingo, "reply", lambda *_: Reply(detail, 403))
    code, result = fetch(AAPL)
    assert code == 4
    assert "is from another plan" in result["error"]
    row = {"date": KEY, "open": KEY, "high": 1, "low": 1, "close": 1, "volume": 1, "divCash": 0}
    monkeypatch.setattr(tiingo, "reply", lambda *_: Reply([row | {"splitFactor": 1}]))
    assert fetch(AAPL)[0] in (2, 4)


def test_a_netrc_takes_no_part(
    fetch, tiingo: ReplayTiingo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert fetch(AAPL)[0] == 0


def test_a_last_page_that_is_missing_is_asked_for_again_however_late(
    fetch, tiingo: ReplayTiingo, bars, at
):
    """Of three weeks there is nothing, and nothing says that it failed."""
    series = series_of(bars, AAPL)
    short = [row for row in series.bars if row[0] < date(2021, 3, 22)]
    tiingo.series["AAPL"] = replace(series, bars=short)
    assert fetch(AAPL)[0] == 0
    at(NIGHT + timedelta(days=1))
    tiingo.series["AAPL"] = series
    assert fetch(AAPL, since=None)[0] == 0
    opens = [datetime.fromtimestamp(each, UTC).date() for each in stored()["timestamp"].to_pylist()]
    first, last = date(2021, 2, 1), date(2021, 4, 13)
    assert opens == [row[0] for row in series.bars if first <= row[0] <= last]


def test_a_ticker_that_tiingo_does_not_know_is_told(fetch):
    code, told = fetch(AAPL, "NASDAQ:GONE")
    assert code == 3
    assert told["empty"] == ["NASDAQ:GONE"]


def test_rows_of_nulls_are_no_bars_and_a_bar_that_may_be_corrected_is_none_yet(
    fetch, tiingo: ReplayTiingo, bars, at
):
    series = series_of(bars, AAPL)
    days = list(series.bars)
    (place,) = [number for number, row in enumerate(days) if row[0] == date(2021, 4, 5)]
    days.insert(place, (date(2021, 4, 2), None, None, None, None, None))
    tiingo.series["AAPL"] = replace(series, bars=days)
    at(NIGHT - timedelta(hours=3))  # an hour after the close
    code, told = fetch(AAPL)
    assert (code, told["refused"]) == (0, 0)
    last = max(stored()["timestamp"].to_pylist())
    assert datetime.fromtimestamp(last, UTC).date() == date(2021, 4, 9)
    at(NIGHT)
    assert fetch(AAPL, since=None)[0] == 0
    last = max(stored()["timestamp"].to_pylist())
    assert datetime.fromtimestamp(last, UTC).date() == date(2021, 4, 12)


def test_an_adjusted_series_in_place_of_the_traded_one_is_refused_as_a_whole(
    fetch, tiingo: ReplayTiingo, bars, at
):
    """By one factor, for a split, or in steps, for dividends: the past stays as it was stored."""
    assert fetch(SHW, since="2020-12-01")[0] == 0
    before = stored()
    series = series_of(bars, SHW)
    for number, factor in enumerate((lambda _: 1 / 3, lambda day: 0.98 if day.month < 3 else 0.99)):
        at(NIGHT + timedelta(days=number, hours=1))
        changed = [
            (row[0], *(price * factor(row[0]) for price in row[1:5]), row[5]) for row in series.bars
        ]
        tiingo.series["SHW"] = Series(changed)
        code, told = fetch(SHW, since="2020-12-01")
        assert code in (2, 3), told
        assert stored().equals(before)


@pytest.mark.parametrize(
    ("symbol", "name"),
    [("NYSE:BRK.B", "BRK-B"), ("NASDAQ:AAPL", "AAPL"), ("NYSE:BAC/PL", "BAC-P-L")],
)
def test_tiingos_names(symbol: str, name: str):
    assert ticker(symbol) == name
