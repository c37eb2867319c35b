"""The holes that are open: which sessions the lakehouse lacks, and which bars come after one.

A hole is open until it is imported, or until somebody accepts it. Those of whole markets are found
by :class:`~ingestion.bars.attendance.Attendance`. The bar of a single symbol is missed only if the
scanner's own previous close proves it (:func:`ingestion.bars.previous_closes.find_missed_bars`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingestion.bars.attendance import Attendance, Hole, market_of, sessions_of_market
from ingestion.bars.recorded_holes import Missed, read_accepted, read_missed
from ingestion.base.instants import utc_date
from ingestion.base.plain import plain
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import Lakehouse, parts_of, read_current

NO_HOLE = 0
"""No session is missing before a bar."""


@dataclass(frozen=True)
class OpenHoles:
    """The holes that are neither imported nor accepted."""

    of_markets: tuple[Hole, ...]
    """Lacking for many symbols; in the order of their closes."""
    of_symbols: tuple[tuple[str, Hole], ...] = ()
    """Missed bars of single symbols, where the market has the session."""

    def __bool__(self) -> bool:
        return bool(self.of_markets or self.of_symbols)

    @property
    def keys(self) -> frozenset[tuple[int, str]]:
        """Close of each missing session, with the market or symbol that lacks it."""
        of_markets = {(hole.closes, hole.market) for hole in self.of_markets}
        return frozenset(of_markets | {(hole.closes, symbol) for symbol, hole in self.of_symbols})

    def document(self) -> dict[str, Any]:
        """Return the holes for a receipt; :meth:`of_document` reads them again."""
        return {
            "of_markets": [plain(hole) for hole in self.of_markets],
            "of_symbols": [plain(hole) | {"symbol": name} for name, hole in self.of_symbols],
        }

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> OpenHoles:
        """Read the holes out of a receipt.

        Raises
        ------
        ValueError, LookupError, TypeError
            If it does not say them.
        """

        def hole(entry: Mapping[str, Any]) -> Hole:
            session = date.fromisoformat(entry["session"])
            numbers = (int(entry[name]) for name in ("closes", "opens", "symbols"))
            closes, opens, symbols = numbers
            return Hole(closes, str(entry["market"]), session, opens, symbols)

        return cls(
            tuple(map(hole, document["of_markets"])),
            tuple((str(each["symbol"]), hole(each)) for each in document["of_symbols"]),
        )

    def reach_into(
        self, names: Sequence[str], closes: NDArray[np.int64], window: timedelta
    ) -> NDArray[np.bool_]:
        """Return which bars have a missing session of theirs in the time before them.

        Parameters
        ----------
        names, closes
            Length n: symbol and close (Unix s) of each bar, in any order.
        window
            How long before the close, at most.
        """
        found = np.zeros(len(names), dtype=bool)
        for own, holes in self._of_names(names):
            for hole in holes:
                ago = closes[own] - hole.closes
                found[own] |= (ago > 0) & (ago <= window // timedelta(seconds=1))
        return found

    def _of_names(self, names: Sequence[str]) -> Iterator[tuple[list[int], list[Hole]]]:
        """Yield the holes of a market or symbol, with the positions of the names that lack them."""
        places: dict[str | None, list[int]] = {}
        for at, name in enumerate(names):
            for owner in (name, market_of(name)):
                places.setdefault(owner, []).append(at)
        holes: dict[str, list[Hole]] = {}
        for owner, hole in (*((hole.market, hole) for hole in self.of_markets), *self.of_symbols):
            holes.setdefault(owner, []).append(hole)
        for owner, of_owner in holes.items():
            if owner in places:
                yield places[owner], sorted(of_owner)

    def missing_from(
        self, names: Sequence[str], numbers: NDArray[np.integer], closes: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return for each bar when the first session opened that is missing before it.

        Parameters
        ----------
        names
            Symbols by number.
        numbers, closes
            Shape ``(n,)``: symbol and close (Unix s) of each bar, sorted by both.

        Returns
        -------
        NDArray[np.int64]
            Shape ``(n,)``, Unix s: of the sessions missing between the symbol's bar before and this
            one the first; :data:`NO_HOLE` where none is.
        """
        found = np.full(len(closes), NO_HOLE, dtype=np.int64)
        follows = np.append(False, numbers[1:] == numbers[:-1])[: len(numbers)]
        for own, holes in self._of_names(names):
            ends = np.array([hole.closes for hole in holes], dtype=np.int64)
            opens = np.array([hole.opens for hole in holes], dtype=np.int64)
            rows = np.flatnonzero(follows & np.isin(numbers, own))
            first = np.searchsorted(ends, closes[rows - 1], side="right")
            after = np.searchsorted(ends, closes[rows], side="left")
            rows, first = rows[after > first], first[after > first]
            known = found[rows]
            found[rows] = np.where(known == NO_HOLE, opens[first], np.minimum(known, opens[first]))
        return found


def open_holes(lakehouse: Lakehouse, attendance: Attendance) -> OpenHoles:
    """Return the holes that :class:`Attendance` has found, without the accepted ones."""
    accepted = {(each.market, each.session) for each in read_accepted(lakehouse)}
    of_markets = [
        hole for hole in attendance.holes() if (hole.market, hole.session) not in accepted
    ]
    found = {(hole.market, hole.session) for hole in of_markets}
    of_symbols = [
        (each.symbol, hole)
        for each in _not_imported(lakehouse, read_missed(lakehouse))
        if (hole := _session_of_missed(each))
        and (hole.market, hole.session) not in accepted | found
    ]
    return OpenHoles(tuple(of_markets), tuple(of_symbols))


def _not_imported(lakehouse: Lakehouse, missed: list[Missed]) -> Iterator[Missed]:
    """Yield the missed bars that are still not stored."""
    days: dict[date, list[Missed]] = {}
    for each in missed:
        days.setdefault(utc_date(each.closes), []).append(each)
    for day, of_day in sorted(days.items()):
        parts = parts_of(lakehouse, OHLCV_1D, day)
        rows = read_current(parts, OHLCV_1D, ["symbol", "timestamp"])
        stored = set(rows["symbol"].to_pylist())
        yield from (each for each in of_day if each.symbol not in stored)


def _session_of_missed(missed: Missed) -> Hole | None:
    """Return the session that a symbol has missed; None if no session closes then."""
    day = utc_date(missed.closes)
    market = market_of(missed.symbol)
    if market is None:
        return None
    sessions = sessions_of_market(market, day - timedelta(days=1), day + timedelta(days=1))
    at = np.flatnonzero(sessions.closes == missed.closes)
    if not len(at):
        return None
    opens = int(sessions.opens[at[0]])
    return Hole(missed.closes, market, sessions.labels[int(at[0])], opens, 1)
