"""Which symbols a group is worth asking for at an instant, by its cadence and their market's hours.

===========  ==============================  =========================  ==========================
cadence      market hours ``any``            ``open``                   ``closed``
===========  ==============================  =========================  ==========================
each run     always                          in a session, and once     outside of sessions
                                             after it
hourly       45 min after the newest row     likewise in a session,     once after each session
                                             and once after it
daily        18 h after the newest row       once in or after each      once after each session
                                             session
weekly       6 d 18 h after the newest row   likewise, and a session    likewise, and a session
                                             has begun since            has ended since
===========  ==============================  =========================  ==========================

A session ends here when its values are final, the feed's delay and five minutes after the close; a
row from between the close and then is followed by another one.
Markets that never close, dealers' days and exchanges of unknown hours have no hours to wait for: of
their symbols the cadence alone counts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from ingestion.catalog import AskedWhile, Cadence, FeatureGroup
from ingestion.markets.hours import MarketHours, hours_of, known_calendar

_ALWAYS = 1 << 62
"""A second that no row has reached."""
_LONGEST_PAUSE = timedelta(days=12)
"""More than any market known is closed for, but for catastrophes."""


class _Sessions(NamedTuple):
    """What a calendar says of an instant, Unix seconds."""

    opened: int
    """The open of the session that runs, or of the last one."""
    ended: int
    """When the values of the last session that has ended were final."""
    runs: bool
    """Whether the values of the last session are not final yet."""
    trades: bool
    """Whether it has not closed yet, and did not begin when the one before it ended."""


class _Market(NamedTuple):
    """What is to be asked of the symbols of an exchange."""

    recent_from: int
    """From which second on a row is recent enough."""
    waits: bool = False
    """Whether nothing is to be asked now."""


class Due:
    """Which symbols a group is worth asking for.

    Parameters
    ----------
    group
        Of the scanner.
    at
        The instant of the question.

    Examples
    --------
    >>> from datetime import UTC
    >>> from ingestion.catalog import Column, Scanner
    >>> group = FeatureGroup(
    ...     name="mine", meaning="…", source=Scanner(), ttl="4d", features=[Column("RSI")],
    ...     cadence="daily", market_hours="closed",
    ... )
    >>> due = Due(group, datetime(2026, 1, 16, 21, 40, tzinfo=UTC))
    >>> thursday = int(datetime(2026, 1, 15, 21, 40, tzinfo=UTC).timestamp())
    >>> due.is_due("NASDAQ:AAPL", thursday), due.is_due("NASDAQ:AAPL", thursday + 86_400)
    (True, False)
    """

    def __init__(self, group: FeatureGroup, at: datetime) -> None:
        self._cadence, self._while = group.cadence, group.market_hours
        self._at = int(at.timestamp())
        self._markets: dict[tuple[str, MarketHours], _Market] = {}

    def is_due(self, symbol: str, newest: int | None) -> bool:
        """Return whether a symbol is worth asking for, by the second of its newest row, if any."""
        return not self.waits(symbol) and (newest is None or self.is_behind(symbol, newest))

    def is_behind(self, symbol: str, newest: int) -> bool:
        """Return whether a newer row than this was to be had, before now or now."""
        return newest < self._of(symbol).recent_from

    def waits(self, symbol: str) -> bool:
        """Return whether its market's hours forbid the question, whatever rows there are."""
        return self._of(symbol).waits

    def recent(self, newest: Mapping[str, int]) -> frozenset[str]:
        """Return the symbols whose newest row leaves nothing to ask for yet."""
        return frozenset(symbol for symbol, at in newest.items() if not self.is_due(symbol, at))

    def looks_back(self, symbols: Collection[str] | None) -> int:
        """Return from which second on a row of these symbols may count; of any if None."""
        if symbols is not None:
            return min((self._at, *(self._of(symbol).recent_from for symbol in symbols)))
        period = self._cadence.from_age
        if self._while is not AskedWhile.ANY:
            period = max(period, _LONGEST_PAUSE)
        return self._at - int(period.total_seconds())

    def _of(self, symbol: str) -> _Market:
        hours = hours_of(symbol)
        market = symbol.partition(":")[0], hours
        if market not in self._markets:
            self._markets[market] = self._judged(symbol, hours)
        return self._markets[market]

    def _judged(self, symbol: str, hours: MarketHours) -> _Market:
        age = int(self._cadence.from_age.total_seconds())
        by_age = self._at - age + 1 if age else _ALWAYS
        if self._while is AskedWhile.ANY or hours.calendar is None:
            return _Market(by_age)
        sessions = self._sessions(symbol, hours)
        often = self._cadence in (Cadence.EACH_RUN, Cadence.HOURLY)
        if self._while is AskedWhile.CLOSED:
            waits = sessions.trades
            always = self._cadence is Cadence.EACH_RUN and not waits
            bound = _ALWAYS if always else sessions.ended
        else:
            waits = False
            bound = sessions.ended if often else sessions.opened
            if often and sessions.runs:
                bound = by_age
        return _Market(min(by_age, bound) if self._cadence is Cadence.WEEKLY else bound, waits)

    def _sessions(self, symbol: str, hours: MarketHours) -> _Sessions:
        import numpy as np

        calendar, delay = known_calendar(symbol), hours.finality_delay
        assert calendar is not None  # noqa: S101 - it has one by its hours
        ended = int(np.searchsorted(calendar.closes, self._at - delay, side="right"))
        runs = ended < len(calendar.opens) and bool(calendar.opens[ended] <= self._at)
        last = ended if runs else ended - 1
        close = int(calendar.closes[ended - 1])
        has_pause = runs and int(calendar.opens[ended]) - close > delay
        trades = has_pause and self._at < int(calendar.closes[ended])
        return _Sessions(int(calendar.opens[last]), close + delay, runs, trades)
