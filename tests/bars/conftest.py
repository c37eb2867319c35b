"""A lakehouse to import into, and vendor files that are written on the spot."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from bars_tools import NOW, Import, Rows, Write

from ingestion.catalog import OHLCV_1D
from ingestion.jobs.ingest.import_bars import ImportRequest, ImportResult, import_bars
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import list_parts, read_current
from ingestion.project import Project
from tests.bars import source_files
from tests.bars.vendors import SYMBOLS
from tests.conftest import SAMPLE


@pytest.fixture
def lakehouse(
    tmp_path: Path, at: Callable[[datetime], None], monkeypatch: pytest.MonkeyPatch
) -> Project:
    """Project of an empty lakehouse; now is June 2021."""
    # Hundreds of parts a test, and no power cut to outlive.
    monkeypatch.setattr("os.fsync", lambda _: None)
    at(NOW)
    return Project(tmp_path, tmp_path / "lakehouse", "https://scanner.invalid")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a vendor file."""

    def write_text(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_text


@pytest.fixture
def run(lakehouse: Project) -> Import:
    """Import files with the request's other fields as keywords."""

    def import_files(*files: Path, **options: Any) -> ImportResult:
        return import_bars(lakehouse, ImportRequest(files, **options))

    return import_files


@pytest.fixture
def stored(lakehouse: Project) -> Rows:
    """Return the current rows of the lakehouse, by symbol and open."""

    def rows() -> list[dict[str, Any]]:
        table: pa.Table = read_current(list_parts(lakehouse.lakehouse, OHLCV_1D), OHLCV_1D)
        found: list[dict[str, Any]] = table.to_pylist()
        return found

    return rows


@pytest.fixture
def world(
    tmp_path: Path, at: Callable[[datetime], None], monkeypatch: pytest.MonkeyPatch
) -> source_files.World:
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("ingestion.bars.fetching._BACKOFF", 0.0)
    monkeypatch.setenv("TVFEAST_PROJECT", str(tmp_path))
    at(source_files.NOW)
    return source_files.World(tmp_path)


@pytest.fixture(scope="session")
def bars() -> pa.Table:
    """Return the sample's real bars of some stocks, with splits."""
    table = pq.read_table(SAMPLE / "bars.parquet")
    return table.filter(pc.is_in(table["symbol"], pa.array(SYMBOLS)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project of its own, which commands work on."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    folder = make_workspace(tmp_path / "workspace")
    monkeypatch.setenv("TVFEAST_PROJECT", str(folder))
    return folder
