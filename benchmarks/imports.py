"""``import-bars`` against the floor of its I/O: ``make bench-import``.

Side by side in one run, each in a process of its own:

- ours, the command, from vendors' files to partitions;
- the floor: a process that reads the same file with Arrow and writes the same parts with the same
  writer, without a look at any row (it has the parts from what ours wrote; reading them is taken
  off);
- many small files: all in one call, and in several calls.

The bars are random walks: one long CSV, one long Parquet file, and a CSV for each symbol.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from benchmarks.local import Cost, apart, measure
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import LocalDisk, append_parts, list_parts, read_part
from ingestion.markets.sessions import session_bounds

_IMPORT = ("-m", "ingestion.cli", "import-bars", "--exchange", "NASDAQ", "--json")
_FLOOR = """
import sys
from pathlib import Path
from benchmarks.imports import floor
floor(*map(Path, sys.argv[1:]))
"""
_SYMBOLS_AT_ONCE = 100
_PARTS_AT_ONCE = 64


def generate(folder: Path, symbols: int, days: int, files: int) -> None:
    """Write random walks: ``long.csv``, ``long.parquet``, and a CSV for each of some symbols."""
    sessions: list[date] = []
    day = date(2025, 12, 31)
    while len(sessions) < days:
        if session_bounds("NASDAQ", day):
            sessions.append(day)
        day -= timedelta(days=1)
    dates = pa.array(sessions[::-1])
    random = np.random.default_rng(1)
    small = folder / "small"
    small.mkdir(parents=True)
    schema = pa.schema(
        [("symbol", pa.string()), ("date", pa.date32())]
        + [(name, pa.float64()) for name in ("open", "high", "low", "close", "volume")]
    )
    with (
        pq.ParquetWriter(folder / "long.parquet", schema) as parquet,
        pacsv.CSVWriter(folder / "long.csv", schema) as csv,
    ):
        for first in range(0, symbols, _SYMBOLS_AT_ONCE):
            several = [
                _walk(f"S{n:05}", dates, random, schema)
                for n in range(first, min(first + _SYMBOLS_AT_ONCE, symbols))
            ]
            for n, rows in enumerate(several, start=first):
                if n < files:
                    pacsv.write_csv(rows.drop_columns(["symbol"]), small / f"S{n:05}.csv")
            parquet.write_table(pa.concat_tables(several).combine_chunks())
            csv.write_table(pa.concat_tables(several))


def _walk(name: str, dates: pa.Array, random: np.random.Generator, schema: pa.Schema) -> pa.Table:
    size = len(dates)
    close = np.round(50 * np.exp(np.cumsum(random.normal(0, 0.02, size))), 4)
    opened = np.round(close * np.exp(random.normal(0, 0.01, size)), 4)
    high, low = np.maximum(opened, close) * 1.01, np.minimum(opened, close) * 0.99
    volume = random.integers(1_000, 10_000_000, size).astype(float)
    columns = [pa.repeat(name, size), dates, *map(pa.array, (opened, high, low, close, volume))]
    return pa.table(columns, schema)


def floor(file: Path, lakehouse: Path, out: Path) -> None:
    """Read a file and write the parts that lie in a lakehouse; prints what is not its own."""
    batches = (
        pacsv.open_csv(file)
        if file.suffix == ".csv"
        else pq.ParquetFile(file).iter_batches(1 << 18)
    )
    for _ in batches:
        pass
    wall = cpu = 0.0
    parts = list_parts(LocalDisk(lakehouse), OHLCV_1D)
    for first in range(0, len(parts), _PARTS_AT_ONCE):
        began = time.perf_counter(), time.process_time()
        tables = [read_part(part, OHLCV_1D) for part in parts[first : first + _PARTS_AT_ONCE]]
        wall += time.perf_counter() - began[0]
        cpu += time.process_time() - began[1]
        append_parts(LocalDisk(out), OHLCV_1D, tables, "floor")
    print(json.dumps({"wall": wall, "cpu": cpu}))


def _one_file(file: Path, lakehouse: Path) -> None:
    ours, told = measure(*_IMPORT, str(file), lakehouse=lakehouse)
    out = lakehouse.with_name("floor")
    whole, extra = measure("-c", _FLOOR, *map(str, (file, lakehouse, out)), lakehouse=lakehouse)
    least = Cost(whole.wall - extra["wall"], whole.cpu - extra["cpu"], whole.peak_mb)
    print(f"{file.name}: {told['read']:,.0f} rows")
    print(f"  floor: read it, write the parts  {least}")
    print(f"  import-bars                      {ours} = {ours.against(least)} (goal ≤ 1,024 MB)")
    for folder in (lakehouse, out):
        shutil.rmtree(folder)


def _small_files(files: list[Path], calls: int, lakehouse: Path) -> None:
    at_once, _ = measure(*_IMPORT, *map(str, files), lakehouse=lakehouse)
    shutil.rmtree(lakehouse)
    costs = [
        measure(*_IMPORT, *map(str, files[number::calls]), lakehouse=lakehouse)[0]
        for number in range(calls)
    ]
    shutil.rmtree(lakehouse)
    several = Cost(
        sum(cost.wall for cost in costs),
        sum(cost.cpu for cost in costs),
        max(cost.peak_mb for cost in costs),
    )
    print(f"{len(files):,} small files")
    print(f"  one call                         {at_once}")
    print(f"  {calls:3} calls                        {several} = {several.against(at_once)}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--symbols", type=int, default=4_000)
    parser.add_argument("--days", type=int, default=2_520, help="days of each symbol")
    parser.add_argument("--files", type=int, default=500, help="symbols in a file of their own")
    parser.add_argument("--calls", type=int, default=20, help="calls for the small files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, lakehouse = Path(temporary) / "files", Path(temporary) / "lakehouse"
        apart(generate, folder, arguments.symbols, arguments.days, arguments.files)
        for name in ("long.parquet", "long.csv"):
            _one_file(folder / name, lakehouse)
        _small_files(sorted((folder / "small").iterdir()), arguments.calls, lakehouse)


if __name__ == "__main__":
    main()
