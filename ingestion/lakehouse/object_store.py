"""An object store: a lakehouse whose files are objects of a bucket.

There are no folders, links or renames. A part is put only where there is no object, so none is
ever changed; a PUT is atomic, so none is seen half. The lock is a lease (:mod:`.lease`), which a
run may lose while it is frozen. Such a run adds nothing when it wakes up: it announces each part in
its ledger first, whose end is marked by whoever takes the lease next (:meth:`ObjectStore.close`);
and the names that it had announced before that and not used are taken by empty objects
(:meth:`ObjectStore.seal`), which no listing has.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import groupby, islice
from pathlib import Path
from typing import BinaryIO, TypeVar

from ingestion.base.errors import StoreFailed
from ingestion.base.parts import part_number, replaced_in
from ingestion.lakehouse.backend import Folder, Lakehouse
from ingestion.lakehouse.lease import TTL_S, Lease, holder, lost
from ingestion.lakehouse.objects import LONGEST_RETRY, Objects, Stored

_IN_FLIGHT = 16
_CLOSED = b'{"closed": true}\n'
"""The last line of a file to which nobody may add any more."""
_MOST_FOUND = 1 << 16

Answer = TypeVar("Answer")


class ObjectStore(Lakehouse):
    """A lakehouse at ``s3://bucket/prefix``.

    Parameters
    ----------
    ttl
        Seconds after which a run that does not renew its lease has lost it.
    """

    def __init__(self, uri: str, ttl: float = TTL_S, retry_for: timedelta = LONGEST_RETRY) -> None:
        self.uri = uri.rstrip("/")
        self._ttl = ttl
        self._objects = Objects(self.uri, retry_for)
        self._lease: Lease | None = None
        self._run = ""
        self._unsaid: dict[str, str] = {}
        """Lines that need not be waited for, by key: they go with the next ones."""
        self._ends: dict[str, tuple[bytes, str]] = {}
        """Content and tag of the files to which this process added lines."""
        self._found: dict[str, tuple[tuple[Stored, ...], Folder]] = {}
        name = hashlib.sha256(self.uri.encode()).hexdigest()[:16]
        self._scratch = Path(tempfile.gettempdir()) / f"tvfeast-{os.getuid()}-{name}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectStore) and other.uri == self.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    def location(self, key: str) -> str:
        return f"{self.uri}/{key}" if key else self.uri

    def key_of(self, name: str) -> str | None:
        if "://" in name and not f"{name}/".startswith(f"{self.uri}/"):
            return None
        return f"{name}/".removeprefix(f"{self.uri}/").strip("/") or None

    def names(self, folder: str) -> list[str]:
        folders, objects = self._objects.inside(folder)
        names = [*folders, *(_name(each) for each in objects if not _is_seal(each))]
        if not (folders or objects) and folder and self._is_object(folder):
            raise NotADirectoryError(20, "Not a folder", self.location(folder))
        return names

    def exists(self, key: str) -> bool:
        if self._is_object(key):
            return True
        return next(self._objects.below(key), None) is not None

    def _is_object(self, key: str) -> bool:
        try:
            return not _is_seal(self._objects.head(key))
        except FileNotFoundError:
            return False

    def having(self, folders: Iterable[str], name: str) -> Iterator[str]:
        left = iter(folders)
        while some := [*islice(left, _IN_FLIGHT)]:
            there = _at_once(self._is_object, [f"{folder}/{name}" for folder in some])
            yield from (folder for folder, is_there in zip(some, there, strict=True) if is_there)

    def size(self, key: str) -> int:
        return self._objects.head(key).size

    def state(self, key: str) -> str:
        self._say(key)
        return self._objects.head(key).tag

    def folder_state(self, key: str) -> str:
        for each in [*self._unsaid]:
            self._say(each)
        _, objects = self._objects.inside(key)
        return "\n".join(f"{_name(each)} {each.tag}" for each in objects)

    def open(self, key: str) -> BinaryIO:
        self._say(key)
        return self._objects.open(key)

    def folder(self, key: str) -> Folder:
        folders, objects = self._objects.inside(key)
        if not (folders or objects) and self._is_object(key):
            raise NotADirectoryError(20, "Not a folder", self.location(key))
        return self._folder(key, folders, objects)

    def folders(self, above: str, first: str = "", last: str = "\U0010ffff") -> Iterator[Folder]:
        after = f"{above}/{first}" if first else ""
        objects = (
            each
            for each in self._objects.below(above, after)
            if each.key.count("/") > above.count("/") + 1
        )
        for name, inside in groupby(
            objects, lambda each: each.key.split("/")[above.count("/") + 1]
        ):
            if name > last:
                return
            key = f"{above}/{name}"
            yield self._folder(key, [], [each for each in inside if _folder_of(each) == key])

    def _folder(self, key: str, folders: list[str], objects: list[Stored]) -> Folder:
        state = tuple(each for each in objects if not _is_seal(each))
        found = self._found.get(key)
        if found is not None and found[0] == state and not folders:
            return found[1]
        files = sorted([*folders, *map(_name, state)])
        folder = Folder(key, files, replaced_in(key, files, self._objects.open))
        if len(self._found) >= _MOST_FOUND:
            self._found.clear()
        self._found[key] = state, folder
        return folder

    def scratch_folder(self, name: str) -> Path:
        return self._scratch / name

    def stage(self, name: str) -> Path:
        folder = self.scratch_folder(name)
        self._scratch.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(exist_ok=True)
        return folder

    def staged(self) -> list[str]:
        here = [path.name for path in self._scratch.iterdir()] if self._scratch.is_dir() else []
        return [*here, *self.overtaken()]

    def unstage(self, name: str = "") -> None:
        shutil.rmtree(self.scratch_folder(name), ignore_errors=True)
        if not name and self._lease is not None:
            self._lease.settle()

    def overtaken(self) -> list[str]:
        return [*self._lease.left] if self._lease is not None else []

    def create(self, files: Mapping[str, Path]) -> list[str]:
        self._check()

        def put(key: str) -> str | None:
            return self._objects.create(key, files[key].read_bytes())

        tags = _at_once(put, files)
        return [key for key, tag in zip(files, tags, strict=True) if tag is None]

    def put(self, key: str, content: bytes | Path) -> None:
        self._check()
        if isinstance(content, Path):
            self._objects.put(key, content.read_bytes())
            content.unlink()
        else:
            self._objects.put(key, content)

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
                self._ends[key] = content, new
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
                return

    def seal(self, key: str) -> None:
        self._objects.create(key, b"")

    def _say(self, key: str) -> None:
        """Add the lines that were not waited for."""
        if key in self._unsaid:
            self.append(key, "", durable=True)

    def remove(self, folder: str, names: Collection[str]) -> None:
        self._check()
        self._objects.delete([f"{folder}/{name}" for name in names])

    def remove_folders(self, folders: Collection[str]) -> None:
        self._check()
        for folder in folders:
            self._objects.delete([each.key for each in self._objects.below(folder)])

    @contextmanager
    def lock(self, run_id: str) -> Iterator[None]:
        lease = Lease.take(self._objects, run_id, self._ttl)
        self._lease, self._run = lease, run_id
        try:
            yield
            for key in [*self._unsaid]:
                self._say(key)
        finally:
            self._lease, self._run = None, ""
            self._unsaid.clear()
            self._ends.clear()
            with suppress(StoreFailed):  # then it is over by itself
                lease.release()

    def _check(self) -> None:
        if self._lease is not None:
            self._lease.check()

    def holder(self) -> str | None:
        found = holder(self._objects)
        return None if found is None else f"run {found[0]} ({found[1]})"

    def is_writing(self, run_id: str) -> bool:
        found = holder(self._objects)
        return found is not None and found[0] == run_id


def _at_once(ask: Callable[[str], Answer], keys: Collection[str]) -> list[Answer]:
    with ThreadPoolExecutor(_IN_FLIGHT) as pool:
        return [*pool.map(ask, keys)]


def _name(stored: Stored) -> str:
    return stored.key.rpartition("/")[2]


def _folder_of(stored: Stored) -> str:
    return stored.key.rpartition("/")[0]


def _is_seal(stored: Stored) -> bool:
    return not stored.size and part_number(_name(stored)) is not None
