"""Folders that change places, and those who hold them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ingestion.base.errors import InputError
from ingestion.base.folders import exchange, held
from tests.meanwhile import Meanwhile


def test_folders_change_places_whole(tmp_path: Path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / f"in-{name}").touch()
    exchange(tmp_path / "a", tmp_path / "b")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["in-b"]
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["in-a"]
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "none")


HOLDER = """
import sys
from pathlib import Path
from ingestion.base.folders import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def is_held(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_who_waited_for_a_folder_that_was_put_away_holds_the_one_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    here, aside = tmp_path / "here", tmp_path / "aside"
    here.mkdir()
    aside.mkdir()
    meanwhile, found = Meanwhile(monkeypatch), []

    def wait() -> None:
        with held(here):
            found.extend([is_held(here), is_held(aside)])

    with held(here):
        meanwhile(wait)
        exchange(aside, here)
        assert found == []
    meanwhile.ended()
    assert found == [True, False]
    assert not is_held(here)


def test_a_killed_process_lets_its_folder_go(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
        with held(tmp_path):
            pass


def test_a_folder_that_is_held_for_too_long_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ingestion.base.folders._LONGEST_WAIT_S", 0)
    with (
        held(tmp_path),
        pytest.raises(InputError, match="locked by another process"),
        held(tmp_path),
    ):
        pass


def test_a_process_that_was_forked_meanwhile_does_not_keep_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It has each open descriptor a second time."""
    kept, open_ = [], os.open

    def forked(*given: Any) -> int:
        kept.append(os.dup(descriptor := open_(*given)))
        return descriptor

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", forked)
        with held(tmp_path):
            pass
    assert not is_held(tmp_path)
    os.close(*kept)
