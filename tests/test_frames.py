"""Which bar of a frame a row is to describe: by sessions, with half days, breaks and holidays."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.catalog.sources import FRAMES, BarCheck
from ingestion.markets.frames import bar_check, bar_state_in, frame_close
from ingestion.markets.hours import BarState

AAPL, BTC, EURUSD, TOYOTA = "NASDAQ:AAPL", "BINANCE:BTCUSDT", "OANDA:EURUSD", "TSE:7203"


def second(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def check(symbol: str, frame: str, opened: str, at: str, delay: int = 1_200) -> str:
    return str(bar_check(symbol, frame, second(opened), second(at), second(at), delay))


@pytest.mark.parametrize(
    ("symbol", "frame", "opened", "at", "expected"),
    [
        # New York in April opens at 13:30 UTC and closes at 20:00.
        (AAPL, "1h", "2021-04-12 15:30", "2021-04-12 16:10", "expected"),
        (AAPL, "1h", "2021-04-12 15:30", "2021-04-12 16:40", "expected"),  # the feed is delayed
        (AAPL, "1h", "2021-04-12 15:30", "2021-04-12 16:55", "earlier"),
        (AAPL, "1h", "2021-04-12 16:00", "2021-04-12 16:10", "misplaced"),
        (AAPL, "1h", "2021-04-12 16:30", "2021-04-12 16:10", "later"),
        (AAPL, "1h", "2021-04-12 19:30", "2021-04-13 03:00", "expected"),  # the session's last
        (AAPL, "1h", "2021-04-09 19:30", "2021-04-12 13:40", "expected"),  # Friday's, by the delay
        (AAPL, "1h", "2021-04-09 19:30", "2021-04-12 14:00", "earlier"),
        (AAPL, "1h", "2021-04-12 20:30", "2021-04-12 21:00", "misplaced"),  # after the close
        (AAPL, "1h", "2021-04-10 14:30", "2021-04-12 14:00", "misplaced"),  # a Saturday
        (AAPL, "4h", "2021-04-12 17:30", "2021-04-12 21:30", "expected"),
        (AAPL, "4h", "2021-04-12 16:00", "2021-04-12 21:30", "misplaced"),
        (AAPL, "4h", "2020-11-27 14:30", "2020-11-27 21:00", "expected"),  # a half day: until 18:00
        (AAPL, "4h", "2020-11-27 18:30", "2020-11-27 21:00", "misplaced"),
        (AAPL, "1w", "2021-04-12 13:30", "2021-04-14 15:00", "expected"),
        (AAPL, "1w", "2021-04-05 13:30", "2021-04-14 15:00", "earlier"),
        (AAPL, "1w", "2021-04-14 13:30", "2021-04-14 15:00", "misplaced"),
        (AAPL, "1w", "2021-04-12 13:30", "2021-04-18 15:00", "expected"),
        (AAPL, "1w", "2021-02-16 14:30", "2021-02-17 15:00", "expected"),  # after Presidents' Day
        (AAPL, "1w", "2021-02-15 14:30", "2021-02-17 15:00", "expected"),  # or stamped on it
        (AAPL, "1mo", "2021-05-03 13:30", "2021-05-12 15:00", "expected"),  # the 1st is a Saturday
        (AAPL, "1mo", "2021-04-01 13:30", "2021-05-12 15:00", "earlier"),
        (AAPL, "1mo", "2021-05-04 13:30", "2021-05-12 15:00", "misplaced"),
        (BTC, "1h", "2021-04-12 16:00", "2021-04-12 16:10", "expected"),
        (BTC, "1h", "2021-04-12 15:30", "2021-04-12 16:10", "misplaced"),
        (BTC, "4h", "2021-04-12 16:00", "2021-04-12 19:10", "expected"),
        (BTC, "1w", "2021-04-12 00:00", "2021-04-18 15:00", "expected"),
        (BTC, "1w", "2021-04-11 00:00", "2021-04-12 15:00", "misplaced"),
        (BTC, "1mo", "2021-04-01 00:00", "2021-04-18 15:00", "expected"),
        # Dealers' days begin at 17:00 New York: 21:00 UTC in April.
        (EURUSD, "4h", "2021-04-12 17:00", "2021-04-12 19:00", "expected"),
        (EURUSD, "4h", "2021-04-12 16:00", "2021-04-12 19:00", "misplaced"),
        (EURUSD, "4h", "2021-04-11 21:00", "2021-04-11 22:00", "expected"),  # Sunday evening
        (EURUSD, "4h", "2021-04-09 17:00", "2021-04-11 10:00", "expected"),
        (EURUSD, "1w", "2021-04-11 21:00", "2021-04-15 10:00", "expected"),
        # Tokyo: 09:00 to 11:30 and 12:30 to 15:00, which is 00:00 to 06:00 UTC.
        (TOYOTA, "1h", "2021-04-12 02:00", "2021-04-12 02:50", "expected"),
        (TOYOTA, "1h", "2021-04-12 03:30", "2021-04-12 04:00", "expected"),
        (TOYOTA, "1h", "2021-04-12 04:00", "2021-04-12 04:10", "misplaced"),
        (TOYOTA, "1h", "2021-04-12 02:30", "2021-04-12 04:10", "misplaced"),  # in the break
        # Riyadh's week begins on Sunday.
        ("TADAWUL:2222", "1w", "2021-04-11 07:00", "2021-04-13 10:00", "expected"),
        ("TADAWUL:2222", "1w", "2021-04-12 07:00", "2021-04-13 10:00", "misplaced"),
        ("MOEX:SBER", "1h", "2021-04-12 10:00", "2021-04-12 10:10", "unknown"),
    ],
)
def test_the_bar_is_checked_by_sessions(
    symbol: str, frame: str, opened: str, at: str, expected: str
):
    assert check(symbol, frame, opened, at) == expected


def test_a_row_without_a_bar_time_is_marked():
    assert bar_check(AAPL, "1h", None, 0, 0, 0) is BarCheck.UNKNOWN


@pytest.mark.parametrize(
    ("symbol", "frame", "opened", "close"),
    [
        (AAPL, "1h", "2021-04-12 13:30", "2021-04-12 14:30"),
        (AAPL, "1h", "2021-04-12 19:30", "2021-04-12 20:00"),
        (AAPL, "4h", "2020-11-27 14:30", "2020-11-27 18:00"),
        (AAPL, "1w", "2021-04-05 13:30", "2021-04-09 20:00"),
        (AAPL, "1w", "2021-03-29 13:30", "2021-04-01 20:00"),  # Good Friday
        (AAPL, "1mo", "2021-05-03 13:30", "2021-05-28 20:00"),
        (TOYOTA, "1h", "2021-04-12 02:00", "2021-04-12 02:30"),
        (BTC, "1w", "2021-04-12 00:00", "2021-04-19 00:00"),
        (BTC, "4h", "2021-04-12 20:00", "2021-04-13 00:00"),
    ],
)
def test_a_bar_closes_with_its_frame_and_its_session(
    symbol: str, frame: str, opened: str, close: str
):
    assert frame_close(symbol, frame, second(opened)) == second(close)


def test_a_bar_that_begins_nowhere_has_no_close():
    assert frame_close(AAPL, "1h", second("2021-04-12 16:00")) is None
    assert bar_state_in("1h", AAPL, second("2021-04-12 16:00"), 1 << 32) is BarState.UNKNOWN


@settings(max_examples=15, deadline=None)
@given(
    symbol=st.sampled_from([AAPL, BTC, EURUSD, TOYOTA, "LSE:VOD", "TADAWUL:2222"]),
    frame=st.sampled_from(["15m", "1h", "4h", "1w", "1mo"]),
    at=st.integers(second("2022-02-05 00:00"), second("2024-12-20 00:00")),
)
def test_at_every_instant_one_bar_is_expected_and_the_next_begins_at_or_after_its_close(
    symbol: str, frame: str, at: int
):
    """All opens are quarters of an hour; others of the past are earlier or misplaced."""
    quarter = at - at % 900
    back = {"1w": 12, "1mo": 45}.get(frame, 13) * 86_400
    checks = {
        t: bar_check(symbol, frame, t, at, at, 0) for t in range(quarter - back, quarter + 1, 900)
    }
    expected = [t for t, found in checks.items() if found is BarCheck.EXPECTED]
    closes = {frame_close(symbol, frame, t) for t in expected}
    assert len(closes) == 1
    if FRAMES[frame].seconds:
        assert len(expected) == 1
        assert BarCheck.LATER not in checks.values()
    earlier = [t for t, found in checks.items() if found is BarCheck.EARLIER]
    assert all(frame_close(symbol, frame, t) <= expected[-1] for t in earlier)
