"""The bars of recent dates without their values, as they were read last: the cache ``recent_bars``.

``status`` asks each time when the bars of the last 90 days closed and came. A date whose parts are
those that it had is not opened again. A flow makes the file at its end; it may be deleted at any
time, and names the parts that it was made from (:class:`~ingestion.lakehouse.seen.SeenParts`).

Neighbours mostly close and come together, so times are kept once for all of them; and most dates
have the symbols of the date before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from ingestion.base.arrow import strings
from ingestion.lakehouse import Lakehouse, SeenParts
from ingestion.lakehouse.caches import CacheFile, CacheReader, CacheWriter, UnreadableCache, keep

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FILE = "recent_bars.zip"
_LAYOUT = 1
_TIMES = ("close", "created", "is_scanned")


class BarsOfDay(NamedTuple):
    """The bars of one UTC date, all versions: arrays of shape ``(n,)``."""

    day: date
    symbol: NDArray[np.int32]
    """Position among the names of the symbols."""
    close: NDArray[np.int64]
    """Unix µs."""
    created: NDArray[np.int64]
    """Unix µs."""
    is_scanned: NDArray[np.bool_]
    """Whether the daily job brought it."""


@dataclass(frozen=True)
class KeptDays:
    """What is kept of dates, and of which parts it was made."""

    names: list[str]
    """The symbols, by number."""
    days: Mapping[date, BarsOfDay]
    seen: SeenParts

    @classmethod
    def read(cls, lakehouse: Lakehouse) -> KeptDays:
        """Read it; nothing is kept where that cannot be relied on."""
        try:
            with CacheReader(CacheFile(_FILE, lakehouse)) as reader:
                return reader.document(lambda document: cls._of(reader, document))  # type: ignore[no-any-return]
        except UnreadableCache:
            return cls([], {}, SeenParts({}))

    @classmethod
    def _of(cls, reader: CacheReader, document: dict[str, Any]) -> KeptDays:
        if document["layout"] != _LAYOUT:
            raise ValueError("another version wrote it")
        names: list[str] = reader.table("names")["symbol"].to_pylist()
        symbols = np.split(reader.array("symbols", np.int32), document["symbols"])
        lengths, closes, created = (
            reader.array(name, np.int64) for name in ("lengths", "close", "created")
        )
        is_scanned = reader.array("is_scanned", np.bool_)
        days, start = {}, 0
        for text, of_symbols, runs in document["days"]:
            own, day = slice(start, start + runs), date.fromisoformat(text)
            times = (np.repeat(each[own], lengths[own]) for each in (closes, created, is_scanned))
            days[day] = BarsOfDay(day, symbols[of_symbols], *times)
            if len(days[day].close) != len(days[day].symbol):
                raise ValueError("other numbers of symbols and times")
            start += runs
        return cls(names, days, SeenParts.of_document(document["seen"]))

    def write(self, lakehouse: Lakehouse) -> None:
        """Keep it."""
        symbols: list[NDArray[np.int32]] = []
        days, runs = [], []
        for each in self.days.values():
            if not symbols or not np.array_equal(symbols[-1], each.symbol):
                symbols.append(each.symbol)
            runs.append(_runs(each))
            days.append((each.day.isoformat(), len(symbols) - 1, len(runs[-1][0])))
        bounds = np.cumsum([len(each) for each in symbols])[:-1].tolist()

        def write(writer: CacheWriter) -> None:
            writer.table("names", pa.table({"symbol": strings(self.names)}))
            writer.array("symbols", *symbols)
            for name, arrays in zip(("lengths", *_TIMES), zip(*runs, strict=True), strict=True):
                writer.array(name, *arrays)
            seen = self.seen.document()
            writer.document({"layout": _LAYOUT, "seen": seen, "symbols": bounds, "days": days})

        if days:
            keep(lakehouse, _FILE, write)


def _runs(day: BarsOfDay) -> Sequence[NDArray[Any]]:
    """Return how many neighbours have the same times, and these."""
    begins = np.ones(len(day.close), dtype=bool)
    times = [getattr(day, name) for name in _TIMES]
    begins[1:] = np.any([each[1:] != each[:-1] for each in times], axis=0)
    heads = np.flatnonzero(begins)
    return np.diff(np.append(heads, len(begins))), *(each[heads] for each in times)
