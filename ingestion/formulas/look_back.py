"""Whether a formula reads as far back as it declares, no farther, and nothing else.

1. It is computed again without the later bars, and without the other symbols: not a bit may differ.
2. A value is computed from its window alone, the bar itself and those that ``look_back`` spans. The
   window is given what its first bar's money is (the product of the splits until then); nothing
   else is carried along. Not a bit may differ from the value of all bars.

A recursion has no window: its values come from all bars, and what is checked is that it is one,
built from the project's moving averages (:func:`~ingestion.formulas.windows.emas` and ``rmas``),
which seed as they do everywhere. Nor has ``look_back="all"``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from ingestion.catalog.formula import LookBack
from ingestion.formulas import windows
from ingestion.formulas.declaration import BarFormula, Bars
from ingestion.formulas.evaluation import evaluate
from ingestion.formulas.trial_bars import LONGEST, usual_bars
from ingestion.formulas.windows import Matrix

MOST_CELLS = 80_000
"""Bars of the windows that are computed together; which windows, chance decides."""


def check_look_back(formula: BarFormula, bars: Sequence[Bars] | None = None) -> list[str]:
    """Compare a formula's values from windows with those from all bars.

    Parameters
    ----------
    formula
        Shipped or a project's own.
    bars
        What to compute it on; :func:`~ingestion.formulas.trial_bars.usual_bars` if none are given.

    Returns
    -------
    list of str
        What is wrong with the formula, its ``look_back`` and ``warm_up``, where it is declared, and
        what to do; empty if nothing is.

    Raises
    ------
    InputError
        If the formula raises an exception, or returns no number per bar.

    Examples
    --------
    >>> from ingestion.formulas import SHIPPED, formula, sma
    >>> check_look_back(SHIPPED["CCI20"])
    []
    >>> @formula("mean", "mean of 5 closes", unit="price", look_back=3)
    ... def mean(bars):
    ...     return sma(bars.close, 5)
    >>> check_look_back(mean)[0].partition(" (")[0].partition(": ")[2]
    'the formula mean has look_back=3, which is too short: declare look_back=4'
    """
    complaints: dict[str, str] = {}
    tried = [(each, _values(formula, each)) for each in bars or usual_bars([formula])]
    for each, whole in tried:
        if found := _reads_elsewhere(formula, each, whole):
            complaints = {"elsewhere": found}
            break
        if "look_back" not in complaints and (found := _wrong_window(formula, each, whole, tried)):
            complaints["look_back"] = found
        if (early := np.isfinite(whole[: formula.first_bar]).any(axis=1)).any():
            first = int(np.argmax(early))
            complaints["warm_up"] = (
                f"has a value at bar {first}, counted from 0, and says that bar "
                f"{formula.first_bar} is the first: declare warm_up={first}"
            )
    return [f"{formula.place}: the formula {formula.name} {each}" for each in complaints.values()]


def _values(formula: BarFormula, bars: Bars) -> Matrix:
    (_, values), *_ = evaluate(bars, [formula])
    return values


def _reads_elsewhere(formula: BarFormula, bars: Bars, whole: Matrix) -> str | None:
    """Say whether values differ without the later bars, or without the other symbols."""
    length, symbols = whole.shape
    for rows, count in (
        *((length * third // 3, symbols) for third in (1, 2)),
        (length - 1, symbols),
        (length, symbols // 2),
    ):
        if not rows or not count:
            continue
        first, last = np.zeros(count, dtype=np.int64), np.full(count, rows - 1)
        some = _values(formula, bars.windows(np.arange(count), first, last))
        differ = _bits(some) != _bits(whole[:rows, :count])
        if not differ.any():
            continue
        row, column = np.unravel_index(int(np.argmax(differ)), differ.shape)
        left_out = "the bars after it" if rows < length else "those of other symbols"
        what = "later bars" if rows < length else "bars of other symbols"
        return (
            f"reads {what}: its value at bar {row}, counted from 0, is "
            f"{whole[row, column].item()!r}, and without {left_out} "
            f"{some[row, column].item()!r}. A value may read its own bar and earlier ones of its "
            "symbol, as `shift` and `sma` do; no look_back makes this right"
        )
    return None


def _wrong_window(
    formula: BarFormula, bars: Bars, whole: Matrix, tried: Iterable[tuple[Bars, Matrix]]
) -> str | None:
    """Say what is wrong with a look-back, and the first value that its window gives otherwise.

    A recursion may differ, if it is one.
    """
    back = formula.look_back
    if back == "all":
        return None
    before = windows.recursions.total()
    found = _first_difference(formula, back, bars, whole)
    is_recursion = windows.recursions.total() > before
    if found is None or (formula.recursive and is_recursion):
        return None
    said = f"look_back={back!r}"
    if is_recursion:
        remedy = (
            f"has {said}, which does not fit a moving average that never forgets: declare "
            "recursive=True"
        )
    elif formula.recursive:
        remedy = (
            f"has recursive=True with {said}, which is for what is built from ema, emas, rma and "
            'rmas: use them, or declare look_back="all"'
        )
    elif (enough := _shortest(formula, back, tried)) is not None:
        remedy = f"has {said}, which is too short: declare look_back={enough!r}"
    else:
        unit = "days" if isinstance(back, timedelta) else "bars"
        remedy = (
            f"has {said}, which is too short, and so is any up to {LONGEST:,} {unit}: use sums and "
            'averages of ingestion.formulas, or declare look_back="all"'
        )
    return f"{remedy} ({found})"


def _shortest(
    formula: BarFormula, back: int | timedelta, tried: Iterable[tuple[Bars, Matrix]]
) -> LookBack | None:
    """Return the shortest look-back under which no bit differs; None up to :data:`LONGEST`."""

    def is_enough(length: int) -> bool:
        back_ = unit * length
        return all(_first_difference(formula, back_, *each) is None for each in tried)

    unit: int | timedelta = timedelta(days=1) if isinstance(back, timedelta) else 1
    low = back.days if isinstance(back, timedelta) else back  # too short
    high = low + 1
    while not is_enough(high):
        if high >= LONGEST:
            return None
        low, high = high, min(2 * high, LONGEST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return unit * high


def _first_difference(
    formula: BarFormula, back: int | timedelta, bars: Bars, whole: Matrix
) -> str | None:
    """Return the first value that a window gives otherwise, in words."""
    ends, columns, starts = _windows(back, bars)
    if not len(ends):
        return None
    alone = _values(formula, bars.windows(columns, starts, ends))
    last = ends - starts
    from_window, from_all = alone[last, np.arange(len(last))], whole[ends, columns]
    differ = _bits(from_window) != _bits(from_all)
    if not differ.any():
        return None
    at = int(np.argmax(differ))
    return (
        f"from all {ends[at] + 1} bars until then a value is {from_all[at].item()!r}, from the "
        f"last {last[at] + 1} it is {from_window[at].item()!r}"
    )


def _bits(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bits of values; all that are not finite are one: null."""
    return np.where(np.isfinite(values), values, np.nan).view(np.int64)


def _windows(
    back: int | timedelta, bars: Bars
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Draw windows that begin behind their symbol's first bar: last rows, columns, first rows."""
    rows = np.arange(len(bars.close), dtype=np.int64)[:, None]
    starts = bars.reference(back) if isinstance(back, timedelta) else rows - back
    starts = np.broadcast_to(starts, bars.close.shape)
    ends, columns = np.nonzero((starts > 0) & ~np.isnan(bars.close))
    longest = int((ends - starts[ends, columns]).max(initial=0)) + 1
    most = max(MOST_CELLS // longest, 20)
    chosen = np.random.default_rng(0).permutation(len(ends))[:most]
    ends, columns = ends[chosen], columns[chosen]
    return ends, columns, starts[ends, columns]
