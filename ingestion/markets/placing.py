"""To which session a bar belongs, and why a time is in none.

A symbol has one bar per session. Bars of one session may come with other opens, because vendors
stamp the opening bell differently, and where no calendar says when sessions close, with other
closes: a dealer's day that is cut at 17:00 New York or at 00:00 UTC, the day of an exchange of
unknown hours from 00:00 UTC or from its opening bell on.

All instants are Unix seconds, UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from ingestion.base.instants import DAY
from ingestion.markets.calendars import calendar_of
from ingestion.markets.closes import known_bar_closes
from ingestion.markets.exchanges import ROUND_THE_CLOCK_SYMBOLS
from ingestion.markets.hours import known_calendar

if TYPE_CHECKING:  # numpy alone takes longer to import than a command may take to show its help
    import numpy as np
    from numpy.typing import NDArray

_MOST_OF_A_DAY = 20 * 3_600
"""Before the close of a bar that lasts a day: its open is then in its own day, whatever the cut.

Dealers roll at 21:00 or 22:00 UTC, and of unknown markets those whose day begins the evening before
open from 20:00 UTC on.
"""


def by_hours(symbols: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    """Group symbols by what decides their hours.

    Returns
    -------
    dict[str, NDArray[np.intp]]
        For one symbol of each group, the positions of all.
    """
    import numpy as np

    groups: dict[str, list[int]] = {}
    for at, symbol in enumerate(symbols):
        alone = symbol in ROUND_THE_CLOCK_SYMBOLS
        groups.setdefault(symbol if alone else f"{symbol.partition(':')[0]}:", []).append(at)
    return {key: np.array(places, dtype=np.intp) for key, places in groups.items()}


def bars_by_hours(names: Sequence[str], symbol: NDArray[np.int32]) -> dict[str, NDArray[np.intp]]:
    """Group bars by what decides their hours.

    Parameters
    ----------
    names
        Symbols by number.
    symbol
        Shape ``(n,)``: the number of each bar's symbol.

    Returns
    -------
    dict[str, NDArray[np.intp]]
        For one symbol of each group, the positions of all its bars.
    """
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


def misplaced(
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


def assumed(
    names: Sequence[str], symbol: NDArray[np.int32], closes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which bars are of sessions whose hours are assumed, beyond their calendar's end.

    Parameters
    ----------
    names
        Symbols by number.
    symbol, closes
        Shape ``(n,)``: the number of each bar's symbol, and its close.
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
