"""A day's features beside a full recompute and the floor: ``make bench-daily``.

For each length of history, in processes of their own, on the same random walks:

- ``local-features`` with one new day of all symbols;
- the same day computed from all bars, as ``backfill`` does it;
- the floor: a process that reads the new bars and writes the new rows, with the same writer;
- ``local-features`` after one bar of one symbol was restated, two years before the end or halfway.

What importing the same modules takes is measured first, and taken off.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.bars import generate
from benchmarks.local import GROUP, Cost, apart, measure
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import LocalDisk, append_part, list_parts, read_part
from ingestion.runs.run import new_run_id

_LOCAL = ("-m", "ingestion.cli", "local-features", "--json")
_ALL = ("-m", "ingestion.cli", "backfill", "--from", "1990-01-01", "--to", "2100-01-01", "--json")
_IMPORTS = """
import ingestion.jobs.compute.local_features
from ingestion.project import Project
project = Project.from_environment()
project.catalog, project.formulas
print("{}")
"""
_JUDGING = f"import great_expectations{_IMPORTS}"
"""Great Expectations judges the day that will be served; old rows have no need of it."""
_FLOOR = """
import sys
from pathlib import Path
from benchmarks.daily import floor
floor(Path(sys.argv[1]), Path(sys.argv[2]))
"""
_RESTATED = timedelta(days=730)


def floor(lakehouse: Path, out: Path) -> None:
    """Read the newest bars, and write their rows once more; prints what is not its own."""
    read_part(list_parts(LocalDisk(lakehouse), OHLCV_1D)[-1], OHLCV_1D)
    began = time.perf_counter(), time.process_time()
    rows = read_part(list_parts(LocalDisk(lakehouse), GROUP)[-1], GROUP)
    extra = {"wall": time.perf_counter() - began[0], "cpu": time.process_time() - began[1]}
    append_part(LocalDisk(out), GROUP, rows, "floor")
    print(json.dumps(extra))


def restate(lakehouse: Path) -> None:
    """Write another version of one bar, two years before the end or halfway."""
    place = LocalDisk(lakehouse)
    parts = list_parts(place, OHLCV_1D)
    wanted = max(parts[-1].date - _RESTATED, parts[len(parts) // 2].date)
    part = next(each for each in parts if each.date >= wanted)
    row = read_part(part, OHLCV_1D).slice(0, 1)
    for name, more in (("high", 1.0), ("close", 0.5), ("created_timestamp", _RESTATED)):
        at = row.column_names.index(name)
        row = row.set_column(at, row.schema.field(at), pc.add(row[name], pa.scalar(more)))
    append_part(place, OHLCV_1D, row, new_run_id())


def _run(what: str, imports: Cost, *arguments: str, lakehouse: Path) -> Cost:
    cost, told = measure(*arguments, lakehouse=lakehouse)
    own = Cost(cost.wall - imports.wall, cost.cpu - imports.cpu, cost.peak_mb)
    written = f", {told['rows_written']:,} rows written" if "rows_written" in told else ""
    print(f"  {what:<42} {own}{written}", flush=True)
    return own


def _measure(lakehouse: Path, symbols: int, days: int) -> Cost:
    """Measure one length of history; returns what the new day took."""
    print(f"{symbols:,} symbols × {days:,} days; CPU and wall beyond the imports")
    apart(generate, lakehouse, symbols, days + 1)
    place = LocalDisk(lakehouse)
    newest = list_parts(place, OHLCV_1D)[-1]
    aside = lakehouse.with_name("aside")
    shutil.move(newest.path.parent, aside)
    os.environ["TVFEAST_NOW"] = f"{newest.date}T21:30:00+00:00"
    measure(*_ALL, lakehouse=lakehouse)
    shutil.move(aside, newest.path.parent)
    judging, _ = measure("-c", _JUDGING, lakehouse=lakehouse)
    imports, _ = measure("-c", _IMPORTS, lakehouse=lakehouse)
    print(f"  {'imports, with Great Expectations':<42} {judging}")
    print(f"  {'imports, without it':<42} {imports}")
    new = _run("local-features, one new day", judging, *_LOCAL, lakehouse=lakehouse)
    out = lakehouse.with_name("floor")
    whole, extra = measure("-c", _FLOOR, str(lakehouse), str(out), lakehouse=lakehouse)
    base = Cost(whole.wall - extra["wall"], whole.cpu - extra["cpu"], whole.peak_mb)
    print(f"  {'floor: read the bars, write the rows':<42} {base} with its imports")
    restate(lakehouse)
    _run("local-features, one bar restated", imports, *_LOCAL, lakehouse=lakehouse)
    shutil.rmtree(lakehouse / GROUP.storage / newest.path.parent.name)
    day = str(newest.date)
    everything = ("-m", "ingestion.cli", "backfill", "--from", day, "--to", day, "--json")
    full = _run("the new day from all bars", judging, *everything, lakehouse=lakehouse)
    print(f"  from all bars: {full.against(new)} of going on")
    return new


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--symbols", type=int, default=10_000)
    parser.add_argument("--days", type=int, nargs="+", default=[252, 2_520])
    arguments = parser.parse_args()
    costs = []
    for days in arguments.days:
        with tempfile.TemporaryDirectory() as temporary:
            lakehouse = Path(temporary) / "lakehouse"
            costs.append(_measure(lakehouse, arguments.symbols, days))
    print(f"one new day, longest against shortest history: {costs[-1].against(costs[0])}")


if __name__ == "__main__":
    main()
