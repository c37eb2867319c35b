"""When a daily bar opens and closes, by its symbol's exchange.

A daily bar is knowable at its close, not at its open, so every bar is stamped with the instant that
this module gives. In goes TradingView's symbol and the bar's open; out comes the close:

===================================  ============================================================
exchange                             a bar closes
===================================  ============================================================
in :data:`CALENDARS`                 with the session of its local date; half days and daylight
                                     saving are those of :mod:`ingestion.calendars`
in :data:`FX_VENUES`                 at the next 17:00 New York; at the next 00:00 UTC if it
                                     opened at 00:00 UTC
in :data:`ROUND_THE_CLOCK_VENUES`    at the next 00:00 UTC
or the symbol in
:data:`ROUND_THE_CLOCK_SYMBOLS`
any other                            24 h after its open
===================================  ============================================================

An instant that its calendar cannot place (a date without a session, an open after the session's
close, a date before the calendar's first) is in no session; :func:`known_bar_close` says so, and no
bar is stored there. :func:`bar_close` then gives 24 h after it: no session of these exchanges is
longer, so that may be late and cannot be early.

All instants are Unix seconds, UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall_time
from enum import Enum, StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from ingestion.calendars import Calendar, calendar_of
from ingestion.exchanges import (
    CALENDARS,
    FX_VENUES,
    ROUND_THE_CLOCK_SYMBOLS,
    ROUND_THE_CLOCK_VENUES,
)

if TYPE_CHECKING:  # numpy alone takes longer to import than a command may take to show its help
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "CALENDARS",
    "FX_VENUES",
    "PUBLICATION_DELAY",
    "ROUND_THE_CLOCK_SYMBOLS",
    "ROUND_THE_CLOCK_VENUES",
    "SETTLE",
    "BarState",
    "ClosingRule",
    "MarketHours",
    "Session",
    "bar_close",
    "bar_closes",
    "bar_state",
    "calendar_ends",
    "feed_delay",
    "hours_of",
    "hours_of_exchange",
    "known_bar_close",
    "known_bar_closes",
    "known_calendar",
    "next_open",
    "previous_close",
    "session_bounds",
    "sessions_between",
    "sessions_of_labels",
    "time_zone",
]

DAY = 86_400
_EPOCH = date(1970, 1, 1)
PUBLICATION_DELAY = 900
"""Seconds by which an anonymous stock feed lags the exchange (``delayed_streaming_900``)."""
SETTLE = 300
"""Seconds after a close in which the scanner's columns may still move.

They are refreshed by separate jobs, so some still describe the bar's last trades for a while.
"""

_STREAMING = "streaming"
_DELAYED = re.compile(r"delayed_streaming_(\d{1,6})")
_NEW_YORK = ZoneInfo("America/New_York")
_NEW_YORK_ROLL = wall_time(17)
_SATURDAY = 5
_SUNDAY = 6


class ClosingRule(Enum):
    """How the close of a daily bar follows from its open."""

    SESSION = "session"
    """With the session of an exchange calendar."""
    NEW_YORK_ROLL = "new_york_roll"
    """At the next 17:00 New York."""
    MIDNIGHT_UTC = "midnight_utc"
    """At the next 00:00 UTC."""
    DAY_AFTER_OPEN = "day_after_open"
    """Hours unknown: 24 h after the open."""


@dataclass(frozen=True)
class MarketHours:
    """Market hours of an exchange or symbol."""

    rule: ClosingRule
    calendar: str | None = None
    """Name in ``exchange_calendars``; set exactly if the rule is ``SESSION``."""

    @property
    def finality_delay(self) -> int:
        """Seconds after the close from which a snapshot's values are final.

        Stock feeds are delayed for anonymous readers. Dealers and crypto venues stream, so theirs
        need only settle; a feed of unknown hours is taken for a delayed one.
        """
        if self.rule in (ClosingRule.NEW_YORK_ROLL, ClosingRule.MIDNIGHT_UTC):
            return SETTLE
        return PUBLICATION_DELAY + SETTLE


class BarState(StrEnum):
    """Whether the values of a bar are final."""

    OPEN = "open"
    CLOSED = "closed"
    UNKNOWN = "unknown"


class Session(NamedTuple):
    """One session of an exchange."""

    label: date
    """The local date of an exchange, the date of the closing roll for FX, else the UTC date."""
    opens: int
    closes: int
    is_assumed: bool
    """Whether nothing is known of that date and the weekday's usual hours are taken for its own:
    it lies after the end of the exchange's calendar, and may be a holiday."""


