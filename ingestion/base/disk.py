"""Waiting until files are on the disk."""

from __future__ import annotations

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_AT_ONCE = 8


def sync_all(paths: Collection[Path]) -> None:
    """Wait until all of some files or folders are on the disk.

    Several at once: a disk takes them together, in hardly more time than one of them.
    """
    if len(paths) == 1:
        sync(*paths)
    elif paths:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(sync, paths))


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
