"""Moving windows and recursions over bars: what every formula is built from.

A matrix has shape (bars, symbols) and dtype float64: row k is the k-th bar of each symbol, NaN
stands for "undefined", and the rows behind a symbol's last bar are NaN. Every function is pure and
treats each symbol alone.

**Reproducible to the bit.** A value depends on the numbers in its window and on nothing else. Sums
are built from windows of 1, 2, 4, 8 … bars by elementwise additions, in an order that the length
fixes. A running total would carry the rounding of all of history along, and ``np.sum`` picks its
order by memory layout: either way a day computed alone would differ from the same day of a batch.

**Equal values average to themselves.** (x + … + x) / n may miss x by the last bit, which would
turn a halted symbol's "price equals average" into a buy or a sell, and 0/0 into a number. A mean
over bars that are all equal is therefore that value, and the recursions move by ``alpha * (x -
previous)``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingestion.formulas.carry import IN_FORCE, Carry, OtherReads

Matrix = NDArray[np.float64]

recursions: Counter[str] = Counter()
"""How many recursions were computed: from this one knows whether a formula is built from them."""


def shift(x: Matrix, bars: int) -> Matrix:
    """Return the value of ``bars`` bars ago, Pine's ``x[bars]``; NaN in the first rows.

    Examples
    --------
    >>> shift(np.array([[8.0], [10.0], [12.0]]), 1).T
    array([[nan,  8., 10.]])
    """
    wide = reaching_back(x, bars)
    return _shifted(wide, bars)[len(wide) - len(x) :]


def _shifted(x: Matrix, bars: int) -> Matrix:
    moved = np.empty_like(x)
    moved[:bars] = np.nan
    moved[bars:] = x[: max(len(x) - bars, 0)]
    return moved


def reaching_back(x: Matrix, reach: int) -> Matrix:
    """Return a series with the ``reach`` rows before it, where they are carried.

    Examples
    --------
    >>> reaching_back(np.array([[8.0], [10.0]]), 1).T
    array([[ 8., 10.]])
    """
    carry = IN_FORCE.get()
    return x if carry is None else carry.wide(x, reach)


def ratio(numerator: Matrix, denominator: Matrix) -> Matrix:
    """Return the quotient, and NaN where the denominator is 0 or either side is undefined.

    Examples
    --------
    >>> ratio(np.array([[8.0], [0.0], [1.0]]), np.array([[2.0], [0.0], [np.nan]])).T
    array([[ 4., nan, nan]])
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = numerator / denominator
    quotient[denominator == 0] = np.nan
    return quotient


def rolling_sums(x: Matrix, lengths: Sequence[int]) -> list[Matrix]:
    """Return the sum over the last n bars, for each n in ``lengths``.

    Parameters
    ----------
    x
        Shape (bars, symbols).
    lengths
        Window lengths in bars, each at least 1.

    Returns
    -------
    list of Matrix
        One per length; NaN where the window reaches before the first bar or contains a NaN.

    Examples
    --------
    >>> two, three = rolling_sums(np.array([[1.0], [2.0], [4.0], [8.0]]), (2, 3))
    >>> two.T
    array([[nan,  3.,  6., 12.]])
    >>> three.T
    array([[nan, nan,  7., 14.]])
    """
    wide = reaching_back(x, max(lengths) - 1)
    return [total[len(wide) - len(x) :] for total in _rolling_sums(wide, lengths)]


def _rolling_sums(x: Matrix, lengths: Sequence[int]) -> list[Matrix]:
    dyadic = [x]
    while 2 ** len(dyadic) <= max(lengths):
        half = dyadic[-1]
        dyadic.append(_add_earlier(half.copy(), half, 2 ** (len(dyadic) - 1)))
    return [_combine(dyadic, n) for n in lengths]


def _combine(dyadic: Sequence[Matrix], n: int) -> Matrix:
    """Add up the power-of-two windows that tile the last ``n`` bars, the newest bars first."""
    total: Matrix | None = None
    covered = 0
    for power, window in enumerate(dyadic):
        if n >> power & 1:
            total = window.copy() if total is None else _add_earlier(total, window, covered)
            covered += 2**power
    if total is None:
        raise ValueError(f"a window has at least one bar, not {n}")
    return total


def _add_earlier(total: Matrix, x: Matrix, bars: int) -> Matrix:
    """Add in place the values of ``bars`` bars ago, at least 1; returns the total."""
    total[:bars] = np.nan
    total[bars:] += x[:-bars]
    return total


def bars_unchanged(x: Matrix) -> NDArray[np.int32]:
    """Return how many bars in a row, the present one included, have had the present value.

    Examples
    --------
    >>> bars_unchanged(np.array([[5.0], [5.0], [6.0], [6.0], [6.0]])).T
    array([[1, 2, 1, 2, 3]], dtype=int32)
    """
    row = np.arange(len(x), dtype=np.int32)[:, None]
    changed_at = np.zeros(x.shape, dtype=np.int32)
    np.multiply(x[1:] != x[:-1], row[1:], out=changed_at[1:])
    np.maximum.accumulate(changed_at, axis=0, out=changed_at)
    return np.subtract(row + 1, changed_at, out=changed_at)


