"""Our Feast stores beside Feast's own, the bare library and the floor: ``make bench-feast``.

Every case runs in a process of its own, several times, in turn with the others; the median counts.
Imports and opening the repository are left out on all sides, and the answers must be the same: the
sums and counts of each feature are compared. The floors read, or write, the same data in the same
layout with nothing around it:

- point-in-time: the touched files' columns into one Arrow table
- online: the same rows by key from SQLite, into a frame with the same keys
- materialize: the touched files' columns, and one ``executemany`` of the same rows
- ``feast serve``: see ``benchmarks.serve``, which runs alone too
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import serve
from benchmarks.feast_data import OURS, STOCK, make_repository, write_panel


class Cost(NamedTuple):
    """A case's medians."""

    seconds: float
    cpu: float
    """Seconds of all threads together: what others do on the machine shows less in it."""
    peak_mb: float
    answer_mb: float = 0.0
    """Of the peak, what the answer has and the question had not; told of joins alone."""


_GOALS = {
    "point-in-time, TTL 3 d": "≥ 15 × stock, less memory; ≤ 2 × floor",
    "point-in-time, no TTL": "≤ 2.5 × floor",
    "online read": "≥ 25 × stock; ≤ 2 × floor",
    "online read: 1": "not slower than stock",
    "materialize 10,000": "≥ 12 × stock; ≤ 4 × floor",
    "materialize 100,000": "≥ 20 × stock; ≤ 4 × floor",
}


def measure(cases: dict[str, str], folder: Path, rows: int, repeat: int) -> dict[str, Cost]:
    """Run cases in turn, several times, in a process of its own each; stock joins once.

    Raises
    ------
    SystemExit
        If their answers are not the same.
    """
    told: dict[str, list[dict[str, Any]]] = {who: [] for who in cases}
    for turn in range(repeat):
        for who, name in cases.items():
            if turn == 0 or name != "pit stock":
                told[who].append(run(name, folder, rows))
    answers = {who: runs[0]["answer"] for who, runs in told.items() if runs[0]["answer"]}
    if different := [who for who in answers if answers[who] != answers["ours"]]:
        raise SystemExit(f"{cases[different[0]]} answers otherwise than {cases['ours']}")
    return {who: medians(runs) for who, runs in told.items()}


def medians(runs: list[dict[str, Any]]) -> Cost:
    """Return the medians of a case's runs."""
    names = [name for name in Cost._fields if name in runs[0]]
    return Cost(**{name: statistics.median(each[name] for each in runs) for name in names})


def run(name: str, folder: Path, rows: int) -> dict[str, Any]:
    """Run a case once and return what it tells."""
    command = [sys.executable, "-m", "benchmarks.feast_cases", name, str(folder), str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def show(title: str, costs: dict[str, Cost]) -> None:
    """Print what everybody took, and ours as a ratio to each."""
    print(f"\n{title}: goal {_GOALS[title.partition(':')[0]]}")
    ours = costs["ours"]
    for who, cost in costs.items():
        ratio = ""
        if who == "floor":
            ratio = (
                f"   ours is {ours.seconds / cost.seconds:.2f} × the floor"
                f" ({ours.cpu / cost.cpu:.2f} × in CPU seconds)"
            )
        elif who != "ours":
            ratio = f"   ours is {cost.seconds / ours.seconds:.1f} × faster"
        print(
            f"  {who:12} {cost.seconds:9.3f} s {cost.cpu:9.3f} CPU s {cost.peak_mb:7.0f} MB{ratio}",
            flush=True,
        )


def point_in_time(root: Path, days: int, rows: int, ttl_days: int | None, repeat: int) -> None:
    """Join questions about a fifth of the days, or without a TTL about all."""
    panel = root / "panel"
    folder = Path(tempfile.mkdtemp(dir=root))
    (folder / "panel").symlink_to(panel)
    ttl = timedelta(days=ttl_days) if ttl_days else None
    first = days * 4 // 5 if ttl_days else 0
    (folder / "span.json").write_text(
        json.dumps({"first": first, "last": days - 1, "ttl_days": ttl_days})
    )
    stores = {"ours": OURS, "stock": STOCK} if ttl_days else {"ours": OURS}
    for name, each in stores.items():
        make_repository(folder / name, panel, each, ttl)
    everybody = ("floor", "ours", "bare duckdb", "bare polars", *(stores.keys() - {"ours"}))
    costs = measure({who: f"pit {who}" for who in everybody}, folder, rows, repeat)
    kind = f"TTL {ttl_days} d" if ttl_days else "no TTL"
    show(f"point-in-time, {kind}: {rows:,} × 14 from {days:,} days of 10,000 symbols", costs)


def online(root: Path, count: int, repeat: int, *, read: bool) -> None:
    """Load a day of so many symbols, and read them all."""
    loads: dict[str, list[dict[str, Any]]] = {"floor": [], "ours": [], "stock": []}
    for number in range(repeat):
        folder = root / f"online-{count}-{number}"
        write_panel(folder / "panel", count, 1)
        for name, each in {"ours": OURS, "stock": STOCK}.items():
            make_repository(folder / name, folder / "panel", each, timedelta(days=3))
        for who, costs in loads.items():
            if who != "stock" or number == 0 or read:
                costs.append(run(f"materialize {who}", folder, count))
    show(f"materialize {count:,}: × 14", {who: medians(runs) for who, runs in loads.items()})
    if read:
        reads = measure({who: f"online {who}" for who in loads}, folder, count, repeat)
        show(f"online read: {count:,} × 14 into a frame", reads)
        single(folder, count, repeat)


def single(folder: Path, count: int, repeat: int) -> None:
    """Read one symbol at a time, ours and stock in turn, and print the medians of percentiles."""
    told: dict[str, list[dict[str, Any]]] = {"ours": [], "stock": []}
    for _ in range(repeat):
        for who, runs in told.items():
            runs.append(run(f"one {who}", folder, count))
    print(f"\nonline read: 1 × 14, in milliseconds: goal {_GOALS['online read: 1']}")
    for who, runs in told.items():
        p50, p99 = (statistics.median(each[name] for each in runs) for name in ("p50", "p99"))
        print(f"  {who:12} p50 {p50:6.2f}   p99 {p99:6.2f}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each case but the slowest")
    parser.add_argument("--quick", action="store_true", help="a tenth of the days and questions")
    arguments = parser.parse_args()
    scale = 10 if arguments.quick else 1
    with tempfile.TemporaryDirectory() as temporary:
        for days, rows, ttl in ((500, 1_000_000, 3), (450, 1_000_000, None)):
            root = Path(temporary) / f"days-{days}"
            write_panel(root / "panel", 10_000, days // scale)
            point_in_time(root, days // scale, rows // scale, ttl, arguments.repeat)
        online(Path(temporary), 10_000, arguments.repeat, read=True)
        online(Path(temporary), 100_000, arguments.repeat, read=False)
        serve.measure(Path(temporary) / "served", arguments.repeat)


if __name__ == "__main__":
    main()
