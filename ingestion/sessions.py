"""When a daily bar opens and closes, by its symbol's exchange.

A daily bar is knowable at its close, not at its open, so every bar is stamped with the instant that
this module gives. In goes TradingView's symbol and the bar's open; out comes the close:

===================================  ============================================================
exchange                             a bar closes
===================================  ============================================================
in :data:`CALENDARS`                 with the session of its local date; half days and daylight
                                     saving are those of ``exchange_calendars``
in :data:`FX_VENUES`                 at the next 17:00 New York; at the next 00:00 UTC if it
                                     opened at 00:00 UTC
in :data:`ROUND_THE_CLOCK_VENUES`    at the next 00:00 UTC
or the symbol in
:data:`ROUND_THE_CLOCK_SYMBOLS`
any other                            24 h after its open
===================================  ============================================================

A bar that its calendar cannot place (a date without a session, an open after the session's close, a
date outside the calendar's range) also closes 24 h after its open: no session of these exchanges is
longer, so the stamp may be late and cannot be early.

All instants are Unix seconds, UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall_time
from enum import Enum, StrEnum
from functools import cache, lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

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
    "bar_close",
    "bar_closes",
    "bar_state",
    "feed_delay",
    "hours_of",
    "hours_of_exchange",
    "known_bar_close",
    "next_open",
    "previous_close",
    "session_bounds",
    "time_zone",
]

DAY = 86_400
PUBLICATION_DELAY = 900
"""Seconds by which an anonymous stock feed lags the exchange (``delayed_streaming_900``)."""
SETTLE = 300
"""Seconds after a close in which the scanner's columns may still move.

