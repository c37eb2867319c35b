"""The sessions of markets. A *market* is an exchange code of known hours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingestion.markets.hours import ClosingRule, hours_of_exchange
from ingestion.markets.sessions import sessions_between
from ingestion.markets.symbols import exchange_of

_DEALERS_HOLIDAYS = frozenset({(1, 1), (12, 25)})
"""Month and day on which currency dealers are closed; they are closed on no other weekday."""
_LONGEST_PAUSE = timedelta(days=15)
"""Between two sessions of a market."""


@dataclass(frozen=True)
class Sessions:
    """Sessions of a market: parallel arrays of shape ``(n,)``, ascending; times are Unix s."""

    labels: tuple[date, ...]
    opens: NDArray[np.int64]
    closes: NDArray[np.int64]
    known: NDArray[np.bool_]
    """False where the calendar has ended, so that the day may be a holiday."""

    def of_closes(self, closes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions of the sessions in which bars close; -1 before the first.

        A bar that closes late, as one of unknown hours does, is still of the last session that had
        opened.
        """
        # Neighbours mostly close together, and often all of a date.
        differs = closes[1:] != closes[:-1]
        heads = np.append(0, np.flatnonzero(differs) + 1)[: len(closes)]
        at = np.searchsorted(self.opens, closes[heads], side="left") - 1
        if len(heads) == 1:
            return np.full(len(closes), at[0])
        return np.repeat(at, np.diff(np.append(heads, len(closes))))


def market_of(symbol: str) -> str | None:
    """Return a symbol's market; None if its sessions are not known."""
    exchange = exchange_of(symbol)
    return exchange if has_known_hours(exchange) else None


@cache
def has_known_hours(exchange: str) -> bool:
    """Return whether an exchange is a market: whether the sessions of its symbols are known."""
    # `INDEX` has symbols that never close, and others of unknown hours.
    return hours_of_exchange(exchange).rule is not ClosingRule.DAY_AFTER_OPEN


def sessions_of_market(market: str, first: date, last: date) -> Sessions:
    """Return the sessions of a market whose local dates are in a span, both ends included."""
    is_dealer = hours_of_exchange(market).rule is ClosingRule.NEW_YORK_ROLL
    found = [
        each
        for each in sessions_between(market, first, last)
        if not (is_dealer and (each.label.month, each.label.day) in _DEALERS_HOLIDAYS)
    ]
    return Sessions(
        labels=tuple(each.label for each in found),
        opens=np.array([each.opens for each in found], dtype=np.int64),
        closes=np.array([each.closes for each in found], dtype=np.int64),
        known=np.array([not each.is_assumed for each in found], dtype=bool),
    )


class LastSession(NamedTuple):
    """A session that has closed."""

    label: date
    """Local date."""
    closes: int
    """Unix s."""


def last_session(symbol: str, at: datetime) -> LastSession | None:
    """Return a symbol's newest session that had closed by an instant.

    Returns
    -------
    LastSession or None
        None of an exchange whose hours are not known.

    Examples
    --------
    >>> from datetime import UTC
    >>> new_year = datetime(2021, 1, 2, 10, tzinfo=UTC)
    >>> print(last_session("BINANCE:BTCUSDT", new_year).label)
    2021-01-01
    >>> print(last_session("OANDA:EURUSD", new_year).label)  # dealers were closed on Friday
    2020-12-31
    """
    market = market_of(symbol)
    if market is None:
        return None
    sessions = sessions_of_market(market, at.date() - _LONGEST_PAUSE, at.date() + timedelta(days=1))
    closed = int(np.searchsorted(sessions.closes, at.timestamp(), side="right"))
    if not closed:
        return None
    return LastSession(sessions.labels[closed - 1], int(sessions.closes[closed - 1]))
