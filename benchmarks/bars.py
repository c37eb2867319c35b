"""Bars to measure with, written as partitions of ``ohlcv_1d``: real ones, or random walks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import (
    LocalDisk,
    Part,
    append_part,
    arrow_schema,
    list_parts,
    read_part,
)
from ingestion.markets.sessions import Session, sessions_between

SEED = 20260116
EXCHANGE, LAST = "NASDAQ", date(2021, 4, 19)
OPENS, SESSION = 52_200, 23_400
"""Of a real bar: its open after midnight UTC, and its length; s."""

_PRICES = ("open", "high", "low", "close")


def symbol_names(count: int) -> list[str]:
    """Return the names of that many symbols, as :meth:`ingestion.replay.Panel.with_aliases`."""
    return [f"{EXCHANGE}:S{number:06}" for number in range(count)]


def sessions(count: int) -> list[Session]:
    """Return that many sessions of the exchange, the last one on :data:`LAST`."""
    found = sessions_between(EXCHANGE, LAST - timedelta(days=2 * count + 30), LAST)
    return found[len(found) - count :]


def generate(lakehouse: Path, symbols: int, days: int, ahead: int = 0) -> None:
    """Write random walks of that many symbols, a partition a day.

    The bars of ``ahead`` further sessions are put aside, for :func:`bars_ahead`.
    """
    rng = np.random.default_rng(SEED)
    names = pa.array(symbol_names(symbols))
    close = np.full(symbols, 100.0)
    for number, session in enumerate(sessions(days + ahead)):
        opening = close * np.exp(rng.normal(0, 0.005, symbols))
        close = close * np.exp(rng.normal(0, 0.02, symbols))
        prices = {
            "open": opening,
            "high": np.maximum(opening, close) * 1.004,
            "low": np.minimum(opening, close) * 0.996,
            "close": close,
            "volume": rng.integers(1, 10**6, symbols).astype(float),
            "split_ratio": np.ones(symbols),
        }
        root = lakehouse if number < days else _aside(lakehouse)
        _append(root, session.opens, session.closes, names, prices)


def bars_ahead(lakehouse: Path) -> list[Part]:
    """Return the bars that were put aside, one part per session."""
    return list_parts(LocalDisk(_aside(lakehouse)), OHLCV_1D)


def _aside(lakehouse: Path) -> Path:
    return lakehouse.with_name(f"{lakehouse.name}-ahead")


def cut(lakehouse: Path, file: Path, symbols: int, days: int) -> None:
    """Write the last ``days`` bars of the ``symbols`` with the longest history in a file.

    The file is sorted by ``symbol`` and ``date`` and holds prices as traded, ``volume`` and
    ``split_coefficient``.
    """
    columns = ["symbol", "date", *_PRICES, "volume", "split_coefficient"]
    bars = pq.read_table(file, columns=columns)
    encoded = bars["symbol"].combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy()
    lengths = np.bincount(codes)
    behind = np.cumsum(lengths)[codes] - np.arange(len(codes))
    longest = np.argsort(-lengths, kind="stable")[:symbols]
    bars = bars.filter(pa.array((behind <= days) & np.isin(codes, longest))).sort_by("date")
    dates = bars["date"].cast(pa.int32()).to_numpy().astype(np.int64)
    starts = np.flatnonzero(np.diff(dates, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(dates)], strict=True):
        day = bars.slice(start, end - start)
        values = {name: day[name].to_numpy().astype(float) for name in (*_PRICES, "volume")}
        values["split_ratio"] = day["split_coefficient"].to_numpy()
        names = pc.binary_join_element_wise("BENCH", day["symbol"].cast(pa.string()), ":")
        opened = int(dates[start]) * 86_400 + OPENS
        _append(lakehouse, opened, opened + SESSION, names, values)


def write_panel(lakehouse: Path, file: Path) -> None:
    """Write all bars to a file, as :func:`ingestion.formulas.compute_local_features` takes them."""
    parts = [read_part(part, OHLCV_1D) for part in list_parts(LocalDisk(lakehouse), OHLCV_1D)]
    bars = pa.concat_tables(parts).sort_by([("symbol", "ascending"), ("timestamp", "ascending")])
    names = ["timestamp", "symbol", *_PRICES, "volume", "split_ratio"]
    closes = pc.divide(bars["event_timestamp"].cast(pa.int64()), 1_000_000)
    pq.write_table(bars.select(names).append_column("close_timestamp", closes), file)


def _append(
    lakehouse: Path, opened: int, closes: int, names: Any, values: Mapping[str, Any]
) -> None:
    closed = pa.repeat(closes * 1_000_000, len(names))
    columns = {
        **{name: pa.array(cells) for name, cells in values.items()},
        "timestamp": pa.repeat(opened, len(names)),
        "symbol": names,
        "event_timestamp": closed,
        "created_timestamp": closed,
        "source": pa.repeat("benchmark", len(names)),
    }
    schema = arrow_schema(OHLCV_1D)
    table = pa.table([columns[f.name].cast(f.type) for f in schema], schema=schema)
    append_part(LocalDisk(lakehouse), OHLCV_1D, table, "benchmark")
