"""Progress of long work: on a terminal alone, with count, rate and time left."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from ingestion.base.progress import showing, watched
from ingestion.cli.output import bars_on_terminal

WORK = """
import time
from ingestion.base.progress import watched
from ingestion.cli.output import bars_on_terminal
with bars_on_terminal():
    for _ in watched(range(50), "months written"):
        time.sleep(0.05)
    for _ in watched((each for each in range(3)), "short work"):
        pass
"""


def test_what_is_watched_is_given_on_whether_somebody_looks_or_not():
    seen: list[tuple[int | None, str]] = []

    def show(things: Iterator[int], total: int | None, what: str) -> Iterator[int]:
        seen.append((total, what))
        yield from things

    with showing(show):
        assert list(watched([1, 2], "files")) == [1, 2]
        assert list(watched(iter([1, 2]), "piles", 2)) == [1, 2]
        assert list(watched(iter([1]), "some")) == [1]
    assert list(watched([3], "others")) == [3]
    assert seen == [(2, "files"), (2, "piles"), (None, "some")]


def test_a_terminal_shows_count_rate_and_time_left_of_work_that_takes_longer_than_a_second():
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 90))
    command, shown = [sys.executable, "-c", WORK], b""
    # Whoever sets TQDM_DISABLE, as some CI machines do, sees no progress.
    environment = {name: value for name, value in os.environ.items() if name[:5] != "TQDM_"}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        with suppress(OSError):  # the terminal's end
            while more := os.read(ours, 4096):
                shown += more
        os.close(ours)
    assert process.returncode == 0
    text = shown.decode()
    assert re.search(r"months written: +\d+%.* \d+/50 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+/s\]", text)
    assert "short work" not in text


def test_elsewhere_nothing_is_shown(capfd: pytest.CaptureFixture[str]):
    with bars_on_terminal():
        for _ in watched(range(3), "months written"):
            time.sleep(0.4)
    assert capfd.readouterr() == ("", "")
