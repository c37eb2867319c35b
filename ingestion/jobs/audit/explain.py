"""A value's story: where it comes from, what it replaced, what replaced it, and what is served."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cache, partial
from typing import Any, NamedTuple

from ingestion.bars.source import Source
from ingestion.base import clock
from ingestion.base.errors import FeastRepositoryError, InputError
from ingestion.base.instants import from_micros
from ingestion.base.reading import reading_again
from ingestion.base.store_files import read_configuration
from ingestion.base.wording import did_you_mean
from ingestion.catalog import OHLCV_1D, Column, CrossSection, Dataset, FeatureGroup, Files, FromBars
from ingestion.catalog.sources import DAILY
from ingestion.formulas import definition_marks
from ingestion.jobs.audit.differing import difference_of
from ingestion.jobs.audit.lineage import Bar, Explanation, KeptBack, Online, Story, Version
from ingestion.jobs.audit.waiting import missing_in_window, notes_on_bars
from ingestion.jobs.compute.bars_of_symbol import BarsOfSymbol
from ingestion.jobs.compute.definitions import definition_in, difference
from ingestion.jobs.looking import one_look
from ingestion.jobs.serve.feast_repository import own_tables
from ingestion.lakehouse import Lakehouse, list_dates, parts_of, receipts_of_run
from ingestion.lakehouse.history import StoredRow, versions_of
from ingestion.lakehouse.ledger import Entry, read_ledger
from ingestion.lakehouse.run_files import RunFile
from ingestion.lakehouse.symbol_spans import Span, span_of
from ingestion.lakehouse.symbols import symbols_at
from ingestion.markets.feeds import Feeds
from ingestion.markets.frames import bar_state_in, frame_close
from ingestion.markets.hours import BarState, bar_close
from ingestion.markets.symbols import symbol_problem
from ingestion.plugins.online.keys import encode_keys
from ingestion.plugins.online.reading import table_name
from ingestion.plugins.online.rows import Read, Rows
from ingestion.project import Project
from ingestion.quality.rules import FAILED
from ingestion.runs.quarantine import quarantined_rows
from ingestion.runs.receipt_file import NOT_SAID, read_receipt

_CREATED = "created_timestamp"
_ANY_DATE = Span(date.min, date.max)
_PASSED = 20
"""Dates without a row of a symbol after which it is asked from when until when it has any."""


@dataclass(frozen=True)
class ExplainRequest:
    """Which value, and as of when."""

    symbol: str
    feature: str
    """``FEATURE``, or ``GROUP:FEATURE`` for one group's."""
    as_of: datetime | None = None
    """Now if not given."""
    online: bool = True
    """Whether to look into the online store."""


@one_look
def explain(project: Project, request: ExplainRequest) -> Explanation:
    """Say where a value comes from.

    Raises
    ------
    InputError
        If the symbol is none, no view has the feature, the instant is in the future, or there is no
        row of the symbol by then.
    CorruptPart
        If a part that had to be read cannot be.
    """
    if problem := symbol_problem(request.symbol):
        raise InputError(f"{request.symbol!r}: {problem}")
    now = clock.now()
    as_of = request.as_of or now
    if as_of > now:
        raise InputError(f"--as-of {as_of.isoformat()} is in the future; now is {now.isoformat()}")
    wanted = project.catalog.features(request.feature)
    records = cache(partial(_records, project.lakehouse))
    bars = cache(partial(BarsOfSymbol, project.lakehouse, request.symbol))
    told_by = as_of, now, records, bars
    stories = [
        reading_again(partial(_story, project, group, column, request.symbol, *told_by))
        for group, column in wanted
    ]
    online = _served(project, wanted, request.symbol, now) if request.online else {}
    stories = [replace(story, online=online.get(story.view)) for story in stories]
    told = Explanation(request.symbol, request.feature, as_of, tuple(stories))
    if not told.found:
        raise InputError(_no_row(project, told))
    return told


