"""Instants and days: Unix seconds UTC, and days from 1970-01-01."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

DAY = 86_400
"""Seconds of a day."""
MICROSECONDS = 1_000_000
"""Of a second: stored timestamps are in these."""
EPOCH = date(1970, 1, 1)


def utc(seconds: int) -> datetime:
    """Return an instant of Unix seconds.

    Examples
    --------
    >>> utc(1_614_729_600).isoformat()
    '2021-03-03T00:00:00+00:00'
    """
    return datetime.fromtimestamp(seconds, UTC)


def utc_date(seconds: int) -> date:
    """Return the UTC date of an instant of Unix seconds."""
    return utc(seconds).date()


def date_of_day(day: int) -> date:
    """Return the date that is some days from 1970-01-01.

    Examples
    --------
    >>> date_of_day(18_689), day_of_date(date(2021, 3, 3))
    (datetime.date(2021, 3, 3), 18689)
    """
    return EPOCH + timedelta(day)


def day_of_date(day: date) -> int:
    """Return how many days a date is from 1970-01-01."""
    return (day - EPOCH).days
