"""The runs' own folders: each holds what its run has recorded, unchanged, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ingestion.base.errors import InputError
from ingestion.base.parts import content_hash
from ingestion.lakehouse.ledger import (
    LEDGER_FILE,
    Entry,
    read_run_files,
    strange_lines,
)
from ingestion.lakehouse.writer import UNFINISHED
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


def check_run_folders(root: Path) -> Iterator[tuple[str, str]]:
    """Yield what does not hold: its path below the root, and the reason.

    What is gone is not told here. The runs may be writing meanwhile.
    """
    runs = root / "_runs"
    for path in sorted(runs.iterdir()) if runs.is_dir() else ():
        faults = _faults(root, path) if path.is_dir() else [(path, _FOREIGN)]
        yield from ((each.relative_to(root).as_posix(), reason) for each, reason in faults)


def _faults(root: Path, folder: Path) -> Iterable[tuple[Path, str]]:
    try:
        # Before the ledger is read: a file's line is there before the file is.
        present = sorted(folder.iterdir())
    except OSError as error:
        yield folder, f"cannot be read ({error.strerror}): give yourself the right to read it"
        return
    ledger = folder / LEDGER_FILE
    recorded: dict[str, list[Entry]] | None
    try:
        recorded = read_run_files(root, folder.name)
        if lines := strange_lines(root, folder.name):
            yield ledger, f"has what no run wrote, in line {lines[0]}: put it back from a backup"
    except InputError as error:
        yield ledger, str(error).removeprefix(f"{ledger} ")
        recorded = None
    for path in present:
        if path.name == LEDGER_FILE or path.name.endswith(UNFINISHED):
            continue
        may_be_a_runs = path.suffix == ".json" or path.name in (QUARANTINE_FILE, REFUSED_FILE)
        if recorded and path.relative_to(root).as_posix() in recorded:
            if reason := _change(root, path):
                yield path, reason
        elif not may_be_a_runs:
            yield path, _FOREIGN
        elif recorded is not None:
            yield path, _UNRECORDED


def _change(root: Path, path: Path) -> str | None:
    """Tell what is wrong with a recorded file, if anything is."""
    name = path.relative_to(root).as_posix()
    for _ in range(_LOOKS):  # it may be written again between the two
        try:
            content = content_hash(path)
        except OSError as error:
            return f"cannot be read ({error.strerror}): put it back from a backup"
        if content in {each.sha256 for each in read_run_files(root, path.parent.name)[name]}:
            return None
    return _CHANGED
