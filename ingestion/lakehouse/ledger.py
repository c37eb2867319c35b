"""What each run wrote, as it said itself: ``_runs/<run_id>/files.jsonl``.

A part is announced, with the hash of its content, before it appears, and confirmed after. So a run
that is killed leaves no part without a recorded hash; and a part that was announced and never
confirmed is told from one that was there and is gone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ingestion.lakehouse.durable import OWN_FILE, make_folder, sync

LEDGER_FILE = "files.jsonl"


@dataclass(frozen=True)
class Entry:
    """One part, as its run recorded it."""

    run_id: str
    part: str
    """Path below the lakehouse's root, with ``/`` between its parts."""
    sha256: str
    """Of the whole file, in hexadecimal."""
    rows: int
    replaces: tuple[str, ...] = ()
    """The parts that it took the place of, if it was merged from them."""
    confirmed: bool = False
    """Whether the run saw it in its place."""


class Ledger:
    """The ledgers of all runs, by part."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._of_part: dict[str, list[Entry]] = {}
        self._runs: set[str] = set()
        for entry in entries:
            self._of_part.setdefault(entry.part, []).append(entry)
            self._runs.add(entry.run_id)

    @classmethod
    def read(cls, root: Path) -> Ledger:
        """Read the ledgers of all runs; a lakehouse older than they are has none."""
        runs = sorted((root / "_runs").glob(f"*/{LEDGER_FILE}"))
        return cls(entry for path in runs for entry in read_ledger(root, path.parent.name))

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._runs

    def __iter__(self) -> Iterator[Entry]:
        return (entry for entries in self._of_part.values() for entry in entries)

    def of(self, part: str) -> list[Entry]:
        """Return what was recorded of a part: more than once if runs died before it appeared."""
        return self._of_part.get(part, [])

    def is_among(self, part: str, seen: Collection[str]) -> bool:
        """Tell whether a part, or everything that it was merged from, is among those seen."""
        open_, visited = [part], set(seen)
        while open_:
            name = open_.pop()
            if name in visited:
                continue
            visited.add(name)
            merged = [entry for entry in self.of(name) if entry.replaces]
            if not merged:
                return False
            open_ += merged[-1].replaces
        return True

    def replaced(self, present: set[str]) -> set[str]:
        """Return the parts that a merged one took the place of.

        Parameters
        ----------
        present
            The parts that are there; a merged part that is neither there nor confirmed nor itself
            replaced has taken nobody's place.
        """
        merged = [entry for entry in self if entry.replaces]
        gone: set[str] = set()
        while (
            new := {
                part
                for entry in merged
                if entry.confirmed or entry.part in present or entry.part in gone
                for part in entry.replaces
            }
            - gone
        ):
            gone |= new
        return gone


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def announce(root: Path, entry: Entry) -> None:
    """Record a part that is about to appear; on the disk when this returns."""
    line: dict[str, Any] = {"part": entry.part, "sha256": entry.sha256, "rows": entry.rows}
    if entry.replaces:
        line["replaces"] = entry.replaces
    _append(root, entry.run_id, line, durable=True)


def confirm(root: Path, entry: Entry) -> None:
    """Record that a part has appeared.

    Not waited for: the part itself says the same for as long as it is there.
    """
    _append(root, entry.run_id, {"confirmed": entry.part}, durable=False)


def read_ledger(root: Path, run_id: str) -> list[Entry]:
    """Return a run's parts in the order in which it wrote them; a torn line is left out."""
    path = root / "_runs" / run_id / LEDGER_FILE
    entries: dict[str, Entry] = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
            if (part := record.get("confirmed")) is not None:
                entries[part] = replace(entries[part], confirmed=True)
                continue
            entry = Entry(
                run_id=run_id,
                part=record["part"],
                sha256=record["sha256"],
                rows=record["rows"],
                replaces=tuple(record.get("replaces", ())),
            )
            entries[entry.part] = entry
        except (ValueError, LookupError, AttributeError, TypeError):
            continue  # the run died in the midst of it, before the part could appear
    return list(entries.values())


def _append(root: Path, run_id: str, line: dict[str, Any], *, durable: bool) -> None:
    path = root / "_runs" / run_id / LEDGER_FILE
    make_folder(path.parent, root)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, OWN_FILE)
    with os.fdopen(descriptor, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        # After a full disk the last line may be torn; it must not take this one along.
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        file.write(b"\n" * torn + json.dumps(line, ensure_ascii=False).encode() + b"\n")
        if durable:
            file.flush()
            os.fsync(descriptor)
    if durable and not size:
        sync(path.parent)
