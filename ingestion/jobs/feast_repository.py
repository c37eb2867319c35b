"""Opening the Feast repository. Importing this module does not import Feast; calling it does."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from feature_repo.catalog import GROUPS, FeatureGroup
from ingestion.errors import FeastRepositoryError, InputError
from ingestion.lakehouse import list_parts
from ingestion.settings import Settings

if TYPE_CHECKING:
    from feast import FeatureService, FeatureStore


def open_repository(settings: Settings, *, apply_if_missing: bool = False) -> FeatureStore:
    """Open the project's feature store.

    Parameters
    ----------
    apply_if_missing
        Register the definitions first where the registry does not hold them yet.

    Raises
    ------
    FeastRepositoryError
        If there is no ``feature_store.yaml``, nothing is registered, or the registered sources lie
        in another lakehouse than the configured one.
    """
    yaml = settings.feast_repository / "feature_store.yaml"
    if not yaml.is_file():
        raise FeastRepositoryError(f"{yaml} is missing; TVFEAST_PROJECT names the project's folder")
    _use_utc()
    with quiet():
        from feast import FeatureStore

        store = FeatureStore(repo_path=str(settings.feast_repository))
        registered = {view.name: view for view in _registered_views(store)}
        if apply_if_missing and any(group.name not in registered for group in GROUPS):
            from feature_repo.definitions import define

            store.apply(list(define(settings.lakehouse)))
            registered = {view.name: view for view in _registered_views(store)}
    for group in GROUPS:
        _check(settings, group, registered.get(group.name))
    return store


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


def require_data(settings: Settings, views: Iterable[str]) -> None:
    """Refuse to read views that have no file yet, which Feast's store answers with a traceback.

    Raises
    ------
    InputError
        If one of the groups has no part.
    """
    for group in GROUPS:
        if group.name in views and not list_parts(settings.lakehouse, group):
            raise InputError(f"{settings.lakehouse} holds no {group.name}: run `tvfeast flow-data`")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Feast's prints off stdout, which belongs to the command's own answer.

    Its progress bars go to stderr and stay, on a terminal.
    """
    os.environ.setdefault("TQDM_DISABLE", "" if sys.stderr.isatty() else "1")
    # The registry's file type makes it doubt a setting that we want all the same.
    logging.getLogger("feast.repo_config").setLevel(logging.ERROR)
    logging.getLogger("feast.infra.offline_stores.file_source").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _registered_views(store: FeatureStore) -> list[Any]:
    try:
        return list(store.list_feature_views())
    except FileNotFoundError:
        return []


def _check(settings: Settings, group: FeatureGroup, view: Any) -> None:
    remedy = f"run `feast apply` in {settings.feast_repository}"
    if view is None:
        raise FeastRepositoryError(f"{group.name} is not registered with Feast: {remedy}")
    expected = str(settings.lakehouse / group.storage)
    if view.batch_source.path != expected:
        raise FeastRepositoryError(
            f"the Feast registry reads {group.name} from {view.batch_source.path}, but the "
            f"configured lakehouse has it at {expected}: {remedy}, or mend TVFEAST_LAKEHOUSE"
        )


def _use_utc() -> None:
    """Run this process in UTC.

    Feast's SQLite store and DuckDB's casts go through local time, which elsewhere shifts instants.
    """
    os.environ["TZ"] = "UTC"
    time.tzset()
