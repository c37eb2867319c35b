"""True range and Wilder's directional system.

Matrices as in :mod:`ingestion.formulas.windows`.
"""

from __future__ import annotations

import numpy as np

from ingestion.formulas.windows import Matrix, ratio, rma, rmas, shift


def true_range(high: Matrix, low: Matrix, close: Matrix) -> Matrix:
    """Return the larger of the bar's range and its reach from the previous close.

    Source: Pine reference, ``ta.tr``. Undefined on the first bar, which has no previous close.

    Examples
    --------
    >>> high, low = np.array([[9.0], [12.0]]), np.array([[7.0], [11.0]])
    >>> true_range(high, low, close=np.array([[8.0], [11.5]])).T
    array([[nan,  4.]])
    """
    before = shift(close, 1)
    return np.maximum(high - low, np.maximum(np.abs(high - before), np.abs(low - before)))


def directional_movement(
    high: Matrix, low: Matrix, ranged: Matrix, n: int = 14
) -> tuple[Matrix, Matrix]:
    """Return +DI and -DI, each 0 to 100, from bar n on.

    Source: scanner_data ``links/common.pine.link``, ``dirmov``: Wilder averages of the movements
    over that of the true range ``ranged``, each seeded from the second bar on, where a movement
    exists. Undefined until there was a range; Pine's ``fixnan`` has nothing to fix after that,
    for an average of ranges that was once above 0 stays above 0.

    Examples
    --------
    >>> rising = np.arange(10.0, 30.0)[:, None]
    >>> ranged = true_range(rising + 1, rising, rising)
    >>> plus, minus = directional_movement(rising + 1, rising, ranged)
    >>> plus[12:16].T, minus[12:16].T
    (array([[nan, nan, 50., 50.]]), array([[nan, nan,  0.,  0.]]))
    """
    up = high - shift(high, 1)
    down = shift(low, 1) - low
    exists = np.where(np.isnan(up), np.nan, 0.0)
    rise = np.where((up > down) & (up > 0), up, exists)
    fall = np.where((down > up) & (down > 0), down, exists)
    rise_average, fall_average, range_average = rmas([rise, fall, ranged], n)
    plus = 100 * ratio(rise_average, range_average)
    minus = 100 * ratio(fall_average, range_average)
    return plus, minus


def adx(plus: Matrix, minus: Matrix, n: int = 14) -> Matrix:
    """Return the average directional index, 0 to 100, from bar 2n - 1 on.

    Source: scanner_data ``links/common.pine.link``, ``adx``: the Wilder average of |+DI - -DI|
    over their sum, where a sum of 0 counts as 1.

    Examples
    --------
    >>> one_way = np.full((16, 1), 50.0)
    >>> adx(one_way, 0 * one_way)[12:15].T
    array([[ nan, 100., 100.]])
    """
    total = plus + minus
    return 100 * rma(ratio(np.abs(plus - minus), np.where(total == 0, 1.0, total)), n)
