"""The closed bars of a day, of the exchanges that ``sources.toml`` gives to a bar source.

A step of a flow, one for each source. A symbol is asked for once a session of it has closed that
the last fetch could not have: from a week before its newest bar, or from its listing if it is new.
What lacks a bar between others (:mod:`ingestion.bars.gaps`) is asked for again with the next
sessions, and recorded as absent after :data:`TRIES` times. What did not come is asked for by each
flow.

The receipt, ``daily_bars.SOURCE.json``, has for each symbol where it stands; the next fetch goes on
from there. Of symbols that it does not know, the receipts of other fetches say it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, ClassVar

from ingestion.bars.gaps import gaps_of, read_absent, record_absent, stored_closes
from ingestion.bars.holes import read_accepted
from ingestion.bars.stored_bars import LOOKBACK
from ingestion.base import clock
from ingestion.base.clock import parse_instant
from ingestion.base.errors import GateRefused
from ingestion.base.instants import EPOCH, utc_date
from ingestion.base.wording import some_of
from ingestion.catalog import BarSource
from ingestion.jobs.ingest.fetch_bars import FetchRequest, FetchResult, fetch_bars
from ingestion.jobs.ingest.fetched_spans import OVERLAP, Span, last_asked
from ingestion.lakehouse import Lakehouse, RunFile
from ingestion.markets.market_sessions import last_session
from ingestion.markets.sessions import session_bounds
from ingestion.markets.symbols import exchange_of
from ingestion.markets.universe import Universe
from ingestion.project import Project
from ingestion.runs.receipt_file import receipts_told
from ingestion.runs.run import Run

TRIES = 3
"""How often a session without a bar is asked for before it is recorded as absent."""


@dataclass(frozen=True)
class DailyRequest:
    """Whose closed bars to ask which source for."""

    bar_source: str
    source: Universe
    """Whose flow it is."""
    symbols: tuple[str, ...]
    """Those among them that the bar source is to give."""
    min_coverage: float = 0.95


@dataclass(frozen=True)
class Standing:
    """Where a symbol stands with a bar source."""

    newest: int | None = None
    """Close of its newest stored bar, Unix seconds."""
    whole_at: datetime | None = None
    """The instant before the request that brought all that there was; None if it did not."""
    gaps: Mapping[date, int] = field(default_factory=dict)
    """By session without a bar, how often it was asked for."""

    @classmethod
    def of_document(cls, told: Mapping[str, Any]) -> Standing:
        """Read it out of a receipt."""
        whole_at = told["whole_at"]
        return cls(
            told["newest"],
            None if whole_at is None else parse_instant(whole_at),
            {date.fromisoformat(day): int(times) for day, times in told["gaps"].items()},
        )


@dataclass(frozen=True)
class DailyResult:
    """What became of a day's closed bars of one source."""

    SHOWN: ClassVar = ("written", "refusal")

    bar_source: str
    symbols: int
    """How many of the flow's symbols it is to give."""
    not_due: int
    """Symbols whose newest closed bar came earlier."""
    fetch: FetchResult | None
    """None if no symbol was due."""
    behind: tuple[str, ...]
    """Symbols without the bar of their newest closed session; each flow asks for them again."""
    gaps: int
    """Sessions without a bar that will be asked for again."""
    absent: int
    """Sessions that were recorded as absent now."""
    min_coverage: float
    receipt: RunFile

    @property
    def written(self) -> int:
        """Bars that were added."""
        return self.fetch.written if self.fetch else 0

    @property
    def coverage(self) -> float:
        """Share of the symbols that have the bar of their newest closed session."""
        return 1 - len(self.behind) / self.symbols if self.symbols else 1.0

    @property
    def refusal(self) -> str | None:
        """Why the day is not whole; None if it is, or little is missing."""
        found: list[str] = []
        if self.coverage < self.min_coverage:
            found.append(
                f"coverage {self.coverage:.1%} is below --min-coverage {self.min_coverage:g}: no "
                f"bar of the newest session of {some_of(self.behind, 3)}"
            )
        if self.fetch and self.fetch.failed:
            found.append(some_of([*self.fetch.failed.values()]))
        imports = self.fetch.imports if self.fetch else ()
        found += [each.refusal for each in imports if each.refusal and not each.refused_files]
        if any(each.doubts for each in imports):
            found.append("there are doubts about splits or the stored past")
        return f"{self.bar_source}: {'; '.join(found)}; see {self.receipt}" if found else None


