"""Where bars disagree with the calendars.

Bars of a day that the calendar has as closed, and a day that it has as open on which nobody traded,
say that the calendar is wrong there, or the file is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from ingestion.bars.arrays import Bars
from ingestion.base.instants import DAY, date_of_day, day_of_date
from ingestion.markets.hours import known_calendar
from ingestion.markets.sessions import (
    bars_by_hours,
    session_days,
    sessions_between,
)
from ingestion.markets.symbols import exchange_of

if TYPE_CHECKING:
    pass


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
