"""Whether a formula reads as far back as it declares, and no farther.

A value is computed twice: from all bars of its symbol, and from its window alone, the bar itself
and those that ``look_back`` spans. The window is given what its first bar's money is (the product
of the splits until then); nothing else is carried along. Not a bit may differ.

A recursion has no window: its values come from all bars, and what is checked is that it is one,
built from the project's moving averages (:func:`~ingestion.formulas.windows.emas` and ``rmas``),
which seed as they do everywhere. Of ``look_back="all"`` there is nothing to check.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from ingestion.formulas import windows
from ingestion.formulas.declaration import BarFormula, Bars
from ingestion.formulas.evaluation import evaluate
from ingestion.formulas.trial_bars import usual_bars
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
        What is wrong with ``look_back`` and ``warm_up``, and what to declare; empty if nothing is.

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
    >>> check_look_back(mean)[0].partition(";")[0]
    'mean: look_back=3 is too short'
    """
    complaints: dict[str, str] = {}
    for each in usual_bars([formula]) if bars is None else bars:
        (_, whole), *_ = evaluate(each, [formula])
        if formula.look_back != "all" and (found := _difference(formula, each, whole)):
            complaints.setdefault("look_back", f"{formula.name}: {found}")
        if (early := np.isfinite(whole[: formula.first_bar]).any(axis=1)).any():
            first = int(np.argmax(early))
            complaints["warm_up"] = (
                f"{formula.name}: it has a value at bar {first}, counted from 0, and says that bar "
                f"{formula.first_bar} is the first: declare warm_up={first}"
            )
    return list(complaints.values())


def _remedy(formula: BarFormula, is_built_of_recursions: bool) -> str:
    said = f"look_back={formula.look_back!r}"
    if is_built_of_recursions:
        return f"{said} does not fit a moving average that never forgets; declare recursive=True"
    if formula.recursive:
        return (
            f"recursive=True with {said} is for what is built from ema, emas, rma and rmas; "
            'use them, or declare look_back="all"'
        )
    return f'{said} is too short; declare a longer one, or "all"'


def _difference(formula: BarFormula, bars: Bars, whole: Matrix) -> str | None:
    """Return what is wrong with a look-back, and the first value that its window gives otherwise.

    A recursion may differ, if it is one.
    """
    ends, columns, starts = _windows(formula, bars)
    if not len(ends):
        return None
    before = windows.recursions.total()
    (_, alone), *_ = evaluate(bars.windows(columns, starts, ends), [formula])
    is_recursion = windows.recursions.total() > before
    last = ends - starts
    from_window, from_all = alone[last, np.arange(len(last))], whole[ends, columns]
    differ = _bits(from_window) != _bits(from_all)
    if not differ.any() or (formula.recursive and is_recursion):
        return None
    at = int(np.argmax(differ))
    return (
        f"{_remedy(formula, is_recursion)}: from all {ends[at] + 1} bars until then a value is "
        f"{from_all[at].item()!r}, from the last {last[at] + 1} it is {from_window[at].item()!r}"
    )


def _bits(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bits of values; all that are not finite are one: null."""
    return np.where(np.isfinite(values), values, np.nan).view(np.int64)


def _windows(
    formula: BarFormula, bars: Bars
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Draw windows that begin behind their symbol's first bar: last rows, columns, first rows."""
    rows = np.arange(len(bars.close), dtype=np.int64)[:, None]
    if isinstance(formula.look_back, timedelta):
        starts = np.broadcast_to(bars.reference(formula.look_back), bars.close.shape)
    else:
        assert isinstance(formula.look_back, int)  # noqa: S101 - "all" has no window
        starts = np.broadcast_to(rows - formula.look_back, bars.close.shape)
    ends, columns = np.nonzero((starts > 0) & ~np.isnan(bars.close))
    longest = int((ends - starts[ends, columns]).max(initial=0)) + 1
    most = max(MOST_CELLS // longest, 20)
    chosen = np.random.default_rng(0).permutation(len(ends))[:most]
    ends, columns = ends[chosen], columns[chosen]
    return ends, columns, starts[ends, columns]
