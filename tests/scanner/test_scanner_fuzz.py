"""Whatever the scanner answers over HTTP, an ingestion ends in a receipt or an error of ours."""

from __future__ import annotations

import gzip
import json
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from scanner_tools import COLUMNS, Reply, row, stub_scanner

from ingestion.base.errors import TvfeastError
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.lakehouse import list_parts, read_current
from ingestion.markets.candidates import Candidates
from ingestion.markets.symbols import symbol_problem
from ingestion.markets.universe import Market
from ingestion.project import Project
from ingestion.runs.receipt_file import snapshot_file
from ingestion.scanner import ScannerOptions
from tests.conftest import MONDAY
from tests.declared import TV_TECHNICALS_1D
from tests.fuzzing import fuzz

ASKED = ("NASDAQ:AAPL", "NYSE:A", "X:B")
OPTIONS = ScannerOptions(
    batch_size=2,
    retries=0,
    backoff=0,
    read_timeout=5,
    longest_retry_after=0,
    largest_answer=1 << 16,
)

CELLS = st.one_of(
    st.none(),
    st.floats(),
    st.integers(),
    st.booleans(),
    st.text(max_size=5),
    st.sampled_from([1.5, 1_618_000_000, 10**400, -0.0, 5e-324, [], {}, [[[]]], "\ud800", "1.5"]),
)
NAMES = st.one_of(
    st.sampled_from(
        [*ASKED, "NYSE:a", "\ud800:A", "A:\ud800", "A:B\0", "A:" + "B" * 999, "", "A:.."]
    ),
    st.text(max_size=8),
    st.none(),
    st.integers(),
)
ROWS = st.one_of(
    st.sampled_from(ASKED).map(row),
    st.fixed_dictionaries(
        {"s": NAMES, "d": st.lists(CELLS, min_size=len(COLUMNS), max_size=len(COLUMNS))}
    ),
    st.fixed_dictionaries({}, optional={"s": NAMES, "d": st.lists(CELLS, max_size=3) | CELLS}),
    CELLS,
)
TOTALS = st.one_of(st.integers(-1, 12), st.integers(), CELLS)
DOCUMENTS = st.one_of(
    st.fixed_dictionaries({"totalCount": st.integers(0, 6), "data": st.lists(ROWS, max_size=6)}),
    st.fixed_dictionaries({}, optional={"totalCount": TOTALS, "data": st.lists(ROWS) | CELLS}),
    st.fixed_dictionaries(
        {"error": st.sampled_from(["no", 'Unknown field "RSI"', "\x1b[2J"]) | st.text() | CELLS}
    ),
    CELLS,
    st.lists(ROWS, max_size=3),
)
WHOLE = DOCUMENTS.map(lambda document: json.dumps(document).encode())
NEARLY = st.builds(
    lambda body, start, size, patch: body[:start] + patch + body[start + size :],
    WHOLE,
    st.integers(0, 300),
    st.integers(0, 20),
    st.binary(max_size=4) | st.sampled_from([b"[" * 2000, b"9" * 5000, b'"', b"{", b"NaN"]),
)
BODIES = st.one_of(WHOLE, WHOLE, NEARLY, st.binary(max_size=100))
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": lambda body: gzip.compress(body, mtime=0),
    "deflate": zlib.compress,
    "gzip, deflate": lambda body: zlib.compress(gzip.compress(body, mtime=0)),
    "br": bytes,
    "nonsense": bytes,
}


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    """Draw an answer: most are 200 and sound HTTP, some are cut, mislabelled or other statuses."""
    body = draw(BODIES)
    packer = draw(st.sampled_from(["", "", "", *PACKERS]))
    packed = PACKERS[packer](body)
    if draw(st.integers(0, 9)) == 0:
        packed = packed[: draw(st.integers(0, 400))] + draw(st.binary(max_size=8))
    headers = {"Content-Encoding": packer} if packer else {}
    header = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"))
    for name in draw(st.lists(st.sampled_from(["Location", "Retry-After", "Date", "Set-Cookie"]))):
        headers[name] = draw(header | st.sampled_from(["http://[", "9" * 40, "0", "-1", "//x"]))
    other = [204, 301, 302, 307, 400, 400, 401, 403, 404, 418, 429, 500, 503, 599, 999]
    status = draw(st.sampled_from([*[200] * 20, *other]))
    return Reply(packed, status, headers)


@dataclass
class Script:
    """The answers of a stub, in turn; the last one for ever."""

    url: str
    answers: list[Reply] = field(default_factory=list)
    given: int = 0


@pytest.fixture(scope="module")
def script() -> Iterator[Script]:
    this = Script("")

    def answer(*_: Any) -> Reply:
        this.given += 1
        return this.answers[min(this.given, len(this.answers)) - 1]

    with stub_scanner(answer) as stub:
        this.url = stub.url
        yield this


@fuzz(120, answers=st.lists(replies(), min_size=1, max_size=4), market=st.booleans())
def test_any_answers_end_in_a_receipt_or_an_error_of_ours(
    answers: list[Reply],
    market: bool,
    script: Script,
    at: Callable[[datetime], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at(MONDAY)
    monkeypatch.setattr("os.fsync", lambda _: None)
    script.answers, script.given = answers, 0
    source = Market("america") if market else Candidates("mine.json", ASKED, (), 0)
    with tempfile.TemporaryDirectory() as folder:
        settings = Project(Path(folder), Path(folder) / "lakehouse", script.url)
        try:
            result = feature_ingest(settings, FeatureIngestRequest(source, 0.0, OPTIONS))
        except TvfeastError as error:
            told, published = str(error), 0
        else:
            told, published = "", result.report.fetched
        assert told.isprintable()
        assert len(told) < 1000
        (receipt,) = settings.lakehouse_at.glob(f"_runs/*/{snapshot_file(TV_TECHNICALS_1D)}")
        document = json.loads(receipt.read_text())
        assert (document["outcome"] == "done") == (not told)
        assert receipt.stat().st_size < 20_000
        if "fetched" in document:
            fates = (document["fetched"], len(document["failed_symbols"]), len(document["absent"]))
            assert market or sum(fates) == len(ASKED)
        else:
            assert document["outcome"] == "failed"
            assert document["error"]
        parts = list_parts(settings.lakehouse, TV_TECHNICALS_1D)
        held = read_current(parts, TV_TECHNICALS_1D) if parts else None
        symbols = held["symbol"].to_pylist() if held else []
        assert len(symbols) == len(set(symbols)) == published
        assert not [symbol for symbol in symbols if symbol_problem(symbol)]
        assert market or set(symbols) <= set(ASKED)