They are refreshed by separate jobs, so some still describe the bar's last trades for a while.
"""

_STREAMING = "streaming"
_DELAYED = re.compile(r"delayed_streaming_(\d{1,6})")
_FIRST_DAY = "1990-01-01"
_NEW_YORK = ZoneInfo("America/New_York")
_NEW_YORK_ROLL = wall_time(17)
_SATURDAY = 5


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
    return _close_and_certainty(hours_of(symbol), bar_open)[0]


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
    return _closes_and_certainty(hours_of(symbol), bar_opens)[0]


def known_bar_close(symbol: str, bar_open: int) -> int | None:
    """Return when a daily bar closes, if that follows from known hours; None if it does not.

    None for an exchange of unknown hours, and for an instant that its exchange's calendar cannot
    place: a date without a session, a time after the session's close.
    """
    close, certain = _close_and_certainty(hours_of(symbol), bar_open)
    return close if certain else None


def previous_close(symbol: str, close: int) -> int | None:
    """Return when the session before the one that closes at ``close`` closed.

    None where the hours are not known, and where no session closes then.
    """
    hours = hours_of(symbol)
    if hours.calendar is not None:
        return _sessions(hours.calendar).before(close)
    if hours.rule is ClosingRule.MIDNIGHT_UTC:
        return close - DAY
    if hours.rule is ClosingRule.NEW_YORK_ROLL:
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
    hours = hours_of(symbol)
    if hours.calendar is not None:
        return _sessions(hours.calendar).after(close)
    return None if hours.rule is ClosingRule.DAY_AFTER_OPEN else close


def time_zone(symbol: str) -> str | None:
    """Return the name of the time zone that a symbol's days are counted in; None if unknown."""
    hours = hours_of(symbol)
    if hours.calendar is not None:
        return _sessions(hours.calendar).time_zone
    if hours.rule is ClosingRule.NEW_YORK_ROLL:
        return _NEW_YORK.key
    return "Etc/UTC" if hours.rule is ClosingRule.MIDNIGHT_UTC else None


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
    close, certain = _close_and_certainty(hours, bar_open)
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
        None if there is no session on that date, or the date is outside the calendar's range. A
        code of unknown hours has a session on every date, from 00:00 UTC for 24 h.
    """
    hours = hours_of_exchange(exchange)
    if hours.calendar is not None:
        return _sessions(hours.calendar).of_label(label)
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


@dataclass(frozen=True)
class _Sessions:
    """The sessions of one calendar: parallel arrays of shape ``(n,)``, strictly ascending."""

    labels: NDArray[np.datetime64]
    """Session dates, ``datetime64[D]``."""
    midnights: NDArray[np.int64]
    """Local 00:00 of the label."""
    opens: NDArray[np.int64]
    closes: NDArray[np.int64]
    time_zone: str

    def of_label(self, label: date) -> tuple[int, int] | None:
        import numpy as np

        day = np.datetime64(label, "D")
        i = int(np.searchsorted(self.labels, day))
        if i == len(self.labels) or self.labels[i] != day:
            return None
        return int(self.opens[i]), int(self.closes[i])

    def before(self, close: int) -> int | None:
        i = int(self.closes.searchsorted(close))
        is_one = 0 < i < len(self.closes) and self.closes[i] == close
        return int(self.closes[i - 1]) if is_one else None

    def after(self, close: int) -> int | None:
        i = int(self.closes.searchsorted(close))
        is_one = i + 1 < len(self.closes) and self.closes[i] == close
        return int(self.opens[i + 1]) if is_one else None


@cache
def _sessions(calendar: str) -> _Sessions:
    """Load a calendar from 1990, or where its own history starts, to a year from today.

    Some calendars end earlier: holidays that follow the moon are announced a year at a time.
    """
    # Two seconds to import, and up to three for a calendar of lunar holidays.
    import exchange_calendars
    import numpy as np

    try:
        loaded = exchange_calendars.get_calendar(calendar, start=_FIRST_DAY)
    except ValueError:  # its history starts later
        earliest = exchange_calendars.get_calendar(calendar).bound_min()
        loaded = exchange_calendars.get_calendar(calendar, start=earliest)
    # Where clocks change at midnight there is no 00:00, or there are two; then the first instant.
    midnights = loaded.sessions.tz_localize(
        loaded.tz, nonexistent="shift_forward", ambiguous=np.ones(len(loaded.sessions), dtype=bool)
    )
    opens, closes = loaded.schedule["open"], loaded.schedule["close"]
    return _Sessions(
        labels=loaded.sessions.to_numpy("datetime64[D]"),
        midnights=midnights.to_numpy("datetime64[s]").astype(np.int64),
        opens=opens.to_numpy("datetime64[s]").astype(np.int64),
        closes=closes.to_numpy("datetime64[s]").astype(np.int64),
        time_zone=str(loaded.tz),
    )


@lru_cache(maxsize=1 << 14)  # most symbols of a snapshot share hours and bar
def _close_and_certainty(hours: MarketHours, bar_open: int) -> tuple[int, bool]:
    import numpy as np

    closes, certain = _closes_and_certainty(hours, np.array([bar_open], dtype=np.int64))
    return int(closes[0]), bool(certain[0])


def _closes_and_certainty(
    hours: MarketHours, bar_opens: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the closes, and for each whether it follows from known hours."""
    import numpy as np

    day_later = bar_opens + DAY
    if hours.rule is ClosingRule.DAY_AFTER_OPEN:
        return day_later, np.zeros(len(bar_opens), dtype=bool)
    if hours.calendar is not None:
        sessions = _sessions(hours.calendar)
        # The first session that ends after the open is the bar's own if its date had begun by then:
        # vendors stamp some bars at a pre-open auction, minutes to an hour before the session.
        i = np.searchsorted(sessions.closes, bar_opens, side="right")
        inside = np.minimum(i, len(sessions.closes) - 1)
        certain = (i < len(sessions.closes)) & (sessions.midnights[inside] <= bar_opens)
        return np.where(certain, sessions.closes[inside], day_later), certain
    closes = day_later - day_later % DAY
    if hours.rule is ClosingRule.NEW_YORK_ROLL:
        # 17:00 New York is 21:00 or 22:00 UTC. A bar that opens at 00:00 UTC was cut by UTC days,
        # as some vendors do and dealers themselves for crypto: it ends after the roll.
        rolled = np.flatnonzero(bar_opens % DAY)
        closes[rolled] = [_next_new_york_roll(int(opened)) for opened in bar_opens[rolled]]
    return closes, np.ones(len(bar_opens), dtype=bool)


def _next_new_york_roll(instant: int) -> int:
    local = datetime.fromtimestamp(instant, _NEW_YORK)
    day = local.date() if local.time() < _NEW_YORK_ROLL else local.date() + timedelta(days=1)
    return int(datetime.combine(day, _NEW_YORK_ROLL, _NEW_YORK).timestamp())
