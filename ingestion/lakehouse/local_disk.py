"""The local disk: where the lakehouse's files are, and how they get there whole.

What is written is on the disk when a call returns. This module and :mod:`ingestion.lakehouse.lock`
are all that another place for a lakehouse, such as an object store, would have to do otherwise; no
other module links, renames, removes or syncs the lakehouse's files, or knows of the folders
``_runs``, ``_tmp`` and ``_columns``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ingestion.base.parts import names_in

RUNS = "_runs"
_SCRATCH = "_tmp"
_COLUMNS = "_columns"
_AT_ONCE = 8
_OWN_FILE = 0o600
"""Receipts and ledgers are for the user's own eyes."""
UNFINISHED = ".unfinished"
"""Ends the name of a file that is being written, or was when its run was killed."""


class Staging:
    """The run's folder below ``_tmp``, there while something is being written."""

    def __init__(self, root: Path, run_id: str) -> None:
        self._root, self._run_id = root, run_id

    def __enter__(self) -> Path:
        folder = staging_folder(self._root, self._run_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def __exit__(self, *_: object) -> None:
        remove_staging(self._root, self._run_id)


def staging_folder(root: Path, run_id: str) -> Path:
    """Return where a run writes what is not yet to be seen."""
    return root / _SCRATCH / run_id


def remove_staging(root: Path, run_id: str) -> None:
    """Remove a run's staging folder."""
    shutil.rmtree(staging_folder(root, run_id), ignore_errors=True)


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


def run_folder(root: Path, run_id: str) -> Path:
    """Return the folder of a run's receipts and other files."""
    return root / RUNS / run_id


def remove_runs(root: Path, run_ids: Collection[str], run_id: str) -> None:
    """Remove the folders of some runs, each whole or not at all; while the lakehouse is locked.

    Parameters
    ----------
    run_id
        The run that does it. What it has moved away and not removed yet goes with the next run.
    """
    away = scratch_folder(root, run_id, "retired")
    make_folder(away, root)
    for each in run_ids:
        run_folder(root, each).rename(away / each)
    sync_all([away, root / RUNS])  # no file is removed before the disk knows that its folder moved
    shutil.rmtree(away, ignore_errors=True)


def columns_file(root: Path, name: str) -> Path:
    """Return the file that remembers a dataset's columns."""
    return root / _COLUMNS / f"{name}.json"


def link(file: Path, target: Path) -> bool:
    """Put a staged file in its place, whole; False if there is a file already, which stays."""
    try:
        target.hardlink_to(file)
    except FileExistsError:
        return False
    return True


def put(root: Path, target: Path, content: bytes | Path) -> None:
    """Give a file other content, wholly or not at all.

    Parameters
    ----------
    content
        What is in it, or a file below the root that has it, and moves.
    """
    make_folder(target.parent, root)
    # Beside its place and not in the staging folder, which a run that has the lock may clear.
    unfinished = target.with_name(f"{target.name}{UNFINISHED}")
    if isinstance(content, Path):
        content.replace(unfinished)
        unfinished.chmod(_OWN_FILE)
    else:
        unfinished.touch(_OWN_FILE)
        unfinished.write_bytes(content)
    sync(unfinished)
    unfinished.replace(target)
    sync(target.parent)


def add_lines(root: Path, path: Path, text: str, *, durable: bool) -> None:
    """Add lines to the end of a file; on the disk when this returns, if they must be."""
    make_folder(path.parent, root)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, _OWN_FILE)
    with os.fdopen(descriptor, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        # After a full disk the last line may be torn; it must not take these along.
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        file.write(b"\n" * torn + text.encode())
        if durable:
            file.flush()
            os.fsync(descriptor)
    if durable and not size:
        sync(path.parent)


def remove(folder: Path, names: Collection[str]) -> None:
    """Remove files of a folder, one by one."""
    for name in sorted(names):
        (folder / name).unlink()
    sync(folder)


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