def smas(x: Matrix, lengths: Sequence[int]) -> list[Matrix]:
    """Return the simple moving average of the last n bars, for each n in ``lengths``.

    Source: Pine reference, ``ta.sma``. Defined from the n-th defined bar on.

    Examples
    --------
    >>> two, three = smas(np.array([[8.0], [10.0], [12.0], [9.5]]), (2, 3))
    >>> two.T
    array([[  nan,  9.  , 11.  , 10.75]])
    >>> three.T
    array([[ nan,  nan, 10. , 10.5]])
    """
    wide = reaching_back(x, max(lengths) - 1)
    return [average[len(wide) - len(x) :] for average in _smas(wide, lengths)]


def _smas(x: Matrix, lengths: Sequence[int]) -> list[Matrix]:
    run = bars_unchanged(x)
    averages = _rolling_sums(x, lengths)
    for n, average in zip(lengths, averages, strict=True):
        average /= n
        np.copyto(average, x, where=run >= n)
    return averages


def sma(x: Matrix, n: int) -> Matrix:
    """Return the simple moving average of the last ``n`` bars; see :func:`smas`.

    Examples
    --------
    >>> sma(np.array([[8.0], [10.0], [12.0]]), 2).T
    array([[nan,  9., 11.]])
    """
    return smas(x, (n,))[0]


