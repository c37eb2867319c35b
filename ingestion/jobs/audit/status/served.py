"""What is served: registry and online store, and whether they agree with the load's receipt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from ingestion.base.errors import FeastRepositoryError
from ingestion.base.instants import to_micros
from ingestion.base.store_files import read_configuration, store_files
from ingestion.base.wording import counted
from ingestion.jobs.serve.feast_repository import own_tables
from ingestion.jobs.serve.loads import LastLoad
from ingestion.plugins.online.reading import table_name
from ingestion.plugins.online.rows import Window
from ingestion.project import Project


@dataclass(frozen=True)
class Load:
    """The last materialization."""

    run_id: str
    until: datetime
    age: timedelta
    rows: dict[str, int | None]
    """By view, the symbols that its own last load brought."""


@dataclass(frozen=True)
class ServedView:
    """What the online store has of one view."""

    view: str
    rows: int
    """Symbols with a row, valid or not."""
    valid: int
    """Those among them whose row is served: it is not past its time to live."""
    newest: datetime | None


@dataclass(frozen=True)
class StoreStatus:
    """Where features are served from."""

    registry: Path | None
    """None if it is no file."""
    has_registry: bool
    online: str | None
    """Its file or server; None if it is not this project's, which alone can be looked at."""
    has_online: bool
    views: tuple[ServedView, ...]
    """Those that have a table."""
    unreadable: str | None = None
    """Why nobody could look."""

    @property
    def is_unreadable(self) -> bool:
        """Whether there is an online store, and nobody can read it."""
        return self.has_online and self.unreadable is not None


def last_load(loads: Mapping[str, LastLoad], at: datetime) -> Load | None:
    """Return the newest of the groups' loads."""
    newest = max(loads.values(), key=lambda load: load.run_id, default=None)
    if newest is None:
        return None
    rows = {view: load.rows for view, load in loads.items()}
    return Load(newest.run_id, newest.until, at - newest.until, rows)


def look_at_stores(project: Project, at: datetime) -> StoreStatus:
    """Look at the registry's and the online store's file; without Feast, and making none."""
    try:
        registry, configuration = store_files(project).registry, read_configuration(project)
        tables = own_tables(project)
    except FeastRepositoryError as error:
        return StoreStatus(None, False, None, False, (), str(error))
    status = partial(
        StoreStatus,
        registry=registry,
        has_registry=registry is not None and registry.is_file() and registry.stat().st_size > 0,
        online=None if tables is None else tables.place,
    )
    if tables is None:
        return status(has_online=False, views=())
    groups = project.catalog.groups
    feast_project = str(configuration.get("project"))
    names = {group.name: table_name(feast_project, group.name) for group in groups}
    windows: dict[str, Window] = {
        names[group.name]: (to_micros(at - group.ttl), to_micros(at)) for group in groups
    }
    try:
        found = tables.look(windows)
    except FeastRepositoryError as error:
        return status(has_online=True, views=(), unreadable=str(error))
    views = tuple(
        ServedView(view, content.rows, content.inside, content.newest)
        for view, table in names.items()
        if (content := (found or {}).get(table)) is not None
    )
    return status(has_online=found is not None, views=views)


def store_problems(loads: Mapping[str, LastLoad], stores: StoreStatus) -> Iterator[str]:
    """Yield where the stores are not what the last loads left, each with what to do.

    A store that cannot be read is named without a load, too: a copied project has its file.
    """
    if stores.is_unreadable:
        yield f"{stores.unreadable}; run `tvfeast rebuild`"
        return
    if not loads:
        return
    if stores.unreadable:
        yield f"what is served could not be looked at: {stores.unreadable}; run `tvfeast rebuild`"
        return
    if stores.registry and not stores.has_registry:
        yield f"{stores.registry} is missing: run `tvfeast rebuild`"
    if stores.online is None:
        return
    if not stores.has_online:
        yield f"{stores.online} is missing, so nothing is served: run `tvfeast rebuild`"
        return
    views = {view.view: view for view in stores.views}
    for name, load in loads.items():
        there = views.get(name, ServedView(name, 0, 0, None))
        brought = f"and the load of run {load.run_id} brought"
        if load.rows and there.rows < load.rows:
            yield (
                f"{stores.online} has {counted(there.rows, 'row')} of {name}, {brought} "
                f"{load.rows:,}: run "
                "`tvfeast rebuild`"
            )
        elif load.newest and there.newest and there.newest < load.newest:
            yield (
                f"{stores.online} has {name} up to {there.newest:%Y-%m-%d %H:%M} UTC, {brought} "
                f"rows of {load.newest:%Y-%m-%d %H:%M} UTC: run `tvfeast rebuild`"
            )
