"""Which session each row is of.

Where sessions are known (:attr:`~ingestion.markets.hours.ClosingRule.SESSION`) a time names one of
them:

=====================================  =========================================================
a vendor's time                        its session
=====================================  =========================================================
a date                                 that date's
an instant within a session, or        that session's: vendors stamp the opening bell, or a pre-open
before it on its local date            auction; local midnight is such an instant too
00:00 UTC, in no session               that date's: a date written as an instant
midnight with an offset, in no         that of the date as written
session of another date
any other                              none: the row is refused
=====================================  =========================================================

Elsewhere an instant is the bar's open, and its close follows from it.

Bars of a day that the calendar has as closed, and a day that it has as open on which nobody traded,
say that the calendar is wrong there, or the file is: :class:`TradingDays` collects them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from ingestion.bars.arrays import Bars
from ingestion.bars.cells import Kind, Times
from ingestion.base.instants import DAY, date_of_day, day_of_date, utc
from ingestion.catalog import TimesMean
from ingestion.markets.hours import ClosingRule, hours_of, known_bar_closes, known_calendar
from ingestion.markets.sessions import (
    Session,
    bars_by_hours,
    by_hours,
    running_closes,
    session_bounds,
    session_days,
    sessions_between,
    sessions_of_labels,
    why_no_session,
)
from ingestion.markets.symbols import exchange_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_CLOSE = -1
"""The close of a time that is in no session."""
_NEXT_SESSION = timedelta(days=14)
"""The next session after an ex-date without one must be within this time."""


def place_times(
    times: Times,
    symbols: Sequence[str | None],
    which: NDArray[np.int64],
    mean: TimesMean = TimesMean.AS_WRITTEN,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Place bars in time.

    Parameters
    ----------
    times
        Shape ``(n,)``.
    symbols
        Unified symbols; None for what is no symbol.
    which
        Shape ``(n,)``: the symbol of each bar.
    mean
        What the times mean.

    Returns
    -------
    tuple[NDArray[np.int64], NDArray[np.int64]]
        Opens and closes, Unix seconds; :data:`NO_CLOSE` as the close of a time that is in no
        session, of an unreadable time and of a row without a symbol.
    """
    opens = times.seconds.copy()
    closes = np.full(len(opens), NO_CLOSE, dtype=np.int64)
    # Two names of a vendor may be one symbol.
    named = [(n, name) for n, name in enumerate(symbols) if name is not None]
    numbers = np.array([n for n, _ in named], dtype=np.int64)
    for symbol, at in by_hours([name for _, name in named]).items():
        rows = np.flatnonzero(np.isin(which, numbers[at]))
        meant = _as_meant(symbol, times.take(rows), mean)
        opens[rows], closes[rows] = _place_times_of(symbol, meant)
    return opens, closes


def next_session(times: Times, at: int, symbol: str) -> Session | None:
    """Return the next session after a date without one; None where none is near."""
    kind, seconds = times.kinds[at], int(times.seconds[at])
    if kind == Kind.UNREADABLE or (kind == Kind.INSTANT and seconds % DAY):
        return None
    days = seconds // DAY if kind == Kind.INSTANT else int(times.days[at])
    day = date_of_day(days)
    sessions = sessions_between(exchange_of(symbol), day, day + _NEXT_SESSION)
    return sessions[0] if sessions else None


def _as_meant(symbol: str, times: Times, mean: TimesMean) -> Times:
    """Return times that mean what those of files mean, of symbols that keep the hours of one."""
    is_label = times.kinds == Kind.LABEL
    is_instant = ~is_label & (times.kinds != Kind.UNREADABLE)
    if mean is TimesMean.DATES:
        kinds = np.where(is_instant, np.int8(Kind.LABEL), times.kinds)
        return Times(kinds, times.days * DAY, times.days)
    if mean is TimesMean.OPENS:
        kinds = np.where(is_label | is_instant, np.int8(Kind.INSTANT), times.kinds)
        return Times(kinds, times.seconds, times.days)
    if mean is TimesMean.CLOSES:
        return _opening(symbol, times, is_instant)
    return times


def _opening(symbol: str, times: Times, is_close: NDArray[np.bool_]) -> Times:
    """Return when the bars open, or which sessions they are of, that close at some times."""
    kinds, seconds, days = times.kinds.copy(), times.seconds.copy(), times.days.copy()
    closes = seconds[is_close]
    match hours_of(symbol).rule:
        case ClosingRule.SESSION:  # one that closes elsewhere stays where it is, in no session
            runs = running_closes(symbol, closes - 1) != NO_CLOSE
            at = np.flatnonzero(is_close)[runs]
            kinds[at] = Kind.LABEL
            days[at] = session_days(symbol, closes[runs] - 1, closes[runs])
            seconds[at] = days[at] * DAY
        case ClosingRule.MIDNIGHT_UTC:
            seconds[is_close] = (closes - 1) // DAY * DAY
        case _:
            seconds[is_close] = closes - DAY
    return Times(kinds, seconds, days)


