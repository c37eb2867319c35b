"""One question to a vendor over HTTP: its JSON answer, in bounded memory and time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import requests

from ingestion.catalog import SourceBusy

TIMEOUT = (10.0, 30.0)
"""Seconds to connect, and to wait for the next bytes."""
LARGEST = 64 << 20
"""Bytes of an answer; 50 years of daily bars are about two million."""


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


def get_json(
    url: str, parameters: Mapping[str, str | int], headers: Mapping[str, str] | None = None
) -> Any:
    """Return the JSON document that a vendor answers.

    Raises
    ------
    SourceBusy
        If the answer is no JSON although its status says success, or is cut off or too long.
    requests.HTTPError
        If the status says to come again later: 408, 418 (a ban that ends), 425, 429 and 5xx.
    HttpFault
        If it has another status than success.
    OSError
        If the network fails.
    """
    with requests.get(
        url,
        params=dict(parameters),
        headers=dict(headers or {}),
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
            answer.raise_for_status()
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if answer.status_code != 200:
            raise HttpFault(answer.status_code, document, url)
        if document is None:
            raise SourceBusy(f"an answer that is no JSON from {url}: {bytes(content[:60])!r}")
        return document
