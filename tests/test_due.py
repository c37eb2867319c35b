"""For which symbols a group is worth asking; the expected answers are from a wall calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.base.errors import CatalogError
from ingestion.catalog import AskedWhile, Cadence, Column, FeatureGroup, Files, Scanner
from ingestion.markets.due import Due

APPLE, COIN, EURO, UNKNOWN = "NASDAQ:AAPL", "BINANCE:BTCUSDT", "FX:EURUSD", "XYZ:ABC"
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def group(**when: Any) -> FeatureGroup:
    return FeatureGroup(
        name="mine",
        meaning="m",
        source=when.pop("source", Scanner()),
        ttl=when.pop("ttl", "10d"),
        features=[Column("RSI", meaning="r")],
        **when,
    )


def on(day: int, time: str) -> datetime:
    """January 2026, where the 1st is a Thursday; New York is open from 14:30 to 21:00 UTC."""
    hour, minute = map(int, time.split(":"))
    return datetime(2026, 1, day, hour, minute, tzinfo=UTC)


def is_due(cadence: str, hours: str, symbol: str, now: datetime, newest: datetime | None) -> bool:
    due = Due(group(cadence=cadence, market_hours=hours), now)
    return due.is_due(symbol, None if newest is None else int(newest.timestamp()))


@pytest.mark.parametrize(
    ("cadence", "hours", "symbol", "now", "newest", "expected"),
    [
        ("hourly", "any", COIN, on(14, "10:00"), on(14, "09:16"), False),
        ("hourly", "any", COIN, on(14, "10:00"), on(14, "09:15"), True),
        ("daily", "any", APPLE, on(14, "21:40"), on(14, "03:41"), False),
        ("daily", "any", APPLE, on(14, "21:40"), on(14, "03:40"), True),
        ("weekly", "any", APPLE, on(14, "21:40"), on(8, "03:41"), False),
        ("weekly", "any", APPLE, on(14, "21:40"), on(8, "03:40"), True),
        ("weekly", "any", APPLE, on(14, "21:40"), on(7, "21:40"), True),
        # Once after each session; the 19th is a holiday, the 17th a Saturday.
        ("daily", "closed", APPLE, on(15, "21:40"), on(14, "21:40"), True),
        ("daily", "closed", APPLE, on(15, "21:40"), on(15, "21:21"), False),
        ("daily", "closed", APPLE, on(15, "21:40"), on(15, "21:10"), True),  # not final then
        ("daily", "closed", APPLE, on(15, "08:00"), on(14, "21:40"), False),
        ("daily", "closed", APPLE, on(15, "18:00"), None, False),  # in the session
        ("daily", "closed", APPLE, on(15, "21:00"), None, True),
        ("daily", "closed", APPLE, on(17, "21:40"), on(16, "21:40"), False),
        ("daily", "closed", APPLE, on(19, "21:40"), on(16, "21:40"), False),
        ("daily", "closed", APPLE, on(20, "21:40"), on(16, "21:40"), True),
        ("daily", "closed", APPLE, on(20, "08:00"), on(15, "21:40"), True),  # an evening was lost
        ("daily", "closed", COIN, on(15, "21:40"), on(14, "21:40"), True),
        ("daily", "closed", EURO, on(15, "12:00"), on(14, "12:00"), True),
        ("daily", "closed", UNKNOWN, on(15, "12:00"), on(15, "08:00"), False),
        # In a session, and once after it.
        ("hourly", "open", APPLE, on(15, "15:35"), on(15, "14:35"), True),
        ("hourly", "open", APPLE, on(15, "15:35"), on(15, "15:05"), False),
        ("hourly", "open", APPLE, on(15, "21:40"), on(15, "21:05"), True),
        ("hourly", "open", APPLE, on(15, "22:40"), on(15, "21:40"), False),
        ("hourly", "open", APPLE, on(16, "09:00"), on(15, "21:40"), False),
        ("each run", "open", APPLE, on(15, "15:35"), on(15, "15:34"), True),
        ("each run", "open", APPLE, on(16, "09:00"), on(15, "21:40"), False),
        ("each run", "closed", APPLE, on(16, "09:00"), on(16, "08:59"), True),
        ("each run", "closed", APPLE, on(15, "15:35"), on(14, "21:40"), False),
        ("daily", "open", APPLE, on(15, "15:00"), on(14, "15:00"), True),
        ("daily", "open", APPLE, on(15, "21:40"), on(15, "15:00"), False),
        ("daily", "open", APPLE, on(17, "21:40"), on(16, "15:00"), False),
        ("weekly", "closed", APPLE, on(15, "21:40"), on(8, "21:40"), True),
        ("weekly", "closed", APPLE, on(17, "21:40"), on(14, "21:40"), False),
        ("weekly", "closed", APPLE, on(19, "21:40"), on(12, "21:40"), True),
    ],
)
def test_a_symbol_is_due_by_its_newest_row_and_its_market(
    cadence, hours, symbol, now, newest, expected
):
    assert is_due(cadence, hours, symbol, now, newest) is expected


@given(
    st.sampled_from(list(Cadence)),
    st.sampled_from(list(AskedWhile)),
    st.sampled_from([APPLE, COIN, EURO, UNKNOWN, "TSE:7203"]),
    st.integers(0, 60 * 24 * 25),
    st.integers(0, 60 * 24 * 20),
    st.integers(0, 60 * 24 * 20),
)
def test_an_older_row_is_never_less_due(cadence, hours, symbol, minute, age, more):
    now = on(1, "00:00") + minute * MINUTE
    newer, older = now - age * MINUTE, now - (age + more) * MINUTE
    if is_due(cadence, hours, symbol, now, newer):
        assert is_due(cadence, hours, symbol, now, older)
        assert is_due(cadence, hours, symbol, now, None)


@given(st.integers(5, 24), st.integers(0, 60 * 24 - 1))
def test_who_asks_every_ten_minutes_gets_final_values_once_for_each_session(day, minute):
    start = on(day, "00:00") + minute * MINUTE
    newest, asked = start - timedelta(days=9), []
    for step in range(0, 24 * 60, 10):
        now = start + step * MINUTE
        if is_due("daily", "closed", APPLE, now, newest):
            newest = now
            asked.append(now)
    assert not [at for at in asked if _is_in_session(at)]
    days = [at.date() for at in asked if (at.hour, at.minute) >= (21, 20)]
    assert len(days) == len(set(days))


def _is_in_session(at: datetime) -> bool:
    is_open = at.weekday() < 5 and at.date().day != 19
    return is_open and (14, 30) <= (at.hour, at.minute) < (21, 0)


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ({"cadence": "yearly"}, "'yearly' is no cadence: each run, hourly, daily, weekly are"),
        ({"market_hours": "noon"}, "'noon' are no market hours: any, open, closed are"),
        ({"cadence": "weekly", "ttl": "8d"}, "give it a ttl of at least 8 days, 18:00:00"),
        ({"cadence": "daily", "source": Files()}, "nobody is asked for its rows: take them out"),
    ],
)
def test_a_cadence_that_cannot_be_kept_is_refused(when, said):
    with pytest.raises(CatalogError, match=said):
        group(**when)


def test_the_default_groups_are_asked_in_each_run():
    assert group().is_asked_always
    assert not group(cadence="daily").is_asked_always
