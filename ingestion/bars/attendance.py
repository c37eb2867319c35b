"""Which sessions of their markets symbols have bars of, and which sessions a market has lost.

A *market* is an exchange code of known hours. A *hole* is a session of a market for which at least
half of its symbols lack the bar: of those that have bars before and after and one nearly every
session there, and of those that have the bar. Who trades once a week lacks nothing, and a single
symbol without a bar was halted.

Bars come in the order of their dates, a batch at a time; what is remembered is a few numbers per
symbol, and each gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from ingestion.markets.hours import ClosingRule, hours_of_exchange
from ingestion.markets.sessions import sessions_between
from ingestion.markets.symbols import exchange_of

MANY = 2
"""Symbols that must lack a session: a single one was halted."""
NEARBY = 5
"""Steps from bar to bar, before a gap and after it, that show how often a symbol trades."""
_DEALERS_HOLIDAYS = frozenset({(1, 1), (12, 25)})
"""Month and day on which currency dealers are closed; they are closed on no other weekday."""
_DAY = 86_400
_NONE = -1


@dataclass(frozen=True, order=True)
class Hole:
    """A session that a market had and the lakehouse has not."""

    closes: int
    """Unix s."""
    market: str
    """Exchange code."""
    session: date
    """Local date."""
    opens: int
    """Unix s."""
    symbols: int
    """How many lack its bar."""


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
        return np.searchsorted(self.opens, closes, side="left") - 1


def market_of(symbol: str) -> str | None:
    """Return a symbol's market; None if its sessions are not known."""
    exchange = exchange_of(symbol)
    # `INDEX` has symbols that never close, and others of unknown hours.
    known = hours_of_exchange(exchange).rule is not ClosingRule.DAY_AFTER_OPEN
    return exchange if known else None


def sessions_of(market: str, first: date, last: date) -> Sessions:
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


@dataclass
class _Market:
    name: str
    sessions: Sessions
    present: NDArray[np.int64]
    """Shape ``(sessions,)``: symbols with a bar."""


