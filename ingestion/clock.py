"""What "now" is, for every part of the project.

``TVFEAST_NOW`` (ISO 8601; UTC unless it carries an offset) replaces the wall clock, so that a day
can be replayed. All instants are UTC and exact to the microsecond.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from ingestion.errors import ClockError
from ingestion.settings import variable


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 instant; one without an offset is UTC.

    Raises
    ------
    ValueError
        If the text is not ISO 8601.
    """
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def is_replayed() -> bool:
    """Tell whether ``TVFEAST_NOW`` replaces the wall clock."""
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
    """
    instant = now()
    stamp = instant.replace(microsecond=0)
    if stamp < instant:
        stamp += timedelta(seconds=1)
    while not is_replayed() and (remaining := (stamp - now()).total_seconds()) > 0:
        time.sleep(remaining)
    return stamp
