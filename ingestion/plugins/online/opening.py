"""The tables of an online store of this project, from ``feature_store.yaml``, without Feast."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ingestion.plugins.online.rows import Tables
from ingestion.plugins.online.sqlite import SqliteTables

_POSTGRES = ("conninfo", "db_schema", "timeout_s")
_REDIS = ("url", "prefix", "cluster", "timeout_s")


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
        return SqliteTables(
            (repository / str(online_store.get("path") or "data/online.db")).resolve()
        )
    if kind == "WideRedisOnlineStore":
        from ingestion.plugins.online.redis_tables import RedisTables

        settings = {name: online_store[name] for name in _REDIS if name in online_store}
        return RedisTables(**{"url": "redis://localhost:6379/0"} | settings)
    if kind == "WidePostgresOnlineStore":
        from ingestion.plugins.online.postgres_tables import PostgresTables

        settings = {name: online_store[name] for name in _POSTGRES if name in online_store}
        return PostgresTables(**{"conninfo": ""} | settings)
    return None
