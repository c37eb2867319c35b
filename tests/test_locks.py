"""Locks on folders."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ingestion.base.errors import InputError
from ingestion.base.locks import folder_lock

HOLDER = """
import sys
from pathlib import Path
from ingestion.base.locks import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def is_locked(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        holder.kill()
        with folder_lock(tmp_path):
            pass


def test_a_folder_that_is_locked_for_too_long_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ingestion.base.locks._LONGEST_WAIT_S", 0)
    with (
        folder_lock(tmp_path),
        pytest.raises(InputError, match="locked by another process"),
        folder_lock(tmp_path),
    ):
        pass


def test_a_process_that_was_forked_meanwhile_does_not_keep_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It has each open descriptor a second time."""
    kept, open_ = [], os.open

    def forked(*given: Any) -> int:
        kept.append(os.dup(descriptor := open_(*given)))
        return descriptor

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", forked)
        with folder_lock(tmp_path):
            pass
    assert not is_locked(tmp_path)
    os.close(*kept)
