"""Years of ratings in one command: bars fetched, features computed, and a page about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from ingestion.base import clock
from ingestion.base.disk import check_writable
from ingestion.base.errors import NothingFetched
from ingestion.base.wording import by_reason, counted, some_of
from ingestion.catalog import OHLCV_1D
from ingestion.jobs.compute.changes import BackfillPlan
from ingestion.jobs.compute.local_features import backfill
from ingestion.jobs.history.asking import fetch_missing, sources_of
from ingestion.jobs.history.history_page import write_page
from ingestion.jobs.history.ratings import Followed, Lasted, lasted
from ingestion.jobs.history.stored_ratings import (
    Coverage,
    StoredRatings,
    coverage_of,
    read_ratings,
    what_followed,
)
from ingestion.lakehouse import RunFile, newest_part
from ingestion.project import Project
from ingestion.runs.run import Run

RECEIPT_FILE = "history.json"
HORIZONS = (5, 20)
"""Sessions of the returns that followed."""
WARM_UP = 3
"""Years of bars before the first rating.

The longest average of a rating is an EMA over 200 bars, which begins with the mean of the first 200
bars. After three years of 252 sessions that start counts (1 − 2 / 201)^556, less than half a
percent.
"""


@dataclass(frozen=True)
class HistoryRequest:
    """Whose ratings, of how many years, and where the page is written."""

    symbols: tuple[str, ...]
    years: int
    out: Path
    sources: tuple[str, ...] = ()
    """Names of the bar sources that may be asked; all if none are given."""
    candidates: Path | None = None
    """The file that names the symbols, for the commands on the page."""


@dataclass(frozen=True)
class HistoryResult:
    """What was fetched, computed and found."""

    out: Path
    at: datetime
    first: date
    last: date
    years: int
    candidates: Path | None
    sources: tuple[str, ...]
    """Those that may be asked, in their order."""
    asked: dict[str, int]
    """By source, how many symbols it was asked for in this run."""
    bars_written: int
    rows_written: int
    """Rows of features, of all groups that are computed from bars."""
    coverage: tuple[Coverage, ...]
    lasted: tuple[Lasted, ...]
    followed: tuple[Followed, ...]
    receipt: RunFile
    rows: StoredRatings = field(repr=False)

    @property
    def refusal(self) -> str | None:
        """Which symbols have no bars, or not all of them; None if all have."""
        lacking = {each.symbol: each.missing or "" for each in self.coverage if each.source is None}
        if not lacking:
            return None
        of = f"{len(lacking):,} of {counted(len(self.coverage), 'symbol')}"
        lack = "lacks" if len(lacking) == 1 else "lack"
        written = "; the others are written" if len(lacking) < len(self.coverage) else ""
        return (
            f"{of} {lack} bars: {some_of(by_reason(lacking), 3, '; ')}{written}; "
            "run the command again, and it goes on"
        )


def rating_history(
    project: Project,
    request: HistoryRequest,
    announce: Callable[[str], None] = lambda text: None,
) -> HistoryResult:
    """Fetch bars, compute features, and write the page; go on where a former run ended.

    Parameters
    ----------
    announce
        Takes what is about to be done, in one line.

    Raises
    ------
    InputError
        If there is no such source, or the page cannot be written there.
    NothingFetched
        If there are no bars of any of the symbols.
    GateRefused
        If an import of bars is half done.
    LakehouseLocked
        If another run is writing.
    """
    check_writable(request.out)
    sources = sources_of(project, request.sources)
    at = clock.now()
    last = at.date()
    first = years_before(last, request.years)
    fetched = fetch_missing(
        project, sources, request.symbols, years_before(last, request.years + WARM_UP)
    )
    if newest_part(project.lakehouse, OHLCV_1D) is None:
        why = "; ".join(by_reason(fetched.missing))
        raise NothingFetched(
            f"no bar of these symbols came: {why}; run the command again, and it goes on"
        )

    def planned(plan: BackfillPlan) -> None:
        announce(f"{counted(fetched.written, 'bar')} written; features of {plan.dates:,} dates")

    computed = backfill(project, first, last, planned)
    with Run.open(project, "history", request, file=RECEIPT_FILE, writes=False) as run:
        rows = read_ratings(project, request.symbols, first, last)
        coverage = tuple(coverage_of(rows, request.symbols, fetched, first, at))
        result = HistoryResult(
            out=request.out,
            at=at,
            first=first,
            last=last,
            years=request.years,
            candidates=request.candidates,
            sources=tuple(source.name for source in sources),
            asked=fetched.asked,
            bars_written=fetched.written,
            rows_written=computed.rows_written,
            coverage=coverage,
            lasted=tuple(lasted(rows.spells)),
            followed=tuple(what_followed(project, rows, HORIZONS, first, last)),
            receipt=run.receipt,
            rows=rows,
        )
        write_page(str(project.lakehouse), result)
        run.tell(coverage=coverage, lasted=result.lasted, followed=result.followed)
        run.tell(missing=fetched.missing, asked=fetched.asked, bars_written=fetched.written)
    return result


def years_before(day: date, years: int) -> date:
    """Return the same day so many years before.

    Examples
    --------
    >>> print(years_before(date(2024, 2, 29), 1), years_before(date(2021, 4, 16), 5))
    2023-02-28 2016-04-16
    """
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return day.replace(year=day.year - years, day=28)
