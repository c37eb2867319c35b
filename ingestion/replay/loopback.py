"""A server on loopback that stands in for another one: its sockets, and how it answers."""

from __future__ import annotations

import contextlib
import gzip
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, Self

from ingestion.base import clock

LOOPBACK = "127.0.0.1"


class Loopback:
    """A server on loopback; a context manager that serves from a thread of its own.

    Parameters
    ----------
    handler
        Answers a connection; its ``server.owner`` is this object.
    port
        0 for any that is free.

    Attributes
    ----------
    stopping
        Set once it is to stop: what waits on purpose waits on it.
    """

    def __init__(self, handler: type[Handler], port: int = 0) -> None:
        self.stopping = threading.Event()
        self._server = _Server((LOOPBACK, port), handler, self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.wake()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Handler(BaseHTTPRequestHandler):
    """What every stand-in needs to answer."""

    protocol_version = "HTTP/1.1"
    server: _Server
    # One packet an answer: headers and body apart wait for the client's delayed acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer."""
        self.answer()

    def do_POST(self) -> None:
        """Answer."""
        self.answer()

    def answer(self) -> None:
        """Answer the question that has come."""
        raise NotImplementedError

    def log_message(self, *_: Any) -> None:
        """Keep quiet: tests and the demo have their own say."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the header `Date`, by the clock that the replay goes by."""
        at = clock.now().timestamp() if timestamp is None else timestamp
        return super().date_time_string(at)

    def send(
        self,
        status: int,
        body: bytes,
        content_type: str = "application/json; charset=utf-8",
        more: Mapping[str, str] = MappingProxyType({}),
        *,
        cut: bool = False,
    ) -> None:
        """Send an answer, compressed where the client takes it; half of what it promises if cut.

        Parameters
        ----------
        more
            Further headers.
        """
        self.send_response(status)
        if "gzip" in self.headers.get("Accept-Encoding", "") and len(body) > 256:
            body = gzip.compress(body, 1)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def reset(self) -> None:
        """Close so that the peer gets a reset: with nothing lingering."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[Handler], owner: Any) -> None:
        self.owner = owner
        self._connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind without looking the host's name up, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]

    def wake(self) -> None:
        """Let the waiting thread look up: `shutdown` would wait until it does of itself."""
        self.socket.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Close the listening socket, and the connections that clients keep alive."""
        super().server_close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that hang up; anything else is a fault of the replay itself."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
