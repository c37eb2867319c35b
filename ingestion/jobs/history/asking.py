"""Bars of some symbols from whichever bar sources know them, each asked for what is not there yet.

Sources are asked in the order of their priority, each for the symbols of the exchanges that it
knows. What one has not given, the next one is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from ingestion.bars.precedence import Precedence
from ingestion.bars.source import Source
from ingestion.base import clock
from ingestion.base.errors import InputError, NothingFetched
from ingestion.base.wording import did_you_mean
from ingestion.catalog import BarSource
from ingestion.jobs.ingest.fetch_bars import FetchRequest, FetchResult, fetch_bars
from ingestion.jobs.ingest.fetched_spans import Span, not_fetched
from ingestion.markets.market_sessions import last_session
from ingestion.markets.symbols import exchange_of
from ingestion.project import Project


@dataclass
class Fetched:
    """What came of asking."""

    sources: dict[str, str] = field(default_factory=dict)
    """By symbol, the source that gave its bars, now or in a former run."""
    missing: dict[str, str] = field(default_factory=dict)
    """By symbol, why no source has given all of its bars."""
    asked: dict[str, int] = field(default_factory=dict)
    """By source, how many symbols it was asked for in this run."""
    written: int = 0
    """Bars that were added."""


def sources_of(project: Project, names: Sequence[str]) -> list[BarSource]:
    """Return the sources of such names, in the order in which their bars count.

    Without names, all that want no key or have one.

    Raises
    ------
    InputError
        If there is no such source, or none at all.
    """
    catalog = project.catalog
    ready = [source for source in catalog.sources if source.is_ready]
    sources = [catalog.source(name) for name in names] or ready
    if not sources:
        raise InputError("there is no bar source: write one to feature_repo/sources/")
    order = Precedence(sources)
    return sorted(sources, key=lambda source: order.place(Source.fetched(source.name)))


def fetch_missing(
    project: Project, sources: Sequence[BarSource], symbols: Sequence[str], first: date
) -> Fetched:
    """Fetch the closed bars of some symbols since a date, as far as that was not done before.

    Raises
    ------
    LakehouseLocked
        If another run writes for longer than half a minute.
    """
    found = Fetched()
    left = list(dict.fromkeys(symbols))
    for source in sources:
        own = [symbol for symbol in left if source.has(symbol)]
        rest = _not_fetched(project, source, own, first)
        if rest:
            found.asked[source.name] = len(rest)
            reasons = _fetch(project, FetchRequest(source.name, tuple(rest), spans=rest), found)
            rest = _not_fetched(project, source, list(rest), first)
            for symbol in rest:
                why = reasons.get(symbol, f"{source.name}: some of its bars may come again")
                before = found.missing.get(symbol)
                found.missing[symbol] = f"{before}; {why}" if before else why
        found.sources |= {symbol: source.name for symbol in own if symbol not in rest}
        left = [symbol for symbol in left if symbol not in found.sources]
    found.missing = {symbol: why for symbol, why in found.missing.items() if symbol in left}
    names = ", ".join(source.name for source in sources)
    known = {exchange for source in sources for exchange in source.exchanges}
    for symbol in left:
        if symbol not in found.missing:
            exchange = exchange_of(symbol)
            near = did_you_mean(exchange, known)
            found.missing[symbol] = f"no source of {names} knows {exchange}{near}"
    return found


def _not_fetched(
    project: Project, source: BarSource, symbols: Sequence[str], first: date
) -> dict[str, Span]:
    """Return what the source has still to be asked for, up to each symbol's last final session."""
    final = clock.now() - timedelta(seconds=source.delay)
    by_end: dict[date, list[str]] = {}
    for symbol in symbols:
        session = last_session(symbol, final)
        # Of unknown hours a day counts as closed when it is over.
        end = session.label if session else final.date() - timedelta(days=1)
        by_end.setdefault(end, []).append(symbol)
    left: dict[str, Span] = {}
    for last, of_end in by_end.items():
        left |= not_fetched(project.lakehouse, source.name, of_end, first, last)
    return {symbol: left[symbol] for symbol in symbols if symbol in left}


def _fetch(project: Project, request: FetchRequest, found: Fetched) -> dict[str, str]:
    """Fetch, and return why there are no bars of a symbol, as far as the source says so."""
    try:
        result = fetch_bars(project, request)
    except (InputError, NothingFetched) as error:
        return dict.fromkeys(request.symbols, str(error))
    found.written += result.written
    return dict(_reasons(request.symbols, result))


def _reasons(symbols: Sequence[str], result: FetchResult) -> Iterator[tuple[str, str]]:
    for what, of in (("has no bars of it", result.empty), ("was not asked", result.not_asked)):
        yield from ((symbol, f"{result.source} {what}") for symbol in of)
    for request, problem in result.failed.items():
        yield from ((symbol, problem) for symbol in symbols if symbol in request)
