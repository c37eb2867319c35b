"""A deadline for a whole HTTP exchange: connecting, headers and body.

A socket's own timeout starts anew with every byte received, so a peer that sends one now and then
holds a request for ever. When the time is up, the socket is shut, and its reader sees an end.
"""

from __future__ import annotations

import contextlib
import socket
from threading import Timer, local
from types import TracebackType
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection


class Deadline:
    """Shut the socket that this thread's request uses after so many seconds; a context manager.

    Attributes
    ----------
    passed
        Whether the time was up before the end.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._connection: HTTPConnection | None = None
        self._socket: Any = None
        self._timer = Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        _THREAD.deadline = self
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        _THREAD.deadline = None

    def watch(self, connection: HTTPConnection) -> None:
        """Take the connection in use."""
        self._connection = connection
        # A connection forgets its socket once the headers say that it closes after the body.
        self._socket = connection.sock or self._socket
        if self.passed:  # before there was a socket
            self._end()

    def _end(self) -> None:
        self.passed = True
        connected = self._connection.sock if self._connection is not None else None
        open_socket = connected or self._socket
        if isinstance(open_socket, socket.socket):
            with contextlib.suppress(OSError):
                # Not SSLSocket's own, which takes the session from under its reader.
                socket.socket.shutdown(open_socket, socket.SHUT_RDWR)


_THREAD = local()


def _watch(connection: HTTPConnection) -> None:
    deadline = getattr(_THREAD, "deadline", None)
    if isinstance(deadline, Deadline):
        deadline.watch(connection)


class _Http(HTTPConnection):
    def connect(self) -> None:
        _watch(self)
        super().connect()

    def getresponse(self) -> Any:
        _watch(self)
        return super().getresponse()


class _Https(_Http, HTTPSConnection):
    """The same over TLS: what :class:`_Http` calls next is TLS's own method."""


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class DeadlineAdapter(HTTPAdapter):
    """Connections that a :class:`Deadline` can end, also those through a proxy."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **options)
        _use_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> ProxyManager:
        """Make the pools of a proxy's connections."""
        manager: ProxyManager = super().proxy_manager_for(proxy, **options)
        _use_pools(manager)
        return manager


def _use_pools(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
