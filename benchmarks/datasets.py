"""A panel of every session against its floor, and splits: ``make bench-datasets``.

10,000 symbols × 252 and × 2,520 sessions × 17 features by default, one part per session. The floor
reads the keys, the times and the features of the same parts, one part after another, and writes
nothing. The panel is the whole job: members, join, fingerprint, Parquet file, receipt. The part of
the fingerprint and the Parquet file is measured apart: the same rows are written once more. Splits
are those of as many rows, whose labels take five sessions: each splitter with all of its folds,
rows in the order of symbols as training sets have them. Each case runs in a process of its own, in
turn with the others; medians. Memory is the peak of the process, its imports included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.bars import sessions, symbol_names
from ingestion.base.columns import INSTANT
from ingestion.datasets import (
    CombinatorialPurged,
    LabelSpans,
    PurgedKFold,
    Schedule,
    WalkForward,
)
from ingestion.datasets.set_file import SetFile
from ingestion.jobs.serve.panel import PanelRequest, write_panel
from ingestion.lakehouse import append_parts, arrow_schema, list_parts
from ingestion.project import Project
from ingestion.runs.run import peak_memory_mb

_PANEL = "panel.parquet"
_TOGETHER = 20
"""Parts that are written at a time."""
_EMBARGO = timedelta(days=5)
_SPLITTERS: dict[str, Callable[[LabelSpans], WalkForward | PurgedKFold | CombinatorialPurged]] = {
    "walk-forward": lambda spans: WalkForward(spans, 5),
    "purged": lambda spans: PurgedKFold(spans, 5, embargo=_EMBARGO),
    "combinatorial": lambda spans: CombinatorialPurged(spans, 6, 2, embargo=_EMBARGO),
}


def make(project: Project, symbols: int, days: int) -> None:
    """Write parts of random features."""
    group = project.catalog.group("local_1d")
    schema, chance = arrow_schema(group), np.random.default_rng(7)
    names = pa.array(sorted(symbol_names(symbols)))
    tables = []
    for number, each in enumerate(sessions(days), start=1):
        closes = pa.array(np.full(symbols, each.closes * 1_000_000)).cast(INSTANT)
        columns = {
            "timestamp": pa.array(np.full(symbols, each.opens)),
            "symbol": names,
            "event_timestamp": closes,
            "created_timestamp": closes,
            "bar_timestamp": pa.array(np.full(symbols, each.opens * 1_000_000)).cast(INSTANT),
        }
        columns |= {each.name: pa.array(chance.random(symbols)) for each in group.features}
        tables.append(pa.table({n: columns[n] for n in schema.names}, schema=schema))
        if len(tables) == _TOGETHER or number == days:
            append_parts(project.lakehouse, group, tables, "bench")
            tables = []


def run(case: str, project: Project) -> dict[str, float]:
    """Run one case here, and measure it."""
    group = project.catalog.group("local_1d")
    start, used = time.perf_counter(), _cpu()
    if case == "floor":
        keys = ["symbol", "event_timestamp", "created_timestamp"]
        wanted = [*keys, *(column.name for column in group.features)]
        for part in list_parts(project.lakehouse, group):
            pq.ParquetFile(part.path).read(wanted)
        rows = 0
    elif case == "writing":
        return _written_again(project)
    else:
        out = project.folder / _PANEL
        parts = list_parts(project.lakehouse, group)
        schedule = Schedule(parts[0].date, parts[-1].date)
        rows = write_panel(project, PanelRequest(schedule, out)).rows
    seconds, cpu = time.perf_counter() - start, _cpu() - used
    return {"seconds": seconds, "cpu": cpu, "mb": peak_memory_mb(), "rows": rows}


def split(case: str, symbols: int, days: int) -> dict[str, float]:
    """Split rows that are only in memory, and measure it."""
    closes = np.array([each.closes for each in sessions(days + 5)]) * 1_000_000
    decided, ends = np.tile(closes[:-5], symbols), np.tile(closes[5:], symbols)
    start, used = time.perf_counter(), _cpu()
    spans = LabelSpans(decided, ends)
    rows = sum(len(test) for _, test in _SPLITTERS[case](spans).split())
    seconds, cpu = time.perf_counter() - start, _cpu() - used
    return {"seconds": seconds, "cpu": cpu, "mb": peak_memory_mb(), "rows": rows}


def _written_again(project: Project) -> dict[str, float]:
    """Write the panel once more; what it takes to read it does not count."""
    file = pq.ParquetFile(project.folder / _PANEL)
    seconds = cpu = 0.0
    with SetFile(project.folder / "again.parquet", file.schema_arrow, "bench") as again:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group)
            start, used = time.perf_counter(), _cpu()
            again.write(rows)
            seconds, cpu = seconds + time.perf_counter() - start, cpu + _cpu() - used
    rows_written = file.metadata.num_rows
    return {"seconds": seconds, "cpu": cpu, "mb": peak_memory_mb(), "rows": rows_written}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--symbols", type=int, default=10_000)
    parser.add_argument("--days", type=int, nargs="+", default=[252, 2_520], help="sessions")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each case")
    parser.add_argument("--folder", type=Path, help="where lakehouses are, or are made and kept")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    with nullcontext(asked.folder) if asked.folder else tempfile.TemporaryDirectory() as folder:
        for days in asked.days:
            place = Path(folder, str(days))
            project = Project(place, place / "lakehouse", "https://scanner.test")
            if asked.case in _SPLITTERS:
                print(json.dumps(split(asked.case, asked.symbols, days)))
            elif asked.case:
                print(json.dumps(run(asked.case, project)))
            else:
                if not (place / "lakehouse").exists():
                    make(project, asked.symbols, days)
                _compare(asked, days, Path(folder))


def _compare(asked: argparse.Namespace, days: int, folder: Path) -> None:
    """Measure all cases of so many sessions, in turn, and print."""
    cases = ["floor", "panel", "writing", *_SPLITTERS]
    costs: dict[str, list[dict[str, float]]] = {case: [] for case in cases}
    command = [sys.executable, "-m", "benchmarks.datasets", "--symbols", str(asked.symbols)]
    command += ["--days", str(days), "--folder", str(folder), "--case"]
    for _ in range(asked.repeat):
        for case, found in costs.items():
            done = subprocess.run([*command, case], check=True, capture_output=True, text=True)
            found.append(json.loads(done.stdout))
    medians = {
        case: {name: median(each[name] for each in found) for name in found[0]}
        for case, found in costs.items()
    }
    print(f"{medians['panel']['rows']:,.0f} rows × 17 features of {days:,} sessions")
    print("goal: ≤ 3 × floor, ≤ 2,000 MB; splits in seconds")
    for case, cost in medians.items():
        told = f"{cost['seconds']:8.1f} s {cost['cpu']:8.1f} CPU s {cost['mb']:7,.0f} MB"
        if case in _SPLITTERS:
            print(f"  {case:13} {told}   {cost['rows']:,.0f} rows tested", flush=True)
        else:
            times = cost["cpu"] / medians["floor"]["cpu"]
            print(f"  {case:13} {told}   {times:.2f} × the floor in CPU seconds", flush=True)


if __name__ == "__main__":
    main()
