"""Opening the Feast repository. Importing this module does not import Feast; calling it does."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sqlite3
import sys
import time
import warnings
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingestion.base.errors import FeastRepositoryError, InputError
from ingestion.base.reading import reading_again
from ingestion.base.store_files import online_settings, read_configuration, store_files
from ingestion.catalog import FeatureGroup
from ingestion.jobs.serve.registered import Registered
from ingestion.lakehouse import list_parts, newest_part, read_part
from ingestion.plugins.online.opening import open_tables
from ingestion.plugins.online.rows import Tables
from ingestion.project import Project

if TYPE_CHECKING:
    import pyarrow as pa
    from feast import FeatureStore


def open_repository(
    project: Project, *, apply_if_missing: bool = False, views: Collection[str] | None = None
) -> FeatureStore:
    """Open the project's feature store.

    Parameters
    ----------
    views
        Those that are read; what the registry says of others does not matter. All if None.
    apply_if_missing
        Register the definitions first where the registry does not have all views yet.

    Raises
    ------
    FeastRepositoryError
        If there is no sound ``feature_store.yaml``, the registry cannot be read, or it describes
        other definitions or another lakehouse than the configured ones.
    """
    files = store_files(project)
    _use_utc()
    with feast_calls(project):
        from feast import FeatureStore

        store = FeatureStore(repo_path=str(project.feast_repository))
        registered = Registered.of(store)
        views = {group.name for group in project.catalog.groups}
        if apply_if_missing and not views <= registered.views.keys():
            from ingestion.feast_objects import describe

            store.apply(describe(project).objects)
            registered = Registered.of(store)
        registered.check(project, views)
    if files.registry is not None:
        with contextlib.suppress(OSError):  # another owner's; Feast makes it readable for all
            files.registry.chmod(0o600)
    return store


def check_registry(project: Project) -> None:
    """Check a registry that is there as :func:`open_repository` does, and add views that it lacks.

    Without Feast where it is a file and lacks none.

    Raises
    ------
    FeastRepositoryError
        As :func:`open_repository` does.
    """
    file = store_files(project).registry
    if file is None:
        open_repository(project, apply_if_missing=True)
    elif file.exists():
        registered = _read(project, file)
        if {group.name for group in project.catalog.groups} <= registered.views.keys():
            registered.check(project)
        else:
            open_repository(project, apply_if_missing=True)


def import_feast() -> None:
    """Import Feast, in a third of the time that it usually takes."""
    os.environ.setdefault("TQDM_DISABLE", "" if sys.stderr.isatty() else "1")
    # The registry's file type makes it doubt a setting that we want all the same.
    logging.getLogger("feast.repo_config").setLevel(logging.ERROR)
    logging.getLogger("feast.infra.offline_stores.file_source").setLevel(logging.ERROR)
    with without_type_checks():
        import feast  # noqa: F401


@contextlib.contextmanager
def without_type_checks() -> Iterator[None]:
    """Leave out the run-time checks of types that classes ask of typeguard when they are made.

    To make them takes two thirds of Feast's import; the type checker has seen our calls of Feast.
    Typeguard is a library of Feast's and not of this project: without it, or where it has no such
    decorator any more, nothing is left out.
    """
    try:
        import typeguard
    except ImportError:
        yield
        return
    own = vars(typeguard).get("typechecked")
    if own is None:
        yield
        return
    vars(typeguard)["typechecked"] = _unchecked
    try:
        yield
    finally:
        vars(typeguard)["typechecked"] = own


def _unchecked(target: Any = None, **_: Any) -> Any:
    """Take typeguard's place: a decorator with or without options, which changes nothing."""
    return _unchecked if target is None else target


def read_as_of(store: FeatureStore, known_at: datetime) -> None:
    """Let a feature store's historical retrievals read the lakehouse as it was at an instant.

    Raises
    ------
    FeastRepositoryError
        If the offline store is another than this project's, which cannot.
    """
    # Feast hands its configuration to the store, and nothing else that says as of when.
    if not hasattr(store.config.offline_store, "known_at"):
        raise FeastRepositoryError(
            "the configured offline store cannot read the lakehouse as it was: this needs "
            "ingestion.plugins.asof.AsofOfflineStore in feature_store.yaml"
        )
    store.config.offline_store.known_at = known_at


