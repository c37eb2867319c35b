"""Returns in units of what was usual by the decision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ingestion.base.errors import InputError
from ingestion.datasets.labels.label import (
    Decisions,
    Doubles,
    DropReason,
    Mask,
    OfAnother,
    Outcome,
    marked_between,
)

VOLATILITY_BARS = 20
"""Returns of which the volatility is, unless said otherwise: a month of sessions."""
_MOST_BARS = 1_000


def volatility(decisions: Decisions, bars: int) -> tuple[Doubles, Mask]:
    """Return each symbol's volatility as it was known at the decision.

    The sample standard deviation (divided by ``bars`` − 1) of the last ``bars`` returns from close
    to close, splits taken out, the decision's own bar last. Source: M. López de Prado, Advances in
    Financial Machine Learning (2018), snippet 3.1, with equal weights in place of exponential ones,
    so that a value needs so many bars and no earlier one.

    Returns
    -------
    tuple[Doubles, Mask]
        Fractions per session; and where there is none, because there are too few bars, a gap or a
        missing session is among them, or nothing has moved.

    Examples
    --------
    See :class:`Scaled`. Bars are between 2 and 1,000:

    >>> checked_bars(20)
    20
    """
    series, rows = decisions.series, decisions.rows
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        before = np.where(series.close[:-1] > 0, series.close[:-1], np.nan)
        returns = np.append(np.nan, series.close[1:] * series.split_ratio[1:] / before - 1)
        returns[np.flatnonzero(np.diff(series.codes, prepend=-1))] = np.nan
        # A step at a time: each value's bits follow from its own bars alone.
        mean = sum((returns[np.maximum(rows - back, 0)] for back in range(bars)), np.zeros(1))
        mean = mean / bars
        squares = np.zeros(len(rows))
        for back in range(bars):
            squares += (returns[np.maximum(rows - back, 0)] - mean) ** 2
        deviation = np.sqrt(squares / (bars - 1))
    first = np.maximum(rows - bars, 0)
    spoiled = marked_between(decisions.long_gaps, first, rows)
    spoiled |= marked_between(series.after_gap, first + 1, rows + 1)
    spoiled |= series.codes[first] != series.codes[rows]
    return deviation, spoiled | (rows < bars) | ~(np.isfinite(deviation) & (deviation > 0))


def checked_bars(bars: int) -> int:
    """Return of how many returns a volatility is.

    Raises
    ------
    InputError
        If it cannot be of so many.

    Examples
    --------
    >>> checked_bars(60)
    60
    """
    if not 2 <= bars <= _MOST_BARS:
        raise InputError(f"a volatility is of 2 to {_MOST_BARS:,} returns, not of {bars:,}")
    return bars


@dataclass(frozen=True)
class Scaled(OfAnother):
    """``scaled_<return>``: a return ÷ (volatility × √n), in standard deviations of n sessions.

    The volatility is that of the symbol's own price (:func:`volatility`), known at the decision.

    Examples
    --------
    >>> from ingestion.datasets.labels.returns import ForwardReturn
    >>> str(Scaled(ForwardReturn(5), bars=60))
    'scaled_fwd_return_5d,volatility=60'
    """

    bars: int = VOLATILITY_BARS

    prefix: ClassVar[str] = "scaled"

    def __post_init__(self) -> None:
        checked_bars(self.bars)

    @property
    def back(self) -> int:
        return max(self.bars, self.of.back)

    def options(self) -> dict[str, object]:
        return self.of.options() | {"volatility": self.bars}

    def make(self, decisions: Decisions) -> Outcome:
        outcome = self.of.make(decisions)
        deviation, missing = volatility(decisions, self.bars)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            values = outcome.values / (deviation * np.sqrt(self.ahead))
        problems = dict(outcome.problems) | {DropReason.NO_VOLATILITY: missing}
        problems[DropReason.NO_FINITE_RETURN] = problems[DropReason.NO_FINITE_RETURN] | (
            ~missing & ~np.isfinite(values)
        )
        return replace(outcome, values=values, problems=problems)
