"""What an import would change of the stored bars: single ones, or the whole past by one factor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.arrays import PRICES_AND_VOLUME, Bars, price_unit, slices
from ingestion.bars.stored_bars import NearbyBars
from ingestion.base.instants import utc_date

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEW_BARS = 5
"""No pattern is reported for so few restated bars of a symbol."""
_LEAST = 1e-3
"""A scaling has a factor that differs from 1 by at least this."""
_ROUNDING = 2e-6
"""Relative difference that arithmetic with single precision leaves."""
_MOST = 0.8
"""Share of the restated bars that a pattern must cover."""


class Pattern(StrEnum):
    """How restated bars differ from the stored ones."""

    SCALED = "scaled"
    SINGLE = "single bars"
    EVERYTHING = "everything"
    OTHER = "many bars, by no common factor"
    NOT_CLOSES = "other values than closes"


@dataclass(frozen=True)
class Restatement:
    """What an import changes of one symbol's stored bars."""

    symbol: str
    pattern: Pattern
    bars: int
    """Stored bars that differ."""
    first: date
    last: date
    factors: tuple[float, ...]
    """Incoming close ÷ stored one of each scaled stretch, from the newest back."""
    explained: bool = False
    """Whether the stored ones were split-adjusted, and their splits are given now."""

    @property
    def text(self) -> str:
        """The restatement for people."""
        text = f"{self.symbol}: {self.bars:,} stored bars of {self.first} to {self.last}"
        if self.pattern is not Pattern.SCALED:
            return f"{text}: {self.pattern}"
        newest, *others = self.factors
        steps = f" in {len(self.factors)} steps, to {others[-1]:.6g}" if others else ""
        return f"{text}: all scaled, by {newest:.6g}{steps}"


def restatements(
    bars: Bars, stored: NearbyBars, names: Sequence[str], is_adjusted: NDArray[np.bool_]
) -> dict[int, Restatement]:
    """Compare incoming bars with the stored ones of the same sessions.

    Parameters
    ----------
    bars
        As :func:`ingestion.bars.arrays.in_order` leaves them, one per session.
    is_adjusted
        Shape ``(symbols,)``: whose incoming bars stay split-adjusted.

    Returns
    -------
    dict[int, Restatement]
        By symbol, of those with a bar that differs.
    """
    match = stored.find(bars)
    known = match >= 0
    if not known.any():
        return {}
    there = stored.bars.take(np.where(known, match, 0))
    differs = np.zeros(len(bars), dtype=bool)
    for name in PRICES_AND_VOLUME:
        differs |= getattr(bars, name) != getattr(there, name)
    differs &= known
    found: dict[int, Restatement] = {}
    for number, place in slices(bars):
        at = np.arange(place.start, place.stop)[known[place]]
        changed = differs[at]
        if not changed.any():
            continue
        pattern, factors = _pattern(bars.close[at], there.close[at], changed)
        days = bars.timestamp[at][changed]
        was_adjusted = stored.is_adjusted[match[at][changed]]
        found[number] = Restatement(
            symbol=names[number],
            pattern=pattern,
            bars=int(changed.sum()),
            first=utc_date(int(days[0])),
            last=utc_date(int(days[-1])),
            factors=factors,
            explained=bool(was_adjusted.all()) and not is_adjusted[number],
        )
    return found


def _pattern(
    new: NDArray[np.float64], old: NDArray[np.float64], changed: NDArray[np.bool_]
) -> tuple[Pattern, tuple[float, ...]]:
    """Return how the closes of the sessions that both have differ, and by which factors."""
    factor = new / old
    slack = _ROUNDING + 0.5 * (price_unit(new) / new + price_unit(old) / old)
    moved = np.abs(factor - 1) > slack
    if not moved.any():
        return Pattern.NOT_CLOSES, ()
    # Neighbours whose factor is equal, but for rounding, are one stretch.
    joined = np.zeros(len(factor), dtype=bool)
    joined[1:] = np.abs(factor[1:] / factor[:-1] - 1) <= slack[1:] + slack[:-1]
    stretch = np.cumsum(~joined) - 1
    sizes = np.bincount(stretch)
    scaled = moved & (sizes[stretch] > 1)
    if scaled.sum() >= _MOST * moved.sum() and np.abs(factor[scaled] - 1).max() >= _LEAST:
        stretches = np.unique(stretch[scaled])[::-1]
        return Pattern.SCALED, tuple(float(np.median(factor[stretch == n])) for n in stretches)
    if changed.sum() >= _MOST * len(changed) and len(changed) > FEW_BARS:
        return Pattern.EVERYTHING, ()
    alone = np.diff(np.flatnonzero(changed), prepend=-2) > 1
    if changed.sum() <= FEW_BARS or alone.sum() >= _MOST * changed.sum():
        return Pattern.SINGLE, ()
    return Pattern.OTHER, ()
