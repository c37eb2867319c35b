"""Load the newest valid rows into the online store."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from ingestion.base import clock
from ingestion.base.arrow import latest
from ingestion.base.errors import ClockError, InputError
from ingestion.base.reading import reading_again
from ingestion.catalog import FeatureGroup
from ingestion.jobs.serve.feast_repository import feast_calls, open_repository, read_online
from ingestion.jobs.serve.loads import LOAD_FILE, LastLoad, last_loads, promoted_in
from ingestion.lakehouse import Lakehouse, RunFile, by_date, list_parts, newest_part, read_part
from ingestion.lakehouse.ledger import Ledger
from ingestion.project import Project
from ingestion.runs.run import Run

if TYPE_CHECKING:
    from feast import FeatureStore


@dataclass(frozen=True)
class ViewLoad:
    """What became of one view."""

    view: str
    rows: int | None
    """Symbols with a row inside the window; None if the engine does not say."""
    changed: int | None
    """Rows among them that the online store did not have yet; None likewise."""
    parts: tuple[str, ...]
    """The parts of the window, relative to the lakehouse: what was loaded."""
    new_parts: int
    """Parts among them that the load before this one had not seen."""
    late_parts: int
    """New parts of a day that the load before this one had reached the end of."""
    newest: datetime | None
    """Event of the newest row inside the window; None without one."""


@dataclass(frozen=True)
class MaterializeResult:
    """A load and its receipt."""

    run_id: str
    loads: tuple[ViewLoad, ...]
    until: datetime
    duration_s: float
    receipt: RunFile

    @property
    def told(self) -> dict[str, object]:
        """What the receipt says of what is served."""
        return {"until": self.until, "views": self.loads}


def materialize(
    project: Project, run: Run | None = None, groups: Collection[FeatureGroup] | None = None
) -> MaterializeResult:
    """Load each group's rows of the last TTL before ``clock.now()``; apply first if need be.

    The window always reaches back a whole TTL, not only to the last run: so rows that came late and
    restated ones are found, and the newest row of the window is the newest that may be served at
    all. The receipt lists the window's parts; from the receipt before it follows which are news.

    Parameters
    ----------
    groups
        Those that the promotion gate has let pass; it is not asked here, and whoever names none
        loads all: in a run in parts, those that its step ``validate`` has let pass.

    Raises
    ------
    InputError
        If the lakehouse has no features yet.
    ClockError
        If the online store was loaded at a later instant than now.
    FeastRepositoryError
        If the registry describes other definitions or another lakehouse.
    LakehouseLocked
        If another run is writing.
    """
    if groups is None and project.run_id is not None:
        groups = promoted_in(project, project.run_id)
    with Run.open(project, "materialize", file=LOAD_FILE, step_of=run) as run:
        result = load(run, project, project, groups)
        run.tell(**result.told)
        return result


def load(
    run: Run, project: Project, into: Project, groups: Collection[FeatureGroup] | None = None
) -> MaterializeResult:
    """Load; the caller completes the receipt once the rows are served.

    Raises as :func:`materialize` does.

    Parameters
    ----------
    project
        The project whose receipts say what was loaded before.
    into
        The project whose registry and online store are filled.
    groups
        What to load; the others' rows stay as they are.
    """
    if not any(newest_part(project.lakehouse, group) for group in project.catalog.groups):
        raise InputError(f"{project.lakehouse} has no features yet: run `tvfeast feature-ingest`")
    groups = project.catalog.groups if groups is None else groups
    store = open_repository(into, apply_if_missing=True)
    started, until = time.monotonic(), clock.now()
    before = last_loads(project)
    with feast_calls(into):
        _make_tables(store)
        for group in groups:
            _clamp_future_ends(store, group, until)
        _make_servable(store)
        views = tuple(
            _load(project, store, group, until, before.get(group.name)) for group in groups
        )
    duration_s = round(time.monotonic() - started, 3)
    return MaterializeResult(run.id, views, until, duration_s, run.receipt)


def _load(
    project: Project,
    store: FeatureStore,
    group: FeatureGroup,
    until: datetime,
    before: LastLoad | None,
) -> ViewLoad:
    """Load the newest row of each symbol, by Feast's engine but without Feast's state machine.

    ``FeatureStore.materialize`` marks a view as loading first, and a run that dies then leaves the
    mark; the engine writes at one stroke, so there is nothing to mark.
    """
    from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask

    since = until - group.ttl
    window = list_parts(project.lakehouse, group, since.date(), until.date())
    names = {part.key: part.date for part in window}
    newest = reading_again(partial(_newest, project.lakehouse, group, since, until))
    view = store.get_feature_view(group.name)
    task = MaterializationTask(store.project, view, since, until)
    (job,) = store._get_provider().batch_engine.materialize(store.registry, task)
    if job.status() is MaterializationJobStatus.ERROR:
        raise job.error()
    store.registry.apply_materialization(view, store.project, since, until)
    seen = before.parts if before else frozenset()
    # The ledger knows what a merged part was merged from.
    ledger = Ledger.of_merged(project.lakehouse, window, seen)
    new = [day for name, day in names.items() if not ledger.is_among(name, seen)]
    return ViewLoad(
        view=group.name,
        rows=getattr(job, "rows", None),  # Feast's own engines do not count
        changed=getattr(job, "written", None),
        parts=tuple(names),
        new_parts=len(new),
        late_parts=sum(before is not None and day < before.until.date() for day in new),
        newest=newest,
    )


def _newest(
    lakehouse: Lakehouse, group: FeatureGroup, since: datetime, until: datetime
) -> datetime | None:
    """Return the newest event of a span; of its dates the last one with rows need be read."""
    parts = by_date(list_parts(lakehouse, group, since.date()))
    for day in sorted(parts, reverse=True):
        events: set[datetime] = set()
        for part in parts[day]:
            column = read_part(part, group, ["event_timestamp"])["event_timestamp"]
            events |= set(pc.unique(column).to_pylist())
        if inside := [event for event in events if since <= event <= until]:
            return max(inside)
    return None


def _clamp_future_ends(store: FeatureStore, group: FeatureGroup, until: datetime) -> None:
    """Take back what a command promised to have loaded beyond now; Feast would start from there.

    Raises
    ------
    ClockError
        If the online store does have rows beyond now: it was loaded by a later clock.
    """
    view = store.get_feature_view(group.name)
    if not any(end > until for _, end in view.materialization_intervals):
        return
    newest = latest(read_online(store, group)["event_timestamp"])
    if newest is not None and newest > until:
        raise ClockError(
            f"the online store has rows of {newest:%Y-%m-%d %H:%M:%S} UTC, and it is only "
            f"{until:%Y-%m-%d %H:%M:%S} UTC now (TVFEAST_NOW?): replay earlier days in a project "
            "of their own, or run `tvfeast rebuild`"
        )
    view.materialization_intervals = [
        (start, min(end, until)) for start, end in view.materialization_intervals if start <= until
    ]
    # Applied to a view that is there, Feast keeps the intervals that it has.
    store.registry.delete_feature_view(view.name, store.project, commit=False)
    store.registry.apply_feature_view(view, store.project, commit=True)


def _make_tables(store: FeatureStore) -> None:
    """Make the online tables that are missing; Feast makes them when it applies, never again."""
    store._get_provider().online_store.update(  # there is no public way
        config=store.config,
        tables_to_delete=[],
        tables_to_keep=store.list_feature_views(),
        entities_to_delete=[],
        entities_to_keep=store.list_entities(),
        partial=True,
    )


def _make_servable(store: FeatureStore) -> None:
    """Let views be read that a stock command left in the midst of loading.

    Their content is still true, but Feast refuses to serve a view whose last materialization
    failed or was killed.
    """
    from feast.feature_view import FeatureViewState

    stuck = (FeatureViewState.GENERATED, FeatureViewState.MATERIALIZING)
    for view in store.list_feature_views():
        if view.state in stuck and view.materialization_intervals:
            view.state = FeatureViewState.AVAILABLE_ONLINE
            store.registry.apply_feature_view(view, store.project, commit=True)
