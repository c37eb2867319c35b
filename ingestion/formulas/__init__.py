"""The features of ``local_1d``, computed from daily bars by TradingView's published formulas.

A table of bars goes in, in any order; a row of seventeen features a bar comes out. No file, no
clock, no network: the same bars give the same bytes, a day computed alone as in a batch of all
symbols.

``panel``
    the table's checks, and its way into matrices [bar, symbol] and back
``windows``
    sums, averages and recursions over bars, with TradingView's seeding
``oscillators`` ``directional`` ``returns`` ``ratings``
    one function a formula, its source in the docstring
``reach``
    how far back each feature reads, and so how long a missing bar spoils it
``features``
    which formula feeds which column, and the forward split adjustment; start reading there
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ingestion.formulas.features import FEATURES, compute_block
from ingestion.formulas.panel import read_panel

__all__ = ["FEATURES", "compute_local_features"]

_SCHEMA = pa.schema(
    [
        ("timestamp", pa.int64()),
        ("symbol", pa.string()),
        *((name, pa.float64()) for name in FEATURES),
    ]
)


def compute_local_features(bars: pa.Table) -> pa.Table:
    """Compute the seventeen features of every bar.

    Parameters
    ----------
    bars
        One row a bar, unique on (symbol, timestamp), in any order; other columns are ignored.
        ``timestamp`` (int64) is the bar's open in Unix seconds; ``symbol`` is a string; ``open``,
        ``high``, ``low``, ``close`` are as traded, ``volume`` in units. Optional: ``split_ratio``,
        new shares for one old on an ex-date and 1.0 otherwise (1.0 throughout if the column is
        missing); ``close_timestamp`` (int64), the bar's close in Unix seconds, "now" for
        ``Perf.*`` (24 h after the open if the column is missing); ``missing_from`` (int64), where
        sessions between the symbol's bar before and this one are missing, the open of the first of
        them in Unix seconds, 0 elsewhere.

    Returns
    -------
    pyarrow.Table
        ``timestamp`` as given, ``symbol``, and the columns of :data:`FEATURES`, sorted by symbol
        and timestamp. A feature is null until its formula has the bars that it needs, and where it
        has no finite value; see below. No value is NaN or infinite.

    Raises
    ------
    InputError
        A column is missing, has another type, or holds a null or non-finite value; a key is
        repeated; a split ratio is not positive; a bar closes before it opens, or a session that is
        missing before a bar opens after it.

    Notes
    -----
    The first bar, counted from 0, at which a feature can be defined: ``Volatility.D`` 0;
    ``returns_1d``, ``Perf.W``, ``Perf.1M`` 1; ``Recommend.MA`` 9; ``Recommend.Other``,
    ``Recommend.All`` 11; ``RSI`` 14; ``Stoch.K`` 15; ``Stoch.D`` 17; ``CCI20`` 19;
    ``volatility_20d`` 20; ``MACD.macd`` 25; ``ADX`` 27; ``AO``, ``MACD.signal`` 33;
    ``momentum_60d`` 60.

    A series counts bars, not days: a gap in the dates is no bar, and only ``Perf.*`` reads the
    clock. Behind a session that is missing (``missing_from``) a feature is null for as many bars as
    :data:`~ingestion.formulas.reach.BARS_BACK` says, and ``Perf.*`` where that session would be the
    reference. With constant prices RSI is 100; returns, volatility, AO, MACD and ``Perf.*`` are 0;
    ADX, CCI and the stochastics are 0 / 0 and null, and so are they wherever their window has no
    range. Windows without any volume only remove the volume-weighted average's vote from
    ``Recommend.MA``.
    """
    panel = read_panel(bars)
    results = {name: np.empty(len(panel.timestamp)) for name in FEATURES}
    for rows, block, cells in panel.blocks():
        for name, matrix in compute_block(block).items():
            results[name][rows] = matrix.reshape(-1)[cells]
    columns = [
        pa.array(values, mask=~np.isfinite(values)) for values in (results[n] for n in FEATURES)
    ]
    symbols = panel.symbol.cast(pa.string())
    return pa.Table.from_arrays([pa.array(panel.timestamp), symbols, *columns], schema=_SCHEMA)