_UNKNOWN_HOURS = MarketHours(ClosingRule.DAY_AFTER_OPEN)


def hours_of(symbol: str) -> MarketHours:
    """Return the market hours of a unified symbol, ``EXCHANGE:TICKER``.

    A text without an exchange has unknown hours.
    """
    if symbol in ROUND_THE_CLOCK_SYMBOLS:
        return MarketHours(ClosingRule.MIDNIGHT_UTC)
    exchange, colon, _ = symbol.partition(":")
    return hours_of_exchange(exchange) if colon else _UNKNOWN_HOURS


def hours_of_exchange(exchange: str) -> MarketHours:
    """Return the market hours of a TradingView exchange code, which is upper case."""
    if (calendar := CALENDARS.get(exchange)) is not None:
        return MarketHours(ClosingRule.SESSION, calendar)
    if exchange in FX_VENUES:
        return MarketHours(ClosingRule.NEW_YORK_ROLL)
    if exchange in ROUND_THE_CLOCK_VENUES:
        return MarketHours(ClosingRule.MIDNIGHT_UTC)
    return _UNKNOWN_HOURS


def bar_close(symbol: str, bar_open: int) -> int:
    """Return when the daily bar that opened at ``bar_open`` closes.

    Examples
    --------
    >>> bar_close("NASDAQ:AAPL", 1_606_487_400)  # 2020-11-27 14:30, a half day: 18:00
    1606500000
    """
    return _close_and_certainty(symbol, bar_open)[0]


