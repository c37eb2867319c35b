"""A vendor of bars on loopback: answers of JSON, and the ways to fail that all vendors share."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit


class Reply(NamedTuple):
    """What a vendor answers."""

    document: Any
    status: int = 200
    headers: Mapping[str, str] = {}


class Fault(NamedTuple):
    """One answer that fails."""

    kind: str
    """``status``, ``html``, ``empty``, ``cut`` (half of the answer), ``reset`` or ``slow``."""
    status: int = 503
    retry_after: str | None = None
    seconds: float = 0.0


class Vendor(ABC):
    """A vendor's server; a context manager that serves from a thread of its own.

    Attributes
    ----------
    faults
        Of the next answers, one after the other; then all is well.
    asked
        Paths and parameters of all questions.
    """

    def __init__(self, port: int = 0) -> None:
        self.faults: deque[Fault] = deque()
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._server = _Server(("127.0.0.1", port), _Handler, self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @abstractmethod
    def reply(self, path: str, parameters: Mapping[str, str]) -> Reply:
        """Answer a question."""

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: Any, vendor: Vendor) -> None:
        super().__init__(address, handler)
        self.vendor = vendor


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
        vendor = self.server.vendor
        vendor.asked.append((parts.path, parameters))
        fault = vendor.faults.popleft() if vendor.faults else None
        if fault is not None and fault.kind == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()
            return
        reply = vendor.reply(parts.path, parameters)
        body, kind = json.dumps(reply.document).encode(), "application/json"
        status, headers = reply.status, dict(reply.headers)
        if fault is not None:
            time.sleep(fault.seconds)
            if fault.kind == "status":
                status, body, kind = fault.status, b"Too Many Requests\r\n", "text/plain"
            elif fault.kind == "html":
                body, kind = b"<html><body>Your consent, please</body></html>", "text/html"
            elif fault.kind == "empty":
                body = b""
            if fault.retry_after is not None:
                headers["Retry-After"] = fault.retry_after
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault is not None and fault.kind == "cut":
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, format: str, *_: object) -> None:
        """Print nothing: the requests are in ``asked``."""
