"""The files of the runs' own folders, ``_runs/<run_id>/<name>``: receipts, ledgers, quarantine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from ingestion.base.errors import InputError
from ingestion.base.parts import content_hash, names_in
from ingestion.lakehouse.local_disk import RUNS, run_folder
from ingestion.lakehouse.parts import read_file


class RunFile(NamedTuple):
    """A file of a run's own folder; it need not be there. As text it is its whole path."""

    run_id: str
    name: str
    root: Path

    @property
    def key(self) -> str:
        """Where it is below the lakehouse's root."""
        return f"{RUNS}/{self.run_id}/{self.name}"

    @property
    def path(self) -> Path:
        """Where it is on the disk, for messages."""
        # Made at once: `verify` asks for it many times for each file of each run.
        return Path(f"{self.root}/{self.key}")

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        """Tell whether it is there, as far as this user may look."""
        try:
            return self.path.exists()
        except PermissionError:
            return False

    def read(self) -> bytes:
        """Return its content.

        Raises
        ------
        OSError
            If it is not there, or cannot be read.
        """
        return self.path.read_bytes()

    def read_table(self, columns: list[str] | None = None) -> pa.Table:
        """Read it as Parquet; see :func:`~ingestion.lakehouse.parts.read_file`."""
        return read_file(self.path, columns)

    def sha256(self) -> str:
        """Return the hash of its content; errors as of :meth:`read`."""
        return content_hash(self.path)


def run_file(root: Path, run_id: str, name: str) -> RunFile:
    """Return a file of a run, whether it is there or not."""
    return RunFile(run_id, name, root)


def run_ids(root: Path) -> list[str]:
    """Return all runs that have left a folder, the newest first: their ids sort by time."""
    runs = root / RUNS
    return sorted(names_in(runs), reverse=True) if runs.is_dir() else []


def run_files(root: Path, name: str) -> Iterator[RunFile]:
    """Yield the files of one name of all runs, the newest run's first."""
    runs = str(root / RUNS)
    # There may be thousands of runs, and a path as an object costs more than the look at the disk.
    return (
        RunFile(run_id, name, root)
        for run_id in run_ids(root)
        if os.path.exists(f"{runs}/{run_id}/{name}")  # noqa: PTH110
    )


def files_of_run(root: Path, run_id: str) -> list[RunFile]:
    """Return all files of a run, by name; none if it has no folder.

    Raises
    ------
    InputError
        If its folder cannot be read.
    """
    folder = run_folder(root, run_id)
    try:
        return [RunFile(run_id, name, root) for name in sorted(names_in(folder))]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(
            f"{folder} cannot be read ({error.strerror}): give yourself the right to read it"
        ) from error


def receipts_of_run(root: Path, run_id: str) -> list[RunFile]:
    """Return the receipts of a run, by name."""
    return [file for file in files_of_run(root, run_id) if file.name.endswith(".json")]
