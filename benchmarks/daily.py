"""What an evening costs, by length of history: ``make bench-daily``.

For each length of history, on random walks with a fixed seed, each in a process of its own:

- ``local-features`` of one new day, the median of some; beside it the previous way, which computes
  the day from all bars, and the floor: a process that reads the new bars and writes the new rows,
  with the same writer;
- ``local-features`` after one bar of one symbol was restated, two years before the end or halfway;
- the flows of some sessions after the first, as a shell pays for them, and each of their steps: of
  all the medians. The replay scanner runs apart, and shows the next bar of each symbol. A step's
  CPU includes that of the threads beside it: the libraries are imported while the scanner is asked,
  in the first step;
- ``select``, ``explain`` and ``status``;
- the flow of the next session and ``status``, after many runs were added to the lakehouse; and a
  command that writes before them, which takes down once what those runs wrote.

What importing the same modules takes is measured too, and taken off where the table says so. No row
of these walks breaks a rule; where one does, Great Expectations is imported too, about 3 CPU s.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.bars import bars_ahead, generate, symbol_names
from benchmarks.ingest import scanner
from benchmarks.local import GROUP, PROJECT, Cost, apart, measure
from ingestion.base.clock import parse_instant
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import LocalDisk, Part, append_part, list_parts, read_part
from ingestion.runs.run import new_run_id

_CLI = ("-m", "ingestion.cli")
_LOCAL = (*_CLI, "local-features", "--json")
_IMPORTS = """
import ingestion.jobs.compute.local_features
from ingestion.project import Project
project = Project.from_environment()
project.catalog, project.formulas
print("{}")
"""
_FLOOR = """
import sys
from pathlib import Path
from benchmarks.daily import floor
floor(Path(sys.argv[1]), Path(sys.argv[2]))
"""
_RESTATED = timedelta(days=730)
_NEW, _RESTATE = "local-features, one new day *", "local-features, one bar restated *"
_AFTER, _SHORT = "flow-data after the last answer", ("select", "explain", "status")
_GOALS = {
    _NEW: "≤ 2.5 s CPU, ≤ 350 MB, ≤ 1.25 ×",
    _RESTATE: "≤ 6 s CPU",
    _AFTER: "≤ 15 s CPU, ≤ 1.1 ×",
    **dict.fromkeys(_SHORT, "≤ 0.8 s"),
}


class Figures:
    """What was measured, by name and length of history; printed as one table at the end."""

    def __init__(self) -> None:
        self._costs: dict[str, dict[int, Cost]] = {}
        self.days: list[int] = []

    def add(self, name: str, cost: Cost) -> None:
        """Take a cost of the length of history that is being measured."""
        print(f"  {name:<48} {cost}", file=sys.stderr, flush=True)
        self._costs.setdefault(name, {})[self.days[-1]] = cost

    def table(self) -> str:
        """Return one line per name: what it costs with each history, and how that grows."""
        heads = [f"{f'{days:,} days':^27}" for days in self.days]
        lines = [f"{'':<48} {' '.join(heads)}  longest ÷ shortest   goal"]
        lines.append(f"{'':<48} " + " ".join([f"{'CPU s':>8}{'wall s':>9}{'MB':>10}"] * len(heads)))
        for name, costs in self._costs.items():
            cells = [
                f"{each.cpu:8.2f}{each.wall:9.2f}{each.peak_mb:10,.0f}" if each else " " * 27
                for each in map(costs.get, self.days)
            ]
            first, last = costs.get(self.days[0]), costs.get(self.days[-1])
            grows = f"{last.cpu / first.cpu:.2f} × CPU" if first and last and first.cpu else ""
            lines.append(f"{name:<48} {' '.join(cells)}  {grows:<18}   {_GOALS.get(name, '')}")
        return "\n".join(line.rstrip() for line in lines)


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


def _backfill(first: str, last: str) -> tuple[str, ...]:
    return (*_CLI, "backfill", "--from", first, "--to", last, "--json")


def _evening(part: Part) -> None:
    """Set the clock to the evening of a session."""
    os.environ["TVFEAST_NOW"] = f"{part.date}T21:30:00+00:00"


def _median(costs: Sequence[Cost]) -> Cost:
    """Return the median of each figure: what else a machine does shows in single ones."""
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def _features(figures: Figures, lakehouse: Path, news: Sequence[Part]) -> Cost:
    """Measure new days of features, and one restated bar; return what the imports take."""
    _evening(list_parts(LocalDisk(lakehouse), OHLCV_1D)[-1])
    whole, _ = measure(*_backfill("1990-01-01", "2100-01-01"), lakehouse=lakehouse)
    figures.add("backfill of all", whole)
    imports = _median([measure("-c", _IMPORTS, lakehouse=lakehouse)[0] for _ in news])
    figures.add("imports of local-features", imports)
    days = []
    for new in news:
        append_part(LocalDisk(lakehouse), OHLCV_1D, read_part(new, OHLCV_1D), new_run_id())
        _evening(new)
        days.append(_beyond(imports, *_LOCAL, lakehouse=lakehouse))
    figures.add(_NEW, _median(days))
    out = lakehouse.with_name("floor")
    cost, extra = measure("-c", _FLOOR, str(lakehouse), str(out), lakehouse=lakehouse)
    least = Cost(cost.wall - extra["wall"], cost.cpu - extra["cpu"], cost.peak_mb)
    figures.add("… its floor, with its imports", least)
    restate(lakehouse)
    figures.add(_RESTATE, _beyond(imports, *_LOCAL, lakehouse=lakehouse))
    return imports


def _from_all_bars(figures: Figures, lakehouse: Path, day: date, imports: Cost) -> None:
    """Measure the previous way; it comes last, as a day's rows are taken away before."""
    shutil.rmtree(lakehouse / GROUP.storage / f"date={day}")
    full = _beyond(imports, *_backfill(str(day), str(day)), lakehouse=lakehouse)
    figures.add("… one new day from all bars *", full)


