"""A command imports what it uses: the libraries that take longer than all else it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.catalog import OHLCV_1D, UNIVERSE_MEMBERS
from ingestion.jobs.flow import flow_data
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import LocalDisk, append_rows, list_parts, read_part
from ingestion.markets.candidates import read_candidates
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner
from ingestion.runs.run import new_run_id
from tests.conftest import MONDAY, QUICK, SAMPLE

TUESDAY = MONDAY + timedelta(days=1)
CANDIDATES = SAMPLE / "portfolio_candidates.json"
HEAVY = {"feast", "great_expectations", "pandas", "pyarrow.acero", "exchange_calendars", "requests"}
OF_OTHERS = {
    "ingestion.bars.bar_reader",
    "ingestion.datasets",
    "ingestion.formulas.incremental",
    "ingestion.jobs.flow",
    "ingestion.quality.history",
    "ingestion.quality.votes",
    "ingestion.scanner",
}
"""What reading vendors' files, training sets, new features, the gate and the scanner need."""


@pytest.fixture(scope="module")
def flown(
    sample_panel: Panel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The environment of a workspace with history, a flow, and a scanner that still answers."""
    folder = make_workspace(tmp_path_factory.mktemp("start") / "workspace")
    bars = pq.read_table(SAMPLE / "bars.parquet")
    recent = bars.filter(pc.field("timestamp") > MONDAY.timestamp() - 20 * 86_400)
    pq.write_table(recent, folder / "recent.parquet")
    with pytest.MonkeyPatch.context() as patch, ReplayScanner(sample_panel) as scanner:
        names = ("TVFEAST_PROJECT", "TVFEAST_NOW", "TVFEAST_SCANNER_URL")
        values = str(folder), TUESDAY.isoformat(), scanner.url
        for name, value in zip(names, values, strict=True):
            patch.setenv(name, value)
        project = replace(Project.from_environment(), scanner_url=scanner.url)
        import_bars(project, ImportRequest((folder / "recent.parquet",)))
        request = FeatureIngestRequest(read_candidates(CANDIDATES), scanner=QUICK)
        assert flow_data(project, request).error is None
        member = {
            **{"universe": "mine", "symbol": "NASDAQ:AAPL", "source": "scan"},
            **dict.fromkeys(("valid_from", "event_timestamp", "created_timestamp"), TUESDAY),
            "valid_until": TUESDAY + timedelta(days=7),
        }
        append_rows(project.lakehouse, UNIVERSE_MEMBERS, [member], new_run_id())
        yield {name: os.environ[name] for name in names}


def imported(environment: dict[str, str], *command: str) -> tuple[set[str], object]:
    """Run a command as the shell does; returns all modules that it imported, and its answer."""
    script = (
        "import sys\n"
        f"sys.argv = ['tvfeast', *{command!r}, '--json']\n"
        "from ingestion.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environment,
        cwd=Path(environment["TVFEAST_PROJECT"]),
    )
    return set(done.stderr.split("\n")[-2].split()), json.loads(done.stdout)


@pytest.mark.parametrize(
    "command",
    [
        ("select", "--by", "local_1d:RSI", "--min", "tv_technicals_1d:ADX=1"),
        ("select", "--by", "RSI", "--candidates", str(CANDIDATES)),
        ("explain", "NASDAQ:AAPL", "RSI"),
        ("explain", "NASDAQ:AAPL", "momentum_60d"),
        ("explain", "NASDAQ:APPL", "RSI"),
        ("panel", "--from", "2021-04-05", "--to", "2021-04-09", "--out", "panel.parquet"),
        ("status",),
        ("catalog",),
        ("report",),
    ],
)
def test_a_command_that_looks_imports_nothing_heavy(
    flown: dict[str, str], command: tuple[str, ...]
) -> None:
    names, answer = imported(flown, *command)
    assert names & HEAVY == set()
    if command[0] in ("select", "explain", "status"):
        assert "numpy.ma" not in names  # ingestion.base.ordered.distinct does not need it
    if command[0] in ("explain", "status"):
        assert "ingestion.bars.stored_bars" not in names  # what an import judges by
    if command != ("report",):  # it shows what the gate says, too
        needed = {"ingestion.datasets"} if command[0] == "panel" else set()
        assert names & OF_OTHERS <= needed
    assert answer


def test_local_features_of_one_new_day_imports_nothing_heavy(flown: dict[str, str]) -> None:
    lakehouse = LocalDisk(Path(flown["TVFEAST_PROJECT"]) / "data" / "lakehouse")
    later = timedelta(days=1)
    newest = list_parts(lakehouse, OHLCV_1D)[-1]
    rows = [
        row
        | {"timestamp": row["timestamp"] + int(later.total_seconds())}
        | {name: row[name] + later for name in ("event_timestamp", "created_timestamp")}
        | {name: row[name] * (1 + at % 7 / 100) for name in ("open", "high", "low", "close")}
        for at, row in enumerate(read_part(newest, OHLCV_1D).to_pylist())
    ]
    append_rows(lakehouse, OHLCV_1D, rows, new_run_id())
    then = {"TVFEAST_NOW": (TUESDAY + later).isoformat()}
    names, answer = imported(flown | then, "local-features")
    assert names & HEAVY == set()
    assert isinstance(answer, dict)
    assert answer["rows_written"] == answer["state"]["continued"] == len(rows)


def test_checking_and_merging_import_nothing_heavy(flown: dict[str, str]) -> None:
    lakehouse = LocalDisk(Path(flown["TVFEAST_PROJECT"]) / "data" / "lakehouse")
    oldest = list_parts(lakehouse, OHLCV_1D)[0]
    row = read_part(oldest, OHLCV_1D).slice(0, 1).to_pylist()[0]
    row["created_timestamp"] += timedelta(microseconds=1)
    append_rows(lakehouse, OHLCV_1D, [row], new_run_id())
    for command in ("compact", "verify"):
        names, answer = imported(flown, command)
        assert names & HEAVY == set(), command
        assert isinstance(answer, dict)
        assert answer["merged"] if command == "compact" else answer["parts"]


def test_a_flow_that_fetches_no_row_imports_no_great_expectations(flown: dict[str, str]) -> None:
    names, answer = imported(flown, "flow-data", "--candidates", str(CANDIDATES))
    assert isinstance(answer, dict)
    assert answer["verdict"] == "done"
    assert "great_expectations" not in names
