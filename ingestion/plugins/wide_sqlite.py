"""An online store for Feast in one SQLite file, one row per entity: ``WideSqliteOnlineStore``.

In ``feature_store.yaml``::

    online_store:
      type: ingestion.plugins.wide_sqlite.WideSqliteOnlineStore
      path: ../data/online.db

``docs/design/online_store.md`` says what it promises and what it costs. The parts are in
``ingestion/plugins/online/``, whose docstring lists them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from feast import RepoConfig
from feast.repo_config import FeastConfigBaseModel
from pydantic import StrictStr

from ingestion.base.store_files import FEAST_DEFAULTS
from ingestion.plugins.online.sqlite import SqliteTables
from ingestion.plugins.online.store import WideOnlineStore


class WideSqliteOnlineStoreConfig(FeastConfigBaseModel):
    """Configuration of :class:`WideSqliteOnlineStore`."""

    type: Literal[
        "ingestion.plugins.wide_sqlite.WideSqliteOnlineStore",
        "feature_repo.stores.wide_sqlite.WideSqliteOnlineStore",  # the former path
    ] = "ingestion.plugins.wide_sqlite.WideSqliteOnlineStore"

    path: StrictStr = FEAST_DEFAULTS["online_store"]
    """The file; a relative path is relative to the repository."""


class WideSqliteOnlineStore(WideOnlineStore):
    """Feast's online store with one row for each entity of a view; see the module.

    Examples
    --------
    >>> import tempfile
    >>> from datetime import datetime
    >>> import pyarrow as pa
    >>> from feast import Entity, FeatureView, Field, FileSource, ValueType
    >>> from feast.types import Float64, String
    >>> view = FeatureView(
    ...     name="daily",
    ...     entities=[Entity(name="symbol", value_type=ValueType.STRING)],
    ...     schema=[Field(name="symbol", dtype=String), Field(name="RSI", dtype=Float64)],
    ...     source=FileSource(path="daily.parquet", timestamp_field="event_timestamp"),
    ... )
    >>> rows = pa.table({"symbol": ["AAPL"] * 2, "RSI": [40.0, 60.0],
    ...     "event_timestamp": [datetime(2026, 1, 15, 21), datetime(2026, 1, 16, 21)]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     config = RepoConfig(
    ...         project="demo", provider="local", registry="registry.db", repo_path=folder,
    ...         online_store={"type": "ingestion.plugins.wide_sqlite.WideSqliteOnlineStore"},
    ...         entity_key_serialization_version=3,
    ...     )
    ...     store = WideSqliteOnlineStore()
    ...     changed = store.online_write_table(config, view, rows)
    ...     stored = store.online_read_table(config, view)
    >>> stored["symbol"].to_pylist(), stored["RSI"].to_pylist()
    (['AAPL'], [60.0])
    """

    def __init__(self) -> None:
        self._files: dict[tuple[Path | None, str], SqliteTables] = {}

    def tables(self, config: RepoConfig) -> SqliteTables:
        """Return the tables of the configured file."""
        place = (config.repo_path, config.online_store.path)
        if place not in self._files:
            path = Path(*(each for each in place if each is not None))  # absolute: as it is
            self._files.setdefault(place, SqliteTables(path))
        return self._files[place]
