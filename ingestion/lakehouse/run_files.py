"""The files of the runs' own folders, ``_runs/<run_id>/<name>``: receipts, ledgers, quarantine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from itertools import takewhile
from typing import Any, NamedTuple

import pyarrow as pa

from ingestion.base.errors import InputError
from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.caches import CacheFile, kept_document
from ingestion.lakehouse.parts import StoredFile, read_file

RUNS = "_runs"
WRITTEN_FILE = "written_by_runs.zip"
Written = frozenset[str] | None
"""The names of all files that a run wrote into its folder; None if that is not known."""
_written: dict[str, tuple[str, Mapping[str, Written]]] = {}
"""What was kept in lakehouses, with the states of the files that had it."""


class _RunFileFields(NamedTuple):
    run_id: str
    name: str
    lakehouse: Lakehouse


class RunFile(StoredFile, _RunFileFields):
    """A file of a run's own folder; it need not be there."""

    __slots__ = ()

    @property
    def key(self) -> str:  # type: ignore[override]
        """Where it is below the lakehouse's root."""
        return f"{RUNS}/{self.run_id}/{self.name}"

    def read_table(self, columns: list[str] | None = None) -> pa.Table:
        """Read it as Parquet; see :func:`~ingestion.lakehouse.parts.read_file`."""
        return read_file(self, columns)


def run_file(lakehouse: Lakehouse, run_id: str, name: str) -> RunFile:
    """Return a file of a run, whether it is there or not."""
    return RunFile(run_id, name, lakehouse)


def run_ids(lakehouse: Lakehouse, since: date = date.min) -> list[str]:
    """Return the runs that have left a folder, the newest first: their ids sort by time.

    Parameters
    ----------
    since
        Only runs that started on this date of the wall clock or later.
    """
    first = "" if since == date.min else f"{since:%Y%m%d}"
    names = lakehouse.folder(RUNS).files
    return sorted((name for name in names if name >= first) if first else names, reverse=True)


def run_files(lakehouse: Lakehouse, name: str, after: str = "") -> Iterator[RunFile]:
    """Yield the files of one name of all runs, the newest run's first.

    Runs that are known not to have written one are not looked at (:mod:`.ended_runs`).

    Parameters
    ----------
    after
        Only of runs that are later than this one.
    """
    written = written_by_runs(lakehouse)
    folders = (
        f"{RUNS}/{run_id}"
        for run_id in takewhile(after.__lt__, run_ids(lakehouse))
        if (names := written.get(run_id)) is None or name in names
    )
    there = lakehouse.having(folders, name)
    return (RunFile(folder.rpartition("/")[2], name, lakehouse) for folder in there)


def written_by_runs(lakehouse: Lakehouse) -> Mapping[str, Written]:
    """Return what is kept of ended runs, by their ids; not all are in it."""
    if lakehouse.is_listed_whole:
        return {}
    file = CacheFile(WRITTEN_FILE, lakehouse)
    try:
        state = lakehouse.state(file.key)
    except OSError:
        return {}
    found = _written.get(str(file))
    if found is None or found[0] != state:
        found = state, kept_document(lakehouse, WRITTEN_FILE, _written_in) or {}
        _written[str(file)] = found
    return found[1]


def _written_in(document: dict[str, Any]) -> Mapping[str, Written]:
    kinds = [frozenset(map(str, names)) for names in document["kinds"]]
    runs = document["runs"].items()
    return {run_id: None if kind is None else kinds[kind] for run_id, kind in runs}


def files_of_run(lakehouse: Lakehouse, run_id: str) -> list[RunFile]:
    """Return all files of a run, by name; none if it has no folder.

    Raises
    ------
    InputError
        If its folder cannot be read.
    """
    folder = f"{RUNS}/{run_id}"
    try:
        return [RunFile(run_id, name, lakehouse) for name in sorted(lakehouse.names(folder))]
    except NotADirectoryError:
        return []
    except OSError as error:
        raise InputError(
            f"{lakehouse.location(folder)} cannot be read ({error.strerror}): give "
            "yourself the right to read it"
        ) from error


def remove_runs(lakehouse: Lakehouse, run_ids: Iterable[str]) -> None:
    """Remove the folders of some runs, each whole or not at all; while the lakehouse is locked."""
    lakehouse.remove_folders([f"{RUNS}/{run_id}" for run_id in run_ids])


def receipts_of_run(lakehouse: Lakehouse, run_id: str) -> list[RunFile]:
    """Return the receipts of a run, by name."""
    return [file for file in files_of_run(lakehouse, run_id) if file.name.endswith(".json")]
