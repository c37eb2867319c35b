"""How a feature ranks what follows, one cross-section after another, in bounded memory.

A cross-section has the rows of one UTC date of decisions: the feature's values as known then, and
the label of each row. Of a cross-section only a few figures stay; its ranks stay until the label of
a later one begins where theirs end.

The figures are those of alphalens: Spearman's rank correlation, quantiles as ``pandas.qcut`` cuts
them, returns of a quantile as the mean over dates of each date's mean, turnover as the share of
symbols that are new in a quantile, and the correlation of ranks with those of an earlier date.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingestion.datasets.significance import independent
from ingestion.datasets.significance import overlap as overlap_of

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class CrossSection:
    """The rows of one date, shape ``(n,)`` each; all of them have a value and a label."""

    day: int
    """UTC date of the decisions, days since 1970."""
    decided: int
    """The median decision, Unix µs."""
    codes: NDArray[np.integer]
    """A number for each symbol, the same at all dates; each once."""
    values: Floats
    labels: Floats
    ends: Integers
    """When each label ends, Unix µs."""


def average_ranks(values: Floats) -> Floats:
    """Return ranks from 1; equal values share the mean of theirs.

    Examples
    --------
    >>> average_ranks(np.array([0.5, 0.1, 0.5])).tolist()
    [2.5, 1.0, 2.5]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(values)])
    count = np.diff(np.append(first, len(values)))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(first + (count + 1) / 2, count)
    return ranks


def correlation(one: Floats, other: Floats) -> float:
    """Return the correlation of two series; NaN where one of them is constant, or below two values.

    Of ranks it is Spearman's.

    Examples
    --------
    >>> correlation(np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 3.0]))
    0.5
    >>> correlation(np.array([1.0, 1.0]), np.array([2.0, 1.0]))
    nan
    """
    if len(one) < 2:
        return float("nan")
    a, b = one - one.mean(), other - other.mean()
    scale = float(a @ a) * float(b @ b)
    return float(a @ b) / scale**0.5 if scale > 0 else float("nan")


def quantile_numbers(values: Floats, quantiles: int) -> Integers:
    """Return the quantile of each value, from 1; a value on an edge is in the lower one.

    Edges are linear between values, as those of ``pandas.qcut``; where many values are equal, edges
    are too, and the quantiles between them stay empty.

    Examples
    --------
    >>> quantile_numbers(np.array([4.0, 1.0, 2.0, 3.0]), 2).tolist()
    [2, 1, 1, 2]
    >>> quantile_numbers(np.array([0.0, 0.0, 0.0, 1.0]), 4).tolist()
    [1, 1, 1, 4]
    """
    # Shares times 100, as pandas has them: a value may be on an edge but for the last bit.
    edges = np.percentile(values, 100 * np.linspace(0, 1, quantiles + 1)[1:-1])
    numbers: Integers = np.searchsorted(edges, values, side="left") + 1
    return numbers


@dataclass
class _Earlier:
    """What a later date needs of a date."""

    end: int
    codes: NDArray[np.integer]
    ranks: Floats
    numbers: Integers


