"""Which sessions there are from one date to another, and beside one; also past a calendar's end.

The instants are the exchanges' published hours, by hand.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from ingestion.markets.hours import (
    bar_close,
    known_bar_close,
)
from ingestion.markets.sessions import (
    calendar_ends,
    next_open,
    previous_close,
    session_bounds,
    sessions_between,
    sessions_of_labels,
)


def at(text: str) -> int:
    """Unix seconds of an instant in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("exchange", "label", "bounds"),
    [
        ("NYSE", date(2021, 3, 3), ("2021-03-03 14:30", "2021-03-03 21:00")),
        ("NASDAQ", date(2021, 3, 15), ("2021-03-15 13:30", "2021-03-15 20:00")),
        ("NASDAQ", date(2020, 11, 27), ("2020-11-27 14:30", "2020-11-27 18:00")),
        ("TSE", date(2021, 3, 3), ("2021-03-03 00:00", "2021-03-03 06:00")),
        ("ASX", date(2021, 1, 28), ("2021-01-27 23:00", "2021-01-28 05:00")),
        ("FX_IDC", date(2021, 3, 15), ("2021-03-14 21:00", "2021-03-15 21:00")),
        ("FX_IDC", date(2021, 12, 31), ("2021-12-30 22:00", "2021-12-31 22:00")),
        ("BINANCE", date(2021, 12, 31), ("2021-12-31 00:00", "2022-01-01 00:00")),
        ("NOWHERE", date(2021, 3, 6), ("2021-03-06 00:00", "2021-03-07 00:00")),
    ],
)
def test_a_label_names_its_session(exchange: str, label: date, bounds: tuple[str, str]) -> None:
    assert session_bounds(exchange, label) == (at(bounds[0]), at(bounds[1]))


@pytest.mark.parametrize(
    ("exchange", "label"),
    [
        ("NYSE", date(2021, 3, 6)),
        ("NYSE", date(2020, 12, 25)),
        ("NYSE", date(1985, 6, 3)),
        ("TSE", date(2020, 12, 31)),
        ("OANDA", date(2021, 3, 7)),
    ],
)
def test_a_date_without_a_session_has_no_bounds(exchange: str, label: date) -> None:
    assert session_bounds(exchange, label) is None


def spans(exchange: str, first: date, last: date) -> list[tuple[str, str, str, bool]]:
    """Label, open and close in UTC, and whether the session is assumed."""
    return [
        (
            str(each.label),
            *(f"{datetime.fromtimestamp(t, UTC):%m-%d %H:%M}" for t in each[1:3]),
            each[3],
        )
        for each in sessions_between(exchange, first, last)
    ]


def test_sessions_between_two_dates_skip_weekends_and_holidays_and_know_half_days() -> None:
    assert spans("NASDAQ", date(2020, 11, 25), date(2020, 11, 30)) == [
        ("2020-11-25", "11-25 14:30", "11-25 21:00", False),
        ("2020-11-27", "11-27 14:30", "11-27 18:00", False),
        ("2020-11-30", "11-30 14:30", "11-30 21:00", False),
    ]


def test_dealers_have_five_sessions_in_a_week_and_round_the_clock_markets_seven() -> None:
    week = date(2021, 3, 8), date(2021, 3, 14)
    assert spans("OANDA", *week)[0] == ("2021-03-08", "03-07 22:00", "03-08 22:00", False)
    assert [each.label.day for each in sessions_between("OANDA", *week)] == [8, 9, 10, 11, 12]
    assert [each.label.day for each in sessions_between("BINANCE", *week)] == list(range(8, 15))
    assert spans("BINANCE", *week)[-1] == ("2021-03-14", "03-14 00:00", "03-15 00:00", False)


def test_of_an_exchange_of_unknown_hours_no_session_is_known() -> None:
    assert sessions_between("NOWHERE", date(2021, 3, 8), date(2021, 3, 14)) == []


def test_sessions_between_agree_with_the_bounds_of_each_label() -> None:
    days = [date(2021, 2, 1) + timedelta(n) for n in range(60)]
    for exchange in ("NYSE", "SSE", "TADAWUL", "FX", "KRAKEN"):
        bounds = [found for day in days if (found := session_bounds(exchange, day))]
        listed = sessions_between(exchange, days[0], days[-1])
        assert [(each.opens, each.closes) for each in listed] == bounds


