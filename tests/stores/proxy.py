"""A proxy on loopback that does something after so many bytes: cuts, or kills the server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ASKED, ANSWERED = "asked", "answered"


class Proxy:
    """Forwards what comes on ``port`` to the socket of a server, which may come and go."""

    def __init__(self, target: Path) -> None:
        self._target, self._listener = target, socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.passed: Counter[str] = Counter()
        """Bytes that went through, by direction."""
        self._open: list[socket.socket] = []
        self._armed: tuple[str, int, Callable[[], object]] | None = None
        self._one = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, way: str, count: int, action: Callable[[], object] = lambda: None) -> None:
        """After so many more bytes of a direction, do this, and cut all connections: once."""
        with self._one:
            self.passed.clear()
            self._armed = way, count, action

    def disarm(self) -> bool:
        """Return whether it was still armed."""
        with self._one:
            armed, self._armed = self._armed, None
            self.passed.clear()
            return armed is not None

    def close(self) -> None:
        self._listener.close()
        self._cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(str(self._target))
                except OSError:
                    client.close()
                    server.close()
                    continue
                self._open += [client, server]
                for way, source, sink in ((ASKED, client, server), (ANSWERED, server, client)):
                    threading.Thread(
                        target=self._forward, args=(way, source, sink), daemon=True
                    ).start()

    def _forward(self, way: str, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while some := source.recv(1 << 14):
                with self._one:
                    action = None
                    if self._armed and self._armed[0] == way:
                        left = self._armed[1] - self.passed[way]
                        if len(some) >= left:
                            some, action, self._armed = some[:left], self._armed[2], None
                    self.passed[way] += len(some)
                sink.sendall(some)
                if action is not None:
                    action()
                    self._cut()
                    return
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _cut(self) -> None:
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()
