"""``backfill`` of generated bars against the floor of its I/O: ``make bench-local``.

Side by side in one run, each in a process of its own: ours, from the bars' partitions to the
features' partitions; and the floor, which reads the same bars and writes the same rows with the
same writer, without arithmetic.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from feature_repo.catalog import LOCAL_1D, OHLCV_1D
from ingestion.lakehouse import append_part, arrow_schema, list_parts, read_part

SEED = 20260116
FIRST_OPEN = 1_400_000_000 // 86_400 * 86_400 + 52_200
SESSION = 23_400

_FLOOR = """
import sys
from pathlib import Path
from benchmarks.local import floor
floor(Path(sys.argv[1]), Path(sys.argv[2]))
"""


class Cost(NamedTuple):
    """What a process took."""

    wall: float
    cpu: float
    peak_mb: float

    def __str__(self) -> str:
        return f"{self.wall:7.1f} s wall {self.cpu:7.1f} s CPU {self.peak_mb:6.0f} MB"


def generate(lakehouse: Path, symbols: int, days: int) -> None:
    """Write random walks of that many symbols, a partition a day."""
    rng = np.random.default_rng(SEED)
    schema = arrow_schema(OHLCV_1D)
    names = pa.array(sorted(f"BENCH:S{number:06}" for number in range(symbols)))
    close = np.full(symbols, 100.0)
    for day in range(days):
        opening = close * np.exp(rng.normal(0, 0.005, symbols))
        close = close * np.exp(rng.normal(0, 0.02, symbols))
        opened = FIRST_OPEN + day * 86_400
        closed = pa.repeat((opened + SESSION) * 1_000_000, symbols)
        columns = {
            "timestamp": pa.repeat(opened, symbols),
            "symbol": names,
            "open": pa.array(opening),
            "high": pa.array(np.maximum(opening, close) * 1.004),
            "low": pa.array(np.minimum(opening, close) * 0.996),
            "close": pa.array(close),
            "volume": pa.array(rng.integers(1, 10**6, symbols).astype(float)),
            "split_ratio": pa.repeat(1.0, symbols),
            "event_timestamp": closed,
            "created_timestamp": closed,
            "source": pa.repeat("benchmark", symbols),
        }
        table = pa.table([columns[f.name].cast(f.type) for f in schema], schema=schema)
        append_part(lakehouse, OHLCV_1D, table, "generate")


def floor(lakehouse: Path, out: Path) -> None:
    """Read all bars, and write all features that lie there already once more."""
    for part in list_parts(lakehouse, OHLCV_1D):
        read_part(part.path)
    for part in list_parts(lakehouse, LOCAL_1D):
        append_part(out, LOCAL_1D, read_part(part.path), "floor")


def _measure(*arguments: str, lakehouse: Path) -> Cost:
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "TVFEAST_LAKEHOUSE": str(lakehouse)},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments[:4])} failed")
    return Cost(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--symbols", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=2_520)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        lakehouse = Path(temporary) / "lakehouse"
        generate(lakehouse, arguments.symbols, arguments.days)
        span = ("--from", "2000-01-01", "--to", "2100-01-01")
        ours = _measure("-m", "ingestion.cli", "backfill", *span, lakehouse=lakehouse)
        again = _measure("-m", "ingestion.cli", "backfill", *span, lakehouse=lakehouse)
        out = str(Path(temporary) / "floor")
        least = _measure("-c", _FLOOR, str(lakehouse), out, lakehouse=lakehouse)
    print(f"{arguments.symbols:,} symbols × {arguments.days:,} days, 17 features")
    print(f"floor: read bars, write features  {least}")
    print(
        f"backfill                          {ours} = {ours.wall / least.wall:.2f} × wall, "
        f"{ours.cpu / least.cpu:.2f} × CPU (goal ≤ 2, ≤ 1,500 MB)"
    )
    print(f"the same again, nothing to write  {again}")


if __name__ == "__main__":
    main()
