"""When decisions are made: at each session's close, or the last of a week or month.

Each exchange has its own decisions, by its own calendar: see :mod:`ingestion.markets.sessions`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from ingestion.base.errors import InputError
from ingestion.base.instants import DAY, MICROSECONDS, day_of_date
from ingestion.markets.hours import ClosingRule, hours_of
from ingestion.markets.sessions import Session, sessions_between

Every: TypeAlias = Literal["session", "week", "month"]
"""Which sessions are followed by a decision: all, the last of each week, of each month."""

_FIRST, _LAST = date(1970, 1, 10), date(2100, 10, 1)
"""The calendars know no session outside."""
_REACH = timedelta(days=33)
"""Beyond a date, so far that the month that it is in, and its next session, are seen whole."""


@dataclass(frozen=True)
class Schedule:
    """The decisions between two dates.

    Raises
    ------
    InputError
        If the first date is after the last, ``every`` is none of the possible, or ``at`` has
        another zone than UTC.

    Examples
    --------
    Weeks of the New York Stock Exchange; Good Friday 2021 was 2 April:

    >>> weeks = Schedule(date(2021, 3, 20), date(2021, 4, 9), every="week")
    >>> [str(each) for each in weeks.decisions("NYSE:").astype("datetime64[us]")]
    ['2021-03-26T20:00:00.000000', '2021-04-01T20:00:00.000000', '2021-04-09T20:00:00.000000']
    """

    first: date
    """UTC date of the first decision."""
    last: date
    """UTC date of the last decision, included."""
    every: Every = "session"
    at: time | None = None
    """UTC time of the decision, on the session's own date; its close if None."""

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise InputError(f"the first decision, {self.first}, is after the last, {self.last}")
        if self.every not in get_args(Every):
            raise InputError(f'no schedule "{self.every}": every session, week or month')
        if self.at is not None and self.at.tzinfo not in (None, UTC):
            raise InputError(f"the time of day, {self.at}, is not UTC")

    def decisions(self, symbol: str) -> NDArray[np.int64]:
        """Return the decisions on a symbol, Unix µs, ascending.

        Parameters
        ----------
        symbol
            Or what stands for all symbols of the same hours, see
            :func:`~ingestion.markets.sessions.by_hours`. Where hours are not known, each UTC day
            counts as a session.
        """
        first, last = max(self.first, _FIRST), min(self.last, _LAST)
        if first > last:
            return np.empty(0, np.int64)
        reach = timedelta(days=3), _REACH
        sessions = self._last_of_each(sessions_of(symbol, first - reach[0], last + reach[1]))
        instants = np.array([self._instant(each) for each in sessions], dtype=np.int64)
        begin, end = (day_of_date(day) * DAY * MICROSECONDS for day in (first, last))
        return instants[(instants >= begin) & (instants < end + DAY * MICROSECONDS)]

    def _last_of_each(self, sessions: list[Session]) -> Iterator[Session]:
        """Yield the sessions that are followed by one of another period."""
        for session, following in pairwise(sessions):
            if self._period(session.label) != self._period(following.label):
                yield session

    def _period(self, day: date) -> tuple[int, ...]:
        if self.every == "session":
            return (day.toordinal(),)
        return (day.year, day.month) if self.every == "month" else day.isocalendar()[:2]

    def _instant(self, session: Session) -> int:
        if self.at is None:
            return session.closes * MICROSECONDS
        at = datetime.combine(session.label, self.at.replace(tzinfo=UTC))
        return int(at.timestamp()) * MICROSECONDS


def sessions_of(symbol: str, first: date, last: date) -> list[Session]:
    """Return the sessions of a symbol from one label to another, in order.

    Parameters
    ----------
    symbol
        Or what stands for all symbols of the same hours. Where hours are not known, each UTC day
        counts as a session.

    Examples
    --------
    >>> [str(each.label) for each in sessions_of("NYSE:", date(2021, 4, 1), date(2021, 4, 5))]
    ['2021-04-01', '2021-04-05']
    """
    exchange = symbol.partition(":")[0]
    if hours_of(symbol).rule not in (ClosingRule.MIDNIGHT_UTC, ClosingRule.DAY_AFTER_OPEN):
        return sessions_between(exchange, first, last)
    days = (first + timedelta(n) for n in range((last - first).days + 1))
    found = []
    for day in days:
        opens = day_of_date(day) * DAY
        found.append(Session(day, opens, opens + DAY, is_assumed=False))
    return found
