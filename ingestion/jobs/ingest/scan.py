"""What the jobs that ask the scanner share: the question, the progress, the gates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType

from ingestion.base.errors import GateRefused, NothingFetched
from ingestion.catalog import Column
from ingestion.markets.candidates import Candidates
from ingestion.project import Project
from ingestion.quality.coverage import CoverageReport
from ingestion.runs.receipt import Job
from ingestion.scanner import ScannerClient, ScannerOptions, Snapshot


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


@dataclass
class Patience:
    """Whether the scans of one flow wait for a scanner that fails: for one outage, once."""

    is_spent: bool = False
    """Whether the last scan has waited for nothing; the next one asks once, and does not wait."""


@dataclass(frozen=True)
class ScanRequest:
    """What to fetch, and when to be content."""

    source: Candidates | str
    """Candidates, or the slug of a market to fetch whole."""
    min_coverage: float = 0.95
    scanner: ScannerOptions = field(default_factory=ScannerOptions)
    patience: Patience = field(default_factory=Patience, repr=False, compare=False)


def open_client(project: Project, request: ScanRequest) -> ScannerClient:
    """Return a client for the configured scanner; a context manager."""
    options = request.scanner
    if request.patience.is_spent:
        options = replace(options, retries=0)
    return ScannerClient(project.scanner_url, options, project.session_id)


def fetch(
    client: ScannerClient,
    request: ScanRequest,
    columns: Sequence[Column],
    progress: Progress,
    skip: Collection[str] = (),
) -> Snapshot:
    """Return the snapshot of what was asked for.

    Parameters
    ----------
    skip
        Candidates that need not be asked for. A market is known only by its pages, so they are all
        read.
    """
    if isinstance(request.source, Candidates):
        symbols = [symbol for symbol in request.source.symbols if symbol not in skip]
        progress.start(len(symbols))
        snapshot = client.fetch(symbols, columns, progress.advance)
    else:
        snapshot = client.fetch_market(request.source, columns, progress.advance, progress.start)
    request.patience.is_spent = snapshot.gave_up_waiting
    return snapshot


def refuse_unless_enough(report: CoverageReport, job: Job) -> None:
    """Stop a job that has too little to publish.

    Raises
    ------
    NothingFetched
        If no row came.
    GateRefused
        If the coverage is below the least.
    """
    if not report.covered:
        reason = f"; mostly: {report.commonest_reason}" if report.commonest_reason else ""
        raise NothingFetched(f"no rows came from the scanner: {report}{reason}; see {job.receipt}")
    if not report.is_enough:
        raise GateRefused(
            f"{report} is below --min-coverage {report.min_coverage:g}: {job.published_so_far()}; "
            f"{job.receipt} says why, symbol by symbol"
        )
