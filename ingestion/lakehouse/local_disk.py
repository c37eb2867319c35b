"""The local disk: where the lakehouse's files are, and how they get there whole.

No other module links, renames, removes or syncs the lakehouse's files.

The lock is the kernel's (``flock``): it ends with its process, however that dies, so there is no
stale lock to clear. The file's text is only for people: it names the one who has it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from ingestion.base.disk import sync, sync_all
from ingestion.base.errors import LakehouseLocked
from ingestion.base.parts import names_in, replaced_in
from ingestion.lakehouse.backend import Folder, Lakehouse
from ingestion.lakehouse.lease import KEPT_S, KEY, Lease, Step

if TYPE_CHECKING:
    from ingestion.base.objects import Stored

_SCRATCH = "_tmp"
_LOCK, _LEASE = "_lock", "_lease"
_OWN_FILE = 0o600
"""Receipts and ledgers are for the user's own eyes."""
_A_MOMENT_S = 0.05
"""Longer than :meth:`LocalDisk.is_writing` takes for its look."""
_LONG_AGO_NS = 2_000_000_000
"""Longer than the clock of any file system stands still."""
_MOST_FOUND = 1 << 16
_found: dict[str, tuple[str, Folder]] = {}
"""What was in folders of which no file replaces another, with the states that they had."""
_UNFINISHED = ".unfinished"
"""Ends the name of a file that is being written, or was when its run was killed."""


