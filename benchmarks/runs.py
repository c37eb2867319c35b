"""What commands cost with few and with many past runs: ``make bench-runs``.

A small lakehouse, so that nothing else counts: a flow of one session, copies of its receipts as
runs of an earlier time, the flow of the next session, and the commands that look at runs. Each
command is a process of its own; the figure is the median of some.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from itertools import pairwise
from pathlib import Path

from benchmarks.bars import bars_ahead, generate
from benchmarks.daily import Figures, Flows, add_past_runs
from benchmarks.local import apart, measure
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import LocalDisk, append_part, read_part
from ingestion.runs.run import new_run_id

_SYMBOLS, _DAYS, _AHEAD = 20, 60, 4
_COMMANDS = (
    ("status",),
    ("materialize",),
    ("validate",),
    ("local-features",),
    ("explain", "{symbol}", "RSI"),
    ("verify",),
    ("verify", "--since", "2026-01-01"),
    ("verify", "--all"),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, nargs=2, default=[50, 5_000])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    cpu: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        lakehouse = Path(temporary) / "lakehouse"
        apart(generate, lakehouse, _SYMBOLS, _DAYS, _AHEAD)
        before, *sessions = bars_ahead(lakehouse)
        append_part(LocalDisk(lakehouse), OHLCV_1D, read_part(before, OHLCV_1D), new_run_id())
        figures = Figures()
        figures.days.append(_DAYS)
        flows = Flows(figures, lakehouse, _SYMBOLS, latency=0.0)
        run, there = flows.run(", the first", (before, sessions[0])), 0
        for number, each in zip(arguments.runs, pairwise(sessions), strict=True):
            add_past_runs(run, number, there)
            there = number
            flows.run(f", {number:,} past runs", each)
            for words in _COMMANDS:
                command = [word.format(symbol=flows.symbols[0]) for word in words]
                costs = [
                    measure("-m", "ingestion.cli", *command, "--json", lakehouse=lakehouse)[0].cpu
                    for _ in range(arguments.repeats)
                ]
                cpu.setdefault(" ".join(words), []).append(statistics.median(costs))
    few, many = (f"{number:,} runs" for number in arguments.runs)
    print(f"{'CPU s':<28} {few:>12} {many:>12}")
    for name, (first, last) in cpu.items():
        print(f"{name:<28} {first:12.2f} {last:12.2f}   {last / first:.2f} ×")
    print(figures.table())


if __name__ == "__main__":
    main()
