"""Asking a bar source, politely: with pauses, again where that may help, and not for ever.

A source that fails costs its own symbols only, and what it yielded before it failed is kept. Asking
again helps where it raises :class:`~ingestion.catalog.SourceBusy` or ``OSError``, as the errors of
networks are; an HTTP error does only if its status says so, and its ``Retry-After`` is waited for.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from ingestion.base import clock
from ingestion.base.loading import what_happened
from ingestion.base.redaction import Redaction
from ingestion.base.retry_after import retry_after
from ingestion.base.wording import some_of
from ingestion.catalog import BarRequest, BarSource, BarTable, SourceBusy

ATTEMPTS = 4
"""How often a request is made before its symbols are left for another run."""
LONGEST_WAIT = 120.0
"""Seconds; a source that asks for a longer pause is not asked again in this run."""
MANY = 5
"""So many requests in a row that failed for the network's or the server's sake end the run."""
_BACKOFF, _LONGEST_BACKOFF = 1.0, 30.0
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Yielded:
    """One thing that a source yielded; a table, if the source is right."""

    value: Any
    line: int | None
    """Of its file, where it is known."""


@dataclass(frozen=True)
class Answer:
    """What a source has to say to a request."""

    source: BarSource
    request: BarRequest
    asked_at: datetime
    """The instant before the request: a bar that had closed by then is final."""
    place: str
    """Where the source is declared."""
    tables: tuple[Yielded, ...] = ()
    problem: str | None = None
    """Why it ended early, with file and line; None if it did not."""
    is_down: bool = False
    """Whether it failed for the network's or the server's sake."""
    wait: float = field(default=0.0, repr=False)
    """Seconds to wait before asking again."""

    def __str__(self) -> str:
        return f"{self.source.name} {some_of(self.request.symbols)}"

    @property
    def final_until(self) -> float:
        """Bars that closed by then are final: Unix seconds."""
        return (self.asked_at - timedelta(seconds=self.source.delay)).timestamp()


def ask_all(source: BarSource, place: str, requests: Sequence[BarRequest]) -> Iterator[Answer]:
    """Yield the answers to some requests, one after the other.

    It ends early once the source's budget is spent, or the source seems to be down.
    """
    down, asked = 0, 0.0
    for request in requests[: source.budget]:
        time.sleep(max(0.0, asked + source.pause - time.monotonic()))
        asked = time.monotonic()
        answer = ask(source, place, request)
        yield answer
        down = down + 1 if answer.is_down else 0
        if down >= MANY or answer.wait > LONGEST_WAIT:
            return


def ask(source: BarSource, place: str, request: BarRequest) -> Answer:
    """Ask once, and again while that may help; of several failures the longest answer is kept."""
    answer = _ask_once(source, place, request)
    longest = answer.tables
    for attempt in range(1, ATTEMPTS):
        if not answer.is_down or answer.wait > LONGEST_WAIT:
            break
        time.sleep(answer.wait or min(_BACKOFF * 2.0 ** (attempt - 1), _LONGEST_BACKOFF))
        answer = _ask_once(source, place, request)
        longest = max(longest, answer.tables, key=len)
    return answer if answer.problem is None else replace(answer, tables=longest)


def _ask_once(source: BarSource, place: str, request: BarRequest) -> Answer:
    path = place.rpartition(", line ")[0] or place
    answer = Answer(source, request, clock.now(), place)
    tables: list[Yielded] = []
    try:
        with redirect_stdout(sys.stderr):  # where a command prints its JSON object alone
            several = source.tables(request)
            if isinstance(several, BarTable):  # forgivable: one table in place of a list of one
                several = [several]
            for table in several:
                tables.append(Yielded(table, _line(several, path)))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the source's own, whatever it is
        problem = _hidden().hide(" ".join(what_happened(error, path).split()))
        is_down, wait = _may_pass(error)
        answer = replace(answer, problem=problem, is_down=is_down, wait=wait)
    return replace(answer, tables=tuple(tables))


def _line(iterator: Any, path: str) -> int | None:
    """Return the line of the file at which a generator waits."""
    frame = getattr(iterator, "gi_frame", None)
    if frame is None or frame.f_code.co_filename != path:
        return None
    line: int = frame.f_lineno
    return line


def _may_pass(error: BaseException) -> tuple[bool, float]:
    """Return whether asking again may help, and how many seconds to wait; 0 leaves them open."""
    if isinstance(error, SourceBusy):
        return True, error.wait or 0.0
    if not isinstance(error, OSError):
        return False, 0.0
    # Of urllib the error is the answer; of requests and httpx it has one.
    response = getattr(error, "response", None) or error
    status = getattr(response, "status_code", None) or getattr(response, "code", None)
    if isinstance(status, int) and status not in _TRANSIENT_STATUS:
        return False, 0.0
    return True, retry_after(getattr(response, "headers", None) or {}) or 0.0


def _hidden() -> Redaction:
    """Return what hides the keys of sources, which errors may repeat: ``TVFEAST_…_KEY``."""
    keys = (
        (name, value)
        for name, value in os.environ.items()
        if name.startswith("TVFEAST_") and name.endswith(("_KEY", "_TOKEN", "_SECRET"))
    )
    return Redaction(keys)
