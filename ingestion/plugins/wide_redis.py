"""An online store for Feast in Redis or Valkey, one row per entity: ``WideRedisOnlineStore``.

In ``feature_store.yaml``, after ``pip install 'tvfeast[redis]'``::

    online_store:
      type: ingestion.plugins.wide_redis.WideRedisOnlineStore
      url: ${REDIS_URL}

It promises what :mod:`ingestion.plugins.wide_sqlite` does (``docs/design/online_store.md``).
"""

from __future__ import annotations

from typing import Literal

from feast import RepoConfig
from feast.repo_config import FeastConfigBaseModel
from pydantic import Field, StrictBool, StrictStr

from ingestion.plugins.online.opening import place_of
from ingestion.plugins.online.redis_tables import RedisPlace, RedisTables
from ingestion.plugins.online.store import WideOnlineStore


class WideRedisOnlineStoreConfig(FeastConfigBaseModel):
    """Configuration of :class:`WideRedisOnlineStore`."""

    type: Literal["ingestion.plugins.wide_redis.WideRedisOnlineStore"] = (
        "ingestion.plugins.wide_redis.WideRedisOnlineStore"
    )

    url: StrictStr = Field(RedisPlace.url, repr=False)
    """``redis://``, ``rediss://`` for TLS, or ``unix://``. One with a password belongs in the
    environment: ``${REDIS_URL}``."""

    prefix: StrictStr = RedisPlace.prefix
    """Distinguishes these rows from those of another repository on the same server."""

    cluster: StrictBool = RedisPlace.cluster
    """Whether the server is one of a cluster. All rows of a prefix are in one slot of it, and so
    on one server: a request sees all of its views at one instant."""

    timeout_s: float = RedisPlace.timeout_s
    """How long an answer may take."""


class WideRedisOnlineStore(WideOnlineStore):
    """Feast's online store with one row for each entity of a view; see the module.

    Examples
    --------
    >>> config = RepoConfig(
    ...     project="demo", provider="local", registry="registry.db",
    ...     online_store={
    ...         "type": "ingestion.plugins.wide_redis.WideRedisOnlineStore",
    ...         "url": "redis://user:secret@cache:6379/0",
    ...     },
    ... )
    >>> WideRedisOnlineStore().tables(config).place
    'redis://cache:6379/0'
    """

    def __init__(self) -> None:
        self._servers: dict[RedisPlace, RedisTables] = {}

    def tables(self, config: RepoConfig) -> RedisTables:
        """Return the tables of the configured server and prefix."""
        place = place_of(RedisPlace, vars(config.online_store))
        if place not in self._servers:
            self._servers.setdefault(place, RedisTables(place))
        return self._servers[place]
