"""Commands on a pseudo-terminal, and what they show there."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

COMMAND = (sys.executable, "-m", "ingestion.cli")
_SILENCE = 60
"""Seconds without a word after which a command is killed."""


@dataclass(frozen=True)
class Shown:
    """A command that has ended on a terminal."""

    code: int
    text: str
    """All that it wrote, what was written over again, too."""

    @property
    def lines(self) -> list[str]:
        """What stays to be read."""
        return [line.rpartition("\r")[2] for line in self.text.split("\r\n")]


def on_a_terminal(
    *command: str,
    columns: int = 100,
    environment: Mapping[str, str] | None = None,
    meanwhile: Callable[[subprocess.Popen[bytes], str], object] = lambda *_: None,
    words: Sequence[str] = COMMAND,
) -> Shown:
    """Run a command on a terminal of its own.

    Parameters
    ----------
    environment
        Beside the one that the tests have, without what would silence a progress bar.
    meanwhile
        Is given the process and all that it has shown, whenever that is more.
    words
        Those that begin the command.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("TQDM_")}
    own |= {"COLUMNS": str(columns), "LINES": "24", **(environment or {})}
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    shown = b""
    with subprocess.Popen(
        [*words, *command], stdin=theirs, stdout=theirs, stderr=theirs, env=own
    ) as process:
        os.close(theirs)
        with contextlib.suppress(OSError):  # the end of a terminal is an error on Linux
            while select.select([ours], [], [], _SILENCE)[0] and (more := os.read(ours, 65536)):
                shown += more
                meanwhile(process, shown.decode(errors="replace"))
        os.close(ours)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
    return Shown(process.returncode, shown.decode())
