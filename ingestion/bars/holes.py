"""Which sessions the lakehouse lacks, and which bars come after one.

A hole is found where many symbols of a market lack a session (:mod:`~ingestion.bars.attendance`),
or where the scanner's own previous close proves a bar of a single one
(:mod:`~ingestion.bars.missed`). It is open until it is imported or accepted
(:mod:`~ingestion.bars.accepted`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.bars.accepted import read_accepted
from ingestion.bars.attendance import Attendance, Hole, market_of, sessions_of
from ingestion.bars.missed import Missed, read_missed
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import by_date, list_parts, read_current
from ingestion.lakehouse.parts import Part

NO_HOLE = 0
"""Stands for "no session is missing before this bar"."""


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
        """Return the holes for a receipt; what :meth:`told` reads."""

        def plain(hole: Hole) -> dict[str, Any]:
            return {**asdict(hole), "session": hole.session.isoformat()}

        return {
            "of_markets": [plain(hole) for hole in self.of_markets],
            "of_symbols": [plain(hole) | {"symbol": name} for name, hole in self.of_symbols],
        }

    @classmethod
    def told(cls, document: Mapping[str, Any]) -> OpenHoles:
        """Read the holes out of a receipt.

        Raises
        ------
        ValueError, LookupError, TypeError
            If it does not say them.
        """

        def hole(told: Mapping[str, Any]) -> Hole:
            session = date.fromisoformat(told["session"])
            numbers = (int(told[name]) for name in ("closes", "opens", "symbols"))
            closes, opens, symbols = numbers
            return Hole(closes, str(told["market"]), session, opens, symbols)

        return cls(
            tuple(map(hole, document["of_markets"])),
            tuple((str(each["symbol"]), hole(each)) for each in document["of_symbols"]),
        )

    def reach_into(
        self, names: Sequence[str], closes: NDArray[np.int64], window: timedelta
    ) -> NDArray[np.bool_]:
        """Tell which bars have a missing session of theirs in the time before them.

        Parameters
        ----------
        names, closes
            Length n: symbol and close (Unix s) of each bar, in any order.
        window
            How long before the close, at most.
        """
        markets = [market_of(name) for name in names]
        found = np.zeros(len(names), dtype=bool)
        of_markets = [(np.array([each == hole.market for each in markets]), hole)
                      for hole in self.of_markets]  # fmt: skip
        of_symbols = [(np.array([each == symbol for each in names]), hole)
                      for symbol, hole in self.of_symbols]  # fmt: skip
        for own, hole in (*of_markets, *of_symbols):
            ago = closes - hole.closes
            found |= own & (ago > 0) & (ago <= window // timedelta(seconds=1))
        return found

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
        by_market: dict[str, list[Hole]] = {}
        for hole in self.of_markets:
            by_market.setdefault(hole.market, []).append(hole)
        by_symbol: dict[str, list[Hole]] = {}
        for symbol, hole in self.of_symbols:
            by_symbol.setdefault(symbol, []).append(hole)
        markets = [market_of(name) for name in names]
        for market, holes in by_market.items():
            own = np.array([each == market for each in markets], dtype=bool)[numbers]
            _note(found, np.flatnonzero(own), numbers, closes, holes)
        place = {name: number for number, name in enumerate(names)}
        for symbol, holes in by_symbol.items():
            if symbol in place:
                own = numbers == place[symbol]
                _note(found, np.flatnonzero(own), numbers, closes, holes)
        return found


def _note(
    found: NDArray[np.int64],
    rows: NDArray[np.intp],
    numbers: NDArray[np.integer],
    closes: NDArray[np.int64],
    holes: Iterable[Hole],
) -> None:
    """Note the first of some holes between each of some bars and its symbol's bar before."""
    ordered = sorted(holes)
    ends = np.array([hole.closes for hole in ordered], dtype=np.int64)
    opens = np.array([hole.opens for hole in ordered], dtype=np.int64)
    rows = rows[1:][numbers[rows[1:]] == numbers[rows[1:] - 1]]
    first = np.searchsorted(ends, closes[rows - 1], side="right")
    after = np.searchsorted(ends, closes[rows], side="left")
    rows, first = rows[after > first], first[after > first]
    known = found[rows]
    found[rows] = np.where(known == NO_HOLE, opens[first], np.minimum(known, opens[first]))