def _place_times_of(symbol: str, times: Times) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Place the bars of symbols that keep the hours of one."""
    opens, days = times.seconds.copy(), times.days.copy()
    closes = np.full(len(opens), NO_CLOSE, dtype=np.int64)
    in_sessions = hours_of(symbol).rule is ClosingRule.SESSION
    written = np.flatnonzero((times.kinds == Kind.LOCAL_MIDNIGHT) & in_sessions)
    labelled = times.kinds == Kind.LABEL
    labelled[written] = True
    instants = ~labelled & (times.kinds != Kind.UNREADABLE)
    closes[instants] = closes_of(symbol, opens[instants])
    dates = instants & (closes == NO_CLOSE) & (opens % DAY == 0)
    days[dates] = opens[dates] // DAY
    labelled |= dates
    labels, back = np.unique(days[labelled], return_inverse=True)
    bounds = sessions_of_labels(exchange_of(symbol), labels)
    opens[labelled], closes[labelled] = (of_label[back] for of_label in bounds)
    # Midnight in another country may be within a session here, of another date: which is meant?
    running = running_closes(symbol, times.seconds[written])
    closes[written[(running != NO_CLOSE) & (running != closes[written])]] = NO_CLOSE
    return opens, closes


def closes_of(symbol: str, opens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return when the bars of a symbol close that open at some instants, Unix seconds.

    Parameters
    ----------
    symbol
        Another symbol of the same hours will do.

    Returns
    -------
    NDArray[np.int64]
        Shape ``(n,)``; :data:`NO_CLOSE` for an instant that is in no session of the calendar.
    """
    closes, is_known = known_bar_closes(symbol, opens)
    if hours_of(symbol).rule is ClosingRule.SESSION:
        closes = np.where(is_known, closes, NO_CLOSE)
    return closes


def why_no_place(times: Times, at: int, symbol: str) -> str:
    """Return why the time of a row is in no session: what it is, and what was expected."""
    exchange = exchange_of(symbol)
    kind, seconds = times.kinds[at], int(times.seconds[at])
    if hours_of(symbol).rule is not ClosingRule.SESSION:
        return f"{exchange} has no session on that date"
    if kind == Kind.INSTANT and seconds % DAY:
        return why_no_session(exchange, seconds)
    label = date_of_day(int(times.days[at]) if kind != Kind.INSTANT else seconds // DAY)
    if session_bounds(exchange, label):
        instant = utc(seconds)
        return f"{instant:%Y-%m-%dT%H:%MZ} is within a session of another date: give dates alone"
    return why_no_session(exchange, label)


MANY = 5
"""If so many symbols of an exchange were traded around a day, and none on it, it is reported."""


class TradingDays:
    """Where the bars of an import, or of a snapshot, disagree with the calendars."""

    def __init__(self) -> None:
        self._on_closed: dict[tuple[date, str], set[str]] = {}
        self._traded: dict[str, Counter[int]] = {}
        self._spans: dict[str, tuple[int, int]] = {}

    def refuse(self, symbol: str, when: date | int) -> None:
        """Note a good bar that is in no session, by its date or its instant, Unix seconds."""
        calendar = known_calendar(symbol)
        if calendar is None:
            return
        if not isinstance(when, date):
            zone = UTC if when % DAY == 0 else ZoneInfo(calendar.time_zone)
            when = datetime.fromtimestamp(when, zone).date()
        if calendar.labels[0].item() <= when and calendar.of_label(when) is None:
            self._on_closed.setdefault((when, exchange_of(symbol)), set()).add(symbol)

    def accept(self, bars: Bars, names: Sequence[str]) -> None:
        """Note bars that are in sessions."""
        for symbol, at in bars_by_hours(names, bars.symbol).items():
            if known_calendar(symbol) is None:
                continue
            days = session_days(symbol, bars.timestamp[at], bars.event[at])
            traded = self._traded.setdefault(symbol, Counter())
            traded.update(dict.fromkeys(np.unique(days).tolist(), 1))
            order = np.argsort(bars.symbol[at], kind="stable")
            owner, days = bars.symbol[at][order], days[order]
            starts = np.flatnonzero(np.diff(owner, prepend=-1))
            firsts, lasts = np.minimum.reduceat(days, starts), np.maximum.reduceat(days, starts)
            for number, *span in zip(owner[starts], firsts, lasts, strict=True):
                first, last = self._spans.get(names[number], span)
                self._spans[names[number]] = min(first, int(span[0])), max(last, int(span[1]))

    def on_closed_days(self) -> list[str]:
        """Return the days on which symbols traded and the calendar says closed."""
        return [
            f"{exchange} {day:%a %Y-%m-%d} ({len(symbols):,} symbols)"
            for (day, exchange), symbols in sorted(self._on_closed.items())
        ]

    def without_trade(self) -> list[str]:
        """Return the days that the calendar has as open, on which none of many symbols traded."""
        found = []
        for symbol, traded in sorted(self._traded.items()):
            exchange = exchange_of(symbol)
            spans = [span for name, span in self._spans.items() if exchange_of(name) == exchange]
            firsts, lasts = (np.sort([span[end] for span in spans]) for end in (0, 1))
            first, last = (date_of_day(int(day)) for day in (firsts[0], lasts[-1]))
            for session in sessions_between(exchange, first, last):
                day = day_of_date(session.label)
                active = np.searchsorted(firsts, day, "right") - np.searchsorted(lasts, day, "left")
                if active >= MANY and not traded[day]:
                    found.append(
                        f"{exchange} {session.label:%a %Y-%m-%d} (none of {active:,} symbols)"
                    )
        return found
