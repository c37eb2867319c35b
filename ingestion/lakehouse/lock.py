"""One writing run at a time.

The lock is the kernel's (``flock``): it ends with its process, however that dies, so there is no
stale lock to clear. The file's text only tells people who holds it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ingestion.base.errors import LakehouseLocked
from ingestion.lakehouse.compact import sweep_staging

LOCK_FILE = "_lock"
_A_MOMENT_S = 0.05
"""Longer than :func:`is_writing` takes for its look."""


@contextmanager
def lakehouse_lock(root: Path, run_id: str) -> Iterator[None]:
    """Lock the lakehouse for one run; makes the root where it is missing.

    Whoever gets the lock first finishes and removes what killed runs have left.

    Raises
    ------
    LakehouseLocked
        If another run has it; at once, but for the moment that a look may take.
    """
    root.mkdir(parents=True, exist_ok=True)
    path = root / LOCK_FILE
    with path.open("a+") as file:
        if not _taken(file):
            time.sleep(_A_MOMENT_S)
            if not _taken(file):
                file.seek(0)
                holder = file.read().strip() or "another run"
                raise LakehouseLocked(
                    f"{holder} is writing to {root}; wait for it to end, then run again"
                )
        file.truncate(0)
        file.write(f"run {run_id} (process {os.getpid()})")
        file.flush()
        try:
            sweep_staging(root)
            yield
        finally:
            file.truncate(0)


def is_writing(root: Path, run_id: str) -> bool:
    """Tell whether a run holds the lakehouse: one that was killed does not, whatever it has left.

    Makes no file. The kernel tells who holds a lock only to those who try to take it, so this does,
    for less than a millisecond and where that very run was the last to write.
    """
    try:
        file = (root / LOCK_FILE).open()
    except FileNotFoundError:
        return False
    with file:
        return file.read().startswith(f"run {run_id} ") and not _taken(file, fcntl.LOCK_SH)


def _taken(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
