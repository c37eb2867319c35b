"""The runs' own folders: each holds what its run has recorded, unchanged, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from ingestion.base.errors import InputError
from ingestion.lakehouse import Lakehouse, RunFile, files_of_run, run_file
from ingestion.lakehouse.ledger import (
    LEDGER_FILE,
    Entry,
    read_run_files,
    strange_lines,
)
from ingestion.runs.quarantine import QUARANTINE_FILE

REFUSED_FILE = "refused_bars.parquet"
"""All bars that an import refused, each with the reason."""

_FOREIGN = "is not the lakehouse's: move it out"
_UNRECORDED = (
    f"is not in the {LEDGER_FILE} beside it: put that back from a backup, or move this out"
)
_CHANGED = (
    "its content is not what its run wrote: the hash differs; put it back from a backup, or move "
    "it out and record why (`tvfeast verify --accept`)"
)
_LOOKS = 3


def folder_faults(lakehouse: Lakehouse, run_id: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong in a run's folder: its path below the root, and the reason.

    Files that are gone are not among it. The run may be writing meanwhile.
    """
    folder, ledger = run_file(lakehouse, run_id, ""), run_file(lakehouse, run_id, LEDGER_FILE)
    try:
        # Before the ledger is read: a file's line is there before the file is.
        present = files_of_run(lakehouse, run_id)
    except InputError as error:
        yield folder.key.rstrip("/"), str(error).removeprefix(f"{folder} ")
        return
    if not present:
        return
    recorded: dict[str, list[Entry]] | None
    try:
        recorded = read_run_files(lakehouse, run_id)
        if lines := strange_lines(lakehouse, run_id):
            yield (
                ledger.key,
                f"has what no run wrote, in line {lines[0]}: put it back from a backup",
            )
    except InputError as error:
        yield ledger.key, str(error).removeprefix(f"{ledger} ")
        recorded = None
    for file in present:
        if file.name == LEDGER_FILE:
            continue
        may_be_a_runs = file.name.endswith(".json") or file.name in (QUARANTINE_FILE, REFUSED_FILE)
        if recorded and file.key in recorded:
            if reason := _change(lakehouse, file, recorded[file.key]):
                yield file.key, reason
        elif not may_be_a_runs:
            yield file.key, _FOREIGN
        elif recorded is not None:
            yield file.key, _UNRECORDED


def _change(lakehouse: Lakehouse, file: RunFile, recorded: list[Entry]) -> str | None:
    """Return what is wrong with a recorded file, if anything is."""
    for _ in range(_LOOKS):  # it may be written again between the two
        try:
            content = file.sha256()
        except OSError as error:
            return f"cannot be read ({error.strerror}): put it back from a backup"
        if content in {each.sha256 for each in recorded}:
            return None
        recorded = read_run_files(lakehouse, file.run_id)[file.key]
    return _CHANGED
