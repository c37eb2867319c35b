"""Which files a source consists of: one file, a folder, hive partitions or a glob.

A file belongs to a folder if it is named like Parquet or has no suffix, and neither it nor a folder
on the way to it begins with ``.`` or ``_``. Folders named ``name=value`` give values that the files
may leave out; these may begin with ``_``. What does not exist has no file.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import cast
from urllib.parse import unquote

from pyarrow import fs

from ingestion.base.errors import CorruptPart
from ingestion.base.instants import to_micros
from ingestion.base.parts import names_in, part_number, replaced_in
from ingestion.plugins.offline.lookup import FOREVER, NEVER
from ingestion.plugins.offline.object_files import State, objects_at
from ingestion.plugins.offline.threads import in_flight

Span = tuple[int, int]
"""The first and the last event time that may be there, Unix µs, inclusive."""
UNKNOWN: Span = (NEVER + 1, FOREVER)

_SUFFIXES = ("", ".parquet", ".parq", ".pq")
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_DATE = re.compile(r"date=(\d{4}-\d{2}-\d{2})", re.ASCII)


@dataclass(frozen=True)
class Location:
    """Where a source lies."""

    filesystem: fs.FileSystem
    path: str
    """A file, a folder or a glob, as the file system spells it."""
    dated: bool = False
    """Whether folders ``date=YYYY-MM-DD`` contain the rows with events of that UTC day alone."""

    def inside(self, name: str) -> Location:
        """Return a file or folder of this folder."""
        return Location(self.filesystem, f"{self.path}/{name}")


def location_of(address: str, *, dated: bool = False) -> Location:
    """Return where a path or an address, such as ``s3://bucket/key``, is."""
    is_remote = "://" in address
    filesystem, path = objects_at(address) if is_remote else (fs.LocalFileSystem(), address)
    return Location(filesystem, path, dated)


@dataclass(frozen=True)
class SourceFile:
    """One file of a source."""

    number: int
    """Its place among the source's files by name, ``part-2`` before ``part-10``."""
    path: str
    constants: dict[str, str | None]
    """What the folders' names say."""
    span: Span | None
    """What its partition date promises; None if there is none."""
    state: State
    """What it was when it was listed."""


def list_files(location: Location, needs: Callable[[int, int], bool]) -> list[SourceFile]:
    """List a source's files, without the partition dates that are not needed.

    Raises
    ------
    CorruptPart
        If one of them is a link to nowhere.
    FileNotFoundError
        If a local file vanishes meanwhile: list again.
    """
    root, matches = _root(location)
    paths = sorted(
        ((info, span) for info, span in _walk(location, root, needs) if matches(info.path)),
        key=lambda found: _natural(found[0].path),
    )
    return [
        SourceFile(number, info.path, _constants(info.path[len(root) :]), span, state(info))
        for number, (info, span) in enumerate(paths)
    ]


def is_local(filesystem: fs.FileSystem) -> bool:
    """Return whether files are on this machine, rather than far away."""
    return isinstance(filesystem, fs.LocalFileSystem)


def state(info: fs.FileInfo) -> State:
    """Return what a file is now."""
    return info.mtime_ns, info.size


def _root(location: Location) -> tuple[str, Callable[[str], bool]]:
    """Return the folder to walk from, and which of its files are meant."""
    path = location.path.rstrip("/")
    if not re.search(r"[*?\[]", path) or _kind(location, path) != fs.FileType.NotFound:
        return path, lambda _: True
    parts = path.split("/")
    plain = next(number for number, part in enumerate(parts) if re.search(r"[*?\[]", part))
    # A folder that matches brings all its files.
    pattern = re.compile("/".join(map(_translated, parts)).replace("\0/", "(?:.*/)?") + "(?:/.*)?")
    return "/".join(parts[:plain]), lambda found: bool(pattern.fullmatch(found))


def _translated(part: str) -> str:
    """Translate one part of a glob; ``**`` is marked, as it takes the slash behind it along."""
    if part == "**":
        return "\0"
    tokens = re.split(r"(\*|\?|\[[^\]]+\])", part)
    wild = {"*": "[^/]*", "?": "[^/]"}
    return "".join(
        re.escape(token) if place % 2 == 0 else wild.get(token, token.replace("[!", "[^"))
        for place, token in enumerate(tokens)
    )


