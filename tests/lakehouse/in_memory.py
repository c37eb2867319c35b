"""A lakehouse that is no folder: keys and their contents, as an object store has them.

It can do what object stores can: put an object only where there is none, put one, get one, list by
a prefix and delete. There are no folders, no links and no renames; lines are added by putting the
whole object again.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ingestion.base.errors import LakehouseLocked
from ingestion.lakehouse import Lakehouse
from ingestion.lakehouse.lease import Step


class InMemory(Lakehouse):
    def __init__(self, bucket: str = "bucket") -> None:
        self.bucket = bucket
        self.objects: dict[str, bytes] = {}
        self._writer = ""
        self._scratch = Path(tempfile.mkdtemp(prefix="in-memory-"))

    def location(self, key: str) -> str:
        return f"memory://{self.bucket}/{key}".rstrip("/")

    def names(self, folder: str) -> list[str]:
        if folder in self.objects:
            raise NotADirectoryError(folder)
        start = f"{folder}/" if folder else ""
        below = (key.removeprefix(start) for key in self.objects if key.startswith(start))
        return list(dict.fromkeys(key.partition("/")[0] for key in below))

    def exists(self, key: str) -> bool:
        key = key.rstrip("/")
        return any(each == key or each.startswith(f"{key}/".lstrip("/")) for each in self.objects)

    def size(self, key: str) -> int:
        return len(self._get(key))

    def state(self, key: str) -> str:
        return hashlib.sha256(self._get(key)).hexdigest()  # as an object's ETag

    def open(self, key: str) -> BinaryIO:
        return io.BytesIO(self._get(key))

    def _get(self, key: str) -> bytes:
        if key not in self.objects:
            raise FileNotFoundError(self.location(key))
        return self.objects[key]

    def scratch_folder(self, name: str) -> Path:
        return self._scratch / name

    def stage(self, name: str) -> Path:
        folder = self.scratch_folder(name)
        folder.mkdir(exist_ok=True)
        return folder

    def staged(self) -> list[str]:
        return [path.name for path in self._scratch.iterdir()]

    def unstage(self, name: str = "") -> None:
        for each in [name] if name else self.staged():
            shutil.rmtree(self.scratch_folder(each), ignore_errors=True)

    def create(self, files: Mapping[str, Path]) -> list[str]:
        taken = [key for key in files if key in self.objects]
        for key in files.keys() - {*taken}:
            self.objects[key] = files[key].read_bytes()
        return taken

    def put(self, key: str, content: bytes | Path) -> None:
        self.objects[key] = content if isinstance(content, bytes) else content.read_bytes()

    def append(self, key: str, text: str, *, durable: bool) -> None:
        self.objects[key] = self.objects.get(key, b"") + text.encode()

    def remove(self, folder: str, names: Collection[str]) -> None:
        for name in names:
            del self.objects[f"{folder}/{name}"]

    def remove_folders(self, folders: Collection[str]) -> None:
        for key in [*self.objects]:
            if key.startswith(tuple(f"{folder}/" for folder in folders)):
                del self.objects[key]

    @contextmanager
    def lock(self, run_id: str, step: Step | None = None) -> Iterator[None]:
        if self._writer:
            raise LakehouseLocked(f"{self._writer} is writing to {self}; wait for it to end")
        self._writer = run_id
        try:
            yield
        finally:
            self._writer = ""

    def holder(self) -> str | None:
        return f"run {self._writer}" if self._writer else None

    def is_writing(self, run_id: str) -> bool:
        return self._writer == run_id
