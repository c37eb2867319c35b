"""An object store: a lakehouse whose files are objects of a bucket.

There are no folders, links or renames. A part is put only where there is no object, so none is
ever changed; a PUT is atomic, so none is seen half. The lock is a lease (:mod:`.lease`), which a
run may lose while it is frozen. Such a run adds nothing when it wakes up: it announces each part in
its ledger first, whose end is marked by whoever takes the lease next (:meth:`ObjectStore.close`);
and the names that it had announced before that and not used are taken by empty objects
(:meth:`ObjectStore.seal`), which no listing has.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from pathlib import Path
from typing import BinaryIO

from ingestion.base.errors import StoreFailed
from ingestion.base.fetched import IN_FLIGHT, FetchedFiles, at_once
from ingestion.base.objects import LONGEST_RETRY, Objects, Stored
from ingestion.base.parts import part_number, replaced_in
from ingestion.lakehouse.backend import Folder, Lakehouse
from ingestion.lakehouse.lease import (
    KEPT_S,
    TTL_S,
    Lease,
    Step,
    demand_conditions,
    holder,
    lost,
)
from ingestion.lakehouse.listing import Inside, Listing, area_of
from ingestion.lakehouse.scratch import Scratch

_JUST_NOW = datetime.max.replace(tzinfo=UTC)
_REMOVED = "_removed"
"""Names the folders that are being removed."""
_CLOSED = b'{"closed": true}\n'
"""The last line of a file to which nobody may add any more."""
_MOST_FOUND = 1 << 16
_KEPT = 128 << 20
"""Bytes of files that a run keeps: it reads the footer, the times and the values of many."""
_LARGE = 4 << 20
"""Bytes of a file that is not kept."""
_A_HABIT = 2
"""Dates in a row after which the next ones are fetched ahead."""


class ObjectStore(Lakehouse):
    """A lakehouse at ``s3://bucket/prefix``.

    Parameters
    ----------
    ttl
        Seconds after which a run that does not renew its lease has lost it.
    """

    is_listed_whole = True

    def __init__(self, uri: str, ttl: float = TTL_S, retry_for: timedelta = LONGEST_RETRY) -> None:
        self.uri = uri.rstrip("/")
        self._ttl = ttl
        self._objects = Objects(self.uri, retry_for)
        self._lease: Lease | None = None
        self._is_safe = False
        self._run = ""
        self._unsaid: dict[str, str] = {}
        """Lines that need not be waited for, by key: they go with the next ones."""
        self._ends: dict[str, tuple[bytes, str]] = {}
        """Content and tag of the files to which this process added lines."""
        self._found: dict[str, tuple[tuple[Stored, ...], Folder]] = {}
        self._listing, self._looks = Listing(), 0
        self._kept = FetchedFiles(_KEPT)
        self._read: dict[str, tuple[int, int]] = {}
        """By area, the place of the date that was fetched last, and how often the next one was."""
        self._scratch = Scratch(self.uri)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectStore) and other.uri == self.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    def location(self, key: str) -> str:
        return f"{self.uri}/{key}" if key else self.uri

    def names(self, folder: str) -> list[str]:
        folders, objects = self._inside(folder)
        if folder and not (folders or objects) and self._is_object(folder):
            raise NotADirectoryError(20, "Not a folder", self.location(folder))
        return [*folders, *(_name(each) for each in objects if not _is_seal(each))]

    def files(self, folder: str = "") -> Iterator[str]:
        return (each.key for each in self._objects.below(folder) if not _is_seal(each))

    def _listed(self, area: str) -> Listing | None:
        """Return what is known of an area without a request; None where others may change it."""
        if not (self._lease or self._looks) or not area:
            return None
        if not self._listing.knows(area):
            self._listing.take(area, self._objects.below(area))
        return self._listing

    def _inside(self, folder: str) -> Inside:
        listed = self._listed(area_of(folder))
        return listed.inside(folder) if listed else self._objects.inside(folder)

    def _object(self, key: str) -> Stored:
        area = area_of(key)
        listed = self._listed(area) if area != key else None
        found = listed.get(key) if listed else None
        if found is None and not (listed and self._lease):
            return self._objects.head(key)
        if found is None:
            raise FileNotFoundError(2, "No such object", self.location(key))
        return found

    def exists(self, key: str) -> bool:
        key = key.rstrip("/")
        if self._is_object(key):
            return True
        if self._lease and (listed := self._listed(area_of(key))):
            return listed.has_files(key)
        return next(self._objects.below(key), None) is not None

    def _is_object(self, key: str) -> bool:
        try:
            return not _is_seal(self._object(key))
        except FileNotFoundError:
            return False

    def having(self, folders: Iterable[str], name: str) -> Iterator[str]:
        left = iter(folders)
        while some := [*islice(left, IN_FLIGHT)]:
            keys = [f"{folder}/{name}" for folder in some]
            self._listed(area_of(keys[0]))  # once, and not in each thread
            there = at_once(self._is_object, keys)
            yield from (folder for folder, is_there in zip(some, there, strict=True) if is_there)

    def size(self, key: str) -> int:
        return self._object(key).size

    def state(self, key: str) -> str:
        self._say(key)
        return self._object(key).tag

    def folder_state(self, key: str) -> str:
        for each in [*self._unsaid]:
            self._say(each)
        _, objects = self._inside(key)
        return "\n".join(f"{_name(each)} {each.tag}" for each in objects)

    def open(self, key: str) -> BinaryIO:
        if key in self._ends:  # this run alone adds to it
            return io.BytesIO(self._ends[key][0] + self._unsaid.get(key, "").encode())
        self._say(key)
        if not (self._lease or self._looks):
            return self._objects.open(key)
        try:
            stored = self._object(key)
            if stored.size > _LARGE:
                return self._objects.open(key)
            if (kept := self._kept.get(key, stored.tag)) is None:
                kept, *_ = at_once(self._fetch, [key, *self._following(key)])
        except FileNotFoundError:
            kept = None
        if kept is None:
            self._forget()  # it was merged meanwhile: who reads again lists again
            raise FileNotFoundError(2, "No such object", self.location(key))
        return io.BytesIO(kept)

    def _fetch(self, key: str) -> bytes | None:
        """Fetch a file and keep it; None if it is gone."""
        try:
            content, stored = self._objects.get(key)
        except FileNotFoundError:
            return None
        self._kept.put(key, stored.tag, content)
        return content

    def _following(self, key: str) -> list[str]:
        """Return what is likely to be read next: of the same date, and where dates are in a row."""
        area, folder = area_of(key), key.rpartition("/")[0]
        dates = [f"{area}/{name}" for name in self._listing.inside(area)[0]]
        if folder not in dates:
            return []
        at = dates.index(folder)
        before, in_a_row = self._read.get(area, (at, 0))
        step = at - before
        in_a_row = in_a_row + 1 if step in (1, -1) else 0
        ahead = [at] if "/date=" in folder else []
        if in_a_row > _A_HABIT:
            ahead += range(at + step, at + step * IN_FLIGHT, step)
        following, size = [], 0
        for number in ahead:
            if not 0 <= number < len(dates):
                break
            for each in self._listing.inside(dates[number])[1]:
                if each.size > _LARGE or _is_seal(each) or self._kept.get(each.key, each.tag):
                    continue
                size += each.size
                if each.key != key:
                    following.append(each.key)
            at = number
            if size > _KEPT // 4:  # those that are read next must not be gone by then
                break
        self._read[area] = at, in_a_row
        return following

    def folder(self, key: str) -> Folder:
        return self._folder(key, *self._inside(key))

    def folders(self, above: str, first: str = "", last: str = "\U0010ffff") -> Iterator[Folder]:
        if listed := self._listed(above):
            for name in listed.inside(above)[0]:
                if first <= name <= last:
                    yield self.folder(f"{above}/{name}")
            return
        # SeaweedFS takes the name of a folder, to begin after, for all that is in the folder.
        after = f"{above}/{first[:-1]}" if first else ""
        depth = above.count("/") + 1
        objects = (
            each for each in self._objects.below(above, after) if each.key.count("/") > depth
        )
        for name, inside in groupby(objects, lambda each: each.key.split("/")[depth]):
            if name > last:
                return
            if name < first:
                continue
            key = f"{above}/{name}"
            yield self._folder(key, [], [each for each in inside if _folder_of(each) == key])

    def _folder(self, key: str, folders: list[str], objects: list[Stored]) -> Folder:
        state = tuple(each for each in objects if not _is_seal(each))
        found = self._found.get(key)
        if found is not None and found[0] == state and not folders:
            return found[1]
        files = sorted([*folders, *map(_name, state)])
        by_path = {each.key: each for each in state}
        replaced = replaced_in(key, files, lambda path: self._objects.open_end(by_path[path]))
        folder = Folder(key, files, replaced)
        if len(self._found) >= _MOST_FOUND:
            self._found.clear()
        self._found[key] = state, folder
        return folder

    def scratch_folder(self, name: str) -> Path:
        return self._scratch.folder(name)

    def stage(self, name: str) -> Path:
        return self._scratch.make(name)

    def staged(self) -> list[str]:
        return [*self._scratch.left(), *self.overtaken()]

    def unstage(self, name: str = "") -> None:
        self._scratch.clear(name)
        if not name and self._lease is not None:
            self._lease.settle()

    def overtaken(self) -> list[str]:
        return [*self._lease.left] if self._lease is not None else []

    def create(self, files: Mapping[str, Path]) -> list[str]:
        self._check()

        def put(key: str) -> str | None:
            content = files[key].read_bytes()
            tag = self._objects.create(key, content)
            self._changed(key, len(content), tag)
            return tag

        tags = at_once(put, files)
        return [key for key, tag in zip(files, tags, strict=True) if tag is None]

    def put(self, key: str, content: bytes | Path) -> None:
        self._check()
        there = content.read_bytes() if isinstance(content, Path) else content
        tag = self._objects.put(key, there)
        self._changed(key, len(there), tag)
        if isinstance(content, Path):
            content.unlink()

    def _changed(self, key: str, size: int, tag: str | None) -> None:
        """Take down what was written; None is the tag of a file that another one was faster at."""
        if self._listing.knows(key):
            self._listing.put(
                self._objects.head(key) if tag is None else Stored(key, size, tag, _JUST_NOW)
            )

    def append(self, key: str, text: str, *, durable: bool) -> None:
        self._check()
        if not durable and self._lease is not None:
            self._unsaid[key] = self._unsaid.get(key, "") + text
            return
        text = self._unsaid.pop(key, "") + text
        while True:
            before, tag = self._ends.get(key) or self._end(key)
            content = before + text.encode()
            new = (
                self._objects.swap(key, content, tag) if tag else self._objects.create(key, content)
            )
            if new is not None:
                if self._lease is not None:  # without it, others may add to the file
                    self._ends[key] = content, new
                self._changed(key, len(content), new)
                return
            self._ends.pop(key, None)

    def _end(self, key: str) -> tuple[bytes, str]:
        """Return what is in a file so far, and its tag; an empty one if there is none."""
        try:
            content, stored = self._objects.get(key)
        except FileNotFoundError:
            return b"", ""
        if content.endswith(_CLOSED):
            raise lost(self.uri, self._run or key)
        return content, stored.tag

    def close(self, key: str) -> None:
        while True:
            try:
                content, stored = self._objects.get(key)
            except FileNotFoundError:
                done = self._objects.create(key, _CLOSED)
            else:
                if content.endswith(_CLOSED):
                    return
                done = self._objects.swap(key, content + _CLOSED, stored.tag)
            if done is not None:
                self._changed(key, self._objects.head(key).size, done)
                return

    def seal(self, key: str) -> None:
        self._changed(key, 0, self._objects.create(key, b""))

    def _say(self, key: str) -> None:
        """Add the lines that were not waited for."""
        if key in self._unsaid:
            self.append(key, "", durable=True)

    def remove(self, folder: str, names: Collection[str]) -> None:
        self._check()
        self._delete([f"{folder}/{name}" for name in names])

    def remove_folders(self, folders: Collection[str]) -> None:
        self._check()
        self._objects.put(_REMOVED, json.dumps(sorted(folders)).encode())
        self._remove_the_rest(folders)

    def _remove_the_rest(self, folders: Iterable[str]) -> None:
        self._delete([each.key for folder in folders for each in self._objects.below(folder)])
        self._objects.delete([_REMOVED])

    def _finish_removal(self) -> None:
        """Remove what a run that was killed had begun to."""
        with suppress(FileNotFoundError):
            self._remove_the_rest(json.loads(self._objects.get(_REMOVED)[0]))

    def _delete(self, keys: Collection[str]) -> None:
        self._objects.delete(keys)
        self._listing.remove(keys)

    @contextmanager
    def lock(self, run_id: str, step: Step | None = None) -> Iterator[None]:
        if not self._is_safe:
            demand_conditions(self._objects)
            self._is_safe = True
        lease = Lease.take(self._objects, run_id, self._ttl, step)
        keep_s = KEPT_S if step else 0.0  # also of a step that fails: it may be tried again
        self._lease, self._run = lease, run_id
        self._forget()
        try:
            self._finish_removal()
            yield
            for key in [*self._unsaid]:
                self._say(key)
            keep_s = step.keep_s if step else 0.0
        finally:
            self._lease, self._run = None, ""
            self._unsaid.clear()
            self._ends.clear()
            self._forget()
            with suppress(StoreFailed):  # then it is over by itself
                lease.release(keep_s)

    @contextmanager
    def looking(self) -> Iterator[None]:
        self._looks += 1
        try:
            yield
        finally:
            self._looks -= 1
            if not self._looks and self._lease is None:
                self._forget()

    def _forget(self) -> None:
        """Forget what was listed and read."""
        self._kept.clear()
        self._read.clear()
        self._listing = Listing()

    def _check(self) -> None:
        if self._lease is not None:
            self._lease.check()

    def holder(self) -> str | None:
        found = holder(self._objects)
        return None if found is None else f"run {found[0]} ({found[1]})"

    def is_writing(self, run_id: str) -> bool:
        found = holder(self._objects)
        return found is not None and found[0] == run_id


def _name(stored: Stored) -> str:
    return stored.key.rpartition("/")[2]


def _folder_of(stored: Stored) -> str:
    return stored.key.rpartition("/")[0]


def _is_seal(stored: Stored) -> bool:
    return not stored.size and part_number(_name(stored)) is not None
