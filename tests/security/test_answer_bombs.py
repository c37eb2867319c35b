"""An answer that is made to exhaust the client ends in a reason, in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

Told = dict[str, dict[str, Any]]

PROGRAM = """
import gzip, json, sys, zlib
from hostile_scanner import hostile_scanner, response
from tests.declared import TV_TECHNICALS_1D
from ingestion.base.errors import TvfeastError
from ingestion.runs.run import peak_memory_mb
from ingestion.scanner import ScannerClient, ScannerOptions

MIB = 1 << 20


def peak():
    return peak_memory_mb()


def zeros(packer, size):
    return b"".join(packer.compress(bytes(MIB)) for _ in range(size // MIB)) + packer.flush()


size = 256 * MIB
gzipped = zeros(zlib.compressobj(6, wbits=31), size)
encodings = {
    "gzip": gzipped,
    "deflate": zeros(zlib.compressobj(6), size),
    "gzip, gzip, gzip": gzip.compress(gzip.compress(gzipped)),
    "gzip, gzip, gzip, gzip, gzip, gzip": b"",
}
bodies = {}
for encoding, body in encodings.items():
    packed = f"Content-Encoding: {encoding}"
    bodies[encoding] = response(body, "200 OK", packed)
    bodies[f"redirect: {encoding}"] = response(body, "302 Found", packed, "Location: /scan")
nested = b'{"totalCount":1,"data":[{"s":"A:B","d":[' + b"[" * (8 * MIB)
many = b'{"totalCount":1,"data":[' + b"[]," * (2 * MIB) + b"[]]}"
bodies |= {
    "deeply nested lists": response(nested),
    "deeply nested objects": response(b'{"a":' * (3 * MIB)),
    "a number of millions of digits": response(b'{"totalCount":' + b"9" * (8 * MIB) + b"}"),
    "a fraction of millions of digits": response(
        b'{"totalCount":1,"data":[{"s":"A:B","d":[0.' + b"9" * (8 * MIB) + b"]}]}"
    ),
    "an endless text": response(b'{"totalCount":1,"data":[{"s":"' + b"x" * (32 * MIB) + b'"}]}'),
    "an endless error": response(json.dumps({"error": "x" * (15 * MIB)}).encode()),
    "an endless error, 400": response(json.dumps({"error": "x" * (15 * MIB)}).encode(), "400 Bad"),
    "a thousand headers": response(b"", "200 OK", *(f"X-{n}: 1" for n in range(1000))),
    "an endless header": response(b"", "200 OK", "X: " + "y" * MIB),
    "an endless status": b"HTTP/1.1 200 " + b"y" * MIB + b"\\r\\n\\r\\n",
    "interim answers without end": b"HTTP/1.1 100 Continue\\r\\n\\r\\n" * 200_000,
    "a redirect to what is no URL": response(b"", "302 Found", "Location: http://[/"),
    "millions of lists": response(many),
}
options = ScannerOptions(retries=0, backoff=0, read_timeout=20, total_timeout=60)
before, told = peak(), {}
for name, body in bodies.items():
    with hostile_scanner(lambda _: body) as url, ScannerClient(url, options) as client:
        try:
            snapshot = client.fetch(["A:B"], TV_TECHNICALS_1D.scanned)
            reason = snapshot.failed.get("A:B") or f"absent {snapshot.absent}"
        except TvfeastError as error:
            reason = f"{type(error).__name__}: {error}"
    told[name] = {"reason": reason, "mib": peak() - before}
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told() -> Told:
    """By name of a bomb, what the client said, and the peak of memory by then in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    document: Told = json.loads(done.stdout)
    return document


SMALL = 200
"""MiB that an answer may take, parsed and quoted; each of those that unpack would be larger."""
LISTS = 400
"""MiB that 6 MiB of empty lists may take: the form of JSON that grows most."""


@pytest.mark.parametrize(
    ("bombs", "reason"),
    [
        (("gzip", "deflate", "gzip, gzip, gzip"), "larger than 16,777,216 bytes"),
        (
            ("redirect: gzip", "redirect: deflate", "redirect: gzip, gzip, gzip"),
            "larger than 16,777,216 bytes",
        ),
        (("gzip, gzip, gzip, gzip, gzip, gzip",), "Too many content encodings"),
        (("deeply nested lists", "deeply nested objects"), "not JSON"),
        (("a number of millions of digits",), "not JSON"),
        (("a fraction of millions of digits",), "leave it out"),
        (("an endless text",), "larger than 16,777,216 bytes"),
        (("an endless error", "an endless error, 400"), "rejected (400): xxx"),
        (("a thousand headers",), "more than 100 headers"),
        (("an endless header", "an endless status"), "more than 65536 bytes"),
        (("interim answers without end",), "connection failed"),
        (("a redirect to what is no URL",), "ScannerRefused"),
    ],
)
def test_an_answer_made_to_exhaust_the_client_is_a_short_reason_in_little_memory(
    told: Told, bombs: tuple[str, ...], reason: str
) -> None:
    for bomb in bombs:
        assert reason in told[bomb]["reason"]
        assert len(told[bomb]["reason"]) < 250
        assert told[bomb]["mib"] < SMALL


def test_the_worst_json_that_is_small_enough_takes_bounded_memory(told: Told) -> None:
    assert told["millions of lists"]["mib"] < LISTS
