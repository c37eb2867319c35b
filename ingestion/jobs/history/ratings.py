"""Classes of ratings: how long each lasted, and what followed.

TradingView's rating runs from −1 to 1. Its page calls values above 0.5 a strong buy, above 0.1 a
buy, from −0.1 to 0.1 neutral, and likewise below.

A spell is a run of rows of one symbol in the same class. Its length is known only where its begin
and its end were seen: the first spell of a symbol, the running one, and those beside a row without
a rating are counted apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ingestion.datasets.significance import newey_west_lags, newey_west_t

CLASSES = ("strong sell", "sell", "neutral", "buy", "strong buy")
_BUY, _STRONG = 0.1, 0.5
NO_CLASS = -1
"""Of a row without a rating."""

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]


def class_of(ratings: ArrayLike) -> Codes:
    """Return the place in :data:`CLASSES` of each rating; −1 for NaN.

    Examples
    --------
    >>> [CLASSES[code] for code in class_of([-0.51, -0.5, -0.1, 0.1, 0.11, 0.5, 0.51])]
    ['strong sell', 'sell', 'neutral', 'neutral', 'buy', 'buy', 'strong buy']
    >>> class_of([float("nan")]).tolist()
    [-1]
    """
    values = np.asarray(ratings, np.float64)
    codes = np.full(values.shape, 2, np.int64)
    for limit in (_BUY, _STRONG):
        codes += (values > limit).astype(np.int64) - (values < -limit)
    return np.where(np.isnan(values), NO_CLASS, codes)


@dataclass(frozen=True)
class Spells:
    """The spells of some symbols, one after the other; arrays of shape ``(n,)``."""

    symbol: Codes
    """Number of the symbol."""
    code: Codes
    """Its class."""
    first: Codes
    """Place of its first row."""
    rows: Codes
    began: NDArray[np.bool_]
    """Whether the row before it has another rating: its begin was seen."""
    after: Codes
    """Class of the row after it; −1 where its end was not seen."""

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Which ones were seen from their begin to their end."""
        found: NDArray[np.bool_] = self.began & (self.after != NO_CLASS)
        return found


def spells(symbol: Codes, code: Codes) -> Spells:
    """Return the spells of rows that are in order of symbol and then time.

    Examples
    --------
    >>> found = spells(np.zeros(6, np.int64), np.array([2, 3, 3, 2, -1, 2]))
    >>> found.code.tolist(), found.rows.tolist(), found.whole.tolist()
    ([2, 3, 2, 2], [1, 2, 1, 1], [False, True, False, False])
    """
    size = len(code)
    if not size:
        nothing = np.empty(0, np.int64)
        return Spells(nothing, nothing, nothing, nothing, nothing.astype(bool), nothing)
    is_new_symbol = np.append(True, symbol[1:] != symbol[:-1])
    begins = np.flatnonzero(is_new_symbol | np.append(True, code[1:] != code[:-1]))
    ends = np.append(begins[1:], size)
    before = np.where(is_new_symbol[begins], NO_CLASS, code[begins - 1])
    is_last = ends == size
    after_at = np.minimum(ends, size - 1)
    after = np.where(is_last | is_new_symbol[after_at], NO_CLASS, code[after_at])
    kept = code[begins] != NO_CLASS
    return Spells(
        symbol[begins][kept],
        code[begins][kept],
        begins[kept],
        (ends - begins)[kept],
        (before != NO_CLASS)[kept],
        after[kept],
    )


@dataclass(frozen=True)
class Lasted:
    """How long the ratings of a class lasted, in rows; of spells that were seen whole."""

    rating: str
    rows: int
    """All rows of the class."""
    spells: int
    median: float | None
    mean: float | None
    longest: int | None
    not_whole: int
    """Spells of which begin or end was not seen."""
    next: tuple[float | None, ...]
    """The share of ended spells that each class followed."""


def lasted(found: Spells) -> list[Lasted]:
    """Return how long the ratings of each class lasted."""
    of_classes = []
    for code, rating in enumerate(CLASSES):
        own = found.code == code
        whole = found.rows[own & found.whole]
        after = found.after[own & (found.after != NO_CLASS)]
        of_classes.append(
            Lasted(
                rating,
                int(found.rows[own].sum()),
                len(whole),
                float(np.median(whole)) if len(whole) else None,
                float(whole.mean()) if len(whole) else None,
                int(whole.max()) if len(whole) else None,
                int((own & ~found.whole).sum()),
                tuple(
                    float((after == each).mean()) if len(after) else None
                    for each in range(len(CLASSES))
                ),
            )
        )
    return of_classes


@dataclass(frozen=True)
class Followed:
    """What followed the rows of one class, over one horizon."""

    rating: str
    sessions: int
    rows: int
    """With a forward return."""
    dates: int
    mean: float | None
    """Of the forward returns, as a fraction."""
    median: float | None
    rose: float | None
    """The share that is above 0."""
    excess: float | None
    """Mean over dates of the class's mean less that of all rated symbols."""
    t: float | None
    """Its t-value by Newey and West (1987), over as many lags as labels overlap."""


def followed(code: Codes, day: Codes, returns: Floats, sessions: int) -> list[Followed]:
    """Return what followed each class.

    Parameters
    ----------
    code
        Class of each row.
    day
        Date of each row, days from 1970-01-01.
    returns
        Forward return of each row, over so many sessions; NaN where there is none.
    """
    there = (code != NO_CLASS) & np.isfinite(returns)
    code, day, returns = code[there], day[there], returns[there]
    days, at = np.unique(day, return_inverse=True)
    of_all = np.bincount(at, returns, len(days)) / np.maximum(
        np.bincount(at, minlength=len(days)), 1
    )
    found = []
    for number, rating in enumerate(CLASSES):
        own = code == number
        values = returns[own]
        counts = np.bincount(at[own], minlength=len(days))
        has = counts > 0
        sums = np.bincount(at[own], values, len(days))
        excess = sums[has] / counts[has] - of_all[has]
        lags = newey_west_lags(len(excess), sessions - 1)
        some = len(values) > 0
        found.append(
            Followed(
                rating,
                sessions,
                len(values),
                int(has.sum()),
                float(values.mean()) if some else None,
                float(np.median(values)) if some else None,
                float((values > 0).mean()) if some else None,
                float(excess.mean()) if some else None,
                newey_west_t(excess, lags),
            )
        )
    return found