def bar_closes(symbol: str, bar_opens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return when each daily bar of one symbol closes.

    Parameters
    ----------
    bar_opens
        Shape ``(n,)``, in any order, repetitions allowed.

    Returns
    -------
    NDArray[np.int64]
        Shape ``(n,)``, in the order of ``bar_opens``; each later than its open, by at most 25 h
        (a dealer's day in which New York's clocks go back).
    """
    return known_bar_closes(symbol, bar_opens)[0]


def known_bar_closes(
    symbol: str, bar_opens: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the closes as :func:`bar_closes` does, and for each whether known hours give it."""
    return _closes_and_certainty(hours_of(symbol).rule, known_calendar(symbol), bar_opens)


def known_bar_close(symbol: str, bar_open: int) -> int | None:
    """Return when a daily bar closes, if that follows from known hours; None if it does not.

    None for an exchange of unknown hours, and for an instant that its exchange's calendar cannot
    place: a date without a session, a time after the session's close.
    """
    close, certain = _close_and_certainty(symbol, bar_open)
    return close if certain else None


def previous_close(symbol: str, close: int) -> int | None:
    """Return when the session before the one that closes at ``close`` closed.

    None where the hours are not known, and where no session closes then.
    """
    if (calendar := known_calendar(symbol)) is not None:
        i = calendar.of_close(close)
        return int(calendar.closes[i - 1]) if i else None
    rule = hours_of(symbol).rule
    if rule is ClosingRule.MIDNIGHT_UTC:
        return close - DAY
    if rule is ClosingRule.NEW_YORK_ROLL and close % DAY == 0:
        # Cut by UTC days: dealers open on Sunday evening, so of Saturday alone there is no bar.
        before = close - DAY
        is_sunday = datetime.fromtimestamp(before, UTC).weekday() == _SUNDAY
        return before - DAY if is_sunday else before
    if rule is ClosingRule.NEW_YORK_ROLL:
        day = datetime.fromtimestamp(close, _NEW_YORK).date() - timedelta(days=1)
        while day.weekday() >= _SATURDAY:
            day -= timedelta(days=1)
        return int(datetime.combine(day, _NEW_YORK_ROLL, _NEW_YORK).timestamp())
    return None


def next_open(symbol: str, close: int) -> int | None:
    """Return when the session after the one that closes at ``close`` opens.

    Round-the-clock markets and dealers open the next bar as they close one. None where the hours
    are not known, and where no session closes then.
    """
    if (calendar := known_calendar(symbol)) is not None:
        i = calendar.of_close(close)
        if i is None or i + 1 == len(calendar.opens):
            return None
        return int(calendar.opens[i + 1])
    return None if hours_of(symbol).rule is ClosingRule.DAY_AFTER_OPEN else close


def time_zone(symbol: str) -> str | None:
    """Return the name of the time zone that a symbol's days are counted in; None if unknown."""
    if (calendar := known_calendar(symbol)) is not None:
        return calendar.time_zone
    rule = hours_of(symbol).rule
    if rule is ClosingRule.NEW_YORK_ROLL:
        return _NEW_YORK.key
    return "Etc/UTC" if rule is ClosingRule.MIDNIGHT_UTC else None


def feed_delay(update_mode: str | None) -> int:
    """Return how long after the close a feed's values are final, seconds.

    Parameters
    ----------
    update_mode
        As the scanner has it: ``streaming``, ``delayed_streaming_900``; whatever else counts as
        delayed by :data:`PUBLICATION_DELAY`.
    """
    if update_mode == _STREAMING:
        return SETTLE
    match = _DELAYED.fullmatch(update_mode or "")
    return max(PUBLICATION_DELAY, int(match[1]) if match else 0) + SETTLE


def bar_state(
    symbol: str, bar_open: int | None, known_at: int, delay: int | None = None
) -> BarState:
    """Tell whether a snapshot's values of a bar were final.

    Parameters
    ----------
    bar_open
        Open of the bar that the values describe; None if the scanner did not say.
    known_at
        When the snapshot was taken.
    delay
        Seconds after the close from which values are final, where the feed says so (see
        :func:`feed_delay`); :attr:`MarketHours.finality_delay` if none are given.

    Returns
    -------
    BarState
        ``CLOSED`` from the close plus the delay on. Before that ``OPEN``,
        or ``UNKNOWN`` if the close is not known but for the 24-hour rule. ``UNKNOWN`` also without
        ``bar_open``.
    """
    if bar_open is None:
        return BarState.UNKNOWN
    hours = hours_of(symbol)
    close, certain = _close_and_certainty(symbol, bar_open)
    if known_at >= close + (hours.finality_delay if delay is None else delay):
        return BarState.CLOSED
    return BarState.OPEN if certain else BarState.UNKNOWN


def session_bounds(exchange: str, label: date) -> tuple[int, int] | None:
    """Return open and close of the session that a vendor's bare date names.

    Parameters
    ----------
    exchange
        TradingView exchange code. A code is enough for ``INDEX:BTCUSD`` too: a day of a code of
        unknown hours is the UTC day.
    label
        Session label: the local date for an exchange, the date of the closing roll for FX (Monday's
        session opens on Sunday), the UTC date for markets that never close.

    Returns
    -------
    tuple[int, int] | None
        None if there is no session on that date, or the date is before the calendar's first. A
        code of unknown hours has a session on every date, from 00:00 UTC for 24 h.
    """
    hours = hours_of_exchange(exchange)
    if hours.calendar is not None:
        calendar = calendar_of(exchange)
        i = calendar.of_label(label)
        return None if i is None else (int(calendar.opens[i]), int(calendar.closes[i]))
    if hours.rule is ClosingRule.NEW_YORK_ROLL:
        if label.weekday() >= _SATURDAY:
            return None
        opens, closes = (
            datetime.combine(day, _NEW_YORK_ROLL, _NEW_YORK)
            for day in (label - timedelta(days=1), label)
        )
        return int(opens.timestamp()), int(closes.timestamp())
    midnight = int(datetime.combine(label, wall_time(), UTC).timestamp())
    return midnight, midnight + DAY


def sessions_of_labels(
    exchange: str, days: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return opens and closes of the sessions that dates name, as :func:`session_bounds` does.

    Parameters
    ----------
    exchange
        TradingView exchange code.
    days
        Shape ``(n,)``: labels, as days from 1970-01-01.

    Returns
    -------
    tuple[NDArray[np.int64], NDArray[np.int64]]
        Shape ``(n,)`` each; −1 for a date without a session.
    """
    import numpy as np

    if hours_of_exchange(exchange).calendar is None:
        bounds = [session_bounds(exchange, _EPOCH + timedelta(day)) for day in days.tolist()]
        of_day = np.array([each or (-1, -1) for each in bounds], dtype=np.int64).reshape(-1, 2)
        return of_day[:, 0], of_day[:, 1]
    calendar = calendar_of(exchange)
    labels = calendar.labels.astype("datetime64[D]").astype(np.int64)
    i = np.minimum(np.searchsorted(labels, days), len(labels) - 1)
    there = labels[i] == days
    return np.where(there, calendar.opens[i], -1), np.where(there, calendar.closes[i], -1)


def sessions_between(exchange: str, first: date, last: date) -> list[Session]:
    """Return the sessions of an exchange from one label to another, included, in order.

    Parameters
    ----------
    exchange
        TradingView exchange code. Dealers have a session on each day from Monday to Friday, markets
        that never close on each UTC day.
    first, last
        Session labels, see :class:`Session`.

    Returns
    -------
    list[Session]
        None at all for an exchange of unknown hours.

    Examples
    --------
    >>> weekend = sessions_between("OANDA", date(2021, 3, 5), date(2021, 3, 8))
    >>> [str(session.label) for session in weekend]
    ['2021-03-05', '2021-03-08']
    """
    hours = hours_of_exchange(exchange)
    if hours.calendar is not None:
        calendar = calendar_of(exchange)
        return [_session(calendar, i) for i in calendar.between(first, last)]
    if hours.rule is ClosingRule.DAY_AFTER_OPEN:
        return []
    days = (first + timedelta(n) for n in range((last - first).days + 1))
    bounds = ((day, session_bounds(exchange, day)) for day in days)
    return [Session(day, *session, is_assumed=False) for day, session in bounds if session]


def calendar_ends(exchanges: Iterable[str]) -> dict[str, date]:
    """Return the last date that is known of each exchange whose calendar ends.

    After it the weekday's usual hours are assumed: see :mod:`ingestion.calendars`.
    """
    found = {}
    for exchange in sorted(set(exchanges)):
        if exchange in CALENDARS and (end := calendar_of(exchange).ends) is not None:
            found[exchange] = end
    return found


def _session(calendar: Calendar, i: int) -> Session:
    opens, closes = int(calendar.opens[i]), int(calendar.closes[i])
    return Session(calendar.labels[i].item(), opens, closes, bool(calendar.assumed[i]))


def known_calendar(symbol: str) -> Calendar | None:
    """Return the sessions of a symbol's exchange; None where it has no calendar."""
    exchange = symbol.partition(":")[0]
    return calendar_of(exchange) if hours_of(symbol).calendar is not None else None


def _close_and_certainty(symbol: str, bar_open: int) -> tuple[int, bool]:
    return _cached_close(hours_of(symbol).rule, known_calendar(symbol), bar_open)


@lru_cache(maxsize=1 << 14)  # most symbols of a snapshot share hours and bar
def _cached_close(rule: ClosingRule, calendar: Calendar | None, bar_open: int) -> tuple[int, bool]:
    import numpy as np

    opens = np.array([bar_open], dtype=np.int64)
    closes, certain = _closes_and_certainty(rule, calendar, opens)
    return int(closes[0]), bool(certain[0])


def _closes_and_certainty(
    rule: ClosingRule, calendar: Calendar | None, bar_opens: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the closes, and for each whether it follows from known hours."""
    import numpy as np

    day_later = bar_opens + DAY
    if rule is ClosingRule.DAY_AFTER_OPEN:
        return day_later, np.zeros(len(bar_opens), dtype=bool)
    if calendar is not None:
        # The first session that ends after the open is the bar's own if its date had begun by then:
        # vendors stamp some bars at a pre-open auction, minutes to an hour before the session.
        i = np.searchsorted(calendar.closes, bar_opens, side="right")
        inside = np.minimum(i, len(calendar.closes) - 1)
        certain = (i < len(calendar.closes)) & (calendar.midnights[inside] <= bar_opens)
        return np.where(certain, calendar.closes[inside], day_later), certain
    closes = day_later - day_later % DAY
    if rule is ClosingRule.NEW_YORK_ROLL:
        # 17:00 New York is 21:00 or 22:00 UTC. A bar that opens at 00:00 UTC was cut by UTC days,
        # as some vendors do and dealers themselves for crypto: it ends after the roll.
        rolled = np.flatnonzero(bar_opens % DAY)
        closes[rolled] = [_next_new_york_roll(int(opened)) for opened in bar_opens[rolled]]
    return closes, np.ones(len(bar_opens), dtype=bool)


def _next_new_york_roll(instant: int) -> int:
    local = datetime.fromtimestamp(instant, _NEW_YORK)
    day = local.date() if local.time() < _NEW_YORK_ROLL else local.date() + timedelta(days=1)
    return int(datetime.combine(day, _NEW_YORK_ROLL, _NEW_YORK).timestamp())
