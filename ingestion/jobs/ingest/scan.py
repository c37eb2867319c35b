"""What the jobs that ask the scanner share: the question, the scan, its coverage."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Event, Thread
from typing import ClassVar, NamedTuple

from ingestion.base import clock
from ingestion.base.errors import GateRefused, NothingFetched, TvfeastError, UnknownColumn
from ingestion.base.progress import Progress, progress
from ingestion.base.wording import counted, some_of
from ingestion.catalog import Column
from ingestion.markets.universe import Market, Universe
from ingestion.project import Project
from ingestion.runs.run import Run
from ingestion.scanner import (
    GLOBAL,
    Attempt,
    ScannerClient,
    ScannerOptions,
    ScanPlan,
    Snapshot,
    Table,
)


@dataclass(frozen=True)
class ScanRequest:
    """What to fetch, and when to be content."""

    source: Universe
    """Candidates, or a market to fetch whole."""
    min_coverage: float = 0.95
    scanner: ScannerOptions = field(default_factory=ScannerOptions)


class Spent(NamedTuple):
    """What the process has spent so far."""

    clock: float
    """Seconds of a clock that is never set."""
    cpu: float
    """Seconds of the processor that the process has had."""

    @classmethod
    def now(cls) -> Spent:
        """Return the present."""
        return cls(time.monotonic(), time.process_time())


class Scanned(NamedTuple):
    """What a scan has brought for one table."""

    universe: Universe
    snapshot: Snapshot
    known_at: datetime
    """The whole second after the scan's last answer: all tables of the scan have the same."""


class Scans:
    """The scans of one run: each market is asked once, for all tables that take its rows.

    A market is asked when the first of its tables is taken, and never again: what its scan has
    raised is raised for each of its tables. So a market that fails stops no other.

    Parameters
    ----------
    tables
        Of all jobs of the run. The first one is of one request, however wide the scan is.
    meanwhile
        Called in a thread beside each scan that asks for anything; it ends when both have. It is
        given what says whether an answer is still being waited for.
    """

    def __init__(
        self,
        project: Project,
        request: ScanRequest,
        tables: Iterable[Table],
        meanwhile: Callable[[Callable[[], bool]], object] = lambda _: None,
    ) -> None:
        self._project, self._request = project, request
        self._meanwhile = meanwhile
        self._tables = {table.name: table for table in tables}
        self._made: dict[Universe, dict[str, Scanned | TvfeastError]] = {}
        self._beside: Thread | None = None
        self._has_answered = Event()
        self.answered: Spent | None = None
        """When the last scan had its last answer; None if nothing was asked."""

    def table(self, name: str) -> Scanned:
        """Return one table's part of the scan of its market.

        Raises
        ------
        UnknownColumn
            If the scanner does not know a column that the table needs.
        ScannerRefused
            If asking on would not help.
        """
        universe = self._universe(self._tables[name])
        if universe not in self._made:
            tables = [each for each in self._tables.values() if self._universe(each) == universe]
            try:
                self._made[universe] = self._scan(universe, tables)
            except TvfeastError as error:
                self._made[universe] = dict.fromkeys((each.name for each in tables), error)
            if self._beside is not None:
                self.answered = Spent.now()
                self._has_answered.set()
                self._beside.join()  # two threads that import the same packages may deadlock
                self._beside = None
        made = self._made[universe][name]
        if isinstance(made, TvfeastError):
            raise made
        return made

    def ask(self, symbols: Sequence[str], columns: Sequence[Column]) -> Snapshot:
        """Ask for some symbols by name, beside the scans."""
        with self._client() as client:
            return client.fetch(symbols, columns).table(columns)

    def _universe(self, table: Table) -> Universe:
        return self._request.source if table.market is None else Market(table.market)

    def _client(self) -> ScannerClient:
        project = self._project
        return ScannerClient(project.scanner_url, self._request.scanner, project.session_id)

    def _begin(self) -> None:
        """Start what is done beside a scan."""
        if self._beside is None:
            self._has_answered.clear()
            answered = self._has_answered
            waits = lambda: not answered.is_set()  # noqa: E731
            self._beside = Thread(target=self._meanwhile, args=[waits], daemon=True)
            self._beside.start()

    def _scan(
        self, universe: Universe, tables: Sequence[Table]
    ) -> dict[str, Scanned | TvfeastError]:
        plan = ScanPlan.of(tables, universe.symbols)
        counter = progress("scanner", "symbols", at_once=True)
        with closing(counter), self._client() as client:
            plan, snapshot = _asked(client, universe, plan, counter, self._begin)
        known_at = clock.next_whole_second()
        parts = plan.split(snapshot)
        made: dict[str, Scanned | TvfeastError] = {}
        for table in tables:
            # All symbols of a table that was not due are recent.
            part = parts.get(table.name, Snapshot(table.columns, {}))
            if universe.symbols is not None:
                part = replace(part, asked=len(universe.symbols))
            scanned = Scanned(universe, part, known_at)
            made[table.name] = plan.refused.get(table.name, scanned)
        return made


def _asked(
    client: ScannerClient,
    universe: Universe,
    plan: ScanPlan,
    counter: Progress,
    begin: Callable[[], None],
) -> tuple[ScanPlan, Snapshot]:
    """Ask for a plan's columns; return it without those that the scanner does not know."""
    plan = _without_unknown(client, universe, plan)
    while plan.tables:
        try:
            return plan, _fetched(client, universe, plan, counter, begin)
        except UnknownColumn as error:
            smaller = plan.without(error.column)
            if smaller.columns == plan.columns:
                raise
            plan = smaller
    counter.start(0)
    return plan, Snapshot((), {})


