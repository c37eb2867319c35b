"""Folders and files that are on the disk when a call returns."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ingestion.base.parts import names_in

_SCRATCH = "_tmp"
_AT_ONCE = 8
OWN_FILE = 0o600
"""Receipts and ledgers are for the user's own eyes."""


class Staging:
    """The run's folder below ``_tmp``, there while something is being written."""

    def __init__(self, root: Path, run_id: str) -> None:
        self._folder = staging_folder(root, run_id)

    def __enter__(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def staging_folder(root: Path, run_id: str) -> Path:
    """Return where a run writes what is not yet to be seen."""
    return root / _SCRATCH / run_id


def scratch_folder(root: Path, run_id: str, name: str) -> Path:
    """Return a folder on this machine for what a run need not keep; the caller makes it.

    It is beside the run's staging folder, which is removed with each part that is written. What a
    killed run leaves there goes with the next run.
    """
    return root / _SCRATCH / f"{run_id}-{name}"


def runs_in_staging(root: Path) -> list[str]:
    """Return the runs that have a staging folder, and the names of scratch folders."""
    folder = root / _SCRATCH
    return names_in(folder) if folder.is_dir() else []


def clear_staging(root: Path) -> None:
    """Remove what is left in staging and scratch folders; while the lakehouse is locked."""
    shutil.rmtree(root / _SCRATCH, ignore_errors=True)


def make_folder(folder: Path, root: Path) -> None:
    """Make a folder below the root; each new level is synced into the one above."""
    make_folders([folder], root)


def make_folders(folders: Collection[Path], root: Path) -> None:
    """Make folders below the root; each new level is synced into the one above."""
    new = {folder for folder in folders if not folder.is_dir()}
    if not new:
        return
    if new != {root}:
        make_folders({folder.parent for folder in new if folder != root}, root)
    for folder in new:
        folder.mkdir(parents=True, exist_ok=True)
    sync_all({folder.parent for folder in new})


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
