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
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ingestion.base.errors import FeastRepositoryError, InputError
from ingestion.base.store_files import store_files
from ingestion.catalog import FeatureGroup
from ingestion.jobs.serve import stock_stores
from ingestion.lakehouse import list_parts
from ingestion.project import Project

if TYPE_CHECKING:
    import pyarrow as pa
    from feast import FeatureService, FeatureStore


def open_repository(project: Project, *, apply_if_missing: bool = False) -> FeatureStore:
    """Open the project's feature store.

    Parameters
    ----------
    apply_if_missing
        Register the definitions first where the registry does not hold all views yet.

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

        from ingestion.feast_objects import describe

        store = FeatureStore(repo_path=str(project.feast_repository))
        defined = describe(project)
        registered = _registered(store)
        views = {view.name for view in defined.views}
        if apply_if_missing and not views <= registered.keys():
            store.apply(defined.objects)
            registered = _registered(store)
        for expected in (*defined.views, *defined.services):
            _check(project, expected, registered.get(expected.name))
    if files.registry is not None:
        with contextlib.suppress(OSError):  # another owner's; Feast makes it readable for all
            files.registry.chmod(0o600)
    return store


def read_online(store: FeatureStore, group: FeatureGroup) -> pa.Table:
    """Return all rows of the online store: symbol, served columns, event and created timestamp.

    Raises
    ------
    FeastRepositoryError
        If the online store is another than this project's, which cannot list its rows.
    """
    online = store._get_provider().online_store  # there is no public way
    if not stock_stores.has_own_online_store(store):
        raise FeastRepositoryError(
            f"{type(online).__name__} cannot list its rows: this needs the online store "
            "ingestion.plugins.wide_sqlite.WideSqliteOnlineStore in feature_store.yaml"
        )
    return online.online_read_table(store.config, store.get_feature_view(group.name))


class Reference(NamedTuple):
    """A feature of a view."""

    view: str
    feature: str

    def __str__(self) -> str:
        return f"{self.view}:{self.feature}"


def references(service: FeatureService) -> list[Reference]:
    """Return a service's features, in the service's order."""
    return [
        Reference(projection.name_to_use(), feature.name)
        for projection in service.feature_view_projections
        for feature in projection.features
    ]


def require_data(project: Project, views: Iterable[str]) -> None:
    """Refuse to read views that have no file yet, which Feast's store answers with a traceback.

    Raises
    ------
    InputError
        If one of the groups has no part.
    """
    for group in project.catalog.groups:
        if group.name in views and not list_parts(project.lakehouse, group):
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
        If the registry or the online store cannot be read.
    """
    os.environ.setdefault("TQDM_DISABLE", "" if sys.stderr.isatty() else "1")
    # The registry's file type makes it doubt a setting that we want all the same.
    logging.getLogger("feast.repo_config").setLevel(logging.ERROR)
    logging.getLogger("feast.infra.offline_stores.file_source").setLevel(logging.ERROR)
    from google.protobuf.message import DecodeError

    files = store_files(project)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
            stock_stores.offline_errors(project),
        ):
            warnings.simplefilter("ignore")
            yield
    except sqlite3.DatabaseError as error:
        raise FeastRepositoryError(
            f"{files.online} cannot be read ({error}): run `tvfeast rebuild`"
        ) from error
    except DecodeError as error:
        raise FeastRepositoryError(
            f"{files.registry} cannot be read: run `tvfeast rebuild`"
        ) from error


def _registered(store: FeatureStore) -> dict[str, Any]:
    """Return the registered views and services by name; the two do not share names."""
    try:
        objects = (*store.list_feature_views(), *store.list_feature_services())
    except FileNotFoundError:
        return {}
    return {each.name: each for each in objects}


def _check(project: Project, expected: Any, registered: Any) -> None:
    """Refuse a registry that does not say what the definitions say."""
    remedy = f"run `feast apply` in {project.feast_repository}"
    if registered is None:
        raise FeastRepositoryError(
            f"{expected.name} is not registered with Feast: {remedy}, or `tvfeast rebuild` if "
            "the registry's file was lost"
        )
    if hasattr(expected, "batch_source"):
        path, wanted = registered.batch_source.path, expected.batch_source.path
        if path != wanted:
            raise FeastRepositoryError(
                f"the Feast registry reads {expected.name} from {path}, but the configured "
                f"lakehouse has it at {wanted}: {remedy}, or mend TVFEAST_LAKEHOUSE"
            )
    if _gist(registered) != _gist(expected):
        raise FeastRepositoryError(
            f"the definition of {expected.name} has changed since it was registered: {remedy}"
        )


def _gist(each: Any) -> object:
    """Return what must agree: a view's features and TTL, a service's references."""
    if hasattr(each, "feature_view_projections"):
        return references(each)
    return {feature.name: feature.dtype for feature in each.features}, each.ttl


def _use_utc() -> None:
    """Run this process in UTC.

    Feast's SQLite store and DuckDB's casts go through local time, which elsewhere shifts instants.
    """
    os.environ["TZ"] = "UTC"
    time.tzset()
