"""Where Feast's registry and online store are, read from ``feature_store.yaml`` without Feast."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ingestion.base.errors import FeastRepositoryError
from ingestion.base.settings import Settings

FEAST_DEFAULTS = {"registry": "data/registry.db", "online_store": "data/online.db"}
"""Below the repository, where the YAML names no path."""


class StoreFiles(NamedTuple):
    """The two files; None for one that is no file, such as a registry in a SQL database."""

    registry: Path | None
    online: Path | None


def store_files(settings: Settings) -> StoreFiles:
    """Return where registry and online store are; the files need not exist yet.

    Raises
    ------
    FeastRepositoryError
        If ``feature_store.yaml`` is missing or cannot be read.

    Examples
    --------
    >>> store_files(Settings.from_environment()).online.name
    'online.db'
    """
    configuration = read_configuration(settings)
    registry, online = (_section(configuration, name) for name in FEAST_DEFAULTS)
    is_file = registry.get("registry_type", "file") == "file"
    # As Feast knows SQLite's stores, its own and those by class path, from the others.
    is_sqlite = str(online["type"]).lower().endswith(("sqlite", "sqliteonlinestore"))
    return StoreFiles(
        registry=_file(settings, registry, "registry") if is_file else None,
        online=_file(settings, online, "online_store") if is_sqlite else None,
    )


def online_settings(settings: Settings) -> dict[str, Any]:
    """Return what ``feature_store.yaml`` says below ``online_store:``, with its type.

    Raises
    ------
    FeastRepositoryError
        If it is missing or cannot be read.
    """
    return _section(read_configuration(settings), "online_store")


def read_configuration(settings: Settings) -> dict[str, Any]:
    """Return the content of ``feature_store.yaml``, with variables put in as Feast does.

    Raises
    ------
    FeastRepositoryError
        If it is missing or cannot be read.
    """
    import yaml

    path = settings.feast_repository / "feature_store.yaml"
    try:
        content = _parsed(os.path.expandvars(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise FeastRepositoryError(
            f"{path} is missing; TVFEAST_PROJECT, or the working folder, says which project it is"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FeastRepositoryError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise FeastRepositoryError(f"{path} is no mapping of settings, such as `provider: local`")
    return content


@lru_cache(maxsize=4)
def _parsed(text: str) -> Any:
    """Return what a YAML text contains; a command asks for it several times."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, loader)  # noqa: S506 - both loaders are safe


def with_files(configuration: dict[str, Any], registry: Path, online: Path) -> dict[str, Any]:
    """Return the same settings with the two files in other places, given as absolute paths."""
    places = {"registry": registry, "online_store": online}
    return configuration | {
        name: _section(configuration, name) | {"path": str(path)} for name, path in places.items()
    }


def _section(configuration: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the settings of one store; text is a registry's path, or the type of a store."""
    section = configuration.get(name) or {}
    if isinstance(section, str):
        return {"path": section} if name == "registry" else {"type": section}
    if not isinstance(section, dict):
        raise FeastRepositoryError(f"feature_store.yaml: {name} is no mapping of settings")
    return section if name == "registry" else {"type": "sqlite"} | section


def _file(settings: Settings, section: dict[str, Any], name: str) -> Path | None:
    """Return a path as Feast reads it, relative to the repository; None for ``s3://`` and such."""
    path = str(section.get("path") or FEAST_DEFAULTS[name])
    return None if "://" in path else (settings.feast_repository / path).resolve()
