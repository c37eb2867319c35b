"""Decisions of a schedule, against dates looked up by hand and a slow reading of the rules."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.base.errors import InputError
from ingestion.datasets import Schedule
from ingestion.markets.sessions import sessions_between

KEYS = ("NYSE:", "XETR:", "TSE:", "OANDA:", "BINANCE:", "NOWHERE:")


def told(decisions: np.ndarray) -> list[str]:
    return [f"{datetime.fromtimestamp(at / 1e6, UTC):%m-%d %H:%M}" for at in decisions.tolist()]


def test_a_half_day_and_a_holiday_of_new_york():
    week = Schedule(date(2020, 11, 25), date(2020, 11, 30))
    assert told(week.decisions("NYSE:")) == ["11-25 21:00", "11-27 18:00", "11-30 21:00"]


def test_each_exchange_has_its_own_closes():
    # Friday to Monday; London was on winter time, New York moved its clocks on the Sunday.
    days = Schedule(date(2021, 3, 12), date(2021, 3, 15))
    assert told(days.decisions("LSE:")) == ["03-12 16:30", "03-15 16:30"]
    assert told(days.decisions("NASDAQ:")) == ["03-12 21:00", "03-15 20:00"]
    assert told(days.decisions("OANDA:")) == ["03-12 22:00", "03-15 21:00"]
    midnights = [f"03-{day} 00:00" for day in (12, 13, 14, 15)]
    assert told(days.decisions("BINANCE:")) == midnights
    assert told(days.decisions("NOWHERE:")) == midnights


def test_the_last_session_of_a_week_is_before_a_holiday():
    weeks = Schedule(date(2021, 3, 29), date(2021, 4, 11), every="week")
    assert told(weeks.decisions("NYSE:")) == ["04-01 20:00", "04-09 20:00"]


def test_a_month_that_is_not_over_at_the_last_date_has_no_decision_yet():
    months = Schedule(date(2021, 1, 1), date(2021, 3, 30), every="month")
    assert told(months.decisions("NYSE:")) == ["01-29 21:00", "02-26 21:00"]


def test_a_time_of_day_is_of_the_session_own_date():
    evenings = Schedule(date(2020, 11, 25), date(2020, 11, 30), at=time(21, 30, tzinfo=UTC))
    assert told(evenings.decisions("NYSE:")) == ["11-25 21:30", "11-27 21:30", "11-30 21:30"]


@given(
    st.sampled_from(KEYS),
    st.dates(date(1995, 1, 1), date(2027, 1, 1)),
    st.integers(0, 90),
    st.sampled_from(["session", "week", "month"]),
    st.none() | st.times(timezones=st.just(UTC)).map(lambda each: each.replace(microsecond=0)),
)
def test_decisions_are_those_of_a_slow_reading(key, first, length, every, at):
    last = first + timedelta(length)
    schedule = Schedule(first, last, every=every, at=at)
    wide = date(first.year, 1, 1) - timedelta(40), date(last.year, 12, 31) + timedelta(40)
    exchange = key.rstrip(":")
    if exchange in ("BINANCE", "NOWHERE"):
        days = [wide[0] + timedelta(n) for n in range((wide[1] - wide[0]).days)]
        midnight = time(tzinfo=UTC)
        closes = {day: datetime.combine(day + timedelta(1), midnight) for day in days}
    else:
        sessions = sessions_between(exchange, *wide)
        closes = {each.label: datetime.fromtimestamp(each.closes, UTC) for each in sessions}

    def is_last(day: date) -> bool:
        if every == "week":
            rest = {day + timedelta(n) for n in range(1, 7 - day.weekday())}
        else:
            after = (day + timedelta(n) for n in range(1, 31))
            rest = {each for each in after if each.month == day.month}
        return every == "session" or not rest & closes.keys()

    expected = [
        close if at is None else datetime.combine(day, at)
        for day, close in closes.items()
        if is_last(day)
    ]
    kept = [each for each in sorted(expected) if first <= each.date() <= last]
    assert [datetime.fromtimestamp(n / 1e6, UTC) for n in schedule.decisions(key)] == kept


def test_dates_that_no_calendar_has_have_no_decision():
    assert not len(Schedule(date.min, date(1900, 1, 1)).decisions("NYSE:"))
    assert not len(Schedule(date(2150, 1, 1), date.max).decisions("BINANCE:"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"first": date(2021, 1, 2)}, "2021-01-02, is after the last, 2021-01-01"),
        ({"every": "year"}, 'no schedule "year": every session, week or month'),
        ({"at": time(9, tzinfo=timezone(timedelta(hours=1)))}, "is not UTC"),
    ],
    ids=["order", "every", "zone"],
)
def test_what_is_no_schedule_is_refused(arguments: dict, said: str):
    with pytest.raises(InputError, match=said):
        Schedule(**{"first": date(2021, 1, 1), "last": date(2021, 1, 1)} | arguments)
