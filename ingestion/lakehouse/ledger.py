"""What each run wrote, as it said itself: ``files.jsonl`` in its folder.

A part is announced, with the hash of its content, before it appears, and confirmed after. So a run
that is killed leaves no part without a recorded hash; and a part that was announced and never
confirmed differs from one that was there and is gone.

The files of the run's own folder, its receipts above all, are recorded likewise. They may be
written again: see :func:`read_run_ledger`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ingestion.base.errors import CorruptPart, InputError
from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.origins import is_merged
from ingestion.lakehouse.parts import Part, read_metadata
from ingestion.lakehouse.run_files import RUNS, run_file, run_ids

LEDGER_FILE = "files.jsonl"
_BEGINNINGS = (b'{"part": "', b'{"confirmed": "', b'{"file": "')

Key = tuple[str, str, str]
"""Run, part and hash."""


@dataclass(frozen=True)
class Entry:
    """One part, or a file of the run's own folder, as its run recorded it."""

    run_id: str
    part: str
    """Path below the lakehouse's root, with ``/`` between its parts."""
    sha256: str
    """Of the whole file, in hexadecimal."""
    rows: int
    """Of a part."""
    replaces: tuple[str, ...] = ()
    """The parts that it took the place of, if it was merged from them."""
    confirmed: bool = False
    """Whether the run saw it in its place."""

    @property
    def key(self) -> Key:
        """What it differs in from all others: another run may write another part under its name."""
        return self.run_id, self.part, self.sha256


class Ledger:
    """The ledgers of all runs, by part."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._of_part: dict[str, list[Entry]] = {}
        self._runs: set[str] = set()
        for entry in entries:
            self._of_part.setdefault(entry.part, []).append(entry)
            self._runs.add(entry.run_id)

    @classmethod
    def read(cls, lakehouse: Lakehouse, *, whole: bool = True) -> Ledger:
        """Read the ledgers of all runs; a lakehouse older than they are has none.

        Parameters
        ----------
        whole
            Whether to refuse if one cannot be read; otherwise it counts as if it were not there.

        Raises
        ------
        InputError
            If one cannot be read.
        """
        entries: list[Entry] = []
        for run_id in reversed(run_ids(lakehouse)):
            try:
                entries += read_ledger(lakehouse, run_id)
            except InputError:
                if whole:
                    raise
        return cls(entries)

    @classmethod
    def of_merged(
        cls,
        lakehouse: Lakehouse,
        parts: Iterable[Part],
        seen: Collection[str],
        *,
        whole: bool = True,
    ) -> Ledger:
        """Read what :meth:`is_among` needs to know of these parts, whole or not at all.

        A part that no merge wrote is itself alone, so no ledger is read unless one that is not
        among those seen was merged. What this costs does not grow with the number of runs.

        Parameters and errors as of :meth:`read`.
        """
        others = (part for part in parts if part.key not in seen)
        return cls.read(lakehouse, whole=whole) if any(map(_may_be_merged, others)) else cls(())

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._runs

    def __iter__(self) -> Iterator[Entry]:
        return (entry for entries in self._of_part.values() for entry in entries)

    def of(self, part: str) -> list[Entry]:
        """Return what was recorded of a part: more than once if runs died before it appeared."""
        return self._of_part.get(part, [])

    def is_among(self, part: str, seen: Collection[str]) -> bool:
        """Return whether a part, or everything that it was merged from, is among those seen."""
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


def _may_be_merged(part: Part) -> bool:
    try:
        return is_merged(read_metadata(part).metadata)
    except (CorruptPart, FileNotFoundError):
        return True  # the ledger knows it too


def announce(lakehouse: Lakehouse, *entries: Entry) -> None:
    """Record parts of one run that are about to appear; on the disk when this returns."""
    lines = []
    for entry in entries:
        line: dict[str, Any] = {"part": entry.part, "sha256": entry.sha256, "rows": entry.rows}
        if entry.replaces:
            line["replaces"] = entry.replaces
        lines.append(line)
    _append(lakehouse, entries[0].run_id, lines, durable=True)


def close(lakehouse: Lakehouse, run_id: str) -> None:
    """Let a run that was overtaken add nothing more, also if it was only frozen and wakes up.

    Parts that it announced and that have appeared stay; the names of the others are sealed.
    """
    lakehouse.close(run_file(lakehouse, run_id, LEDGER_FILE).key)
    for entry in read_ledger(lakehouse, run_id):
        if not entry.confirmed:
            lakehouse.seal(entry.part)


def announce_file(lakehouse: Lakehouse, entry: Entry) -> None:
    """Record a file of the run's folder that is about to appear, or to change; on the disk too."""
    line = {"file": entry.part, "sha256": entry.sha256}
    _append(lakehouse, entry.run_id, [line], durable=True)


