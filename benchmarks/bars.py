"""Bars to measure with, written as partitions of ``ohlcv_1d``: real ones, or random walks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import LocalDisk, append_part, arrow_schema, list_parts, read_part

SEED = 20260116
FIRST_OPEN = 1_400_000_000 // 86_400 * 86_400 + 52_200
SESSION = 23_400

_PRICES = ("open", "high", "low", "close")


def generate(lakehouse: Path, symbols: int, days: int) -> None:
    """Write random walks of that many symbols, a partition a day."""
    rng = np.random.default_rng(SEED)
    names = pa.array(sorted(f"BENCH:S{number:06}" for number in range(symbols)))
    close = np.full(symbols, 100.0)
    for day in range(days):
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
        _append(lakehouse, FIRST_OPEN + day * 86_400, names, prices)


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
        _append(lakehouse, int(dates[start]) * 86_400 + FIRST_OPEN % 86_400, names, values)


def write_panel(lakehouse: Path, file: Path) -> None:
    """Write all bars to a file, as :func:`ingestion.formulas.compute_local_features` takes them."""
    parts = [read_part(part, OHLCV_1D) for part in list_parts(LocalDisk(lakehouse), OHLCV_1D)]
    bars = pa.concat_tables(parts).sort_by([("symbol", "ascending"), ("timestamp", "ascending")])
    names = ["timestamp", "symbol", *_PRICES, "volume", "split_ratio"]
    closes = pc.add(bars["timestamp"], SESSION)
    pq.write_table(bars.select(names).append_column("close_timestamp", closes), file)


def _append(lakehouse: Path, opened: int, names: Any, values: Mapping[str, Any]) -> None:
    closed = pa.repeat((opened + SESSION) * 1_000_000, len(names))
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
