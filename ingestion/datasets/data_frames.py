"""Rows of a data set as other tools take them: dates × symbols, and the frames of alphalens.

Rows come in as a table of Arrow's, or as whatever gives itself as one (a Polars frame does).
Frames of pandas go out; those of Polars are made from a table: ``polars.from_arrow(table)``. A date
is the UTC date of the decision, at midnight UTC, so that all markets of a day are in one row. The
value was known at the decision, later that day.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.columns import INSTANT
from ingestion.base.errors import InputError
from ingestion.datasets.series import read_series

if TYPE_CHECKING:
    import pandas as pd

_DATE = pa.timestamp("ns", "UTC")  # alphalens compares dates as nanoseconds
_RETURN = re.compile(r"fwd_return_(\d+)d")


def long_table(rows: Any) -> pa.Table:
    """Return rows with ``date``, ``symbol``, and the other columns but ``event_timestamp``.

    Raises
    ------
    InputError
        If the rows are no table, lack a key, or have a symbol twice on a date.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> at = pa.array([datetime(2026, 1, 5, 21, tzinfo=UTC)] * 2, INSTANT)
    >>> rows = pa.table({"symbol": ["B", "A"], "event_timestamp": at, "RSI": [50.0, 60.0]})
    >>> long_table(rows).select(["symbol", "RSI"]).to_pylist()
    [{'symbol': 'A', 'RSI': 60.0}, {'symbol': 'B', 'RSI': 50.0}]
    """
    table = _table(rows)
    dates = pc.floor_temporal(table["event_timestamp"].cast(INSTANT), unit="day").cast(_DATE)
    keys = {"date": dates, "symbol": table["symbol"].cast(pa.string())}
    others = [name for name in table.column_names if name not in ("symbol", "event_timestamp")]
    long = pa.table(keys | {name: table[name] for name in others})
    long = long.sort_by([("date", "ascending"), ("symbol", "ascending")])
    days, symbols = long["date"].combine_chunks(), long["symbol"].combine_chunks()
    twice = pc.and_(pc.equal(days[1:], days[:-1]), pc.equal(symbols[1:], symbols[:-1]))
    if (place := pc.index(twice, True).as_py()) >= 0:
        raise InputError(
            f"{symbols[place]} is there twice on {days[place].as_py():%Y-%m-%d} UTC: a frame by "
            "date has one decision a day of each symbol"
        )
    return long


def long_frame(rows: Any) -> pd.DataFrame:
    """Return a frame of pandas, indexed by ``date`` and ``symbol``; errors of :func:`long_table`.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> at = pa.array([datetime(2026, 1, 5, 21, tzinfo=UTC)], INSTANT)
    >>> frame = long_frame(pa.table({"symbol": ["A"], "event_timestamp": at, "RSI": [60.0]}))
    >>> frame.index.names, frame["RSI"].tolist()
    (FrozenList(['date', 'symbol']), [60.0])
    """
    frame: pd.DataFrame = long_table(rows).to_pandas().set_index(["date", "symbol"])
    return frame


def wide_table(rows: Any, column: str) -> pa.Table:
    """Return one row per date: ``date``, and one column per symbol, in the order of names.

    Where a symbol has no row, or no value, there is null.

    Raises
    ------
    InputError
        As of :func:`long_table`; if there is no such column, or it has no numbers.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> at = pa.array([datetime(2026, 1, day, 21, tzinfo=UTC) for day in (5, 5, 6)], INSTANT)
    >>> rows = pa.table({"symbol": ["A", "B", "A"], "event_timestamp": at, "RSI": [50.0, 60, 55]})
    >>> wide_table(rows, "RSI").drop_columns("date").to_pylist()
    [{'A': 50.0, 'B': 60.0}, {'A': 55.0, 'B': None}]
    """
    long = _only(rows, column)
    dates, symbols = (long[name].combine_chunks() for name in ("date", "symbol"))
    days = pc.unique(dates)
    names = pc.unique(symbols).sort()
    values = np.full((len(names), len(days)), np.nan)
    places = (pc.index_in(each, value_set=of) for each, of in ((symbols, names), (dates, days)))
    values[tuple(each.to_numpy() for each in places)] = long[column].cast(pa.float64()).to_numpy()
    cells = {
        name: pa.array(of, from_pandas=True)
        for name, of in zip(names.to_pylist(), values, strict=True)
    }
    return pa.table({"date": days} | cells)


def wide_frame(rows: Any, column: str) -> pd.DataFrame:
    """Return dates × symbols as a frame of pandas, as vectorbt and most backtesters take it.

    Errors as of :func:`wide_table`.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> at = pa.array([datetime(2026, 1, day, 21, tzinfo=UTC) for day in (5, 6)], INSTANT)
    >>> rows = pa.table({"symbol": ["A", "A"], "event_timestamp": at, "RSI": [50.0, 55.0]})
    >>> wide_frame(rows, "RSI")["A"].tolist()
    [50.0, 55.0]
    """
    frame: pd.DataFrame = wide_table(rows, column).to_pandas().set_index("date")
    frame.columns.name = "symbol"
    return frame


def adjusted_prices(bars: pa.Table, column: str = "close") -> pa.Table:
    """Return prices in the money of each symbol's newest bar: splits are no returns.

    Dividends are not adjusted. Returns of these prices are those of bars as traded; the prices
    themselves change whenever a split comes, so they are no features.

    Parameters
    ----------
    bars
        As of :func:`~ingestion.datasets.forward_returns`.
    column
        ``"open"`` or ``"close"``.

    Returns
    -------
    pa.Table
        ``symbol``, ``event_timestamp`` (the bar's close) and ``price``: rows for
        :func:`wide_frame`.

    Raises
    ------
    InputError
        If the bars are not as described, or there is no such price.

    Examples
    --------
    >>> from datetime import UTC, datetime, timedelta
    >>> opens = [datetime(2026, 1, day, 14, 30, tzinfo=UTC) for day in (5, 6)]
    >>> bars = pa.table({
    ...     "timestamp": [int(each.timestamp()) for each in opens], "symbol": ["NYSE:A"] * 2,
    ...     "open": [99.0, 50.0], "close": [100.0, 51.0], "split_ratio": [1.0, 2.0],
    ...     "event_timestamp": pa.array([each + timedelta(hours=6.5) for each in opens], INSTANT),
    ... })
    >>> adjusted_prices(bars)["price"].to_pylist()
    [50.0, 51.0]
    """
    if column not in ("open", "close"):
        raise InputError(f'no price "{column}": open or close')
    series = read_series(bars)
    prices = np.array(getattr(series, column))
    for split in np.flatnonzero(series.split_ratio != 1):  # few bars are an ex-date
        begin = np.searchsorted(series.codes, series.codes[split])
        prices[begin:split] /= series.split_ratio[split]
    return pa.table(
        {
            "symbol": series.symbols(np.arange(len(series))),
            "event_timestamp": pa.array(series.closed).cast(INSTANT),
            "price": prices,
        }
    )


def alphalens_factor(rows: Any, column: str) -> pd.Series[Any]:
    """Return a feature as alphalens takes a factor: indexed by ``date`` and ``asset``.

    Give it with prices, ``wide_frame(adjusted_prices(bars), "price")``, to
    ``alphalens.utils.get_clean_factor_and_forward_returns``; or with :func:`alphalens_returns` to
    ``get_clean_factor``, for the labels of the set itself. Rows without a value are left out.

    Raises
    ------
    InputError
        As of :func:`wide_table`.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> at = pa.array([datetime(2026, 1, 5, 21, tzinfo=UTC)] * 2, INSTANT)
    >>> rows = pa.table({"symbol": ["A", "B"], "event_timestamp": at, "RSI": [50.0, None]})
    >>> alphalens_factor(rows, "RSI").tolist()
    [50.0]
    """
    frame = _only(rows, column).rename_columns(["date", "asset", "factor"]).to_pandas()
    series: pd.Series[Any] = frame.set_index(["date", "asset"])["factor"].astype(float).dropna()
    return series


def alphalens_returns(rows: Any) -> pd.DataFrame:
    """Return the labels ``fwd_return_<n>d`` as alphalens takes forward returns: ``5D``, by asset.

    Raises
    ------
    InputError
        As of :func:`long_table`; if there is no such label.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> at = pa.array([datetime(2026, 1, 5, 21, tzinfo=UTC)], INSTANT)
    >>> rows = pa.table({"symbol": ["A"], "event_timestamp": at, "fwd_return_5d": [0.02]})
    >>> list(alphalens_returns(rows).columns)
    ['5D']
    """
    long = long_table(rows)
    found = {each: match[1] for each in long.column_names if (match := _RETURN.fullmatch(each))}
    if not found:
        raise InputError(
            f"no column is called fwd_return_<n>d; there are {', '.join(long.column_names)}"
        )
    frame = long.select(["date", "symbol", *found]).to_pandas()
    names = {"symbol": "asset"} | {name: f"{sessions}D" for name, sessions in found.items()}
    returns: pd.DataFrame = frame.rename(columns=names).set_index(["date", "asset"])
    return returns


def _only(rows: Any, column: str) -> pa.Table:
    """Return the long table of one column of numbers."""
    table = _table(rows)
    if column not in table.column_names or column in ("symbol", "event_timestamp"):
        raise InputError(f"no column {column}; there are {', '.join(table.column_names)}")
    kind = table.schema.field(column).type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or kind == pa.bool_()):
        raise InputError(f"column {column} has no numbers, but {kind}")
    return long_table(table.select(["symbol", "event_timestamp", column]))


def _table(rows: Any) -> pa.Table:
    """Return rows as a table of Arrow's; Polars and others give themselves as a stream."""
    if not isinstance(rows, pa.Table):
        if not hasattr(rows, "__arrow_c_stream__"):
            raise InputError(f"no table of rows, but {type(rows).__name__}")
        rows = pa.table(rows)
    if missing := [name for name in ("symbol", "event_timestamp") if name not in rows.column_names]:
        raise InputError(f"no column {missing[0]}; there are {', '.join(rows.column_names)}")
    return rows