def _no_row(project: Project, told: Explanation) -> str:
    computed = " and ".join(group.name for group in project.catalog.computed)
    views = " and ".join(story.view for story in told.stories)
    later = [story.superseded_by.event for story in told.stories if story.superseded_by]
    hint = (
        f"its first one: --as-of {min(later).isoformat()}"
        if later
        else "look at its spelling, and whether it is among the candidates of `tvfeast flow-data`; "
        f"rows of {computed} need its bars too, which `tvfeast import-bars` loads"
    )
    known = symbols_at(project.lakehouse, told.as_of)["symbol"].to_pylist()
    perhaps = "" if told.symbol in known else did_you_mean(told.symbol, known)
    until = f"{told.as_of:%Y-%m-%d %H:%M:%S} UTC"
    return f"{told.symbol}{perhaps} has no row in {views} up to {until}; {hint}"


def _story(
    project: Project,
    group: FeatureGroup,
    column: Column,
    symbol: str,
    as_of: datetime,
    now: datetime,
    records: Callable[[str], _Records],
    bars: Callable[[date], BarsOfSymbol],
) -> Story:
    lakehouse = project.lakehouse
    columns = {"timestamp", "bar_timestamp", column.name}
    dates = list_dates(lakehouse, group)
    until = [day for day in reversed(dates) if day <= as_of.date()]
    after_it = [day for day in dates if as_of.date() <= day <= now.date()]
    backwards = _events(lakehouse, group, until, symbol, columns, newest_first=True)
    earlier = (rows for rows in backwards if rows[0].values[group.event] <= as_of)
    forwards = _events(lakehouse, group, after_it, symbol, columns, newest_first=False)
    later = (rows for rows in forwards if as_of < rows[0].values[group.event] <= now)
    deciding, before, after = next(earlier, []), next(earlier, []), next(later, [])
    since = deciding[0].values[group.event] if deciding else None
    known = [row for row in deciding if row.values[_CREATED] <= as_of]
    bar = _bar(lakehouse, group, symbol, deciding[-1].values) if deciding else None
    is_computed = isinstance(group.source, FromBars)
    computed_by = project.formulas.get(column.name) if is_computed else None
    mark = definition_marks([computed_by])[column.name] if computed_by else None

    def last(rows: list[StoredRow]) -> Version | None:
        return _version(records, group, column, rows[-1], mark) if rows else None

    return Story(
        view=group.name,
        source=_source(project, group, column),
        meaning=column.meaning,
        ttl=group.ttl,
        versions=tuple(_version(records, group, column, row, mark) for row in reversed(deciding)),
        expired=since is not None and since + group.ttl < as_of,
        recorded=last(known),
        bar=bar,
        supersedes=last(before),
        superseded_by=last(after),
        missing=(
            missing_in_window(lakehouse, symbol, computed_by, since, now, bars(since.date()))
            if since and computed_by
            else ()
        ),
        notes=tuple(_notes(project, group, column, symbol, since, as_of)) if since else (),
        kept_back=tuple(
            KeptBack(row.get(column.name), event, tuple(row[FAILED]), run_id)
            for run_id, row in quarantined_rows(lakehouse, group.name, symbol)
            if (event := row[group.event]) <= as_of and (since is None or event > since)
        ),
        online=None,
        difference=difference_of(project, group, column, deciding[-1].values, bar, bars)
        if deciding
        else None,
    )


def _events(
    lakehouse: Lakehouse,
    dataset: Dataset,
    days: list[date],
    symbol: str,
    columns: Collection[str],
    *,
    newest_first: bool,
) -> Iterator[list[StoredRow]]:
    """Yield the versions of each of a symbol's rows, the last written last."""
    passed, span = 0, _ANY_DATE
    for day in days:
        if passed >= _PASSED and span is _ANY_DATE:
            span = span_of(lakehouse, dataset, symbol) or Span(date.max, date.min)
        if not span.first <= day <= span.last:
            passed += 1
            continue
        of_event: dict[datetime, list[StoredRow]] = {}
        parts = parts_of(lakehouse, dataset, day)
        for row in versions_of(lakehouse, dataset, parts, symbol, columns):
            of_event.setdefault(row.values[dataset.event], []).append(row)
        passed = passed + 1 if not of_event else 0
        yield from (of_event[event] for event in sorted(of_event, reverse=newest_first))