def wma(x: Matrix, n: int) -> Matrix:
    """Return the linearly weighted average: weight n for the present bar, 1 for the oldest.

    Source: Pine reference, ``ta.wma``. Defined from the n-th defined bar on.

    Examples
    --------
    >>> wma(np.array([[8.0], [11.0], [14.0]]), 2).T
    array([[nan, 10., 13.]])
    """
    wide = reaching_back(x, n - 1)
    total = n * wide
    for back in range(1, n):
        _add_earlier(total, (n - back) * wide, back)
    average = np.where(bars_unchanged(wide) >= n, wide, total / (n * (n + 1) // 2))
    return average[len(wide) - len(x) :]


def hma(x: Matrix, n: int) -> Matrix:
    """Return Hull's moving average.

    Source: ``links/common.pine.link`` of TradingView's scanner_data, ``HullMA9``:
    WMA(2 * WMA(n / 2) - WMA(n), floor(sqrt(n))), where n / 2 is an integer division in Pine.

    Examples
    --------
    >>> hma(np.array([[8.0], [10.0], [12.0], [14.0], [16.0]]), 4).T
    array([[nan, nan, nan, nan, 16.]])
    """
    return wma(2 * wma(x, n // 2) - wma(x, n), int(n**0.5))


def vwma(price: Matrix, volume: Matrix, n: int) -> Matrix:
    """Return the volume-weighted average price of the last ``n`` bars.

    Source: Pine reference, ``ta.vwma``. Undefined while no volume was traded in the window.

    Examples
    --------
    >>> vwma(np.array([[8.0], [12.0]]), np.array([[300.0], [100.0]]), 2).T
    array([[nan,  9.]])
    """
    traded = rolling_sums(volume, (n,))[0]
    average = ratio(rolling_sums(price * volume, (n,))[0], traded)
    wide = reaching_back(price, n - 1)
    unchanged = bars_unchanged(wide)[len(wide) - len(price) :] >= n
    return np.where(unchanged & (traded != 0), price, average)


def highest(x: Matrix, n: int) -> Matrix:
    """Return the highest of the last ``n`` values. Source: Pine reference, ``ta.highest``.

    Examples
    --------
    >>> highest(np.array([[8.0], [10.0], [9.0], [7.0]]), 2).T
    array([[nan, 10., 10.,  9.]])
    """
    return _extreme(x, n, np.maximum)


def lowest(x: Matrix, n: int) -> Matrix:
    """Return the lowest of the last ``n`` values. Source: Pine reference, ``ta.lowest``.

    Examples
    --------
    >>> lowest(np.array([[8.0], [10.0], [9.0], [7.0]]), 2).T
    array([[nan,  8.,  9.,  7.]])
    """
    return _extreme(x, n, np.minimum)


def _extreme(x: Matrix, n: int, pick: np.ufunc) -> Matrix:
    """Widen the window by doubling; the last step may overlap, which an extreme does not mind."""
    best = wide = reaching_back(x, n - 1)
    covered = 1
    while covered < n:
        step = min(covered, n - covered)
        best = pick(best, _shifted(best, step))
        covered += step
    return best[len(wide) - len(x) :]


def emas(x: Matrix, lengths: Sequence[int]) -> list[Matrix]:
    """Return the exponential moving average with alpha = 2 / (n + 1), for each n in ``lengths``.

    Source: Pine reference, ``ta.ema``; seeded with the SMA of the first n defined values, as
    TradingView's exports are. Defined from the n-th defined bar on.

    Examples
    --------
    >>> (three,) = emas(np.array([[8.0], [10.0], [12.0], [14.0]]), (3,))
    >>> three.T
    array([[nan, nan, 10., 12.]])
    """
    return _recursions([x] * len(lengths), lengths, [2 / (n + 1) for n in lengths])


def ema(x: Matrix, n: int) -> Matrix:
    """Return the exponential moving average of length ``n``; see :func:`emas`.

    Examples
    --------
    >>> ema(np.array([[8.0], [10.0], [12.0], [14.0]]), 3).T
    array([[nan, nan, 10., 12.]])
    """
    return emas(x, (n,))[0]


def rmas(series: Sequence[Matrix], n: int) -> list[Matrix]:
    """Return Wilder's moving average (alpha = 1 / n) of each of several matrices of one shape.

    Source: Pine reference, ``ta.rma``; seeded with the SMA of the first n defined values.

    Examples
    --------
    >>> (four,) = rmas([np.array([[8.0], [10.0], [12.0], [14.0], [15.0]])], 4)
    >>> four.T
    array([[nan, nan, nan, 11., 12.]])
    """
    return _recursions(series, [n] * len(series), [1 / n] * len(series))


def rma(x: Matrix, n: int) -> Matrix:
    """Return Wilder's moving average of length ``n``; see :func:`rmas`.

    Examples
    --------
    >>> rma(np.array([[8.0], [10.0], [12.0], [14.0], [15.0]]), 4).T
    array([[nan, nan, nan, 11., 12.]])
    """
    return rmas([x], n)[0]


def _recursions(
    series: Sequence[Matrix], lengths: Sequence[int], alphas: Sequence[float]
) -> list[Matrix]:
    """Run several recursions side by side: the loop over bars is paid once for all of them.

    The input may begin with NaN; each symbol is seeded n - 1 bars after its own first defined
    value.
    """
    recursions["computed"] += len(series)
    carry = IN_FORCE.get()
    bars, symbols = series[0].shape
    seeds = [_seeds(x, n, carry) for x, n in zip(series, lengths, strict=True)]
    alpha = np.repeat(np.asarray(alphas, dtype=np.float64), symbols)
    seed_rows = np.concatenate([each.rows for each in seeds])
    values = np.concatenate([each.values for each in seeds])
    before = np.concatenate([each.before for each in seeds])
    seeded_at = {
        row: np.flatnonzero(seed_rows == row) for row in sorted({*seed_rows.tolist()}) if row >= 0
    }
    start = 0 if carry and not carry.is_first else min(seeded_at, default=bars)
    wide = np.concatenate(series, axis=1)
    wide[:start] = np.nan
    for row in range(start, bars):
        state = wide[row]  # the input until here, in its place the average
        state -= before
        state *= alpha
        state += before
        if row in seeded_at:
            columns = seeded_at[row]
            state[columns] = values[columns]
        before = state
    averages = [wide[:, k * symbols : (k + 1) * symbols] for k in range(len(series))]
    if carry:
        for average, each in zip(averages, seeds, strict=True):
            carry.after[each.place] = np.stack([each.defined, carry.last(average, each.before)])
    return averages


_CARRIED = ("defined", "average")
"""What is carried of a recursion, beside the values that it may still be seeded from."""


class _Seeds(NamedTuple):
    """Where a recursion begins, and what it goes on from; all of shape (symbols,)."""

    rows: NDArray[np.int64]
    """The row of the n-th defined value; below 0 if that was before the first row."""
    values: Matrix
    """The mean of the first n."""
    before: Matrix
    """The average before the first row; NaN if there was none."""
    defined: Matrix
    """How many values there are since the first defined one, this computation's last included."""
    place: int
    """Where the last two are carried."""


def _seeds(x: Matrix, n: int, carry: Carry | None) -> _Seeds:
    bars, symbols = x.shape
    is_finite = np.isfinite(x)
    first = np.argmax(is_finite, axis=0)
    before, defined, place = np.full(symbols, np.nan), np.zeros(symbols), -1
    earlier = None
    if carry is not None:
        earlier = carry.keep(x, n - 1)
        if (kept := carry.before()) is not None:
            if len(kept) != len(_CARRIED):
                raise OtherReads
            count, before = kept
            first = np.where(count > 0, -count.astype(np.int64), first)
        exists = is_finite.any(axis=0) | (first < 0)
        defined = np.where(exists, np.maximum(carry.lengths - first, 0), 0.0)
        place = len(carry.after)
        carry.after.append(np.empty((len(_CARRIED), symbols)))
    if (first + n - 1 < 0).all():
        return _Seeds(first + n - 1, before, before, defined, place)
    wide = x if earlier is None else np.concatenate([earlier, x])
    window = first + np.arange(n)[:, None] + len(wide) - bars
    window = np.clip(window, 0, len(wide) - 1)
    values = _smas(np.take_along_axis(wide, window, axis=0), (n,))[0][-1]
    return _Seeds(first + n - 1, values, before, defined, place)
