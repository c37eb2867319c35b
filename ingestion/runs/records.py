"""What all runs have left, against each other and the rows; only what is new is read again.

What a folder says is kept in the cache ``sound_runs.zip`` if nothing in it is wrong, with the
state of each of its files: inode, size, and when it was changed. Where all of that is as it was,
nothing but a disk that changes bytes by itself can have changed its content. That is found by
reading everything anew, and so is everything if the cache is not there, or damaged, or of another
catalog; files that were put back from a backup have another state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from ingestion.base.errors import InputError
from ingestion.catalog import Catalog
from ingestion.lakehouse import Lakehouse, run_file, run_ids
from ingestion.lakehouse.caches import keep_document, kept_document
from ingestion.lakehouse.ledger import Entry, Ledger, read_ledger
from ingestion.runs.run import catalog_hash
from ingestion.runs.run_folder import RunFolder, Snapshot, look_into

FILE = "sound_runs.zip"
_LAYOUT = 1

_Known = dict[str, tuple[str, RunFolder]]
"""By run, the state of its folder's files, and what it says."""


@dataclass
class Records:
    """What the folders of some runs say."""

    folders: list[RunFolder] = field(default_factory=list)
    """Of the oldest run first."""
    unread: set[str] = field(default_factory=set)
    """Runs whose folders were not read, because they are as they were."""
    ended: set[str] = field(default_factory=set)
    """Runs that write nothing any more."""

    @property
    def ledger(self) -> Ledger:
        """What they recorded of parts."""
        return Ledger(entry for folder in self.folders for entry in folder.parts)

    def ledger_now(self, lakehouse: Lakehouse, runs: Iterable[str]) -> Ledger:
        """Return what these runs have recorded of parts by now, the oldest run first."""
        parts = {folder.run_id: folder.parts for folder in self.folders}
        entries: list[Entry] = []
        for run_id in runs:
            if run_id in self.ended:
                entries += parts[run_id]
            else:
                with suppress(InputError):  # it is named itself
                    entries += read_ledger(lakehouse, run_id)
        return Ledger(entries)

    def row_faults(self, rows_of: Mapping[tuple[str, str], int]) -> Iterator[tuple[str, str]]:
        """Yield where receipts and rows disagree: path below the root, and reason.

        Parameters
        ----------
        rows_of
            Rows in the lakehouse by dataset and run.
        """
        for folder in self.folders:
            for said in folder.snapshots:
                stored = rows_of.get((said.group, folder.run_id), 0)
                yield from ((said.receipt, reason) for reason in said.faults(stored))


def read_records(
    lakehouse: Lakehouse,
    runs: Iterable[str],
    catalog: Catalog,
    done: Callable[[int], object] = lambda _: None,
    *,
    anew: bool = False,
) -> Records:
    """Look into the folders of some runs, the newest first; waits for nobody.

    Parameters
    ----------
    done
        Is called after each run, with 1.
    anew
        Whether to read also what is as an earlier look has left it.
    """
    mark = f"{_LAYOUT} {catalog_hash(catalog)}"
    known = kept_document(lakehouse, FILE, partial(_known, mark)) or {}
    sound: _Known
    records, sound = Records(), {}
    for run_id in runs:
        state = run_state(lakehouse, run_id)
        before = known.get(run_id)
        if before is not None and before[0] == state and not anew:
            folder, sound[run_id] = before[1], before
            records.unread.add(run_id)
        else:
            folder = look_into(lakehouse, run_id, catalog.scanned)
            if state and folder.is_sound and not lakehouse.is_writing(run_id):
                sound[run_id] = state, folder
        records.folders.append(folder)
        done(1)
    records.folders.reverse()
    records.ended = {*sound}
    others = {*run_ids(lakehouse)} - {folder.run_id for folder in records.folders}
    sound |= {run_id: known[run_id] for run_id in others & known.keys()}
    if sound != known:
        runs = {each: (state, _document(folder)) for each, (state, folder) in sound.items()}
        keep_document(lakehouse, FILE, {"mark": mark, "runs": runs})
    return records


def run_state(lakehouse: Lakehouse, run_id: str) -> str:
    """Return a text that is another one once a file of a run has changed; empty without a run."""
    try:
        return lakehouse.folder_state(run_file(lakehouse, run_id, "").key.rstrip("/"))
    except OSError:
        return ""


def _known(mark: str, document: dict[str, Any]) -> _Known:
    if document["mark"] != mark:
        return {}
    runs = document["runs"].items()
    return {run_id: (state, _folder(run_id, said)) for run_id, (state, said) in runs}


def _document(folder: RunFolder) -> list[Any]:
    parts = [
        [each.part, each.sha256, each.rows, each.replaces, each.confirmed] for each in folder.parts
    ]
    published = [[part, sha256] for _, part, sha256 in folder.published]
    return [folder.receipts, parts, published, [[*asdict(s).values()] for s in folder.snapshots]]


def _folder(run_id: str, document: list[Any]) -> RunFolder:
    receipts, parts, published, snapshots = document
    return RunFolder(
        run_id=run_id,
        receipts=receipts,
        parts=tuple(
            Entry(run_id, part, sha256, rows, tuple(replaces), confirmed)
            for part, sha256, rows, replaces, confirmed in parts
        ),
        published=tuple((run_id, part, sha256) for part, sha256 in published),
        snapshots=tuple(Snapshot(*said) for said in snapshots),
    )
