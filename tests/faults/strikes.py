"""What befalls a process in the midst of its work: called there, before the work begins."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


@dataclass(frozen=True)
class AtTouch:
    """Count the calls that touch the disk, in a file; kill the process before the n-th."""

    log: Path
    """Grows by a byte per call: ``s`` for an fsync, by which something is on the disk for good."""
    kill_before: int | None = None

    def __call__(self) -> None:
        import ingestion.plugins.online.sqlite_file as database

        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        left = [-1 if self.kill_before is None else self.kill_before]

        def touch(name: str) -> None:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            os.write(descriptor, b"s" if name == "fsync" else b".")

        for owner, name in (
            *((os, "fsync"), (os, "replace"), (os, "rename"), (os, "unlink"), (os, "rmdir")),
            *((Path, "hardlink_to"), (Path, "mkdir")),
            *((Path, "replace"), (Path, "unlink"), (Path, "write_bytes"), (pq, "write_table")),
            (shutil, "rmtree"),
        ):
            setattr(owner, name, _preceded(partial(touch, name), getattr(owner, name)))

        class Connection(sqlite3.Connection):
            pass

        for owner in (Connection, database.Sqlite):
            for name in ("execute", "executemany", "commit"):
                setattr(
                    owner, name, _preceded(partial(touch, name), getattr(sqlite3.Connection, name))
                )
        sqlite3.connect = partial(sqlite3.connect, factory=Connection)


@dataclass(frozen=True)
class FileSizeLimit:
    """Let no file grow beyond so many bytes: what a full disk is to a writer, everywhere."""

    size: int

    def __call__(self) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error, as on a full disk; not death
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, resource.RLIM_INFINITY))


NO_ROOM = {os.strerror(errno.ENOSPC), os.strerror(errno.EFBIG)}


def _preceded(touch: Callable[[], None], function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        touch()
        return function(*arguments, **named)

    return call
