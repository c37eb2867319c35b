"""Folders that several processes change: holding one, and two that change places at one stroke.

Who puts another folder in a folder's place, and who adds a file to it with no other lock between
them, hold the folder: so no file goes into one that is being put away. Readers hold nothing.

POSIX can replace a folder only by an empty one, so with it alone a reader would for an instant see
rows twice or not at all. Linux has the exchange (``renameat2`` with ``RENAME_EXCHANGE``), on ext4,
XFS, Btrfs and tmpfs among others.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingestion.base.errors import InputError

_LONGEST_WAIT_S = 60
_PAUSE_S = 0.005
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
# The last two: what lies at one of the paths is another file system's, mounted there.
_NOT_SUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV, errno.EBUSY)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder against all others of this machine who do; waits for the one who does.

    The lock is the kernel's (``flock``) and ends with its process and those forked meanwhile,
    however they die. It is on the folder itself, not on its name: who waited for one that has been
    put away meanwhile holds the one in its place.

    Raises
    ------
    InputError
        If it is held for a minute: nothing takes so long that does not hang.
    OSError
        If there is no such folder, or nobody may look.
    """
    while True:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _lock(descriptor, folder)
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                yield
                return
        finally:
            # To close it would not do while a forked process has it too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
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


def exchange(one: Path, other: Path) -> None:
    """Let two folders of one file system change places.

    Whoever looks up either path finds the one folder or the other, at every instant.

    Raises
    ------
    InputError
        If the operating system or the file system cannot do that; nothing has changed then.
    OSError
        If one of them is missing, or may not be moved.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    renameat2 = getattr(libc, "renameat2", None)
    paths = (os.fsencode(one), os.fsencode(other))
    if renameat2 is None:
        code = errno.ENOSYS
    elif renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0:
        return
    else:
        code = ctypes.get_errno()
    if code in _NOT_SUPPORTED:
        raise InputError(
            f"{other}: the file system cannot exchange two folders at one stroke, without which "
            "readers could see rows twice: use Linux and a local disk; nothing was changed"
        )
    raise OSError(code, os.strerror(code), str(other))
