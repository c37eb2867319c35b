"""What the runs that have ended wrote: so nobody need look into thousands of folders again.

Of most kinds of receipts the newest is wanted, and is found soon. But a kind that few runs have, or
none, is looked for in every run: so it is kept of each run which files its ledger names. That does
not change any more once the run has ended, and a file that is gone, and put back from a backup, is
one of them. A run has ended if it is neither of the last days nor has the lock; one in parts that
others came before has lost its lease.

What is kept only spares looks: where nothing is kept of a run, or a file is one of those that it
wrote, its folder is looked into. Of a run whose ledger does not name all that is there, nothing is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from ingestion.base.errors import InputError
from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.caches import keep_document
from ingestion.lakehouse.ledger import LEDGER_FILE, read_run_ledger
from ingestion.lakehouse.run_files import (
    WRITTEN_FILE,
    Written,
    files_of_run,
    run_ids,
    written_by_runs,
)

_OF_LATE = timedelta(days=2)
"""Runs that need no lock take hours at most."""
_FEW = 50
"""Ended runs of which nothing is kept yet."""


def keep_ended(lakehouse: Lakehouse, run_id: str) -> None:
    """Keep what runs wrote that have ended; while the lakehouse is locked by another one.

    Nothing is done as long as they are few.
    """
    if lakehouse.is_listed_whole:
        return
    first_of_late = f"{datetime.now(UTC) - _OF_LATE:%Y%m%d}"  # ids begin with the wall clock's date
    with suppress(OSError):
        known, runs = written_by_runs(lakehouse), run_ids(lakehouse)
        new = [
            each for each in runs if each not in known and each < first_of_late and each != run_id
        ]
        if len(new) < _FEW:
            return
        written = {each: known[each] for each in runs if each in known}
        written |= {each: _written_by(lakehouse, each) for each in new}
        kinds = {names: number for number, names in enumerate({*written.values()} - {None})}
        document = {
            "kinds": [sorted(names or ()) for names in kinds],
            "runs": {each: kinds.get(names) for each, names in written.items()},
        }
        keep_document(lakehouse, WRITTEN_FILE, document)


def contradicted(lakehouse: Lakehouse) -> Iterator[str]:
    """Yield the runs whose folders have files that they did not write, by what is kept of them.

    So it is if the files of a run that was copied half were completed days later.
    """
    for run_id, names in written_by_runs(lakehouse).items():
        with suppress(InputError):
            if names is not None and not _names(lakehouse, run_id) <= names:
                yield run_id


def _written_by(lakehouse: Lakehouse, run_id: str) -> Written:
    try:
        there = _names(lakehouse, run_id)
        ledger = read_run_ledger(lakehouse, run_id)
    except InputError:
        return None
    names = {LEDGER_FILE, *(key.rpartition("/")[2] for key in ledger.files)}
    is_whole = LEDGER_FILE in there and there <= names and not ledger.strange
    return frozenset(names) if is_whole else None


def _names(lakehouse: Lakehouse, run_id: str) -> set[str]:
    return {file.name for file in files_of_run(lakehouse, run_id)}
