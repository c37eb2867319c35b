"""What ``status`` says of calendars that end."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from ingestion.base.reading import reading_again
from ingestion.catalog import OHLCV_1D
from ingestion.jobs.audit.status.sections import Section
from ingestion.lakehouse import list_parts, read_part
from ingestion.markets.sessions import calendar_ends
from ingestion.markets.symbols import exchange_of
from ingestion.project import Project

IN_TIME = timedelta(days=60)
"""How long before a calendar's end it is told."""
_IN_USE = timedelta(days=30)
"""An exchange whose bars closed within it is in use."""


def look_at_calendars(project: Project, at: datetime) -> Section:
    """Tell of the exchanges in use whose sessions are soon not known any more.

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
