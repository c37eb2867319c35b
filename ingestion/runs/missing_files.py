"""Parts and receipts that are gone, and those of which somebody has recorded why.

A loss stays named until somebody accepts it: the rows were made anew, or are known to be gone. That
is written down in a receipt of its own, and is about what that one run wrote there; nothing that
was recorded before is changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from ingestion.catalog import Dataset
from ingestion.lakehouse import Lakehouse, list_parts, run_ids
from ingestion.lakehouse.ledger import Entry, Key, Ledger
from ingestion.runs.receipt_file import ended_before, receipts_told
from ingestion.runs.records import Records

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
    lakehouse: Lakehouse, datasets: Iterable[Dataset], records: Records, since: date = date.min
) -> Losses:
    """Look for parts and receipts that are gone; waits for nobody.

    A ledger that cannot be read is left out: what only it knows of is not missed.

    Parameters
    ----------
    datasets
        All that the lakehouse contains.
    records
        Of all runs that started on the date ``since`` or later.
    """
    known = records.ledger
    published = {key for folder in records.folders for key in folder.published}
    present = {part.key for dataset in datasets for part in list_parts(lakehouse, dataset)}
    # Read after the listing: whatever had taken a part's place by then was announced before.
    now = records.ledger_now(lakehouse, reversed(run_ids(lakehouse, since)))
    replaced = now.replaced(present)
    gone = [entry for entry in known if entry.part not in present | replaced]
    appeared = [entry for entry in gone if entry.confirmed or entry.key in published]
    lost = appeared + _overwritten(known, present)
    lost += [entry for folder in records.folders for entry in folder.gone]
    accepted = _accepted(lakehouse)
    return Losses(
        lost=tuple(entry for entry in lost if entry.key not in accepted),
        accepted=tuple(entry for entry in lost if entry.key in accepted),
        unpublished=len(gone) - len(appeared),
        replaced=len(replaced),
    )


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
