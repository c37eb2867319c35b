"""Returns, as fractions.

Matrices as in :mod:`ingestion.formulas.windows`.
"""

from __future__ import annotations

import numpy as np

from ingestion.formulas.declaration import Bars, formula
from ingestion.formulas.windows import Matrix, ratio, reaching_back, shift, sma


def simple_return(close: Matrix, n: int) -> Matrix:
    """Return close / close n bars ago - 1, as a fraction, from bar n on.

    Examples
    --------
    >>> simple_return(np.array([[8.0], [10.0], [5.0]]), 1).T
    array([[  nan,  0.25, -0.5 ]])
    """
    return ratio(close, shift(close, n)) - 1


def sample_deviation(x: Matrix, n: int) -> Matrix:
    """Return the standard deviation of the last ``n`` values with n - 1 in the denominator.

    The window is read twice: the textbook shortcut cancels away on small, equal returns.

    Examples
    --------
    >>> sample_deviation(np.array([[1.0], [2.0], [3.0], [5.0]]), 3).round(3).T
    array([[  nan,   nan, 1.   , 1.528]])
    """
    mean = sma(x, n)
    squares, wide = (x - mean) ** 2, reaching_back(x, n - 1)
    carried = len(wide) - len(x)
    for back in range(1, min(n, len(wide))):
        first = max(back - carried, 0)
        earlier = wide[carried + first - back : len(wide) - back]
        squares[first:] += (earlier - mean[first:]) ** 2
    return np.sqrt(squares / (n - 1))


@formula("returns_1d", "close ÷ previous close − 1", look_back=1, low=-1)
def daily_return(bars: Bars) -> Matrix:
    """Return the close over the close of the bar before - 1, as a fraction."""
    return simple_return(bars.close, 1)


@formula(
    "volatility_20d", "sample standard deviation of the last 20 `returns_1d`", look_back=20, low=0
)
def volatility(bars: Bars) -> Matrix:
    """Return the sample standard deviation of the last 20 daily returns, which read 21 closes."""
    return sample_deviation(daily_return(bars), 20)


@formula("momentum_60d", "close ÷ close 60 bars ago − 1", look_back=60, low=-1)
def momentum(bars: Bars) -> Matrix:
    """Return the close over the close 60 bars ago - 1, as a fraction."""
    return simple_return(bars.close, 60)
