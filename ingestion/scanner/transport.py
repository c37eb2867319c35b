"""One exchange with the scanner: an answer, or a failure that says whether asking again can help.

=====================================================  ==============================
what comes back                                        becomes
=====================================================  ==============================
200 with rows                                          :class:`~.wire.Answer`
200 empty, HTML, truncated; 403; 408; 5xx; no answer   :class:`Transient`
429                                                    :class:`Transient`, with its wait
400 naming an unknown column (or that body with 200)   :class:`UnknownColumn`
400 for another cause                                  :class:`Rejected`
a redirect; 404; any other status                      :class:`ScannerRefused`
=====================================================  ==============================
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from ingestion.base import clock
from ingestion.base.errors import InputError, ScannerRefused, UnknownColumn
from ingestion.base.redaction import Redaction, session_header
from ingestion.base.retry_after import retry_after
from ingestion.base.settings import LOOPBACK
from ingestion.scanner import wire
from ingestion.scanner.wire import Answer, MalformedAnswer, Page, Tickers

Answered = TypeVar("Answered")
_CHUNK = 1 << 16
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"(?:[!-~\xa1-\xff][\t -~\xa0-\xff]*)?")
_TRANSIENT_STATUS = {403, 408, 425}


@dataclass(frozen=True)
class ScannerOptions:
    """How to ask. The defaults stay inside what others have found the scanner to accept."""

    batch_size: int = 500
    """Tickers or rows a request; 500 to 1,000 is the tested zone."""
    max_columns: int = 91
    """Columns per request, the widest recorded one; a wider request is cut by columns."""
    in_flight: int = 2
    """Requests under way at once."""
    connect_timeout: float = 5.0
    """Seconds to wait for a connection."""
    read_timeout: float = 30.0
    """Seconds of silence after which a request is given up."""
    total_timeout: float = 60.0
    """Seconds after which a request is given up even if bytes still trickle in, headers or body."""
    retries: int = 8
    """Rounds in a row that may bring no new row before what is missing is given up. With the
    default back-off that is two minutes: outages of 30 to 90 seconds are the common kind."""
    backoff: float = 1.0
    """Seconds to wait after the first failing round; doubles with each further one."""
    longest_backoff: float = 30.0
    """Seconds at which the doubling stops."""
    longest_retry_after: float = 120.0
    """The longest Retry-After, in seconds, that is waited for; a longer one is taken for a no."""
    largest_answer: int = 16 << 20
    """Bytes, decompressed, beyond which an answer is not read on; 5,000 rows have 2 MB, and JSON
    made of empty lists takes some 25 times its size in memory."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with each request, over the default ones."""
    allow_insecure: bool = False
    """Whether to ask over http beyond this machine, where others can read along."""


