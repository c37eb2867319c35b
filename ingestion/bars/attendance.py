"""Which sessions symbols have bars of, and which sessions a market has lost.

A *market* is an exchange code of known hours. A *hole* is a session of a market for which at least
half of its symbols lack the bar: half of those that have bars before and after and one nearly every
session there, and of those that have the bar. A symbol that trades once a week lacks nothing, and a
single symbol without a bar was halted.

:class:`Attendance` takes bars in the order of their dates, a batch at a time; it keeps a few
numbers per symbol, and each gap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingestion.bars.arrays import SymbolTable, close_seconds
from ingestion.base.ordered import distinct, runs, stable_order
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import Part, by_date, read_current
from ingestion.markets.market_sessions import Sessions, has_known_hours, sessions_of_market
from ingestion.markets.symbols import exchange_of

MANY = 2
"""Symbols that must lack a session: a single one was halted."""
NEARBY = 5
"""Steps from bar to bar, before a gap and after it, that show how often a symbol trades."""
_NO_SESSION = -1
NEVER_CLOSED = np.iinfo(np.int64).min
"""Of a symbol without rows."""


@dataclass(frozen=True, order=True)
class Hole:
    """A session that a market had and the lakehouse lacks."""

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
        # By symbol: its market's position, the sessions of its first and last bar, and how many
        # bars it has.
        self._market = np.empty(0, dtype=np.int32)
        self._oldest = np.empty(0, dtype=np.int64)
        self._newest = np.empty(0, dtype=np.int64)
        self._bars = np.empty(0, dtype=np.int64)
        self.last_close = np.empty(0, dtype=np.int64)
        """By symbol, when its newest row closes that was noted, Unix s."""
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
        markets = self._market[numbers]
        for market, each in enumerate(self._found):
            own = markets == market
            if own.all():
                self._add_to_market(each, numbers, each.sessions.of_closes(closes))
            elif own.any():
                self._add_to_market(each, numbers[own], each.sessions.of_closes(closes[own]))

    def note_closes(
        self, numbers: NDArray[np.int32], closes: NDArray[np.int64], names: Sequence[str]
    ) -> None:
        """Note when rows close, those of withdrawn bars among them; as :meth:`add` in all else."""
        self._meet(names)
        np.maximum.at(self.last_close, numbers, closes)

    def _meet(self, names: Sequence[str]) -> None:
        """Make room for symbols that are new."""
        if len(names) == len(self._market):
            return
        of_new = [exchange_of(symbol) for symbol in names[len(self._market) :]]
        for market in dict.fromkeys(of_new):
            if market not in self._markets and has_known_hours(market):
                sessions = sessions_of_market(market, self._first, self._last)
                self._markets[market] = len(self._found)
                present = np.zeros(len(sessions.labels), dtype=np.int64)
                self._found.append(_Market(market, sessions, present))
        new = [self._markets.get(exchange, _NO_SESSION) for exchange in of_new]
        self._market = np.append(self._market, np.array(new, dtype=np.int32))
        self._oldest = np.append(self._oldest, np.full(len(new), _NO_SESSION))
        self._newest = np.append(self._newest, np.full(len(new), _NO_SESSION))
        self._bars = np.append(self._bars, np.zeros(len(new), dtype=np.int64))
        self.last_close = np.append(self.last_close, np.full(len(new), NEVER_CLOSED))

    def _add_to_market(
        self, market: _Market, numbers: NDArray[np.int32], sessions: NDArray[np.int64]
    ) -> None:
        if (sessions[1:] < sessions[:-1]).any():
            order = stable_order(sessions)
            numbers, sessions = numbers[order], sessions[order]
        # By session, as bars come: to bring each symbol's together takes five times as long.
        for session, start, end in runs(sessions):
            self._add_session(market, session, numbers[start:end])

    def _add_session(self, market: _Market, session: int, numbers: NDArray[np.int32]) -> None:
        if not (numbers[1:] > numbers[:-1]).all():
            numbers = distinct(numbers)
        # The other bars are of a session that was counted, or of none.
        is_later = self._newest[_places(numbers)] < session
        if not is_later.all():
            numbers = numbers[is_later]
        places = _places(numbers)
        before = self._newest[places]
        market.present[session] += len(numbers)
        if not (before == session - 1).all():
            gap = (before != _NO_SESSION) & (before < session - 1)
            of_gap = numbers[gap]
            of_session = np.full(len(of_gap), session)
            gaps = [of_gap, self._bars[of_gap], before[gap], of_session]
            self._gaps.append(np.column_stack(gaps).astype(np.int64, copy=False))
        is_first = before == _NO_SESSION
        if is_first.any():
            self._oldest[numbers[is_first]] = session
        self._newest[places] = session
        self._bars[places] += 1

    def forget(self, numbers: NDArray[np.int64]) -> None:
        """Forget all bars of some symbols, by number; others of theirs may be added then."""
        is_own = np.zeros(len(self._market), dtype=bool)
        is_own[numbers] = True
        gaps = self._all_gaps()
        for market, each in enumerate(self._found):
            own = is_own & (self._market == market)
            theirs = gaps[own[gaps[:, 0]]]
            each.present -= _present(
                len(each.present), self._oldest[own], self._newest[own], theirs
            )
        self._gaps = [gaps[~is_own[gaps[:, 0]]]]
        for array, none in (
            (self._oldest, _NO_SESSION),
            (self._newest, _NO_SESSION),
            (self._bars, 0),
            (self.last_close, NEVER_CLOSED),
        ):
            array[numbers] = none

    def _all_gaps(self) -> NDArray[np.int64]:
        return np.concatenate([np.empty((0, 4), dtype=np.int64), *self._gaps])

    def arrays(self) -> dict[str, NDArray[np.int64]]:
        """Return what it knows of the symbols, for :meth:`of_arrays`."""
        return {
            "oldest": self._oldest,
            "newest": self._newest,
            "bars": self._bars,
            "last_close": self.last_close,
            "gaps": self._all_gaps(),
        }

    def calendars(self) -> dict[str, list[Any]]:
        """Return by market how many of its sessions have passed, and a hash of their times."""
        found = {}
        for each in self._found:
            size = int(np.flatnonzero(each.present).max(initial=-1)) + 1
            found[each.name] = [size, _hash(each.sessions, size)]
        return found

    @classmethod
    def of_arrays(
        cls,
        first: date,
        last: date,
        names: Sequence[str],
        arrays: Mapping[str, NDArray[np.int64]],
        calendars: Mapping[str, Sequence[Any]],
    ) -> Attendance | None:
        """Return what :meth:`arrays` and :meth:`calendars` were of; None with other calendars."""
        found = cls(first, last)
        found._meet(names)
        found._oldest, found._newest, found._bars, found.last_close = (
            np.array(arrays[name]) for name in ("oldest", "newest", "bars", "last_close")
        )
        gaps = np.array(arrays["gaps"]).reshape(-1, 4)
        found._gaps = [gaps]
        if {each.name for each in found._found} != set(calendars):
            return None
        for market, each in enumerate(found._found):
            size, digest = calendars[each.name]
            if size > len(each.present) or _hash(each.sessions, size) != digest:
                return None
            own = (found._market == market) & (found._newest != _NO_SESSION)
            theirs = gaps[found._market[gaps[:, 0]] == market]
            each.present += _present(
                len(each.present), found._oldest[own], found._newest[own], theirs
            )
        return found

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
        """Return which sessions the markets of the same hours have lost, taken together.

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
        gaps = self._all_gaps()
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
        """Return which gaps interrupt daily bars: most steps around them are of one session.

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


def _places(ascending: NDArray[np.int32]) -> slice | NDArray[np.int32]:
    """Return different numbers as what selects them fastest: neighbours by a slice."""
    if len(ascending) and ascending[-1] - ascending[0] == len(ascending) - 1:
        return slice(int(ascending[0]), int(ascending[-1]) + 1)
    return ascending


def _present(
    size: int, oldest: NDArray[np.int64], newest: NDArray[np.int64], gaps: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return how many of some symbols have a bar of each session, by their gaps."""
    there = newest != _NO_SESSION
    steps = np.bincount(oldest[there], minlength=size + 1)
    steps -= np.bincount(newest[there] + 1, minlength=size + 1)
    steps -= np.bincount(gaps[:, 2] + 1, minlength=size + 1)
    steps += np.bincount(gaps[:, 3], minlength=size + 1)
    return np.cumsum(steps)[:size]


def _hash(sessions: Sessions, size: int) -> str:
    times = np.concatenate([sessions.opens[:size], sessions.closes[:size]])
    return hashlib.sha256(times.tobytes()).hexdigest()


def _is_many(lacking: NDArray[np.int64], present: NDArray[np.int64]) -> NDArray[np.bool_]:
    many: NDArray[np.bool_] = (lacking > 0) & (lacking >= present)
    return many


def read_attendance(
    parts: list[Part],
    attendance: Attendance,
    names: Sequence[str] = (),
    known_at: datetime | None = None,
) -> None:
    """Read which sessions symbols have bars of.

    Parameters
    ----------
    parts
        Of bars, in the order of their dates.
    names
        The symbols that ``attendance`` knows already, by number.
    known_at
        Bars that were created later are not there; None for all.
    """
    symbols = SymbolTable(names)
    for of_day in by_date(parts).values():
        columns = ["symbol", "timestamp", "event_timestamp"]
        rows = read_current(of_day, OHLCV_1D, columns, known_at=known_at)
        attendance.add(symbols.numbers(rows["symbol"]), close_seconds(rows), symbols.names)
