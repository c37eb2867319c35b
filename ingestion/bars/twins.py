"""Stored bars of a session that close elsewhere than an incoming bar of it.

A bar cannot restate such a one, because a row stays in the partition of its close. Two kinds of
stored bars may be such: those of an exchange with a calendar that close with no session of it, and
those of markets without a calendar, whose days vendors cut differently; see
:mod:`ingestion.markets.sessions`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ingestion.bars.arrays import PRICES
from ingestion.bars.refusals import Reason
from ingestion.bars.stored_bars import StoredDay
from ingestion.base.instants import utc
from ingestion.markets.hours import ClosingRule, hours_of
from ingestion.markets.sessions import are_misplaced, bars_by_hours, session_days

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Twin:
    """A stored bar."""

    event: int
    """Its close, Unix seconds."""
    prices: dict[str, float]
    """Open, high, low and close."""
    source: str
    is_misplaced: bool
    """Whether it closes with no session of its exchange's calendar."""
    reason: ClassVar = Reason.TWICE
    """Why another one of its session is refused."""

    def __str__(self) -> str:
        closes = f"the stored bar of that session closes {utc(self.event)}"
        if self.is_misplaced:
            return f"{closes}, where no session does: `tvfeast verify` lists such bars"
        return f"{closes} and says something else: the two vendors cut the day at other hours"


class Twins:
    """The stored bars that may be of a session under another close, a few dates at a time.

    Parameters
    ----------
    names
        Symbols by number.
    stored_on
        Gives the current rows of a date of ``ohlcv_1d``.
    """

    def __init__(self, names: Sequence[str], stored_on: Callable[[date], StoredDay]) -> None:
        self._names, self._stored_on = names, stored_on
        self._days: dict[date, dict[tuple[int, int], list[Twin]]] = {}

    def find(
        self,
        day: date,
        symbol: NDArray[np.int32],
        opens: NDArray[np.int64],
        closes: NDArray[np.int64],
    ) -> dict[int, Twin]:
        """Return, by position, the twins of some bars that close on one UTC date.

        Parameters
        ----------
        symbol, opens, closes
            Shape ``(n,)``: the bars' symbols by number, opens and closes.
        """
        near = [day + timedelta(days) for days in (-1, 0, 1)]
        read = self._days
        self._days = {
            each: read[each] if each in read else self._possible_twins(self._stored_on(each))
            for each in near
        }
        stored = [twins for twins in self._days.values() if twins]
        found: dict[int, Twin] = {}
        if not stored:
            return found
        for key, at in bars_by_hours(self._names, symbol).items():
            days = session_days(key, opens[at], closes[at]).tolist()
            for n, number, session in zip(at.tolist(), symbol[at].tolist(), days, strict=True):
                for twins in stored:
                    for twin in twins.get((number, session), ()):
                        if twin.event != closes[n]:
                            found[n] = twin
        return found

    def _possible_twins(self, stored: StoredDay) -> dict[tuple[int, int], list[Twin]]:
        """Return the rows that may be twins, by symbol and day of their session."""
        found: dict[tuple[int, int], list[Twin]] = {}
        if not len(stored):
            return found
        opens, closes = stored.opens, stored.closes
        suspect = np.zeros(len(stored), dtype=bool)
        days = np.zeros(len(stored), dtype=np.int64)
        for key, at in bars_by_hours(self._names, stored.symbol).items():
            rule = hours_of(key).rule
            if rule is ClosingRule.SESSION:
                suspect[at] = are_misplaced(key, opens[at], closes[at])
            else:  # the bars of markets that never close all close at the same time
                suspect[at] = rule is not ClosingRule.MIDNIGHT_UTC
            if suspect[at].any():
                days[at] = session_days(key, opens[at], closes[at])
        for n in np.flatnonzero(suspect).tolist():
            row, session = stored.row(n), (int(stored.symbol[n]), int(days[n]))
            has_calendar = hours_of(row["symbol"]).rule is ClosingRule.SESSION
            prices = {name: row[name] for name in PRICES}
            twin = Twin(int(stored.closes[n]), prices, row["source"], has_calendar)
            found.setdefault(session, []).append(twin)
        return found
