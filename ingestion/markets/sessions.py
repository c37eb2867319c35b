"""The sessions of an exchange: by the date that names one, between two dates, before and after one.

By the rules of :mod:`ingestion.markets.hours`. All instants are Unix seconds, UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall_time
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from ingestion.base.instants import DAY, date_of_day, utc
from ingestion.markets.calendars import Calendar, calendar_of
from ingestion.markets.exchanges import CALENDARS
from ingestion.markets.hours import (
    NEW_YORK,
    ClosingRule,
    hours_of,
    hours_of_exchange,
    known_calendar,
)

if TYPE_CHECKING:  # numpy alone takes longer to import than a command may take to show its help
    import numpy as np
    from numpy.typing import NDArray

_NEW_YORK = ZoneInfo(NEW_YORK)
_NEW_YORK_ROLL = wall_time(17)
_SATURDAY = 5
_SUNDAY = 6


class Session(NamedTuple):
    """One session of an exchange."""

    label: date
    """The local date of an exchange, the date of the closing roll for FX, else the UTC date."""
    opens: int
    closes: int
    is_assumed: bool
    """Whether nothing is known of that date and the weekday's usual hours are taken for its own:
    it lies after the end of the exchange's calendar, and may be a holiday."""


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
        bounds = [session_bounds(exchange, date_of_day(day)) for day in days.tolist()]
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

    After it the weekday's usual hours are assumed: see :mod:`ingestion.markets.calendars`.
    """
    found = {}
    for exchange in sorted(set(exchanges)):
        if exchange in CALENDARS and (end := calendar_of(exchange).ends) is not None:
            found[exchange] = end
    return found


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
        is_sunday = utc(before).weekday() == _SUNDAY
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


def _session(calendar: Calendar, i: int) -> Session:
    opens, closes = int(calendar.opens[i]), int(calendar.closes[i])
    return Session(calendar.labels[i].item(), opens, closes, bool(calendar.assumed[i]))
