"""Waiting until files are on the disk, and whether one can write and lock there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection
from pathlib import Path

from ingestion.base.errors import InputError

_AT_ONCE = 8


def sync_all(paths: Collection[Path]) -> None:
    """Wait until all of some files or folders are on the disk.

    Several at once: a disk takes them together, in hardly more time than one of them.
    """
    if len(paths) == 1:
        sync(*paths)
    elif paths:
        from concurrent.futures import ThreadPoolExecutor  # who only reads does not need it

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(sync, paths))


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file that others may be reading: they see the former one or this one, each whole."""
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def check_writable(place: Path) -> None:
    """Refuse a place where no file can be written, before the work whose result goes there.

    Folders above it are made.

    Raises
    ------
    InputError
        If it is a folder, or no file can be written beside it.
    """
    import tempfile

    if place.is_dir():
        raise InputError(f"{place} is a folder; name a file in it")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".trial-"):
            pass
    except OSError as error:
        raise InputError(
            f"{place} cannot be written: {error.strerror}; name a file elsewhere, or give this "
            "user the right to write there"
        ) from None


def can_be_locked(folder: Path) -> bool:
    """Write a small file to a folder, and return whether a lock on it keeps others out.

    It is synced to the disk, and gone afterwards. On some network file systems two programs get the
    same lock.

    Raises
    ------
    OSError
        If the folder cannot be written, or there is no room.
    """
    import tempfile

    with tempfile.NamedTemporaryFile(dir=folder, prefix=".trial-") as file:
        file.write(b"\0" * 4096)
        file.flush()
        os.fsync(file.fileno())
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with Path(file.name).open("rb") as second:
            try:
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False
