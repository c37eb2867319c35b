"""How often a source's stored bars are given other values, and how much these differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingestion.bars.arrays import PRICES, Bars
from ingestion.base.instants import utc


@dataclass
class ChangedBars:
    """Stored bars of one source that were given other values."""

    bars: int = 0
    symbols: set[str] = field(default_factory=set)
    volumes: int = 0
    """Bars among them of which only the volume, or the split ratio, changed."""
    largest: float = 0.0
    """Relative change of a price, as a fraction."""
    largest_of: str = ""
    """The symbol and the UTC date of the close of that bar."""

    def add(self, other: ChangedBars) -> None:
        """Add what was found elsewhere."""
        self.bars += other.bars
        self.volumes += other.volumes
        self.symbols |= other.symbols
        if other.largest > self.largest:
            self.largest, self.largest_of = other.largest, other.largest_of


class ChangedPast:
    """Changes of stored bars, by the source that the bars were of.

    Examples
    --------
    >>> past = ChangedPast()
    >>> past.add_document({"fetch:yahoo": {"bars": 2, "volumes": 0, "symbols": ["NYSE:SHW"],
    ...                                    "largest": 0.01, "largest_of": "NYSE:SHW 2021-04-09"}})
    >>> past.add_document(past.document())
    >>> [(source, each.bars, each.symbols) for source, each in past]
    [('fetch:yahoo', 4, {'NYSE:SHW'})]
    """

    def __init__(self) -> None:
        self._of_source: dict[str, ChangedBars] = {}

    def __iter__(self) -> Iterator[tuple[str, ChangedBars]]:
        return iter(sorted(self._of_source.items()))

    def add(
        self,
        sources: Sequence[str],
        names: Sequence[str],
        bars: Bars,
        stored: Mapping[str, NDArray[np.float64]],
    ) -> None:
        """Note the bars that replace stored ones.

        Parameters
        ----------
        sources
            Length n: where the stored bars come from.
        names
            Symbols by number.
        bars
            The new ones, n of them.
        stored
            By price, shape ``(n,)``: what was stored.
        """
        with np.errstate(all="ignore"):
            moves = [np.abs(getattr(bars, name) / stored[name] - 1) for name in PRICES]
        sizes = np.nan_to_num(np.max(moves, axis=0)) if len(bars) else np.empty(0)
        for at, (source, size) in enumerate(zip(sources, sizes.tolist(), strict=True)):
            symbol = names[int(bars.symbol[at])]
            day = utc(int(bars.event[at])).date()
            one = ChangedBars(1, {symbol}, int(size == 0), size, f"{symbol} {day}" if size else "")
            self._of_source.setdefault(source, ChangedBars()).add(one)

    def document(self) -> dict[str, dict[str, Any]]:
        """Return it for a receipt; :meth:`add_document` reads it again."""
        return {
            source: {
                "bars": each.bars,
                "symbols": sorted(each.symbols),
                "volumes": each.volumes,
                "largest": each.largest,
                "largest_of": each.largest_of,
            }
            for source, each in self
        }

    def add_document(self, document: Mapping[str, Mapping[str, Any]]) -> None:
        """Add what a receipt says.

        Raises
        ------
        ValueError, LookupError, TypeError
            If it does not say it.
        """
        for source, told in document.items():
            found = ChangedBars(
                int(told["bars"]),
                set(map(str, told["symbols"])),
                int(told["volumes"]),
                float(told["largest"]),
                str(told["largest_of"]),
            )
            self._of_source.setdefault(str(source), ChangedBars()).add(found)
