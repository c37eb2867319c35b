"""Whatever a symbol is called, no file is: neither by candidates, answers, bars nor maps."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hostile_scanner import hostile_scanner, response
from hypothesis import strategies as st

from ingestion.base.errors import TvfeastError
from ingestion.catalog import OHLCV_1D
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.lakehouse import list_parts, read_current
from ingestion.markets.candidates import read_candidates
from ingestion.markets.symbols import symbol_problem
from ingestion.markets.universe import Market
from ingestion.project import Project
from ingestion.scanner import ScannerOptions
from tests.conftest import MONDAY
from tests.declared import TV_TECHNICALS_1D
from tests.fuzzing import fuzz

LAKEHOUSE = re.compile(
    r"(_lock|_columns/[a-z0-9_]+\.json|_runs/[0-9A-Za-z-]+/[a-z_]+(\.[a-z0-9_]+)?\.(jsonl?|parquet)"
    r"|(features/)?[a-z0-9_]+/date=\d{4}-\d\d-\d\d/part-\d+\.parquet)"
)
"""What a run may leave: names that no symbol has a part in."""
PIECES = st.sampled_from(
    [
        *(
            "..",
            "../",
            "../../etc/passwd",
            "/",
            "/etc/cron.d/x",
            "\\",
            "\0",
            "\n",
            ".",
            "~",
            "$HOME",
        ),
        *(
            "CON",
            "NUL",
            "AUX",
            "COM1",
            "PRN.TXT",
            "A",
            "NASDAQ",
            "date=2021-01-01",
            "part-0.parquet",
        ),
        *(
            "%2e%2e%2f",
            "_tmp",
            "*",
            "?",
            "[",
            "'",
            '"',
            ";",
            "|",
            "`",
            " ",
            "\u2024\u2024",
            "\ud800",
        ),
    ]
)
NAMES = st.one_of(
    st.lists(PIECES, max_size=4).map("".join),
    st.tuples(st.sampled_from(["NASDAQ", "X", "..", "/", ""]), st.lists(PIECES, max_size=4)).map(
        lambda parts: f"{parts[0]}:{''.join(parts[1])}"
    ),
    st.text(max_size=12),
)
SYMBOLS = st.lists(NAMES, min_size=1, max_size=4)
OPTIONS = ScannerOptions(retries=0, backoff=0, read_timeout=5)
VALUES = [1.5] * (len(TV_TECHNICALS_1D.scanned) - 2) + [1_618_000_000, 1_618_000_000]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, at: Callable[[datetime], None]) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    at(MONDAY)


@pytest.fixture(scope="module")
def answers() -> Iterator[tuple[str, list[str]]]:
    """A scanner that lists what is in its list; as JSON escapes, which can hold half a pair."""
    listed: list[str] = []

    def answer(_: bytes) -> bytes:
        rows = [{"s": name, "d": VALUES} for name in listed]
        return response(json.dumps({"totalCount": len(rows), "data": rows}).encode())

    with hostile_scanner(answer) as url:
        yield url, listed


def assert_only_known_names(folder: Path, given: set[str]) -> None:
    """Take account of every file below a folder that held ``given`` before."""
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    strange = {
        name
        for name in there - given
        if not LAKEHOUSE.fullmatch(name.removeprefix("a/b/lakehouse/"))
    }
    assert not strange
    assert {path.name for path in folder.iterdir()} <= {"a", *(n.split("/")[0] for n in given)}


def in_depths(folder: str) -> tuple[Path, Project]:
    """Return a folder, and settings for a lakehouse two levels below it."""
    root = Path(folder)
    return root, Project(root / "a" / "b", root / "a" / "b" / "lakehouse", "https://x.invalid")


@fuzz(40, names=SYMBOLS)
def test_a_symbol_of_candidates_is_no_path(
    names: list[str], answers: tuple[str, list[str]]
) -> None:
    url, listed = answers
    listed[:] = names
    with tempfile.TemporaryDirectory() as folder:
        root, settings = in_depths(folder)
        file = root / "candidates.json"
        file.write_text(json.dumps(names))
        try:
            source = read_candidates(file)
            asked = Project(settings.folder, settings.lakehouse_at, url)
            feature_ingest(asked, FeatureIngestRequest(source, 0.0, OPTIONS))
        except TvfeastError as error:
            str(error).encode()
        assert_only_known_names(root, {"candidates.json"})


@fuzz(40, names=SYMBOLS)
def test_a_symbol_of_the_scanners_answer_is_no_path(
    names: list[str], answers: tuple[str, list[str]]
) -> None:
    url, listed = answers
    listed[:] = names
    with tempfile.TemporaryDirectory() as folder:
        root, settings = in_depths(folder)
        asked = Project(settings.folder, settings.lakehouse_at, url)
        try:
            result = feature_ingest(asked, FeatureIngestRequest(Market("america"), 0.0, OPTIONS))
        except TvfeastError as error:
            str(error).encode()
        else:
            assert result.report.fetched == sum(
                symbol_problem(name) is None for name in dict.fromkeys(names)
            )
        assert_only_known_names(root, set())


@fuzz(40, name=NAMES, other=NAMES, as_json=st.booleans())
def test_a_symbol_of_bars_a_file_name_or_a_map_is_no_path(
    name: str, other: str, as_json: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, settings = in_depths(folder)
        safe = re.sub(r"[/\0]", "_", name.encode("utf-8", "replace").decode())
        bars = root / f"NYSE_{safe[:40]}_1d.csv"
        bars.write_text("date,open,high,low,close,volume\n2021-03-03,1,1,1,1,1\n")
        table = root / "table.csv"
        quoted = name.replace('"', '""').encode(errors="replace").decode()
        table.write_text(
            f'date,symbol,open,high,low,close,volume\n2021-03-03,"{quoted}",1,1,1,1,1\n'
        )
        mapped = root / ("map.json" if as_json else "map.csv")
        mapped.write_text(
            json.dumps({quoted: other}) if as_json else f'"{quoted}",X:{other}\n',
            errors="replace",
        )
        given = {str(path.relative_to(root)) for path in root.iterdir()}
        for request in (
            ImportRequest((bars,)),
            ImportRequest((table,), exchange="NYSE"),
            ImportRequest((table,), exchange="NYSE", symbol_map=mapped),
        ):
            try:
                import_bars(settings, request)
            except TvfeastError as error:
                str(error).encode(errors="surrogateescape")
        assert_only_known_names(root, given)
        parts = list_parts(settings.lakehouse, OHLCV_1D)
        held = read_current(parts, OHLCV_1D)["symbol"].to_pylist() if parts else []
        assert all(symbol_problem(symbol) is None for symbol in held)


@pytest.mark.parametrize("symbol", ["A:..", "A:../B", "A:B/..", "A:B/../C", "A:./B", "A:B/./."])
def test_a_ticker_that_is_a_path_is_no_symbol(symbol: str) -> None:
    assert symbol_problem(symbol)


@pytest.mark.parametrize(
    "symbol", ["NYSE:CON", "NASDAQ:AUX", "NYSE:BRK.B", "NYSE:BAC/PB", "X:A..B"]
)
def test_names_that_some_systems_reserve_are_symbols(symbol: str) -> None:
    assert symbol_problem(symbol) is None
