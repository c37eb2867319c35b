"""The daily flow and the short commands, as a shell pays for them: ``make bench-flow``.

Two flows of consecutive sessions against the replay scanner, which runs apart, each in a process of
its own as from a crontab; then the commands that people wait for. A step's CPU includes that of the
threads beside it: the libraries are imported while the scanner is asked, in the first step.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
from datetime import timedelta
from pathlib import Path

from benchmarks.ingest import NOW, scanner
from benchmarks.local import PROJECT, Cost, measure

FRIDAY, MONDAY = NOW - timedelta(days=3), NOW


def _flow(what: str, folder: Path, candidates: Path) -> None:
    command = ("-m", "ingestion.cli", "flow-data", "--candidates", str(candidates), "--json")
    cost, told = measure(*command, lakehouse=folder / "lakehouse")
    print(f"  {what:<24} {cost}")
    for step in json.loads(Path(told["receipt"]).read_bytes())["steps"]:
        print(f"    {step['step']:<22} {step['duration_s']:7.2f} s wall {step['cpu_s']:7.2f} s CPU")


def _command(name: str, *arguments: str, folder: Path, runs: int) -> None:
    command = ("-m", "ingestion.cli", name, *arguments, "--json")
    costs = [measure(*command, lakehouse=folder / "lakehouse")[0] for _ in range(runs)]
    median = Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))
    print(f"  {name:<24} {median}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--symbols", type=int, default=2_000)
    parser.add_argument("--latency", type=float, default=0.3, help="seconds before each answer")
    parser.add_argument("--runs", type=int, default=3, help="of each command")
    arguments = parser.parse_args()
    symbols = [f"BENCH:S{number:06}" for number in range(arguments.symbols)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copytree(PROJECT / "feature_repo", folder / "feature_repo")
        candidates = folder / "candidates.json"
        candidates.write_text(json.dumps(symbols))
        os.environ["TVFEAST_PROJECT"] = temporary
        print(f"{len(symbols):,} symbols, {arguments.latency * 1000:.0f} ms latency")
        for what, now in (("the first flow", FRIDAY), ("the next session's flow", MONDAY)):
            with scanner(len(symbols), arguments.latency, now) as (url, stop):
                os.environ |= {"TVFEAST_SCANNER_URL": url, "TVFEAST_NOW": now.isoformat()}
                _flow(what, folder, candidates)
                stop()
        print(f"commands, medians of {arguments.runs}")
        chosen = ("--by", "RSI", "--candidates", str(candidates))
        _command("select", *chosen, folder=folder, runs=arguments.runs)
        _command("explain", symbols[0], "RSI", folder=folder, runs=arguments.runs)
        _command("status", folder=folder, runs=arguments.runs)


if __name__ == "__main__":
    main()
