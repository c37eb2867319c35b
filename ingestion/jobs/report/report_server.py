"""The report on this machine: a page that is made again after a run, and every five minutes.

It listens on 127.0.0.1 alone and answers requests that are addressed to that: a page of another
origin that resolves its own name to this machine (DNS rebinding) is refused by its Host.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ingestion.base import clock
from ingestion.base.errors import InputError, TvfeastError
from ingestion.jobs.report.make_report import gather
from ingestion.lakehouse import run_ids
from ingestion.project import Project
from ingestion.report.page import page
from ingestion.runs.records import run_state

ADDRESS = "127.0.0.1"
REFRESH = 15
"""Seconds after which an open page asks whether there is a newer one."""
_AGES = 300
"""Seconds after which ages, and so the answer, may be others though no run was."""
_HTML, _TEXT = "text/html; charset=utf-8", "text/plain; charset=utf-8"


class ReportServer(ThreadingHTTPServer):
    """Serves the report of a project until it is shut down.

    Parameters
    ----------
    port
        On 127.0.0.1; 0 for a free one.

    Raises
    ------
    InputError
        If the port is taken.
    """

    daemon_threads = True

    def __init__(self, project: Project, port: int) -> None:
        self._project, self._lock = project, threading.Lock()
        self._made: tuple[str, str] | None = None
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise InputError(
                f"--port {port}: {error.strerror}; name another one, or 0 for a free one"
            ) from error

    @property
    def url(self) -> str:
        """Where the report is."""
        return f"http://{ADDRESS}:{self.server_address[1]}/"

    def state(self) -> str:
        """Return a text that is another one once a run has begun or ended, or time has passed."""
        lakehouse = self._project.lakehouse
        newest = run_ids(lakehouse)[:1]
        files = [run_state(lakehouse, run_id) for run_id in newest]
        slot = int(clock.now().timestamp() // _AGES)
        return "\n".join([str(slot), *newest, *files])

    def page(self) -> str:
        """Return the page of the lakehouse as it is now."""
        with self._lock:  # one at a time: the second who asks gets what the first has made
            state = self.state()
            if self._made is None or self._made[0] != state:
                report = gather(self._project)
                self._made = state, page(report, refresh=REFRESH, state=state)
            return self._made[1]


class _Handler(BaseHTTPRequestHandler):
    """Answers ``/`` with the page, and ``/made`` with the state that a new page would be of."""

    server: ReportServer
    server_version, sys_version = "tvfeast", ""

    def do_GET(self) -> None:
        port = self.server.server_address[1]
        if self.headers.get("Host") not in (f"{ADDRESS}:{port}", f"localhost:{port}"):
            self._answer(HTTPStatus.FORBIDDEN, _TEXT, lambda: "this server is 127.0.0.1 alone")
        elif self.path == "/":
            self._answer(HTTPStatus.OK, _HTML, self.server.page)
        elif self.path == "/made":
            self._answer(HTTPStatus.OK, _TEXT, self.server.state)
        else:
            self._answer(HTTPStatus.NOT_FOUND, _TEXT, lambda: "there is / and nothing else")

    def _answer(self, status: HTTPStatus, kind: str, text: Callable[[], str]) -> None:
        try:
            content = text().encode()
        except TvfeastError as error:
            status, kind, content = HTTPStatus.INTERNAL_SERVER_ERROR, _TEXT, str(error).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing: who serves for oneself needs no log."""
