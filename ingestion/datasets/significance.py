"""How sure a mean over dates is: t-values of series that overlap, and thresholds for many tries.

Labels of several sessions overlap, so figures of neighbouring dates are not independent, and the
plain t-value is too large. Two ways out: :func:`newey_west_t` counts the covariances in, and
:func:`plain_t` of dates whose labels do not overlap needs no correction.

Whoever tries many features finds one by chance. :func:`threshold` is what a t-value must reach so
that all tries together find nothing 19 times in 20 where there is nothing;
:func:`largest_by_chance` is what the best of them reaches on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import e, floor, isfinite, pow, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

_EULER = 0.5772156649015329
_NORMAL = NormalDist()


def newey_west_lags(count: int, overlap: int) -> int:
    """Return how many lags a t-value should count in.

    The larger one of two: ``overlap``, as in Hansen and Hodrick (1980), since labels of n sessions
    make the n − 1 following dates dependent; and ⌊4 (count / 100)^(2/9)⌋, the rule of Newey and
    West (1994) for what else is dependent. At most count − 1.

    Parameters
    ----------
    count
        Dates of the series.
    overlap
        With how many later dates a date's label overlaps.

    Examples
    --------
    >>> newey_west_lags(252, 0), newey_west_lags(252, 19), newey_west_lags(3, 19)
    (4, 19, 2)
    """
    automatic = floor(4 * pow(count / 100, 2 / 9))
    return max(0, min(count - 1, max(overlap, automatic)))


def newey_west_t(values: ArrayLike, lags: int) -> float | None:
    """Return the t-value of a mean, by the covariances of Newey and West (Econometrica 1987).

    With γ(k) = Σ (x(t) − x̄) (x(t−k) − x̄) / T, the variance of the mean is
    (γ(0) + 2 Σ (1 − k / (lags + 1)) γ(k)) / T, the sum over k from 1 to ``lags``; no correction for
    small samples.

    Returns
    -------
    float or None
        None for fewer than two values, and where the variance is 0.

    Examples
    --------
    Of 1, 2, 3, 4: γ(0) is 1.25 and γ(1) is 0.3125, so the variance is (1.25 + 0.3125) / 4.

    >>> newey_west_t([1, 2, 3, 4], 1)
    4.0
    >>> newey_west_t([2, 2], 0) is None
    True
    """
    x: NDArray[np.float64] = np.asarray(values, np.float64)
    if len(x) < 2:
        return None
    off = x - x.mean()
    variance = float(off @ off)
    for lag in range(1, min(lags, len(x) - 1) + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(off[lag:] @ off[:-lag])
    return _t(float(x.mean()), variance / len(x) ** 2)


def plain_t(values: ArrayLike) -> float | None:
    """Return the t-value of the mean of independent values; None for fewer than two, or equal ones.

    Examples
    --------
    >>> round(plain_t([1, 2, 3]), 6)  # 2 / (1 / √3)
    3.464102
    """
    x: NDArray[np.float64] = np.asarray(values, np.float64)
    if len(x) < 2:
        return None
    return _t(float(x.mean()), float(x.var(ddof=1)) / len(x))


def _t(mean: float, variance: float) -> float | None:
    if variance <= 1e-24 * mean * mean:  # equal values, but for rounding
        return None
    found = mean / sqrt(variance)
    return found if isfinite(found) else None


def independent(begins: Sequence[int], ends: Sequence[int]) -> NDArray[np.intp]:
    """Return the places of spans of which none overlaps another: each next one that can be taken.

    Parameters
    ----------
    begins, ends
        Ascending, shape ``(n,)``; a span that begins where another one ends does not overlap it.

    Examples
    --------
    >>> independent([0, 1, 2, 3, 4], [2, 3, 4, 5, 6]).tolist()
    [0, 2, 4]
    """
    taken, free = [], None
    for place, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        if free is None or begin >= free:
            taken.append(place)
            free = end
    return np.array(taken, np.intp)


def overlap(begins: Sequence[int], ends: Sequence[int]) -> int:
    """Return with how many later spans a span overlaps at most; spans as of :func:`independent`.

    Examples
    --------
    >>> overlap([0, 1, 2, 3], [2, 3, 4, 5])
    1
    """
    if not len(begins):
        return 0
    after = np.searchsorted(np.asarray(begins), np.asarray(ends), side="left")
    return max(0, int((after - np.arange(len(begins)) - 1).max()))


def threshold(tries: int, level: float = 0.05) -> float:
    """Return what the size of a t-value must reach if so many were tried.

    Bonferroni's: z(1 − level / (2 tries)) of the normal distribution, the first of the adjustments
    that Harvey, Liu and Zhu demand of factors ("… and the Cross-Section of Expected Returns",
    Review of Financial Studies 2016). It needs nothing of how the tries depend on each other.

    Examples
    --------
    >>> [round(threshold(tries), 2) for tries in (1, 10, 100, 316)]
    [1.96, 2.81, 3.48, 3.78]
    """
    return -_NORMAL.inv_cdf(level / (2 * max(1, tries)))


def largest_by_chance(tries: int) -> float:
    """Return the mean of the largest of so many independent t-values where there is no effect.

    (1 − γ) z(1 − 1 / tries) + γ z(1 − 1 / (tries e)), γ being Euler's constant: Bailey and López de
    Prado ("The Deflated Sharpe Ratio", Journal of Portfolio Management 2014); 0 for one try.

    Examples
    --------
    >>> [round(largest_by_chance(tries), 2) for tries in (1, 10, 100)]
    [0.0, 1.57, 2.53]
    """
    if tries < 2:
        return 0.0
    inverse = _NORMAL.inv_cdf
    return -(1 - _EULER) * inverse(1 / tries) - _EULER * inverse(1 / (tries * e))


def half_life(lags: Sequence[int], values: Sequence[float | None]) -> float | None:
    """Return after how many lags a figure is half of what it is without any.

    The first crossing of half of the first value, on straight lines between the lags that were
    measured; as the half-life of information in Grinold and Kahn, "Active Portfolio Management"
    (chapter on the information horizon), but measured, not fitted.

    Returns
    -------
    float or None
        None if the first value is 0 or missing, or half is not reached within the lags.

    Examples
    --------
    >>> half_life([0, 1, 5], [0.08, 0.06, 0.02])  # 0.04 is half of the way from 1 to 5
    3.0
    >>> half_life([0, 1], [0.08, 0.06]) is None
    True
    """
    measured = [(lag, value) for lag, value in zip(lags, values, strict=True) if value is not None]
    if not measured or measured[0][0] != 0 or not measured[0][1]:
        return None
    first = measured[0][1]
    before = (0, 1.0)
    for lag, value in measured[1:]:
        share = value / first
        if share <= 0.5:
            step = (before[1] - 0.5) / (before[1] - share)
            return before[0] + step * (lag - before[0])
        before = (lag, share)
    return None
