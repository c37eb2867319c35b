"""Locking a local folder, for writers that have no other lock between them."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingestion.base.errors import InputError

_LONGEST_WAIT_S = 60
_PAUSE_S = 0.005


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Lock a folder against all others of this machine who lock it; waits for the one who has it.

    The lock is the kernel's (``flock``): it ends with its process, however that dies. Readers, and
    writers that only add files, do not need it.

    Raises
    ------
    InputError
        If another process has it for a minute: nothing takes so long that does not hang.
    OSError
        If there is no such folder, or nobody may look.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _wait_for(descriptor, folder)
        yield
    finally:
        # Closing alone would not unlock it while a forked process has the descriptor too.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _wait_for(descriptor: int, folder: Path) -> None:
    deadline = time.monotonic() + _LONGEST_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise InputError(
                    f"{folder} has been locked by another process for {_LONGEST_WAIT_S} s (flock): "
                    "let that end, or end it, and run again"
                ) from None
            time.sleep(_PAUSE_S)
        else:
            return
