"""The values of formulas on bars in memory.

1. :class:`~ingestion.formulas.declaration.Bars` adjusts prices and volumes forward for splits.
2. Each formula is computed on them; what several of them read is computed once.
3. What is measured in money is divided by the product of the splits: it is again in the money of
   its own day.
4. Values whose window spans a missing session are taken out.

A formula counts bars, so behind a session that is missing it counts wrong: its values are undefined
until the gap has left the window. A window of n bars reads n - 1 bars back, and one more where it
compares closes. A moving average that never forgets is taken as defined again where it would be if
the series began behind the gap, which is also when TradingView first shows it for a new symbol.
What the missing bar still weighs then is what a seed weighs in any young series. A formula that
follows the clock reads one bar of the past, by :meth:`Bars.reference`, which sees to missing
sessions itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

import numpy as np

from ingestion.base.errors import InputError
from ingestion.base.loading import what_happened
from ingestion.catalog.formula import MONEY
from ingestion.formulas.carry import OtherReads
from ingestion.formulas.declaration import NO_GAP, BarFormula, Bars
from ingestion.formulas.windows import Matrix


def evaluate(bars: Bars, formulas: Iterable[BarFormula]) -> Iterator[tuple[str, Matrix]]:
    """Yield each formula's name and values, of shape (bars, symbols); NaN or infinite: undefined.

    Raises
    ------
    InputError
        If a formula raises an exception, or returns no number per bar.

    Examples
    --------
    >>> from ingestion.formulas import SHIPPED
    >>> bars = Bars(open=[8, 10], high=[9, 12], low=[8, 10], close=[8, 12], volume=[1, 1])
    >>> dict(evaluate(bars, [SHIPPED["returns_1d"]]))["returns_1d"].T
    array([[nan, 0.5]])
    """
    for formula in formulas:
        values = _computed(formula, bars)
        if formula.unit == MONEY:
            with np.errstate(over="ignore", invalid="ignore"):
                values = values / bars.split
        if bars.since_gap is not None and not isinstance(formula.look_back, timedelta):
            back = NO_GAP if formula.look_back == "all" else formula.look_back
            values = np.where(bars.since_gap < back, np.nan, values)
        yield formula.name, values


def _computed(formula: BarFormula, bars: Bars) -> Matrix:
    try:
        # Prices near the limits of a double overflow; what comes of it is undefined.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            values = np.asarray(formula(bars), dtype=np.float64)
    except OtherReads:
        raise
    except Exception as error:
        happened = what_happened(error, formula.place.rpartition(", line ")[0])
        raise InputError(f"formula {formula.name} of {happened}") from error
    if values.shape != bars.close.shape:
        raise InputError(
            f"formula {formula.name} of {formula.place}: its values have shape {values.shape}, and "
            f"the bars {bars.close.shape}: return one number per bar"
        )
    return values