def _walk(
    location: Location, root: str, needs: Callable[[int, int], bool]
) -> Iterator[tuple[fs.FileInfo, Span | None]]:
    filesystem = location.filesystem

    def is_needed(name: str) -> bool:
        span = _day(name) if location.dated else None
        return span is None or needs(*span)

    listed = _listing(filesystem, root, is_needed)
    at_root = listed(root)
    if not at_root:
        start = filesystem.get_file_info(root)
        if start.type == fs.FileType.File:
            yield start, None
        return

    def look(folder: tuple[str, Span | None]) -> tuple[list[fs.FileInfo], Span | None]:
        path, span = folder
        return _entries(filesystem, path, at_root if path == root else listed(path)), span

    folders: list[tuple[str, Span | None]] = [(root, None)]
    while folders:
        looks = map(look, folders) if is_local(filesystem) else in_flight(look, folders)
        folders = []
        for entries, span in looks:
            for entry in entries:
                if entry.type == fs.FileType.Directory:
                    inner = _day(entry.base_name) if location.dated else None
                    folders.append((entry.path, inner or span))
                else:
                    yield entry, span


def _listing(
    filesystem: fs.FileSystem, root: str, is_needed: Callable[[str], bool]
) -> Callable[[str], list[fs.FileInfo]]:
    """Return what lists the folders from a root on: all by one request, if they are far away.

    Names that are not needed are left out before they are looked at: of years, most are not.
    """
    if is_local(filesystem):

        def listed(folder: str) -> list[fs.FileInfo]:
            # A selector leaves out what has gone before it was looked at, and would hide that a
            # file was removed for another one.
            try:
                names = [
                    f"{folder}/{name}"
                    for name in names_in(folder)
                    if _is_visible(name) and is_needed(name)
                ]
            except (FileNotFoundError, NotADirectoryError):
                if folder == root:
                    return []
                raise
            return cast("list[fs.FileInfo]", filesystem.get_file_info(names))

        return listed
    found: dict[str, list[fs.FileInfo]] = {}
    for info in filesystem.get_file_info(
        fs.FileSelector(root, allow_not_found=True, recursive=True)
    ):
        if _is_visible(info.base_name) and is_needed(info.base_name):
            found.setdefault(info.path.rpartition("/")[0], []).append(info)
    return lambda folder: found.get(folder, [])


def _entries(
    filesystem: fs.FileSystem, folder: str, listed: list[fs.FileInfo]
) -> list[fs.FileInfo]:
    """Return the folders in a folder, and the files that are data and that no other replaces."""
    entries = [info for info in listed if _belongs(info, is_local(filesystem))]
    files = [info.base_name for info in entries if info.type == fs.FileType.File]
    opened = None if is_local(filesystem) else filesystem.open_input_file
    replaced = replaced_in(folder, files, opened)
    return [info for info in entries if info.base_name not in replaced]


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and ("=" in name or not name.startswith("_"))


def _belongs(info: fs.FileInfo, local: bool) -> bool:
    """Return whether an entry is a folder or a file of data.

    Raises
    ------
    CorruptPart
        If it could be, and is a link to nowhere.
    FileNotFoundError
        If it could have been, and is gone since its folder was listed.
    """
    if info.type == fs.FileType.Directory:
        return True
    if PurePosixPath(info.base_name).suffix.lower() not in _SUFFIXES:
        return False
    is_empty = info.type == fs.FileType.File and not info.size
    if is_empty and not local and part_number(info.base_name) is not None:
        return False  # a name that nobody may use any more, see ingestion.lakehouse.object_store
    if info.type == fs.FileType.NotFound:
        if Path(info.path).is_symlink():
            raise CorruptPart(f"{info.path} links nowhere: remove it, or bring back what it means")
        raise FileNotFoundError(errno.ENOENT, "gone since its folder was listed", info.path)
    return True


def _kind(location: Location, path: str) -> fs.FileType:
    return location.filesystem.get_file_info(path).type


@lru_cache(maxsize=1 << 14)  # a panel lists years of dates for each slice
def _day(name: str) -> Span | None:
    """Return the span of a partition date; None for ``date=2026-02-31`` and all other names."""
    match = _DATE.fullmatch(name)
    if match is None:
        return None
    try:
        first = to_micros(datetime.fromisoformat(match[1]))
    except ValueError:
        return None
    return first, first + to_micros(timedelta(days=1)) - 1


def _constants(path: str) -> dict[str, str | None]:
    pairs = (folder.partition("=") for folder in path.split("/")[:-1] if "=" in folder)
    return {
        unquote(name): None if value == HIVE_NULL else unquote(value) for name, _, value in pairs
    }


def _natural(path: str) -> list[str | int]:
    return [
        int(part) if place % 2 else part
        for place, part in enumerate(re.split(r"(\d+)", path, flags=re.ASCII))
    ]