def fetch_daily(project: Project, request: DailyRequest, run: Run | None = None) -> DailyResult:
    """Fetch the closed bars that are new, and what is missing between others.

    Parameters
    ----------
    run
        The flow that this is a step of.

    Raises
    ------
    LakehouseLocked
        If another run is writing.
    NothingFetched, InputError
        As :func:`~ingestion.jobs.ingest.fetch_bars.fetch_bars`, if nothing came.
    """
    file = f"daily_bars.{request.bar_source}.json"
    with Run.open(project, "daily-bars", request, file=file, step_of=run) as step:
        source = project.catalog.source(request.bar_source)
        lakehouse, now = project.lakehouse, clock.now()
        before = _standings(lakehouse, file, source, request.symbols)
        due = [each for each in request.symbols if _is_due(source, each, before[each], now)]
        first = project.catalog.daily.firsts.get(source.name, EPOCH)
        spans = _spans(lakehouse, source, {each: before[each] for each in due}, first, now.date())
        fetch = None
        if spans:
            wanted = FetchRequest(source.name, tuple(spans), spans=spans)
            fetch = fetch_bars(project, wanted, step)
        after = before | _after(lakehouse, source, before, spans, fetch, now)
        absent = _record_absent(lakehouse, source, after, spans, step.id)
        after = {
            symbol: Standing(
                each.newest,
                each.whole_at,
                {day: times for day, times in each.gaps.items() if times < TRIES},
            )
            for symbol, each in after.items()
        }
        step.tell(standings=after, absent=absent)
        result = DailyResult(
            bar_source=source.name,
            symbols=len(request.symbols),
            not_due=len(request.symbols) - len(due),
            fetch=fetch,
            behind=tuple(each for each in due if _is_behind(source, each, after[each].newest, now)),
            gaps=sum(len(after[each].gaps) for each in request.symbols),
            absent=absent,
            min_coverage=request.min_coverage,
            receipt=step.receipt,
        )
        step.tell(behind=result.behind, coverage=result.coverage, not_due=result.not_due)
        if result.refusal is not None:
            step.fail(GateRefused(result.refusal))
    return result


def _standings(
    lakehouse: Lakehouse, file: str, source: BarSource, symbols: Iterable[str]
) -> dict[str, Standing]:
    """Return where each symbol stands, as the newest receipts that know it say."""
    left = set(symbols)
    found = dict.fromkeys(left, Standing())

    def read(receipt: dict[str, Any]) -> dict[str, Standing] | None:
        if "standings" not in receipt:  # it ended before it knew
            return None
        told = receipt["standings"]
        return {each: Standing.of_document(told[each]) for each in left & told.keys()}

    for known in receipts_told(lakehouse, file, read):
        found |= known
        left -= known.keys()
        if not left:
            break
    return found


def _finished(source: BarSource, symbol: str, at: datetime) -> int | None:
    """Return when the newest session closed whose bar is final at an instant."""
    session = last_session(symbol, at - timedelta(seconds=source.delay))
    return session.closes if session else None


def _is_due(source: BarSource, symbol: str, standing: Standing, now: datetime) -> bool:
    """Return whether a bar may have come since the last fetch."""
    if standing.whole_at is None:
        return True
    newest = _finished(source, symbol, now)
    if newest is None:  # of unknown hours: once a day
        return standing.whole_at.date() < now.date()
    return newest != _finished(source, symbol, standing.whole_at)


def _is_behind(source: BarSource, symbol: str, newest: int | None, now: datetime) -> bool:
    closed = _finished(source, symbol, now)
    return newest is None or (closed is not None and newest < closed)


def _spans(
    lakehouse: Lakehouse,
    source: BarSource,
    standings: Mapping[str, Standing],
    first: date,
    last: date,
) -> dict[str, Span]:
    """Return what to ask for, by symbol."""
    spans: dict[str, Span] = {}
    for symbol, each in standings.items():
        if each.newest is not None:
            begin = min([utc_date(each.newest) - OVERLAP, *each.gaps])
            spans[symbol] = Span(min(begin, last), last)
    left = [symbol for symbol in standings if symbol not in spans]
    known = last_asked(lakehouse, source.name, left)
    for symbol in left:
        begin = known[symbol].resumes if symbol in known else first
        spans[symbol] = Span(min(begin, last), last)
    return spans


def _after(
    lakehouse: Lakehouse,
    source: BarSource,
    before: Mapping[str, Standing],
    spans: Mapping[str, Span],
    fetch: FetchResult | None,
    asked_at: datetime,
) -> dict[str, Standing]:
    """Return where the symbols that were asked for stand now."""
    if fetch is None:
        return {}
    again = {symbol for each in fetch.imports for symbol in each.again} | {*fetch.not_asked}
    begin = min(span.first for span in spans.values())
    # A bar before the span shows that the symbol was traded before its first session.
    closes = stored_closes(
        lakehouse, [*spans], max(begin, EPOCH + LOOKBACK) - LOOKBACK, asked_at.date()
    )
    accepted = {(each.market, each.session) for each in read_accepted(lakehouse)}
    absent = read_absent(lakehouse)
    found: dict[str, Standing] = {}
    for symbol, span in spans.items():
        own, market = closes[symbol], exchange_of(symbol)
        gaps = {
            day: before[symbol].gaps.get(day, 0) + (symbol not in again)
            for day in gaps_of(symbol, own, span.first)
            if (market, day) not in accepted and (symbol, day) not in absent
        }
        newest = int(own[-1]) if len(own) else None
        is_whole = symbol not in again and not _is_behind(source, symbol, newest, asked_at)
        found[symbol] = Standing(newest, asked_at if is_whole else None, gaps)
    return found


def _record_absent(
    lakehouse: Lakehouse,
    source: BarSource,
    standings: Mapping[str, Standing],
    spans: Mapping[str, Span],
    run_id: str,
) -> int:
    """Record the sessions that were asked for often enough; return how many."""
    absent: dict[str, dict[date, int]] = {}
    for symbol in spans:
        for day, times in standings[symbol].gaps.items():
            if times >= TRIES:
                bounds = session_bounds(exchange_of(symbol), day)
                if bounds is not None:
                    absent.setdefault(symbol, {})[day] = bounds[1]
    if absent:
        record_absent(lakehouse, absent, f"fetch:{source.name}", clock.now(), run_id)
    return sum(map(len, absent.values()))
