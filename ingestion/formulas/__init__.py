"""Formulas: one value per bar, computed from that bar and earlier ones of its symbol.

A table of bars goes in, in any order; one row per bar comes out. No file, no clock, no network: the
same bars give the same bytes, a day computed alone as in a batch of all symbols. The shipped
formulas are TradingView's published ones; a project declares its own in files of
``feature_repo/formulas/``::

    from ingestion.formulas import Bars, Matrix, formula, ratio, shift

    @formula("overnight_gap", "open ÷ previous close − 1", look_back=1, low=-1)
    def overnight_gap(bars: Bars) -> Matrix:
        \"\"\"Return the open over the close of the bar before - 1.\"\"\"
        return ratio(bars.open, shift(bars.close, 1)) - 1

``declaration``
    how a formula is declared, and the bars that it reads; start reading there
``windows``
    sums, averages and recursions over bars, with TradingView's seeding
``returns`` ``ratings`` ``oscillators`` ``performance`` ``trend``
    the shipped formulas, each declared beside its function, the source in the docstring
``parabolic``
    the stop-and-reverse that ``trend`` declares, a recursion of its own
``library``
    which formulas there are, shipped and of a project
``evaluation``
    the values of formulas on bars, units and missing sessions
``panel``
    the checks of a table of bars, and its way into matrices [bar, symbol] and back
``look_back``
    whether a formula reads as far back as it says
``mark``
    whether a formula computes what it computed before
``trial_bars``
    bars to try formulas on

Declarations need NumPy alone; Arrow is imported when a table is computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ingestion.catalog.formula import MONEY, Formula
from ingestion.formulas.declaration import BarFormula, Bars, formula, shared
from ingestion.formulas.library import LOCAL, SHIPPED, by_name, load_formulas
from ingestion.formulas.mark import definition_marks
from ingestion.formulas.windows import (
    Matrix,
    ema,
    emas,
    highest,
    hma,
    lowest,
    ratio,
    rma,
    rmas,
    rolling_sums,
    shift,
    sma,
    smas,
    vwma,
    wma,
)

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FEATURES",
    "LOCAL",
    "MONEY",
    "SHIPPED",
    "BarFormula",
    "Bars",
    "Formula",
    "Matrix",
    "compute",
    "compute_local_features",
    "definition_marks",
    "ema",
    "emas",
    "formula",
    "highest",
    "hma",
    "load_formulas",
    "lowest",
    "ratio",
    "rma",
    "rmas",
    "rolling_sums",
    "shared",
    "shift",
    "sma",
    "smas",
    "vwma",
    "wma",
]

FEATURES = tuple(LOCAL)
"""The names of what :func:`compute_local_features` computes, in the order of its columns."""


def compute_local_features(bars: pa.Table) -> pa.Table:
    """Compute the formulas of :data:`FEATURES` for every bar; see :func:`compute`.

    Notes
    -----
    With constant prices RSI is 100; returns, volatility, AO, MACD and ``Perf.*`` are 0; ADX, CCI
    and the stochastics are 0 / 0 and null, and so are they wherever their window has no range.
    Windows without any volume only remove the volume-weighted average's vote from
    ``Recommend.MA``.

    Examples
    --------
    >>> import pyarrow as pa
    >>> prices = dict.fromkeys(("open", "high", "low", "close"), [8.0, 10.0])
    >>> bars = pa.table({"timestamp": [0, 86_400], "symbol": ["X:A", "X:A"], **prices,
    ...                  "volume": [100.0, 100.0]})
    >>> features = compute_local_features(bars)
    >>> features["returns_1d"].to_pylist(), features["RSI"].to_pylist()
    ([None, 0.25], [None, None])
    """
    return compute(bars, LOCAL.values())


def compute(bars: pa.Table, formulas: Iterable[BarFormula]) -> pa.Table:
    """Compute formulas for every bar.

    Parameters
    ----------
    bars
        One row per bar, unique on (symbol, timestamp), in any order; other columns are ignored.
        ``timestamp`` (int64) is the bar's open in Unix seconds; ``symbol`` is a string; ``open``,
        ``high``, ``low``, ``close`` are as traded, ``volume`` in units. Optional: ``split_ratio``,
        new shares for one old on an ex-date and 1.0 otherwise (1.0 throughout if the column is
        missing); ``close_timestamp`` (int64), the bar's close in Unix seconds, "now" for
        formulas that follow the clock (24 h after the open if the column is missing);
        ``missing_from`` (int64), where sessions between the symbol's bar before and this one are
        missing, the open of the first of them in Unix seconds, 0 elsewhere.
    formulas
        Shipped ones and others; no two of one name.

    Returns
    -------
    pyarrow.Table
        ``timestamp`` as given, ``symbol``, and a double per formula, sorted by symbol and
        timestamp. A value is null until its formula has the bars that it needs, where it is not
        finite, and behind a session that is missing. No value is NaN or infinite.

    Raises
    ------
    InputError
        A column is missing, has another type, or contains a null or non-finite value; a key is
        repeated; a split ratio is not positive; a bar closes before it opens, or a session that is
        missing before a bar opens after it. Two formulas have one name, or the name of a key; a
        formula raises an exception or returns no number per bar.

    Notes
    -----
    A series counts bars, not days: a gap in the dates is no bar, and only formulas that follow the
    clock (``Perf.*``) read it. Behind a session that is missing (``missing_from``) a value is null
    for as many bars as the formula's ``look_back`` says, and of a formula that follows the clock
    where that session would be the reference.

    Examples
    --------
    >>> import pyarrow as pa
    >>> prices = dict.fromkeys(("open", "high", "low", "close"), [8.0, 10.0])
    >>> bars = pa.table({"timestamp": [0, 86_400], "symbol": ["X:A", "X:A"], **prices,
    ...                  "volume": [100.0, 100.0]})
    >>> @formula("double", "twice the close", unit=MONEY, look_back=0)
    ... def double(bars: Bars) -> Matrix:
    ...     return 2 * bars.close
    >>> compute(bars, [double, SHIPPED["returns_1d"]]).to_pylist()[1]
    {'timestamp': 86400, 'symbol': 'X:A', 'double': 20.0, 'returns_1d': 0.25}
    """
    import numpy as np

    from ingestion.base.errors import InputError
    from ingestion.formulas.evaluation import evaluate
    from ingestion.formulas.panel import read_panel

    named = by_name(formulas)
    if taken := named.keys() & {"timestamp", "symbol"}:
        raise InputError(f"a formula cannot be called {min(taken)}: that is a key of the result")
    panel = read_panel(bars)
    results = {name: np.empty(panel.size) for name in named}
    for block in panel.blocks():
        for name, matrix in evaluate(block.bars, named.values()):
            results[name][block.rows] = block.by_row(matrix)
    return panel.table(results)
