"""Commands as processes of their own, forked from one that has imported Feast already."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from ingestion.project import Project

KILLED = -9
_PRELOADED = "tests.warm"


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str
    lasted: float
    """Seconds."""

    @property
    def json(self) -> dict[str, Any]:
        """What it printed with ``--json``."""
        document: dict[str, Any] = json.loads(self.out)
        return document

    @property
    def line(self) -> str:
        """The last line that it told people."""
        return self.err.splitlines()[-1] if self.err else ""


class Running:
    """A command that may still run."""

    def __init__(
        self,
        context: ForkServerContext,
        folder: Path,
        run: Callable[[], object],
        environment: Mapping[str, str],
        arrange: Callable[[], object] | None,
    ) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        self._process = context.Process(
            target=_child, args=(run, dict(environment), self._out, self._err, arrange)
        )
        self._process.start()
        self._began = time.monotonic()

    def begin(self) -> None:
        """Wait until the process is there and its own work begins: its time counts from now."""
        while not self._err.exists() and self._process.is_alive():
            time.sleep(0.001)
        self._began = time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait, but not for longer than it runs."""
        self._process.join(seconds)

    @property
    def has_ended(self) -> bool:
        return not self._process.is_alive()

    def kill(self) -> None:
        self._process.kill()

    def terminate(self) -> Ended:
        """Ask it to end, and wait until it has."""
        self._process.terminate()
        return self.wait()

    def wait(self) -> Ended:
        self._process.join()
        code = self._process.exitcode
        assert code is not None
        lasted = time.monotonic() - self._began
        # A child that was killed at once has not made its files.
        out, err = (path.read_text() if path.exists() else "" for path in (self._out, self._err))
        return Ended(code, out, err, lasted)


class Command:
    """``tvfeast …``, as a call that can be sent to another process."""

    def __init__(self, *words: object) -> None:
        self._words = [str(word) for word in words]

    def __call__(self) -> None:
        from ingestion.cli import main

        sys.argv = ["tvfeast", *self._words]
        main()


def project_of(settings: Project, now: datetime) -> dict[str, str]:
    """Return the variables that make a command work on a project, at a time."""
    return {
        "TVFEAST_PROJECT": str(settings.folder),
        "TVFEAST_LAKEHOUSE": str(settings.lakehouse_at),
        "TVFEAST_SCANNER_URL": settings.scanner_url,
        "TVFEAST_NOW": now.isoformat(),
    }


class Forge:
    """Starts processes.

    Parameters
    ----------
    folder
        For what the processes print.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._started = folder, 0
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([_PRELOADED])

    def start(
        self,
        run: Callable[[], object],
        environment: Mapping[str, str],
        arrange: Callable[[], object] | None = None,
    ) -> Running:
        """Start a call in a process of its own; ``arrange`` is called there before it."""
        self._started += 1
        folder = self._folder / str(self._started)
        folder.mkdir()
        return Running(self._context, folder, run, environment, arrange)


def _child(
    run: Callable[[], object],
    environment: dict[str, str],
    out: Path,
    err: Path,
    arrange: Callable[[], object] | None,
) -> None:
    for name in [name for name in os.environ if name.startswith("TVFEAST_")]:
        del os.environ[name]
    os.environ.update(environment)
    time.tzset()  # where a TZ is given
    for path, descriptor in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    if arrange is not None:
        arrange()
    run()
