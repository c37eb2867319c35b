"""Looks at the lakehouse that ``status`` shows and judges beside its own.

A look is a function of the project and the instant; :data:`LOOKS` has them all. They change
nothing, and take no lock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from ingestion.base.reading import reading_again
from ingestion.catalog import OHLCV_1D
from ingestion.jobs.ingest.missing_sessions import find_holes, hole_messages
from ingestion.lakehouse import list_parts, read_part
from ingestion.markets.sessions import calendar_ends
from ingestion.markets.symbols import exchange_of
from ingestion.project import Project


@dataclass(frozen=True)
class Section:
    """What one look has found."""

    name: str
    """Which one it is."""
    document: object = None
    """What it has found, for ``--json``: a dataclass, or values of the types of JSON."""
    lines: tuple[str, ...] = field(default=(), repr=False)
    """The same for people."""
    problems: tuple[str, ...] = field(default=(), repr=False)
    """What ``status`` exits with 3 for, each with what to do."""
    warnings: tuple[str, ...] = field(default=(), repr=False)
    """What is to be known in time; the exit code stays as it is."""


Look = Callable[[Project, datetime], Section]


_NAMED = 10
"""Accepted sessions that the text names."""


def look_at_holes(project: Project, at: datetime) -> Section:
    """Name the sessions that are missing, or accepted as missing."""
    holes = find_holes(project.lakehouse, at)
    lines = [
        f"accepted as missing on {each.accepted_at:%Y-%m-%d}: {each.market} {each.session}: "
        f"{each.reason}"
        for each in holes.accepted[-_NAMED:]
    ]
    if (more := len(holes.accepted) - _NAMED) > 0:
        lines.append(f"  and {more:,} earlier sessions")
    return Section("holes", holes, tuple(lines), tuple(hole_messages(holes.open)))


IN_TIME = timedelta(days=60)
"""How long before a calendar's end there is a warning."""
_IN_USE = timedelta(days=30)
"""An exchange whose bars closed within it is in use."""


def look_at_calendars(project: Project, at: datetime) -> Section:
    """Name the exchanges in use whose sessions are soon not known any more.

    A warning, before the end and after it: bars are stored then as before, and marked.
    """
    today = at.date()
    ends = calendar_ends(_exchanges(project, today))
    ending = {exchange: end for exchange, end in ends.items() if end - today <= IN_TIME}
    document = {"calendar_ends": {exchange: str(end) for exchange, end in ends.items()}}
    warnings = [_told(exchange, end, today) for exchange, end in ending.items()]
    return Section("calendars", document, warnings=tuple(warnings))


def _told(exchange: str, end: date, today: date) -> str:
    verb = "ended" if end < today else "ends"
    return (
        f"the calendar of {exchange} {verb} on {end}: after it each weekday's usual hours are "
        "assumed, holidays and short days too, and its bars are marked; update "
        "exchange_calendars, or write the year's holidays and short days to "
        "feature_repo/sessions.csv"
    )


def _exchanges(project: Project, today: date) -> set[str]:
    """Return the exchanges that have bars of late."""

    def read() -> set[str]:
        parts = list_parts(project.lakehouse, OHLCV_1D, today - _IN_USE)
        symbols = {
            symbol
            for part in parts
            for symbol in read_part(part, OHLCV_1D, ["symbol"])["symbol"].unique().to_pylist()
        }
        return {exchange_of(symbol) for symbol in symbols}

    return reading_again(read)


LOOKS: tuple[Look, ...] = (look_at_holes, look_at_calendars)
"""In the order in which they are shown. They change nothing, and take no lock."""
