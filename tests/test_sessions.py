"""When daily bars open and close. The instants are the exchanges' published hours, by hand."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.markets.exchanges import (
    CALENDARS,
    FX_VENUES,
    ROUND_THE_CLOCK_SYMBOLS,
    ROUND_THE_CLOCK_VENUES,
)
from ingestion.markets.hours import (
    PUBLICATION_DELAY,
    SETTLE,
    BarState,
    ClosingRule,
    MarketHours,
    bar_close,
    bar_closes,
    bar_state,
    feed_delay,
    hours_of,
    hours_of_exchange,
    known_bar_close,
    time_zone,
)
from ingestion.markets.sessions import (
    session_bounds,
)

HOUR = 3_600
DAY = 24 * HOUR


def at(text: str) -> int:
    """Unix seconds of an instant in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def closes(symbol: str, bar_open: str) -> str:
    return datetime.fromtimestamp(bar_close(symbol, at(bar_open)), UTC).strftime("%Y-%m-%d %H:%M")


# --- which rule ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "hours"),
    [
        ("NASDAQ:AAPL", MarketHours(ClosingRule.SESSION, "XNYS")),
        ("NYSE:BRK.B", MarketHours(ClosingRule.SESSION, "XNYS")),
        ("OTC:NSRGY", MarketHours(ClosingRule.SESSION, "XNYS")),
        ("TSE:7203", MarketHours(ClosingRule.SESSION, "XTKS")),
        ("TSX:SHOP", MarketHours(ClosingRule.SESSION, "XTSE")),
        ("NSE:RELIANCE", MarketHours(ClosingRule.SESSION, "XBOM")),
        ("FX_IDC:EURUSD", MarketHours(ClosingRule.NEW_YORK_ROLL)),
        ("BINANCE:BTCUSDT", MarketHours(ClosingRule.MIDNIGHT_UTC)),
        ("CRYPTOCAP:BTC.D", MarketHours(ClosingRule.MIDNIGHT_UTC)),
        ("INDEX:BTCUSD", MarketHours(ClosingRule.MIDNIGHT_UTC)),
        ("INDEX:DEU40", MarketHours(ClosingRule.DAY_AFTER_OPEN)),
        ("COMEX:GC1!", MarketHours(ClosingRule.DAY_AFTER_OPEN)),
        ("NOWHERE:X", MarketHours(ClosingRule.DAY_AFTER_OPEN)),
        ("NASDAQ", MarketHours(ClosingRule.DAY_AFTER_OPEN)),
        ("", MarketHours(ClosingRule.DAY_AFTER_OPEN)),
    ],
)
def test_hours_follow_the_exchange_code(symbol: str, hours: MarketHours) -> None:
    assert hours_of(symbol) == hours


def test_hours_of_a_symbol_are_those_of_its_exchange() -> None:
    for exchange in [*CALENDARS, *FX_VENUES, *ROUND_THE_CLOCK_VENUES, "NOWHERE"]:
        assert hours_of(f"{exchange}:X") == hours_of_exchange(exchange)


def test_every_calendar_exists_in_exchange_calendars() -> None:
    import exchange_calendars

    known = exchange_calendars.get_calendar_names(include_aliases=False)
    assert set(CALENDARS.values()) <= set(known)


def test_every_exchange_has_one_rule_and_the_table_is_sorted() -> None:
    groups = [set(CALENDARS), FX_VENUES, ROUND_THE_CLOCK_VENUES]
    assert len(set().union(*groups)) == sum(map(len, groups))
    assert list(CALENDARS) == sorted(CALENDARS)
    for symbol in ROUND_THE_CLOCK_SYMBOLS:
        assert hours_of_exchange(symbol.partition(":")[0]).rule is ClosingRule.DAY_AFTER_OPEN


