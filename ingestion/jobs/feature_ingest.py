"""One snapshot of the scanner becomes one part of ``tv_technicals_1d``."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from feature_repo.catalog import GROUPS, TV_TECHNICALS_1D, Dtype
from ingestion import clock
from ingestion.candidates import Candidates
from ingestion.errors import ClockError, GateRefused, NothingFetched
from ingestion.jobs.run import new_run_id
from ingestion.lakehouse import (
    append_part,
    arrow_schema,
    lakehouse_lock,
    make_readable,
    newest_between,
    sweep_staging,
    write_run_file,
)
from ingestion.quality import CoverageReport
from ingestion.quality.coverage import COVERAGE_FILE
from ingestion.scanner import ScannerClient, ScannerOptions, Snapshot
from ingestion.settings import Settings
from ingestion.symbols import exchange_of

GROUP = TV_TECHNICALS_1D


class Progress:
    """Where a job reports how far it is, a context manager; this one says nothing."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, total: int) -> None:
        """Take the number of symbols to fetch, once it is known and whenever it grows."""

    def advance(self, symbols: int) -> None:
        """Take the number of symbols that were just settled: a row, a reason, or unknown."""

    def close(self) -> None:
        """End the report, whether all was fetched or not."""


@dataclass(frozen=True)
class FeatureIngestRequest:
    """What to fetch, and when to be content."""

    source: Candidates | str
    """Candidates, or the slug of a market to fetch whole."""
    min_coverage: float = 0.95
    resume_window: timedelta = timedelta(hours=2)
    refresh: bool = False
    """Fetch also what the resume window would skip."""
    scanner: ScannerOptions = field(default_factory=ScannerOptions)


@dataclass(frozen=True)
class FeatureIngestResult:
    """What became of it."""

    report: CoverageReport
    receipt: Path
    part: Path | None
    """None if every symbol had a row inside the resume window."""


def feature_ingest(
    settings: Settings, request: FeatureIngestRequest, progress: Progress | None = None
) -> FeatureIngestResult:
    """Fetch a snapshot and publish it.

    The receipt is written first, then the part appears at one stroke. A run that died before that
    has published nothing; the next one fetches what is missing.

    Raises
    ------
    LakehouseLocked
        If another run is writing.
    NothingFetched
        If no row came, and none is inside the resume window.
    GateRefused
        If the coverage is below ``min_coverage``.
    ClockError
        If the lakehouse already holds rows of this very second.
    """
    run_id = new_run_id()
    with lakehouse_lock(settings.lakehouse, run_id):
        sweep_staging(settings.lakehouse)
        recent = {} if request.refresh else _recent(settings.lakehouse, request.resume_window)
        with progress or Progress() as shown:
            snapshot, resumed = _fetch(settings, request, recent, shown)
        known_at = clock.next_whole_second()
        rows = _table(snapshot, known_at)
        report = _report(run_id, request, snapshot, resumed, known_at)
        if report.is_enough:
            # Before the receipt, which says that the rows are published.
            _refuse_same_second(settings.lakehouse, rows, known_at)
        receipt = write_run_file(settings.lakehouse, run_id, COVERAGE_FILE, report.to_json())
        if not report.covered:
            reason = f"; mostly: {report.commonest_reason}" if report.commonest_reason else ""
            raise NothingFetched(f"no rows came from the scanner: {report}{reason}; see {receipt}")
        if not report.is_enough:
            raise GateRefused(
                f"{report} is below --min-coverage {request.min_coverage:g}: nothing was "
                f"published; {receipt} says why, symbol by symbol"
            )
        part = None
        if rows.num_rows:
            others = [group for group in GROUPS if group is not GROUP]
            make_readable(settings.lakehouse, others, run_id)
            part = append_part(settings.lakehouse, GROUP, rows, run_id)
    return FeatureIngestResult(report, receipt, part)


def _recent(lakehouse: Path, window: timedelta) -> dict[str, int]:
    """Return the symbols that have a row inside the resume window, with its second.

    The window reaches forward too: after a clock was set back a little, a retry still finds the
    rows of the run that it completes.
    """
    now, reach = clock.now().timestamp(), window.total_seconds()
    newest = newest_between(lakehouse, GROUP, int(now - reach), int(now + reach) + 1)
    return {symbol: second for symbol, second in newest.items() if abs(now - second) < reach}


