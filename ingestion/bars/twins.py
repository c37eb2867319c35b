"""Stored bars of a session that close at another instant than the bar that comes.

A bar that comes restates the stored one of its close. One of its session that closes elsewhere it
cannot restate: a row stays in the partition of its close. Two kinds of stored bars may be such:
those of an exchange with a calendar that close with no session of it, and those of markets without
one, whose days vendors cut differently. See :mod:`ingestion.markets.placing`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from ingestion.bars.refusals import Reason
from ingestion.bars.stored import StoredDay
from ingestion.markets.hours import ClosingRule, hours_of
from ingestion.markets.placing import bars_by_hours, misplaced, session_days

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PRICES = ("open", "high", "low", "close")
_EPOCH = date(1970, 1, 1)


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
        closes = f"the stored bar of that session closes {datetime.fromtimestamp(self.event, UTC)}"
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
        self._days = {
            each: self._days[each] if each in self._days else self._suspects(self._stored_on(each))
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

    def _suspects(self, stored: StoredDay) -> dict[tuple[int, int], list[Twin]]:
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
                suspect[at] = misplaced(key, opens[at], closes[at])
            else:
                suspect[at] = rule is not ClosingRule.MIDNIGHT_UTC  # those close all alike
            if suspect[at].any():
                days[at] = session_days(key, opens[at], closes[at])
        for n in np.flatnonzero(suspect).tolist():
            session = int(stored.symbol[n]), int(days[n])
            found.setdefault(session, []).append(_twin(stored.row(n)))
        return found


def keys(rows: pa.Table) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Return symbols, opens and closes of rows of ``ohlcv_1d``, Unix seconds."""
    closes = rows["event_timestamp"].cast(pa.int64()).to_numpy() // 1_000_000
    return rows["symbol"].to_pylist(), rows["timestamp"].to_numpy(), closes


def _twin(row: dict[str, Any]) -> Twin:
    symbol, event = row["symbol"], int(row["event_timestamp"].timestamp())
    has_calendar = hours_of(symbol).rule is ClosingRule.SESSION
    return Twin(event, {name: row[name] for name in _PRICES}, row["source"], has_calendar)
