"""Three months of a lakehouse to which things happen, by the real jobs against the replay scanner.

``python -m tests.report.eventful FOLDER`` builds one to look at. What happens:

- the scanner fails on the whole of ``FAILED``, and the flow of that day publishes nothing;
- on ``CORRECTED`` a vendor's corrected prices of three symbols are imported: their bars of the five
  sessions before are restated, and so are the features that follow from them;
- in the last weeks prices crash (it is March 2020), and distributions are no longer what they were;
- on the last evening the scanner has no bar of that day for the New York Stock Exchange.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

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
FIRST, LAST = date(2019, 12, 16), date(2020, 3, 16)
FAILED, CORRECTED = date(2020, 2, 18), date(2020, 3, 4)
RESTATED = ("NASDAQ:AAPL", "NASDAQ:MSFT", "NYSE:KO")
LATE = "NYSE"
FLOWS = 5
"""How many of the last evenings run the whole flow; the others run the steps that bring rows."""
_QUICK = ScannerOptions(backoff=0.01, longest_backoff=0.02, retries=1, read_timeout=5)


def now() -> datetime:
    """Return when the last evening's flow has run."""
    return _evening(LAST)


def build(folder: Path, first: date = FIRST, flows: int = FLOWS) -> Project:
    """Make the lakehouse in a workspace of its own; ``TVFEAST_NOW`` is that of the last evening."""
    os.environ["TVFEAST_PROJECT"] = str(make_workspace(folder))
    bars = pq.read_table(SAMPLE / "bars.parquet")
    bars = bars.filter(pc.is_in(bars["symbol"], pa.array(SYMBOLS)))
    panel, without = (_panel(folder / name, rows) for name, rows in (
        ("panel", bars), ("late", bars.filter(pc.invert(_is_late(bars)))),
    ))  # fmt: skip
    candidates = folder / "candidates.json"
    candidates.write_text("[" + ", ".join(f'"{symbol}"' for symbol in SYMBOLS) + "]")
    request = FeatureIngestRequest(read_candidates(candidates), scanner=_QUICK)
    with ReplayScanner(panel) as scanner:
        project = replace(Project.from_environment(), scanner_url=scanner.url)
        _at(first - timedelta(days=1))
        seconds = int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp())
        before = bars.filter(pc.less(bars["timestamp"], seconds - 3 * 86_400))
        _import(project, folder / "history.parquet", before)
        local_features(project)
        days = list(_weekdays(first))
        for day in days:
            _at(day)
            scanner.panel = without if day == LAST else panel
            if day == FAILED:
                scanner.plan = FaultPlan(["server-error@1.0"])
            if day == CORRECTED:
                _correct(project, folder, bars)
            if day == FAILED or day in days[-flows:]:
                flow_data(project, request)
            else:
                data_ingest(project, request)
                feature_ingest(project, request)
                local_features(project)
            scanner.plan = FaultPlan()
        parity(project)
    return project


def _evening(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 21, 30, tzinfo=UTC)


def _at(day: date) -> None:
    os.environ["TVFEAST_NOW"] = _evening(day).isoformat()


def _weekdays(first: date) -> Iterator[date]:
    for number in range((LAST - first).days + 1):
        day = first + timedelta(days=number)
        if day.weekday() < 5:
            yield day


def _is_late(bars: pa.Table) -> pa.ChunkedArray:
    begin = int(datetime(LAST.year, LAST.month, LAST.day, tzinfo=UTC).timestamp())
    is_of_market = pc.starts_with(bars["symbol"], f"{LATE}:")
    return pc.and_(is_of_market, pc.greater_equal(bars["timestamp"], begin))


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


def _correct(project: Project, folder: Path, bars: pa.Table) -> None:
    """Import other prices of some symbols' last sessions, all half a percent higher."""
    end = int(datetime(CORRECTED.year, CORRECTED.month, CORRECTED.day, tzinfo=UTC).timestamp())
    since = pc.greater_equal(bars["timestamp"], end - 7 * 86_400)
    before = pc.less(bars["timestamp"], end)
    own = pc.is_in(bars["symbol"], pa.array(RESTATED))
    rows = bars.filter(pc.and_(own, pc.and_(since, before)))
    for name in ("open", "high", "low", "close"):
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, pc.multiply(rows[name], 1.005))
    _import(project, folder / "corrected.parquet", rows)


if __name__ == "__main__":
    built = build(Path(sys.argv[1]).resolve())
    print(f"export TVFEAST_PROJECT={built.folder} TVFEAST_NOW={os.environ['TVFEAST_NOW']}")
