"""A vendor of bars on loopback: answers of JSON, and the ways to fail that all vendors share."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from ingestion.replay.loopback import Handler, Loopback


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


class Vendor(Loopback, ABC):
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
        super().__init__(_Handler, port)

    def answer_to(
        self, path: str, parameters: Mapping[str, str], headers: Mapping[str, str]
    ) -> Reply:
        """Answer a question with these headers, which none but a vendor with a key looks at."""
        return self.reply(path, parameters)

    @abstractmethod
    def reply(self, path: str, parameters: Mapping[str, str]) -> Reply:
        """Answer a question."""


class _Handler(Handler):
    def answer(self) -> None:
        parts = urlsplit(self.path)
        parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
        vendor: Vendor = self.server.owner
        vendor.asked.append((parts.path, parameters))
        reply = vendor.answer_to(parts.path, parameters, dict(self.headers.items()))
        status, headers = reply.status, dict(reply.headers)
        body, kind = json.dumps(reply.document).encode(), "application/json"
        fault = vendor.faults.popleft() if vendor.faults else None
        if fault is None:
            self.send(status, body, kind, headers)
            return
        vendor.stopping.wait(fault.seconds)
        if fault.kind == "reset":
            self.reset()
            return
        if fault.kind == "status":
            status, body, kind = fault.status, b"Too Many Requests\r\n", "text/plain"
        elif fault.kind == "html":
            body, kind = b"<html><body>Your consent, please</body></html>", "text/html"
        elif fault.kind == "empty":
            body = b""
        if fault.retry_after is not None:
            headers["Retry-After"] = fault.retry_after
        self.send(status, body, kind, headers, cut=fault.kind == "cut")