def confirm(lakehouse: Lakehouse, *entries: Entry) -> None:
    """Record that parts or files of one run have appeared.

    Not waited for: they say the same themselves for as long as they are there.
    """
    lines = [{"confirmed": entry.part} for entry in entries]
    _append(lakehouse, entries[0].run_id, lines, durable=False)


@dataclass(frozen=True)
class RunLedger:
    """What one run recorded."""

    parts: tuple[Entry, ...]
    """In the order in which it wrote them."""
    files: Mapping[str, list[Entry]]
    """Of its own folder, by their paths below the root; see :func:`read_run_ledger`."""
    strange: tuple[int, ...]
    """The lines, from 1 on, that no run has written, nor begun to."""


def read_run_ledger(lakehouse: Lakehouse, run_id: str) -> RunLedger:
    """Return what a run recorded; what is no record is left out.

    A file of its own folder has one of the contents that are recorded of it: the last one that the
    run saw in its place, or one that was announced since. So a run that is killed while it writes
    a file again leaves nothing that contradicts its ledger.

    Raises
    ------
    InputError
        If the ledger is there and cannot be read.
    """
    parts: dict[str, Entry] = {}
    files: dict[str, list[Entry]] = {}
    strange = []
    for number, line in enumerate(_lines(lakehouse, run_id), start=1):
        record = _record(run_id, line)
        if isinstance(record, Entry):
            if _is_of_own_folder(record):
                files.setdefault(record.part, []).append(record)
            else:
                parts[record.part] = record
        elif record in files:
            files[record] = [replace(files[record][-1], confirmed=True)]
        elif record in parts:
            parts[record] = replace(parts[record], confirmed=True)
        elif record is None and not _is_torn(line):
            strange.append(number)
    return RunLedger(tuple(parts.values()), files, tuple(strange))


def read_ledger(lakehouse: Lakehouse, run_id: str) -> list[Entry]:
    """Return a run's parts in the order in which it wrote them; errors as of the whole ledger."""
    return [*read_run_ledger(lakehouse, run_id).parts]


def _lines(lakehouse: Lakehouse, run_id: str) -> list[bytes]:
    file = run_file(lakehouse, run_id, LEDGER_FILE)
    try:
        return file.read().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror}): give yourself the right to read it, or "
            "put it back from a backup"
        ) from error


def _record(run_id: str, line: bytes) -> Entry | str | None:
    """Return what a line announces, or the path that it confirms; None if it is no record."""
    try:
        record = json.loads(line)
        if "file" in record:
            entry = Entry(run_id, record["file"], record["sha256"], 0)
            is_one = _is_of_own_folder(entry)
        elif "closed" in record:
            return ""  # about no part: see `close`
        elif "confirmed" in record:
            return record["confirmed"] if isinstance(record["confirmed"], str) else None
        else:
            replaces = tuple(record.get("replaces", ()))
            entry = Entry(run_id, record["part"], record["sha256"], record["rows"], replaces)
            is_one = type(entry.rows) is int and all(
                isinstance(text, str) for text in (entry.part, *replaces)
            )
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return None
    return entry if is_one and isinstance(entry.sha256, str) else None


def _is_of_own_folder(entry: Entry) -> bool:
    return entry.part.startswith(f"{RUNS}/{entry.run_id}/")


def _is_torn(line: bytes) -> bool:
    """Return whether a run may have died in the midst of a line, before the part could appear."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return any(line[: len(begin)] == begin[: len(line)] for begin in _BEGINNINGS)
    return False


def _append(
    lakehouse: Lakehouse, run_id: str, lines: list[dict[str, Any]], *, durable: bool
) -> None:
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    lakehouse.append(run_file(lakehouse, run_id, LEDGER_FILE).key, text, durable=durable)
