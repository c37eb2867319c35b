"""Recomputed values that follow the clock, at the instant of a snapshot."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.formulas import BarFormula, compute
from ingestion.jobs.compute.pairs import KEYS, RECOMPUTED
from ingestion.jobs.serve.targets import read_formula_bars
from ingestion.lakehouse import Lakehouse, utc_date

_REACH = timedelta(days=90)
"""How much longer than the longest window by the clock the bars are searched for its reference.

A symbol without a bar in between is taken for one that began after.
"""


def at_the_snapshot(
    lakehouse: Lakehouse, pairs: pa.Table, formulas: tuple[BarFormula, ...]
) -> pa.Table:
    """Replace values that follow the clock, at the bar's close, by those at the snapshot."""
    first, last = (utc_date(pc.min_max(pairs["known_at"])[end].as_py()) for end in ("min", "max"))
    first -= max(each.look_back for each in formulas if isinstance(each.look_back, timedelta))
    first -= _REACH
    symbols = pairs["symbol"].unique().to_pylist()
    bars = read_formula_bars(lakehouse, first, last, symbols)
    moved = recomputed_at(bars, pairs.select([*KEYS, "known_at"]), formulas)
    pairs = pairs.drop_columns([each.name + RECOMPUTED for each in formulas])
    pairs = pairs.join(moved, KEYS, join_type="left outer", right_suffix=RECOMPUTED)
    return pairs.sort_by([(key, "ascending") for key in KEYS])


def recomputed_at(bars: pa.Table, asked: pa.Table, formulas: tuple[BarFormula, ...]) -> pa.Table:
    """Recompute formulas that follow the clock, for some bars, with another instant for "now".

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
        ``symbol``, ``bar_close`` and the formulas' values, for those of the asked bars that are
        there.
    """
    closes = pc.divide(bars["event_timestamp"].cast(pa.int64()), 1_000_000)
    bars = (
        bars.append_column("bar_close", closes)
        .join(asked, ["symbol", "bar_close"], join_type="left outer")
        .sort_by([("symbol", "ascending"), ("timestamp", "ascending")])
    )
    now = pc.coalesce(bars["known_at"], bars["bar_close"])
    values = compute(bars.append_column("close_timestamp", now), formulas)
    table = values.set_column(0, "bar_close", bars["bar_close"])
    return table.filter(pc.is_valid(bars["known_at"]))
