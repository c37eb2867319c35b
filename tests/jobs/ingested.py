"""What a lakehouse has, and what imports bring to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scanned_rows import unix

from ingestion.catalog import HELD_BARS, OHLCV_1D
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.lakehouse import list_parts, read_current
from ingestion.project import Project
from tests.conftest import SAMPLE


def stored(settings: Project) -> list[dict]:
    rows: list[dict] = read_current(list_parts(settings.lakehouse, OHLCV_1D), OHLCV_1D).to_pylist()
    return rows


def files(settings: Project) -> int:
    return len(list_parts(settings.lakehouse, OHLCV_1D)) + len(
        list_parts(settings.lakehouse, HELD_BARS)
    )


def imported(settings: Project, tmp_path: Path, *lines: str) -> None:
    """Import bars of lines ``symbol,date,close``."""
    path = tmp_path / "vendor.csv"
    rows = (line.split(",") for line in lines)
    text = (
        f"{day},{symbol},{close},{float(close) * 1.01},{float(close) * 0.99},{close},1000\n"
        for symbol, day, close in rows
    )
    path.write_text("date,symbol,open,high,low,close,volume\n" + "".join(text))
    import_bars(settings, ImportRequest((path,)))


def recorded(settings: Project, tmp_path: Path, *lines: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_text("symbol,date,ratio\n" + "".join(f"{line}\n" for line in lines))
    import_bars(settings, ImportRequest(splits=path))


def sample(folder: Path, first: str, end: str) -> Path:
    """A file of the sample's bars that opened from one date to before another."""
    bars = pq.read_table(SAMPLE / "bars.parquet")
    opened = bars["timestamp"]
    inside = pc.and_(pc.greater_equal(opened, unix(first)), pc.less(opened, unix(end)))
    path = folder / "sample.parquet"
    pq.write_table(bars.filter(inside), path)
    return path


def from_file(settings: Project, folder: Path, first: str, end: str) -> pa.Table:
    """What another lakehouse holds after an import of those."""
    other = replace(settings, lakehouse_at=folder / "imported")
    import_bars(other, ImportRequest((sample(folder, first, end),)))
    return read_current(list_parts(other.lakehouse, OHLCV_1D), OHLCV_1D)
