from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ingestion.base.errors import LakehouseLocked
from ingestion.lakehouse import LocalDisk, lakehouse_lock

HOLD = """
import sys, time
from pathlib import Path
from ingestion.lakehouse import LocalDisk, lakehouse_lock
with lakehouse_lock(LocalDisk(Path(sys.argv[1])), "other-run"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other_run(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_is_refused_at_once_and_told_who_holds_the_lock(tmp_path: Path, other_run):
    with (
        pytest.raises(LakehouseLocked, match=f"other-run.*{other_run.pid}") as error,
        lakehouse_lock(LocalDisk(tmp_path), "this-run"),
    ):
        pass
    assert error.value.exit_code == 5


def test_a_killed_runs_lock_is_free(tmp_path: Path, other_run):
    other_run.send_signal(signal.SIGKILL)
    other_run.wait()
    with lakehouse_lock(LocalDisk(tmp_path), "this-run"):
        pass


def test_the_lock_is_free_again_after_the_run(tmp_path: Path):
    for run in ("one", "two"):
        with lakehouse_lock(LocalDisk(tmp_path / "new"), run):
            pass


def test_what_a_killed_run_left_is_swept(tmp_path: Path):
    (tmp_path / "_tmp" / "dead-run").mkdir(parents=True)
    (tmp_path / "_tmp" / "dead-run" / "half.parquet").write_bytes(b"PAR1")
    with lakehouse_lock(LocalDisk(tmp_path), "next-run"):
        pass
    assert not (tmp_path / "_tmp").exists()
