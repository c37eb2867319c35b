"""Work that begins in the midst of other work."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from threading import Event, Thread

import pytest


class Meanwhile:
    """Starts work in a thread; the caller goes on when it waits for a lock, or has ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._paused = Event()
        self._threads: list[Thread] = []
        real = fcntl.flock

        def flock(file: int, operation: int) -> None:
            try:
                real(file, operation | fcntl.LOCK_NB)
            except BlockingIOError:
                self._paused.set()
                real(file, operation)

        monkeypatch.setattr(fcntl, "flock", flock)

    def __call__(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            finally:
                self._paused.set()

        self._paused.clear()
        self._threads.append(Thread(target=run))
        self._threads[-1].start()
        assert self._paused.wait(60)

    def ended(self) -> None:
        """Wait until all have ended."""
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "it waits for ever"
