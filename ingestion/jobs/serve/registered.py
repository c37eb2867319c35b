"""Whether Feast's registry says what the catalog says, read without Feast.

The registry is a protobuf message. A few of its fields are decoded here, so that a command that
only reads does not wait seconds for the import of Feast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from ingestion.base.errors import FeastRepositoryError
from ingestion.catalog import Catalog, Dtype, FeatureGroup, Service
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
_NUMBERS = {"STRING": 2, "INT64": 4, "DOUBLE": 5, "BOOL": 7, "UNIX_TIMESTAMP": 8}
_UNSERVED = {1: "CREATED", 2: "GENERATED"}
"""States in which Feast does not serve a view."""

Fields = dict[int, list[Any]]


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
        registry = _fields(message)
        views, services = {}, {}
        for each in registry.get(6, []):
            parts = _fields(each)
            spec, meta = _fields(_one(parts, 1, b"")), _fields(_one(parts, 2, b""))
            if _text(spec, 2) == feast_project:
                views[_text(spec, 1)] = _view(spec, meta)
        for each in registry.get(7, []):
            spec = _fields(_one(_fields(each), 1, b""))
            if _text(spec, 2) == feast_project:
                services[_text(spec, 1)] = [
                    Reference(_text(view, 3) or _text(view, 1), _text(_fields(feature), 1))
                    for view in map(_fields, spec.get(3, []))
                    for feature in view.get(2, [])
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

    def check(self, project: Project) -> None:
        """Compare it with the project's catalog and lakehouse.

        Raises
        ------
        FeastRepositoryError
            If something is missing, or is another than what is declared.
        """
        for group in project.catalog.groups:
            self._check_view(project, group)
        for service in project.catalog.services:
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
        features = {each.name: _NUMBERS[VALUE_TYPES[each.dtype]] for each in group.served}
        if (view.features, view.ttl) != (features, group.ttl):
            raise _changed(project, group.name)


def references(catalog: Catalog, service: Service) -> list[Reference]:
    """Return a service's features, in the service's order."""
    return [
        Reference(name, column.name)
        for name in service.groups
        for column in catalog.columns_of(service, catalog.group(name))
    ]


def _view(spec: Fields, meta: Fields) -> View:
    source = _fields(_one(spec, 7, b""))
    ttl = _fields(_one(spec, 6, b""))
    columns = map(_fields, spec.get(4, []))
    return View(
        path=_text(_fields(_one(source, 11, b"")), 2),
        features={_text(column, 1): _one(column, 2, 0) for column in columns},
        ttl=timedelta(seconds=_one(ttl, 1, 0), microseconds=_one(ttl, 2, 0) // 1_000),
        is_enabled=not _one(spec, 20, 0),
        unserved_state=_UNSERVED.get(_one(meta, 6, 0)),
    )


def _remedy(project: Project) -> str:
    return f"run `feast apply` in {project.feast_repository}"


def _missing(project: Project, name: str) -> FeastRepositoryError:
    return FeastRepositoryError(
        f"{name} is not registered with Feast: {_remedy(project)}, or `tvfeast rebuild` if the "
        "registry's file was lost"
    )


def _changed(project: Project, name: str) -> FeastRepositoryError:
    return FeastRepositoryError(
        f"the definition of {name} has changed since it was registered: {_remedy(project)}"
    )


def _fields(message: bytes) -> Fields:
    """Decode one level of a protobuf message: by field number, the values in their order."""
    found: Fields = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, at = _varint(message, at)
        else:
            size = {1: 8, 5: 4}.get(kind, 0)
            if kind == 2:
                size, at = _varint(message, at)
            elif not size:
                raise ValueError(f"no field of a message is of the kind {kind}")
            value, at = message[at : at + size], at + size
        if at > len(message):
            raise ValueError("the message ends inside a field")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for byte in message[at : at + 10]:
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("the message ends inside a number")


def _one(fields: Fields, number: int, default: Any) -> Any:
    """Return a field's last value, as protobuf reads one that is repeated."""
    return fields.get(number, [default])[-1]


def _text(fields: Fields, number: int) -> str:
    return bytes(_one(fields, number, b"")).decode()
