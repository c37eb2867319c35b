"""``kill -9`` while others read: they see whole parts only, and a repeated run completes.

The commands start from nothing here, imports and all; ``tests/faults`` kills more of them, sooner.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pyarrow.parquet as pq
import pytest

from ingestion.base import clock
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.lakehouse import arrow_schema
from ingestion.markets.candidates import read_candidates
from ingestion.project import Project
from ingestion.replay import ReplayScanner
from tests.conftest import MONDAY, SAMPLE
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.fuzzing import sized
from tests.tally import kills

pytestmark = pytest.mark.faults

CANDIDATES = SAMPLE / "portfolio_candidates.json"
COMMAND = ("feature-ingest", "--candidates", str(CANDIDATES), "--batch-size", "20")

# Runs the command and kills its own process before the n-th call of whatever touches the disk.
DIE_AT = """
import os, signal, sys
from pathlib import Path
import pyarrow.parquet as pq
import shutil

left = [int(sys.argv.pop(1))]

def deadly(function):
    def call(*arguments, **named):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return function(*arguments, **named)
    return call

for owner, name in (
    (os, "fsync"), (Path, "hardlink_to"), (Path, "mkdir"), (Path, "replace"),
    (Path, "write_bytes"), (pq, "write_table"), (shutil, "rmtree"),
):
    setattr(owner, name, deadly(getattr(owner, name)))

from ingestion.cli import main
main()
"""


def whole_parts(settings: Project) -> list[tuple[str, int]]:
    """Read the folder as any reader would; every file must be a whole snapshot."""
    keys: list[tuple[str, int]] = []
    for path in sorted((settings.lakehouse_at / GROUP.storage).rglob("*")):
        if path.is_dir():
            continue
        table = pq.ParquetFile(path).read()
        assert path.name.startswith("part-")
        assert table.schema.equals(arrow_schema(GROUP))
        assert table.num_rows == 60
        keys += zip(table["symbol"].to_pylist(), table["timestamp"].to_pylist(), strict=True)
    return keys


@pytest.fixture
def reader(settings: Project) -> Iterator[None]:
    """Read all the time while runs are being killed."""
    stop, failures = Event(), []

    def read() -> None:
        while not stop.wait(0.01):
            try:
                whole_parts(settings)
            except Exception as failure:  # noqa: BLE001 - told after the kills
                failures.append(failure)
                return

    thread = Thread(target=read)
    thread.start()
    yield
    stop.set()
    thread.join()
    assert not failures


def start(settings: Project, *python: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *python, *COMMAND],
        env={
            "PATH": "/usr/bin:/bin",
            "TVFEAST_PROJECT": str(settings.folder),
            "TVFEAST_SCANNER_URL": settings.scanner_url,
            "TVFEAST_NOW": os.environ["TVFEAST_NOW"],
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def complete(settings: Project, snapshots: int) -> None:
    report = check_lakehouse(settings)
    assert (report.faults, report.not_recorded) == ([], 0)
    feature_ingest(settings, FeatureIngestRequest(read_candidates(CANDIDATES)))
    keys = whole_parts(settings)
    assert len(keys) == len(set(keys)) == 60 * snapshots


def test_kills_at_random_lose_nothing_and_double_nothing(
    settings: Project, scanner: ReplayScanner, at, reader
):
    scanner.latency = 0.05
    lasts = []
    for _ in range(2):
        began = time.monotonic()
        assert start(settings, "-m", "ingestion.cli").wait() == 0
        lasts.append(time.monotonic() - began)
        at(clock.now() + timedelta(hours=3))
    instants = random.Random(20260116)
    snapshots, killed = 2, 0
    while killed < sized(3, 20):
        process = start(settings, "-m", "ingestion.cli")
        time.sleep(instants.uniform(0, min(lasts)))
        process.kill()
        died = process.wait() == -9
        killed += died
        kills["feature-ingest, under readers"] += died
        whole_parts(settings)
        snapshots += 1
        complete(settings, snapshots)
        at(clock.now() + timedelta(hours=3))


def test_a_kill_before_each_touch_of_the_disk_loses_nothing_and_doubles_nothing(
    settings: Project, scanner: ReplayScanner, at, reader, tmp_path: Path
):
    script = tmp_path / "die_at.py"
    script.write_text(DIE_AT)
    for snapshots, touch in enumerate(count(step=sized(8, 1)), start=1):
        at(MONDAY + timedelta(hours=3 * snapshots))
        status = start(settings, str(script), str(touch)).wait()
        complete(settings, snapshots)
        if status == 0:
            break
        assert status == -9
        kills["feature-ingest, at each touch of the disk"] += 1
    assert touch > 10, "the run was to touch the disk more often"