class Transient(Exception):
    """Asking again may help; ``str()`` says what happened.

    Attributes
    ----------
    retry_after
        Seconds to wait that the scanner asked for, if it asked for a pause; 0 leaves them open.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(reason)


class Rejected(Exception):
    """The scanner refuses this very request (400); a smaller one may pass."""


class Transport:
    """A session with the scanner; safe to use from several threads.

    Raises
    ------
    InputError
        If the URL is neither https nor of this machine and the options do not allow that; if a
        header, or the session cookie, contains what no HTTP header can.
    """

    def __init__(self, url: str, options: ScannerOptions, session_id: str | None = None) -> None:
        _check_scheme(url, options.allow_insecure)
        self._url = url
        self._options = options
        self.last_date: datetime | None = None
        """What the scanner's clock said with its last answer, to the second."""
        self._session = _Session()
        self._session.headers["User-Agent"] = (
            f"Mozilla/5.0 (compatible; tvfeast/{version('tvfeast')})"
        )
        self._session.headers.update(options.headers)
        if session_id:
            self._session.headers.update([session_header(session_id)])
        _check_headers(self._session.headers)
        sent = {**options.headers, **dict([session_header(session_id)] if session_id else [])}
        self._secrets = Redaction(sent.items())
        # A proxy named in the environment cannot reach a scanner on this machine.
        self._session.trust_env = urlsplit(url).hostname not in LOOPBACK
        # With an authentication of its own, requests leaves ~/.netrc alone.
        self._session.auth = _unchanged
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=options.in_flight, max_retries=0)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def close(self) -> None:
        """Close the session's connections."""
        self._session.close()

    def scan(self, market: str, question: Tickers | Page, columns: Sequence[str]) -> Answer:
        """Ask one question.

        Raises
        ------
        Transient, Rejected, UnknownColumn, ScannerRefused
            As in the module's table.
        """
        asked_at = clock.now()
        body = self._exchange("POST", market, "scan", question.body(columns))
        return replace(self._read_200(body), asked_at=asked_at)

    def metainfo(self, market: str) -> frozenset[str]:
        """Return the names of the columns that a market lists.

        Raises
        ------
        Transient, Rejected, ScannerRefused
            As in the module's table.
        """
        body = self._exchange("GET", market, "metainfo")
        try:
            return wire.parse_metainfo(body)
        except MalformedAnswer as error:
            raise Transient(wire.quoted(error.problem, self._hide(body))) from None

    def _exchange(self, method: str, market: str, kind: str, question: Any = None) -> bytes:
        """Return the body of an answer with status 200; raise what any other one means."""
        url = f"{self._url}/{market}/{kind}"
        status, headers, body = self._send(method, url, question)
        if status == 200:
            return body
        # A proxy's error page may repeat the request.
        words = self._hide(body)
        if status == 429:
            # Even without Retry-After it asks for a pause; how long is left to the back-off.
            raise Transient("rate limited (429)", retry_after(headers) or 0.0)
        if status == 400:
            raise _classified(wire.error_text(words) or wire.excerpt(words) or "no reason given")
        if status in _TRANSIENT_STATUS or status >= 500:
            raise Transient(f"status {status}: {wire.excerpt(words)}", retry_after(headers))
        target = wire.shown(self._secrets.hide(headers.get("Location", "nowhere")))
        raise ScannerRefused(_refusal(url, market, status, target, words))

    def _send(
        self, method: str, url: str, question: dict[str, Any] | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        options = self._options

        def exchange() -> tuple[int, Mapping[str, str], bytes]:
            with self._session.request(
                method,
                url,
                json=question,
                timeout=(options.connect_timeout, options.read_timeout),
                # A redirect would carry the session cookie to another host.
                allow_redirects=False,
                stream=True,
            ) as response:
                with suppress(KeyError, TypeError, ValueError):
                    self.last_date = parsedate_to_datetime(response.headers["Date"])
                return response.status_code, response.headers, self._read(response.raw)

        try:
            return within(options.total_timeout, exchange)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise Transient(wire.shown(self._secrets.hide(_cause(error, url)))) from None

    def _read(self, raw: urllib3.HTTPResponse) -> bytes:
        """Read a body piece by piece, so that none grows beyond bounds."""
        pieces, began = bytearray(), time.monotonic()
        while piece := raw.read1(_CHUNK, decode_content=True):
            pieces += piece
            if time.monotonic() - began > self._options.total_timeout:
                raise _late(self._options.total_timeout)  # what has come so far is not the answer
            if len(pieces) > self._options.largest_answer:
                raise Transient(f"the answer is larger than {self._options.largest_answer:,} bytes")
        return bytes(pieces)

    def _read_200(self, body: bytes) -> Answer:
        if words := wire.error_text(self._hide(body)):
            raise _classified(words)
        try:
            return wire.parse_answer(body)
        except MalformedAnswer as error:
            raise Transient(wire.quoted(error.problem, self._hide(body))) from None

    def _hide(self, body: bytes) -> bytes:
        """Take what was sent as a secret out of a body that is going to be quoted."""
        return self._secrets.hide(body.decode("latin-1")).encode("latin-1")


def within(seconds: float, exchange: Callable[[], Answered]) -> Answered:
    """Return what an exchange returns, or raise what it raises, if it ends in time.

    A socket's own timeout starts anew with every byte received, so a peer that sends one now and
    then, of the headers or the body, would keep a request waiting for ever. The thread that reads
    on is a daemon.

    Raises
    ------
    Transient
        If it does not.
    """
    done: SimpleQueue[tuple[Answered, None] | tuple[None, BaseException]] = SimpleQueue()

    def work() -> None:
        try:
            done.put((exchange(), None))
        except BaseException as error:  # noqa: BLE001 - the calling thread raises it
            done.put((None, error))

    Thread(target=work, name="scanner exchange", daemon=True).start()
    try:
        answered, error = done.get(timeout=seconds)
    except Empty:
        raise _late(seconds) from None
    if error is not None:
        raise error
    return cast(Answered, answered)


def _late(seconds: float) -> Transient:
    return Transient(f"no whole answer within {seconds:g} s")


class _Session(requests.Session):
    """A session that knows of no redirects.

    Even where they are not followed, ``requests`` reads the whole body of one, whatever its size,
    and stumbles over a target that is no URL.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return none."""


def _check_scheme(url: str, allow_insecure: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK and not allow_insecure:
        raise InputError(
            f"the scanner {url} is asked over http, where others can read the session cookie and "
            "change the answers: make TVFEAST_SCANNER_URL an https URL, or give --allow-insecure"
        )


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Authenticate with nothing."""
    return request


def _check_headers(headers: Mapping[str, str | bytes]) -> None:
    """Refuse what ``requests`` would refuse later, in a text that shows the value."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise InputError(f"{name!r} is not the name of a header")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise InputError(
                f"the header {name} has a leading blank, a line break or another character that "
                "HTTP does not allow"
            )


def _classified(error: str) -> Exception:
    column = wire.unknown_column(error)
    return UnknownColumn(column) if column else Rejected(f"rejected (400): {error}")


def _refusal(url: str, market: str, status: int, target: str, body: bytes) -> str:
    if 300 <= status < 400:
        return (
            f"{url} redirects to {target}, which is not followed; "
            "set TVFEAST_SCANNER_URL to the scanner itself"
        )
    if status == 404:
        return f'the scanner has no market "{market}" ({url} answered 404)'
    if status == 401:
        return f"{url} answered 401: the session in TVFEAST_SESSION_ID is not accepted"
    return f"{url} answered {status}: {wire.excerpt(body) or 'nothing'}"


def _cause(error: Exception, url: str) -> str:
    """Say in a few words why no answer came; the libraries' own texts nest four levels deep."""
    host = urlsplit(url).netloc
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection to {host} in time"
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    innermost: BaseException = error
    while (cause := innermost.__cause__ or innermost.__context__) is not None:
        innermost = cause
    return f"connection failed to {host}: {innermost}"
