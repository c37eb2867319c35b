"""What the scanner's tests share: quick options, a whole answer to compare with, a raw server."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ingestion.replay import Panel, ReplayScanner
from ingestion.scanner import ScannerClient, ScannerOptions, Snapshot
from ingestion.scanner.values import Cell, RowReader
from tests.declared import TV_TECHNICALS_1D

StartScanner = Callable[..., ReplayScanner]
Stocks = tuple[str, ...]

NOW = datetime(2021, 4, 12, 21, 30, tzinfo=UTC)
COLUMNS = TV_TECHNICALS_1D.scanned
NAMES = [column.scanner or "" for column in COLUMNS]


def quick(**changes: Any) -> ScannerOptions:
    """Return options that fail fast, so that a test of failures need not wait for them."""
    options: dict[str, Any] = {
        "backoff": 0.01,
        "longest_backoff": 0.02,
        "retries": 2,
        "read_timeout": 20.0,
        "total_timeout": 40.0,
    }
    return ScannerOptions(**(options | changes))


def fetch(url: str, symbols: Iterable[str], **changes: Any) -> Snapshot:
    with ScannerClient(url, quick(**changes)) as client:
        return client.fetch(tuple(symbols), COLUMNS).table(COLUMNS)


def fetch_market(url: str, market: str, **changes: Any) -> Snapshot:
    with ScannerClient(url, quick(**changes)) as client:
        return client.fetch_market(market, COLUMNS).table(COLUMNS)


def panel_rows(panel: Panel, symbols: Iterable[str]) -> dict[str, tuple[Cell, ...]]:
    """Return what a fault-free fetch yields, without HTTP."""
    known = panel.known(int(NOW.timestamp()))
    return {
        symbol: RowReader(COLUMNS).read(panel.values(symbol, known[symbol], NAMES))
        for symbol in symbols
        if symbol in known
    }


def asked(scanner: ReplayScanner) -> list[list[str]]:
    """Return the tickers of each request, in the order of arrival."""
    return [request.body["symbols"]["tickers"] for request in scanner.requests]


def every_symbol_has_one_fate(snapshot: Snapshot, symbols: Iterable[str]) -> bool:
    fates = [*snapshot.rows, *snapshot.failed, *snapshot.absent]
    return sorted(fates) == sorted(set(symbols))


def row(symbol: str, value: float = 1.5) -> dict[str, Any]:
    """Return a row of the right width; times are in 2021."""
    return {"s": symbol, "d": [value] * (len(COLUMNS) - 2) + [1_618_000_000, 1_618_000_000]}


def rows_answer(rows: list[dict[str, Any]], total: int | None = None) -> bytes:
    return json.dumps({"totalCount": len(rows) if total is None else total, "data": rows}).encode()


@dataclass
class Reply:
    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Stub:
    """A server of canned answers; what it was asked."""

    url: str = ""
    questions: list[Any] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)


@contextmanager
def stub_scanner(answer: Callable[[int, Any], Reply]) -> Iterator[Stub]:
    """Serve what ``answer`` makes of a request's number and JSON."""
    stub = Stub()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # One packet an answer: headers and body apart wait 40 ms for the client's acknowledgement.
        wbufsize = -1
        disable_nagle_algorithm = True

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(stub.questions)
                stub.arrivals.append(time.monotonic())
                stub.questions.append(question)
                stub.headers.append(dict(self.headers))
            reply = answer(number, question)
            self.send_response_only(reply.status)
            headers = {"Content-Length": str(len(reply.body)), **reply.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: Any) -> None:
            """Clients that hang up are part of the tests."""

    server = Server(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