@dataclass(frozen=True)
class LocalDisk(Lakehouse):
    """A lakehouse in a folder of this machine."""

    root: Path

    __str__ = Lakehouse.__str__

    def location(self, key: str) -> str:
        return f"{self.root}/{key}" if key else str(self.root)

    def key_of(self, name: str) -> str | None:
        path = self.root / name
        return path.relative_to(self.root).as_posix() if self.root in path.parents else None

    def names(self, folder: str) -> list[str]:
        try:
            names = names_in(self.location(folder))
        except FileNotFoundError:
            return []
        return [name for name in names if not name.endswith(_UNFINISHED)]

    def exists(self, key: str) -> bool:
        try:
            # Text: to make a path takes longer than the look.
            os.stat(f"{self.root}/{key}")  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def having(self, folders: Iterable[str], name: str) -> Iterator[str]:
        # To ask whether it may be read takes half of what asking for its state takes.
        root, is_there = self.root, os.access
        return (each for each in folders if is_there(f"{root}/{each}/{name}", os.F_OK))

    def size(self, key: str) -> int:
        return (self.root / key).stat().st_size

    def state(self, key: str) -> str:
        status = os.stat(f"{self.root}/{key}")  # noqa: PTH116 - text, for many parts
        return f"{status.st_size} {status.st_mtime_ns}"

    def names_state(self, folder: str) -> str:
        try:
            status = os.stat(f"{self.root}/{folder}")  # noqa: PTH116 - text, for many folders
        except FileNotFoundError:
            return ""
        changed = max(status.st_mtime_ns, status.st_ctime_ns)
        # Another change at the same instant would not be seen.
        is_quiet = time.time_ns() - changed > _LONG_AGO_NS
        return f"{status.st_ino} {status.st_mtime_ns} {status.st_ctime_ns}" if is_quiet else ""

    def folder_state(self, key: str) -> str:
        states, newest = [], 0
        with os.scandir(f"{self.root}/{key}") as entries:
            for each in entries:
                status = each.stat(follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    return ""  # what it leads to may change without it
                # Time and size may be those of another file; the time of its own change may not.
                when = f"{status.st_mtime_ns} {status.st_ctime_ns}"
                states.append(f"{each.name}/{status.st_ino} {status.st_size} {when}")
                newest = max(newest, status.st_mtime_ns, status.st_ctime_ns)
        is_quiet = time.time_ns() - newest > _LONG_AGO_NS
        return hashlib.sha256("/".join(sorted(states)).encode()).hexdigest() if is_quiet else ""

    def open(self, key: str) -> BinaryIO:
        path = f"{self.root}/{key}"
        try:
            return open(path, "rb")  # noqa: PTH123 - text, as of exists
        except FileNotFoundError:
            if os.path.islink(path):  # noqa: PTH114
                raise OSError(errno.ELOOP, "links nowhere", path) from None
            raise

    def folder(self, key: str) -> Folder:
        path = f"{self.root}/{key}"
        state, found = self.names_state(key), _found.get(path)
        if state and found is not None and found[0] == state:
            return found[1]
        try:
            files = sorted(names_in(path))
        except FileNotFoundError:
            return Folder(key, (), frozenset())
        folder = Folder(key, files, replaced_in(path, files))
        if state and not folder.replaced:
            if len(_found) >= _MOST_FOUND:
                _found.clear()
            _found[path] = state, folder
        return folder

    def scratch_folder(self, name: str) -> Path:
        # On the same file system, so that what is made there can be linked and moved.
        return self.root / _SCRATCH / name

    def stage(self, name: str) -> Path:
        folder = self.scratch_folder(name)
        self._make_folders([folder])
        return folder

    def staged(self) -> list[str]:
        return self.names(_SCRATCH)

    def unstage(self, name: str = "") -> None:
        shutil.rmtree(self.scratch_folder(name), ignore_errors=True)

    def create(self, files: Mapping[str, Path]) -> list[str]:
        sync_all(files.values())
        places = {key: self.root / key for key in files}
        folders = {place.parent for place in places.values()}
        self._make_folders(folders)
        taken = []
        for key, file in files.items():
            try:
                places[key].hardlink_to(file)
            except FileExistsError:
                taken.append(key)
        sync_all(folders)
        return taken

    def put(self, key: str, content: bytes | Path) -> None:
        target = self.root / key
        self._make_folders([target.parent])
        # Beside its place and not in a scratch folder, which a run that has the lock may clear.
        unfinished = target.with_name(f"{target.name}{_UNFINISHED}")
        if isinstance(content, Path):
            content.replace(unfinished)
            unfinished.chmod(_OWN_FILE)
        else:
            unfinished.touch(_OWN_FILE)
            unfinished.write_bytes(content)
        sync(unfinished)
        unfinished.replace(target)
        sync(target.parent)

    def append(self, key: str, text: str, *, durable: bool) -> None:
        path = self.root / key
        self._make_folders([path.parent])
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, _OWN_FILE)
        with os.fdopen(descriptor, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            # After a full disk the last line may be torn; it must not take these along.
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            file.write(b"\n" * torn + text.encode())
            if durable:
                file.flush()
                os.fsync(descriptor)
        if durable and not size:
            sync(path.parent)

    def remove(self, folder: str, names: Collection[str]) -> None:
        for name in sorted(names):
            (self.root / folder / name).unlink()
        sync(self.root / folder)

    def remove_folders(self, folders: Collection[str]) -> None:
        away = self.stage("removed")
        places = [self.root / folder for folder in folders]
        for number, place in enumerate(places):
            place.rename(away / str(number))
        # No file is removed before the disk knows that its folder has moved.
        sync_all({away, *(place.parent for place in places)})
        shutil.rmtree(away, ignore_errors=True)

    @contextmanager
    def lock(self, run_id: str, step: Step | None = None) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / _LOCK).open("a+") as file:
            if not _taken(file):
                time.sleep(_A_MOMENT_S)
                if not _taken(file):
                    file.seek(0)
                    holder = file.read().strip() or "another run"
                    raise LakehouseLocked(
                        f"{holder} is writing to {self}; wait for it to end, then run again"
                    )
            file.truncate(0)
            file.write(f"run {run_id} (process {os.getpid()})")
            file.flush()
            try:
                with self._between_steps(run_id, step):
                    yield
            finally:
                file.truncate(0)

    @contextmanager
    def _between_steps(self, run_id: str, step: Step | None) -> Iterator[None]:
        """Respect the lease of a run in parts, or have it; while the lakehouse is locked."""
        leases = _Leases(self)
        if step is None:
            if self.exists(leases.name(KEY)):
                Lease.take(leases, run_id, alone=True).release()
                self.remove("", [name for name in self.names("") if name.startswith(_LEASE)])
            yield
            return
        lease = Lease.take(leases, run_id, step=step, alone=True)
        keep_s = KEPT_S  # of a step that fails: it may be tried again
        try:
            yield
            keep_s = step.keep_s
        finally:
            lease.release(keep_s)

    def holder(self) -> str | None:
        try:
            file = (self.root / _LOCK).open()
        except FileNotFoundError:
            return None
        with file:
            told = file.read().strip()
            return None if not told or _taken(file, fcntl.LOCK_SH) else told

    def is_writing(self, run_id: str) -> bool:
        # Makes no file. Only who tries to take a lock learns from the kernel whether it is free: so
        # this does, for less than a millisecond and where that very run was the last to write.
        try:
            file = (self.root / _LOCK).open()
        except FileNotFoundError:
            return False
        with file:
            return file.read().startswith(f"run {run_id} ") and not _taken(file, fcntl.LOCK_SH)

    def _make_folders(self, folders: Collection[Path]) -> None:
        """Make folders below the root; each new level is synced into the one above."""
        new = {folder for folder in folders if not folder.is_dir()}
        if not new:
            return
        if new != {self.root}:
            self._make_folders({folder.parent for folder in new if folder != self.root})
        for folder in new:
            folder.mkdir(parents=True, exist_ok=True)
        sync_all({folder.parent for folder in new})


class _Leases:
    """The file of a lease, where no other process can change it meanwhile."""

    def __init__(self, disk: LocalDisk) -> None:
        self._disk, self.uri = disk, str(disk)

    @staticmethod
    def name(key: str) -> str:
        return f"{_LEASE}{key}"

    def get(self, key: str) -> tuple[bytes, Stored]:
        with self._disk.open(self.name(key)) as file:
            return file.read(), self.head(key)

    def head(self, key: str) -> Stored:
        from ingestion.base.objects import Stored  # it imports the client of object stores

        told = (self._disk.root / self.name(key)).stat()
        changed = datetime.fromtimestamp(told.st_mtime, UTC)
        return Stored(key, told.st_size, self._disk.state(self.name(key)), changed)

    def put(self, key: str, content: bytes) -> str:
        self._disk.put(self.name(key), content)
        return self._disk.state(self.name(key))

    def create(self, key: str, content: bytes) -> str | None:
        return self.put(key, content)

    def swap(self, key: str, content: bytes, tag: str) -> str | None:
        try:
            return self.put(key, content) if self._disk.state(self.name(key)) == tag else None
        except FileNotFoundError:
            return None


def _taken(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
