"""``feature-ingest`` of many symbols against a slow scanner: ``make bench-ingest``.

Side by side in one run: ours (the command itself, in a process of its own), the floor that the
network sets (⌈symbols / batch⌉ ÷ in flight × latency), and one GET a symbol with a pause of half a
second in each of three threads, as ingestors commonly do. That takes an hour for 20,000 symbols, so
it is measured on a few and scaled up, and labelled so.

Then a whole flow, with the groups that run by default and with all that are shipped: its seconds,
and its requests beside the fewest that its columns allow, ⌈symbols ÷ batch⌉ × ⌈columns ÷
--max-columns⌉. With ``--before PYTHON`` also the flow of another checkout, whose interpreter that
is.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq
import requests

from benchmarks.bars import EXCHANGE
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner
from ingestion.replay.server import Asked
from ingestion.scanner import ScannerOptions

SAMPLE = Path(__file__).resolve().parent.parent / "data" / "sample"
NOW = datetime(2021, 4, 19, 21, 30, tzinfo=UTC)
PAUSE, WORKERS = 0.5, 3

# The scanner runs apart, so that neither process waits for the other's interpreter.
_SERVE = """
import json
import sys
from datetime import datetime
from pathlib import Path
from benchmarks.ingest import Sent, served
now = datetime.fromisoformat(sys.argv[3])
with served(int(sys.argv[1]), float(sys.argv[2]), now, *map(Path, sys.argv[4:])) as replay:
    print(replay.url, flush=True)
    sys.stdin.readline()
    print(json.dumps(Sent.of(replay.requests)), flush=True)
