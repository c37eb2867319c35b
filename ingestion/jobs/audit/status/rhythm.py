"""When a flow is to start again, and by when it is missed.

The rhythm is the declared one, or the median of the gaps between the last five starts; of two in
the middle the longer, so that a flow with two lines in the crontab is one of every day.

The next start is a rhythm after the last one. The time in which none of the flow's markets has a
session is added, so a flow that runs on weekdays is not missed on a Sunday, nor in a holiday. A
quarter of the rhythm later the flow is missed.

A market that never closes does not count beside others: whoever runs shares and coins together
may do so on weekdays. Of exchanges of unknown hours nothing is expected on a weekend.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from ingestion.markets.hours import ClosingRule, MarketHours, hours_of
from ingestion.markets.sessions import session_bounds
from ingestion.markets.symbols import exchange_of

DAY = timedelta(days=1)
_REACH = timedelta(days=30)
"""No market known is closed for as long."""
_SATURDAY = 5

Span = tuple[datetime, datetime]
"""Open and close of a session."""


def rhythm(starts: Sequence[datetime]) -> timedelta | None:
    """Return the usual gap between starts, which ascend; None of fewer than two.

    Examples
    --------
    >>> rhythm([datetime(2026, 1, day, 21, 40, tzinfo=UTC) for day in (8, 9, 12, 13, 14)])
    datetime.timedelta(days=1)
    """
    gaps = sorted(later - earlier for earlier, later in pairwise(starts))
    return gaps[len(gaps) // 2] if gaps else None


def grace(every: timedelta) -> timedelta:
    """Return for how long after it was to start a flow is not missed yet."""
    return every / 4


def next_start(start: datetime, every: timedelta, symbols: Iterable[str]) -> datetime | None:
    """Return when a flow of these symbols is to start again after it did; None for never.

    It loads the calendars of their exchanges, which takes seconds.
    """
    markets = {hours_of(symbol): exchange_of(symbol) for symbol in symbols}
    with_pauses = {
        hours: exchange
        for hours, exchange in markets.items()
        if hours.rule is not ClosingRule.MIDNIGHT_UTC
    }
    if not with_pauses:
        return start + every
    starts = (_in_market(start, every, *market) for market in with_pauses.items())
    return min((each for each in starts if each is not None), default=None)


def _in_market(
    start: datetime, every: timedelta, hours: MarketHours, exchange: str
) -> datetime | None:
    sessions = _sessions_around(start + every, hours, exchange)
    if every < DAY:  # once or more in each session
        wanted = start + every
        if any(opens <= wanted <= closes for opens, closes in sessions):
            return wanted
        return min((opens + every for opens, _ in sessions if opens > wanted), default=None)
    # A start is of the session whose close is the nearest, be it before or after it.
    middle = start + every / 2
    closes = [closes for _, closes in sessions]
    for before, after in pairwise(closes):
        if before <= middle < after:
            return start + every + max(timedelta(0), after - before - DAY)
    return None


def _sessions_around(instant: datetime, hours: MarketHours, exchange: str) -> list[Span]:
    days = [instant.date() + timedelta(days=day) for day in range(-_REACH.days, _REACH.days + 1)]
    found = (_session(day, hours, exchange) for day in days)
    return [session for session in found if session is not None]


def _session(day: date, hours: MarketHours, exchange: str) -> Span | None:
    if hours.rule is ClosingRule.DAY_AFTER_OPEN and day.weekday() >= _SATURDAY:
        return None
    bounds = session_bounds(exchange, day)
    if bounds is None:
        return None
    opens, closes = (datetime.fromtimestamp(instant, UTC) for instant in bounds)
    return opens, closes
