"""One writing run at a time.

The lock is the kernel's (``flock``): it ends with its process, however that dies, so there is no
stale lock to clear. The file's text only tells people who holds it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingestion.errors import LakehouseLocked

LOCK_FILE = "_lock"

_held: dict[Path, str] = {}
"""Roots that this process holds, with the run that does."""


@contextmanager
def lakehouse_lock(root: Path, run_id: str) -> Iterator[None]:
    """Hold the lakehouse for one run; makes the root where it is missing.

    The jobs of a flow are one run: where that run holds the lock already, it goes on holding it.

    Raises
    ------
    LakehouseLocked
        If another process holds it; at once, without waiting.
    """
    if _held.get(root) == run_id:
        yield
        return
    root.mkdir(parents=True, exist_ok=True)
    path = root / LOCK_FILE
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another run"
            raise LakehouseLocked(
                f"{holder} is writing to {root}; wait for it to end, then run again"
            ) from None
        file.truncate(0)
        file.write(f"run {run_id} (process {os.getpid()})")
        file.flush()
        _held[root] = run_id
        try:
            yield
        finally:
            del _held[root]
            file.truncate(0)
