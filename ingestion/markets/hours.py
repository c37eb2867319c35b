"""Which hours a symbol keeps: those of its exchange, by TradingView's code.

===================================  ============================================================
exchange                             a daily bar closes
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

How the close of a single bar follows is in :mod:`ingestion.markets.closes`. All instants are Unix
seconds, UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from ingestion.markets.calendars import Calendar, calendar_of
from ingestion.markets.exchanges import (
    CALENDARS,
    FX_VENUES,
    ROUND_THE_CLOCK_SYMBOLS,
    ROUND_THE_CLOCK_VENUES,
)

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
