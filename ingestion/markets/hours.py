"""Which hours a symbol keeps, when its daily bar closes, and whether the values of a bar are final.

===================================  ============================================================
exchange, by TradingView's code      a daily bar closes
===================================  ============================================================
in :data:`CALENDARS`                 with the session of its local date; half days and daylight
                                     saving are those of :mod:`ingestion.markets.calendars`
in :data:`FX_VENUES`                 at the next 17:00 New York; at the next 00:00 UTC if it
                                     opened at 00:00 UTC
in :data:`ROUND_THE_CLOCK_VENUES`    at the next 00:00 UTC
or the symbol in
:data:`ROUND_THE_CLOCK_SYMBOLS`
any other                            24 h after its open
===================================  ============================================================

A daily bar is knowable at its close, not at its open, so every bar is stamped with its close.

An instant that its calendar cannot place (a date without a session, an open after the session's
close, a date before the calendar's first) is in no session; :func:`known_bar_close` says so, and no
bar is stored there. :func:`bar_close` then gives 24 h after it: no session of these exchanges is
longer, so that may be late and cannot be early.

Where nothing was traded, TradingView has no bar in round-the-clock markets, and exchanges deliver
one; so formulas there do not count such a bar. Stock exchanges and dealers quote prices without
trades, and TradingView has bars of them: recorded scans show symbols of ``XETR``, ``GETTEX``,
``LSE`` and ``BSE`` with a bar whose volume is 0. There every bar counts, as it does where the hours
are unknown.

All instants are Unix seconds, UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import time as wall_time
from enum import Enum, StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from ingestion.base.instants import DAY
from ingestion.markets.calendars import Calendar, calendar_of
from ingestion.markets.exchanges import (
    CALENDARS,
    FX_VENUES,
    ROUND_THE_CLOCK_SYMBOLS,
    ROUND_THE_CLOCK_VENUES,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


PUBLICATION_DELAY = 900
"""Seconds by which an anonymous stock feed lags the exchange (``delayed_streaming_900``)."""
SETTLE = 300
"""Seconds after a close in which the scanner's columns may still move.

They are refreshed by separate jobs, so some still describe the bar's last trades for a while.
"""

_STREAMING = "streaming"
_DELAYED = re.compile(r"delayed_streaming_(\d{1,6})")
NEW_YORK = "America/New_York"
"""Where dealers' days end."""


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
    def has_no_bars_without_trades(self) -> bool:
        """Whether TradingView leaves a day out on which nothing was traded."""
        return self.rule is ClosingRule.MIDNIGHT_UTC

    @property
    def finality_delay(self) -> int:
        """Seconds after the close from which a snapshot's values are final.

        Stock feeds are delayed for anonymous readers. Dealers and crypto venues stream, so theirs
        need only settle; a feed of unknown hours is taken for a delayed one.
        """
        if self.rule in (ClosingRule.NEW_YORK_ROLL, ClosingRule.MIDNIGHT_UTC):
            return SETTLE
        return PUBLICATION_DELAY + SETTLE


_UNKNOWN_HOURS = MarketHours(ClosingRule.DAY_AFTER_OPEN)


def hours_of(symbol: str) -> MarketHours:
    """Return the market hours of a unified symbol, ``EXCHANGE:TICKER``.

    A text without an exchange has unknown hours.
    """
    if symbol in ROUND_THE_CLOCK_SYMBOLS:
        return MarketHours(ClosingRule.MIDNIGHT_UTC)
    exchange, colon, _ = symbol.partition(":")
    return hours_of_exchange(exchange) if colon else _UNKNOWN_HOURS


@lru_cache(maxsize=1024)
def hours_of_exchange(exchange: str) -> MarketHours:
    """Return the market hours of a TradingView exchange code, which is upper case."""
    if (calendar := CALENDARS.get(exchange)) is not None:
        return MarketHours(ClosingRule.SESSION, calendar)
    if exchange in FX_VENUES:
        return MarketHours(ClosingRule.NEW_YORK_ROLL)
    if exchange in ROUND_THE_CLOCK_VENUES:
        return MarketHours(ClosingRule.MIDNIGHT_UTC)
    return _UNKNOWN_HOURS


def known_calendar(symbol: str) -> Calendar | None:
    """Return the sessions of a symbol's exchange; None where it has no calendar."""
    exchange = symbol.partition(":")[0]
    return calendar_of(exchange) if hours_of(symbol).calendar is not None else None


def time_zone(symbol: str) -> str | None:
    """Return the name of the time zone that a symbol's days are counted in; None if unknown."""
    if (calendar := known_calendar(symbol)) is not None:
        return calendar.time_zone
    rule = hours_of(symbol).rule
    if rule is ClosingRule.NEW_YORK_ROLL:
        return NEW_YORK
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


_NEW_YORK = ZoneInfo(NEW_YORK)
DEALERS_CLOSE = wall_time(17)
"""When dealers' days end, there."""


class BarState(StrEnum):
    """Whether the values of a bar are final."""

    OPEN = "open"
    CLOSED = "closed"
    UNKNOWN = "unknown"


def bar_close(symbol: str, bar_open: int) -> int:
    """Return when the daily bar that opened at ``bar_open`` closes.

    Examples
    --------
    >>> bar_close("NASDAQ:AAPL", 1_606_487_400)  # 2020-11-27 14:30, a half day: 18:00
    1606500000
    """
    return _close_and_certainty(symbol, bar_open)[0]


def bar_closes(symbol: str, bar_opens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return when each daily bar of one symbol closes, in the order of their opens.

    Each is later than its open, by at most 25 h: a dealer's day in which New York's clocks go back.
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


def bar_state(
    symbol: str, bar_open: int | None, known_at: int, delay: int | None = None
) -> BarState:
    """Return whether a snapshot's values of a bar were final.

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
        ``CLOSED`` from the close plus the delay on. Before that ``OPEN``, or ``UNKNOWN`` if the
        close is not known but for the 24-hour rule. ``UNKNOWN`` also without ``bar_open``.
    """
    if bar_open is None:
        return BarState.UNKNOWN
    hours = hours_of(symbol)
    close, certain = _close_and_certainty(symbol, bar_open)
    if known_at >= close + (hours.finality_delay if delay is None else delay):
        return BarState.CLOSED
    return BarState.OPEN if certain else BarState.UNKNOWN


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
    day = local.date() if local.time() < DEALERS_CLOSE else local.date() + timedelta(days=1)
    return int(datetime.combine(day, DEALERS_CLOSE, _NEW_YORK).timestamp())