class Attendance:
    """The sessions that symbols have bars of, in a span of UTC dates, both ends included."""

    def __init__(self, first: date, last: date) -> None:
        day = timedelta(days=1)  # local dates are at most one away
        self._first, self._last = first - min(day, first - date.min), last + day
        self._markets: dict[str, int] = {}
        self._found: list[_Market] = []
        # By symbol: its market's position, the session of its last bar, and how many bars it has.
        self._market = np.empty(0, dtype=np.int32)
        self._newest = np.empty(0, dtype=np.int64)
        self._bars = np.empty(0, dtype=np.int64)
        self._gaps: list[NDArray[np.int64]] = []

    def add(
        self, numbers: NDArray[np.int32], closes: NDArray[np.int64], names: Sequence[str]
    ) -> None:
        """Take the bars of further dates.

        Parameters
        ----------
        numbers
            Shape ``(n,)``: of each bar, its symbol's position in ``names``.
        closes
            Shape ``(n,)``: when each bar closed, Unix s; in any order, none on an earlier date than
            those that were taken before.
        names
            The symbols; may have grown at its end since the last call.
        """
        self._meet(names)
        for market, each in enumerate(self._found):
            own = self._market[numbers] == market
            if own.any():
                self._attend(each, numbers[own], each.sessions.of_closes(closes[own]))

    def _meet(self, names: Sequence[str]) -> None:
        """Make room for symbols that are new."""
        for symbol in names[len(self._market) :]:
            if (market := market_of(symbol)) is not None and market not in self._markets:
                sessions = sessions_of(market, self._first, self._last)
                self._markets[market] = len(self._found)
                present = np.zeros(len(sessions.labels), dtype=np.int64)
                self._found.append(_Market(market, sessions, present))
        new = [
            self._markets.get(market_of(symbol) or "", _NONE)
            for symbol in names[len(self._market) :]
        ]
        self._market = np.append(self._market, np.array(new, dtype=np.int32))
        self._newest = np.append(self._newest, np.full(len(new), _NONE))
        self._bars = np.append(self._bars, np.zeros(len(new), dtype=np.int64))

    def _attend(
        self, market: _Market, numbers: NDArray[np.int32], sessions: NDArray[np.int64]
    ) -> None:
        order = np.lexsort((sessions, numbers))
        number, session = numbers[order].astype(np.int64), sessions[order]
        before = np.concatenate([[_NONE], session[:-1]])
        first = np.diff(number, prepend=_NONE) != 0
        before[first] = self._newest[number[first]]
        kept = (session > before) & (session >= 0)  # the others are of a session that is there
        if not kept.all():
            number, session = number[kept], session[kept]
            before = np.concatenate([[_NONE], session[:-1]])
            first = np.diff(number, prepend=_NONE) != 0
            before[first] = self._newest[number[first]]
        if not len(number):
            return
        market.present += np.bincount(session, minlength=len(market.present))
        starts = np.flatnonzero(first)
        lengths = np.diff(np.append(starts, len(number)))
        place = np.arange(len(number)) - np.repeat(starts, lengths)
        place += self._bars[number]
        gap = (before >= 0) & (session - before > 1)
        self._gaps.append(np.column_stack([number, place, before, session])[gap])
        last = starts + lengths - 1
        self._newest[number[last]] = session[last]
        self._bars[number[last]] += lengths

    @property
    def markets(self) -> dict[str, date]:
        """By market with bars, the local date of the last session that one of its symbols has."""
        found = {each.name: np.flatnonzero(each.present) for each in self._found}
        return {
            name: self._found[self._markets[name]].sessions.labels[int(there[-1])]
            for name, there in found.items()
            if len(there)
        }

    def holes(self) -> list[Hole]:
        """Return the sessions that many symbols of a market lack, in the order of their closes."""
        lacking = self._lacking()
        found: list[Hole] = []
        for each, lack in zip(self._found, lacking, strict=True):
            lost = _is_many(lack, each.present) & each.sessions.known
            lost &= (lack >= MANY) | self._is_lost_nearby(each, lacking)
            found += [
                Hole(
                    int(each.sessions.closes[at]),
                    each.name,
                    each.sessions.labels[at],
                    int(each.sessions.opens[at]),
                    int(lack[at]),
                )
                for at in np.flatnonzero(lost).tolist()
            ]
        return sorted(found)

    def _is_lost_nearby(
        self, market: _Market, lacking: list[NDArray[np.int64]]
    ) -> NDArray[np.bool_]:
        """Tell which sessions the markets of the same hours have lost, taken together.

        The one symbol of ``AMEX`` was not halted on an evening that ``NYSE`` has lost, too.
        """
        labels = market.sessions.labels
        alike = [at for at, each in enumerate(self._found) if each.sessions.labels == labels]
        lack = np.sum([lacking[at] for at in alike], axis=0)
        present = np.sum([self._found[at].present for at in alike], axis=0)
        lost: NDArray[np.bool_] = _is_many(lack, present) & (lack >= MANY)
        return lost

    def _lacking(self) -> list[NDArray[np.int64]]:
        """Return, for each market, how many symbols lack each session inside a gap that counts."""
        gaps = np.concatenate([np.empty((0, 4), dtype=np.int64), *self._gaps])
        gaps = gaps[np.lexsort((gaps[:, 1], gaps[:, 0]))]
        gaps = gaps[self._is_pause(gaps)]
        markets = self._market[gaps[:, 0]]
        lacking = []
        for number, each in enumerate(self._found):
            own = gaps[markets == number]
            size = len(each.present)
            steps = np.bincount(own[:, 2] + 1, minlength=size + 1)
            steps -= np.bincount(own[:, 3], minlength=size + 1)
            lacking.append(np.cumsum(steps)[:size])
        return lacking

    def _is_pause(self, gaps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which gaps interrupt daily bars: most steps around them are of one session.

        Parameters
        ----------
        gaps
            Shape ``(n, 4)``, sorted: symbol, place of the bar behind the gap, and the sessions of
            the bars on either side.
        """
        symbol, place = gaps[:, 0], gaps[:, 1]
        # A symbol's steps are 1 … bars - 1, each with the place of the bar that it leads to.
        first = np.maximum(place - NEARBY, 1)
        last = np.minimum(place + NEARBY, self._bars[symbol] - 1)
        others = last - first
        span = int(self._bars.max(initial=0)) + 1
        keys = symbol * span + place
        wide = np.searchsorted(keys, symbol * span + last, side="right")
        wide -= np.searchsorted(keys, symbol * span + first, side="left")
        pauses: NDArray[np.bool_] = 2 * (others - (wide - 1)) >= others
        return pauses


def _is_many(lacking: NDArray[np.int64], present: NDArray[np.int64]) -> NDArray[np.bool_]:
    many: NDArray[np.bool_] = (lacking > 0) & (lacking >= present)
    return many
