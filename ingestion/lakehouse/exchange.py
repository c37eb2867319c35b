"""Two folders change places at one stroke.

POSIX can replace a folder only by an empty one, so with it alone a reader would for an instant see
rows twice or not at all. Linux has the exchange (``renameat2`` with ``RENAME_EXCHANGE``), on ext4,
XFS, Btrfs and tmpfs among others.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from ingestion.errors import InputError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NOT_SUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


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
            "readers could see rows twice: compact on Linux, on a local disk; nothing was changed"
        )
    raise OSError(code, os.strerror(code), str(other))