def _without_unknown(client: ScannerClient, universe: Universe, plan: ScanPlan) -> ScanPlan:
    """Ask for optional columns that may be unknown alone: one costs its whole request."""
    if not plan.to_probe(()):
        return plan
    market = universe.slug if isinstance(universe, Market) else GLOBAL
    symbol = universe.symbols[0] if universe.symbols else None
    for name in plan.to_probe(client.listed_columns(market)):
        if not client.serves(market, name, symbol):
            plan = plan.without(name)
    return plan


def _fetched(
    client: ScannerClient,
    universe: Universe,
    plan: ScanPlan,
    counter: Progress,
    begin: Callable[[], None],
) -> Snapshot:
    """Ask for what the plan needs.

    A market is known only by its pages, so they are all read.
    """
    if isinstance(universe, Market):
        begin()
        return client.fetch_market(universe.slug, plan.columns, counter.advance, counter.start)
    symbols = [symbol for symbol in universe.symbols if symbol not in plan.skipped]
    if symbols:
        begin()
    counter.start(len(symbols))
    return client.fetch(symbols, plan.columns, counter.advance)


@dataclass(frozen=True)
class CoverageReport:
    """What one snapshot covers: the receipt of its run, or the beginning of it."""

    SHOWN: ClassVar = ("coverage", "verdict")

    run_id: str
    profile: str
    """Name of the candidates file, or slug of the universe."""
    known_at: datetime
    """The instant that all rows of the snapshot are stamped with, or judged by."""
    asked: int
    fetched: int
    """Symbols with a row in this snapshot."""
    resumed: int
    """Symbols left out because an earlier row is inside the resume window."""
    failed_symbols: dict[str, str]
    absent: tuple[str, ...]
    """Symbols that the scanner does not know."""
    invalid_symbols: tuple[str, ...]
    """Entries of the candidates file that were never asked for, with their numbers."""
    shortfall: int
    """Symbols that a market counts but no page showed."""
    lost_pages: tuple[str, ...]
    duplicates: int
    unasked: int
    attempts: tuple[Attempt, ...]
    min_coverage: float
    refused: int = 0
    """Symbols whose row cannot be used."""
    unknown_columns: tuple[str, ...] = ()
    """Optional columns that the scanner does not know; they are null in all rows."""
    not_due: int = 0
    """Symbols that are not among the asked: their group was not worth asking for them now."""

    @classmethod
    def of(
        cls,
        run_id: str,
        request: ScanRequest,
        scanned: Scanned,
        resumed: int = 0,
        not_due: int = 0,
    ) -> CoverageReport:
        """Report on a snapshot of candidates, or of a market.

        Parameters
        ----------
        resumed
            Symbols that are missing from the snapshot because they have a recent row.
        not_due
            Symbols that are missing from it because they were not to be asked for.
        """
        universe, snapshot, known_at = scanned
        return cls(
            run_id=run_id,
            profile=universe.profile,
            known_at=known_at,
            asked=snapshot.asked - not_due,
            fetched=len(snapshot.rows),
            resumed=resumed,
            failed_symbols=snapshot.failed,
            absent=snapshot.absent,
            invalid_symbols=universe.problems,
            shortfall=max(0, snapshot.shortfall - resumed - not_due),
            lost_pages=snapshot.lost_pages,
            duplicates=snapshot.duplicates,
            unasked=snapshot.unasked,
            attempts=snapshot.attempts,
            min_coverage=request.min_coverage,
            unknown_columns=snapshot.unknown,
            not_due=not_due,
        )

    @property
    def coverage(self) -> float:
        """Symbols with a usable row here or inside the resume window ÷ symbols asked."""
        # A market that changes while it is read may show more symbols than it ever counts.
        return min(1.0, self.covered / self.asked) if self.asked else 0.0

    @property
    def covered(self) -> int:
        """Symbols with a usable row here or inside the resume window."""
        return self.fetched - self.refused + self.resumed

    @property
    def is_enough(self) -> bool:
        """Whether the snapshot may be published."""
        return self.covered > 0 and self.coverage >= self.min_coverage

    @property
    def commonest_reason(self) -> str | None:
        """What most symbols, or else pages, failed of; none if nothing did."""
        reasons = Counter(self.failed_symbols.values() or self.lost_pages)
        return reasons.most_common(1)[0][0] if reasons else None

    @property
    def missing(self) -> str:
        """What has no row, counted by cause; empty if all have one."""
        counts = (
            (len(self.failed_symbols), "failed"),
            (len(self.absent), "unknown to the scanner"),
            (self.shortfall, "on no page"),
            (self.refused, "refused"),
        )
        return ", ".join(f"{count:,} {what}" for count, what in counts if count)

    @property
    def verdict(self) -> str:
        """Whether the snapshot is published, for the receipt."""
        return "publish" if self.is_enough else "refuse"

    def __str__(self) -> str:
        missing = f", {self.missing}" if self.missing else ""
        rest = f"; {self.not_due:,} not due" if self.not_due else ""
        share = f"{self.covered:,} of {counted(self.asked, 'symbol')}"
        return f"coverage {self.coverage:.1%} ({share}{missing}){rest}"


def refuse_unless_enough(report: CoverageReport, run: Run) -> None:
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
        raise NothingFetched(f"no rows came from the scanner: {report}{reason}; see {run.receipt}")
    if not report.is_enough:
        unknown = some_of(report.absent, 3)
        raise GateRefused(
            f"{report} is below --min-coverage {report.min_coverage:g}: {run.published_so_far()}; "
            + (f"the scanner does not know {unknown}; " if unknown else "")
            + f"{run.receipt} says why, symbol by symbol"
        )
