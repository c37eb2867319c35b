"""Copying a whole lakehouse to another place: a folder to an object store, or back.

Nobody writes to either meanwhile. Ledgers and receipts go first, so a copy that was killed lacks
parts that it says it has, which `verify` names, and never has rows that nobody recorded. What is
at the other place already is compared by its hash and not copied again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ingestion.base.errors import CorruptPart, GateRefused
from ingestion.base.fetched import at_once
from ingestion.base.progress import progress
from ingestion.base.wording import counted, some_of
from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.caches import CACHES
from ingestion.lakehouse.compact import lakehouse_lock
from ingestion.lakehouse.run_files import RUNS

_AT_ONCE = 64
_NOT_COPIED = frozenset({"_lock", "_clock", "_tmp", "_removed", CACHES})
"""What is of a place alone, or is made again."""


@dataclass
class Copied:
    """What a copy did."""

    files: int = 0
    """All that both places have now, with equal hashes."""
    copied: int = 0
    """Those of them that were not there before."""
    size: int = 0
    """Bytes of what was copied."""


class _File(NamedTuple):
    key: str
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def copy_lakehouse(source: Lakehouse, target: Lakehouse, run_id: str) -> Copied:
    """Copy all files; run again, it goes on.

    Raises
    ------
    LakehouseLocked
        If somebody writes to one of the two.
    GateRefused
        If the target has files that the source lacks, or other content under a part's name: it is
        another lakehouse, or one that was written to since. Nothing is copied then.
    CorruptPart
        If a file does not read as it was written.
    """
    with lakehouse_lock(source, run_id), lakehouse_lock(target, run_id):
        keys, there = sorted(_files(source), key=_turn), {*_files(target)}
        if more := sorted(there - {*keys}):
            raise GateRefused(
                f"{target} has {counted(len(more), 'file')} that {source} lacks "
                f"({some_of(more)}): nothing was copied; name an empty place"
            )
        done, counter = Copied(), progress("copy", "files")
        counter.start(len(keys))
        for first in range(0, len(keys), _AT_ONCE):
            some = keys[first : first + _AT_ONCE]
            _copy(source, target, some, there, run_id, done)
            counter.advance(len(some))
        counter.close()
        return done


def _copy(
    source: Lakehouse,
    target: Lakehouse,
    keys: Sequence[str],
    there: set[str],
    run_id: str,
    done: Copied,
) -> None:
    files = _read(source, keys)
    before = {each.key: each.sha256 for each in _read(target, [*there.intersection(keys)])}
    new = [each for each in files if before.get(each.key) != each.sha256]
    if changed := [each.key for each in new if each.key in before and each.key[0] != "_"]:
        raise GateRefused(
            f"{target} has other content than {source} in {some_of(changed)}: these were left "
            "alone; name an empty place"
        )
    with target.staging(run_id) as folder:
        staged = {}
        for number, each in enumerate(new):
            path = folder / f"{number}.copy"
            path.write_bytes(each.content)
            if each.key in before:
                target.put(each.key, path)  # a run's file may be written again
            else:
                staged[each.key] = path
        target.create(staged)
    wanted = {each.key: each.sha256 for each in new}
    for each in _read(target, [*wanted]):
        if each.sha256 != wanted[each.key]:
            raise CorruptPart(
                f"{target.location(each.key)} does not read as it was written: check the disk or "
                "the store, then copy again"
            )
    done.files += len(files)
    done.copied += len(new)
    done.size += sum(len(each.content) for each in new)


def _read(lakehouse: Lakehouse, keys: Sequence[str]) -> list[_File]:
    def read(key: str) -> _File:
        with lakehouse.open(key) as file:
            return _File(key, file.read())

    return at_once(read, keys)


def _files(lakehouse: Lakehouse) -> Iterator[str]:
    return (key for key in lakehouse.files() if key.partition("/")[0] not in _NOT_COPIED)


def _turn(key: str) -> tuple[bool, str]:
    return not key.startswith(f"{RUNS}/"), key
