"""Folders of this machine for what is not in an object store yet, or does not fit in memory."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path


class Scratch:
    """The scratch folders of a lakehouse, one for each process.

    One that was frozen, and has lost its lease, may still write into its own.

    Parameters
    ----------
    uri
        Of the lakehouse.
    """

    def __init__(self, uri: str) -> None:
        name = hashlib.sha256(uri.encode()).hexdigest()[:16]
        self._root = Path(tempfile.gettempdir()) / f"tvfeast-{os.getuid()}-{name}"

    def folder(self, name: str) -> Path:
        """Return the place of a folder of this process."""
        return self._root / str(os.getpid()) / name

    def make(self, name: str) -> Path:
        """Return a folder of this process, which is there; nobody else can look into it."""
        folder = self.folder(name)
        self._root.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def left(self) -> list[str]:
        """Return the names of the folders of this process, and of those that are no more."""
        return [path.name for folder in self._clearable() for path in folder.iterdir()]

    def clear(self, name: str = "") -> None:
        """Remove a folder of this process; all that :meth:`left` names if none is given."""
        for folder in [self.folder(name)] if name else self._clearable():
            shutil.rmtree(folder, ignore_errors=True)

    def _clearable(self) -> list[Path]:
        folders = self._root.iterdir() if self._root.is_dir() else ()
        return [each for each in folders if each.name == str(os.getpid()) or not _runs(each.name)]


def _runs(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True