# --- exchanges ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "bar_open", "close"),
    [
        ("NYSE:IBM", "2021-03-03 14:30", "2021-03-03 21:00"),
        # Daylight saving from Sunday, 14 March 2021 …
        ("NYSE:IBM", "2021-03-12 14:30", "2021-03-12 21:00"),
        ("NYSE:IBM", "2021-03-15 13:30", "2021-03-15 20:00"),
        # … to Sunday, 7 November 2021.
        ("NYSE:IBM", "2021-11-05 13:30", "2021-11-05 20:00"),
        ("NYSE:IBM", "2021-11-08 14:30", "2021-11-08 21:00"),
        # The days after Thanksgiving and before Christmas are short.
        ("NASDAQ:AAPL", "2020-11-27 14:30", "2020-11-27 18:00"),
        ("NASDAQ:AAPL", "2020-12-24 14:30", "2020-12-24 18:00"),
        ("NASDAQ:AAPL", "2020-12-31 14:30", "2020-12-31 21:00"),
        ("NASDAQ:AAPL", "1995-06-01 13:30", "1995-06-01 20:00"),
        # Tokyo: no daylight saving; half an hour longer since 5 November 2024.
        ("TSE:7203", "2021-03-03 00:00", "2021-03-03 06:00"),
        ("TSE:7203", "2021-07-01 00:00", "2021-07-01 06:00"),
        ("TSE:7203", "2024-11-05 00:00", "2024-11-05 06:30"),
        # London: its clocks change two weeks after New York's; Christmas Eve is short.
        ("LSE:VOD", "2021-03-26 08:00", "2021-03-26 16:30"),
        ("LSE:VOD", "2021-03-29 07:00", "2021-03-29 15:30"),
        ("LSE:VOD", "2021-12-24 08:00", "2021-12-24 12:30"),
        ("XETR:SAP", "2021-07-01 07:00", "2021-07-01 15:30"),
        ("FWB:SAP", "2021-07-01 06:00", "2021-07-01 20:00"),
        ("HKEX:700", "2021-07-02 01:30", "2021-07-02 08:00"),
        # Sydney opens on the evening before, in UTC.
        ("ASX:BHP", "2021-01-27 23:00", "2021-01-28 05:00"),
        # Riyadh trades on Sundays.
        ("TADAWUL:2222", "2021-07-04 07:00", "2021-07-04 12:00"),
    ],
)
def test_a_bar_closes_with_its_session(symbol: str, bar_open: str, close: str) -> None:
    assert closes(symbol, bar_open) == close


@pytest.mark.parametrize(
    "bar_open", ["2021-03-03 14:25", "2021-03-03 14:33", "2021-03-03 09:00", "2021-03-03 05:00"]
)
def test_a_bar_stamped_off_the_opening_bell_belongs_to_its_local_date(bar_open: str) -> None:
    assert closes("NYSE:IBM", bar_open) == "2021-03-03 21:00"


def test_istanbul_bars_open_an_hour_before_the_calendar_does() -> None:
    assert closes("BIST:THYAO", "2026-09-23 06:00") == "2026-09-23 15:00"


@pytest.mark.parametrize(
    "bar_open",
    [
        "2021-03-03 21:00",  # at the closing bell
        "2021-03-03 23:30",  # after it
        "2021-03-04 04:59",  # a minute before the next local date
        "2021-03-06 14:30",  # Saturday
        "2020-12-25 14:30",  # Christmas
        "1985-06-03 13:30",  # before the calendar's range
    ],
)
def test_a_bar_that_the_calendar_cannot_place_closes_a_day_after_its_open(bar_open: str) -> None:
    assert bar_close("NYSE:IBM", at(bar_open)) == at(bar_open) + DAY


def test_a_calendar_whose_history_starts_late_serves_what_it_has() -> None:
    assert session_bounds("TSE", date(1996, 12, 2)) is None
    assert bar_close("TSE:7203", at("1996-12-02 00:00")) == at("1996-12-03 00:00")
    assert closes("TSE:7203", "1997-01-07 00:00") == "1997-01-07 06:00"


