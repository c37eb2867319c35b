"""Files in an S3 bucket, for what reads and writes through Arrow's file systems.

Arrow's own client reports a server's failure as damage, asks twice to open a file, and fetches a
small file in pieces. This one is that of the lakehouse (:mod:`ingestion.base.objects`). Paths are
whole addresses, ``s3://bucket/key``.
"""

from __future__ import annotations

import io
from functools import lru_cache

import pyarrow as pa
from pyarrow import fs

from ingestion.base.fetched import FetchedFiles
from ingestion.base.objects import LONGEST_RETRY, Objects, Stored, environment_mark

_KEPT = 256 << 20
"""Bytes of files that are kept: a query reads a file once to choose rows, and once for values."""

State = tuple[int | None, int | None]
"""When a file was last written, Unix ns, and its size: another state is another content."""


class ObjectFiles(fs.FileSystemHandler):
    """The objects of a bucket."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self._kept = FetchedFiles(_KEPT)

    def __reduce__(self) -> tuple[type[ObjectFiles], tuple[str]]:
        return ObjectFiles, (self.bucket,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectFiles) and other.bucket == self.bucket

    def __ne__(self, other: object) -> bool:
        return not self == other

    @property
    def _objects(self) -> Objects:
        return _objects_of(self.bucket, environment_mark())

    def _key(self, path: str) -> str:
        return path.removeprefix(self.bucket).strip("/")

    def get_type_name(self) -> str:
        return "tvfeast objects"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        return [self._info(path) for path in paths]

    def _info(self, path: str) -> fs.FileInfo:
        key = self._key(path)
        try:
            return self._file(self._objects.head(key))
        except FileNotFoundError:
            below = next(self._objects.below(key), None)
            kind = fs.FileType.NotFound if below is None else fs.FileType.Directory
            return fs.FileInfo(path, kind)

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        folder = self._key(selector.base_dir)
        start = len(folder) + 1 if folder else 0
        found: dict[str, fs.FileInfo] = {}
        for each in self._objects.below(folder):
            levels = each.key[start:].split("/")
            for depth in range(1, len(levels)):
                path = f"{self.bucket}/{each.key[:start]}{'/'.join(levels[:depth])}"
                if depth == 1 or selector.recursive:
                    found.setdefault(path, fs.FileInfo(path, fs.FileType.Directory))
            if selector.recursive or len(levels) == 1:
                found[each.key] = self._file(each)
        if not found and not selector.allow_not_found:
            raise FileNotFoundError(2, "No such folder", selector.base_dir)
        return [*found.values()]

    def _file(self, stored: Stored) -> fs.FileInfo:
        return fs.FileInfo(
            f"{self.bucket}/{stored.key}",
            fs.FileType.File,
            mtime=stored.changed.timestamp(),
            size=stored.size,
        )

    def open_input_file(self, path: str) -> pa.NativeFile:
        file, _ = self._open(path)
        return file

    open_input_stream = open_input_file

    def listed(self, path: str, state: State) -> pa.NativeFile:
        """Open a file as it was listed.

        Raises
        ------
        FileNotFoundError
            If it is gone, or is another one now.
        """
        if (kept := self._kept.get(path, state)) is not None:
            return pa.BufferReader(kept)
        file, now = self._open(path)
        if now != state:
            raise FileNotFoundError(2, "replaced since it was listed", path)
        return file

    def _open(self, path: str) -> tuple[pa.NativeFile, State]:
        file, stored = self._objects.open_stored(self._key(path))
        info = self._file(stored)
        state = info.mtime_ns, info.size
        if not isinstance(file, io.BytesIO):
            return pa.PythonFile(file, "r"), state
        content = file.getvalue()
        self._kept.put(path, state, content)
        return pa.BufferReader(content), state

    def open_output_stream(self, path: str, metadata: object) -> pa.NativeFile:
        return pa.PythonFile(_Upload(self._objects, self._key(path)), "w")

    def delete_file(self, path: str) -> None:
        self._objects.delete([self._key(path)])

    def create_dir(self, path: str, recursive: bool) -> None:
        """There are no folders."""

    def delete_dir(self, path: str) -> None:
        self._objects.delete([each.key for each in self._objects.below(self._key(path))])

    def move(self, src: str, dest: str) -> None:
        self._objects.copy(self._key(src), self._key(dest))
        self.delete_file(src)

    def _refuse(self, *_: object) -> None:
        raise NotImplementedError("an object store does this for nobody here")

    delete_dir_contents = delete_root_dir_contents = copy_file = _refuse
    open_append_stream = _refuse


class _Upload(io.BytesIO):
    """What is written becomes an object when it is closed."""

    def __init__(self, objects: Objects, key: str) -> None:
        super().__init__()
        self._objects, self._key = objects, key

    def close(self) -> None:
        if not self.closed:
            self._objects.put(self._key, self.getvalue())
        super().close()


def objects_at(uri: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of an address in an object store, and the path in it."""
    scheme, _, rest = uri.partition("://")
    bucket = f"{scheme}://{rest.partition('/')[0]}"
    return fs.PyFileSystem(ObjectFiles(bucket)), uri.rstrip("/")


def object_files(filesystem: fs.FileSystem) -> ObjectFiles | None:
    """Return the objects behind a file system; None if it is another one."""
    handler = getattr(filesystem, "handler", None)
    return handler if isinstance(handler, ObjectFiles) else None


@lru_cache(maxsize=8)
def _objects_of(bucket: str, environment: int) -> Objects:
    return Objects(bucket, LONGEST_RETRY)
