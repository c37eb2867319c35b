"""HTTP: what the replay scanner answers, and how it fails."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ingestion.base import clock
from ingestion.base.errors import InputError
from ingestion.replay import faults, protocol
from ingestion.replay.changed_votes import ChangedVote
from ingestion.replay.faults import FaultPlan
from ingestion.replay.filters import BadQuestion
from ingestion.replay.loopback import Handler, Loopback
from ingestion.replay.panel import Panel, asked_columns
from ingestion.replay.recordings import read_recordings

_UNKNOWN_FIELD_BODY = b'{"totalCount":0,"error":"Unknown field \\"RSI\\"","data":null}'


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    body: Any
    headers: Mapping[str, str]
    at: float
    """``time.monotonic()`` of its arrival."""


class ReplayScanner(Loopback):
    """A scanner on loopback; a context manager that serves from a thread of its own.

    Parameters
    ----------
    panel
        What it knows.
    now
        Its clock.
    latency
        Seconds before each answer.
    plan
        When to fail.
    spoiled
        By symbol, a row fault that hits its row in every answer.
    poison
        Tickers that make the scanner reject a whole request (400).
    metainfo
        Whether ``/{market}/metainfo`` answers; 404 if not.
    record
        Whether to keep what was asked in ``requests``, cookies included.
    """

    def __init__(
        self,
        panel: Panel,
        *,
        now: Callable[[], datetime] = clock.now,
        latency: float = 0.0,
        plan: FaultPlan | None = None,
        spoiled: Mapping[str, str] | None = None,
        poison: Iterable[str] = (),
        metainfo: bool = True,
        port: int = 0,
        record: bool = True,
    ) -> None:
        self.panel = panel
        self.now = now
        self.latency = latency
        self.plan = plan or FaultPlan()
        self.spoiled = dict(spoiled or {})
        self.poison = frozenset(poison)
        self.metainfo = metainfo
        self.record = record
        self.requests: list[Asked] = []
        super().__init__(_Handler, port)


def serve(
    folder: Path,
    *,
    port: int,
    latency: float,
    fail: Iterable[str],
    recordings: Iterable[str] = (),
    changed_votes: Iterable[str] = (),
) -> None:
    """Serve a folder's bars until SIGINT or SIGTERM; say where on stderr.

    Parameters
    ----------
    recordings
        Recorded answers to serve in their place; see :func:`read_recordings`.
    changed_votes
        Votes whose rule changes on a date; see :meth:`ChangedVote.parse`.

    Raises
    ------
    InputError
        If the folder has no bars, a recording cannot be read, a fault, vote or rule has no such
        name, or the port is taken.
    """
    plan = FaultPlan.parse(fail)
    recorded = read_recordings(recordings)
    changes = [ChangedVote.parse(each) for each in changed_votes]
    if recorded and changes:
        raise InputError("a recorded answer has no votes: --changed-vote goes with --bars")
    panel = (
        Panel.from_rows(recorded, asked_columns())
        if recorded
        else Panel.from_folder(folder, changes)
    )
    try:
        scanner = ReplayScanner(panel, latency=latency, plan=plan, port=port, record=False)
    except OSError as error:
        raise InputError(f"port {port} cannot be used ({error.strerror}); try --port 0") from None
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with scanner:
        print(  # noqa: T201 - the one line that says where it is
            f"replay scanner: TVFEAST_SCANNER_URL={scanner.url} ({len(panel.symbols)} symbols; "
            f"{len(panel.drawn(panel.columns))} of {len(panel.columns)} columns are drawn from "
            "recorded ranges: X-Replay-Drawn names them)",
            file=sys.stderr,
            flush=True,
        )
        stop.wait()


class _Handler(Handler):
    @property
    def scanner(self) -> ReplayScanner:
        scanner: ReplayScanner = self.server.owner
        return scanner

    def version_string(self) -> str:
        return "tv"

    def answer(self) -> None:
        scanner = self.scanner
        arrived = time.monotonic()
        question = self._question()
        if scanner.record:
            scanner.requests.append(
                Asked(self.command, self.path, question, dict(self.headers), arrived)
            )
        fault = scanner.plan.draw()
        status, document = self._document(question, fault)
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        # The latency covers the replay's own work, as a real scanner's does.
        scanner.stopping.wait(arrived + scanner.latency - time.monotonic())
        if fault in _SPOILERS:
            _SPOILERS[fault](self)
        else:
            drawn = scanner.panel.drawn(
                question.get("columns") if isinstance(question, dict) else []
            )
            told = {"X-Replay-Drawn": ",".join(drawn)} if drawn else {}
            body = body[: len(body) // 2] if fault == "truncated" else body
            self.send(status, body, more=told)

    def _question(self) -> Any:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            return json.loads(body) if body else None
        except ValueError:
            return None

    def _document(self, question: Any, fault: str | None) -> tuple[int, Any]:
        scanner = self.scanner
        now = int(scanner.now().timestamp())
        url = urlsplit(self.path)
        market, _, kind = url.path.strip("/").partition("/")
        if self.command == "GET" and url.path == "/symbol":
            query = parse_qs(url.query)
            fields = query.get("fields", [""])[0].split(",")
            symbol = query.get("symbol", [""])[0]
            found = protocol.symbol_fields(scanner.panel, symbol, fields, now)
            if found is None and query.get("no_404") != ["true"]:
                return 404, {"code": "symbol_not_exists", "errmsg": "empty response"}
            return 200, found or {}
        if market not in ("global", *scanner.panel.markets):
            return 404, {"error": f'Unknown market "{market}"'}
        if kind == "metainfo" and scanner.metainfo:
            return 200, protocol.metainfo(scanner.panel)
        if kind != "scan" or self.command != "POST":
            return 404, {"error": "Not found"}
        return self._scan(market, question, now, fault)

    def _scan(self, market: str, question: Any, now: int, fault: str | None) -> tuple[int, Any]:
        scanner = self.scanner
        try:
            if scanner.poison.intersection(_tickers(question)):
                raise BadQuestion("Invalid symbol")
            if fault == "short-page" and isinstance(question, dict):
                start = (question.get("range") or [0])[0]
                question = {**question, "range": [start, start + protocol.PAGE]}
            document = protocol.scan(scanner.panel, market, question, now)
        except BadQuestion as error:
            return 400, {"totalCount": 0, "error": str(error), "data": None}
        rows = document["data"]
        for symbol, spoiled in scanner.spoiled.items():
            faults.spoil_rows(spoiled, rows, symbol)
        if fault in faults.COUNTS:
            faults.spoil_count(fault, document)
        elif fault is not None and fault not in faults.WHOLE_ANSWER:
            faults.spoil_rows(fault, rows)
        return 200, document

    def stall(self) -> None:
        """Keep the connection open and say nothing."""
        self.scanner.stopping.wait()
        self.close_connection = True

    def trickle(self) -> None:
        """Promise a body and send it a blank at a time."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        while not self.scanner.stopping.wait(0.05):
            self.wfile.write(b" ")
            self.wfile.flush()
        self.close_connection = True

    def trickle_headers(self) -> None:
        """Send a header a letter at a time, and never its end."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.scanner.stopping.wait(0.05):
            self.wfile.write(b"y")
            self.wfile.flush()
        self.close_connection = True


def _tickers(question: Any) -> list[str]:
    symbols = question.get("symbols") if isinstance(question, dict) else None
    tickers = symbols.get("tickers") if isinstance(symbols, dict) else None
    return [ticker for ticker in tickers or [] if isinstance(ticker, str)]


_SPOILERS: dict[str | None, Callable[[_Handler], None]] = {
    "rate-limited": lambda handler: handler.send(429, b"Too many requests", "text/plain"),
    "rate-limited-retry-after": lambda handler: handler.send(
        429, b"Too many requests", "text/plain", {"Retry-After": "1"}
    ),
    "server-error": lambda handler: handler.send(502, faults.HTML, "text/html"),
    "forbidden-html": lambda handler: handler.send(403, faults.HTML, "text/html"),
    "html": lambda handler: handler.send(200, faults.HTML, "text/html"),
    "empty": lambda handler: handler.send(200, b""),
    "redirect": lambda handler: handler.send(
        302, b"", "text/html", {"Location": "https://elsewhere.example/scan"}
    ),
    "error-in-200": lambda handler: handler.send(200, _UNKNOWN_FIELD_BODY),
    "stall": _Handler.stall,
    "trickle": _Handler.trickle,
    "trickle-headers": _Handler.trickle_headers,
    "reset": _Handler.reset,
}
