"""Instants and days: Unix seconds and microseconds UTC, and days from 1970-01-01."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

DAY = 86_400
"""Seconds of a day."""
MICROSECONDS = 1_000_000
"""Of a second: stored timestamps are in these."""
EPOCH = date(1970, 1, 1)
_START, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


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


def to_micros(instant: datetime | timedelta) -> int:
    """Return an instant as Unix microseconds, or a duration as microseconds.

    An instant without a zone is UTC.

    Examples
    --------
    >>> to_micros(datetime(1970, 1, 2)), to_micros(timedelta(seconds=1))
    (86400000000, 1000000)
    """
    if isinstance(instant, datetime):
        aware = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
        instant = aware - _START
    return instant // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the instant of Unix microseconds.

    Examples
    --------
    >>> from_micros(1_500_000).isoformat()
    '1970-01-01T00:00:01.500000+00:00'
    """
    return _START + micros * _MICROSECOND
