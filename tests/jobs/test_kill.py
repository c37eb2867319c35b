"""``kill -9`` while others read: they see whole parts only, and a repeated run completes.

Those that are killed at random start from nothing, imports and all; ``tests/faults`` kills more.
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
from tests.faults.strikes import AtTouch
from tests.fuzzing import sized
from tests.processes import KILLED, Command, Forge, project_of
from tests.tally import kills

pytestmark = pytest.mark.faults

CANDIDATES = SAMPLE / "portfolio_candidates.json"
COMMAND = ("feature-ingest", "--candidates", str(CANDIDATES), "--batch-size", "20")


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


def start(settings: Project) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "ingestion.cli", *COMMAND],
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
        assert start(settings).wait() == 0
        lasts.append(time.monotonic() - began)
        at(clock.now() + timedelta(hours=3))
    instants = random.Random(20260116)
    snapshots, killed = 2, 0
    while killed < sized(3, 20):
        process = start(settings)
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
    settings: Project, scanner: ReplayScanner, at, reader, tmp_path: Path, forge: Forge
):
    command = Command(*COMMAND)
    for snapshots, touch in enumerate(count(step=sized(8, 1)), start=1):
        at(MONDAY + timedelta(hours=3 * snapshots))
        strike = AtTouch(tmp_path / "touches", touch)
        ended = forge.start(command, project_of(settings, clock.now()), strike).wait()
        complete(settings, snapshots)
        if ended.code == 0:
            break
        assert ended.code == KILLED
        kills["feature-ingest, at each touch of the disk"] += 1
    assert touch > 10, "the run was to touch the disk more often"