def _beyond(imports: Cost, *command: str, lakehouse: Path) -> Cost:
    """Measure a command; what its imports take is taken off, but for their memory."""
    cost, _ = measure(*command, lakehouse=lakehouse)
    return Cost(cost.wall - imports.wall, cost.cpu - imports.cpu, cost.peak_mb)


class Flows:
    """Flows of one project, of consecutive sessions."""

    def __init__(self, figures: Figures, lakehouse: Path, symbols: int, latency: float) -> None:
        self._figures, self._lakehouse, self._latency = figures, lakehouse, latency
        self.symbols = symbol_names(symbols)
        self._folder = lakehouse.with_name("project")
        shutil.copytree(PROJECT / "feature_repo", self._folder / "feature_repo")
        self._candidates = self._folder / "candidates.json"
        self._candidates.write_text(json.dumps(self.symbols))
        os.environ["TVFEAST_PROJECT"] = str(self._folder)

    def run(self, name: str, sessions: Sequence[Part], *, steps: bool = False) -> Path:
        """Run the flows of sessions, whose bars are given after those of the session before.

        Returns
        -------
        Path
            The folder of the last run.
        """
        costs: dict[str, list[Cost]] = {}
        for before, after in pairwise(sessions):
            cost, receipt = self._run(after, before)
            told = receipt["steps"] if steps else ()
            costs.setdefault(f"flow-data{name}", []).append(cost)
            for step in told:
                costs.setdefault(f"    {step['step']}", []).append(_told(step))
            costs.setdefault(f"{_AFTER}{name}", []).append(_told(receipt["after_last_answer"]))
        for each, several in costs.items():
            self._figures.add(each, _median(several))
        return self._lakehouse / "_runs" / str(receipt["run_id"])

    def _run(self, *bars: Part) -> tuple[Cost, dict[str, Any]]:
        """Run the flow of a session; returns its cost and its receipt."""
        _evening(bars[0])
        now, paths = parse_instant(os.environ["TVFEAST_NOW"]), [part.path for part in bars]
        command = (*_CLI, "flow-data", "--candidates", str(self._candidates), "--json")
        with scanner(len(self.symbols), self._latency, now, paths) as (url, stop):
            os.environ["TVFEAST_SCANNER_URL"] = url
            cost, told = measure(*command, lakehouse=self._lakehouse)
            stop()
        return cost, json.loads(Path(told["receipt"]).read_bytes())

    def commands(self, names: Sequence[str], runs: int, after: str = "") -> None:
        """Measure short commands, the median of some runs each."""
        arguments = {
            "select": ["--by", "RSI", "--candidates", str(self._candidates)],
            "explain": [self.symbols[0], "RSI"],
        }
        for name in names:
            command = (*_CLI, name, *arguments.get(name, []), "--json")
            costs = [measure(*command, lakehouse=self._lakehouse)[0] for _ in range(runs)]
            self._figures.add(f"{name}{after}", _median(costs))


