"""Load the newest valid rows into the online store."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from feature_repo.catalog import GROUPS
from ingestion import clock
from ingestion.errors import ClockError, InputError
from ingestion.jobs.feast_repository import feast_calls, open_repository
from ingestion.jobs.run import new_run_id
from ingestion.lakehouse import lakehouse_lock, list_parts, make_readable
from ingestion.settings import Settings

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView


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
    ClockError
        If the online store was loaded at a later instant than now.
    FeastRepositoryError
        If the registry describes other definitions or another lakehouse.
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
        with feast_calls(settings):
            views = store.list_feature_views()
            _refuse_to_go_back(settings, views, until)
            _make_tables(store, views)
            _make_servable(store, views)
            try:
                for group in GROUPS:
                    store.materialize(until - group.ttl, until, feature_views=[group.name])
            finally:
                _make_servable(store, store.list_feature_views())
    return MaterializeResult(
        views=tuple(group.name for group in GROUPS),
        until=until,
        duration_s=round(time.monotonic() - started, 3),
    )


def _refuse_to_go_back(settings: Settings, views: list[FeatureView], until: datetime) -> None:
    """Keep newer values: Feast's SQLite store overwrites them with older ones."""
    ends = [end for view in views for _, end in view.materialization_intervals]
    if ends and max(ends) > until:
        raise ClockError(
            f"the online store was loaded as of {max(ends):%Y-%m-%d %H:%M:%S} UTC, and it is only "
            f"{until:%Y-%m-%d %H:%M:%S} UTC now (TVFEAST_NOW?): replay earlier days in a project "
            f"of their own, or remove online.db and registry.db from {settings.project / 'data'}"
        )


def _make_tables(store: FeatureStore, views: list[FeatureView]) -> None:
    """Make the online tables that are missing; Feast makes them when it applies, never again."""
    store._get_provider().online_store.update(  # there is no public way
        config=store.config,
        tables_to_delete=[],
        tables_to_keep=views,
        entities_to_delete=[],
        entities_to_keep=store.list_entities(),
        partial=True,
    )


def _make_servable(store: FeatureStore, views: list[FeatureView]) -> None:
    """Let views be read that a run left in the midst of loading: what they hold is still true.

    Feast refuses to serve a view whose last materialization failed or was killed.
    """
    from feast.feature_view import FeatureViewState

    stuck = (FeatureViewState.GENERATED, FeatureViewState.MATERIALIZING)
    for view in views:
        if view.state in stuck and view.materialization_intervals:
            view.state = FeatureViewState.AVAILABLE_ONLINE
            store.registry.apply_feature_view(view, store.project, commit=True)
