"""The sessions of an exchange, and which of them a bar is of.

Sessions are found by the date that names one, between two dates, and before and after a close, by
the rules of :mod:`ingestion.markets.hours`.

A symbol has one bar per session. Bars of one session may come with other opens, because vendors
stamp the opening bell differently, and where no calendar says when sessions close, with other
closes: a dealer's day that is cut at 17:00 New York or at 00:00 UTC, the day of an exchange of
unknown hours from 00:00 UTC or from its opening bell on.

All instants are Unix seconds, UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall_time
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from ingestion.base.instants import DAY, date_of_day, utc
from ingestion.markets.calendars import calendar_of
from ingestion.markets.exchanges import CALENDARS, ROUND_THE_CLOCK_SYMBOLS
from ingestion.markets.hours import (
    DEALERS_CLOSE,
    NEW_YORK,
    ClosingRule,
    hours_of,
    hours_of_exchange,
    known_bar_closes,
    known_calendar,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_NEW_YORK = ZoneInfo(NEW_YORK)
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
            datetime.combine(day, DEALERS_CLOSE, _NEW_YORK)
            for day in (label - timedelta(days=1), label)
        )
        return int(opens.timestamp()), int(closes.timestamp())
    midnight = int(datetime.combine(label, wall_time(), UTC).timestamp())
    return midnight, midnight + DAY


def sessions_of_labels(
    exchange: str, days: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return opens and closes of the sessions that dates name, as :func:`session_bounds` does.

    The dates are days from 1970-01-01; −1 stands for a date without a session.
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
        positions = calendar.between(first, last)
        there = slice(positions.start, positions.stop)
        columns = (calendar.labels, calendar.opens, calendar.closes, calendar.assumed)
        return list(map(Session, *(column[there].tolist() for column in columns)))
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
        return int(datetime.combine(day, DEALERS_CLOSE, _NEW_YORK).timestamp())
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


_MOST_OF_A_DAY = 20 * 3_600
"""Before the close of a bar that lasts a day: its open is then in its own day, whatever the cut.

Dealers roll at 21:00 or 22:00 UTC, and of unknown markets those whose day begins the evening before
open from 20:00 UTC on.
"""


def by_hours(symbols: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    """Group symbols by what decides their hours: the positions of all, by one that stands for them.

    For most it is the code of their exchange and a colon.
    """
    import numpy as np

    groups: dict[str, list[int]] = {}
    for at, symbol in enumerate(symbols):
        alone = symbol in ROUND_THE_CLOCK_SYMBOLS
        groups.setdefault(symbol if alone else f"{symbol.partition(':')[0]}:", []).append(at)
    return {key: np.array(places, dtype=np.intp) for key, places in groups.items()}


def bars_by_hours(names: Sequence[str], symbol: NDArray[np.int32]) -> dict[str, NDArray[np.intp]]:
    """Group bars as :func:`by_hours` groups symbols, by the number of each among some names."""
    import numpy as np

    present = np.unique(symbol)  # of thousands of names a date or a file has a few
    groups = by_hours([names[number] for number in present.tolist()])
    if len(groups) == 1:
        return dict.fromkeys(groups, np.arange(len(symbol)))
    group_of = np.zeros(len(names), dtype=np.intp)
    for number, places in enumerate(groups.values()):
        group_of[present[places]] = number
    of_bar = group_of[symbol]
    return {key: np.flatnonzero(of_bar == number) for number, key in enumerate(groups)}


def are_misplaced(
    symbol: str, opens: NDArray[np.int64], closes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which bars of an exchange with a calendar do not close with the session of their open.

    None of those where no calendar is known.
    """
    import numpy as np

    if known_calendar(symbol) is None:
        return np.zeros(len(opens), dtype=bool)
    found, is_known = known_bar_closes(symbol, opens)
    wrong: NDArray[np.bool_] = ~is_known | (found != closes)
    return wrong


def have_assumed_hours(
    names: Sequence[str], symbol: NDArray[np.int32], closes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which bars are of sessions whose hours are assumed, beyond their calendar's end.

    Of each bar are given the number of its symbol among some names, and its close.
    """
    import numpy as np

    found = np.zeros(len(closes), dtype=bool)
    for key, at in bars_by_hours(names, symbol).items():
        calendar = known_calendar(key)
        if calendar is not None and calendar.ends is not None:
            i = np.searchsorted(calendar.closes, closes[at])
            found[at] = calendar.assumed[np.minimum(i, len(calendar.closes) - 1)]
    return found


def session_days(
    symbol: str, opens: NDArray[np.int64], closes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the day of each bar's session, in days from 1970-01-01: bars of one day are of one.

    The label of the session that the open is in by the calendar, or the UTC date of an open that is
    in none. Elsewhere the UTC date of 20 hours before the close.

    Parameters
    ----------
    symbol
        Whose hours they are; another symbol of its exchange does as well.
    opens, closes
        Shape ``(n,)``.
    """
    import numpy as np

    calendar = known_calendar(symbol)
    if calendar is None:
        return (closes - _MOST_OF_A_DAY) // DAY
    labels = calendar.labels.astype(np.int64)
    found, is_known = known_bar_closes(symbol, opens)
    i = np.minimum(np.searchsorted(calendar.closes, found), len(labels) - 1)
    return np.where(is_known, labels[i], opens // DAY)


def running_closes(symbol: str, instants: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return when the session that runs at each instant closes; −1 where none is known to run."""
    import numpy as np

    calendar = known_calendar(symbol)
    if calendar is None:
        return np.full(len(instants), -1, dtype=np.int64)
    i = np.searchsorted(calendar.closes, instants, side="right")
    i = np.minimum(i, len(calendar.closes) - 1)
    runs = (calendar.opens[i] <= instants) & (instants < calendar.closes[i])
    return np.where(runs, calendar.closes[i], -1)


def why_no_session(exchange: str, when: date | int) -> str:
    """Return why a date, or an instant, is in no session of an exchange with a calendar.

    Examples
    --------
    >>> why_no_session("NASDAQ", date(2021, 3, 6))
    'NASDAQ has no session on Saturday 2021-03-06; if it traded, write it to sessions.csv'
    """
    calendar = calendar_of(exchange)
    first = calendar.labels[0].item()
    if isinstance(when, date):
        if when < first:
            return f"the calendar of {exchange} begins on {first}"
        return (
            f"{exchange} has no session on {when:%A %Y-%m-%d}; if it traded, write it to "
            "sessions.csv"
        )
    instant = datetime.fromtimestamp(when, ZoneInfo(calendar.time_zone))
    told = f"{instant:%Y-%m-%d %H:%M} in {calendar.time_zone}"
    expected = "a bar's time is its date, its open, or midnight UTC or of the exchange"
    if (i := calendar.of_close(when)) is not None:
        return f"{told} is the close of session {calendar.labels[i]}: {expected}"
    return f"{told} is in no session of {exchange}: {expected}"
