"""One question to a vendor over HTTP: its JSON answer, in bounded memory and time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests

from ingestion.base.retry_after import retry_after
from ingestion.catalog import SourceBusy

TIMEOUT = (10.0, 30.0)
"""Seconds to connect, and to wait for the next bytes."""
LARGEST = 64 << 20
"""Bytes of an answer; 50 years of daily bars are about two million."""

_NETWORK = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
_KINDS = {
    requests.ConnectTimeout: "it is not reached in time",
    requests.Timeout: "nothing came in time",
    requests.exceptions.ChunkedEncodingError: "it was cut off",
}
"""What happened, where the system says nothing."""


class HttpFault(Exception):
    """A vendor's answer that asking again would not change.

    Parameters
    ----------
    status
        Of the answer.
    body
        Its JSON document; None where it has none.
    """

    def __init__(self, status: int, body: Any, url: str) -> None:
        super().__init__(f"HTTP {status} from {url}")
        self.status, self.body = status, body


class HttpBusy(SourceBusy):
    """A vendor's answer that says to come again later: 408, 418 (a ban that ends), 425, 429, 5xx.

    Parameters
    ----------
    status
        Of the answer.
    wait
        Seconds, where its header says so.
    """

    def __init__(self, status: int, host: str, wait: float | None) -> None:
        super().__init__(f"{host} says to come again later: HTTP {status}", wait)
        self.status = status


def get_json(
    url: str, parameters: Mapping[str, str | int], headers: Mapping[str, str] | None = None
) -> Any:
    """Return the JSON document that a vendor answers.

    Raises
    ------
    SourceBusy
        If the network fails, or the answer is no JSON although its status says success, or is cut
        off or too long. :class:`HttpBusy` if its status says to come again later.
    HttpFault
        If it has another status than success.
    """
    try:
        return _get_json(url, parameters, headers or {})
    except _NETWORK as error:
        raise SourceBusy(f"no answer from {_host(url)}: {_why(error)}") from error


def _get_json(url: str, parameters: Mapping[str, str | int], headers: Mapping[str, str]) -> Any:
    with requests.get(
        url,
        params=dict(parameters),
        headers=dict(headers),
        timeout=TIMEOUT,
        stream=True,
        auth=lambda request: request,  # else a line of ~/.netrc would replace the vendor's key
    ) as answer:
        content = bytearray()
        for piece in answer.iter_content(1 << 16):
            content += piece
            if len(content) > LARGEST:
                raise SourceBusy(f"an answer of more than {LARGEST >> 20} MB from {url}")
        if answer.status_code in (408, 418, 425, 429) or answer.status_code >= 500:
            raise HttpBusy(answer.status_code, _host(url), retry_after(answer.headers))
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if answer.status_code != 200:
            raise HttpFault(answer.status_code, document, url)
        if document is None:
            raise SourceBusy(f"an answer that is no JSON from {url}: {bytes(content[:60])!r}")
        return document


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _why(error: BaseException) -> str:
    """Return what the system said first, such as ``Connection refused``; else what happened."""
    why: str | None = None
    cause = error.__context__
    while cause is not None:
        why = getattr(cause, "strerror", None) or why
        cause = cause.__cause__ or cause.__context__
    if why is None:
        kinds = (kind for each, kind in _KINDS.items() if isinstance(error, each))
        why = next(kinds, type(error).__name__)
    return f"through the proxy: {why}" if isinstance(error, requests.exceptions.ProxyError) else why
