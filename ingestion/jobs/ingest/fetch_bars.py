"""Bars of a bar source become parts of ``ohlcv_1d``.

The source is asked first, without the lakehouse's lock, because its pauses may be long. What it
gave is then taken as the rows of files are: by :func:`~ingestion.jobs.ingest.import_bars.take_bars`
in a run of its own, whenever there are many bars or five minutes have passed. A fetch that was
killed has lost the last minutes, and the next one goes on where it was.

Where it goes on is said by the receipts. A symbol is asked for the dates of its last fetch again if
that did not end well; else from a week before the end of it, because vendors correct their last
bars; and from the first bar that there is if the source has never been asked for it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import ClassVar

from ingestion.bars.duplicates import Duplicates
from ingestion.bars.fetching import AnswerRows, ask_all
from ingestion.base import clock
from ingestion.base.errors import GateRefused, InputError, LakehouseLocked, NothingFetched
from ingestion.base.instants import EPOCH
from ingestion.base.progress import progress
from ingestion.base.wording import counted, some_of
from ingestion.catalog import BarRequest, BarSource
from ingestion.jobs.ingest.fetched_spans import Span, last_asked
from ingestion.jobs.ingest.import_bars import ImportRequest, ImportResult, take_bars
from ingestion.jobs.ingest.unfinished_imports import (
    fetched_name,
    import_file,
    next_import,
)
from ingestion.lakehouse import Lakehouse
from ingestion.lakehouse.ledger import read_ledger
from ingestion.project import Project
from ingestion.runs.run import Run

_ROWS_AT_ONCE = 200_000
_SECONDS_AT_ONCE = 300.0
_PATIENCE, _STEP = 30.0, 1.0
"""Seconds to wait for another run to end, and between two looks."""


@dataclass(frozen=True)
class FetchRequest:
    """Which bars to ask which source for."""

    source: str
    """Name of a bar source."""
    symbols: tuple[str, ...]
    first: date | None = None
    """Session of the first bar; where the last fetch of each symbol ended if None."""
    last: date | None = None
    """Session of the last bar; today if None."""
    max_return: float = 5.0
    restate: bool = False
    duplicates: Duplicates = Duplicates.REFUSE
    """As of :class:`~ingestion.jobs.ingest.import_bars.ImportRequest`."""
    spans: Mapping[str, Span] = field(default_factory=dict)
    """By symbol, the sessions to ask for in place of those from ``first`` to ``last``."""


@dataclass(frozen=True)
class FetchResult:
    """What a source gave, and what became of it."""

    SHOWN: ClassVar = ("read", "accepted", "refused", "held", "written", "unchanged")

    source: str
    symbols: int
    """How many were asked for."""
    failed: dict[str, str]
    """By request, why the source or one of its tables failed."""
    empty: tuple[str, ...]
    """Symbols of which nothing came, although the source did not fail."""
    not_asked: tuple[str, ...]
    """Symbols that were not asked for any more, because the budget was spent or the source down."""
    elsewhere: tuple[str, ...]
    """Symbols of exchanges that the source does not know."""
    too_old: tuple[str, ...]
    """Symbols that are wanted from a day on of which the source has no bars any more."""
    imports: tuple[ImportResult, ...]
    """One for each run."""

    def _sum(self, name: str) -> int:
        return sum(getattr(each, name) for each in self.imports)

    @property
    def read(self) -> int:
        """Rows that came, without those of unfinished bars."""
        return self._sum("read")

    @property
    def accepted(self) -> int:
        """Rows that are in the lakehouse now."""
        return self._sum("accepted")

    @property
    def refused(self) -> int:
        """Rows that are not, for a reason."""
        return self._sum("refused")

    @property
    def held(self) -> int:
        """Rows that wait until somebody says whether there was a split."""
        return self._sum("held")

    @property
    def written(self) -> int:
        """Rows that were added."""
        return self._sum("written")

    @property
    def unchanged(self) -> int:
        """Rows that the lakehouse already had."""
        return self._sum("unchanged")

    @property
    def refusal(self) -> str | None:
        """What is refused or missing; None if all came."""
        doubts = sum(bool(each.doubts) for each in self.imports)
        found = [
            f"{count:,} {text}"
            for count, text in (
                (len(self.failed), f"requests failed ({some_of(sorted({*self.failed.values()}))})"),
                (len(self.empty), "symbols have no bars there"),
                (len(self.too_old), "symbols are wanted from days on that it no longer has"),
                (len(self.not_asked), "symbols were not asked for any more: run it again later"),
                (self.refused, "rows were refused"),
                (doubts, "runs have doubts about splits or the stored past"),
            )
            if count
        ]
        return f"{self.source}: {', '.join(found)}; the others are written" if found else None


def fetch_bars(project: Project, request: FetchRequest, run: Run | None = None) -> FetchResult:
    """Ask a bar source for bars, and take them into ``ohlcv_1d``.

    Parameters
    ----------
    run
        What the fetch is a part of, which has the lakehouse's lock; else it takes the lock each
        time that it writes, and soon gives up where the source's host is not reached.

    Raises
    ------
    InputError
        If there is no such source, it knows none of the symbols, or not a single row is good.
    NothingFetched
        If nothing came at all.
    LakehouseLocked
        If another run writes for longer than half a minute.
    """
    source = project.catalog.source(request.source)
    place = project.catalog.place(source)
    symbols = [each for each in dict.fromkeys(request.symbols) if source.has(each)]
    elsewhere = tuple(each for each in dict.fromkeys(request.symbols) if not source.has(each))
    if not symbols:
        raise InputError(
            f"{source.name} has bars of {', '.join(source.exchanges)} alone, and none of the "
            "symbols is of these exchanges"
        )
    last = request.last or clock.now().date()
    if request.first is not None and request.first > last:
        raise InputError(f"the first date, {request.first}, is after the last one, {last}")
    firsts = _firsts(project.lakehouse, request, set(symbols) - request.spans.keys(), last)
    spans = {each: request.spans.get(each) or Span(firsts[each], last) for each in symbols}
    spans, too_old = _within_reach(source, spans)
    requests = list(_requests(source, spans))
    counter = progress(source.name, "symbols", at_once=True)
    counter.start(len(symbols))
    imports: list[ImportResult] = []
    asked: list[AnswerRows] = []
    pending: list[AnswerRows] = []
    since = time.monotonic()
    try:
        for answer in ask_all(source, place, requests, is_patient=run is not None):
            asked.append(rows := AnswerRows.of(answer))
            pending.append(rows)
            counter.advance(len(answer.request.symbols))
            is_late = time.monotonic() - since > _SECONDS_AT_ONCE
            if is_late or sum(map(len, pending)) > _ROWS_AT_ONCE:
                imports.append(_take(project, source, request, pending, run))
                pending, since = [], time.monotonic()
    finally:
        counter.close()
    if pending:
        imports.append(_take(project, source, request, pending, run))
    result = _result(source, requests, asked, imports, elsewhere, too_old)
    _refuse_nothing(result, asked)
    return result


def _firsts(
    lakehouse: Lakehouse, request: FetchRequest, symbols: Collection[str], last: date
) -> dict[str, date]:
    """Return the first date to ask for, by symbol."""
    new = request.first or EPOCH
    known = last_asked(lakehouse, request.source, symbols)
    firsts: dict[str, date] = {}
    for symbol in symbols:
        asked = known.get(symbol)
        if asked is None or (asked.is_done and request.first is not None):
            first = new
        elif request.first is None:
            first = asked.resumes
        else:  # what did not end well is asked for again all the same
            first = min(asked.span.first, request.first)
        firsts[symbol] = min(first, last)
    return firsts


def _within_reach(
    source: BarSource, spans: Mapping[str, Span]
) -> tuple[dict[str, Span], tuple[str, ...]]:
    """Return what the source has of spans, and the symbols of which older bars are wanted.

    So the receipt never says that days were asked for which the source cannot have.
    """
    if source.days_back is None:
        return dict(spans), ()
    begins = clock.now().date() - timedelta(days=source.days_back - 1)
    too_old = tuple(each for each, span in spans.items() if EPOCH < span.first < begins)
    kept = {
        each: Span(min(max(span.first, begins), span.last), span.last)
        for each, span in spans.items()
    }
    return kept, too_old


def _requests(source: BarSource, spans: Mapping[str, Span]) -> Iterator[BarRequest]:
    """Yield the requests; symbols of one request begin on near dates."""
    ordered = list(spans)
    if source.batch > 1:
        ordered.sort(key=lambda symbol: spans[symbol])
    for at in range(0, len(ordered), source.batch):
        symbols = tuple(ordered[at : at + source.batch])
        own = [spans[symbol] for symbol in symbols]
        yield BarRequest(symbols, min(own).first, max(each.last for each in own))


def _take(
    project: Project,
    source: BarSource,
    request: FetchRequest,
    rows: Sequence[AnswerRows],
    part_of: Run | None,
) -> ImportResult:
    """Take the rows of some answers, in a run of its own unless they are a part of one."""
    requests = [each.answer.request for each in rows]
    spans = {
        symbol: (each.first.isoformat(), each.last.isoformat())
        for each in requests
        for symbol in each.symbols
    }
    asked = {
        "bar_source": source.name,
        "files": [fetched_name(source.name, symbol) for symbol in spans],
        "splits": None,
        "asked": spans,
        "max_return": request.max_return,
        "restate": request.restate,
        "duplicates": request.duplicates,
    }
    how = ImportRequest(
        adjusted=source.adjusted,
        max_return=request.max_return,
        restate=request.restate,
        duplicates=request.duplicates,
        first=request.first,
        last=request.last,
    )

    def take() -> ImportResult:
        number = 1 if part_of is None else next_import(project.lakehouse, part_of.id)
        file, prefix = import_file(number), "" if part_of is None else f"fetch_{number}_"
        with Run.open(project, "fetch-bars", asked, file=file, step_of=part_of) as run:
            run.tell(parts_before=len(read_ledger(project.lakehouse, run.id)))
            result = take_bars(project, how, rows, run, prefix)
            result.again = again = tuple(
                symbol
                for each, counts in zip(rows, result.files, strict=True)
                for symbol in each.answer.request.symbols
                if counts.problem or counts.may_come_again or symbol not in each.symbols
            )
            run.tell(again=again, newest=result.newest)
            if result.nothing_accepted:
                run.fail(InputError(result.nothing_accepted))
            elif again:
                run.fail(
                    GateRefused(
                        f"{counted(len(again), 'symbol is', 'symbols are')} asked for again "
                        "next time"
                    )
                )
            return result

    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return take()
        except LakehouseLocked:
            if time.monotonic() > until:
                raise
            time.sleep(_STEP)


def _result(
    source: BarSource,
    requests: Iterable[BarRequest],
    asked: Sequence[AnswerRows],
    imports: Sequence[ImportResult],
    elsewhere: tuple[str, ...],
    too_old: tuple[str, ...],
) -> FetchResult:
    done = {symbol for each in asked for symbol in each.answer.request.symbols}
    every = [symbol for each in requests for symbol in each.symbols]
    failed = {
        counts.file: counts.problem
        for each in imports
        for counts in each.files
        if counts.problem is not None
    }
    return FetchResult(
        source=source.name,
        symbols=len(done),
        failed=failed,
        empty=tuple(
            symbol
            for each in asked
            if str(each) not in failed
            for symbol in each.answer.request.symbols
            if symbol not in each.symbols
        ),
        not_asked=tuple(symbol for symbol in every if symbol not in done),
        elsewhere=elsewhere,
        too_old=too_old,
        imports=tuple(imports),
    )


def _refuse_nothing(result: FetchResult, asked: Sequence[AnswerRows]) -> None:
    """End a fetch that has brought nothing.

    Raises
    ------
    InputError
        If something came, and none of it is good.
    NothingFetched
        If nothing came.
    """
    refused = [each.nothing_accepted for each in result.imports if each.nothing_accepted]
    released = sum(each.released for each in result.imports)
    if result.accepted or result.held or released:
        return
    if any(each.answer.tables for each in asked) and refused:
        raise InputError(refused[0])
    if not any(map(len, asked)):
        why = some_of(sorted({*result.failed.values()})) or "it has no bars of these symbols"
        is_unreached = any(each.answer.is_unreached for each in asked)
        doubt = " (is there a network?)" if is_unreached else ""
        raise NothingFetched(f"{result.source} gave nothing: {why}{doubt}")
