from __future__ import annotations

import threading
from pathlib import Path

from ingestion.lakehouse import LocalDisk, lakehouse_lock


def test_a_run_is_writing_while_it_holds_the_lock(tmp_path: Path):
    with lakehouse_lock(LocalDisk(tmp_path), "a"):
        assert LocalDisk(tmp_path).is_writing("a")
        assert not LocalDisk(tmp_path).is_writing("b")
    assert not LocalDisk(tmp_path).is_writing("a")


def test_a_lakehouse_that_is_not_there_has_no_writer_and_is_not_made(tmp_path: Path):
    assert not LocalDisk(tmp_path / "none").is_writing("a")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_in_the_file_is_no_lock(tmp_path: Path):
    (tmp_path / "_lock").write_text("run a (process 1)")
    assert not LocalDisk(tmp_path).is_writing("a")


def test_looks_keep_no_writer_out(tmp_path: Path):
    """A look takes the lock for an instant where a killed run's name is in the file."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.002):
            LocalDisk(tmp_path).is_writing("killed")

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(50):
            (tmp_path / "_lock").write_text("run killed (process 1)")
            with lakehouse_lock(LocalDisk(tmp_path), "writer"):
                pass
    finally:
        ended.set()
        looking.join()
