"""A formula's mark: whether it computes what it computed before.

The mark is made from results, not from source text: the formula is computed on bars that are the
same on every machine and in every version, and what comes out is hashed. So a formula that is
written otherwise and gives the same has the same mark, and one that gives something else under its
old name, be it by a function that it calls, has another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import timedelta

import numpy as np

from ingestion.formulas.declaration import BarFormula, Bars
from ingestion.formulas.evaluation import evaluate
from ingestion.formulas.trial_bars import made_bars, reach
from ingestion.formulas.windows import Matrix

_BARS, _SYMBOLS = 512, 6


def definition_marks(formulas: Iterable[BarFormula], *, to_the_bit: bool = False) -> dict[str, str]:
    """Return, by formula, a text that is another one if the formula computes something else.

    A mark is equal in every process and on every machine, whatever else is declared. It contains
    the declared look-back, unit and bounds, which say what a value means and when it is null.

    Parameters
    ----------
    to_the_bit
        Whether another last bit of one value is another mark, too. Without, values count in 24
        bits, as an exponential or a logarithm may be rounded otherwise by another version of NumPy
        or another processor: that is no other formula. What carries a formula's state from day to
        day needs every bit.

    Raises
    ------
    InputError
        If a formula raises an exception, or returns no number per bar.

    Examples
    --------
    >>> from ingestion.formulas import formula, ratio, shift
    >>> @formula("gap", "open ÷ previous close − 1", look_back=1, low=-1)
    ... def gap(bars):
    ...     return ratio(bars.open, shift(bars.close, 1)) - 1
    >>> @formula("gap", "the same in other words", look_back=1, low=-1)
    ... def same(bars):
    ...     before = shift(bars.close, 1)
    ...     return ratio(bars.open, before) - 1
    >>> @formula("gap", "another one", look_back=1, low=-1)
    ... def other(bars):
    ...     return ratio(bars.open, shift(bars.close, 1)) - 0.999
    >>> definition_marks([gap]) == definition_marks([same])
    True
    >>> definition_marks([gap]) == definition_marks([other])
    False
    >>> definition_marks([gap])["gap"].partition("values=")[0]
    'look_back=1; low=-1; '
    """
    panels: dict[int, Bars] = {}
    marks = {}
    for formula in formulas:
        # Most have a value; and it is the same bars for nearly all, so what they share counts once.
        length = _BARS * (1 + (reach(formula) + _BARS // 4) // _BARS)
        if length not in panels:
            panels[length] = made_bars(length, _SYMBOLS)
        (_, values), *_ = evaluate(panels[length], [formula])
        back = formula.look_back
        said = {
            "look_back": f"{back / timedelta(days=1):g}d" if isinstance(back, timedelta) else back,
            "unit": formula.unit or None,
            "low": formula.low,
            "high": formula.high,
            "values": _hash(values if to_the_bit else _in_24_bits(values)),
        }
        told = (f"{name}={text}" for name, text in said.items() if text is not None)
        marks[formula.name] = "; ".join(told)
    return marks


def _in_24_bits(values: Matrix) -> Matrix:
    fraction, exponent = np.frexp(values)
    rounded: Matrix = np.ldexp(np.rint(np.ldexp(fraction, 24)), exponent - 24)
    return rounded


def _hash(values: Matrix) -> str:
    """Return a hash of values; all that are not finite are one: null, and so are the two zeros."""
    values = np.where(np.isfinite(values), values, np.nan) + 0.0
    return hashlib.sha256(values.astype("<f8").tobytes()).hexdigest()[:12]
