"""When a flow is to start again; the expected instants are from a wall calendar, by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.jobs.audit.status.flows import next_start, rhythm

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NEW_YORK, TOKYO, SHANGHAI = ["NASDAQ:AAPL"], ["TSE:7203"], ["SSE:600519"]
RIYADH, COINS, EURO, UNKNOWN = ["TADAWUL:2222"], ["BINANCE:BTCUSDT"], ["FX:EURUSD"], ["XYZ:ABC"]


def on(day: int, hour: int = 21, minute: int = 40, month: int = 1) -> datetime:
    """2026, where 1 January is a Thursday."""
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        ([], None),
        ([on(5)], None),
        ([on(5), on(6)], DAY),
        ([on(8), on(9), on(12), on(13), on(14)], DAY),  # a weekend within
        ([on(5), on(6), on(8), on(9), on(10)], DAY),  # an evening lost
        ([on(5), on(5, 22), on(6), on(6, 22), on(7)], 23 * HOUR),  # twice an evening
        ([on(5, hour) for hour in (1, 2, 3, 4, 5)], HOUR),
        ([on(5, 1), on(5, 2), on(6, 2), on(6, 3), on(6, 4)], HOUR),  # a day lost
        ([on(5), on(12), on(19)], 7 * DAY),
    ],
)
def test_the_rhythm_is_the_median_gap(starts: list[datetime], expected: timedelta | None):
    assert rhythm(starts) == expected


@pytest.mark.parametrize(
    ("start", "symbols", "expected"),
    [
        (on(8), NEW_YORK, on(9)),
        (on(9), NEW_YORK, on(12)),  # from Friday to Monday
        (on(16), NEW_YORK, on(20)),  # the 19th is Martin Luther King's day
        (on(10, 7), NEW_YORK, on(13, 7)),  # on Saturday's morning, of Friday's session
        (on(9, 7), NEW_YORK, on(10, 7)),
        (on(9, 20), NEW_YORK, on(12, 20)),  # before the close, in the midst of the session
        (on(8, 20), NEW_YORK, on(9, 20)),
        (on(9, 8), TOKYO, on(13, 8)),  # the 12th is the day of coming of age
        (on(13, 9, 0, 2), SHANGHAI, on(24, 9, 0, 2)),  # New Year: 15 to 23 February
        (on(8, 13), RIYADH, on(11, 13)),  # from Thursday to Sunday
        (on(9), COINS, on(10)),
        (on(9), EURO, on(12)),
        (on(9), UNKNOWN, on(12)),
        (on(9), [*COINS, *NEW_YORK], on(12)),  # a line of Monday to Friday
        (on(8), [*RIYADH, *NEW_YORK], on(9)),
        (on(16), [*TOKYO, *NEW_YORK], on(19)),
        (on(13, 9, 0, 2), [*SHANGHAI, *NEW_YORK], on(17, 9, 0, 2)),  # the 16th is Presidents' day
    ],
)
def test_a_daily_flow_waits_for_the_sessions_of_its_markets(start, symbols, expected):
    assert next_start(start, DAY, symbols) == expected


@pytest.mark.parametrize(
    ("start", "symbols", "expected"),
    [
        (on(9, 23), COINS, on(10, 0)),
        (on(10, 13, 5), COINS, on(10, 14, 5)),
        (on(9, 19, 0), NEW_YORK, on(9, 20, 0)),
        (on(9, 21, 0), NEW_YORK, on(12, 15, 30)),  # an hour after Monday's open
        (on(8, 21, 0), NEW_YORK, on(9, 15, 30)),
    ],
)
def test_an_hourly_flow_waits_for_the_next_open(start, symbols, expected):
    assert next_start(start, HOUR, symbols) == expected


def test_a_weekly_flow_is_not_moved_by_weekends():
    assert next_start(on(10, 6), 7 * DAY, NEW_YORK) == on(17, 6)


def test_a_market_without_a_known_session_is_never_waited_for():
    """Past every calendar nothing is known, so nothing is missed."""
    far = datetime(2190, 1, 5, 21, 40, tzinfo=UTC)
    following = next_start(far, DAY, NEW_YORK)
    assert following is None or following >= far + DAY


@given(
    st.datetimes(datetime(2022, 1, 1), datetime(2025, 12, 1)).map(lambda t: t.replace(tzinfo=UTC)),
    st.sampled_from([NEW_YORK, TOKYO, RIYADH, EURO, COINS, UNKNOWN]),
    st.timedeltas(10 * timedelta(minutes=1), 10 * DAY),
)
def test_a_flow_is_never_to_start_sooner_than_its_rhythm(start, symbols, every):
    following = next_start(start, every, symbols)
    assert following is not None
    assert start + every <= following <= start + every + 12 * DAY


@given(
    st.datetimes(datetime(2022, 1, 1), datetime(2025, 12, 1)).map(lambda t: t.replace(tzinfo=UTC)),
    st.lists(st.sampled_from([*NEW_YORK, *TOKYO, *RIYADH, *EURO]), min_size=1),
)
def test_of_several_markets_the_first_to_have_a_session_decides(start, symbols):
    alone = [next_start(start, DAY, [symbol]) for symbol in symbols]
    assert next_start(start, DAY, symbols) == min(each for each in alone if each is not None)
