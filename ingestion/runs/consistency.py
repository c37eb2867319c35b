"""Receipts and ledgers against what is stored: what a run said it wrote must be there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ingestion.base.errors import CorruptPart, InputError
from ingestion.catalog import FeatureGroup
from ingestion.lakehouse import Lakehouse, RunFile, receipts_of_run
from ingestion.lakehouse.ledger import Key, read_ledger
from ingestion.runs.quarantine import quarantined
from ingestion.runs.receipt_file import is_of_group, read_receipt, snapshot_receipts
from ingestion.runs.run_folders import folder_faults


@dataclass
class RecordsReport:
    """What the runs themselves have recorded, and what of it does not hold."""

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
