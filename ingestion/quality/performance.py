"""``Perf.W`` and ``Perf.1M`` as they stood at an instant after the bar's close.

TradingView measures them from the clock, not from the bar: they move on while the market sleeps.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.formulas.panel import read_panel
from ingestion.formulas.returns import performance

WINDOWS = {"Perf.W": 7, "Perf.1M": 30}
"""Calendar days that each feature looks back."""

_MICROSECONDS = 1_000_000


def performance_at(bars: pa.Table, asked: pa.Table) -> pa.Table:
    """Recompute the performance of some bars with another instant for "now".

    Parameters
    ----------
    bars
        Columns of ``ohlcv_1d``, unique on (``symbol``, ``timestamp``) and on (``symbol``,
        ``event_timestamp``), in any order; ``symbol`` is a string. They reach back to each symbol's
        first bar or past the longest window.
    asked
        ``symbol``, ``bar_close`` and ``known_at`` (int64, Unix s): which bars, and the instant for
        each; unique on the first two.

    Returns
    -------
    pyarrow.Table
        ``symbol``, ``bar_close`` and the columns of :data:`WINDOWS`, in percent, for those of the
        asked bars that are there; null by the rule of
        :func:`ingestion.formulas.returns.performance`.
    """
    closes = pc.divide(bars["event_timestamp"].cast(pa.int64()), _MICROSECONDS)
    bars = (
        bars.append_column("bar_close", closes)
        .join(asked, ["symbol", "bar_close"], join_type="left outer")
        .sort_by([("symbol", "ascending"), ("timestamp", "ascending")])
    )
    now = pc.coalesce(bars["known_at"], bars["bar_close"])
    panel = read_panel(bars.append_column("close_timestamp", now))
    results = {name: np.empty(len(bars)) for name in WINDOWS}
    for rows, block, cells in panel.blocks():
        split = np.cumprod(block.split_ratio, axis=0)
        open_, close = block.open * split, block.close * split
        for name, days in WINDOWS.items():
            matrix = performance(open_, close, block.opened, block.closed, days)
            results[name][rows] = matrix.reshape(-1)[cells]
    table = bars.select(["symbol", "bar_close"])
    for name, values in results.items():
        table = table.append_column(name, pa.array(values, mask=~np.isfinite(values)))
    return table.filter(pc.is_valid(bars["known_at"]))