def has_own_online_store(store: FeatureStore) -> bool:
    """Return whether the online store is this project's."""
    return hasattr(store._get_provider().online_store, "online_read_table")


def read_online(store: FeatureStore, group: FeatureGroup) -> pa.Table:
    """Return all rows of the online store: symbol, served columns, event and created timestamp.

    Raises
    ------
    FeastRepositoryError
        If the online store is another than this project's, which cannot list its rows.
    """
    online = store._get_provider().online_store  # there is no public way
    if not has_own_online_store(store):
        raise FeastRepositoryError(
            f"{type(online).__name__} cannot list its rows: this needs the online store "
            "ingestion.plugins.wide_sqlite.WideSqliteOnlineStore in feature_store.yaml"
        )
    return online.online_read_table(store.config, store.get_feature_view(group.name))


def own_tables(project: Project) -> Tables | None:
    """Return the online store's tables, to be read without Feast; None if it is not this project's.

    Raises
    ------
    FeastRepositoryError
        If there is no sound ``feature_store.yaml``.
    """
    return open_tables(online_settings(project), project.feast_repository)


def own_stores(
    project: Project, views: Collection[str] | None = None
) -> tuple[Registered, Tables] | None:
    """Return what the registry says, and the online store's tables, without Feast.

    None if the registry is no file, or the store is not this project's: then it takes Feast.

    Parameters
    ----------
    views
        Those that are read, as of :func:`open_repository`.

    Raises
    ------
    FeastRepositoryError
        If there is no sound ``feature_store.yaml``, the registry cannot be read, or it describes
        other definitions or another lakehouse than the configured ones.
    """
    registry, tables = store_files(project).registry, own_tables(project)
    if registry is None or tables is None:
        return None
    registered = _read(project, registry)
    registered.check(project, views)
    return registered, tables


def feast_project(project: Project) -> str:
    """Return the name of the Feast project, of which a registry may have several."""
    return str(read_configuration(project).get("project"))


def require_data(project: Project, views: Iterable[str]) -> None:
    """Refuse to read views that have no file yet, which Feast's store answers with a traceback.

    Raises
    ------
    InputError
        If one of the groups has no part.
    """
    for group in project.catalog.groups:
        if group.name in views and newest_part(project.lakehouse, group) is None:
            raise InputError(f"{project.lakehouse} has no {group.name}: run `tvfeast flow-data`")


@contextlib.contextmanager
def feast_calls(project: Project) -> Iterator[None]:
    """Call Feast: its prints stay off stdout, and its stores' errors become ours.

    Its progress bars go to stderr and stay, on a terminal.

    Raises
    ------
    CorruptPart
        If a part of the lakehouse cannot be read.
    FeastRepositoryError
        If the registry or the online store cannot be read, or Feast's DuckDB store refuses.
    """
    from google.protobuf.message import DecodeError

    files = store_files(project)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import_feast()
            yield
    except sqlite3.DatabaseError as error:
        raise FeastRepositoryError(
            f"{files.online} cannot be read ({error}): run `tvfeast rebuild`"
        ) from error
    except DecodeError as error:
        raise _unreadable(files.registry) from error
    except Exception as error:
        sql = sys.modules.get("sqlalchemy.exc")  # Feast's registry in a database imports it
        if sql is not None and isinstance(error, sql.SQLAlchemyError):
            told = " ".join(str(getattr(error, "orig", None) or error).split())
            raise FeastRepositoryError(
                f"the registry's database did not do it ({told}): is its server running, is its "
                "address right, and may this user read and write?"
            ) from error
        duckdb = sys.modules.get("duckdb")  # Feast's own offline store alone imports it
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


def _read(project: Project, registry: Path) -> Registered:
    """Read the registry's file, which need not be there."""
    try:
        content = registry.read_bytes() if registry.exists() else b""
        return Registered.parse(content, feast_project(project))
    except (OSError, ValueError) as error:
        raise _unreadable(registry) from error


def _unreadable(registry: Path | None) -> FeastRepositoryError:
    return FeastRepositoryError(f"{registry} cannot be read: run `tvfeast rebuild`")


def _use_utc() -> None:
    """Run this process in UTC.

    Feast's SQLite store and DuckDB's casts go through local time, which elsewhere shifts instants.
    """
    os.environ["TZ"] = "UTC"
    time.tzset()
