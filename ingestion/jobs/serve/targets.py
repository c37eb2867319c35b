"""Labels for a training set, from the lakehouse's own bars."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.arrays import close_seconds
from ingestion.bars.attendance import Attendance, read_attendance
from ingestion.bars.dividends import read_paid
from ingestion.bars.holes import OpenHoles, open_holes
from ingestion.bars.untraded import traded
from ingestion.base.errors import InputError
from ingestion.base.reading import reading_again
from ingestion.catalog import DIVIDENDS, OHLCV_1D, SYMBOLS, Dataset
from ingestion.datasets import (
    Entry,
    Label,
    LabelCollection,
    Labels,
    Universe,
    labels_of,
    longest_window,
    make_labels,
)
from ingestion.jobs.ingest.unfinished_imports import whole_imports
from ingestion.jobs.looking import one_look
from ingestion.jobs.serve.label_warnings import (
    warnings_of,
    warnings_of_kinds,
    warnings_of_members,
)
from ingestion.jobs.serve.show_universe import membership_of
from ingestion.lakehouse import (
    Lakehouse,
    active_symbols,
    arrow_schema,
    by_date,
    days_back,
    list_dates,
    list_parts,
    newest_part,
    read_current,
    read_current_of,
    read_symbols,
)
from ingestion.project import Project
from ingestion.runs.known_at import check_known

LABEL_COLUMNS = ("timestamp", "symbol", "open", "close", "split_ratio", "event_timestamp")
"""The columns of ``ohlcv_1d`` that every label needs."""

FORMULA_COLUMNS = (
    *("timestamp", "symbol", "open", "high", "low", "close", "volume", "split_ratio"),
    "event_timestamp",
)
"""Those that the formulas need."""


def label_spans(target: str, first: date, last: date) -> list[tuple[Dataset, date, date]]:
    """Return what the labels of targets are made of: datasets, and the dates that are read."""
    labels = labels_of(target)
    reach = Reach.of(labels)
    days = reach.begin(first), reach.end(last)
    found = [(OHLCV_1D, *days)]
    if any(each.with_dividends for each in labels):
        found += [(DIVIDENDS, *days), (SYMBOLS, date.min, date.max)]
    return found


class Reach(NamedTuple):
    """How far labels look, from a decision's date."""

    back: timedelta
    ahead: timedelta

    @classmethod
    def of(cls, labels: Sequence[Label]) -> Reach:
        """Take the farthest of some labels."""
        back, ahead = (
            longest_window(max(reaches))
            for reaches in ([each.back for each in labels], [each.ahead for each in labels])
        )
        return cls(back, ahead)

    def begin(self, first: date) -> date:
        """Return from which date on bars decide about the labels of a date."""
        return first - self.back if self.back <= first - date.min else date.min

    def end(self, last: date) -> date:
        """Return until which date."""
        return last + self.ahead if self.ahead < date.max - last else date.max


class NoDecision(InputError):
    """No bar closed in the range of dates."""


@dataclass(frozen=True)
class TrainingLabels:
    """Labels, and what to know before believing in them."""

    labels: Labels
    symbols: int
    """Symbols with at least one decision in the range."""
    warnings: tuple[str, ...]
    target: str
    """The targets, with all of their options, as they are read again."""
    spans: Mapping[str, tuple[str, str]]
    """By target's column, the columns of its span: from when to when its position is open."""


