"""A factor report of all symbols over a year: ``make bench-factors``.

10,000 symbols × 252 sessions by default, three features at four horizons, random walks and random
features; the whole job in a process of its own, its page included. Memory is the peak of the
process, its imports included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

from benchmarks.bars import LAST, generate, sessions
from benchmarks.datasets import make
from ingestion.base import clock
from ingestion.datasets import Schedule
from ingestion.jobs.factor.factor_report import FactorRequest, factor_report
from ingestion.project import Project
from ingestion.runs.run import peak_memory_mb

FEATURES = ("local_1d:RSI", "local_1d:ADX", "momentum_60d")


def run(project: Project, days: int) -> dict[str, float]:
    """Make the report here, and measure it."""
    from benchmarks.datasets import _cpu

    start, used = clock.now(), _cpu()
    request = FactorRequest(
        FEATURES, Schedule(sessions(days)[0].label, LAST), project.folder / "factors.html"
    )
    report = factor_report(project, request)
    return {
        "seconds": (clock.now() - start) / timedelta(seconds=1),
        "cpu": _cpu() - used,
        "mb": peak_memory_mb(),
        "rows": sum(of.asked for of in report.factors),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--symbols", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=252, help="sessions")
    parser.add_argument("--folder", type=Path, help="where the lakehouse is, or is made and kept")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    with nullcontext(asked.folder) if asked.folder else tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        project = Project(place, place / "lakehouse", "https://scanner.test")
        if asked.here:
            print(json.dumps(run(project, asked.days)))
            return
        if not (place / "lakehouse").exists():
            make(project, asked.symbols, asked.days)
            generate(place / "lakehouse", asked.symbols, asked.days)
        command = [sys.executable, "-m", "benchmarks.factors", "--folder", str(place), "--here"]
        command += ["--days", str(asked.days)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        cost = json.loads(done.stdout)
        print(
            f"{cost['rows']:,.0f} rows of feature and label, {len(FEATURES)} features: "
            f"{cost['seconds']:.1f} s, {cost['cpu']:.1f} CPU s, {cost['mb']:,.0f} MB"
        )


if __name__ == "__main__":
    main()