class _Records(NamedTuple):
    """What a run has recorded."""

    receipts: Mapping[str, dict[str, Any]]
    """By their paths below the root."""
    parts: Mapping[str, Entry]
    """Its ledger."""


def _records(lakehouse: Lakehouse, run_id: str) -> _Records:
    receipts = dict(_said(receipts_of_run(lakehouse, run_id)))
    return _Records(receipts, {entry.part: entry for entry in read_ledger(lakehouse, run_id)})


def _version(
    records: Callable[[str], _Records],
    group: FeatureGroup,
    column: Column,
    row: StoredRow,
    mark: str | None,
) -> Version:
    origin, part = row.origin, row.part
    run_id = origin.run_id if origin else None
    said, recorded = records(run_id) if run_id else _Records({}, {})
    written_as = origin.part if origin and origin.part != part else None
    entry = recorded.get(written_as or part)
    return Version(
        value=row.values[column.name],
        event=row.values[group.event],
        created=row.values[_CREATED],
        run_id=run_id,
        receipt=_receipt_of(said, group, written_as or part),
        part=part,
        written_as=written_as,
        sha256=entry.sha256 if entry else None,
        is_older=column.name in row.lacks,
        reason=_reason(said.values(), written_as or part),
        was_unknown=_was_unknown(said.values(), group, column),
        definition=None if mark is None else _other_definition(said.values(), column.name, mark),
    )


def _said(receipts: list[RunFile]) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in receipts:
        with suppress(InputError, *NOT_SAID):  # `verify` names a damaged receipt
            yield file.key, read_receipt(file)


def _receipt_of(said: Mapping[str, dict[str, Any]], group: FeatureGroup, part: str) -> str | None:
    """Return the receipt of the job that wrote a part; a flow's lists the parts of its steps too.

    Of a run that was killed before its receipt could list the part, it is the one of the group.
    """

    def rank(key: str) -> int:
        receipt = said[key]
        with suppress(*NOT_SAID):
            if part in [each["part"] for each in receipt["parts"]]:
                return 1 if "steps" in receipt else 0
        return 2 if receipt.get("group") == group.name else 3

    best = min(said, key=rank, default=None)
    return None if best is None or rank(best) == 3 else best


def _reason(receipts: Iterable[dict[str, Any]], part: str) -> str | None:
    """Return the reason that a run's receipts give for writing a part; None if they give none."""
    for receipt in receipts:
        with suppress(*NOT_SAID):
            if why := receipt.get("reasons", {}).get(part):
                return str(why)
    return None


def _was_unknown(receipts: Iterable[dict[str, Any]], group: FeatureGroup, column: Column) -> bool:
    """Return whether there is one of a snapshot in which the scanner did not know a column."""
    for receipt in receipts:
        with suppress(*NOT_SAID):
            if receipt.get("group") == group.name and column.scanner in receipt["unknown_columns"]:
                return True
    return False


def _other_definition(receipts: Iterable[dict[str, Any]], name: str, mark: str) -> str | None:
    """Return how the formula by which a run computed a value differs from today's, if it does."""
    for receipt in receipts:
        with suppress(*NOT_SAID):
            then = definition_in(receipt, name)
            if then is not None and then != mark:
                return difference(then, mark)
    return None


def _source(project: Project, group: FeatureGroup, column: Column) -> str:
    retired = "retired: only what was stored before is kept; " if column.retired else ""
    if column.scanner:
        return f"{retired}TradingView's scanner, column {column.scanner}"
    if column.derived is not None:
        read = column.derived
        equal = f", where {' and '.join(read.same)} are equal" if read.same else ""
        return f"{retired}({read.column} ÷ {read.over} − 1) in %, of the same row{equal}"
    if isinstance(group.source, CrossSection):
        source, made = group.source, {name: of for name, of, _ in group.source.made_of()}
        of = f"{source.of_group}:{made[column.name]} of " if column.name in made else ""
        return f"{retired}{of}the members of {source.universe}, compared at {source.when}"
    if isinstance(group.source, Files):
        return f"{retired}a file of `tvfeast import-features`"
    if column.name not in project.formulas:
        return f"{retired}its formula is not there any more"
    return retired + project.formulas[column.name].description


