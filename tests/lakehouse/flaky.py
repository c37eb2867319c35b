"""A proxy before a server, which loses requests and answers: of some, or of all from one on."""

from __future__ import annotations

import math
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

KINDS = {"503": 0.1, "cut": 0.1, "slow": 0.1, "lost": 0.1}
"""What happens to which share: the server is busy, the answer ends early, comes late, or never."""


@contextmanager
def flaky(address: str, seed: int = 7) -> Iterator[tuple[str, Counter[str]]]:
    """Run a proxy; yield its address, and how many requests it has done what to.

    Seeded chance decides.
    """
    chance = random.Random(seed)
    names, weights = [*KINDS, "fine"], [*KINDS.values(), 1 - sum(KINDS.values())]
    with _between(address, lambda: chance.choices(names, weights)[0]) as proxy:
        yield proxy


class Breaking:
    """A proxy before a server that breaks: from one request on it has no good answer.

    Attributes
    ----------
    address
        Where it listens.
    good
        How many requests are still passed on; set it to let the server break then.
    """

    def __init__(self) -> None:
        self.address, self.good = "", math.inf

    @contextmanager
    def before(self, address: str) -> Iterator[Breaking]:
        """Run it."""
        with _between(address, self._next) as (self.address, _):
            yield self

    def _next(self) -> str:
        self.good -= 1
        return "503" if self.good < 0 else "fine"


@contextmanager
def _between(address: str, kind_of: Callable[[], str]) -> Iterator[tuple[str, Counter[str]]]:
    host, _, port = address.removeprefix("http://").partition(":")
    done = Counter[str]()

    def answer(client: socket.socket) -> None:
        with client:
            request = _request(client)
            if request is None:
                return
            kind = kind_of()
            done[kind] += 1
            if kind == "503":
                client.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n")
                return
            time.sleep(0.2 if kind == "slow" else 0)
            with socket.create_connection((host, int(port))) as server:
                server.sendall(request)
                content = _answer(server, has_body=not request.startswith(b"HEAD "))
            if kind == "cut":
                content = content[: len(content) * 2 // 3]
            if kind != "lost":
                client.sendall(content)

    def serve() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=_quietly, args=(answer, client), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", done
        listening.shutdown(socket.SHUT_RDWR)


def _quietly(answer: Callable[[socket.socket], None], client: socket.socket) -> None:
    with suppress(OSError):  # the client, or the server, is gone
        answer(client)


def _request(client: socket.socket) -> bytes | None:
    """Return a request as the only one of its connection."""
    head, body = _head(client)
    if not head:
        return None
    while len(body) < (_length(head) or 0):
        body += client.recv(1 << 16)
    return head + b"\r\nConnection: close\r\n\r\n" + body


def _answer(server: socket.socket, *, has_body: bool) -> bytes:
    """Return an answer, without waiting until the server closes: that one waits for more first."""
    head, body = _head(server)
    if not head:
        return b""
    length = _length(head) if has_body else 0
    while (length is None or len(body) < length) and (more := server.recv(1 << 16)):
        body += more
    return head + b"\r\n\r\n" + body


def _head(peer: socket.socket) -> tuple[bytes, bytes]:
    """Return the head of a message, and what has come of its body; nothing if it ends before."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (more := peer.recv(1 << 16)):
            return b"", b""
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    return head, body


def _length(head: bytes) -> int | None:
    found = re.search(rb"(?i)content-length: (\d+)", head)
    return int(found[1]) if found else None
