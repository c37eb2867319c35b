"""What "now" is, for every part of the project.

``TVFEAST_NOW`` (ISO 8601; UTC unless it carries an offset) replaces the wall clock, so that a day
can be replayed. All instants are UTC and exact to the microsecond.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from ingestion.base.errors import ClockError
from ingestion.base.settings import variable

_FIRST_YEAR, _LAST_YEAR = 1900, 2199  # beyond them, stores and time zones fail in their own ways


@lru_cache(maxsize=64)  # a command asks for the time of each symbol
def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 instant; one without an offset is UTC.

    Raises
    ------
    ValueError
        If the text is not ISO 8601, or of a year that no market data has.
    """
    instant = datetime.fromisoformat(text)
    if not _FIRST_YEAR <= instant.year <= _LAST_YEAR:
        raise ValueError(f"the year {instant.year} is not between {_FIRST_YEAR} and {_LAST_YEAR}")
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def is_replayed() -> bool:
    """Return whether ``TVFEAST_NOW`` replaces the wall clock."""
    return variable("TVFEAST_NOW") is not None


def now() -> datetime:
    """Return the current instant.

    Raises
    ------
    ClockError
        If ``TVFEAST_NOW`` is set and is not ISO 8601.
    """
    override = variable("TVFEAST_NOW")
    if override is None:
        return datetime.now(UTC)
    try:
        return parse_instant(override)
    except ValueError:
        raise ClockError(
            f'TVFEAST_NOW is "{override}"; it must be ISO 8601, such as 2026-01-16T21:30:00Z'
        ) from None


def next_whole_second() -> datetime:
    """Return the first whole second that is not before now, after it has come.

    A snapshot is stamped in whole seconds. Rounding down would claim that its values were known
    earlier than they were, so the stamp is rounded up and, on the wall clock, waited for.

    Raises
    ------
    ClockError
        If a replayed clock stands between two seconds, where waiting does not help.
    """
    instant = now()
    if is_replayed() and instant.microsecond:
        raise ClockError(
            f"TVFEAST_NOW is {instant.isoformat()}, but a snapshot is stamped in whole seconds: "
            "give one"
        )
    stamp = instant.replace(microsecond=0)
    if stamp < instant:
        stamp += timedelta(seconds=1)
    while (remaining := (stamp - now()).total_seconds()) > 0:
        time.sleep(remaining)
    return stamp