@one_look
def training_labels(
    project: Project,
    target: str | Sequence[str],
    first: date,
    last: date,
    entry: Entry = "open",
    universe_as_of: bool | datetime = False,
    symbols: Collection[str] | None = None,
    universe: str | None = None,
    *,
    as_recorded: bool = False,
    known_at: datetime | None = None,
) -> TrainingLabels:
    """Label the decisions of a date range by the current bars of the lakehouse.

    Parameters
    ----------
    target
        Targets as :func:`~ingestion.datasets.label_of` reads them, such as ``fwd_return_5d``; of
        one text, with spaces between them.
    first, last
        UTC dates of the first and last decision, both inclusive.
    entry
        As in :func:`~ingestion.datasets.forward_returns`.
    universe_as_of
        Whether to keep only symbols that were active at the decision's time, or at the given one.
    symbols
        Unified symbols to label; all that have bars if none are given.
    universe
        Name of a universe: only its members at the decision's time are labelled. Where they are
        not known, all symbols are, and a warning says at how many decisions.
    as_recorded
        Whether membership counts only from when it was recorded.
    known_at
        Bars, symbols and membership that were recorded later are not there; None for all.

    Raises
    ------
    InputError
        No such target or universe; no bar closed in the range (:class:`NoDecision`), or none of a
        benchmark; ``universe_as_of``, and the lakehouse does not know any symbol yet.
    GateRefused
        If an import of bars is half done, or wrote some meanwhile.
    """
    wanted = labels_of(target)
    reach = Reach.of(wanted)
    membership = None
    if universe is not None:
        membership = membership_of(project, universe, as_recorded=as_recorded, known_at=known_at)
    observed, known_since = _universe(project.lakehouse, universe_as_of, known_at)
    if first > last:
        raise InputError(f"the first decision, {first}, is after the last, {last}")
    end = reach.end(last)
    with_dividends = any(each.with_dividends for each in wanted)
    if with_dividends and newest_part(project.lakehouse, DIVIDENDS) is None:
        raise InputError(
            f"a total return needs dividends, and {project.lakehouse} has none: load them with "
            "tvfeast import-bars --dividends FILE"
        )
    if known_at is not None:
        read_too = [OHLCV_1D, *([DIVIDENDS] if with_dividends else [])]
        check_known(project.lakehouse, read_too, known_at)
    columns = [*LABEL_COLUMNS, *sorted({name for each in wanted for name in each.needs})]
    benchmarks = frozenset[str]().union(*(each.benchmarks for each in wanted))
    read = None if symbols is None else benchmarks.union(symbols)
    collection = LabelCollection()
    decided: set[str] = set()
    seen: set[str] = set()
    payers: set[str] = set()
    paid: pa.Table | None = None
    with whole_imports(project.lakehouse):
        newest = _newest_close(project.lakehouse, first, end, symbols, known_at)
        for year_first, year_last in _years(project.lakehouse, first, last):
            begin, year_end = reach.begin(year_first), reach.end(year_last)
            bars = read_bars(project.lakehouse, begin, year_end, read, columns, known_at=known_at)
            holes = _holes(project.lakehouse, bars, begin, year_end, read, known_at)
            found = _decided(bars, year_first, year_last)
            seen |= found
            decided |= found if symbols is None else found.intersection(symbols)
            if with_dividends:
                paid = read_paid(project.lakehouse, begin, year_end, known_at)
                payers.update(paid["symbol"].unique().to_pylist())
            labels = make_labels(
                _with_gaps(bars, holes),
                wanted,
                entry=entry,
                first=year_first,
                last=year_last,
                universe=membership or observed,
                newest=newest,
                symbols=symbols,
                dividends=paid,
            )
            collection.add(labels)
    if not collection.decisions:
        raise NoDecision(
            f"no bar{'' if symbols is None else ' of these symbols'} in {project.lakehouse} "
            f"closed from {first} to {last}; load history with tvfeast import-bars"
        )
    if unknown := sorted(benchmarks - seen):
        raise InputError(
            f"the benchmark {unknown[0]} has no bar in {project.lakehouse} from {first} to {last}; "
            "load its history with tvfeast import-bars, or name another"
        )
    labels = collection.merge()
    of_members = None
    if universe is not None and membership is not None:
        span = (datetime.combine(day, time(), UTC) for day in (first, last + timedelta(days=1)))
        without = membership.members_between(*span) - decided
        without = without if symbols is None else without.intersection(symbols)
        of_members = warnings_of_members(universe, labels, without)
    warnings = [
        *warnings_of(labels, decided, symbols, known_since, of_members),
        *warnings_of_kinds(labels, decided - payers if with_dividends else ()),
    ]
    return TrainingLabels(
        labels, len(decided), tuple(warnings), " ".join(map(str, wanted)), labels.spans
    )


def _holes(
    lakehouse: Lakehouse,
    bars: pa.Table,
    first: date,
    last: date,
    symbols: Collection[str] | None,
    known_at: datetime | None,
) -> OpenHoles:
    """Return the sessions that are missing among the bars of a span of dates."""
    if not bars.num_rows:
        return OpenHoles(())
    if symbols is None:
        closes = bars["event_timestamp"].cast(pa.date32())
        attendance = Attendance(pc.min(closes).as_py(), pc.max(closes).as_py())
        names = bars["symbol"].unify_dictionaries().combine_chunks()
        attendance.add(names.indices.to_numpy(), close_seconds(bars), names.dictionary.to_pylist())
        return open_holes(lakehouse, attendance, known_at)

    def read() -> OpenHoles:  # a market lacks a session only if its other symbols do
        parts = list_parts(lakehouse, OHLCV_1D, first, last)
        attendance = Attendance(parts[0].date, parts[-1].date)
        read_attendance(parts, attendance, known_at=known_at)
        return open_holes(lakehouse, attendance, known_at)

    return reading_again(read)


def _with_gaps(bars: pa.Table, holes: OpenHoles) -> pa.Table:
    """Add when the first session opened that is missing before each bar, Unix s; 0 where none."""
    if not holes or not bars.num_rows:
        return bars
    symbols, closes = bars["symbol"].unify_dictionaries().combine_chunks(), close_seconds(bars)
    codes = symbols.indices.to_numpy()
    order = np.lexsort((closes, codes))
    missing = np.empty(len(order), dtype=np.int64)
    names = symbols.dictionary.to_pylist()
    missing[order] = holes.missing_from(names, codes[order], closes[order])
    return bars.append_column("missing_from", pa.array(missing))