def _told(told: dict[str, Any]) -> Cost:
    return Cost(told["duration_s"], told["cpu_s"], told["peak_memory_mb"])


def add_past_runs(run: Path, number: int, first: int = 0) -> None:
    """Put copies of a run's receipts beside it, as runs of an earlier time, from a number on."""
    receipts = sorted(run.glob("*.json"))
    for old in range(first, number):
        run_id = f"2010{old // 2_000 + 1:02}01T{old // 60 % 24:02}{old % 60:02}00Z-{old:06}abcd"
        folder = run.with_name(run_id)
        folder.mkdir()
        lines = []
        for path in receipts:
            said = json.loads(path.read_bytes()) | {"run_id": run_id, "parts": []}
            content = json.dumps(said).encode()
            (folder / path.name).write_bytes(content)
            key = f"_runs/{run_id}/{path.name}"
            lines.append({"file": key, "sha256": hashlib.sha256(content).hexdigest()})
            lines.append({"confirmed": key})
        (folder / "files.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def _measure(figures: Figures, folder: Path, days: int, arguments: argparse.Namespace) -> None:
    """Measure one length of history."""
    os.environ.pop("TVFEAST_PROJECT", None)  # that of the last length is gone
    figures.days.append(days)
    print(f"{arguments.symbols:,} symbols × {days:,} days", file=sys.stderr, flush=True)
    lakehouse = folder / "lakehouse"
    repeats = arguments.repeats
    # Of each a session: new days alone, the first flow, flows, and flows after many runs.
    apart(generate, lakehouse, arguments.symbols, days, 3 * repeats + 1)
    ahead = bars_ahead(lakehouse)
    imports = _features(figures, lakehouse, ahead[:repeats])
    flows = Flows(figures, lakehouse, arguments.symbols, arguments.latency)
    flows.run(", the first", ahead[repeats - 1 : repeats + 1])
    run = flows.run("", ahead[repeats : 2 * repeats + 1], steps=True)
    flows.commands(_SHORT, repeats)
    add_past_runs(run, arguments.runs)
    later = f", {arguments.runs:,} past runs"
    # Who writes next looks into them once; in use they come one by one.
    figures.add(
        f"local-features after{later[1:]} at once", measure(*_LOCAL, lakehouse=lakehouse)[0]
    )
    flows.run(later, ahead[2 * repeats :])
    flows.commands(["status"], repeats, later)
    _from_all_bars(figures, lakehouse, ahead[-1].date, imports)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--symbols", type=int, default=10_000)
    parser.add_argument("--days", type=int, nargs="+", default=[252, 2_520])
    parser.add_argument("--latency", type=float, default=0.3, help="seconds before each answer")
    parser.add_argument("--runs", type=int, default=5_000, help="past runs that are added")
    parser.add_argument("--repeats", type=int, default=3, help="of what is measured")
    arguments = parser.parse_args()
    figures = Figures()
    for days in arguments.days:
        with tempfile.TemporaryDirectory() as temporary:
            _measure(figures, Path(temporary), days, arguments)
    print(f"{arguments.symbols:,} symbols; * beyond the imports; peak memory of the process")
    print(figures.table())


if __name__ == "__main__":
    main()
