"""Two bars of one session of one symbol are one bar, or one of them is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest
from bars_tools import HEADER, Import, Rows, Write, seconds, utc

from ingestion.bars.refusals import Reason
from ingestion.catalog import OHLCV_1D
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.lakehouse import append_part, arrow_schema
from ingestion.project import Project


def line(when: str, symbol: str, close: float = 10.0) -> str:
    return f"{when},{symbol},{close},{close + 1},{close - 1},{close},100\n"


def events(rows: list[dict[str, Any]]) -> list[str]:
    return [f"{row['event_timestamp']:%Y-%m-%d %H:%M}" for row in rows]


FORMS = [
    # A dealer's day: its label and roll, and the UTC day.
    ("OANDA:EURUSD", "2021-03-03", "2021-03-03T00:00:00Z"),
    ("OANDA:EURUSD", "2021-03-02T22:00:00Z", "2021-03-03T00:00:00Z"),
    ("OANDA:EURUSD", "2021-05-04", "2021-05-04T00:00:00Z"),  # in summer
    ("OANDA:XAUUSD", "2021-03-02T23:00:00Z", "2021-03-03T00:00:00Z"),
    ("OANDA:EURUSD", "2021-03-08", "2021-03-08T00:00:00Z"),  # a Monday
    # An exchange of unknown hours: a label, and an opening bell.
    ("NOWHERE:A", "2021-03-03", "2021-03-03T09:00:00Z"),
    ("NOWHERE:A", "2021-03-03", "2021-03-03T14:30:00Z"),
    ("NOWHERE:A", "2021-03-03", "2021-03-02T23:00:00Z"),
    ("NOWHERE:A", "2021-03-03T09:00:00Z", "2021-03-03T14:30:00Z"),
]


@pytest.mark.parametrize(("symbol", "first", "second"), FORMS)
@pytest.mark.parametrize("turned", [False, True])
def test_a_session_that_is_cut_otherwise_is_refused_if_it_says_something_else(
    run: Import, write: Write, stored: Rows, symbol: str, first: str, second: str, turned: bool
) -> None:
    first, second = (second, first) if turned else (first, second)
    run(write("a.csv", HEADER + line(first, symbol)))
    before = stored()
    other = line("2021-03-03", "NASDAQ:GOOD")
    result = run(write("b.csv", HEADER + line(second, symbol, 10.5) + other))
    assert [row for row in stored() if row["symbol"] == symbol] == before
    assert result.refused_by_reason == {Reason.TWICE: 1}
    assert result.accepted == result.written == 1
    receipt = json.loads(result.receipt.path.read_text())
    (refusal,) = receipt["refusals"]
    assert refusal["symbol"] == symbol
    assert f"closes {before[0]['event_timestamp']}" in refusal["detail"]


@pytest.mark.parametrize(("symbol", "first", "second"), FORMS)
def test_a_session_that_is_cut_otherwise_and_says_the_same_is_there_already(
    run: Import, write: Write, stored: Rows, symbol: str, first: str, second: str
) -> None:
    run(write("a.csv", HEADER + line(first, symbol)))
    before = stored()
    result = run(write("b.csv", HEADER + line(second, symbol)))
    assert stored() == before
    assert (result.refused, result.written, result.unchanged) == (0, 0, 1)


@pytest.mark.parametrize(("symbol", "first", "second"), FORMS)
def test_within_one_import_too(
    run: Import, write: Write, stored: Rows, symbol: str, first: str, second: str
) -> None:
    good = line("2021-04-01", symbol)
    same = run(write("a.csv", HEADER + line(first, symbol) + line(second, symbol) + good))
    assert len(stored()) == 2
    assert (same.refused, same.accepted) == (0, 2)
    other = write("b.csv", HEADER + line("2021-04-06", symbol))
    lines = line(first, f"{symbol}2", 10.5) + line(second, f"{symbol}2", 10.6)
    result = run(other, write("c.csv", HEADER + lines))
    assert result.refused_by_reason == {Reason.DUPLICATE: 2}


def test_consecutive_sessions_are_not_taken_for_one(
    run: Import, write: Write, stored: Rows
) -> None:
    text = HEADER + "".join(
        line(when, symbol)
        for symbol, whens in {
            # A dealer's UTC days over a weekend: Friday, Sunday's two hours, Monday.
            "FX:EURUSD": ["2021-03-05T00:00Z", "2021-03-07T00:00Z", "2021-03-08T00:00Z"],
            # Days of 23 and 25 hours, of a market that never closes and of a dealer.
            "OANDA:BTCUSD": ["2021-03-12T22:00Z", "2021-03-13T22:00Z", "2021-03-14T21:00Z"],
            "OANDA:ETHUSD": ["2020-10-30T21:00Z", "2020-10-31T21:00Z", "2020-11-01T22:00Z"],
            # Unknown hours whose clocks change.
            "NOWHERE:A": ["2021-03-12T14:30Z", "2021-03-13T14:30Z", "2021-03-14T13:30Z"],
            "NOWHERE:B": ["2020-10-30T13:30Z", "2020-10-31T13:30Z", "2020-11-01T14:30Z"],
            "NOWHERE:C": ["2021-03-11T23:00Z", "2021-03-12T23:00Z", "2021-03-13T22:00Z"],
            # The evening after which a holiday's Muhurat session and the next day's are 15 h apart.
            "NSE:A": ["2020-11-13", "2020-11-14", "2020-11-17"],
        }.items()
        for when in whens
    )
    result = run(write("v.csv", text))
    assert result.refusals == ()
    assert result.refused == 0
    assert len(stored()) == result.accepted == 21
    other = write("w.csv", text.replace("10.0", "10.5").replace(",11.0,", ",12.0,"))
    again = run(other, restate=True)  # all of the past by one factor
    assert (again.refused, again.restated) == (0, 21)


def test_stamps_of_a_market_that_never_closes_are_one_session(
    run: Import, write: Write, stored: Rows
) -> None:
    for number, when in enumerate(["2021-03-03", "2021-03-03T00:00Z", "2021-03-03T08:00Z"]):
        run(write(f"{number}.csv", HEADER + line(when, "BINANCE:BTCUSDT", 10.0 + number)))
    assert events(stored()) == ["2021-03-04 00:00"]
    assert [row["close"] for row in stored()] == [12.0]


@pytest.fixture
def as_once(lakehouse: Project) -> Callable[..., None]:
    """Store bars as they were when a bar in no session closed 24 h after its open."""

    def store(*bars: tuple[str, str, float]) -> None:
        for symbol, opened, close in bars:
            at = utc(opened)
            row = {
                "timestamp": int(at.timestamp()),
                "symbol": symbol,
                **{"open": close, "high": close + 1, "low": close - 1, "close": close},
                "volume": 100.0,
                "split_ratio": 1.0,
                "event_timestamp": datetime.fromtimestamp(at.timestamp() + 86_400, at.tzinfo),
                "created_timestamp": utc("2021-04-01"),
                "source": "import:old.csv",
            }
            table = pa.Table.from_pylist([row], schema=arrow_schema(OHLCV_1D))
            append_part(lakehouse.lakehouse, OHLCV_1D, table, "20210401T000000Z-0000000000")

    return store


def test_a_session_that_is_stored_in_none_is_refused_until_that_is_settled(
    as_once: Callable[..., None], run: Import, write: Write, stored: Rows
) -> None:
    as_once(("NASDAQ:X", "2021-03-02", 10.0), ("NASDAQ:X", "2021-03-05", 10.0))
    days = ("2021-03-01", "2021-03-02", "2021-03-03", "2021-03-04", "2021-03-05", "2021-03-08")
    result = run(write("v.csv", HEADER + "".join(line(day, "NASDAQ:X") for day in days)))
    assert result.refused_by_reason == {Reason.TWICE: 2}
    assert len(stored()) == 6
    details = [each["detail"] for each in json.loads(result.receipt.path.read_text())["refusals"]]
    assert all("`tvfeast verify` lists such bars" in detail for detail in details)
    assert "closes 2021-03-06 00:00:00+00:00" in details[1]


def test_a_bar_that_shares_the_partition_is_found_too(
    as_once: Callable[..., None], run: Import, write: Write, stored: Rows
) -> None:
    as_once(("NYSE:X", "2021-03-02", 10.0))  # closes 2021-03-03 00:00, in the next day's partition
    result = run(
        write("v.csv", HEADER + line("2021-03-03", "NYSE:X") + line("2021-03-02", "NYSE:Y"))
    )
    assert result.refused == 0
    assert seconds("2021-03-03 14:30") in {row["timestamp"] for row in stored()}


def test_verify_names_sessions_that_are_stored_twice_or_in_none(
    as_once: Callable[..., None], lakehouse: Project, run: Import, write: Write
) -> None:
    run(
        write("v.csv", HEADER + line("2021-03-02", "NASDAQ:X") + line("2021-03-03", "OANDA:EURUSD"))
    )
    assert check_lakehouse(lakehouse).faults == []
    as_once(
        ("NASDAQ:X", "2021-03-02", 10.0),  # beside the right one
        ("NASDAQ:X", "2021-03-06", 10.0),  # a Saturday
        ("OANDA:EURUSD", "2021-03-03", 10.5),  # cut at 00:00 UTC
        ("OANDA:EURUSD", "2021-03-04", 10.5),  # the next day alone
        ("NOWHERE:A", "2021-03-03", 10.0),
        ("NOWHERE:A", "2021-03-03 14:30", 10.0),
    )
    told = {
        fault.file: fault.reason
        for fault in check_lakehouse(lakehouse).faults
        if "stored twice or in no session" in fault.reason
    }
    assert len(told) == 3
    assert all("`tvfeast withdraw-bars --listed --reason TEXT`" in told[path] for path in told)
    third, fourth, seventh = (told[path] for path in sorted(told))
    assert "NASDAQ:X, session 2021-03-02, closes with no session" in third
    assert "ohlcv_1d/date=2021-03-02/part-0.parquet" in third
    assert "OANDA:EURUSD, session 2021-03-03, is there twice" in third  # the one that came later
    assert "NOWHERE:A, session 2021-03-03, is there twice" in fourth
    assert "NASDAQ:X, session 2021-03-06, closes with no session" in seventh
