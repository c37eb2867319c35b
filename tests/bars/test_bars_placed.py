"""Where sessions are known a bar is in one of them, or it is refused, however its time is written.

Right values are the exchanges' published hours, by hand. 2021-03-05 is a Friday.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from bars_tools import HEADER, Import, Rows, Write, seconds, utc
from hypothesis import given
from hypothesis import strategies as st

from ingestion.bars.cells import Times
from ingestion.bars.placing import NO_CLOSE, place_times
from ingestion.markets.hours import time_zone
from ingestion.markets.sessions import sessions_between

FRIDAY = "2021-03-05 14:30", "2021-03-05 21:00"


def placed(symbol: str, when: object) -> tuple[str, str] | None:
    """Open and close of the session that a time names, UTC; None where it names none."""
    import numpy as np

    one = np.zeros(1, dtype=np.int64)
    opens, closes = place_times(Times.of([when], one), [symbol], one)
    if closes[0] == NO_CLOSE:
        return None
    opened, closed = (
        f"{datetime.fromtimestamp(int(t[0]), UTC):%Y-%m-%d %H:%M}" for t in (opens, closes)
    )
    return opened, closed


@pytest.mark.parametrize(
    "when",
    [
        *(
            "2021-03-05",
            "2021-03-05T00:00:00Z",
            "2021-03-05T00:00:00.000Z",
            "2021-03-05 00:00:00+00:00",
        ),
        *("2021-03-05 00:00:00 UTC", "2021-03-05 01:00:00+01:00", "2021-03-04 19:00:00-05:00"),
        *(1614902400, "1614902400", 1614902400_000, 1614902400_000_000, 1614902400_000_000_000),
        "2021-03-05 00:00:00-05:00",  # midnight in New York
        "2021-03-05 00:00:00+01:00",  # midnight in Paris: a date with somebody's own offset
        "2021-03-05 00:00:00+13:00",  # in Auckland
        datetime(2021, 3, 5, tzinfo=UTC),
        datetime(2021, 3, 5, tzinfo=ZoneInfo("America/New_York")),
    ],
)
def test_a_date_is_its_session_however_it_is_written(when: object) -> None:
    assert placed("NASDAQ:X", when) == FRIDAY


@pytest.mark.parametrize(
    ("when", "opened"),
    [
        ("2021-03-05T05:00:00Z", "2021-03-05 05:00"),  # midnight in New York, in UTC
        (1614920400, "2021-03-05 05:00"),
        ("2021-03-05T09:00:00Z", "2021-03-05 09:00"),  # before the market
        ("2021-03-05T14:30:00Z", "2021-03-05 14:30"),
        ("2021-03-05T20:59:59Z", "2021-03-05 20:59"),
        ("2021-03-05 09:30:00-05:00", "2021-03-05 14:30"),
        ("2021-03-05 15:30:00+01:00", "2021-03-05 14:30"),
    ],
)
def test_an_instant_up_to_the_close_of_its_local_dates_session_is_that_sessions(
    when: object, opened: str
) -> None:
    assert placed("NASDAQ:X", when) == (opened, "2021-03-05 21:00")


@pytest.mark.parametrize(
    "when",
    [
        "2021-03-05T21:00:00Z",  # the close
        "2021-03-05 16:00:00-05:00",
        1614978000_000,
        "2021-03-05T21:15:00Z",
        "2021-03-04T23:00:00Z",  # midnight in Paris, in UTC
        "2021-03-05T04:00:00Z",  # midnight in New York's summer, in winter
        "2021-03-05T23:59:59Z",  # the end of a day
        "2021-03-06T12:00:00Z",  # noon on Saturday
        "2021-03-06T00:00:00Z",  # Saturday
        "2021-03-07 00:00:00-05:00",  # Sunday
        "2021-03-06T05:00:00Z",  # Saturday in New York
        "2021-03-05 00:00:00+09:30",  # 14:30 UTC on Thursday: the opening bell, or Friday's date?
        "2020-12-25T00:00:00Z",
        "1985-06-03T00:00:00Z",  # before the calendar
        "1985-06-03T13:30:00Z",
    ],
)
def test_any_other_time_is_in_no_session(when: object) -> None:
    assert placed("NASDAQ:X", when) is None


@pytest.mark.parametrize(
    ("symbol", "when", "closed"),
    [
        # Clocks go forward on 14 March 2021 in New York: midnight is 05:00, then 04:00 UTC.
        ("NYSE:X", "2021-03-12T05:00:00Z", "2021-03-12 21:00"),
        ("NYSE:X", "2021-03-15T04:00:00Z", "2021-03-15 20:00"),
        ("NYSE:X", "2021-03-15T00:00:00Z", "2021-03-15 20:00"),
        # Half days.
        ("NYSE:X", "2020-11-27T00:00:00Z", "2020-11-27 18:00"),
        ("NYSE:X", "2020-11-27T18:00:00Z", None),
        ("NYSE:X", "2020-11-27T20:00:00Z", None),
        # 00:00 UTC is inside the session in Sydney's summer, its bell in winter; and its own date.
        ("ASX:X", "2021-01-28T00:00:00Z", "2021-01-28 05:00"),
        ("ASX:X", "2021-07-01T00:00:00Z", "2021-07-01 06:00"),
        ("ASX:X", "2021-01-27T13:00:00Z", "2021-01-28 05:00"),  # midnight in Sydney
        ("ASX:X", "2021-01-26T00:00:00Z", None),  # Australia Day
        ("ASX:X", "2021-01-30T00:00:00Z", None),
        ("TSE:X", "2021-03-05T00:00:00Z", "2021-03-05 06:00"),
        ("TSE:X", "2021-03-04T15:00:00Z", "2021-03-05 06:00"),  # midnight in Tokyo
        ("HKEX:X", "2021-03-05T00:00:00Z", "2021-03-05 08:00"),
        ("NSE:X", "2021-03-05T00:00:00Z", "2021-03-05 10:00"),
        ("NSE:X", "2021-03-04T18:30:00Z", "2021-03-05 10:00"),  # midnight in Kolkata
        # Wellington closes early on Christmas Eve, at 12:45: 00:00 UTC is 13:00 there.
        ("NZX:X", "2020-12-23T00:00:00Z", "2020-12-23 03:45"),
        ("NZX:X", "2020-12-24T00:00:00Z", "2020-12-23 23:45"),
        ("LSE:X", "2021-07-01T00:00:00Z", "2021-07-01 15:30"),
        ("LSE:X", "2021-06-30T23:00:00Z", "2021-07-01 15:30"),  # midnight in London's summer
        ("LSE:X", "2021-01-04T23:00:00Z", None),
        ("XETR:X", "2021-01-04T23:00:00Z", "2021-01-05 16:30"),
        ("BMFBOVESPA:X", "2021-03-05T00:00:00Z", "2021-03-05 21:00"),
        ("TADAWUL:X", "2021-07-04T00:00:00Z", "2021-07-04 12:00"),  # a Sunday
        ("TADAWUL:X", "2021-07-02T00:00:00Z", None),  # a Friday
    ],
)
def test_midnights_and_bells_of_many_markets(symbol: str, when: str, closed: str | None) -> None:
    found = placed(symbol, when)
    assert (found and found[1]) == closed


@pytest.mark.parametrize(
    "exchange", ["NYSE", "ASX", "NZX", "TSE", "HKEX", "LSE", "XETR", "BMFBOVESPA"]
)
@given(days=st.integers(0, 8_000), data=st.data())
def test_the_three_midnights_of_a_date_name_one_session(
    exchange: str, days: int, data: st.DataObject
) -> None:
    label = datetime(2003, 1, 6) + timedelta(days=days)
    own = sessions_between(exchange, label.date(), label.date())
    bounds = own[0].closes if own else None
    zone = ZoneInfo(time_zone(f"{exchange}:X") or "")
    local = label.replace(tzinfo=zone)
    forms: list[object] = [
        f"{label:%Y-%m-%d}",
        f"{label:%Y-%m-%d}T00:00:00Z",
        local.isoformat(" "),
        int(local.timestamp()),
        int(label.replace(tzinfo=UTC).timestamp()) * 1000,
    ]
    when = data.draw(st.sampled_from(forms))
    found = placed(exchange + ":X", when)
    assert (None if found is None else seconds(found[1])) == bounds


def test_a_session_twice_is_one_bar_whatever_the_sources(
    run: Import, write: Write, stored: Rows
) -> None:
    lines = {
        "labels": "2021-03-05", "tiingo": "2021-03-05T00:00:00.000Z", "epoch": "1614902400",
        "yahoo": "2021-03-05 00:00:00-05:00", "bell": "2021-03-05T14:30:00Z",
    }  # fmt: skip
    for name, when in lines.items():
        run(write(f"{name}.csv", HEADER + f"{when},NASDAQ:X,10,12,9,11,100\n"))
    assert [(row["timestamp"], row["event_timestamp"]) for row in stored()] == [
        (seconds("2021-03-05 14:30"), utc("2021-03-05 21:00"))
    ]


def test_a_split_is_found_by_its_date_written_as_an_instant(
    run: Import, write: Write, stored: Rows
) -> None:
    bars = write(
        "b.csv", HEADER + "2021-03-04,NYSE:A,40,40,40,40,1\n2021-03-05,NYSE:A,10,10,10,10,4\n"
    )
    splits = write("s.csv", "symbol,date,ratio\nNYSE:A,2021-03-05T00:00:00Z,4\n")
    run(bars, splits=splits)
    assert [row["split_ratio"] for row in stored()] == [1.0, 4.0]


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("2021-03-06T00:00:00Z", "no session on Saturday 2021-03-06"),
        ("2021-03-06", "no session on Saturday 2021-03-06"),
        ("2021-03-05T21:00:00Z", "16:00 in America/New_York is the close of session 2021-03-05"),
        ("2021-03-05T23:00:00Z", "18:00 in America/New_York is in no session of NYSE"),
        ("2021-03-05 00:00:00+09:30", "2021-03-04T14:30Z is within a session of another date"),
        ("1985-06-03", "the calendar of NYSE begins on 1990-01-02"),
    ],
)
def test_a_refusal_tells_what_the_time_is(run: Import, write: Write, when: str, told: str) -> None:
    result = run(write("v.csv", HEADER + f"{when},NYSE:A,1,1,1,1,1\n2021-03-05,NYSE:B,1,1,1,1,1\n"))
    (refusal,) = json.loads(result.receipt.path.read_text())["refusals"]
    assert refusal["detail"].startswith(f"{when}: ")
    assert told in refusal["detail"]
