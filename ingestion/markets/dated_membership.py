"""A file of dated membership: which symbol was in from which session to which.

Columns ``symbol``, ``from``, ``to`` and, if it is known, ``announced``, in Parquet or in CSV, with
commas, semicolons or tabs. Dates are those of the symbol's exchange. ``from`` is the first session
as a member, ``to`` the first session no longer one, empty while it still is; a date without a
session stands for the next one. Membership is known from the open of ``from``, or from
``announced``.

A line that cannot be used is refused with its number and the reason, and costs no other line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from ingestion.base.clock import parse_instant
from ingestion.base.errors import InputError
from ingestion.base.wording import reason_of
from ingestion.markets.calendars import calendar_of
from ingestion.markets.hours import ClosingRule, hours_of_exchange
from ingestion.markets.sessions import session_bounds
from ingestion.markets.symbols import exchange_of, symbol_problem

COLUMNS = ("symbol", "from", "to")
"""Columns that a file must have."""
ANNOUNCED = "announced"

_DATE = re.compile(
    r"(\d{4})-?(\d{2})-?(\d{2})(?:[T ]00:00(?::00(?:\.0+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?"
)
_YEARS = range(1900, 2200)
_LONGEST_WEEKEND = 7
"""Days after which dealers have had a session."""
_SHOWN = 60


@dataclass(frozen=True)
class Span:
    """One stay of a symbol in a universe."""

    line: int
    symbol: str
    start: datetime
    """Open of the first session as a member."""
    end: datetime | None
    """Open of the first session no longer one; None while it still is."""
    known: datetime
    """Since when this is known."""

    def overlaps(self, other: Span) -> bool:
        """Return whether both say that the symbol is in at some instant."""
        return (other.end is None or self.start < other.end) and (
            self.end is None or other.start < self.end
        )


@dataclass(frozen=True)
class DatedMembership:
    """What a file says."""

    spans: tuple[Span, ...]
    """In the order of the lines; those of a symbol do not overlap."""
    refused: Mapping[int, str]
    """By line, or row of a Parquet file, why it is not used."""
    refused_symbols: frozenset[str]
    """Symbols of refused lines."""
    repeated: int
    """Lines that say what an earlier one says."""
    moved: int
    """Dates without a session, which stand for the next one."""
    unknown_hours: tuple[str, ...]
    """Exchanges whose sessions are not known: their dates are UTC days."""
    ignored: tuple[str, ...]
    """Columns that are not read."""


def read_dated_membership(path: Path) -> DatedMembership:
    """Read a file of dated membership.

    Raises
    ------
    InputError
        If it cannot be read, or lacks a column.
    """
    header, lines = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    names = [str(name).strip().lower() for name in header]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise InputError(
            f"{path} has no column {missing[0]}; it has {', '.join(names)[:200] or 'none'}; dated "
            "membership has symbol, from, to and, if it is known, announced"
        )
    if twice := next((name for name in (*COLUMNS, ANNOUNCED) if names.count(name) > 1), None):
        raise InputError(f"{path} has the column {twice} twice: take one out")
    reader = _Reader(names)
    for number, cells in lines:
        reader.take(number, cells)
    return reader.result()


class _Refused(Exception):
    """A line cannot be used; ``str()`` says why."""


@dataclass
class _Reader:
    """Takes the lines of a file one by one."""

    names: list[str]
    spans: list[Span] = field(default_factory=list)
    of_symbol: dict[str, list[Span]] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    refused_symbols: set[str] = field(default_factory=set)
    unknown_hours: set[str] = field(default_factory=set)
    repeated: int = 0
    moved: int = 0

    def take(self, number: int, cells: list[Any]) -> None:
        row = dict(zip(self.names, cells, strict=False))
        try:
            if len(cells) != len(self.names):
                raise _Refused(f"it has {len(cells)} cells, the header has {len(self.names)}")
            span = self._span(number, row)
            if span is not None:
                self.spans.append(span)
                self.of_symbol.setdefault(span.symbol, []).append(span)
        except _Refused as why:
            self.refused[number] = str(why)
            if symbol_problem(row.get("symbol")) is None:
                self.refused_symbols.add(str(row["symbol"]))

    def _span(self, number: int, row: dict[str, Any]) -> Span | None:
        symbol = row["symbol"].strip() if isinstance(row["symbol"], str) else row["symbol"]
        if problem := "it is empty" if _is_empty(symbol) else symbol_problem(symbol):
            raise _Refused(f"symbol: {problem}")
        first, last = _day("from", row["from"]), _day("to", row["to"])
        if first is None:
            raise _Refused("from is empty: write the first session as a member")
        if last is not None and last <= first:
            raise _Refused(f"to, {last}, is not after from, {first}")
        exchange = exchange_of(symbol)
        if hours_of_exchange(exchange).rule is ClosingRule.DAY_AFTER_OPEN:
            self.unknown_hours.add(exchange)
        start = self._open(exchange, first)
        end = None if last is None else self._open(exchange, last)
        if end is not None and end <= start:
            raise _Refused(f"there is no session of {exchange} from {first} to {last}")
        known = self._known(exchange, row.get(ANNOUNCED), start)
        if end is not None and known >= end:
            raise _Refused("announced is not before to: it would never have been known as a member")
        span = Span(number, symbol, start, end, known)
        for other in self.of_symbol.get(symbol, ()):
            if (other.start, other.end, other.known) == (start, end, known):
                self.repeated += 1
                return None
            if span.overlaps(other):
                raise _Refused(f"it overlaps line {other.line}, which has the same symbol")
        return span

    def _known(self, exchange: str, value: Any, start: datetime) -> datetime:
        if _is_empty(value):
            return start
        if isinstance(value, str) and not _DATE.fullmatch(value.strip()):
            try:
                return parse_instant(value.strip())
            except ValueError:
                raise _Refused(
                    f"announced: {_shown(value)} is neither a date nor an instant, as "
                    "2026-01-16T21:30Z"
                ) from None
        if isinstance(value, datetime) and value.time() != datetime.min.time():
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        day = _day(ANNOUNCED, value)
        assert day is not None  # noqa: S101 - it is not empty
        return self._open(exchange, day)

    def _open(self, exchange: str, day: date) -> datetime:
        """Return the open of the session of a date, or of the next one."""
        label, opens = _session(exchange, day)
        self.moved += label != day
        return datetime.fromtimestamp(opens, UTC)

    def result(self) -> DatedMembership:
        return DatedMembership(
            spans=tuple(self.spans),
            refused=self.refused,
            refused_symbols=frozenset(self.refused_symbols),
            repeated=self.repeated,
            moved=self.moved,
            unknown_hours=tuple(sorted(self.unknown_hours)),
            ignored=tuple(
                name for name in self.names if name not in (*COLUMNS, ANNOUNCED) and name
            ),
        )


def _session(exchange: str, day: date) -> tuple[date, int]:
    """Return date and open of the first session on or after a date."""
    if hours_of_exchange(exchange).calendar is not None:
        import numpy as np

        calendar = calendar_of(exchange)
        i = int(np.searchsorted(calendar.labels, np.datetime64(day), side="left"))
        if i < len(calendar.labels):
            label = calendar.labels[i].astype("datetime64[D]").item()
            return label if i else day, int(calendar.opens[i])  # nothing is known of earlier days
    else:
        for label in (day + timedelta(n) for n in range(_LONGEST_WEEKEND)):
            if bounds := session_bounds(exchange, label):
                return label, bounds[0]
    raise _Refused(f"no session of {exchange} on or after {day} is known")


def _day(name: str, value: Any) -> date | None:
    """Return a cell's date; None if it is empty."""
    if _is_empty(value):
        return None
    day: date | None = None
    if isinstance(value, datetime):
        day = value.date() if value.time() == datetime.min.time() else None
    elif isinstance(value, date):
        day = value
    elif isinstance(value, str) and (match := _DATE.fullmatch(value.strip())):
        try:
            day = date(*map(int, match.groups()))
        except ValueError:
            day = None
    if day is None or day.year not in _YEARS:
        raise _Refused(f"{name}: {_shown(value)} is not a date such as 2026-01-16")
    return day


