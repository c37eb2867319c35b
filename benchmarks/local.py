"""``backfill`` against its floor, and the formulas beside others: ``make bench-local``.

Side by side in one run, each in a process of its own:

- ours, the command, from the bars' partitions to the features' partitions;
- the floor, which nothing that reads and writes these partitions can avoid. Its first half reads
  the columns of the bars that formulas need, and writes the same rows with the same writer, a month
  at once (it has the rows from what ours wrote; reading them is taken off). Its second half
  computes the formulas, in their NumPy form, on as many bars, which lie in memory by symbol;
- the formulas alone, from the same arrays: ours and those of :mod:`benchmarks.local_peers`.

Both take their memory as ours does. What is neither: bringing rows from dates to symbols and back
on disk, because they do not fit in memory, the checks of the gate, the caches for the next days,
and the receipt.

First on real bars, cut from a file that is not part of the project, then on many random walks, with
a year of history and with ten.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.bars import cut, generate, write_panel
from benchmarks.local_peers import COLUMNS, ENGINES
from ingestion.base.memory import memory_of_the_system
from ingestion.catalog import OHLCV_1D
from ingestion.formulas.evaluation import evaluate
from ingestion.formulas.panel import read_panel
from ingestion.jobs.compute.definitions import computed_formulas
from ingestion.jobs.compute.transpose import BAR_COLUMNS
from ingestion.lakehouse import LocalDisk, append_parts, list_parts, read_metadata, read_part
from ingestion.lakehouse.caches import CACHES
from ingestion.project import Project

PROJECT = Path(__file__).resolve().parent.parent
(GROUP,) = Project.from_environment().catalog.computed
BARS = PROJECT.parent / "shared" / "data" / "ohlcv" / "sp500_alphavantage_1999_2021.parquet"
REAL = (500, 1_260)
"""Symbols and days of the real panel."""

_SPAN = ("--from", "1990-01-01", "--to", "2100-01-01")
_BACKFILL = ("-m", "ingestion.cli", "backfill", *_SPAN, "--json")
_HALF = """
import sys
from pathlib import Path
from benchmarks import local
getattr(local, sys.argv[1])(*map(Path, sys.argv[2:]))
"""
_IN_MEMORY = 750_000
"""Bars that are in memory at a time."""


class Cost(NamedTuple):
    """What a process took."""

    wall: float
    cpu: float
    peak_mb: float

    def __str__(self) -> str:
        return f"{self.wall:7.2f} s wall {self.cpu:7.2f} s CPU {self.peak_mb:6.0f} MB"

    def against(self, other: Cost) -> str:
        """Return how many times another's it is."""
        return f"{self.wall / other.wall:.2f} × wall, {self.cpu / other.cpu:.2f} × CPU"


@memory_of_the_system()
def reading_and_writing(lakehouse: Path, out: Path) -> None:
    """Read all bars and write all features that lie there once more; prints what is not its own."""
    for part in list_parts(LocalDisk(lakehouse), OHLCV_1D):
        read_part(part, OHLCV_1D, BAR_COLUMNS)
    wall = cpu = 0.0
    parts = list_parts(LocalDisk(lakehouse), GROUP)
    for _, month in groupby(parts, lambda part: (part.date.year, part.date.month)):
        began = time.perf_counter(), time.process_time()
        several = [read_part(part, GROUP) for part in month]
        wall += time.perf_counter() - began[0]
        cpu += time.process_time() - began[1]
        append_parts(LocalDisk(out), GROUP, several, "floor")
    print(json.dumps({"wall": wall, "cpu": cpu}))


