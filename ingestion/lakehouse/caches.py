"""Files that may be deleted at any time, and are made again: what they have is derived.

Each is a ZIP archive of a JSON document and of arrays, none of them compressed, each with a
checksum that is compared when it is read.
"""

from __future__ import annotations

import json
import secrets
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.parts import StoredFile

Kept = TypeVar("Kept")
CACHES = "_caches"
_DOCUMENT = "state.json"


class UnreadableCache(Exception):
    """Why a cache cannot be read: it is made again from what it was derived from."""


class _CacheFileFields(NamedTuple):
    name: str
    lakehouse: Lakehouse


class CacheFile(StoredFile, _CacheFileFields):
    """A file of the caches; it need not be there."""

    __slots__ = ()

    @property
    def key(self) -> str:  # type: ignore[override]
        """Where it is below the lakehouse's root."""
        return f"{CACHES}/{self.name}"

    def put(self, staged: Path) -> None:
        """Give it a staged file's content, wholly or not at all; that file moves."""
        self.lakehouse.put(self.key, staged)

    def damage(self) -> str | None:
        """Compare all checksums; return what is wrong with the file, None if nothing or absent."""
        try:
            with CacheReader(self) as reader:
                reader.compare_checksums()
        except UnreadableCache as error:
            return str(error) if self.exists() else None
        return None


def keep(lakehouse: Lakehouse, name: str, write: Callable[[CacheWriter], object]) -> None:
    """Make a cache, whoever is writing; it is lost where one may not write."""
    with suppress(OSError), lakehouse.staging(f"cache-{secrets.token_hex(8)}") as folder:
        with CacheWriter(folder / name) as writer:
            write(writer)
        CacheFile(name, lakehouse).put(folder / name)


def keep_document(lakehouse: Lakehouse, name: str, document: Any) -> None:
    """Make a cache of a document alone; as :func:`keep`."""
    keep(lakehouse, name, lambda writer: writer.document(document))


def kept_document(lakehouse: Lakehouse, name: str, parse: Callable[[Any], Kept]) -> Kept | None:
    """Return the document of a cache as ``parse`` reads it; None if that cannot be relied on."""
    try:
        with CacheReader(CacheFile(name, lakehouse)) as reader:
            kept: Kept = reader.document(parse)
            return kept
    except UnreadableCache:
        return None


def cache_files(lakehouse: Lakehouse, folder: str = "") -> Iterator[CacheFile]:
    """Yield the files that are in a folder of the caches, in order of their names."""
    prefix = f"{folder}/" if folder else ""
    for name in sorted(lakehouse.names(f"{CACHES}/{folder}".rstrip("/"))):
        if name.endswith(".zip"):
            yield CacheFile(f"{prefix}{name}", lakehouse)


class CacheReader:
    """An opened file of the caches; a context manager.

    Raises
    ------
    UnreadableCache
        From all of its methods, if there is none, or it is damaged.
    """

    def __init__(self, file: CacheFile) -> None:
        with ExitStack() as opened:
            try:
                content = opened.enter_context(file.lakehouse.open(file.key))
            except FileNotFoundError:
                raise UnreadableCache("there is none") from None
            except OSError as error:
                raise UnreadableCache(f"it is damaged ({error!r})") from error
            self._archive = _sound(lambda: opened.enter_context(zipfile.ZipFile(content)))
            self._opened = opened.pop_all()

    def __enter__(self) -> CacheReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def document(self, parse: Callable[[Any], Any] = lambda document: document) -> Any:
        """Return the document as ``parse`` reads it."""
        return _sound(lambda: parse(json.loads(self._archive.read(_DOCUMENT))))

    def array(
        self, name: str, dtype: type[np.generic], shape: tuple[int, ...] = (-1,)
    ) -> NDArray[Any]:
        """Return an array."""
        found: NDArray[Any] = _sound(
            lambda: np.frombuffer(self._archive.read(name), dtype).reshape(shape)
        )
        return found

    def table(self, name: str) -> pa.Table:
        """Return a table."""
        return _sound(lambda: pa.ipc.open_stream(self._archive.read(name)).read_all())

    def compare_checksums(self) -> None:
        """Compare all checksums."""
        damaged = _sound(self._archive.testzip)
        if damaged is not None:
            raise UnreadableCache(f"it is damaged ({damaged})")
        self.document()


class CacheWriter:
    """Writes a file that is to be one of the caches; a context manager."""

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path, "w")

    def __enter__(self) -> CacheWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish the file."""
        self._archive.close()

    def array(self, name: str, *arrays: NDArray[Any]) -> None:
        """Write an array; several are the rows of one."""
        with self._archive.open(name, "w", force_zip64=True) as file:
            for array in arrays:
                if array.size:
                    file.write(np.ascontiguousarray(array).data.cast("B"))

    def table(self, name: str, table: pa.Table) -> None:
        """Write a table, a small one."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        self._archive.writestr(name, sink.getvalue())

    def document(self, document: Any) -> None:
        """Write the document, as the last of all."""
        self._archive.writestr(_DOCUMENT, json.dumps(document, ensure_ascii=False))


def _sound(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (
        *(OSError, zipfile.BadZipFile, pa.ArrowException, ValueError, LookupError, TypeError),
        *(AttributeError, NotImplementedError, RecursionError, EOFError),
    ) as error:
        raise UnreadableCache(f"it is damaged ({error!r})") from error
