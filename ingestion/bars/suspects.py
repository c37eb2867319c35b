"""Splits that nobody has recorded: the scanner's previous close against the stored one.

The scanner's series is split-adjusted: on an ex-date it measures the change against the previous
close in the new money. The stored previous close is as traded, in the old money. So their ratio is
1, but for rounding and for vendors who disagree on a closing auction, or it is the split's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.catalog import OHLCV_1D
from ingestion.bars.ahead import read_ahead
from ingestion.bars.model import Bars
from ingestion.lakehouse import by_date, list_parts, read_current
from ingestion.sessions import previous_close

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOKBACK = timedelta(days=12)
"""How far back a bar before is looked for: the longest pause of a large exchange is 11 days."""

SAME = 0.01
"""Relative difference up to which two vendors' closes are one: they differ by 0.3 % at times."""

NEAR = 0.005
"""Relative distance from a split's ratio, where the stored close is the very session's before.

Both are closes of one session, so no market move is in their ratio, and dividends are in neither.
"""

NEAR_ACROSS_A_GAP = 1e-4
"""The same where it may be of another session: what moved meanwhile seldom hits a ratio so well."""

_SMALLEST = Fraction(6, 5)
_LARGEST_DENOMINATOR = 5
_LARGEST_NUMERATOR = 10
_DAY = 86_400


@dataclass(frozen=True)
class Suspect:
    """A symbol whose previous close has changed as by a split."""

    symbol: str
    bar_open: int
    """Of the first bar in the new money, Unix seconds."""
    event: int
    """Its close."""
    ratio: Fraction
    """New shares for an old one."""
    stored_close: float
    previous_close: float
    is_stored: bool
    """Whether the bar itself is in the lakehouse already, without the split."""

    @property
    def record(self) -> str:
        """The line of a splits file (symbol, date, ratio) that settles it."""
        opened = datetime.fromtimestamp(self.bar_open, UTC)
        ratio = f"{self.ratio.numerator}:{self.ratio.denominator}"
        return f"{self.symbol},{opened:%Y-%m-%dT%H:%M:%SZ},{ratio}"


@dataclass(frozen=True)
class Unsettled:
    """A previous close that differs, and not as by a split."""

    symbol: str
    ratio: float
    """Stored ÷ the scanner's."""
    why: str


@dataclass(frozen=True)
class Inspection:
    """What the previous closes say about some bars."""

    held: NDArray[np.bool_]
    """Shape ``(n,)``: bars to be held back, from the first suspect one of their symbol on."""
    suspects: list[Suspect]
    unsettled: list[Unsettled]
    first: int
    """Bars without any stored one in the twelve days before: nothing to compare with."""


def split_like(ratio: float, tolerance: float) -> Fraction | None:
    """Return the split that a ratio of two closes looks like; None if it looks like none.

    Splits are n for 1, and p for q of small numbers from 6 for 5 on, either way round. Smaller
    stock dividends are not told from special cash dividends.

    Examples
    --------
    >>> split_like(4.001, 0.005), split_like(0.6667, 0.005), split_like(1.1, 0.005)
    (Fraction(4, 1), Fraction(2, 3), None)
    """
    if not (np.isfinite(ratio) and ratio > 0):
        return None
    larger = max(ratio, 1 / ratio)
    if larger > _LARGEST_NUMERATOR:
        near = Fraction(round(larger))
    else:
        near = Fraction(larger).limit_denominator(_LARGEST_DENOMINATOR)
    if near < _SMALLEST or abs(float(near) / larger - 1) > tolerance:
        return None
    if near.denominator > 1 and near.numerator > _LARGEST_NUMERATOR:
        return None
    return near if ratio > 1 else 1 / near


def inspect(root: Path, bars: Bars, names: list[str], previous: NDArray[np.float64]) -> Inspection:
    """Compare each bar's previous close with the stored one.

    A recorded ratio settles a bar, whatever it is: 1 says that there was no split.

    Parameters
    ----------
    bars
        One a symbol and close, in any order; ``row`` is a position in ``previous``.
    names
        Symbols by number.
    previous
        The scanner's previous closes; NaN where it gives none.
    """
    inspection = Inspection(np.zeros(len(bars), dtype=bool), [], [], 0)
    stored, ahead = _Stored(root, bars, names), read_ahead(root)
    first = 0
    before: dict[int, tuple[int, float]] = {}
    suspected: set[int] = set()
    for at in np.lexsort((bars.event, bars.symbol)).tolist():
        number, event = int(bars.symbol[at]), int(bars.event[at])
        name, theirs = names[number], float(previous[bars.row[at]])
        if number in suspected:
            inspection.held[at] = True
            continue
        last = max(filter(None, (before.get(number), stored.before(name, event))), default=None)
        before[number] = (event, float(bars.close[at]))
        if last is None:
            first += 1
            continue
        own = stored.ratio(name, event)
        if np.isnan(theirs) or (name, event) in ahead or own not in (None, 1.0):
            continue
        ratio = last[1] / theirs
        if abs(ratio - 1) <= SAME:
            continue
        is_next = previous_close(name, event) == last[0]
        split = split_like(ratio, NEAR if is_next else NEAR_ACROSS_A_GAP)
        if split is None:
            why = "not as by a split" if is_next else "the bar before is not stored"
            inspection.unsettled.append(Unsettled(name, ratio, why))
            continue
        opened = int(bars.timestamp[at])
        inspection.suspects.append(
            Suspect(name, opened, event, split, last[1], theirs, own is not None)
        )
        if own is None:
            suspected.add(number)
            inspection.held[at] = True
    return Inspection(inspection.held, inspection.suspects, inspection.unsettled, first)


class _Stored:
    """The stored closes of the days before some bars."""

    def __init__(self, root: Path, bars: Bars, names: list[str]) -> None:
        days = {
            int(day) - back
            for day in np.unique(bars.event // _DAY)
            for back in range(LOOKBACK.days + 1)
        }
        wanted = pa.array(sorted({names[number] for number in bars.symbol}), pa.string())
        self._closes: dict[str, list[tuple[int, float]]] = {}
        self._ratios: dict[tuple[str, int], float] = {}
        columns = ["symbol", "timestamp", "event_timestamp", "close", "split_ratio"]
        for day, parts in by_date(list_parts(root, OHLCV_1D)).items():
            if (day - _EPOCH).days not in days:
                continue
            rows = read_current(parts, OHLCV_1D, columns)
            rows = rows.filter(pc.is_in(rows["symbol"], value_set=wanted))
            events = (rows["event_timestamp"].cast(pa.int64()).to_numpy() // 1_000_000).tolist()
            symbols, closes, ratios = (
                rows[name].to_pylist() for name in ("symbol", "close", "split_ratio")
            )
            for symbol, event, close, ratio in zip(symbols, events, closes, ratios, strict=True):
                self._closes.setdefault(symbol, []).append((event, close))
                self._ratios[symbol, event] = ratio

    def before(self, symbol: str, event: int) -> tuple[int, float] | None:
        """Return close time and price of a symbol's newest bar before the one of ``event``."""
        earliest = event - LOOKBACK // timedelta(seconds=1)
        return max(
            (bar for bar in self._closes.get(symbol, []) if earliest <= bar[0] < event),
            default=None,
        )

    def ratio(self, symbol: str, event: int) -> float | None:
        """Return the stored bar's split ratio; None if there is no such bar."""
        return self._ratios.get((symbol, event))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).date()