@pytest.mark.parametrize(
    ("symbol", "close", "before", "following"),
    [
        ("NYSE:IBM", "2021-03-08 21:00", "2021-03-05 21:00", "2021-03-09 14:30"),
        ("NYSE:IBM", "2020-11-30 21:00", "2020-11-27 18:00", "2020-12-01 14:30"),
        ("NYSE:IBM", "2021-03-15 20:00", "2021-03-12 21:00", "2021-03-16 13:30"),
        ("NYSE:IBM", "2021-03-08 20:00", None, None),
        ("OANDA:EURUSD", "2021-03-15 21:00", "2021-03-12 22:00", "2021-03-15 21:00"),
        # Cut by UTC days: Friday's bar, then Sunday's two hours, then Monday's.
        ("OANDA:EURUSD", "2021-03-06 00:00", "2021-03-05 00:00", "2021-03-06 00:00"),
        ("OANDA:EURUSD", "2021-03-08 00:00", "2021-03-06 00:00", "2021-03-08 00:00"),
        ("OANDA:EURUSD", "2021-03-09 00:00", "2021-03-08 00:00", "2021-03-09 00:00"),
        ("BINANCE:BTCUSDT", "2021-03-04 00:00", "2021-03-03 00:00", "2021-03-04 00:00"),
        ("NOWHERE:ABC", "2021-03-04 09:00", None, None),
    ],
)
def test_the_sessions_beside_one(
    symbol: str, close: str, before: str | None, following: str | None
) -> None:
    assert previous_close(symbol, at(close)) == (None if before is None else at(before))
    assert next_open(symbol, at(close)) == (None if following is None else at(following))


def test_past_its_end_a_calendar_has_each_weekdays_usual_hours_and_says_so() -> None:
    assert spans("SSE", date(2026, 12, 30), date(2027, 1, 4)) == [
        ("2026-12-30", "12-30 01:30", "12-30 07:00", False),
        ("2026-12-31", "12-31 01:30", "12-31 07:00", False),
        ("2027-01-01", "01-01 01:30", "01-01 07:00", True),
        ("2027-01-04", "01-04 01:30", "01-04 07:00", True),
    ]
    assert calendar_ends(["SSE", "NYSE", "OANDA", "NOWHERE"]) == {"SSE": date(2026, 12, 31)}


@pytest.mark.parametrize(
    ("symbol", "opened", "close"),
    [
        ("SSE:600519", "2027-01-05 01:30", "2027-01-05 07:00"),
        ("SZSE:000001", "2027-01-05 01:25", "2027-01-05 07:00"),
        ("NSE:TCS", "2027-03-08 03:45", "2027-03-08 10:00"),
        ("SGX:D05", "2027-01-05 01:00", "2027-01-05 09:00"),
        ("NSE:TCS", "2027-03-06 03:45", None),  # a Saturday
        ("SSE:600519", "2027-01-05 07:00", None),  # at the closing bell
    ],
)
def test_past_its_end_every_question_about_a_bar_has_one_answer(
    symbol: str, opened: str, close: str | None
) -> None:
    exchange, label = symbol.partition(":")[0], date.fromisoformat(opened[:10])
    if close is None:
        assert known_bar_close(symbol, at(opened)) is None
        return
    assert known_bar_close(symbol, at(opened)) == bar_close(symbol, at(opened)) == at(close)
    bounds = session_bounds(exchange, label)
    assert bounds is not None
    assert bounds[1] == at(close)
    before = sessions_between(exchange, label - timedelta(days=7), label)[-2]
    assert previous_close(symbol, at(close)) == before.closes
    assert next_open(symbol, before.closes) == bounds[0]


def test_assumed_hours_follow_daylight_saving() -> None:
    assert session_bounds("NYSE", date(2099, 6, 3)) == (
        at("2099-06-03 13:30"),
        at("2099-06-03 20:00"),
    )
    assert session_bounds("NYSE", date(2099, 12, 2)) == (
        at("2099-12-02 14:30"),
        at("2099-12-02 21:00"),
    )


@pytest.mark.parametrize("exchange", ["NASDAQ", "TSE", "OANDA", "BINANCE", "NOSUCH"])
def test_many_labels_name_the_sessions_that_each_one_names(exchange: str):
    first = date(2024, 12, 20)
    labels = [first + timedelta(days=n) for n in range(30)]
    labels += [date(1950, 1, 3), date(2199, 12, 31)]
    days = np.array([(label - date(1970, 1, 1)).days for label in labels])
    opens, closes = sessions_of_labels(exchange, days)
    each = [session_bounds(exchange, label) or (-1, -1) for label in labels]
    assert list(zip(opens.tolist(), closes.tolist(), strict=True)) == each