def _notes(
    project: Project,
    group: FeatureGroup,
    column: Column,
    symbol: str,
    event: datetime,
    as_of: datetime,
) -> Iterator[str]:
    """Yield what else is known of a row: of its bars, or of those whom it is compared with."""
    if isinstance(group.source, FromBars):
        yield from notes_on_bars(project.lakehouse, symbol, event, as_of)
    elif isinstance(group.source, CrossSection) and not column.retired:
        from ingestion.jobs.compute.comparison import Comparison  # few groups need it

        comparison = Comparison(project.lakehouse, project.catalog, group)
        yield from comparison.told(column.name, symbol, event)


def _bar(
    lakehouse: Lakehouse, group: FeatureGroup, symbol: str, values: dict[str, Any]
) -> Bar | None:
    """Return the bar that a row describes, and of the stored bar with that open or close."""
    opened: datetime | None = values["bar_timestamp"]
    if opened is None:
        return None
    seconds, frame = int(opened.timestamp()), group.source.frame
    closes = bar_close(symbol, seconds) if frame == DAILY else frame_close(symbol, frame, seconds)
    close = opened if closes is None else datetime.fromtimestamp(closes, UTC)
    of_day = parts_of(lakehouse, OHLCV_1D, close.date())
    if frame != DAILY:  # the lakehouse has none of these bars
        of_day = []
    stored = [
        row
        for row in versions_of(lakehouse, OHLCV_1D, of_day, symbol, ["timestamp", "source"])
        if row.values["timestamp"] == seconds or row.values[OHLCV_1D.event] == close
    ]
    bar = stored[-1] if stored else None
    if bar is not None and Source.parse(bar.values["source"]).withdrawn is not None:
        bar = None
    # What is recomputed is so from closed bars alone; at its close, a snapshot's is not final yet.
    is_final = group.source.of_closed_bars
    state = BarState.CLOSED
    if not is_final:
        known_at = values["timestamp"]
        delay = Feeds(lakehouse).delay(symbol, known_at)
        state = bar_state_in(frame, symbol, seconds, known_at, delay)
    return Bar(
        open=opened,
        close=close,
        state=str(state),
        source=bar.values["source"] if bar else None,
        run_id=bar.origin.run_id if bar and bar.origin else None,
    )


def _served(
    project: Project, wanted: list[tuple[FeatureGroup, Column]], symbol: str, now: datetime
) -> dict[str, Online | str]:
    """Return what the online store has, by view; a text why that is not known.

    The row is read by its key, without Feast.
    """
    views = [group.name for group, _ in wanted]
    try:
        feast_project = str(read_configuration(project).get("project"))
        tables = own_tables(project)
        if tables is None:
            return dict.fromkeys(views, "only this project's own online store can be looked into")
        if tables.look({}) is None:
            return dict.fromkeys(views, "there is no online store yet")
        (key,) = encode_keys({"symbol": ("STRING", [symbol])})
        found = tables.read(
            [
                Read(table_name(feast_project, group.name), [column.name], [key])
                for group, column in wanted
            ]
        )
        return {
            group.name: _online(row, group, column, now)
            for row, (group, column) in zip(found, wanted, strict=True)
        }
    except FeastRepositoryError as error:
        return dict.fromkeys(views, str(error))


def _online(row: Rows, group: FeatureGroup, column: Column, now: datetime) -> Online:
    if row.keys == [None]:
        return Online(None, None, None, "none")
    event, created = (from_micros(int(micros[0])) for micros in (row.event_us, row.created_us))
    values = row.values.get(column.name)  # none of a feature that the table does not have yet
    state = "served" if event + group.ttl >= now else "expired"
    return Online(None if values is None else values.to_list()[0], event, created, state)
