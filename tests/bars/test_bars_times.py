"""A date names a session, anything else is an instant; a bar is stamped at its close."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from bars_tools import HEADER, Import, Rows, Write, day_of, seconds, utc

from ingestion.bars.cells import Kind, read_time
from ingestion.base.errors import InputError

LABEL = (Kind.LABEL, seconds("2021-03-03"))
INSTANT = (Kind.INSTANT, seconds("2021-03-03 14:30"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2021-03-03", LABEL),
        ("20210303", LABEL),
        (20210303, LABEL),
        (date(2021, 3, 3), LABEL),
        ("2021-03-03 00:00:00", LABEL),
        (datetime(2021, 3, 3), LABEL),
        ("2021-03-03 14:30", INSTANT),
        ("2021-03-03T14:30:00.000Z", INSTANT),
        ("2021-03-03 14:30:00 UTC", INSTANT),
        ("2021-03-03T09:30:00-05:00", INSTANT),
        (datetime(2021, 3, 3, 14, 30, tzinfo=UTC), INSTANT),
        ("1614781800", INSTANT),
        ("1614781800.0", INSTANT),
        (1614781800, INSTANT),
        (1614781800.0, INSTANT),
        (1614781800_000, INSTANT),
        (1614781800_000_000, INSTANT),
        (1614781800_000_000_000, INSTANT),
        ("2021-03-03T00:00:00Z", (Kind.INSTANT, seconds("2021-03-03"))),
        ("2021-03-03 00:00:00-05:00", (Kind.LOCAL_MIDNIGHT, seconds("2021-03-03 05:00"))),
    ],
)
def test_times_are_labels_or_instants(value: object, expected: tuple[Kind, int]) -> None:
    assert read_time(value)[:2] == expected


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "soon", "03/04/2021", "2021-02-30", "1899-12-31", "2200-01-01", "²"),
        *("9" * 20, "9" * 5000, 20210230, 0, 7, 44258, -1, True, b"2021-03-03"),
        *(float("nan"), float("inf"), 1e300),
    ],
)
def test_other_times_are_unreadable(value: object) -> None:
    assert read_time(value).kind is Kind.UNREADABLE


@pytest.mark.parametrize(
    ("symbol", "when", "opened", "closed"),
    [
        ("NYSE:IBM", "2021-03-03", "2021-03-03 14:30", "2021-03-03 21:00"),
        ("NYSE:IBM", "2021-03-15", "2021-03-15 13:30", "2021-03-15 20:00"),
        # The half day after Thanksgiving.
        ("NYSE:IBM", "2020-11-27", "2020-11-27 14:30", "2020-11-27 18:00"),
        ("NYSE:IBM", "2020-11-27T14:30:00Z", "2020-11-27 14:30", "2020-11-27 18:00"),
        # What one library writes for a date in New York: no bar opens at midnight there …
        ("NYSE:IBM", "2021-03-03 00:00:00-05:00", "2021-03-03 14:30", "2021-03-03 21:00"),
        # … but the same text is an instant where markets never close.
        ("BINANCE:BTCUSDT", "2021-03-03 00:00:00-05:00", "2021-03-03 05:00", "2021-03-04 00:00"),
        ("ASX:BHP", "2021-01-28", "2021-01-27 23:00", "2021-01-28 05:00"),
        ("BINANCE:BTCUSDT", "2021-03-06", "2021-03-06 00:00", "2021-03-07 00:00"),
        ("BINANCE:BTCUSDT", "1614988800000", "2021-03-06 00:00", "2021-03-07 00:00"),
        ("INDEX:BTCUSD", "2021-03-06", "2021-03-06 00:00", "2021-03-07 00:00"),
        # An FX label is the date of the closing roll.
        ("FX_IDC:EURUSD", "2021-03-15", "2021-03-14 21:00", "2021-03-15 21:00"),
        ("FX_IDC:EURUSD", "2021-03-14T21:00:00Z", "2021-03-14 21:00", "2021-03-15 21:00"),
    ],
)
def test_a_bar_lies_in_the_partition_of_its_close(
    symbol: str, when: str, opened: str, closed: str, run: Import, write: Write, stored: Rows
) -> None:
    result = run(write("vendor.csv", HEADER + day_of(symbol, when)))
    (row,) = stored()
    assert row["timestamp"] == seconds(opened)
    assert row["event_timestamp"] == utc(closed)
    assert result.parts[0].path.parent.name == f"date={closed[:10]}"


def test_bars_of_many_markets_in_one_file_keep_their_own_hours(
    run: Import, write: Write, stored: Rows
) -> None:
    symbols = ("NYSE:IBM", "BINANCE:BTCUSDT", "NASDAQ:AAPL", "OANDA:EURUSD", "TSE:7203")
    run(write("v.csv", HEADER + "".join(day_of(symbol, "2021-03-03") for symbol in symbols)))
    assert {row["symbol"]: row["event_timestamp"] for row in stored()} == {
        "BINANCE:BTCUSDT": utc("2021-03-04"),
        "NASDAQ:AAPL": utc("2021-03-03 21:00"),
        "NYSE:IBM": utc("2021-03-03 21:00"),
        "OANDA:EURUSD": utc("2021-03-03 22:00"),
        "TSE:7203": utc("2021-03-03 06:00"),
    }


@pytest.mark.parametrize(
    ("symbol", "label"),
    [("NYSE:IBM", "2021-03-06"), ("NYSE:IBM", "2020-12-25"), ("OANDA:EURUSD", "2021-03-07")],
)
def test_a_label_without_a_session_is_refused(
    symbol: str, label: str, run: Import, write: Write
) -> None:
    with pytest.raises(InputError, match=f"no session on that date.*{label}"):
        run(write("vendor.csv", HEADER + day_of(symbol, label)))
