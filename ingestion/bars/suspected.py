"""Splits that are suspected of an import, as lines of a file that can be given back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.adjustment import ratio_told
from ingestion.bars.arrays import Bars
from ingestion.bars.leaps import Leap

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HEADER = (
    *("symbol", "date", "ratio", "bars_held", "looks_like"),
    *("bar_before", "close_before", "open_after", "close_after"),
)


@dataclass(frozen=True)
class SuspectedSplit:
    """A leap that stays: a split that nobody recorded, another unit, or a real move."""

    symbol: str
    bar_open: int
    """Of the first bar at the new level, Unix seconds."""
    ratio: str
    """New shares for an old one, such as ``4:1``; ``?`` where the leap is none of a usual split."""
    bars_held: int
    """How many of the symbol's bars wait for an answer."""
    before: int
    """Open of the last bar at the old level, Unix seconds."""
    close_before: float
    open_after: float
    close_after: float

    @property
    def date(self) -> str:
        """The bar's open, as a splits file takes it."""
        return _instant(self.bar_open)

    @property
    def told(self) -> str:
        """The leap for people."""
        about = self.close_before / self.close_after
        looks = self.ratio if self.ratio != "?" else f"about {about:.3g}:1"
        return (
            f"{self.symbol}, {self.date}: close {self.close_before:g}, then open "
            f"{self.open_after:g} and close {self.close_after:g}, like a split of {looks}"
        )


def suspected_split(
    leap: Leap, bars: Bars, held: NDArray[np.bool_], names: Sequence[str]
) -> SuspectedSplit:
    """Describe a leap among some bars."""
    number = bars.symbol[leap.at]
    return SuspectedSplit(
        symbol=names[number],
        bar_open=int(bars.timestamp[leap.at]),
        ratio="?" if leap.ratio is None else ratio_told(float(leap.ratio)),
        bars_held=int((held & (bars.symbol == number)).sum()),
        before=int(bars.timestamp[leap.before]),
        close_before=float(bars.close[leap.before]),
        open_after=float(bars.open[leap.at]),
        close_after=float(bars.close[leap.at]),
    )


def suspected_file(suspects: Iterable[SuspectedSplit]) -> bytes:
    """Return the lines to be edited and given back with ``--splits``."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(_HEADER)
    for each in suspects:
        about = each.close_before / each.close_after
        what = each.symbol, each.date, each.ratio, each.bars_held, f"about {about:.4g}:1"
        prices = each.close_before, each.open_after, each.close_after
        lines.writerow([*what, _instant(each.before), *prices])
    return text.getvalue().encode()


def _instant(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
