"""Files that replace other files of their folder, and leaving out the replaced ones.

A file ``part-<n>.parquet`` may say in its Parquet metadata which files of its folder it replaces,
each with the SHA-256 of its content. It is put into the folder first, and the others are removed
one by one after that. Readers that leave out what a file beside it replaces see the old files, or
the new one, at every instant and also after a kill; all others see rows twice in between.

The content counts, not the name alone: another file that got the name later is not left out.
Most folders have one file, and nothing is read there. In the others the end of each file is read
once per process, about 20 µs on a local disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import pyarrow as pa
import pyarrow.parquet as pq

REPLACES = "tvfeast.replaces"
"""The member of a file's metadata: a JSON object, from a file's name to its SHA-256."""
_PART = re.compile(r"part-(0|[1-9]\d*)\.parquet", re.ASCII)
_BEGIN = "part-"
_TAIL = 16 << 10
"""Bytes; most footers are shorter."""
_END = 8
"""Bytes behind a footer: its length and ``PAR1``."""
_MOST_SEEN = 1 << 16
_seen: dict[tuple[object, ...], Any] = {}
"""What files of the local disk were found to say, by their states."""

Found = TypeVar("Found")
Opened = Callable[[str], IO[bytes]]


def names_in(folder: str | Path) -> list[str]:
    """Return the names in a local folder, in no particular order.

    The system gives some 800 names in one call, during which none is added or removed: so of a file
    and those that it replaces, a listing has the one, the others, or all.

    Raises
    ------
    OSError
        If there is no such folder, or nobody may look.
    """
    return os.listdir(folder)  # noqa: PTH208 - to make the paths takes longer than to list


def part_name(number: int) -> str:
    """Return the name of a folder's n-th part.

    Examples
    --------
    >>> part_name(3)
    'part-3.parquet'
    """
    return f"part-{number}.parquet"


@lru_cache(maxsize=1 << 12)
def part_number(name: str) -> int | None:
    """Return the number in a part's name; None for another name.

    Examples
    --------
    >>> part_number("part-3.parquet"), part_number("part-03.parquet")
    (3, None)
    """
    match = _PART.fullmatch(name)
    return int(match[1]) if match else None


def part_numbers(names: Iterable[str]) -> list[int]:
    """Return the numbers of the parts among a folder's names."""
    return [number for name in names if (number := part_number(name)) is not None]


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a local file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hash_of(file)


def hash_of(file: IO[bytes]) -> str:
    """Return the SHA-256 of an open file's content, in hexadecimal."""
    return hashlib.file_digest(cast("Any", file), "sha256").hexdigest()


def with_replaced(table: pa.Table, replaced: Mapping[str, str]) -> pa.Table:
    """Return a table whose file will say which files it replaces.

    Parameters
    ----------
    replaced
        SHA-256 in hexadecimal, by the names of files in the same folder.
    """
    metadata = dict(table.schema.metadata or {})
    return table.replace_schema_metadata(metadata | {REPLACES: json.dumps(dict(replaced))})


def replaced_in(
    folder: str, names: Collection[str], opened: Opened | None = None
) -> frozenset[str]:
    """Return which of a folder's files another one of them replaces.

    Parameters
    ----------
    names
        All files that a listing of the folder found. One that is gone by now replaces nothing, and
        is not left out: reading it fails, and the reader lists again.
    opened
        Opens a file by its path; not given for a folder of the local disk, about whose files this
        process remembers what they say.

    Raises
    ------
    OSError
        If a place that is not the local disk does not answer. A local file that cannot be read is
        not left out either: reading it says why.
    """
    if len(names) < 2:
        return frozenset()
    present, replaced = set(names), set[str]()
    for name in names:
        number = part_number(name) if name.startswith(_BEGIN) else None  # of thousands of runs
        if not number:  # the first part, number 0, replaces nothing
            continue
        for old, sha256 in (_look(opened, f"{folder}/{name}", _told) or {}).items():
            older = part_number(old)
            if (
                old in present - replaced
                and (older is None or older < number)
                and _look(opened, f"{folder}/{old}", hash_of) == sha256
            ):
                replaced.add(old)
    return frozenset(replaced)


def _look(opened: Opened | None, path: str, look: Callable[[IO[bytes]], Found]) -> Found | None:
    """Return what a look into a file finds; None if the file is gone or cannot be read."""
    if opened is not None:
        try:
            with opened(path) as file:
                return look(file)
        except FileNotFoundError:
            return None
    try:
        status = os.stat(path)  # noqa: PTH116 - text, as the names are
        key = (look, path, status.st_ino, status.st_mtime_ns, status.st_size)
        found = cast("Found | None", _seen.get(key))
        if found is None:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123
                found = look(file)
            if len(_seen) >= _MOST_SEEN:
                _seen.clear()
            _seen[key] = found
        return found
    except OSError:
        return None


def _told(file: IO[bytes]) -> Mapping[str, str]:
    """Return what a file says that it replaces: nothing for a file that has no such member."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - _TAIL, 0))
    tail = file.read(_TAIL)
    length = int.from_bytes(tail[-_END:-4], "little") + _END
    if tail[-4:] != b"PAR1" or length > size:
        return {}
    if length > len(tail):
        file.seek(size - length)
        tail = file.read(length)
    if REPLACES.encode() not in tail[-length:]:
        return {}
    try:
        file.seek(0)
        told = json.loads(pq.read_metadata(file).metadata[REPLACES.encode()])
    except (pa.ArrowException, LookupError, TypeError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
