"""Folders and files that are on the disk when a call returns."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

OWN_FILE = 0o600
"""Receipts and ledgers are for the user's own eyes."""


class Staging:
    """The run's folder below ``_tmp``, there while something is being written."""

    def __init__(self, root: Path, run_id: str) -> None:
        self._folder = root / "_tmp" / run_id

    def __enter__(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def make_folder(folder: Path, root: Path) -> None:
    """Make a folder below the root; each new level is synced into the one above."""
    if folder.is_dir():
        return
    if folder != root:
        make_folder(folder.parent, root)
    folder.mkdir(parents=True, exist_ok=True)
    sync(folder.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
