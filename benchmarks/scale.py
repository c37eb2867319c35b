"""The online stores on servers beside the one in a file and Feast's own: ``make bench-scale``.

Redis and PostgreSQL run on loopback, each for our store and for Feast's. All stores load the same
two views (14 + 17 doubles) and answer the same reads, in turn, in one process; medians count.
Imports and the first connection are left out on all sides, and all answers must be the same.
Feast's stores take most of the time: of three turns or more they have one fewer, and one read in
each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.feast_data import OURS, event, symbols, write_panel
from tests.stores.online_servers import PostgresServer, RedisServer, free_port, short_folder

if TYPE_CHECKING:
    from feast import FeatureStore

_VIEWS = {"a": 14, "b": 17}
_DAYS = 3
_NOW = event(_DAYS - 1) + timedelta(hours=1)
_FILE, _REDIS, _POSTGRES = "wide, SQLite", "wide, Redis", "wide, PostgreSQL"
_OWN = {_REDIS: "Feast's, Redis", _POSTGRES: "Feast's, PostgreSQL"}
_READ, _TWO, _ONE, _LOAD = "read × 14", "read × 28, two views", "read 1 × 14", "materialize × 31"


class Goal(NamedTuple):
    """A ratio of medians: the first store's to the other's, at most or at least so much."""

    what: str
    who: str
    other: str
    limit: float
    at_most: bool

    def told(self, medians: dict[str, dict[str, float]]) -> str:
        """Say the ratio, and whether the goal is met."""
        mine, others = medians[self.what][self.who], medians[self.what][self.other]
        ratio = mine / others if self.at_most else others / mine
        met = ratio <= self.limit if self.at_most else ratio >= self.limit
        how = f"{ratio:.2f} × the time of" if self.at_most else f"{ratio:.1f} × faster than"
        goal = f"{'≤' if self.at_most else '≥'} {self.limit:g}"
        return (
            f"{self.what}: {self.who} is {how} {self.other} ({goal}: {'met' if met else 'MISSED'})"
        )


_GOALS = (
    Goal(_READ, _REDIS, _FILE, 1.5, at_most=True),
    Goal(_READ, _POSTGRES, _FILE, 2.5, at_most=True),
    Goal(_READ, _REDIS, _OWN[_REDIS], 20, at_most=False),
    Goal(_READ, _POSTGRES, _OWN[_POSTGRES], 15, at_most=False),
    Goal(_LOAD, _REDIS, _OWN[_REDIS], 8, at_most=False),
    Goal(_LOAD, _POSTGRES, _OWN[_POSTGRES], 8, at_most=False),
)


class Store:
    """A repository on one of the stores, and how its rows are deleted."""

    def __init__(self, folder: Path, online: dict[str, Any], empty: Callable[[], None]) -> None:
        self._folder, self._empty = folder, empty
        folder.mkdir()
        engine = OURS["batch_engine"] if "ingestion" in online["type"] else "local"
        settings = {
            "project": "bench",
            "provider": "local",
            "entity_key_serialization_version": 3,
            "registry": {"path": str(folder / "registry.db"), "cache_ttl_seconds": 3600},
            "online_store": online,
            "offline_store": {"type": OURS["offline_store"]},
            "batch_engine": {"type": engine},
        }
        (folder / "feature_store.yaml").write_text(json.dumps(settings))  # JSON is YAML

    def emptied(self, panels: Path) -> FeatureStore:
        """Return it without rows, and with the views registered and their tables made."""
        from feast import FeatureStore

        self._empty()
        (self._folder / "registry.db").unlink(missing_ok=True)
        store = FeatureStore(repo_path=str(self._folder))
        store.apply(_objects(panels))
        return store


def _objects(panels: Path) -> list[Any]:
    from feast import Entity, FeatureView, Field, FileSource, ValueType
    from feast.data_format import ParquetFormat
    from feast.types import Float64, String

    symbol = Entity(name="symbol", join_keys=["symbol"], value_type=ValueType.STRING)
    objects: list[Any] = [symbol]
    for name, count in _VIEWS.items():
        source = FileSource(
            name=name,
            path=str(panels / name),
            file_format=ParquetFormat(),
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
        )
        fields = [Field(name="symbol", dtype=String)]
        fields += [Field(name=feature, dtype=Float64) for feature in _features(count)]
        objects.append(
            FeatureView(
                name=name, entities=[symbol], ttl=timedelta(days=4), schema=fields, source=source
            )
        )
    return objects


def _features(count: int) -> tuple[str, ...]:
    return tuple(f"f{number:02}" for number in range(count))


def _stores(root: Path, redis: RedisServer, postgres: PostgresServer) -> dict[str, Store]:
    import psycopg
    from redis import Redis

    def drop(schema: str) -> Callable[[], None]:
        def empty() -> None:
            with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
                connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')

        return empty

    def flush(number: int) -> Callable[[], None]:
        return lambda: Redis(port=redis.port, db=number).flushdb()

    def delete() -> None:
        for each in root.glob("online.db*"):
            each.unlink()

    wide = "ingestion.plugins.wide_"
    file = {"type": f"{wide}sqlite.WideSqliteOnlineStore", "path": str(root / "online.db")}
    at_redis = {
        "type": f"{wide}redis.WideRedisOnlineStore",
        "url": f"redis://127.0.0.1:{redis.port}/0",
    }
    at_postgres = {
        "type": f"{wide}postgres.WidePostgresOnlineStore",
        "conninfo": f"host=127.0.0.1 port={postgres.port} dbname=postgres user=feast",
    }
    own_redis = {"type": "redis", "connection_string": f"127.0.0.1:{redis.port},db=1"}
    own_postgres = {
        "type": "postgres", "host": "127.0.0.1", "port": postgres.port, "database": "postgres",
        "db_schema": "stock", "user": "feast", "password": "none", "sslmode": "disable",
    }  # fmt: skip
    return {
        _FILE: Store(root / "file", file, delete),
        _REDIS: Store(root / "redis", at_redis, flush(0)),
        _POSTGRES: Store(root / "postgres", at_postgres, drop("wide")),
        _OWN[_REDIS]: Store(root / "own-redis", own_redis, flush(1)),
        _OWN[_POSTGRES]: Store(root / "own-postgres", own_postgres, drop("stock")),
    }


def measure(
    stores: dict[str, Store], panels: Path, count: int, repeat: int, reads: int
) -> dict[str, dict[str, float]]:
    """Return the median seconds of each case, by what was measured and by store.

    Raises
    ------
    SystemExit
        If two stores answer differently.
    """
    taken: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    keys = symbols(count)
    fourteen = [f"a:{name}" for name in _features(14)]
    both = fourteen + [f"b:{name}" for name in _features(14)]
    for turn in range(repeat):
        answers: dict[str, Any] = {}
        for who, each in stores.items():
            is_own = who in _OWN.values()
            if is_own and turn == repeat - 1 > 1:
                continue
            store = each.emptied(panels)
            store.get_online_features(fourteen, {"symbol": keys[:1]}).to_df()  # it is connected
            began = time.perf_counter()
            store.materialize(event(0) - timedelta(days=1), _NOW)
            if turn or repeat == 1:  # the first brings modules and memory
                taken[_LOAD][who].append(time.perf_counter() - began)

            def read(names: list[str], some: list[str], store: FeatureStore = store) -> Any:
                return store.get_online_features(names, {"symbol": some}, full_feature_names=True)

            read(fourteen, keys).to_df()
            for _ in range(1 if is_own else reads):
                began = time.perf_counter()
                frame = read(fourteen, keys).to_df()
                taken[_READ][who].append(time.perf_counter() - began)
                began = time.perf_counter()
                two = read(both, keys).to_df()
                taken[_TWO][who].append(time.perf_counter() - began)
            for key in keys[:300]:
                began = time.perf_counter()
                read(fourteen, [key]).to_dict()
                taken[_ONE][who].append(time.perf_counter() - began)
            answers[who] = _told(frame), _told(two)
        if different := [who for who in answers if answers[who] != answers[_FILE]]:
            raise SystemExit(f"{different[0]} answers otherwise than {_FILE}")
    return {
        what: {who: statistics.median(each) for who, each in of_stores.items()}
        for what, of_stores in taken.items()
    }


def _told(frame: Any) -> list[tuple[str, int, float]]:
    """Return each column's count and sum of bits, which differ where two answers do."""
    told = []
    for name in sorted(set(frame.columns) - {"symbol"}):
        values = frame[name].to_numpy(np.float64)
        there = ~np.isnan(values)
        told.append((name, int(there.sum()), float(values[there].sum())))
    return told