"""


class Sent(NamedTuple):
    """What a scanner was asked."""

    all: int
    """Requests."""
    scans: int
    """Of them, those for columns of the candidates, each once."""
    columns: int
    """That those have asked for, each once."""
    markets: int
    """For the rows of other markets, as that of coins."""
    metainfo: int
    probes: int
    """For one column of one symbol: whether the scanner has it."""
    again: int
    """Repetitions of any of these."""

    @classmethod
    def of(cls, asked: Sequence[Asked]) -> Sent:
        """Count the requests that a replay has recorded."""
        kinds: Counter[str] = Counter()
        columns: set[str] = set()
        seen: set[str] = set()
        for each in asked:
            text = json.dumps([each.path, each.body])
            kinds["again" if text in seen else kind_of(each)] += 1
            if text not in seen and kind_of(each) == "scans":
                columns.update(each.body["columns"])
            seen.add(text)
        told = ("scans", "markets", "metainfo", "probes", "again")
        return cls(len(asked), columns=len(columns), **{name: kinds[name] for name in told})

    def fewest(self, symbols: int, options: ScannerOptions) -> int:
        """Return how many scans of the candidates these columns need."""
        pieces = math.ceil(self.columns / options.max_columns)
        return math.ceil(symbols / options.batch_size) * pieces


def kind_of(asked: Asked) -> str:
    """Return which field of :class:`Sent` counts a request that is no repetition."""
    if asked.method == "GET" and not asked.path.endswith("/metainfo"):  # one symbol alone
        return "probes"
    if asked.path.endswith("/metainfo"):
        return "metainfo"
    tickers = asked.body.get("symbols", {}).get("tickers", [])
    if len(tickers) == len(asked.body["columns"]) == 1:
        return "probes"
    return "scans" if tickers else "markets"


def served(symbols: int, latency: float, now: datetime, *bars: Path) -> ReplayScanner:
    """Return a replay of that many symbols that takes its time.

    Parameters
    ----------
    bars
        Two parts of bars, of a session and of the one before it: their prices are shown. The
        sample's own are if there are none.
    """
    panel = Panel.from_folder(SAMPLE)
    panel = _with_prices(panel, *bars) if bars else panel.with_aliases(symbols)
    return ReplayScanner(panel, now=lambda: now, latency=latency)


def _with_prices(panel: Panel, part: Path, previous: Path) -> Panel:
    """Return a panel of the symbols of a part: shares as the sample has them, with its prices."""
    names = ["symbol", "open", "high", "low", "close", "volume"]
    rows, before = (pq.ParquetFile(path).read(names) for path in (part, previous))
    change = pc.multiply(pc.subtract(pc.divide(rows["close"], before["close"]), 1), 100)
    symbols, *columns = (column.to_pylist() for column in rows.append_column("change", change))
    cells = {
        name: dict(zip(symbols, values, strict=True))
        for name, values in zip([*names[1:], "change"], columns, strict=True)
    }
    shares = panel.of_exchanges({"NASDAQ", "NYSE"})
    return shares.with_aliases(len(symbols), EXCHANGE).with_columns(cells)


@contextmanager
def scanner(
    symbols: int, latency: float, now: datetime = NOW, bars: Sequence[Path] = ()
) -> Iterator[tuple[str, Callable[[], Sent]]]:
    """Serve from a process of its own; gives the URL, and stops it for what it was asked.

    The parameters are those of :func:`served`.
    """
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            _SERVE,
            str(symbols),
            str(latency),
            now.isoformat(),
            *map(str, bars),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().strip()

        def stop() -> Sent:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            return Sent(*json.loads(process.stdout.readline()))

        yield url, stop


def _limits(options: ScannerOptions) -> tuple[str, ...]:
    """Return the options of a command."""
    return (
        *("--batch-size", str(options.batch_size)),
        *("--max-columns", str(options.max_columns)),
    )


def _ours(
    url: str, candidates: Path, folder: Path, options: ScannerOptions
) -> tuple[float, float, float]:
    """Return seconds of fetching, seconds of the whole command, and its peak memory in MB."""
    environment = {
        **os.environ,
        "TVFEAST_PROJECT": str(folder),
        "TVFEAST_SCANNER_URL": url,
        "TVFEAST_NOW": NOW.isoformat(),
    }
    command = [sys.executable, "-m", "ingestion.cli", "feature-ingest", "--json"]
    began = time.monotonic()
    with subprocess.Popen(
        [*command, "--candidates", str(candidates), *_limits(options)],
        env=environment,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        result = json.loads(process.stdout.read())
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    took = time.monotonic() - began
    receipt = json.loads(Path(result["receipt"]).read_bytes())
    fetching = sum(attempt["duration_s"] for attempt in receipt["attempts"])
    return fetching, took, usage.ru_maxrss / 1024


def _flow(
    python: Path, symbols: list[str], latency: float, groups: Sequence[str], options: ScannerOptions
) -> tuple[Sent, float]:
    """Return the requests and the seconds of a checkout's daily flow.

    Parameters
    ----------
    groups
        Those that run; the checkout's own choice if there are none.
    """
    with tempfile.TemporaryDirectory() as folder, scanner(len(symbols), latency) as (url, stop):
        checkout = python.parent.parent.parent
        repository = shutil.copytree(checkout / "feature_repo", Path(folder) / "feature_repo")
        if groups:
            (repository / "groups.toml").write_text(f"groups = {json.dumps(groups)}")
        candidates = Path(folder) / "candidates.json"
        candidates.write_text(json.dumps(symbols))
        environment = {
            **os.environ,
            "TVFEAST_PROJECT": folder,
            "TVFEAST_SCANNER_URL": url,
            "TVFEAST_NOW": NOW.isoformat(),
        }
        command: list[str | Path] = [
            python,
            "-m",
            "ingestion.cli",
            "flow-data",
            "--candidates",
            candidates,
        ]
        began = time.monotonic()
        subprocess.run(
            [*command, *_limits(options)],
            env=environment,
            cwd=checkout,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return stop(), time.monotonic() - began


def _flows(arguments: argparse.Namespace, options: ScannerOptions) -> Iterator[tuple[str, str]]:
    """Measure flows; give a line for each: its name, and its figures."""
    catalog = Project.from_environment().catalog
    shipped = [group.name for group in (*catalog.groups, *catalog.others)]
    here = Path(sys.executable)
    flows: tuple[tuple[str, Path | None, list[str]], ...] = (
        ("a flow", here, []),
        ("the flow before", arguments.before, []),
        ("a flow of all groups", here, shipped),
    )
    count = arguments.flow
    for name, python, groups in flows:
        if python is not None:
            symbols = [f"BENCH:S{number:06}" for number in range(count)]
            sent, took = _flow(python, symbols, arguments.latency, groups, options)
            others = {
                "of other markets": sent.markets,
                "for metainfo": sent.metainfo,
                "for one column": sent.probes,
                "repeated": sent.again,
            }
            beside = [f"{number} {what}" for what, number in others.items() if number]
            yield (
                f"{name}, {count:,} symbols, {sent.columns} columns",
                f"{sent.scans} requests of at most {sent.fewest(count, options)}, {took:.1f} s"
                + (f"; beside them {', '.join(beside)}" if beside else ""),
            )


def _one_by_one(url: str, symbols: list[str]) -> float:
    """Return the seconds that the usual way takes for these symbols."""
    fields = ",".join(
        column.scanner or "" for column in Project.from_environment().catalog.pulse.scanned
    )

    def fetch(symbol: str) -> None:
        query = {"symbol": symbol, "fields": fields, "no_404": "true"}
        response = requests.get(f"{url}/symbol", params=query, timeout=30)
        response.raise_for_status()
        time.sleep(PAUSE)

    began = time.monotonic()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(fetch, symbols))
    return time.monotonic() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--symbols", type=int, default=20_000)
    parser.add_argument("--latency", type=float, default=0.3, help="seconds before each answer")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--one-by-one", type=int, default=200, help="symbols to measure that way")
    parser.add_argument("--flow", type=int, default=2_000, help="symbols of the flow")
    parser.add_argument("--batch-size", type=int, default=ScannerOptions.batch_size)
    parser.add_argument("--max-columns", type=int, default=ScannerOptions.max_columns)
    parser.add_argument("--before", type=Path, help="another checkout's .venv/bin/python")
    arguments = parser.parse_args()
    options = ScannerOptions(batch_size=arguments.batch_size, max_columns=arguments.max_columns)
    symbols = [f"BENCH:S{number:06}" for number in range(arguments.symbols)]
    batches = math.ceil(len(symbols) / options.batch_size)
    floor = batches / options.in_flight * arguments.latency
    with tempfile.TemporaryDirectory() as temporary:
        candidates = Path(temporary) / "candidates.json"
        candidates.write_text(json.dumps(symbols))
        runs = []
        for run in range(arguments.runs):
            with scanner(len(symbols), arguments.latency) as (url, stop):
                runs.append(
                    (*_ours(url, candidates, Path(temporary) / str(run), options), stop().all)
                )
        with scanner(len(symbols), arguments.latency) as (url, stop):
            some = symbols[: arguments.one_by_one]
            slow = _one_by_one(url, some)
            stop()
    fetching, whole, memory, sent = (
        statistics.median(column) for column in zip(*runs, strict=True)
    )
    scaled = slow * len(symbols) / len(some)
    lines = (
        (f"{len(symbols):,} symbols, {arguments.latency * 1000:.0f} ms latency", ""),
        ("requests sent", f"{sent:,.0f} ({batches} batches of {options.batch_size})"),
        (f"floor: {batches} ÷ {options.in_flight} × latency", f"{floor:.2f} s"),
        (
            f"fetching, median of {len(runs)}",
            f"{fetching:.2f} s = {fetching / floor:.2f} × the floor (goal ≤ 1.3)",
        ),
        ("whole command, start to exit", f"{whole:.2f} s = {whole / floor:.2f} × the floor"),
        ("peak memory of the command", f"{memory:.0f} MB"),
        (f"one GET a symbol, measured on {len(some)}", f"{slow:.1f} s"),
        ("… scaled to all, not measured", f"{scaled:,.0f} s = {scaled / whole:,.0f} × ours"),
    )
    for name, figure in lines:
        print(f"{name:<40} {figure}")
    for name, figure in _flows(arguments, options):
        print(f"{name:<56} {figure}")


if __name__ == "__main__":
    main()
