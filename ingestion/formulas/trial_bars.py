"""Bars to try formulas on: made ones, equal on every machine, and the sample's real ones.

Made bars have splits, leaps, days without volume, a halt, gaps in their dates, and prices that
repeat. They are made by integers, sums, products and quotients alone, which NumPy's version and the
processor do not change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingestion.base.instants import DAY
from ingestion.catalog.formula import Formula
from ingestion.formulas.declaration import Bars
from ingestion.formulas.windows import Matrix

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample" / "bars.parquet"

LONGEST = 1_000
"""The longest look-back, in bars or in days, that is tried where the declared one is too short."""


def made_bars(bars: int, symbols: int, seed: int = 0) -> Bars:
    """Return random walks of ``symbols`` symbols, from prices of 0.05 to 5,000.

    Examples
    --------
    >>> made = made_bars(300, 6)
    >>> made.close.shape, bool((made.split[-1] != 1).any()), bool((made.volume == 0).any())
    ((300, 6), True, True)
    """
    chance = _Chance(bars, symbols, seed)
    moves = 1 + np.where(chance() < 0.01, 0.4, 0.03) * chance.around_zero()
    close = np.cumprod(moves, axis=0)
    close *= np.resize([0.05, 30.0, 7.0, 100.0, 800.0, 5_000.0], symbols)
    is_rounded = np.arange(symbols) % 2 == 1
    close = np.where(is_rounded, np.rint(close) + 1, close)
    open_ = close * np.where(chance() < 0.1, 1, 1 + 0.015 * chance.around_zero())
    high = np.maximum(open_, close) * (1 + 0.01 * chance())
    low = np.minimum(open_, close) * (1 - 0.01 * chance())
    volume = np.where(chance() < 0.1, 0, 1 + np.floor(1e6 * chance()))
    halted = slice(bars // 4, bars // 4 + bars // 8)
    for series in (open_, high, low, close):
        series[halted, 0] = series[halted.start, 0]
    at = chance()
    ratio = np.select([at < 0.004, at < 0.008, at < 0.012], [2.0, 0.3, 1.5], 1.0)
    split = np.cumprod(ratio, axis=0)
    days = np.select([chance() < 0.6, chance() < 0.9], [1, 3], 9)
    opened = 1_600_000_000 + np.cumsum(days, axis=0, dtype=np.int64) * DAY
    return Bars(
        open=open_ / split,
        high=high / split,
        low=low / split,
        close=close / split,
        volume=volume * split,
        split_ratio=ratio,
        opened=opened,
        closed=opened + 23_400,
    )


def usual_bars(formulas: Iterable[Formula]) -> Iterator[Bars]:
    """Yield made bars, longer than any of some formulas reads back, and the sample where it is.

    The first ones are longer than :data:`LONGEST` too, for formulas that read farther than they
    say.

    Examples
    --------
    >>> [bars.close.shape for bars in usual_bars([])][:3]
    [(1150, 12), (150, 12), (150, 12)]
    """
    longest = max(map(reach, formulas), default=0)
    for seed, length in enumerate((max(longest, LONGEST), longest, longest)):
        yield made_bars(length + 150, 12, seed)
    if SAMPLE.exists():
        yield from _of_file(SAMPLE)


def reach(formula: Formula) -> int:
    """Return how many bars a formula reads back at most, with a bar per day; 0 for all of them.

    Examples
    --------
    >>> reach(Formula("week", "change in a week", look_back=timedelta(days=7)))
    7
    """
    back = formula.look_back
    if isinstance(back, timedelta):
        return int(back.total_seconds()) // DAY
    return back if isinstance(back, int) else 0


class _Chance:
    """Matrices of numbers from 0 to 1 (SplitMix64): NumPy's own may differ between versions."""

    def __init__(self, bars: int, symbols: int, seed: int) -> None:
        self._shape, self._drawn = (bars, symbols), np.uint64(seed) << np.uint64(40)

    def __call__(self) -> Matrix:
        count = self._shape[0] * self._shape[1]
        x: NDArray[np.uint64] = np.arange(1, count + 1, dtype=np.uint64) + self._drawn
        self._drawn += np.uint64(count)
        x *= np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        drawn = (x ^ (x >> np.uint64(31))) >> np.uint64(11)
        return drawn.reshape(self._shape).astype(np.float64) * 2.0**-53

    def around_zero(self) -> Matrix:
        """Return numbers from -1.5 to 1.5, most of them near 0."""
        return self() + self() + self() - 1.5


def _of_file(path: Path) -> Iterator[Bars]:
    import pyarrow.parquet as pq

    from ingestion.formulas.panel import read_panel

    for block in read_panel(pq.read_table(path)).blocks():
        yield block.bars