def _universe(
    lakehouse: Lakehouse, as_of: bool | datetime, known_at: datetime | None
) -> tuple[Universe | None, datetime | None]:
    """Return which symbols could be chosen when, and since when that is known."""
    if as_of is False:
        return None, None
    rows = read_symbols(lakehouse, known_at)
    since: datetime | None = pc.min(rows["valid_from"]).as_py()
    if since is None:
        raise InputError(
            f"--universe-as-of needs to know when each symbol was active, and {lakehouse} has no "
            "symbols yet: run tvfeast meta-ingest, daily from now on"
        )
    if as_of is True:
        return Universe.over_time(rows), since
    known = as_of if known_at is None else min(as_of, known_at)
    return Universe.fixed(active_symbols(lakehouse, known)), since


def _years(lakehouse: Lakehouse, first: date, last: date) -> Iterator[tuple[date, date]]:
    """Cut a date range into calendar years, of those that have bars; one at a time is in memory.

    What a year's decisions need of the next one is read twice.
    """
    years = {day.year for day in list_dates(lakehouse, OHLCV_1D) if day >= first}
    for year in sorted(year for year in years if year <= last.year):
        yield max(first, date(year, 1, 1)), min(last, date(year, 12, 31))


def _newest_close(
    lakehouse: Lakehouse,
    first: date,
    last: date,
    symbols: Collection[str] | None,
    known_at: datetime | None,
) -> datetime | None:
    """Return when the newest bar of a range of partition dates closed; None if there is none."""
    for day, _ in days_back(lakehouse, OHLCV_1D, last):
        if day < first:
            break
        columns = ["symbol", "timestamp", "event_timestamp"]
        bars = read_bars(lakehouse, day, day, symbols, columns, known_at=known_at)
        closes = bars["event_timestamp"]
        if len(closes):
            newest: datetime = pc.max(closes).as_py()
            return newest
    return None


def read_bars(
    lakehouse: Lakehouse,
    first: date,
    last: date,
    symbols: Collection[str] | None = None,
    columns: Sequence[str] = LABEL_COLUMNS,
    *,
    known_at: datetime | None = None,
) -> pa.Table:
    """Read the current bars of a range of partition dates, both inclusive.

    A date at a time, and symbols as codes: above the result's own size, one date is in memory.

    Parameters
    ----------
    symbols
        Symbols to read; all if none are given.
    columns
        Columns of ``ohlcv_1d``, ``symbol`` and ``timestamp`` among them.
    known_at
        Bars that were created later are not there; None for all.

    Returns
    -------
    pa.Table
        Unique on (``symbol``, ``timestamp``), ordered by partition date and within it by symbol.
        ``symbol`` is ``dictionary<int32, string>``, the rest in the dataset's types. A restated bar
        is there once, as written last.

    Raises
    ------
    CorruptPart
        If a part cannot be read.
    """

    def read() -> pa.Table:
        parts = list_parts(lakehouse, OHLCV_1D, first, last)
        wanted = None if symbols is None else sorted(set(symbols))
        names = pa.array([], pa.string())
        tables = []
        for day in by_date(parts).values():
            if wanted is None:
                rows = read_current(day, OHLCV_1D, list(columns), known_at=known_at)
            else:
                rows = read_current_of(day, OHLCV_1D, wanted, list(columns), known_at=known_at)
            names = _extended(names, rows["symbol"])
            position = rows.column_names.index("symbol")
            codes = pc.index_in(rows["symbol"], value_set=names)
            tables.append(rows.set_column(position, "symbol", codes))
        if not tables:
            empty = arrow_schema(OHLCV_1D).empty_table().select(list(columns))
            position = empty.column_names.index("symbol")
            return empty.set_column(position, "symbol", empty["symbol"].dictionary_encode())
        table = pa.concat_tables(tables)
        encoded = pa.chunked_array(
            [pa.DictionaryArray.from_arrays(codes, names) for codes in table["symbol"].chunks],
            pa.dictionary(pa.int32(), pa.string()),
        )
        return table.set_column(table.column_names.index("symbol"), "symbol", encoded)

    return reading_again(read)


def read_formula_bars(
    lakehouse: Lakehouse, first: date, last: date, symbols: Collection[str] | None = None
) -> pa.Table:
    """Read the bars that formulas count, as :func:`read_bars` does; ``symbol`` is a string."""
    bars = read_bars(lakehouse, first, last, symbols, FORMULA_COLUMNS)
    place = bars.column_names.index("symbol")
    return traded(bars.set_column(place, "symbol", bars["symbol"].cast(pa.string())))


def _extended(names: pa.Array, symbols: pa.ChunkedArray) -> pa.Array:
    """Return the names with those symbols behind them that are not among them."""
    unknown = symbols.filter(pc.invert(pc.is_in(symbols, value_set=names)))
    return pa.concat_arrays([names, pc.unique(unknown)]) if len(unknown) else names


def _decided(bars: pa.Table, first: date, last: date) -> set[str]:
    """Return the symbols with a bar that closed between two dates, both included."""
    closed = bars["event_timestamp"].cast(pa.date32())
    inside = pc.and_(pc.greater_equal(closed, first), pc.less_equal(closed, last))
    return set(bars["symbol"].filter(inside).unique().to_pylist())