def _fetch(
    settings: Settings, request: FeatureIngestRequest, recent: dict[str, int], progress: Progress
) -> tuple[Snapshot, int]:
    """Return the snapshot of what is missing, and how many symbols are not."""
    with ScannerClient(settings.scanner_url, request.scanner, settings.session_id) as client:
        if isinstance(request.source, Candidates):
            asked = request.source.symbols
            missing = [symbol for symbol in asked if symbol not in recent]
            progress.start(len(missing))
            snapshot = client.fetch(missing, GROUP.scanned, progress.advance)
            return snapshot, len(asked) - len(missing)
        # A market is known only by its pages, so they are all read and then thinned out.
        snapshot = client.fetch_market(
            request.source, GROUP.scanned, progress.advance, progress.start
        )
    return snapshot, _thin_out(snapshot, recent)


def _thin_out(snapshot: Snapshot, recent: dict[str, int]) -> int:
    """Take recent symbols out of a market's rows and failures; return how many it has in all.

    No row says of which market it is. So of the symbols that a market counts but has not shown,
    those are taken for recent that are so and are of an exchange that it has shown.
    """
    shown = snapshot.rows.keys() | snapshot.failed.keys()
    exchanges = set(map(exchange_of, shown))
    hidden = sum(exchange_of(symbol) in exchanges for symbol in recent.keys() - shown)
    resumed = min(hidden, snapshot.shortfall)
    for symbol in shown & recent.keys():
        snapshot.rows.pop(symbol, None)
        snapshot.failed.pop(symbol, None)
        resumed += 1
    return resumed


def _report(
    run_id: str,
    request: FeatureIngestRequest,
    snapshot: Snapshot,
    resumed: int,
    known_at: datetime,
) -> CoverageReport:
    source = request.source
    if isinstance(source, Candidates):
        profile, asked, invalid, shortfall = source.profile, len(source.symbols), source.problems, 0
    else:
        profile, asked, invalid = source, snapshot.asked, ()
        shortfall = max(0, snapshot.shortfall - resumed)
    return CoverageReport(
        run_id=run_id,
        profile=profile,
        known_at=known_at,
        asked=asked,
        fetched=len(snapshot.rows),
        resumed=resumed,
        failed_symbols=snapshot.failed,
        absent=snapshot.absent,
        invalid_symbols=invalid,
        shortfall=shortfall,
        lost_pages=snapshot.lost_pages,
        duplicates=snapshot.duplicates,
        unasked=snapshot.unasked,
        attempts=snapshot.attempts,
        min_coverage=request.min_coverage,
    )


def _table(snapshot: Snapshot, known_at: datetime) -> pa.Table:
    """Return the snapshot's rows in the group's schema, all stamped with one instant."""
    size = len(snapshot.rows)
    stamped = {
        "timestamp": pa.repeat(int(known_at.timestamp()), size),
        "symbol": pa.array(list(snapshot.rows), pa.string()),
        "event_timestamp": [known_at] * size,
        "created_timestamp": [max(clock.now(), known_at)] * size,
    }
    values = zip(*snapshot.rows.values(), strict=True) if size else [()] * len(snapshot.columns)
    scanned = {
        column.name: pa.array(cells, _SCANNED_TYPES[column.dtype])
        for column, cells in zip(snapshot.columns, values, strict=True)
    }
    schema = arrow_schema(GROUP)
    columns = stamped | scanned
    return pa.table(
        [pa.array(columns[field.name]).cast(field.type) for field in schema], schema=schema
    )


_SCANNED_TYPES = {Dtype.DOUBLE: pa.float64(), Dtype.TIMESTAMP: pa.int64()}


def _refuse_same_second(lakehouse: Path, rows: pa.Table, known_at: datetime) -> None:
    """Keep (symbol, timestamp) unique when the clock stands still or was set back."""
    second = int(known_at.timestamp())
    there = newest_between(lakehouse, GROUP, second, second)
    repeated = [symbol for symbol in rows["symbol"].to_pylist() if symbol in there]
    if repeated:
        raise ClockError(
            f"the lakehouse already holds {len(repeated)} of these symbols stamped "
            f"{known_at:%Y-%m-%d %H:%M:%S} UTC, {repeated[0]} among them: run again when the clock "
            "(TVFEAST_NOW, if it is set) has moved on"
        )
