"""Where one value stands among the values of one day: ranks, z-scores, residuals.

The values are those of the members that have one, in the order of their symbols, so that the same
day gives the same bits whoever asks first. One value alone is compared with nothing: all results
are NaN then, as is each result that is not defined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_RANK_TOLERANCE = 1e-9
"""Of the largest eigenvalue: below it a regressor follows from the others."""


def average_ranks(values: Values) -> Values:
    """Rank from 1, the smallest; equal values share the mean of their ranks.

    Parameters
    ----------
    values
        Shape ``(n,)``, finite.

    Examples
    --------
    >>> average_ranks(np.array([30.0, 10.0, 10.0, 20.0]))
    array([4. , 1.5, 1.5, 3. ])
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Values = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def ranks(values: Values) -> Values:
    """Rank from 1, the smallest, to n; equal values share the mean of their ranks.

    Examples
    --------
    >>> ranks(np.array([5.0, 5.0, 1.0])), ranks(np.array([5.0]))
    (array([2.5, 2.5, 1. ]), array([nan]))
    """
    return average_ranks(values) if len(values) > 1 else _undefined(values)


def percentiles(values: Values) -> Values:
    """Return (rank − 1) ÷ (n − 1): 0 is the smallest value, 1 the largest.

    Examples
    --------
    >>> percentiles(np.array([3.0, 1.0, 2.0, 2.0]))
    array([1. , 0. , 0.5, 0.5])
    """
    if len(values) < 2:
        return _undefined(values)
    result: Values = (average_ranks(values) - 1) / (len(values) - 1)
    return result


def z_scores(values: Values) -> Values:
    """Return (value − mean) ÷ deviation; the deviation is the population's: squares ÷ n.

    NaN where all values are equal.

    Examples
    --------
    >>> z_scores(np.array([1.0, 1.0, 3.0, 3.0])), z_scores(np.array([0.1, 0.1, 0.1]))
    (array([-1., -1.,  1.,  1.]), array([nan, nan, nan]))
    """
    if _is_constant(values):
        return _undefined(values)
    centred = _centred(values)
    result: Values = centred / np.sqrt(np.mean(centred * centred))
    return result


def winsorised(values: Values, tails: float) -> Values:
    """Return values, those beyond a quantile at either end as that quantile.

    Parameters
    ----------
    tails
        Share of the values at each end. A quantile between two values is interpolated linearly:
        the one at q of sorted values has the place q · (n − 1), counted from 0.

    Examples
    --------
    >>> winsorised(np.array([0.0, 1.0, 2.0, 3.0, 100.0]), 0.25)
    array([1., 1., 2., 3., 3.])
    """
    if len(values) < 2:
        return _undefined(values)
    low, high = np.quantile(values, [tails, 1 - tails])
    return np.clip(values, low, high)


def residuals(
    values: Values,
    categories: Sequence[NDArray[Any]] = (),
    numbers: Sequence[Values] = (),
) -> Values:
    """Return what is left of values after least squares on categories, numbers and a constant.

    Each category counts as an indicator of 0 and 1. Where regressors follow from each other, as the
    indicators of a classification and the constant do, the residuals are those of any independent
    ones among them. NaN where all values are equal, or the independent regressors, with the
    constant, are as many as the values or more.

    Parameters
    ----------
    categories
        Classifications: of each, that of every member, shape ``(n,)``.
    numbers
        Further regressors, shape ``(n,)`` each, finite.

    Examples
    --------
    Two sectors of two members: each value without its sector's mean.

    >>> residuals(np.array([1.0, 3.0, 10.0, 20.0]), [np.array(["a", "a", "b", "b"])]).round(12)
    array([-1.,  1., -5.,  5.])
    >>> residuals(np.array([1.0, 3.0]), [np.array(["a", "b"])])
    array([nan, nan])
    """
    if _is_constant(values):
        return _undefined(values)
    terms = [_Term(np.zeros(len(values), np.int64), 1)]
    for each in categories:
        names, codes = np.unique(each, return_inverse=True)
        terms.append(_Term(codes, len(names)))
    for number in numbers:
        if not _is_constant(number):
            terms.append(_Term(terms[0].codes, 1, _centred(number)))
    products = np.block([[one.times(other) for other in terms] for one in terms])
    eigenvalues, vectors = np.linalg.eigh(products)
    is_independent = eigenvalues > eigenvalues[-1] * _RANK_TOLERANCE
    if int(is_independent.sum()) >= len(values):
        return _undefined(values)
    vectors, eigenvalues = vectors[:, is_independent], eigenvalues[is_independent]
    ends = np.cumsum([term.size for term in terms])[:-1]
    left, exponent = _scaled(values)
    for _ in range(2):  # the second takes away what rounding has left
        sums = np.concatenate([term.sums(left) for term in terms])
        weights = np.split(vectors @ (vectors.T @ sums / eigenvalues), ends)
        for term, each in zip(terms, weights, strict=True):
            left = left - term.fitted(each)
    return np.ldexp(left, exponent)


class _Term(NamedTuple):
    """Regressors of which each member has one: indicators, or one number.

    Sums go over the members in their order, in the same bits whatever there is of threads.
    """

    codes: NDArray[np.int64]
    """Of each member, which one."""
    size: int
    number: Values | None = None
    """Of each member; None for indicators."""

    def sums(self, values: Values) -> Values:
        """Return the products of each regressor with values."""
        weights = values if self.number is None else values * self.number
        sums: Values = np.bincount(self.codes, weights, self.size).astype(np.float64)
        return sums

    def times(self, other: _Term) -> Values:
        """Return the products with the regressors of another term, shape ``(size, other.size)``."""
        weights = [each for each in (self.number, other.number) if each is not None]
        codes = self.codes * other.size + other.codes
        product = np.prod(weights, axis=0) if weights else None
        sums = np.bincount(codes, product, self.size * other.size)
        return sums.reshape(self.size, other.size).astype(np.float64)

    def fitted(self, weights: Values) -> Values:
        """Return the members' regressors times their weights."""
        of_member = weights[self.codes]
        return of_member if self.number is None else of_member * self.number


def _undefined(values: Values) -> Values:
    return np.full(len(values), np.nan)


def _is_constant(values: Values) -> bool:
    """Return whether all values are equal; the mean of equal ones is not always one of them."""
    return len(values) < 2 or bool(values.min() == values.max())


def _scaled(values: Values) -> tuple[Values, int]:
    """Return values of at most 1, and the power of 2 that they were divided by: no bit is lost."""
    exponent = int(np.frexp(np.abs(values).max())[1])
    return np.ldexp(values, -exponent), exponent


def _centred(values: Values) -> Values:
    """Return values without their mean, of at most 2: squares of large ones would be infinite."""
    small, _ = _scaled(values)
    result: Values = small - small.mean()
    return _scaled(result)[0]
