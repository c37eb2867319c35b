"""Three months of a lakehouse to which things happen, by the real jobs against the replay scanner.

``python -m tests.report.eventful FOLDER`` builds one to look at. What happens:

- the scanner fails on the whole of ``failed``, and the flow of that day publishes nothing; the bars
  that it would have brought are imported two days later;
- on ``corrected`` a vendor's corrected prices of three symbols are imported: their bars of the five
  sessions before are restated, and so are the features that follow from them;
- in the last weeks prices crash (it is March 2020), and distributions are no longer what they were;
- on the last evening the scanner has no bar of that day for the New York Stock Exchange.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingestion.base import clock
from ingestion.base.instants import day_of_date
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.compute.parity import parity
from ingestion.jobs.flow import flow_data
from ingestion.jobs.ingest.data_ingest import data_ingest
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.workspace import make_workspace
from ingestion.markets.candidates import read_candidates
from ingestion.project import Project
from ingestion.replay import FaultPlan, Panel, ReplayScanner
from ingestion.scanner import ScannerOptions

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
SYMBOLS = [
    *(f"BINANCE:{name}" for name in ("BTCUSDT", "ETHUSDT")),
    *(f"NASDAQ:{name}" for name in ("AAPL", "ADBE", "AMGN", "AMZN", "COST", "CSCO", "GOOGL")),
    *(f"NASDAQ:{name}" for name in ("INTC", "MSFT", "NVDA", "PEP", "SBUX")),
    *(f"NYSE:{name}" for name in ("CVX", "DUK", "GS", "HD", "JNJ", "JPM", "KO", "LIN", "MCD")),
    "NYSE:UPS",
]
LAST = date(2020, 3, 16)
RESTATED = ("NASDAQ:AAPL", "NASDAQ:MSFT", "NYSE:KO")
LATE = "NYSE"
_HISTORY = timedelta(days=500)
"""More than the year that the report looks at."""
_QUICK = ScannerOptions(backoff=0.01, longest_backoff=0.02, retries=1, read_timeout=5)


def now() -> datetime:
    """Return when the last evening's flow has run."""
    return _evening(LAST)


@dataclass(frozen=True)
class Course:
    """When what happens."""

    first: date = date(2019, 12, 16)
    failed: date = date(2020, 2, 18)
    corrected: date = date(2020, 3, 4)
    flows: int = 7
    """Of the last evenings run the whole flow; the others run the steps that bring rows."""


def build(folder: Path, course: Course = Course()) -> Project:
    """Make the lakehouse in a workspace of its own; ``TVFEAST_NOW`` is that of the last evening."""
    os.environ["TVFEAST_PROJECT"] = str(make_workspace(folder))
    bars = pq.read_table(SAMPLE / "bars.parquet")
    bars = bars.filter(pc.is_in(bars["symbol"], pa.array(SYMBOLS)))
    bars = _between(bars, course.first - _HISTORY, date.max)
    panel, without = (_panel(folder / name, rows) for name, rows in (
        ("panel", bars), ("late", bars.filter(pc.invert(_is_late(bars)))),
    ))  # fmt: skip
    candidates = folder / "candidates.json"
    candidates.write_text("[" + ", ".join(f'"{symbol}"' for symbol in SYMBOLS) + "]")
    request = FeatureIngestRequest(read_candidates(candidates), scanner=_QUICK)
    with ReplayScanner(panel) as scanner:
        project = replace(Project.from_environment(), scanner_url=scanner.url)
        _at(course.first - timedelta(days=1))
        _import(project, folder / "history.parquet", _between(bars, None, course.first))
        local_features(project)
        days = [course.first + timedelta(days=n) for n in range((LAST - course.first).days + 1)]
        for day in days:
            _at(day)
            scanner.panel = without if day == LAST else panel
            if day == course.failed:
                scanner.plan = FaultPlan(chances={"server-error": 1.0})
            if day == course.corrected:
                _correct(project, folder, bars, day)
            if day == course.failed + timedelta(days=2):
                missed = _between(bars, course.failed - timedelta(days=1), day)
                _import(project, folder / "missed.parquet", missed)
            _run(project, request, is_whole=day == course.failed or day in days[-course.flows :])
            scanner.plan = FaultPlan()
        parity(project)
    return project


def _run(project: Project, request: FeatureIngestRequest, *, is_whole: bool) -> None:
    if is_whole:
        flow_data(project, request)
        return
    data_ingest(project, request)
    if clock.now().weekday() < 5:
        feature_ingest(project, request)
        local_features(project)


def _between(bars: pa.Table, first: date | None, end: date) -> pa.Table:
    """Return the bars that open from one UTC date on, and before another."""
    days = pc.floor(pc.divide(bars["timestamp"], 86_400))
    rows = bars.filter(pc.less(days, day_of_date(end)))
    if first is None:
        return rows
    return rows.filter(
        pc.greater_equal(pc.floor(pc.divide(rows["timestamp"], 86_400)), day_of_date(first))
    )


def _evening(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 21, 30, tzinfo=UTC)


def _at(day: date) -> None:
    os.environ["TVFEAST_NOW"] = _evening(day).isoformat()


def _is_late(bars: pa.Table) -> pa.ChunkedArray:
    is_of_market = pc.starts_with(bars["symbol"], f"{LATE}:")
    return pc.and_(is_of_market, pc.greater_equal(bars["timestamp"], 86_400 * day_of_date(LAST)))


def _panel(folder: Path, bars: pa.Table) -> Panel:
    folder.mkdir()
    pq.write_table(bars, folder / "bars.parquet")
    lines = (SAMPLE / "symbols.csv").read_text().splitlines()
    own = [line for line in lines[1:] if any(symbol in line for symbol in SYMBOLS)]
    (folder / "symbols.csv").write_text("\n".join([lines[0], *own]) + "\n")
    return Panel.from_folder(folder)


def _import(project: Project, path: Path, bars: pa.Table) -> None:
    pq.write_table(bars, path)
    import_bars(project, ImportRequest((path,)))


def _correct(project: Project, folder: Path, bars: pa.Table, day: date) -> None:
    """Import other closes of some symbols' last sessions: half way to the middle of the day."""
    rows = _between(bars, day - timedelta(days=7), day)
    rows = rows.filter(pc.is_in(rows["symbol"], pa.array(RESTATED)))
    middle = pc.divide(pc.add(rows["high"], rows["low"]), 2.0)
    closes = pc.divide(pc.add(rows["close"], middle), 2.0)
    rows = rows.set_column(rows.column_names.index("close"), "close", closes)
    _import(project, folder / "corrected.parquet", rows)


if __name__ == "__main__":
    built = build(Path(sys.argv[1]).resolve())
    print(f"export TVFEAST_PROJECT={built.folder} TVFEAST_NOW={os.environ['TVFEAST_NOW']}")