@dataclass
class FactorSeries:
    """The figures of one feature, universe and horizon, by date; dates are added in their order.

    A date on which the feature or the labels have one value only has no rank correlation: NaN.

    Examples
    --------
    Three symbols at two dates; the label of the first one ends where the second one is decided:

    >>> series = FactorSeries(quantiles=3)
    >>> codes = np.arange(3)
    >>> for day, values in enumerate(([1.0, 2.0, 3.0], [1.0, 3.0, 2.0])):
    ...     labels, ends = np.array([0.01, 0.02, 0.03]), np.full(3, day + 1)
    ...     series.add(CrossSection(day, day, codes, np.array(values), labels, ends))
    >>> series.ic
    [1.0, 0.5]
    >>> series.mean_returns().round(4).tolist()  # of the lowest to the highest values
    [0.01, 0.025, 0.025]
    >>> series.mean_turnover().tolist()  # the second and the third have changed places
    [0.0, 1.0, 1.0]
    """

    quantiles: int
    days: list[int] = field(default_factory=list)
    decided: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    """The median end of the labels."""
    counts: list[int] = field(default_factory=list)
    """Rows."""
    ic: list[float] = field(default_factory=list)
    """Rank correlation of values with labels."""
    returns: list[Floats] = field(default_factory=list)
    """Mean label of each quantile, shape ``(quantiles,)``; NaN of an empty one."""
    averages: list[float] = field(default_factory=list)
    """Mean label of all rows."""
    turnover: list[Floats] = field(default_factory=list)
    """Share of each quantile's symbols that are new since the date whose label is over; by date."""
    autocorrelation: list[float] = field(default_factory=list)
    """Correlation of the ranks with those of that date."""
    _earlier: deque[_Earlier] = field(default_factory=deque)

    def add(self, rows: CrossSection) -> None:
        """Take the rows of the next date; none are no date."""
        if not len(rows.values):
            return
        ranks = average_ranks(rows.values)
        numbers = quantile_numbers(rows.values, self.quantiles)
        self.days.append(rows.day)
        self.decided.append(rows.decided)
        self.ends.append(int(np.median(rows.ends)))
        self.counts.append(len(ranks))
        self.ic.append(correlation(ranks, average_ranks(rows.labels)))
        self.averages.append(float(rows.labels.mean()))
        with np.errstate(invalid="ignore"):
            sums = np.bincount(numbers - 1, rows.labels, self.quantiles)
            self.returns.append(sums / np.bincount(numbers - 1, minlength=self.quantiles))
        earlier = self._over(rows.decided)
        if earlier is not None:
            self._compare(rows.codes, ranks, numbers, earlier)
        self._earlier.append(_Earlier(self.ends[-1], rows.codes, ranks, numbers))

    def _over(self, decided: int) -> _Earlier | None:
        """Return the latest date whose labels are over, and forget those before it."""
        while len(self._earlier) > 1 and self._earlier[1].end <= decided:
            self._earlier.popleft()
        return self._earlier[0] if self._earlier and self._earlier[0].end <= decided else None

    def _compare(
        self, codes: NDArray[np.integer], ranks: Floats, numbers: Integers, earlier: _Earlier
    ) -> None:
        by_code = np.argsort(earlier.codes)
        at = np.searchsorted(earlier.codes, codes, sorter=by_code)
        place = by_code[np.minimum(at, len(by_code) - 1)]
        both = earlier.codes[place] == codes
        before = np.where(both, earlier.numbers[place], 0)
        self.autocorrelation.append(correlation(ranks[both], earlier.ranks[place[both]]))
        now = np.bincount(numbers - 1, minlength=self.quantiles)
        new = np.bincount(numbers[before != numbers] - 1, minlength=self.quantiles)
        then = np.bincount(earlier.numbers - 1, minlength=self.quantiles)
        share = np.full(self.quantiles, np.nan)
        np.divide(new, now, out=share, where=(now > 0) & (then > 0))
        self.turnover.append(share)

    def mean_returns(self, *, demeaned: bool = False) -> Floats:
        """Return each quantile's label: the mean over dates of each date's mean.

        Parameters
        ----------
        demeaned
            Whether each label is less the mean of its date.
        """
        off = np.array(self.averages)[:, None] if demeaned else 0.0
        return _mean(np.array(self.returns).reshape(-1, self.quantiles) - off)

    def spreads(self) -> Floats:
        """Return by date the label of the highest quantile less that of the lowest."""
        returns = np.array(self.returns).reshape(-1, self.quantiles)
        return returns[:, -1] - returns[:, 0]

    def mean_turnover(self) -> Floats:
        """Return each quantile's turnover, the mean over dates."""
        return _mean(np.array(self.turnover).reshape(-1, self.quantiles))

    def overlap(self) -> int:
        """Return with how many later dates a date's labels overlap at most."""
        return overlap_of(self.decided, self.ends)

    def without_overlap(self) -> Floats:
        """Return the rank correlations of dates whose labels do not overlap, from the first on."""
        there = np.flatnonzero(np.isfinite(self.ic))
        begins, ends = (np.array(each)[there].tolist() for each in (self.decided, self.ends))
        chosen: Floats = np.array(self.ic)[there][independent(begins, ends)]
        return chosen


def _mean(rows: Floats) -> Floats:
    """Return the mean of each column over what is there; NaN where nothing is."""
    there = np.isfinite(rows)
    count = there.sum(axis=0)
    total = np.where(there, rows, 0.0).sum(axis=0)
    found: Floats = np.full(rows.shape[1], np.nan)
    np.divide(total, count, out=found, where=count > 0)
    return found
