"""The tables of an online store of this project, from ``feature_store.yaml``, without Feast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from ingestion.base.store_files import FEAST_DEFAULTS
from ingestion.plugins.online.rows import Tables
from ingestion.plugins.online.sqlite import SqliteTables

Place = TypeVar("Place")


def open_tables(online_store: Mapping[str, Any], repository: Path) -> Tables | None:
    """Return the tables that the settings of an online store name; None if they are not ours.

    Nothing is opened, made or asked yet.

    Parameters
    ----------
    online_store
        The settings below ``online_store:``.
    repository
        The folder of ``feature_store.yaml``, from which paths count.

    Examples
    --------
    >>> open_tables({"type": "redis"}, Path("feature_repo")) is None
    True
    """
    kind = str(online_store.get("type")).rpartition(".")[2]
    if kind == "WideSqliteOnlineStore":
        path = str(online_store.get("path") or FEAST_DEFAULTS["online_store"])
        return SqliteTables((repository / path).resolve())
    if kind == "WideRedisOnlineStore":
        from ingestion.plugins.online.redis_tables import RedisPlace, RedisTables

        return RedisTables(place_of(RedisPlace, online_store))
    if kind == "WidePostgresOnlineStore":
        from ingestion.plugins.online.postgres_tables import PostgresPlace, PostgresTables

        return PostgresTables(place_of(PostgresPlace, online_store))
    return None


def place_of(kind: type[Place], settings: Mapping[str, Any]) -> Place:
    """Return a place on a server; what the settings do not name is as its class has it."""
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: settings[name] for name in names if name in settings})
