"""As of when the lakehouse is read: rows that were created later are not there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial

from ingestion.base import clock
from ingestion.base.errors import InputError
from ingestion.base.reading import reading_again
from ingestion.catalog import Dataset
from ingestion.lakehouse import Lakehouse, Part, list_dates, parts_of, read_metadata
from ingestion.runs.run import run_instant

_RUN = re.compile(r"run (\S+) ")
_CREATED = "created_timestamp"
_VERSIONS = timedelta(milliseconds=1)
"""In which a clock that stands gives a thousand versions of a row."""


def latest_known(lakehouse: Lakehouse) -> datetime:
    """Return the latest instant as of which the lakehouse stays as it is.

    It is now; or, while a run writes, just before that began: its parts appear one by one, and each
    of their rows was created after its start.
    """
    now = clock.now()
    if clock.is_replayed():  # it stands, and each version of a row is created 1 µs after the last
        return now + _VERSIONS
    match = _RUN.match(lakehouse.holder() or "")
    if match is None:
        return now
    try:
        started = run_instant(match[1])
    except ValueError:  # another kind of holder
        return now
    return min(now, started - timedelta(microseconds=1))


def check_known(lakehouse: Lakehouse, datasets: Iterable[Dataset], at: datetime) -> None:
    """Refuse to read datasets as of an instant at which they had no row.

    Raises
    ------
    InputError
        If the instant is in the future, or a dataset's first row was created later.
    """
    if at > (now := clock.now()) + _VERSIONS:
        raise InputError(f"--known-at {at.isoformat()} is in the future: it is {now.isoformat()}")
    for dataset in datasets:
        first = reading_again(partial(first_created, lakehouse, dataset, at))
        if first is not None and first > at:
            raise InputError(
                f"--known-at {at.isoformat()} is before {lakehouse} had any {dataset.name}: its "
                f"first row was created at {first.isoformat()}; name that instant or a later one"
            )


def first_created(lakehouse: Lakehouse, dataset: Dataset, at: datetime) -> datetime | None:
    """Return when a dataset's first row was created, or any that was by then; None without rows."""
    first: datetime | None = None
    for day in list_dates(lakehouse, dataset):
        for part in parts_of(lakehouse, dataset, day):
            created = _oldest_row(part)
            if created is not None and (first is None or created < first):
                first = created
                if first <= at:
                    return first
    return first


def _oldest_row(part: Part) -> datetime | None:
    footer = read_metadata(part)
    column = footer.schema.names.index(_CREATED)
    groups = (footer.row_group(n).column(column).statistics for n in range(footer.num_row_groups))
    return min((each.min for each in groups if each and each.has_min_max), default=None)