def _is_empty(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


Lines = tuple[list[str], Iterator[tuple[int, list[Any]]]]


def _csv(path: Path) -> Lines:
    """Return the header and the numbered lines; each is read alone, so none spoils another."""
    try:
        text = path.read_bytes().decode("utf-8-sig", "replace")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    lines = [line.rstrip("\r") for line in text.replace("\0", "\ufffd").split("\n")]
    numbered = [
        (number, line)
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.startswith("#")
    ]
    if not numbered:
        raise InputError(f"{path} is empty")
    head = numbered[0][1]
    delimiter = next((sign for sign in ",;\t" if sign in head), ",")
    return _cells(head, delimiter), (
        (number, _cells(line, delimiter)) for number, line in numbered[1:]
    )


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except csv.Error:
        return [line]


def _parquet(path: Path) -> Lines:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read: {reason_of(error)}") from None
    names = [str(name) for name in table.column_names]
    wanted = {name: name.strip().lower() in (*COLUMNS, ANNOUNCED) for name in names}
    columns = [
        _python(column) if wanted[name] else [None] * table.num_rows
        for name, column in zip(names, table.columns, strict=True)
    ]
    rows = (list(row) for row in zip(*columns, strict=True)) if columns else iter(())
    return names, enumerate(rows, start=1)


def _python(column: Any) -> list[Any]:
    """Return a column's values; those that Python has no value for, as a text."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError, pa.ArrowException):
        values = [str(each) for each in column]
    return values
