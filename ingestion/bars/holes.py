"""Which sessions the lakehouse lacks, which bars come after one, and what is recorded of them.

A hole is open until it is imported, or until somebody accepts it. Those of whole markets are found
by :class:`~ingestion.bars.attendance.Attendance`. The bar of a single symbol is missed only if the
scanner's own previous close proves it (:func:`ingestion.bars.scanned.find_missed_bars`).

Sessions that were accepted are in ``accepted_holes``, and missed bars in ``missed_bars``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.bars.attendance import Attendance, Hole
from ingestion.base.arrow import empty_table, latest, to_rows
from ingestion.base.instants import utc, utc_date
from ingestion.base.plain import plain
from ingestion.base.reading import reading_again
from ingestion.catalog import ACCEPTED_HOLES, MISSED_BARS, OHLCV_1D
from ingestion.lakehouse import (
    Lakehouse,
    Part,
    append_rows,
    arrow_schema,
    created_after,
    list_parts,
    parts_of,
    read_current,
    read_part,
)
from ingestion.markets.market_sessions import market_of, sessions_of_market

_ACCEPTED_SCHEMA = arrow_schema(ACCEPTED_HOLES)


@dataclass(frozen=True)
class Accepted:
    """A session that a market is known to lack."""

    market: str
    session: date
    """Local date."""
    closes: int
    """Unix s."""
    reason: str
    accepted_at: datetime


def read_accepted(lakehouse: Lakehouse, known_at: datetime | None = None) -> list[Accepted]:
    """Return what was accepted by an instant, in the order of the sessions, by their last entry."""
    rows = _accepted_rows(lakehouse)
    if known_at is not None:
        rows = rows.filter(pc.less_equal(rows["created_timestamp"], known_at))
    rows = rows.sort_by([("timestamp", "ascending"), ("created_timestamp", "ascending")])
    newest = {(row["market"], row["session"]): row for row in to_rows(rows)}
    return [
        Accepted(
            row["market"],
            date.fromisoformat(row["session"]),
            row["timestamp"],
            row["reason"],
            row["created_timestamp"],
        )
        for row in newest.values()
    ]


def record_accepted(
    lakehouse: Lakehouse,
    sessions: Iterable[tuple[str, date, int]],
    reason: str,
    now: datetime,
    run_id: str,
) -> list[Part]:
    """Append sessions, one part per date; the caller has the lakehouse's lock.

    Parameters
    ----------
    sessions
        Market, local date, and close in Unix s.
    """
    created = created_after(now, latest(_accepted_rows(lakehouse)["created_timestamp"]))
    rows = (
        {
            "timestamp": closes,
            "market": market,
            "session": session.isoformat(),
            "reason": reason,
            "event_timestamp": utc(closes),
            "created_timestamp": created,
        }
        for market, session, closes in sessions
    )
    return append_rows(lakehouse, ACCEPTED_HOLES, rows, run_id)


def _accepted_rows(lakehouse: Lakehouse) -> pa.Table:
    def read() -> pa.Table:
        parts = [read_part(part, ACCEPTED_HOLES) for part in list_parts(lakehouse, ACCEPTED_HOLES)]
        return pa.concat_tables([empty_table(_ACCEPTED_SCHEMA), *parts])

    return reading_again(read)


@dataclass(frozen=True)
class Missed:
    """A bar that the lakehouse lacks, of a symbol that had one."""

    symbol: str
    closes: int
    """Close of the session before the scanner's bar, Unix s."""
    previous_close: float


def read_missed(lakehouse: Lakehouse, known_at: datetime | None = None) -> list[Missed]:
    """Return the bars that were found to be missed by an instant, imported since or not."""
    rows = read_current(list_parts(lakehouse, MISSED_BARS), MISSED_BARS, known_at=known_at)
    return [Missed(row["symbol"], row["timestamp"], row["previous_close"]) for row in to_rows(rows)]


def record_missed(
    lakehouse: Lakehouse, missed: Iterable[Missed], now: datetime, run_id: str
) -> list[Part]:
    """Append what is not recorded yet, one part per date; the caller has the lakehouse's lock."""
    known = {(each.symbol, each.closes) for each in read_missed(lakehouse)}
    rows = (
        {
            "timestamp": each.closes,
            "symbol": each.symbol,
            "previous_close": each.previous_close,
            "event_timestamp": utc(each.closes),
            "created_timestamp": now,
        }
        for each in missed
        if (each.symbol, each.closes) not in known
    )
    return append_rows(lakehouse, MISSED_BARS, rows, run_id)


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
            closes, opens, symbols = (int(entry[name]) for name in ("closes", "opens", "symbols"))
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

    def _of_names(self, names: Sequence[str]) -> Iterator[tuple[NDArray[np.intp], list[Hole]]]:
        """Yield the holes of a market or symbol, with the positions of the names that lack them."""
        holes: dict[str, list[Hole]] = {}
        for owner, hole in (*((hole.market, hole) for hole in self.of_markets), *self.of_symbols):
            holes.setdefault(owner, []).append(hole)
        if not holes:
            return
        places: dict[str, list[int]] = {owner: [] for owner in holes}
        for at, name in enumerate(names):
            for each in (name, market_of(name)):
                if each in places:
                    places[each].append(at)
        for owner, own in places.items():
            if own:
                yield np.array(own, dtype=np.intp), sorted(holes[owner])

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


def open_holes(
    lakehouse: Lakehouse, attendance: Attendance, known_at: datetime | None = None
) -> OpenHoles:
    """Return the holes that :class:`Attendance` has found, without the accepted ones.

    Parameters
    ----------
    known_at
        What was recorded or imported later is not there; None for all.
    """
    accepted = {(each.market, each.session) for each in read_accepted(lakehouse, known_at)}
    of_markets = [
        hole for hole in attendance.holes() if (hole.market, hole.session) not in accepted
    ]
    found = {(hole.market, hole.session) for hole in of_markets}
    session_of = cache(_session_that_closes)  # many symbols miss the same one
    of_symbols = [
        (each.symbol, hole)
        for each in _not_imported(lakehouse, read_missed(lakehouse, known_at), known_at)
        if (hole := session_of(market_of(each.symbol), each.closes))
        and (hole.market, hole.session) not in accepted | found
    ]
    return OpenHoles(tuple(of_markets), tuple(of_symbols))


def _not_imported(
    lakehouse: Lakehouse, missed: list[Missed], known_at: datetime | None
) -> Iterator[Missed]:
    """Yield the missed bars that are still not stored."""
    days: dict[date, list[Missed]] = {}
    for each in missed:
        days.setdefault(utc_date(each.closes), []).append(each)
    for day, of_day in sorted(days.items()):
        parts = parts_of(lakehouse, OHLCV_1D, day)
        rows = read_current(parts, OHLCV_1D, ["symbol", "timestamp"], known_at=known_at)
        stored = set(rows["symbol"].to_pylist())
        yield from (each for each in of_day if each.symbol not in stored)


def _session_that_closes(market: str | None, closes: int) -> Hole | None:
    """Return a market's session that a symbol has missed; None if none closes then."""
    if market is None:
        return None
    day = utc_date(closes)
    sessions = sessions_of_market(market, day - timedelta(days=1), day + timedelta(days=1))
    at = np.flatnonzero(sessions.closes == closes)
    if not len(at):
        return None
    opens = int(sessions.opens[at[0]])
    return Hole(closes, market, sessions.labels[int(at[0])], opens, 1)
