"""What Feast's own stores need beside this project's, which they replace by one line of YAML.

Nothing else looks at which stores are configured. Importing this module does not import Feast.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from ingestion.base.errors import FeastRepositoryError
from ingestion.base.reading import reading_again
from ingestion.catalog import FeatureGroup
from ingestion.lakehouse import list_parts, read_part
from ingestion.project import Project

if TYPE_CHECKING:
    from feast import FeatureStore

KEYS_A_READ = 5_000
"""Feast's SQLite store binds one variable for each key, and SQLite has a limit."""


def has_own_online_store(store: FeatureStore) -> bool:
    """Return whether the online store is this project's."""
    return hasattr(store._get_provider().online_store, "online_read_table")


def keys_a_read(store: FeatureStore, keys: int) -> int:
    """Return how many of the keys to ask the online store for at once, at least 1.

    All of them where the store can: a load between two reads would be mixed into the answer.
    """
    return max(1, keys if has_own_online_store(store) else min(keys, KEYS_A_READ))


def is_served(known_at: datetime, ttl: timedelta, at: datetime) -> bool:
    """Return whether a row is inside its TTL, which Feast's SQLite store does not look at."""
    return at - known_at <= ttl


@contextlib.contextmanager
def offline_errors(project: Project) -> Iterator[None]:
    """Make errors of ours of what Feast's DuckDB store raises.

    Raises
    ------
    CorruptPart
        If a part of the lakehouse cannot be read.
    FeastRepositoryError
        For anything else that DuckDB refuses.
    """
    try:
        yield
    except Exception as error:
        duckdb = sys.modules.get("duckdb")  # that store alone imports it
        if duckdb is None or not isinstance(error, duckdb.Error):
            raise
        _find_corrupt_part(project)
        told = " ".join(str(error).split())
        raise FeastRepositoryError(f"the offline store cannot answer: {told}") from error


def _find_corrupt_part(project: Project) -> None:
    """Name the part that a store stumbled over, if it is one of ours; that takes a look at all."""

    def read(group: FeatureGroup) -> None:
        for part in list_parts(project.lakehouse, group):
            read_part(part, group)

    for group in project.catalog.groups:
        reading_again(partial(read, group))