def main() -> None:
    """Measure and print; exit code 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--symbols", type=int, default=10_000)
    parser.add_argument(
        "--repeat", type=int, default=4, help="turns; loads of the first do not count"
    )
    parser.add_argument("--reads", type=int, default=5, help="reads after each load")
    arguments = parser.parse_args()
    os.environ["TVFEAST_NOW"], os.environ["TQDM_DISABLE"] = _NOW.isoformat(), "1"
    with (
        tempfile.TemporaryDirectory() as temporary,
        short_folder() as at_redis,
        short_folder() as at_postgres,
        contextlib.ExitStack() as stack,
    ):
        redis = RedisServer(at_redis, "--databases", "2", port=free_port())
        stack.callback(redis.kill)
        postgres = PostgresServer(at_postgres, port=free_port())
        stack.callback(postgres.stop)
        root = Path(temporary)
        for name, count in _VIEWS.items():
            write_panel(root / "panels" / name, arguments.symbols, _DAYS, _features(count))
        with contextlib.redirect_stdout(sys.stderr):  # Feast prints
            medians = measure(
                _stores(root, redis, postgres), root / "panels",
                arguments.symbols, arguments.repeat, arguments.reads,
            )  # fmt: skip
    for what, of_stores in medians.items():
        print(f"\n{what}, {'one symbol' if what == _ONE else f'{arguments.symbols:,} symbols'}")
        for who, seconds in of_stores.items():
            print(f"  {who:20} {seconds * 1e3:10.2f} ms")
    told = [goal.told(medians) for goal in _GOALS]
    print("\n" + "\n".join(told))
    sys.exit(any("MISSED" in each for each in told))


if __name__ == "__main__":
    main()
