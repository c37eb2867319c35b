"""An online store for Feast in PostgreSQL, one row per entity: ``WidePostgresOnlineStore``.

In ``feature_store.yaml``, after ``pip install 'tvfeast[postgres]'``::

    online_store:
      type: ingestion.plugins.wide_postgres.WidePostgresOnlineStore
      conninfo: host=db dbname=features user=feast

It promises what :mod:`ingestion.plugins.wide_sqlite` does (``docs/design/online_store.md``).
"""

from __future__ import annotations

from typing import Literal

from feast import RepoConfig
from feast.repo_config import FeastConfigBaseModel
from pydantic import Field, StrictStr

from ingestion.plugins.online.opening import place_of
from ingestion.plugins.online.postgres_tables import PostgresPlace, PostgresTables
from ingestion.plugins.online.store import WideOnlineStore


class WidePostgresOnlineStoreConfig(FeastConfigBaseModel):
    """Configuration of :class:`WidePostgresOnlineStore`."""

    type: Literal["ingestion.plugins.wide_postgres.WidePostgresOnlineStore"] = (
        "ingestion.plugins.wide_postgres.WidePostgresOnlineStore"
    )

    conninfo: StrictStr = Field(PostgresPlace.conninfo, repr=False)
    """As libpq reads it. A password belongs in the environment (``PGPASSWORD``) or in
    ``~/.pgpass``; ``sslmode=verify-full`` asks for TLS."""

    db_schema: StrictStr = PostgresPlace.db_schema
    """The schema of the tables; made if it is missing."""

    timeout_s: float = PostgresPlace.timeout_s
    """How long a statement may take, or wait for others."""


class WidePostgresOnlineStore(WideOnlineStore):
    """Feast's online store with one row for each entity of a view; see the module.

    Examples
    --------
    >>> config = RepoConfig(
    ...     project="demo", provider="local", registry="registry.db",
    ...     online_store={
    ...         "type": "ingestion.plugins.wide_postgres.WidePostgresOnlineStore",
    ...         "conninfo": "host=db port=5432 dbname=features user=feast password=secret",
    ...     },
    ... )
    >>> WidePostgresOnlineStore().tables(config).place
    'postgresql://db:5432/features/wide'
    """

    def __init__(self) -> None:
        self._databases: dict[PostgresPlace, PostgresTables] = {}

    def tables(self, config: RepoConfig) -> PostgresTables:
        """Return the tables of the configured database and schema."""
        place = place_of(PostgresPlace, vars(config.online_store))
        if place not in self._databases:
            self._databases.setdefault(place, PostgresTables(place))
        return self._databases[place]
