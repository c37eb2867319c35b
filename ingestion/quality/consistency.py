"""Receipts against what is stored: what a run said it wrote must be there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from feature_repo.catalog import TV_TECHNICALS_1D
from ingestion.errors import CorruptPart
from ingestion.lakehouse.ledger import read_ledger
from ingestion.quality.quarantine import quarantined

_SNAPSHOT = "feature_ingest_coverage.json"


def receipt_faults(
    root: Path, rows_of: Mapping[tuple[str, str], int]
) -> tuple[int, list[tuple[str, str]]]:
    """Check the receipts of all runs.

    Parameters
    ----------
    rows_of
        Rows in the lakehouse by dataset and run.

    Returns
    -------
    tuple[int, list[tuple[str, str]]]
        How many receipts there are, and what does not hold: path below the root, and reason.
    """
    receipts = sorted((root / "_runs").glob("*/*.json"))
    faults = []
    for path in receipts:
        name = path.relative_to(root).as_posix()
        faults += [(name, reason) for reason in _faults(root, path, rows_of)]
    return len(receipts), faults


def _faults(root: Path, path: Path, rows_of: Mapping[tuple[str, str], int]) -> Iterator[str]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        yield f"cannot be read: {error}"
        return
    if not isinstance(document, dict):
        yield "is no receipt: it is to be one JSON object"
        return
    run_id = path.parent.name
    if document.get("run_id", run_id) != run_id:
        yield f"is of run {document['run_id']}, and lies with run {run_id}"
    yield from _file_faults(root, run_id, document.get("parts"))
    if path.name == _SNAPSHOT:
        group = TV_TECHNICALS_1D.name
        try:
            kept_back = quarantined(path.parent)[group]
        except CorruptPart as error:
            yield str(error)
            return
        yield from _coverage_faults(document, rows_of.get((group, run_id), 0), kept_back)


def _file_faults(root: Path, run_id: str, files: Any) -> Iterator[str]:
    listed = [file for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    if not listed:
        return
    written = {entry.part: entry for entry in read_ledger(root, run_id)}
    for file in listed:
        entry = written.get(str(file.get("part")))
        if entry is None:
            yield f"lists {file.get('part')}, which its run did not record"
        elif (file.get("sha256"), file.get("rows")) != (entry.sha256, entry.rows):
            yield f"and the ledger of its run do not agree on {entry.part}"


def _coverage_faults(document: dict[str, Any], stored: int, kept_back: int) -> Iterator[str]:
    """Compare a snapshot's receipt, written before the part appears, with the rows of its run."""
    fetched = document.get("fetched")
    if document.get("verdict") == "refuse" and stored:
        yield f"says that nothing was published, and the lakehouse holds {stored} rows of its run"
    elif stored and stored + kept_back != fetched:
        yield (
            f"says that {fetched} rows were fetched; the lakehouse holds {stored} of its run, and "
            f"its quarantine {kept_back}"
        )
