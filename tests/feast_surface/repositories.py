"""Feast repositories for the tests of its surface: on Feast's own stores, and on ours."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.cli.cli import cli
from feast.types import FeastType, Float64, Int64, String

STORES = {
    "stock": {
        "registry": {"path": "registry.db"},
        "offline_store": {"type": "file"},
        "online_store": {"type": "sqlite", "path": "online.db"},
        "batch_engine": {"type": "local"},
    },
    "ours": {
        "registry": {
            "path": "registry.db",
            "registry_store_type": "ingestion.plugins.registry_file.WholeFileRegistryStore",
        },
        "offline_store": {"type": "ingestion.plugins.asof.AsofOfflineStore"},
        "online_store": {
            "type": "ingestion.plugins.wide_sqlite.WideSqliteOnlineStore",
            "path": "online.db",
        },
        "batch_engine": {"type": "ingestion.plugins.engine.ArrowComputeEngine"},
    },
}

MONDAY = datetime(2021, 4, 12, 21, 30, tzinfo=UTC)
DAY = timedelta(days=1)
SYMBOL = Entity(name="symbol", join_keys=["symbol"], value_type=ValueType.STRING)
PRICES: dict[str, FeastType] = {"price": Float64, "volume": Int64}


DEFINITIONS = """
from datetime import timedelta
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, String
symbol = Entity(name="symbol", join_keys=["symbol"], value_type=ValueType.STRING)
fields = [Field(name="symbol", dtype=String), Field(name="price", dtype=Float64)]
feed = FileSource(name="feed", path="feed.parquet", timestamp_field="event_timestamp")
prices = FeatureView(
    name="prices", entities=[symbol], ttl=timedelta(0), schema=fields, source=feed
)
"""


class Repository:
    """A Feast repository in a folder of its own.

    Parameters
    ----------
    kind
        ``stock`` or ``ours``.
    settings
        What ``feature_store.yaml`` says beside the stores; a setting of a store is added to it.
    """

    def __init__(self, kind: str, folder: Path, project: str = "shop", **settings: Any) -> None:
        self.kind = kind
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        said: dict[str, Any] = {
            "project": project,
            "provider": "local",
            "entity_key_serialization_version": 3,
            **STORES[kind],
        }
        for name, value in settings.items():
            said[name] = said[name] | value if name in STORES[kind] else value
        (folder / "feature_store.yaml").write_text(yaml.safe_dump(said))

    @cached_property
    def store(self) -> FeatureStore:
        """The repository, opened; the same each time."""
        return FeatureStore(repo_path=str(self.folder))

    def opened(self) -> FeatureStore:
        """Open it anew, as another process would."""
        return FeatureStore(repo_path=str(self.folder))

    def run(self, *command: str) -> str:
        """Run ``feast …`` in the repository, and return what it prints.

        Raises
        ------
        Exception
            Whatever the command raises.
        """
        result = CliRunner().invoke(cli, ["--chdir", str(self.folder), *command])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return str(result.output)

    def file(self, name: str, **columns: Sequence[Any] | pa.Array) -> FileSource:
        """Write a Parquet file, and return it as a source.

        Columns without a type in Arrow get the one that Arrow finds; an event time is needed.
        """
        path = self.folder / f"{name}.parquet"
        pq.write_table(pa.table(columns), path)
        return FileSource(
            name=name,
            path=str(path),
            timestamp_field="event_timestamp",
            created_timestamp_column="created" if "created" in columns else "",
        )


def instants(*values: datetime | None) -> pa.Array:
    """Return a column of instants."""
    return pa.array(values, pa.timestamp("us", "UTC"))


def price_view(source: Any, name: str = "prices", **how: Any) -> FeatureView:
    """Describe a view of price and volume by symbol, whose rows never expire."""
    fields = [Field(name=n, dtype=t) for n, t in {"symbol": String, **PRICES}.items()]
    how = {"entities": [SYMBOL], "ttl": timedelta(0), "schema": fields} | how
    return FeatureView(name=name, source=source, **how)


def price_file(repository: Repository, name: str = "feed") -> FileSource:
    """Write prices of A and B on Monday, and of A a day later."""
    return repository.file(
        name,
        symbol=["A", "B", "A"],
        event_timestamp=instants(MONDAY, MONDAY, MONDAY + DAY),
        price=[1.5, 2.5, 3.5],
        volume=[10, 20, 30],
    )


def served(store: FeatureStore, *symbols: str, features: Any = ("prices:price",)) -> Any:
    """Return what is served of symbols, by feature."""
    asked = list(features) if isinstance(features, tuple) else features
    answer = store.get_online_features(asked, [{"symbol": each} for each in symbols]).to_dict()
    del answer["symbol"]
    return answer


def define(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the file that ``feast apply`` reads: a view ``prices`` over :func:`price_file`."""
    module = f"definitions_of_{repository.folder.name}"  # Feast imports it by this name
    (repository.folder / f"{module}.py").write_text(DEFINITIONS)
    price_file(repository)
    monkeypatch.chdir(repository.folder)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, module)
