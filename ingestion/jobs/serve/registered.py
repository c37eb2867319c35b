"""Whether Feast's registry says what the catalog says, read without Feast.

So a command that only reads does not wait seconds for the import of Feast.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from ingestion.base.errors import FeastRepositoryError
from ingestion.catalog import Catalog, Dtype, FeatureGroup, Service
from ingestion.jobs.serve import registry_message
from ingestion.jobs.serve.registry_message import Message, decode, one, part, text
from ingestion.project import Project

if TYPE_CHECKING:
    from feast import FeatureStore

VALUE_TYPES = {
    Dtype.STRING: "STRING",
    Dtype.INT64: "INT64",
    Dtype.DOUBLE: "DOUBLE",
    Dtype.BOOL: "BOOL",
    Dtype.TIMESTAMP: "UNIX_TIMESTAMP",
}
"""The names of Feast's value types."""
_STATES = {number: name for name, number in registry_message.UNSERVED_STATES.items()}


class Reference(NamedTuple):
    """A feature of a view."""

    view: str
    feature: str

    def __str__(self) -> str:
        return f"{self.view}:{self.feature}"


@dataclass(frozen=True)
class View:
    """What the registry says of a view."""

    path: str
    features: dict[str, int]
    """By name, the number of its value type."""
    ttl: timedelta
    is_enabled: bool
    unserved_state: str | None
    """The state for which Feast does not serve it; None if it does."""


@dataclass(frozen=True)
class Registered:
    """The views and services of a Feast project; the two do not share names."""

    views: dict[str, View]
    services: dict[str, list[Reference]]

    @classmethod
    def parse(cls, message: bytes, feast_project: str) -> Registered:
        """Read a registry.

        Raises
        ------
        ValueError
            If the bytes are no message.
        """
        registry = decode("feast.core.Registry", message)
        views, services = {}, {}
        for each in registry.get("feature_views", []):
            view = decode("feast.core.FeatureView", each)
            spec = part(view, "spec", "feast.core.FeatureViewSpec")
            if text(spec, "project") == feast_project:
                meta = part(view, "meta", "feast.core.FeatureViewMeta")
                views[text(spec, "name")] = _view(spec, meta)
        for each in registry.get("feature_services", []):
            service = decode("feast.core.FeatureService", each)
            spec = part(service, "spec", "feast.core.FeatureServiceSpec")
            if text(spec, "project") == feast_project:
                services[text(spec, "name")] = [
                    reference
                    for projection in spec.get("features", [])
                    for reference in _projected(projection)
                ]
        return cls(views, services)

    @classmethod
    def of(cls, store: FeatureStore) -> Registered:
        """Read the registry of a store that is open, of whatever kind it is."""
        try:
            message = store.registry.proto().SerializeToString()
        except FileNotFoundError:
            message = b""
        return cls.parse(message, store.project)

    def check(self, project: Project, views: Collection[str] | None = None) -> None:
        """Compare it with the project's catalog and lakehouse.

        Parameters
        ----------
        views
            Those that are read; all if None. Services of other views are not compared either.

        Raises
        ------
        FeastRepositoryError
            If something is missing, or is another than what is declared.
        """
        for group in project.catalog.groups:
            if views is None or group.name in views:
                self._check_view(project, group)
        for service in project.catalog.services:
            if views is not None and not {*service.groups} <= {*views}:
                continue
            registered = self.services.get(service.name)
            if registered is None:
                raise _missing(project, service.name)
            if registered != references(project.catalog, service):
                raise _changed(project, service.name)

    def check_servable(self, project: Project, views: Sequence[str]) -> None:
        """Compare the states of views with those in which Feast serves them.

        Raises
        ------
        FeastRepositoryError
            If a view is disabled, or its last materialization by Feast's own command failed.
        """
        for name in dict.fromkeys(views):
            view = self.views[name]
            if not view.is_enabled:
                raise FeastRepositoryError(
                    f"{name} is disabled: run `feast feature-views enable {name}` in "
                    f"{project.feast_repository}"
                )
            if view.unserved_state:
                raise FeastRepositoryError(
                    f"Feast does not serve {name} in the state {view.unserved_state}, where a "
                    "failed or killed `feast materialize` leaves it: run `tvfeast materialize`"
                )

    def _check_view(self, project: Project, group: FeatureGroup) -> None:
        view = self.views.get(group.name)
        if view is None:
            raise _missing(project, group.name)
        wanted = project.lakehouse.location(group.storage)
        if view.path != wanted:
            raise FeastRepositoryError(
                f"the Feast registry reads {group.name} from {view.path}, but the configured "
                f"lakehouse has it at {wanted}: {_remedy(project)}, or correct TVFEAST_LAKEHOUSE"
            )
        features = {
            each.name: registry_message.VALUE_TYPES[VALUE_TYPES[each.dtype]]
            for each in group.served
        }
        if (view.features, view.ttl) != (features, group.ttl):
            raise _changed(project, group.name)


def references(catalog: Catalog, service: Service) -> list[Reference]:
    """Return a service's features, in the service's order."""
    return [
        Reference(name, column.name)
        for name in service.groups
        for column in catalog.columns_of(service, catalog.group(name))
    ]


def _view(spec: Message, meta: Message) -> View:
    source = part(spec, "batch_source", "feast.core.DataSource")
    file = part(source, "file_options", "feast.core.DataSource.FileOptions")
    ttl = part(spec, "ttl", "google.protobuf.Duration")
    columns = [decode("feast.core.FeatureSpecV2", each) for each in spec.get("features", [])]
    return View(
        path=text(file, "uri"),
        features={text(each, "name"): one(each, "value_type", 0) for each in columns},
        ttl=timedelta(seconds=one(ttl, "seconds", 0), microseconds=one(ttl, "nanos", 0) // 1_000),
        is_enabled=not one(spec, "disabled", 0),
        unserved_state=_STATES.get(one(meta, "state", 0)),
    )


def _projected(projection: bytes) -> Iterator[Reference]:
    """Yield the features that a service takes of a view, under the name that it gives the view."""
    found = decode("feast.core.FeatureViewProjection", projection)
    view = text(found, "feature_view_name_alias") or text(found, "feature_view_name")
    for each in found.get("feature_columns", []):
        yield Reference(view, text(decode("feast.core.FeatureSpecV2", each), "name"))


def _remedy(project: Project) -> str:
    return f"run `feast apply` in {project.feast_repository}"


def _missing(project: Project, name: str) -> FeastRepositoryError:
    return FeastRepositoryError(
        f"{name} is not registered with Feast: the next `tvfeast flow-data` does that, and loads "
        f"it. To do it now, {_remedy(project)}; if the registry's file was lost, `tvfeast rebuild`"
    )


def _changed(project: Project, name: str) -> FeastRepositoryError:
    return FeastRepositoryError(
        f"the definition of {name} has changed since it was registered: {_remedy(project)}"
    )
