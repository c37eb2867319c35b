"""Parts and receipts that are gone, and those of which somebody has recorded why.

A loss stays named until somebody accepts it: the rows were made anew, or are known to be gone. That
is written down in a receipt of its own, and is about what that one run wrote there; nothing that
was recorded before is changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from ingestion.base.errors import InputError
from ingestion.catalog import Dataset
from ingestion.lakehouse import Lakehouse, list_parts, run_file, run_ids
from ingestion.lakehouse.ledger import Entry, Key, Ledger, read_run_files
from ingestion.runs.receipt_file import ended_before, receipts_told

RECEIPT_FILE = "accept.json"


@dataclass(frozen=True)
class Losses:
    """What the ledgers know of and the partitions do not contain."""

    lost: tuple[Entry, ...]
    """Nobody has recorded why."""
    accepted: tuple[Entry, ...]
    unpublished: int
    """Parts that were announced and never appeared: their runs died before."""
    replaced: int
    """Parts whose place a merged one took."""


def find_losses(
    lakehouse: Lakehouse,
    datasets: Iterable[Dataset],
    published: Collection[Key],
    since: date = date.min,
) -> Losses:
    """Look for parts and receipts that are gone; waits for nobody.

    A ledger that cannot be read is left out: what only it knows of is not missed.

    Parameters
    ----------
    datasets
        All that the lakehouse contains.
    published
        What receipts say was there, though a ledger has lost its word for it.
    since
        Only what runs wrote that started on this date or later.
    """
    known = Ledger.read(lakehouse, whole=False, since=since)
    present = {part.key for dataset in datasets for part in list_parts(lakehouse, dataset)}
    # Read after the listing: whatever had taken a part's place by then was announced before.
    replaced = Ledger.read(lakehouse, whole=False, since=since).replaced(present)
    gone = [entry for entry in known if entry.part not in present | replaced]
    appeared = [entry for entry in gone if entry.confirmed or entry.key in published]
    lost = appeared + _overwritten(known, present)
    for run_id in run_ids(lakehouse, since):
        lost += gone_files(lakehouse, run_id)
    answered_for = _accepted(lakehouse)
    return Losses(
        lost=tuple(entry for entry in lost if entry.key not in answered_for),
        accepted=tuple(entry for entry in lost if entry.key in answered_for),
        unpublished=len(gone) - len(appeared),
        replaced=len(replaced),
    )


def gone_files(lakehouse: Lakehouse, run_id: str) -> list[Entry]:
    """Return the files of a run's own folder that it saw in their places and that are gone."""
    try:
        recorded = read_run_files(lakehouse, run_id).values()
    except InputError:  # an unreadable ledger is named as such
        return []
    gone = [last for last, *_ in recorded if last.confirmed and not lakehouse.exists(last.part)]
    # A run that is retired meanwhile goes whole.
    return gone if run_file(lakehouse, run_id, "").exists() else []


def _accepted(lakehouse: Lakehouse) -> frozenset[Key]:
    def read(receipt: dict[str, Any]) -> set[Key] | None:
        if ended_before(receipt, "accepted"):
            return None
        return {(each["run_id"], each["part"], each["sha256"]) for each in receipt["accepted"]}

    return frozenset(key for keys in receipts_told(lakehouse, RECEIPT_FILE, read) for key in keys)


def _overwritten(ledger: Ledger, present: set[str]) -> list[Entry]:
    """Return what lay where another run's part lies now: no run takes a number that is taken.

    What had been merged before is not among it: the merged part has its rows, and is missed itself.
    """
    merged = {
        part: entry.run_id
        for entry in ledger  # from the first run to the last
        if entry.replaces and entry.confirmed
        for part in entry.replaces
    }
    confirmed = ([each for each in ledger.of(part) if each.confirmed] for part in present)
    earlier = (entry for entries in confirmed for entry in entries[:-1])
    return [entry for entry in earlier if entry.run_id >= merged.get(entry.part, "")]
