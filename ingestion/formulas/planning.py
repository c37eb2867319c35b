"""How formulas are computed on new bars: by what they declare, and found by trying."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from ingestion.formulas.carry import Matrix, OtherReads
from ingestion.formulas.declaration import BarFormula, Bars
from ingestion.formulas.evaluation import evaluate
from ingestion.formulas.incremental import SERIES, How, Plan, how
from ingestion.formulas.look_back import check_look_back
from ingestion.formulas.trial_bars import made_bars, reach

_TRIED = 12
"""Bars, one after the other, by which a formula is tried."""


def plan_of(formulas: Iterable[BarFormula], trusted: Mapping[str, BarFormula]) -> Plan:
    """Return how formulas are computed; those that are not as they say, from all bars.

    Parameters
    ----------
    trusted
        By name, those that need not be tried: the shipped ones.

    Examples
    --------
    >>> from ingestion.formulas import SHIPPED, formula, sma
    >>> @formula("mean", "mean of 5 closes", unit="price", look_back=3)
    ... def mean(bars):
    ...     return sma(bars.close, 5)
    >>> plan = plan_of([mean, SHIPPED["AO"], SHIPPED["Perf.W"]], SHIPPED)
    >>> plan.others
    {'mean': <How.WHOLE: 'from all bars'>, 'AO': <How.CARRIED: 'goes on'>}
    """
    several, others = tuple(formulas), dict[str, How]()
    for each in several:
        if trusted.get(each.name) is each:
            if isinstance(each.look_back, int):
                others[each.name] = How.CARRIED
        elif how(each) is not How.WHOLE and _differs(each):
            others[each.name] = How.WHOLE
    return Plan(several, others)


def _differs(formula: BarFormula) -> bool:
    bars = [made_bars(reach(formula) + 150, 6, seed) for seed in range(3)]
    if check_look_back(formula, bars):
        return True
    return how(formula) is How.CARRIED and not goes_on(formula, bars)


def goes_on(formula: BarFormula, several: Iterable[Bars]) -> bool:
    """Return whether a formula goes on as a recursion does to the same bits, on some bars.

    It does if it is built from the functions of :mod:`~ingestion.formulas.windows`.

    Examples
    --------
    >>> from ingestion.formulas import SHIPPED, ema, formula
    >>> bars = made_bars(150, 6)
    >>> goes_on(SHIPPED["ADX"], [bars])
    True
    >>> @formula("own", "a mean of one's own", look_back=14, recursive=True)
    ... def own(bars):
    ...     return ema(np.cumsum(bars.close, axis=0), 14)
    >>> goes_on(own, [bars])
    False
    """
    plan = Plan((formula,), {formula.name: How.CARRIED})
    return all(_same(plan, formula, bars) for bars in several)


def _same(plan: Plan, formula: BarFormula, bars: Bars) -> bool:
    raw = dict(evaluate(bars, [formula]))[formula.name]
    first = max(1, len(bars.close) - _TRIED)
    try:
        values, kept = plan.begin(_rows(bars, 0, first))
        found = [values[formula.name]]
        for row in range(first, len(bars.close)):
            values, kept = plan.go_on(kept, _rows(bars, row, row + 1))
            found.append(values[formula.name])
    except OtherReads:
        return False
    is_bar = ~np.isnan(bars.close)
    return bool((_shown(np.concatenate(found)) == _shown(raw))[is_bar].all())


def _rows(bars: Bars, first: int, end: int) -> Bars:
    """Return some rows, adjusted as they are here."""
    missing = None if bars.missing_from is None else bars.missing_from[first:end]
    rows = Bars(
        **{name: getattr(bars, name)[first:end] for name in SERIES[:-1]},
        opened=bars.opened[first:end],
        closed=bars.closed[first:end],
        missing_from=missing,
        split_before=np.ones(bars.close.shape[1]) if first else None,
        adjusted_by=bars.split[first:end],
    )
    rows.since_gap = None if bars.since_gap is None else bars.since_gap[first:end]
    return rows


def _shown(values: Matrix) -> NDArray[np.int64]:
    """Return the bits of values; all that are not finite are one: null."""
    return np.where(np.isfinite(values), values, np.nan).view(np.int64)
