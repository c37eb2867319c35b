"""The objects of a bucket below a prefix, and errors that say what a store refuses or fails to do.

A request that gets no answer, or a 5xx, is made again, with pauses. A conditional request that was
made again may meet what it wrote itself: so a refused one looks whether its own content is there.
Keys and access rights are never in an error's text, as the servers' own texts may have them.
"""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from typing import Any, BinaryIO, NamedTuple, TypeVar

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import from_url

from ingestion.base.errors import StoreFailed

LONGEST_REQUEST = timedelta(seconds=30)
LONGEST_RETRY = timedelta(seconds=60)
_SMALL = 32 << 20
"""Bytes; smaller objects are fetched whole: one request takes longer than their content."""
_BUFFER = 4 << 20
_END = 64 << 10
"""Bytes; more than most Parquet footers have."""
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_TRIES = 5
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 5.0

Answer = TypeVar("Answer")


def environment_mark() -> int:
    """Return a number that is another one where the environment names another store or user."""
    return hash(frozenset(each for each in os.environ.items() if each[0].startswith("AWS_")))


class Stored(NamedTuple):
    """An object, as a listing has it."""

    key: str
    size: int
    tag: str
    """Another one if the content may be another."""
    changed: datetime
    """By the clock of the store."""


class Objects:
    """The objects whose names begin with a prefix.

    Parameters
    ----------
    uri
        ``s3://bucket/prefix``. Credentials, region and endpoint come from the environment
        (``AWS_ACCESS_KEY_ID``, …), or from the machine's role.
    retry_for
        How long a request without a good answer is made again.
    """

    def __init__(self, uri: str, retry_for: timedelta = LONGEST_RETRY) -> None:
        self.uri, self._retry_for = uri.rstrip("/"), retry_for
        self._store = self._told(
            "",
            lambda: from_url(
                self.uri,
                # Other addresses than https are those that people name themselves.
                client_options={"allow_http": True, "timeout": LONGEST_REQUEST},
                retry_config={"retry_timeout": retry_for, "max_retries": 20},
            ),
        )

    def get(self, key: str) -> tuple[bytes, Stored]:
        """Return an object's content, and what it is; FileNotFoundError if there is none."""

        def fetch() -> tuple[bytes, Stored]:
            answer = obstore.get(self._store, key)
            return bytes(answer.bytes()), _stored(answer.meta)

        return self._told(key, fetch)

    def head(self, key: str) -> Stored:
        """Return what an object is; FileNotFoundError if there is none."""
        return self._told(key, lambda: _stored(obstore.head(self._store, key)))

    def open(self, key: str) -> BinaryIO:
        """Open an object to read: a small one is fetched whole, of a large one what is asked for.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        return self.open_stored(key)[0]

    def open_stored(self, key: str) -> tuple[BinaryIO, Stored]:
        """Open an object, as :meth:`open` does, and return what it is."""

        def fetch() -> tuple[BinaryIO, Stored]:
            answer = obstore.get(self._store, key)
            stored = _stored(answer.meta)
            if stored.size <= _SMALL:
                return io.BytesIO(answer.bytes()), stored
            return io.BufferedReader(_Ranges(self, key, stored.size), _BUFFER), stored

        return self._told(key, fetch)

    def open_end(self, stored: Stored) -> BinaryIO:
        """Open an object that was listed, to read little of it, from its end."""
        return io.BufferedReader(_Ranges(self, stored.key, stored.size), _END)

    def range(self, key: str, start: int, end: int) -> bytes:
        """Return bytes of an object."""
        return self._told(
            key, lambda: bytes(obstore.get_range(self._store, key, start=start, end=end))
        )

    def put(self, key: str, content: bytes) -> str:
        """Give an object this content, wholly or not at all, and return its tag."""
        return self._told(key, lambda: obstore.put(self._store, key, content)["e_tag"] or "")

    def create(self, key: str, content: bytes) -> str | None:
        """Put an object where there is none, and return its tag; None if there is another one."""
        return self._put_if(key, content, "create")

    def swap(self, key: str, content: bytes, tag: str) -> str | None:
        """Replace an object that has this tag, and return the new one; None if it has another."""
        return self._put_if(key, content, {"e_tag": tag})

    def _put_if(self, key: str, content: bytes, mode: Any) -> str | None:
        def put() -> str:
            answer = obstore.put(self._store, key, content, mode=mode, use_multipart=False)
            return answer["e_tag"] or ""

        for _ in range(_TRIES):
            try:
                return self._told(key, put)
            except (AlreadyExistsError, PreconditionError):
                try:
                    there, stored = self.get(key)
                except FileNotFoundError:
                    if mode != "create":
                        return None
                    continue  # another's request was in the way, and came to nothing
                return stored.tag if there == content else None
        raise StoreFailed(f"{self.uri}/{key} could not be written: others write it all the time")

    def inside(self, folder: str) -> tuple[list[str], list[Stored]]:
        """Return the folders, by name, and the objects in a folder: one request per 1,000."""
        found = self._told(
            folder, lambda: obstore.list_with_delimiter(self._store, f"{folder}/" if folder else "")
        )
        folders = [path.rpartition("/")[2] for path in found["common_prefixes"]]
        return folders, [_stored(each) for each in found["objects"]]

    def below(self, folder: str, after: str = "") -> Iterator[Stored]:
        """Yield the objects in a folder and all folders in it, by key: one request per 1,000."""
        within = f"{folder}/" if folder else None
        pages: Iterator[Any] | None = None

        def next_page() -> Any:
            nonlocal pages
            if pages is None:  # a listing that broke off is at its end, so another one goes on
                pages = obstore.list(self._store, within, offset=after or None, chunk_size=1000)
            try:
                return next(pages, None)
            except BaseError:
                pages = None
                raise

        while page := self._told(folder, next_page):
            after = page[-1]["path"]
            yield from map(_stored, page)

    def copy(self, key: str, to: str) -> None:
        """Give an object's content to another one; the store does it by itself."""
        self._told(key, lambda: obstore.copy(self._store, key, to))

    def delete(self, keys: Collection[str]) -> None:
        """Delete objects; those that are not there are no error."""
        if keys:
            self._told(min(keys), lambda: obstore.delete(self._store, sorted(keys)))

    def _told(self, key: str, ask: Callable[[], Answer]) -> Answer:
        """Ask, again while there is no answer; an error says what the store did.

        Nothing of the text that it sent is in it.
        """
        end, pause = time.monotonic() + self._retry_for.total_seconds(), _FIRST_PAUSE_S
        while True:
            try:
                return ask()
            except (AlreadyExistsError, PreconditionError):
                raise
            except FileNotFoundError:
                raise FileNotFoundError(2, "No such object", f"{self.uri}/{key}") from None
            except BaseError as error:
                # The client itself makes requests again that got a 5xx, but not all without one.
                if _STATUS.search(str(error)) or time.monotonic() + pause > end:
                    raise StoreFailed(f"{self.uri}/{key}: {_what(error)}") from None
            time.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE_S)


class _Ranges(io.RawIOBase):
    """A large object as a file."""

    def __init__(self, objects: Objects, key: str, size: int) -> None:
        self._objects, self._key, self._size, self._at = objects, key, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        content = self._objects.range(self._key, self._at, end)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


def _stored(meta: Any) -> Stored:
    return Stored(meta["path"], meta["size"], meta["e_tag"] or "", meta["last_modified"])


def _what(error: BaseError) -> str:
    text = str(error)
    told = [found[1] for found in (_STATUS.search(text), _CODE.search(text)) if found]
    answer = " ".join(told)
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or answer[:3] in (
        "401",
        "403",
    ):
        return f"the store refused this user ({answer}): correct the credentials or their rights"
    if told and told[0].startswith("4"):
        return f"the store refused the request ({answer}): correct the address of the lakehouse"
    if told:
        return f"the store failed ({answer}), again and again; no file is damaged: run again later"
    return "the store did not answer; no file is damaged: see that it can be reached, run again"
