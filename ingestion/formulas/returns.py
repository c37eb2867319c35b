"""Returns, ranges and performance.

Matrices as in :mod:`ingestion.formulas.windows`; times are int64 matrices of the same shape, in
Unix seconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ingestion.formulas.windows import Matrix, ratio, shift, sma

DAY = 86_400


def simple_return(close: Matrix, n: int) -> Matrix:
    """Return close / close n bars ago - 1, as a fraction, from bar n on."""
    return ratio(close, shift(close, n)) - 1


def sample_deviation(x: Matrix, n: int) -> Matrix:
    """Return the standard deviation of the last ``n`` values with n - 1 in the denominator.

    In two passes over the window: the textbook shortcut cancels away on small, equal returns.
    """
    mean = sma(x, n)
    squares = (x - mean) ** 2
    for back in range(1, n):
        squares[back:] += (x[:-back] - mean[back:]) ** 2
    return np.sqrt(squares / (n - 1))


def daily_volatility(high: Matrix, low: Matrix, true_range: Matrix) -> Matrix:
    """Return today's true range in percent of the low: one bar's range, not a deviation.

    Source: scanner_data ``links/high_and_low.pine.link``, ``Volatility.D`` = tr(true) * 100 /
    abs(low). The first bar has no previous close and takes high - low.
    """
    ranged = np.where(np.isnan(true_range), high - low, true_range)
    return 100 * ratio(ranged, np.abs(low))


def performance(
    open_: Matrix,
    close: Matrix,
    opened: NDArray[np.int64],
    closed: NDArray[np.int64],
    days: int,
    missing_from: NDArray[np.int64] | None = None,
) -> Matrix:
    """Return the close against the open of the reference bar, in percent.

    Source: scanner_data ``links/performance_functions.pine.link`` (``rr``) and
    ``fastSearchTimeIndex`` of ``links/high_and_low.pine.link``, with the bar's close as "now". The
    reference is the last bar that opened before now - days * 24 h. The search ends at the symbol's
    first bar, so a symbol younger than that is measured from its first open; its first bar has
    nothing to be measured against and is undefined, as is every bar that would be its own
    reference, and a rise from a negative price.

    Parameters
    ----------
    opened, closed
        When each bar opened and closed; ``opened`` ascending in every column, with the largest
        int64 behind a symbol's last bar.
    days
        Length of the window in calendar days.
    missing_from
        Open of the first session that is missing before each bar, 0 where none is. Where it would
        be the reference, or one after it would, the value is undefined.
    """
    since = closed - days * DAY
    reference = np.empty(opened.shape, dtype=np.int64)
    for column, (starts, wanted) in enumerate(
        zip(np.ascontiguousarray(opened.T), np.ascontiguousarray(since.T), strict=True)
    ):
        reference[:, column] = np.searchsorted(starts, wanted, side="left")
    reference = np.maximum(reference - 1, 0)
    base = np.take_along_axis(open_, reference, axis=0)
    change = 100 * ratio(close - base, np.abs(base))
    row = np.arange(len(open_), dtype=np.int64)[:, None]
    change[(reference >= row) | ((base < 0) & (close > 0))] = np.nan
    if missing_from is not None:
        following = np.minimum(reference + 1, len(open_) - 1)
        missing = np.take_along_axis(missing_from, following, axis=0)
        change[(missing != 0) & (missing < since)] = np.nan
    return change
