"""The bars of other frames than the daily one: where they begin and end, which one to expect.

A bar of minutes or hours is counted from its session's opening bell, and again from the end of a
lunch break; the last one ends with the session. So a US hour begins at :30. A week and a month
consist of the sessions whose dates are in it, and begin with the first one; a week begins on
Sunday where Sunday is a trading day.

All instants are Unix seconds, UTC. Source: recorded answers, in which hourly bars of US
stocks open at :30, and the daily ``time`` is the session's open.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall_time
from functools import lru_cache
from types import MappingProxyType
from zoneinfo import ZoneInfo

from ingestion.catalog.sources import DAILY, FRAMES, BarCheck
from ingestion.markets.exchanges import ROUND_THE_CLOCK_SYMBOLS
from ingestion.markets.hours import BarState, bar_state, hours_of, hours_of_exchange, time_zone
from ingestion.markets.sessions import Session, sessions_between

LUNCH = MappingProxyType(
    {
        "XHKG": (wall_time(12), wall_time(13)),
        "XSHG": (wall_time(11, 30), wall_time(13)),
        "XTKS": (wall_time(11, 30), wall_time(12, 30)),
    }
)
"""By calendar of ``exchange_calendars``, the local hours of its break, as it gives them."""

_PAUSE = timedelta(days=40)
"""Longer than any market is closed, and than a month."""
_SUNDAY = 6
_SUNDAYS = 4
"""In the days of a pause: so many Sunday sessions make Sunday a trading day."""


def bar_check(
    symbol: str, frame: str, bar_open: int | None, asked_at: int, known_at: int, delay: int
) -> BarCheck:
    """Return whether a row describes the bar that is to be expected.

    Parameters
    ----------
    bar_open
        Open of the bar that the row describes; None if the scanner does not say.
    asked_at, known_at
        Before the request that brought the row, and when the values were known.
    delay
        Seconds by which the feed may lag: the bar that ran so long before ``asked_at`` will do.

    Examples
    --------
    >>> noon = 1_617_984_000  # Friday 2021-04-09 16:00 UTC, 12:00 in New York
    >>> asked = ("NASDAQ:AAPL", "1h")
    >>> [str(bar_check(*asked, noon + at, noon, noon, 900)) for at in (-1_800, -3_600, -5_400)]
    ['expected', 'misplaced', 'earlier']
    """
    if bar_open is None:
        return BarCheck.UNKNOWN
    hours = _hours_of(symbol)
    first, last = _running(hours, frame, asked_at - delay), _running(hours, frame, known_at)
    if first is None or last is None:
        return BarCheck.UNKNOWN
    if bar_open > known_at:
        return BarCheck.LATER
    begins = _begins(hours, frame, bar_open)
    if begins is None:
        return BarCheck.MISPLACED
    if begins > last:
        return BarCheck.LATER
    return BarCheck.EARLIER if begins < first else BarCheck.EXPECTED


def bar_state_in(
    frame: str, symbol: str, bar_open: int | None, known_at: int, delay: int | None = None
) -> BarState:
    """Return whether a snapshot's values of a frame's bar were final, as :func:`bar_state` does.

    Examples
    --------
    >>> half_past_two = 1_617_978_600  # Friday 2021-04-09 14:30 UTC
    >>> str(bar_state_in("1h", "NASDAQ:AAPL", half_past_two, half_past_two + 5_000, 900))
    'closed'
    """
    if frame == DAILY:
        return bar_state(symbol, bar_open, known_at, delay)
    close = None if bar_open is None else frame_close(symbol, frame, bar_open)
    if close is None:
        return BarState.UNKNOWN
    final = close + (hours_of(symbol).finality_delay if delay is None else delay)
    return BarState.CLOSED if known_at >= final else BarState.OPEN


def running_bar(symbol: str, frame: str, at: int) -> int | None:
    """Return the open of the bar that runs at an instant, or of the last one before it.

    None where the hours are not known.

    Examples
    --------
    >>> friday = 1_617_998_400  # 2021-04-09 20:00 UTC, New York's close
    >>> friday - running_bar("NASDAQ:AAPL", "1h", friday)
    1800
    """
    return _running(_hours_of(symbol), frame, at)


def frame_close(symbol: str, frame: str, bar_open: int) -> int | None:
    """Return when a frame's bar closes; None where none begins there, or hours are not known.

    Examples
    --------
    >>> last_hour = 1_617_996_600  # Friday 2021-04-09 19:30 UTC: New York closes at 20:00
    >>> frame_close("NASDAQ:AAPL", "1h", last_hour) - last_hour
    1800
    """
    hours = _hours_of(symbol)
    if _begins(hours, frame, bar_open) is None:
        return None
    seconds = FRAMES[frame].seconds
    if seconds is None:
        session = _session_after(hours, bar_open)
        return None if session is None else _period(hours, frame, session.label)[-1].closes
    if (session := _session_at(hours, bar_open)) is None:
        return None
    pause, _ = _lunch(hours, session)
    closes = pause if pause is not None and bar_open < pause else session.closes
    return min(bar_open + seconds, closes)


def frame_length(frame: str) -> timedelta:
    """Return how long after its open a bar of a frame may be the running one, beyond a day.

    Examples
    --------
    >>> frame_length("1w").days, frame_length("4h").days
    (7, 0)
    """
    return {"1w": timedelta(days=7), "1mo": timedelta(days=31)}.get(frame, timedelta())


def _hours_of(symbol: str) -> str:
    """Return an exchange's code that has the symbol's hours: what is worked out is kept by it."""
    return "CRYPTO" if symbol in ROUND_THE_CLOCK_SYMBOLS else symbol.partition(":")[0]


@lru_cache(maxsize=1 << 12)
def _running(exchange: str, frame: str, at: int) -> int | None:
    """Return the open of the bar that runs at an instant, or of the last one before it."""
    seconds = FRAMES[frame].seconds
    started = [each for each in _sessions_around(exchange, _day(at)) if each.opens <= at]
    if not started:
        return None
    if seconds is None:
        return _period(exchange, frame, started[-1].label)[0].opens
    opens = _opens(exchange, started[-1], seconds)
    return opens[bisect_right(opens, at) - 1]


@lru_cache(maxsize=1 << 12)
def _begins(exchange: str, frame: str, bar_open: int) -> int | None:
    """Return the open of the bar that a row says to describe; None if none begins there.

    Of a week or month a date at or before its first session will do: a holiday may come first.
    """
    seconds = FRAMES[frame].seconds
    if seconds is None:
        session = _session_after(exchange, bar_open)
        if session is None:
            return None
        first = _period(exchange, frame, session.label)[0]
        return first.opens if first == session and bar_open <= first.opens else None
    session = _session_at(exchange, bar_open)
    return bar_open if session and bar_open in _opens(exchange, session, seconds) else None


def _session_at(exchange: str, instant: int) -> Session | None:
    session = _session_after(exchange, instant)
    return session if session and session.opens <= instant else None


def _session_after(exchange: str, instant: int) -> Session | None:
    """Return the first session that ends after an instant."""
    sessions = _sessions_around(exchange, _day(instant))
    return next((each for each in sessions if each.closes > instant), None)


def _opens(exchange: str, session: Session, seconds: int) -> list[int]:
    pause, again = _lunch(exchange, session)
    if pause is None or again is None:
        return list(range(session.opens, session.closes, seconds))
    return [
        *range(session.opens, pause, seconds),
        *range(again, session.closes, seconds),
    ]


def _lunch(exchange: str, session: Session) -> tuple[int | None, int | None]:
    """Return when a session's break begins and ends; None twice where it has none."""
    calendar = hours_of_exchange(exchange).calendar
    if calendar is None or calendar not in LUNCH:
        return None, None
    zone = ZoneInfo(str(time_zone(f"{exchange}:")))
    starts, ends = (
        int(datetime.combine(session.label, each, zone).timestamp()) for each in LUNCH[calendar]
    )
    is_half_day = session.closes <= ends
    return (None, None) if is_half_day else (starts, ends)


def _period(exchange: str, frame: str, label: date) -> list[Session]:
    """Return the sessions of a date's week or month; the date's own of the daily frame."""
    sessions = _sessions_around(exchange, label)
    if frame == DAILY:
        return [each for each in sessions if each.label == label]
    if frame == "1mo":
        first = label.replace(day=1)
        after = (first + timedelta(days=31)).replace(day=1)
    else:
        sundays = sum(each.label.weekday() == _SUNDAY for each in sessions)
        begun = (label.weekday() + (sundays >= _SUNDAYS and not _never_closes(exchange))) % 7
        first = label - timedelta(days=begun)
        after = first + timedelta(days=7)
    return [each for each in sessions if first <= each.label < after]


def _never_closes(exchange: str) -> bool:
    return hours_of_exchange(exchange).calendar is None


@lru_cache(maxsize=1 << 10)
def _sessions_around(exchange: str, day: date) -> list[Session]:
    return sessions_between(exchange, day - _PAUSE, day + _PAUSE)


def _day(instant: int) -> date:
    return datetime.fromtimestamp(instant, UTC).date()
