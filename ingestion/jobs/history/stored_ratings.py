"""Stored ratings of some symbols, what is missing among them, and the returns after them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.base.arrow import codes_in, strings, to_numpy
from ingestion.base.instants import DAY, MICROSECONDS, date_of_day
from ingestion.base.reading import reading_again
from ingestion.base.wording import counted
from ingestion.datasets import target_name
from ingestion.jobs.history.asking import Fetched
from ingestion.jobs.history.ratings import (
    CLASSES,
    NO_CLASS,
    Codes,
    Floats,
    Followed,
    Spells,
    class_of,
    followed,
    spells,
)
from ingestion.jobs.serve.targets import NoDecision, training_labels
from ingestion.lakehouse import list_parts, read_current_of
from ingestion.markets.sessions import sessions_between
from ingestion.markets.symbols import exchange_of
from ingestion.project import Project

RATING = "local_1d:Recommend.All"
_LATE = timedelta(days=15)
"""A symbol whose first row is later after the first date than this began later."""
_DAY_US = DAY * MICROSECONDS


@dataclass(frozen=True)
class Coverage:
    """What there is of a symbol."""

    symbol: str
    source: str | None
    """The bar source that gave its bars; None if none did."""
    rows: int
    """Sessions with a row of features."""
    sessions: int | None
    """Sessions since its first row, by the calendar of its exchange; None where that is not
    known."""
    rated: int
    """Rows with a rating."""
    first: date | None
    """UTC dates of its first and its last row."""
    last: date | None
    rating: float | None
    """The newest one."""
    rating_class: str | None
    since: date | None
    """From which row on the rating has been in this class."""
    missing: str | None
    """What is not there, and why."""


@dataclass(frozen=True)
class StoredRatings:
    """Rows of ratings, in order of symbol and then time; arrays of shape ``(n,)``."""

    names: list[str]
    """The symbols, sorted."""
    symbol: Codes
    """Number of the symbol."""
    closed: Codes
    """Close of the bar, Unix µs: when the rating became known."""
    rating: Floats
    """NaN where there is none."""

    @cached_property
    def code(self) -> Codes:
        """Class of the rating; −1 where there is none."""
        return class_of(self.rating)

    @cached_property
    def spells(self) -> Spells:
        """Runs of rows of one class."""
        return spells(self.symbol, self.code)

    @cached_property
    def day(self) -> Codes:
        """Their UTC dates, days from 1970-01-01."""
        days: Codes = self.closed // _DAY_US
        return days

    def of(self, name: str) -> slice:
        """Return where the rows of a symbol are."""
        number = self.names.index(name)
        first, last = np.searchsorted(self.symbol, [number, number + 1])
        return slice(int(first), int(last))


def read_ratings(
    project: Project, symbols: Sequence[str], first: date, last: date
) -> StoredRatings:
    """Read the current ratings of some symbols, of bars that closed between two UTC dates.

    Raises
    ------
    CorruptPart
        If a part cannot be read.
    """
    group, column = project.catalog.feature(RATING)
    names = sorted(set(symbols))
    columns = ["symbol", "timestamp", group.event, column.name]

    def read() -> pa.Table:
        parts = list_parts(project.lakehouse, group, first, last)
        return read_current_of(parts, group, names, columns)

    rows = reading_again(read)
    codes, closed = codes_in(strings(names), rows["symbol"]), to_numpy(rows[group.event])
    order = np.lexsort((closed, codes))
    rating = rows[column.name].to_numpy().astype(np.float64)
    return StoredRatings(names, codes[order], closed[order].astype(np.int64), rating[order])


def coverage_of(
    rows: StoredRatings, symbols: Sequence[str], fetched: Fetched, first: date, at: datetime
) -> Iterator[Coverage]:
    """Yield what there is of each symbol, and what is missing, in the order of the symbols."""
    running = {
        int(rows.spells.symbol[n]): n
        for n in np.flatnonzero(rows.spells.after == NO_CLASS).tolist()
    }
    for symbol in dict.fromkeys(symbols):
        own = rows.of(symbol)
        days, rated = rows.day[own], rows.code[own] != NO_CLASS
        count, source = len(days), fetched.sources.get(symbol)
        sessions = _sessions(symbol, int(rows.closed[own][0]), at) if count else None
        number = running.get(rows.names.index(symbol)) if count and rated[-1] else None
        yield Coverage(
            symbol=symbol,
            source=source,
            rows=count,
            sessions=sessions,
            rated=int(rated.sum()),
            first=date_of_day(int(days[0])) if count else None,
            last=date_of_day(int(days[-1])) if count else None,
            rating=float(rows.rating[own][-1]) if count and rated[-1] else None,
            rating_class=CLASSES[rows.spells.code[number]] if number is not None else None,
            since=date_of_day(int(rows.day[rows.spells.first[number]]))
            if number is not None
            else None,
            missing=_missing(fetched.missing.get(symbol), days, rated, sessions, first),
        )


def _sessions(symbol: str, closed: int, at: datetime) -> int | None:
    """Return how many sessions have closed from an instant, Unix µs, to another, both included."""
    since = closed // MICROSECONDS
    days = date_of_day(since // DAY) - timedelta(days=2), at.date()
    sessions = sessions_between(exchange_of(symbol), *days)
    closes = [session.closes for session in sessions]
    return sum(since <= each <= at.timestamp() for each in closes) if closes else None


def _missing(
    why: str | None, days: Codes, rated: NDArray[np.bool_], sessions: int | None, first: date
) -> str | None:
    """Say what a symbol lacks."""
    if not len(days):
        return why or "it has no row of features: see the receipts of `tvfeast fetch-bars`"
    found = [why] if why else []
    begins = date_of_day(int(days[0]))
    if begins - first > _LATE:
        found.append(f"its bars begin on {begins}")
    if sessions is not None and sessions > len(days):
        found.append(f"{counted(sessions - len(days), 'session')} without a bar")
    if not rated.all():
        early = int(np.argmax(rated)) if rated.any() else len(days)
        later = int((~rated).sum()) - early
        if early:
            found.append(f"{counted(early, 'row')} before the averages had enough bars")
        if later:
            found.append(f"{counted(later, 'row')} without a rating, over missing sessions")
    return "; ".join(found) or None


def what_followed(
    project: Project, rows: StoredRatings, horizons: Sequence[int], first: date, last: date
) -> Iterator[Followed]:
    """Yield what followed each class over each horizon, entered at the open after the rating.

    Raises
    ------
    GateRefused
        If an import of bars is half done, or wrote some meanwhile.
    """
    targets = [target_name(each) for each in horizons]
    try:
        made = training_labels(project, targets, first, last, "open", symbols=rows.names)
    except NoDecision:
        return
    table = made.labels.table
    codes = codes_in(strings(rows.names), table["symbol"])
    decided = to_numpy(table["event_timestamp"]).astype(np.int64)
    # A decision is made at a bar's close, which is when its rating became known.
    order = np.lexsort((decided, codes))
    keys = _keys(codes[order], decided[order])
    own = _keys(rows.symbol, rows.closed)
    at = np.minimum(np.searchsorted(keys, own), max(len(keys) - 1, 0))
    there = keys[at] == own if len(keys) else np.zeros(len(own), dtype=bool)
    for target, sessions in zip(targets, horizons, strict=True):
        values = table[target].cast(pa.float64()).to_numpy()[order]
        returns = np.full(len(own), np.nan)
        returns[there] = values[at[there]]
        yield from followed(rows.code, rows.day, returns, sessions)


def _keys(codes: Codes, closed: Codes) -> Codes:
    """Return one number per symbol and close, in the order of both; closes are whole seconds."""
    keys: Codes = codes * (1 << 40) + closed // MICROSECONDS
    return keys
