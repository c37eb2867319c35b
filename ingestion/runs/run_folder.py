"""What a run has left in its folder: what it says, and what of it is wrong by itself.

A run's folder contains what its run has recorded, unchanged, and nothing else. What a receipt lists
is in the ledger of its run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ingestion.base.errors import CorruptPart, InputError
from ingestion.base.wording import counted
from ingestion.catalog import FeatureGroup
from ingestion.lakehouse import Lakehouse, RunFile, files_of_run, run_file
from ingestion.lakehouse.ledger import LEDGER_FILE, Entry, Key, RunLedger, read_run_ledger
from ingestion.runs.quarantine import QUARANTINE_FILE, quarantined
from ingestion.runs.receipt_file import is_of_group, receipt_in, snapshot_name

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


@dataclass(frozen=True)
class Snapshot:
    """What the receipt of a snapshot says of its rows."""

    receipt: str
    """Path below the root."""
    group: str
    is_refused: bool
    fetched: int | None
    """None if it does not say."""
    kept_back: int
    """Rows in the quarantine beside it."""

    def faults(self, stored: int) -> Iterator[str]:
        """Compare it, which is written before the part appears, with the rows of its run."""
        if self.is_refused and stored:
            yield (
                "says that nothing was published, and the lakehouse has "
                f"{counted(stored, 'row')} of its run"
            )
        elif stored and stored + self.kept_back != self.fetched:
            yield (
                f"says that {counted(self.fetched or 0, 'row was', 'rows were')} fetched; the "
                f"lakehouse has {stored} of its "
                f"run, and its quarantine {self.kept_back}"
            )


@dataclass(frozen=True)
class RunFolder:
    """What one run's folder says."""

    run_id: str
    receipts: int = 0
    parts: tuple[Entry, ...] = ()
    """What its ledger says that it wrote."""
    published: tuple[Key, ...] = ()
    """The parts that its receipts list."""
    snapshots: tuple[Snapshot, ...] = ()
    gone: tuple[Entry, ...] = ()
    """Files of the folder itself that the run saw in their places and that are gone."""
    faults: tuple[tuple[str, str], ...] = ()
    """Path below the root, and reason; files that are gone are not among them."""

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong and nothing is gone."""
        return not self.faults and not self.gone


def look_into(lakehouse: Lakehouse, run_id: str, scanned: Sequence[FeatureGroup]) -> RunFolder:
    """Read all that is in a run's folder; the run may be writing meanwhile.

    Parameters
    ----------
    scanned
        The groups of the scanner, whose receipts say how many rows there are.
    """
    found = _Look(lakehouse, run_id, scanned).result()
    # A run that is retired meanwhile goes whole.
    is_there = found.is_sound or run_file(lakehouse, run_id, "").exists()
    return found if is_there else RunFolder(run_id)


@dataclass
class _Look:
    lakehouse: Lakehouse
    run_id: str
    scanned: Sequence[FeatureGroup]
    receipts: int = 0
    published: list[Key] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)

    def result(self) -> RunFolder:
        folder = run_file(self.lakehouse, self.run_id, "")
        present: list[RunFile] = []
        try:
            # Before the ledger is read: a file's line is there before the file is.
            present = files_of_run(self.lakehouse, self.run_id)
        except InputError as error:
            self.faults.append((folder.key.rstrip("/"), _reason(error, folder)))
        else:
            if not present:
                return RunFolder(self.run_id)
        ledger = self._ledger(is_to_be_named=bool(present))
        names = {file.name for file in present}
        for file in present:
            if file.name != LEDGER_FILE:
                self._file(file, names, ledger)
        return RunFolder(
            run_id=self.run_id,
            receipts=self.receipts,
            parts=ledger.parts if ledger else (),
            published=tuple(self.published),
            snapshots=tuple(self.snapshots),
            gone=tuple(self._gone(names, ledger)) if present else (),
            faults=tuple(self.faults),
        )

    def _ledger(self, *, is_to_be_named: bool) -> RunLedger | None:
        file = run_file(self.lakehouse, self.run_id, LEDGER_FILE)
        try:
            ledger = read_run_ledger(self.lakehouse, self.run_id)
        except InputError as error:
            if is_to_be_named:
                self.faults.append((file.key, _reason(error, file)))
            return None
        if ledger.strange:
            reason = (
                f"has what no run wrote, in line {ledger.strange[0]}: put it back from a backup"
            )
            self.faults.append((file.key, reason))
        return ledger

    def _file(self, file: RunFile, names: set[str], ledger: RunLedger | None) -> None:
        is_receipt, sha256 = file.name.endswith(".json"), None
        if is_receipt:
            sha256 = self._receipt(file, names, ledger)
        recorded = ledger.files.get(file.key) if ledger else None
        if recorded:
            if sha256 not in {each.sha256 for each in recorded}:
                self._name(file, _change(self.lakehouse, file, recorded))
        elif not is_receipt and not file.name.endswith((QUARANTINE_FILE, REFUSED_FILE)):
            self._name(file, _FOREIGN)
        elif ledger is not None:
            self._name(file, _UNRECORDED)

    def _name(self, file: RunFile, reason: str | None) -> None:
        if reason:
            self.faults.append((file.key, reason))

    def _receipt(self, file: RunFile, names: set[str], ledger: RunLedger | None) -> str | None:
        """Take what a receipt says, and return its hash; None if it cannot be read."""
        self.receipts += 1
        try:
            content = file.read()
        except OSError:
            return None
        try:
            document = receipt_in(file, content)
        except InputError as error:
            self._name(file, _reason(error, file))
        else:
            files = list(_files(document))
            self.published += [
                (self.run_id, str(each.get("part")), str(each.get("sha256"))) for each in files
            ]
            for reason in _file_faults(files, ledger):
                self._name(file, reason)
            self._snapshots(file, names, document)
        return hashlib.sha256(content).hexdigest()

    def _snapshots(self, file: RunFile, names: set[str], document: dict[str, Any]) -> None:
        for group in self.scanned:
            if file.name != snapshot_name(names, group) or not is_of_group(document, group):
                continue
            try:
                kept_back = quarantined(self.lakehouse, self.run_id)[group.name]
            except CorruptPart as error:
                self._name(file, str(error))
                return
            is_refused, fetched = document.get("verdict") == "refuse", document.get("fetched")
            said = Snapshot(file.key, group.name, is_refused, fetched, kept_back)
            self.snapshots.append(said)

    def _gone(self, names: set[str], ledger: RunLedger | None) -> list[Entry]:
        recorded = ledger.files.values() if ledger else ()
        return [
            last
            for last, *_ in recorded
            if last.confirmed
            and last.part.rpartition("/")[2] not in names
            and not self.lakehouse.exists(last.part)
        ]


def _reason(error: InputError, file: RunFile) -> str:
    return str(error).removeprefix(f"{file} ")


def _change(lakehouse: Lakehouse, file: RunFile, recorded: list[Entry]) -> str | None:
    """Return what is wrong with a recorded file, if anything is."""
    for _ in range(_LOOKS):  # it may be written again between the two
        try:
            content = file.sha256()
        except OSError as error:
            return f"cannot be read ({error.strerror}): put it back from a backup"
        if content in {each.sha256 for each in recorded}:
            return None
        recorded = read_run_ledger(lakehouse, file.run_id).files[file.key]
    return _CHANGED


def _files(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    files = document.get("parts")
    return (file for file in (files if isinstance(files, list) else ()) if isinstance(file, dict))


def _file_faults(files: list[dict[str, Any]], ledger: RunLedger | None) -> Iterator[str]:
    if not files or ledger is None:  # an unreadable ledger is named itself
        return
    written = {entry.part: entry for entry in ledger.parts}
    for file in files:
        entry = written.get(str(file.get("part")))
        if entry is None:
            yield f"lists {file.get('part')}, which its run did not record"
        elif (file.get("sha256"), file.get("rows")) != (entry.sha256, entry.rows):
            yield f"and the ledger of its run do not agree on {entry.part}"