# --- FX -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bar_open", "close"),
    [
        ("2021-03-03 22:00", "2021-03-04 22:00"),
        ("2021-07-01 21:00", "2021-07-02 21:00"),
        # The Monday after New York's clocks went forward opens on Sunday at 17:00, summer time.
        ("2021-03-14 21:00", "2021-03-15 21:00"),
        ("2021-03-11 22:00", "2021-03-12 22:00"),
        ("2021-11-07 22:00", "2021-11-08 22:00"),
        # Dealers that trade through the weekend have a day of 23 and one of 25 hours.
        ("2021-03-13 22:00", "2021-03-14 21:00"),
        ("2021-11-06 21:00", "2021-11-07 22:00"),
        # Metals and index CFDs open an hour after the roll, share CFDs with their exchange.
        ("2021-03-03 23:00", "2021-03-04 22:00"),
        ("2021-03-03 14:30", "2021-03-03 22:00"),
        ("2020-12-31 22:00", "2021-01-01 22:00"),
    ],
)
def test_an_fx_bar_closes_at_the_next_1700_new_york(bar_open: str, close: str) -> None:
    assert closes("OANDA:EURUSD", bar_open) == close


def test_an_fx_bar_that_was_cut_by_utc_days_closes_with_the_utc_day() -> None:
    assert closes("CAPITALCOM:BTCUSD", "2021-03-03 00:00") == "2021-03-04 00:00"


# --- markets that never close, and unknown ones -------------------------------------------------


@pytest.mark.parametrize("symbol", ["BINANCE:BTCUSDT", "COINBASE:ETHUSD", "INDEX:BTCUSD"])
def test_a_crypto_bar_closes_at_the_next_midnight_utc(symbol: str) -> None:
    assert closes(symbol, "2026-01-16 00:00") == "2026-01-17 00:00"
    assert closes(symbol, "2021-12-31 00:00") == "2022-01-01 00:00"
    assert closes(symbol, "2021-03-28 00:00") == "2021-03-29 00:00"
    assert closes(symbol, "2026-01-16 23:59") == "2026-01-17 00:00"


def test_a_bar_of_an_unknown_exchange_closes_a_day_after_its_open() -> None:
    assert closes("NOWHERE:X", "2021-03-03 14:30") == "2021-03-04 14:30"


# --- many bars at once --------------------------------------------------------------------------


@pytest.mark.parametrize("symbol", ["NYSE:IBM", "OANDA:EURUSD", "BINANCE:BTCUSDT", "NOWHERE:X"])
@given(opens=st.lists(st.integers(at("1980-01-01"), at("2060-01-01")), max_size=20))
def test_closes_are_later_than_opens_and_the_same_one_by_one(symbol: str, opens: list[int]) -> None:
    given_opens = np.array(opens, dtype=np.int64)
    result = bar_closes(symbol, given_opens)
    assert result.dtype == np.int64
    assert result.tolist() == [bar_close(symbol, one) for one in opens]
    assert np.all(result > given_opens)
    assert np.all(result <= given_opens + 25 * HOUR)
    assert given_opens.tolist() == opens


# --- bar state ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "bar_open", "close", "delay"),
    [
        ("NYSE:IBM", "2021-03-03 14:30", "2021-03-03 21:00", PUBLICATION_DELAY + SETTLE),
        ("NASDAQ:AAPL", "2020-11-27 14:30", "2020-11-27 18:00", PUBLICATION_DELAY + SETTLE),
        ("OANDA:EURUSD", "2021-03-03 22:00", "2021-03-04 22:00", SETTLE),
        ("BINANCE:BTCUSDT", "2021-03-03 00:00", "2021-03-04 00:00", SETTLE),
    ],
)
def test_a_bar_is_closed_once_its_last_numbers_are_out(
    symbol: str, bar_open: str, close: str, delay: int
) -> None:
    final = at(close) + delay
    assert bar_state(symbol, at(bar_open), at(bar_open)) is BarState.OPEN
    assert bar_state(symbol, at(bar_open), at(close)) is BarState.OPEN
    assert bar_state(symbol, at(bar_open), final - 1) is BarState.OPEN
    assert bar_state(symbol, at(bar_open), final) is BarState.CLOSED
    assert bar_state(symbol, at(bar_open), final + 400 * DAY) is BarState.CLOSED


