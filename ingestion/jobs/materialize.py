"""Load the newest valid rows into the online store."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from feature_repo.catalog import GROUPS
from ingestion import clock
from ingestion.errors import InputError
from ingestion.jobs.feast_repository import open_repository, quiet
from ingestion.jobs.run import new_run_id
from ingestion.lakehouse import lakehouse_lock, list_parts, make_readable
from ingestion.settings import Settings


@dataclass(frozen=True)
class MaterializeResult:
    """Which views were loaded, up to when."""

    views: tuple[str, ...]
    until: datetime
    duration_s: float


def materialize(settings: Settings) -> MaterializeResult:
    """Load each view's rows of the last TTL before ``clock.now()``; apply first if need be.

    The window always reaches back a whole TTL, not only to the last run: so rows that came late
    are found, and the newest row of the window is the newest that may be served at all.

    Raises
    ------
    InputError
        If the lakehouse holds no features yet.
    FeastRepositoryError
        If the registry describes another lakehouse.
    LakehouseLocked
        If another run is writing.
    """
    run_id = new_run_id()
    with lakehouse_lock(settings.lakehouse, run_id):
        if not any(list_parts(settings.lakehouse, group) for group in GROUPS):
            raise InputError(
                f"{settings.lakehouse} holds no features yet: run `tvfeast feature-ingest`"
            )
        make_readable(settings.lakehouse, GROUPS, run_id)
        store = open_repository(settings, apply_if_missing=True)
        started, until = time.monotonic(), clock.now()
        with quiet():
            for group in GROUPS:
                store.materialize(until - group.ttl, until, feature_views=[group.name])
    return MaterializeResult(
        views=tuple(group.name for group in GROUPS),
        until=until,
        duration_s=round(time.monotonic() - started, 3),
    )
