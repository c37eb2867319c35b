"""Files of another machine: many are fetched at once, and small ones are kept to be read again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

IN_FLIGHT = 16
"""Requests at once: each waits for an answer most of its time."""

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


def at_once(ask: Callable[[Asked], Answer], items: Iterable[Asked]) -> list[Answer]:
    """Return the answers of another machine, in order, asked for in as many threads."""
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        return [*pool.map(ask, items)]


class FetchedFiles:
    """Contents of files, as long as they are few bytes: the ones that were put first go.

    Parameters
    ----------
    limit
        Bytes of all of them.

    Examples
    --------
    >>> files = FetchedFiles(limit=5)
    >>> files.put("a", 1, b"abc"), files.put("b", 1, b"de"), files.put("c", 1, b"f")
    (None, None, None)
    >>> files.get("a", 1), files.get("b", 1), files.get("b", 2)
    (None, b'de', None)
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._size, self._one = limit, 0, Lock()
        self._files: dict[str, tuple[Hashable, bytes]] = {}

    def get(self, name: str, state: Hashable) -> bytes | None:
        """Return a file's content as of this state; None if it was not put, or is gone."""
        with self._one:
            found = self._files.get(name)
        return found[1] if found is not None and found[0] == state else None

    def put(self, name: str, state: Hashable, content: bytes) -> None:
        """Keep a file's content: of another state, it is another content."""
        with self._one:
            before = self._files.pop(name, None)
            self._files[name] = state, content
            self._size += len(content) - (len(before[1]) if before else 0)
            while self._size > self._limit:
                self._size -= len(self._files.pop(next(iter(self._files)))[1])

    def clear(self) -> None:
        """Keep none."""
        with self._one:
            self._files.clear()
            self._size = 0