@pytest.mark.parametrize(
    ("symbol", "bar_open"),
    [("NOWHERE:X", "2021-03-03 14:30"), ("NYSE:IBM", "2021-03-06 14:30")],
)
def test_a_bar_of_unknown_hours_is_unknown_for_a_day_and_closed_then(
    symbol: str, bar_open: str
) -> None:
    opened = at(bar_open)
    final = opened + DAY + PUBLICATION_DELAY + SETTLE
    assert bar_state(symbol, opened, opened + HOUR) is BarState.UNKNOWN
    assert bar_state(symbol, opened, final - 1) is BarState.UNKNOWN
    assert bar_state(symbol, opened, final) is BarState.CLOSED


def test_a_snapshot_without_a_bar_time_has_an_unknown_state() -> None:
    assert bar_state("NYSE:IBM", None, at("2021-03-03 22:00")) is BarState.UNKNOWN


def test_states_are_written_as_plain_words() -> None:
    assert [str(state) for state in BarState] == ["open", "closed", "unknown"]


# --- cost ---------------------------------------------------------------------------------------


def test_importing_the_module_loads_neither_numpy_nor_the_calendars() -> None:
    heavy = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, ingestion.markets.sessions; "
            "print({'numpy', 'pandas', 'exchange_calendars'} & set(sys.modules))",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    assert heavy.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("mode", "seconds"),
    [
        ("streaming", SETTLE),
        ("delayed_streaming_900", PUBLICATION_DELAY + SETTLE),
        ("delayed_streaming_1200", 1200 + SETTLE),
        ("delayed_streaming_60", PUBLICATION_DELAY + SETTLE),
        ("endofday", PUBLICATION_DELAY + SETTLE),
        ("", PUBLICATION_DELAY + SETTLE),
        (None, PUBLICATION_DELAY + SETTLE),
    ],
)
def test_a_feed_is_delayed_unless_it_says_that_it_streams(mode: str | None, seconds: int) -> None:
    assert feed_delay(mode) == seconds


def test_the_delay_of_a_feed_decides_when_it_is_given() -> None:
    opened, close = at("2021-03-03 14:30"), at("2021-03-03 21:00")
    assert bar_state("NYSE:IBM", opened, close + SETTLE - 1, SETTLE) is BarState.OPEN
    assert bar_state("NYSE:IBM", opened, close + SETTLE, SETTLE) is BarState.CLOSED


@pytest.mark.parametrize(
    ("symbol", "opened", "close"),
    [
        ("NYSE:IBM", "2021-03-03 14:30", "2021-03-03 21:00"),
        ("NYSE:IBM", "2021-03-06 14:30", None),
        ("NYSE:IBM", "2021-03-03 21:00", None),
        ("OANDA:EURUSD", "2021-03-07 22:00", "2021-03-08 22:00"),
        ("BINANCE:BTCUSDT", "2021-03-03 00:00", "2021-03-04 00:00"),
        ("NOWHERE:ABC", "2021-03-03 09:00", None),
    ],
)
def test_a_close_is_known_where_the_hours_place_the_bar(
    symbol: str, opened: str, close: str | None
) -> None:
    assert known_bar_close(symbol, at(opened)) == (None if close is None else at(close))


@pytest.mark.parametrize(
    ("symbol", "zone"),
    [
        ("NYSE:IBM", "America/New_York"),
        ("TSE:7203", "Asia/Tokyo"),
        ("OANDA:EURUSD", "America/New_York"),
        ("BINANCE:BTCUSDT", "Etc/UTC"),
        ("NOWHERE:ABC", None),
    ],
)
def test_the_time_zone_of_a_symbol(symbol: str, zone: str | None) -> None:
    assert time_zone(symbol) == zone