@memory_of_the_system()
def arithmetic(lakehouse: Path) -> None:
    """Compute the formulas on as many bars as there are; prints what that takes.

    The bars of some symbols are in memory, and are computed as often as needed.
    """
    parts = list_parts(LocalDisk(lakehouse), OHLCV_1D)
    total = sum(read_metadata(part).num_rows for part in parts)
    names = pc.unique(read_part(parts[-1], OHLCV_1D, ["symbol"])["symbol"])
    names = names.take(pa.array(range(0, len(names), -(-total // _IN_MEMORY))))
    several = []
    for part in parts:
        rows = read_part(part, OHLCV_1D, BAR_COLUMNS)
        several.append(rows.filter(pc.is_in(rows["symbol"], value_set=names)))
    panel = read_panel(pa.concat_tables(several))
    formulas = computed_formulas(Project.from_environment())
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(round(total / panel.size)):
        for block in panel.blocks():
            for _ in evaluate(block.bars, formulas):
                pass
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": wall, "cpu": cpu, "peak_mb": peak}))


def apart(prepare: Callable[..., None], *arguments: Any) -> None:
    """Prepare in a process of its own: a child's peak is never below its parent's size."""
    process = multiprocessing.get_context("spawn").Process(target=prepare, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{prepare.__name__} failed")


def measure(*arguments: str, lakehouse: Path) -> tuple[Cost, dict[str, Any]]:
    """Run a process; returns its cost and what it printed.

    Python keeps what it has compiled, as it does unless a shell says otherwise: else each start
    would compile the project anew.
    """
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, *arguments],
        env={**kept, "TVFEAST_LAKEHOUSE": str(lakehouse)},
        cwd=PROJECT,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments[:4])} failed")
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(time.monotonic() - began, cpu, usage.ru_maxrss / 1024), json.loads(printed)


def _half(name: str, lakehouse: Path, *folders: Path) -> tuple[Cost, dict[str, Any]]:
    return measure("-c", _HALF, name, *map(str, (lakehouse, *folders)), lakehouse=lakehouse)


def _reading_and_writing(lakehouse: Path) -> Cost:
    out = lakehouse.with_name("floor")
    whole, extra = _half("reading_and_writing", lakehouse, out)
    shutil.rmtree(out)
    return Cost(whole.wall - extra["wall"], whole.cpu - extra["cpu"], whole.peak_mb)


class WholeJob(NamedTuple):
    """What ``backfill`` takes, and its floor beside it."""

    files: Cost
    """The first half of the floor."""
    numbers: Cost
    """The second."""
    ours: Cost
    again: Cost
    """Ours once more, when all is stored."""

    @property
    def floor(self) -> Cost:
        """Both halves; the peak is that of the larger one."""
        halves = self.files, self.numbers
        wall, cpu = sum(each.wall for each in halves), sum(each.cpu for each in halves)
        return Cost(wall, cpu, max(each.peak_mb for each in halves))


def _whole_job(lakehouse: Path, runs: int) -> WholeJob:
    """Measure ours and the floor in turn; returns the medians, and prints them."""
    ours, files, numbers = [], [], []
    for _ in range(runs):
        for folder in (GROUP.storage, CACHES):
            shutil.rmtree(lakehouse / folder, ignore_errors=True)
        ours.append(measure(*_BACKFILL, lakehouse=lakehouse)[0])
        files.append(_reading_and_writing(lakehouse))
        numbers.append(Cost(**_half("arithmetic", lakehouse)[1]))
    again, _ = measure(*_BACKFILL, lakehouse=lakehouse)
    job = WholeJob(_median(files), _median(numbers), _median(ours), again)
    print(f"floor: read bars, write features   {job.files}")
    print(f"floor: the formulas, in memory     {job.numbers}")
    print(f"backfill                           {job.ours}")
    print(f"  {job.ours.against(job.floor)} of the floor (goal ≤ 1.4 × CPU)")
    print(f"  {job.ours.against(job.files)} of reading and writing alone")
    print(f"the same again, nothing to write   {job.again}", flush=True)
    return job


def table(jobs: dict[int, WholeJob]) -> str:
    """Return how it grows: by days of history, CPU seconds and the peak."""
    costs = {
        "read bars, write features": [job.files for job in jobs.values()],
        "the formulas, in memory": [job.numbers for job in jobs.values()],
        "floor, both": [job.floor for job in jobs.values()],
        "backfill": [job.ours for job in jobs.values()],
        "the same again, nothing to write": [job.again for job in jobs.values()],
    }
    lines = [f"{'':<34}" + "".join(f"{f'{days:,} days':>22}" for days in jobs)]
    lines.append(f"{'':<34}" + f"{'CPU s':>12}{'MB':>10}" * len(jobs))
    for name, each in costs.items():
        lines.append(f"{name:<34}" + "".join(f"{c.cpu:12.2f}{c.peak_mb:10,.0f}" for c in each))
    ratios = [job.ours.cpu / job.floor.cpu for job in jobs.values()]
    lines.append(
        f"{'backfill ÷ floor (goal ≤ 1.4)':<34}" + "".join(f"{r:12.2f}" + " " * 10 for r in ratios)
    )
    return "\n".join(line.rstrip() for line in lines)


def _formulas(lakehouse: Path, runs: int) -> None:
    """Measure the formulas alone, each engine in turn, and print the medians."""
    file = lakehouse.with_name("panel.parquet")
    apart(write_panel, lakehouse, file)
    costs: dict[str, list[Cost]] = {name: [] for name in ENGINES}
    for _ in range(runs):
        for name in ENGINES:
            module = ("-m", "benchmarks.local_peers", name, str(file))
            costs[name].append(Cost(**measure(*module, lakehouse=lakehouse)[1]))
    print(f"formulas alone: ours 17 columns, the others {len(COLUMNS)}, no ratings and no Perf.*")
    base = _median(costs.pop("ours"))
    print(f"  {'ours':<32} {base}")
    for name, each in costs.items():
        print(f"  {name:<32} {_median(each)} = {_median(each).against(base)} of ours")


def _median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def _real(lakehouse: Path, bars: Path, runs: int) -> None:
    symbols, days = REAL
    if bars.is_file():
        apart(cut, lakehouse, bars, symbols, days)
        what = f"real bars of {bars.name}"
    else:
        apart(generate, lakehouse, symbols, days)
        what = "random walks, for want of real bars: name a file like it with --bars"
        print(f"{bars} is not there", file=sys.stderr)
    rows = sum(
        pq.read_metadata(part.path).num_rows for part in list_parts(LocalDisk(lakehouse), OHLCV_1D)
    )
    print(f"{symbols:,} symbols × {days:,} days, {rows:,} {what}; medians of {runs}")
    _whole_job(lakehouse, runs)
    _formulas(lakehouse, runs)


def _random(folder: Path, symbols: int, histories: list[int], runs: int) -> None:
    jobs = {}
    for days in histories:
        lakehouse = folder / str(days) / "lakehouse"
        apart(generate, lakehouse, symbols, days)
        print(f"{symbols:,} symbols × {days:,} days of random walks; medians of {runs}")
        jobs[days] = _whole_job(lakehouse, runs)
        shutil.rmtree(lakehouse)
    print(f"{symbols:,} symbols")
    print(table(jobs))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--bars",
        type=Path,
        default=BARS,
        help="Parquet of real bars as traded, by symbol and date, with split_coefficient",
    )
    parser.add_argument("--runs", type=int, default=3, help="of each, in turn")
    parser.add_argument("--symbols", type=int, default=10_000, help="random walks")
    parser.add_argument("--days", type=int, nargs="+", default=[252, 2_520], help="of history")
    parser.add_argument("--only", choices=["real", "random"], help="one of the two forms")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if arguments.only != "random":
            _real(Path(temporary) / "real" / "lakehouse", arguments.bars, arguments.runs)
        if arguments.only != "real":
            folder = Path(temporary) / "random"
            _random(folder, arguments.symbols, arguments.days, arguments.runs)


if __name__ == "__main__":
    main()
