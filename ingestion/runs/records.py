"""What runs have left: their folders, receipts and ledgers, against each other and the rows.

A run's folder contains what its run has recorded, unchanged, and nothing else. What a receipt lists
is in the ledger of its run, and the rows of a snapshot are as many as its receipt says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ingestion.base.errors import CorruptPart, InputError
from ingestion.catalog import FeatureGroup
from ingestion.lakehouse import Lakehouse, RunFile, files_of_run, receipts_of_run, run_file
from ingestion.lakehouse.ledger import (
    LEDGER_FILE,
    Entry,
    Key,
    read_ledger,
    read_run_files,
    strange_lines,
)
from ingestion.runs.quarantine import QUARANTINE_FILE, quarantined
from ingestion.runs.receipt_file import is_of_group, read_receipt, snapshot_receipts

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


@dataclass
class RecordsReport:
    """What the runs themselves have recorded, and what of it is wrong."""

    receipts: int = 0
    published: set[Key] = field(default_factory=set)
    """The parts that receipts list."""
    faults: list[tuple[str, str]] = field(default_factory=list)
    """Path below the root, and reason."""


def check_records(
    lakehouse: Lakehouse,
    runs: Sequence[str],
    rows_of: Mapping[tuple[str, str], int],
    scanned: Sequence[FeatureGroup],
    done: Callable[[int], object] = lambda _: None,
) -> RecordsReport:
    """Check the receipts and folders of some runs.

    Parameters
    ----------
    done
        Is called after each run, with 1.
    rows_of
        Rows in the lakehouse by dataset and run.
    scanned
        The groups of the scanner, whose receipts say how many rows there are.
    """
    report = RecordsReport()
    for receipt in _receipts(lakehouse, runs):
        name, run_id = receipt.key, receipt.run_id
        report.receipts += 1
        try:
            document = read_receipt(receipt)
        except InputError as error:
            report.faults.append((name, str(error).removeprefix(f"{receipt} ")))
            continue
        files = list(_files(document))
        report.published |= {
            (run_id, str(file.get("part")), str(file.get("sha256"))) for file in files
        }
        reasons = [
            *_file_faults(lakehouse, run_id, files),
            *_row_faults(lakehouse, receipt, document, rows_of, scanned),
        ]
        report.faults += [(name, reason) for reason in reasons]
    for run_id in runs:
        report.faults += folder_faults(lakehouse, run_id)
        done(1)
    return report


def _receipts(lakehouse: Lakehouse, runs: Sequence[str]) -> Iterator[RunFile]:
    for run_id in runs:
        with suppress(InputError):  # a folder that cannot be read is named itself
            yield from receipts_of_run(lakehouse, run_id)


def _files(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    files = document.get("parts")
    return (file for file in (files if isinstance(files, list) else ()) if isinstance(file, dict))


def _row_faults(
    lakehouse: Lakehouse,
    receipt: RunFile,
    document: dict[str, Any],
    rows_of: Mapping[tuple[str, str], int],
    scanned: Sequence[FeatureGroup],
) -> Iterator[str]:
    for group in scanned:
        of_group = snapshot_receipts(lakehouse, receipt.run_id, group)
        if receipt not in of_group or not is_of_group(document, group):
            continue
        try:
            kept_back = quarantined(lakehouse, receipt.run_id)[group.name]
        except CorruptPart as error:
            yield str(error)
            return
        stored = rows_of.get((group.name, receipt.run_id), 0)
        yield from _coverage_faults(document, stored, kept_back)


def _file_faults(lakehouse: Lakehouse, run_id: str, files: list[dict[str, Any]]) -> Iterator[str]:
    if not files:
        return
    try:
        written = {entry.part: entry for entry in read_ledger(lakehouse, run_id)}
    except InputError:  # the ledger is named itself
        return
    for file in files:
        entry = written.get(str(file.get("part")))
        if entry is None:
            yield f"lists {file.get('part')}, which its run did not record"
        elif (file.get("sha256"), file.get("rows")) != (entry.sha256, entry.rows):
            yield f"and the ledger of its run do not agree on {entry.part}"


def _coverage_faults(document: dict[str, Any], stored: int, kept_back: int) -> Iterator[str]:
    """Compare a snapshot's receipt, written before the part appears, with the rows of its run."""
    fetched = document.get("fetched")
    if document.get("verdict") == "refuse" and stored:
        yield f"says that nothing was published, and the lakehouse has {stored} rows of its run"
    elif stored and stored + kept_back != fetched:
        yield (
            f"says that {fetched} rows were fetched; the lakehouse has {stored} of its run, and "
            f"its quarantine {kept_back}"
        )