def open_holes(root: Path, attendance: Attendance) -> OpenHoles:
    """Return the holes among the bars that were attended, without those that are accepted."""
    accepted = {(each.market, each.session) for each in read_accepted(root)}
    of_markets = [
        hole for hole in attendance.holes() if (hole.market, hole.session) not in accepted
    ]
    found = {(hole.market, hole.session) for hole in of_markets}
    of_symbols = [
        (each.symbol, hole)
        for each in _not_imported(root, read_missed(root))
        if (hole := _session(each)) and (hole.market, hole.session) not in accepted | found
    ]
    return OpenHoles(tuple(of_markets), tuple(of_symbols))


def _not_imported(root: Path, missed: list[Missed]) -> Iterator[Missed]:
    """Yield the missed bars that did not come since."""
    days: dict[date, list[Missed]] = {}
    for each in missed:
        days.setdefault(datetime.fromtimestamp(each.closes, UTC).date(), []).append(each)
    first = min(days, default=date.max)
    parts = by_date([part for part in list_parts(root, OHLCV_1D, first) if part.date in days])
    for day, of_day in sorted(days.items()):
        rows = read_current(parts.get(day, []), OHLCV_1D, ["symbol", "timestamp"])
        stored = set(rows["symbol"].to_pylist())
        yield from (each for each in of_day if each.symbol not in stored)


def _session(missed: Missed) -> Hole | None:
    """Return the session that a symbol has missed; None if no session closes then."""
    day = datetime.fromtimestamp(missed.closes, UTC).date()
    market = market_of(missed.symbol)
    if market is None:
        return None
    sessions = sessions_of(market, day - timedelta(days=1), day + timedelta(days=1))
    at = np.flatnonzero(sessions.closes == missed.closes)
    if not len(at):
        return None
    opens = int(sessions.opens[at[0]])
    return Hole(missed.closes, market, sessions.labels[int(at[0])], opens, 1)


def attend(parts: list[Part], attendance: Attendance, names: Sequence[str] = ()) -> None:
    """Read which sessions symbols have bars of.

    Parameters
    ----------
    parts
        Of bars, in the order of their dates.
    names
        The symbols that ``attendance`` knows already, by number.
    """
    numbers = Numbers(names)
    for of_day in by_date(parts).values():
        rows = read_current(of_day, OHLCV_1D, ["symbol", "timestamp", "event_timestamp"])
        attendance.add(numbers.of(rows["symbol"]), seconds(rows), numbers.names)


class Numbers:
    """Symbols in the order in which they were met."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = list(names)
        self._place = {name: number for number, name in enumerate(self.names)}

    def of(self, symbols: pa.ChunkedArray) -> NDArray[np.int32]:
        """Return the number of each symbol; new ones get the next."""
        encoded = symbols.combine_chunks().dictionary_encode()
        met: Collection[str] = encoded.dictionary.to_pylist()
        for name in met:
            if name not in self._place:
                self._place[name] = len(self.names)
                self.names.append(name)
        known = np.array([self._place[name] for name in met], dtype=np.int32)
        numbers: NDArray[np.int32] = known[encoded.indices.to_numpy()]
        return numbers


def seconds(rows: pa.Table) -> NDArray[np.int64]:
    """Return when bars closed, Unix s."""
    closes: NDArray[np.int64] = pc.divide(
        rows["event_timestamp"].cast(pa.int64()), 1_000_000
    ).to_numpy()
    return closes
