"""The point-in-time join from files to files, here and on engines: ``make bench-engines``.

Questions × 14 features about 10,000 symbols × 500 days, TTL 3 days, in one file in the order of
time (or in none), answered into one file for each task by this process, Ray and Spark on the cores
of this machine; with ``--in-memory``, read before and answered into memory. Each case runs in a
process of its own, in turn with the others; medians. An engine has answered a few questions on each
core before it is measured: its start and its imports are not counted. CPU seconds are those of the
driver and of all that it started, Java and Ray's own processes included. Memory is the peak of the
driver, and of that worker which needed most, both with their imports; Java's is apart.

All answers must be the same. The exit code is 1 if an engine takes more than 1.5 × the CPU seconds
or the time of this process. What 100,000,000 questions would take is computed from the two sizes:
of as many days, so most of it is for the questions, and little for reading the features.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.feast_data import FEATURES, OURS, SEED, event, make_repository, symbols, write_panel

if TYPE_CHECKING:
    from feast import FeatureStore

_SYMBOLS, _DAYS, _TTL = 10_000, 500, timedelta(days=3)
_CHUNK = 1 << 17
_AT_MOST = 1.5
"""An engine's part of what this process takes."""
_COMPUTED = 100_000_000
"""Questions, of which is computed what they would take."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--rows-per-task", type=int, default=500_000)
    parser.add_argument("--executors", nargs="+", default=["local", "ray", "spark"])
    parser.add_argument("--repeat", type=int, default=3, help="processes of each case")
    parser.add_argument("--shuffled", action="store_true", help="questions in no order of time")
    parser.add_argument("--in-memory", action="store_true", help="answer Arrow tables")
    parser.add_argument("--folder", type=Path, help="where the files are, or are made and kept")
    parser.add_argument("--case", nargs=2, metavar=("EXECUTOR", "ROWS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        executor, rows = arguments.case
        name = _name(int(rows), arguments.shuffled)
        answer = _in_memory if arguments.in_memory else _in_files
        per_task = arguments.rows_per_task
        print(json.dumps(_measured(arguments.folder, name, executor, per_task, answer)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not (folder / "ours").exists():
            write_panel(folder / "panel", _SYMBOLS, _DAYS)
            make_repository(folder / "ours", folder / "panel", OURS, _TTL)
        medians: dict[int, dict[str, Costs]] = {}
        for rows in arguments.rows:
            name = _name(rows, arguments.shuffled)
            for count in (rows, _CHUNK):
                _write_questions(
                    folder / _name(count, arguments.shuffled), count, name != str(rows)
                )
            found: dict[str, list[Costs]] = {who: [] for who in arguments.executors}
            for _ in range(arguments.repeat):
                for who in arguments.executors:
                    found[who].append(_in_a_process(who, rows, folder, sys.argv[1:]))
            medians[rows] = {who: _median(runs) for who, runs in found.items()}
            where = "in memory" if arguments.in_memory else "in files"
            print(f"\n{name} questions × 14 {where}, {arguments.rows_per_task:,} for each task")
            for who, costs in medians[rows].items():
                print(f"  {who:6} {_told(costs)}", flush=True)
            if len({costs["sum"] for runs in found.values() for costs in runs}) > 1:
                raise SystemExit("the executors answer differently")
    goals = [line for rows, costs in medians.items() for line in _goals(rows, costs)]
    print("\n" + "\n".join([*goals, *_growth(medians, arguments.rows_per_task)]))
    sys.exit(any("MISSED" in each for each in goals))


Costs = dict[str, float]
"""What one case took, by name."""


def _name(rows: int, shuffled: bool) -> str:
    return f"{rows}-shuffled" if shuffled else str(rows)


def _median(runs: Sequence[Costs]) -> Costs:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def _told(costs: Costs) -> str:
    return (
        f"{costs['seconds']:7.2f} s, {costs['cpu']:6.2f} CPU s, start {costs['start']:5.1f} s,"
        f" driver {costs['driver_mb']:6,.0f} MB, worker {costs['worker_mb']:6,.0f} MB,"
        f" Java {costs['java_mb']:6,.0f} MB, {costs['files']:.0f} files, sum {costs['sum']:.4f}"
    )


def _goals(rows: int, by_executor: dict[str, Costs]) -> list[str]:
    """Say how each engine compares with this process, and whether that is near enough."""
    if not (local := by_executor.get("local")):
        return []
    told = []
    for who, costs in by_executor.items():
        for name, what in (("cpu", "CPU seconds"), ("seconds", "time")):
            if who != "local":
                ratio = costs[name] / local[name]
                met = "met" if ratio <= _AT_MOST else "MISSED"
                told.append(
                    f"{rows:,}: {who} takes {ratio:.2f} × the {what} of local "
                    f"(≤ {_AT_MOST:g}: {met})"
                )
    return told


def _growth(medians: dict[int, dict[str, Costs]], rows_per_task: int) -> list[str]:
    """Say how memory grows from the fewest questions to the most, and compute a hundred million."""
    few, many = min(medians), max(medians)
    if few == many:
        return []
    told = []
    for who, costs in medians[many].items():
        before = medians[few][who]
        memory = ", ".join(
            f"{name} {before[key]:,.0f} → {costs[key]:,.0f} MB"
            for name, key in (("driver", "driver_mb"), ("worker", "worker_mb"))
            if costs[key]
        )
        each = (costs["cpu"] - before["cpu"]) / (many - few)
        cpu = costs["cpu"] + each * (_COMPUTED - many)
        told.append(
            f"{few:,} → {many:,} on {who}: {memory}; {_COMPUTED:,} would be "
            f"{-(-_COMPUTED // rows_per_task):,} tasks and {cpu:,.0f} CPU seconds"
        )
    return told


def _write_questions(path: Path, rows: int, shuffled: bool) -> None:
    """Write random symbols at random microseconds, a row group at a time, with a label."""
    if path.exists():
        return
    rng = np.random.default_rng(SEED + 1)
    names = pa.array(symbols(_SYMBOLS))
    begin, end = (int(event(day).timestamp() * 1e6) for day in (3, _DAYS - 1))
    kind = pa.timestamp("us", "UTC")
    schema = pa.schema({"symbol": pa.string(), "event_timestamp": kind, "label": pa.float64()})
    path.mkdir(parents=True)
    with pq.ParquetWriter(path / "part-0.parquet", schema, compression="zstd") as writer:
        for first in range(0, rows, _CHUNK):
            count = min(_CHUNK, rows - first)
            span = (0, rows) if shuffled else (first, first + count)
            low, high = (begin + (end - begin) * edge // rows for edge in span)
            instants = rng.integers(low, high, count)
            if not shuffled:
                instants.sort()
            asked = names.take(pa.array(rng.integers(0, _SYMBOLS, count)))
            times, labels = pa.array(instants).view(kind), pa.array(rng.normal(size=count))
            writer.write_table(pa.table([asked, times, labels], schema=schema))


def _in_a_process(who: str, rows: int, folder: Path, given: Sequence[str]) -> Costs:
    command = [sys.executable, "-m", "benchmarks.engines", *given]
    command += ["--folder", str(folder), "--case", who, str(rows)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: Costs = json.loads(done.stdout.splitlines()[-1])
    return found


Answer = Callable[["FeatureStore", Path], tuple[float, int, float]]
"""Answers a file of questions; returns how long it took, how many files it made, and the sum."""


def _measured(folder: Path, name: str, executor: str, rows_per_task: int, answer: Answer) -> Costs:
    few = folder / name.replace(name.split("-")[0], str(_CHUNK), 1)
    # So many tasks that each core has one.
    start, _, _ = answer(_store(folder, executor, _CHUNK // (4 * (os.cpu_count() or 1))), few)
    before = sum(each.cpu for each in _processes())
    seconds, files, total = answer(_store(folder, executor, rows_per_task), folder / name)
    now = _processes()
    peak = dict.fromkeys(("driver", "worker", "java", "other"), 0.0)
    for each in now:
        peak[each.kind] = max(peak.get(each.kind, 0.0), each.peak_mb)
    return {
        "seconds": seconds, "cpu": sum(each.cpu for each in now) - before, "start": start,
        "files": files, "sum": total, **{f"{kind}_mb": mb for kind, mb in peak.items()},
    }  # fmt: skip


def _store(folder: Path, executor: str, rows_per_task: int) -> FeatureStore:
    from feast import FeatureStore, RepoConfig
    from feast.repo_config import load_repo_config

    config = load_repo_config(folder / "ours", folder / "ours" / "feature_store.yaml")
    settings = {
        "type": OURS["offline_store"],
        "executor": executor,
        "rows_per_task": rows_per_task,
        "staging_location": str(folder / "staging"),
    }
    made = config.model_dump(by_alias=True) | {"offline_store": settings}
    return FeatureStore(config=RepoConfig(**made | {"repo_path": folder / "ours"}))


_REFS = [f"panel:{feature}" for feature in FEATURES]


def _in_files(store: FeatureStore, questions: Path) -> tuple[float, int, float]:
    from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

    answers = questions.parent / f"answers-{os.getpid()}"
    job = store.get_historical_features(str(questions), _REFS)
    begin = time.perf_counter()
    job.persist(SavedDatasetFileStorage(path=str(answers)), allow_overwrite=True)
    seconds = time.perf_counter() - begin
    files = sorted(answers.iterdir())
    total = sum(_sum(pq.read_table(file, columns=list(FEATURES))) for file in files)
    shutil.rmtree(answers)
    return seconds, len(files), total


def _in_memory(store: FeatureStore, questions: Path) -> tuple[float, int, float]:
    asked = pq.read_table(questions)
    begin = time.perf_counter()
    answer = store.get_historical_features(asked, _REFS).to_arrow()
    return time.perf_counter() - begin, 0, _sum(answer.select(FEATURES))


def _sum(table: pa.Table) -> float:
    return sum(float(np.nansum(column.to_numpy())) for column in table.columns)


class Process(NamedTuple):
    """The process that measures, or one below it."""

    kind: str
    """driver, worker, java or other."""
    peak_mb: float
    cpu: float
    """Seconds, with those of what it started and that has ended."""


def _processes() -> list[Process]:
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        parents.setdefault(parent, []).append(int(status.parent.name))
    below = [os.getpid()]
    found = []
    while below:
        pid = below.pop(0)
        below += parents.get(pid, [])
        try:
            command = Path(f"/proc/{pid}/cmdline").read_text()
            fields = Path(f"/proc/{pid}/status").read_text()
            times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
        except OSError:
            continue
        peak = next((line for line in fields.splitlines() if line.startswith("VmHWM")), "VmHWM: 0")
        cpu = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
        found.append(Process(_kind(pid, command), int(peak.split()[1]) / 1024, cpu))
    return found


def _kind(pid: int, command: str) -> str:
    if pid == os.getpid():
        return "driver"
    program = command.split("\0")[0]
    if program.endswith("java"):
        return "java"
    return "worker" if program.startswith("ray::") or "pyspark.daemon" in command else "other"


if __name__ == "__main__":
    main()
