"""The online store in Redis: what its server may be, and what is told of one that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ingestion.base.errors import FeastRepositoryError
from ingestion.plugins.online.layout import Layout, Values
from ingestion.plugins.online.redis_tables import RedisPlace, RedisTables
from ingestion.plugins.online.rows import Read, Rows
from tests.stores.online_servers import (
    free_port,
    redis_cluster,
    redis_server,
    redis_with_tls,
)

LAYOUT = Layout.of([("x", "DOUBLE"), ("s", "STRING")])


def rows(number: int, at: int = 1, text: str = "") -> Rows:
    us = np.full(number, at)
    values = {"x": Values.of("DOUBLE", us * 1.0), "s": Values.of("STRING", [text] * number)}
    return Rows([b"%d" % each for each in range(number)], us, us, values)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_a_server_that_would_lose_rows_is_refused(tmp_path: Path, policy: str):
    with redis_server(tmp_path, "--maxmemory-policy", policy) as url:
        tables = RedisTables(RedisPlace(url))
        for _ in range(2):
            with pytest.raises(
                FeastRepositoryError, match=f"{policy}.*maxmemory-policy noeviction"
            ):
                tables.write("t", LAYOUT, rows(1))


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru"])
def test_a_full_server_refuses_a_write_whole_and_serves_on(tmp_path: Path, policy: str):
    limits = ("--maxmemory", "6mb", "--maxmemory-policy", policy)
    with redis_server(tmp_path, *limits) as url:
        tables = RedisTables(RedisPlace(url))
        tables.write("t", LAYOUT, rows(12_000))
        refused = 0
        for at in range(2, 7):
            try:
                tables.write("t", LAYOUT, rows(12_000, at, "x" * 40 * at))
            except FeastRepositoryError as error:
                assert "memory" in str(error)  # noqa: PT017 - whether it is refused depends on at
                refused += 1
            (found,) = tables.read([Read("t", ["x", "s"])])
            assert len(found.keys) == 12_000
            assert len({*found.values["x"].to_list()}) == 1
            assert len({*found.values["s"].to_list()}) == 1
        assert refused


def test_a_server_that_is_not_there_is_told_without_its_password():
    url = f"redis://user:secret@127.0.0.1:{free_port()}/0"
    with pytest.raises(FeastRepositoryError, match=r"redis://127.*is the server running") as told:
        RedisTables(RedisPlace(url)).read([Read("t", [])])
    assert "secret" not in str(told.value)
    with pytest.raises(FeastRepositoryError, match=r"http://cache .*is none of Redis's"):
        RedisTables(RedisPlace("http://user:secret@cache")).look({})


def test_a_password_is_asked_for_and_a_wrong_one_is_told(tmp_path: Path):
    with redis_server(tmp_path, "--requirepass", "secret") as url:
        (tables,) = [RedisTables(RedisPlace(url.replace("unix://", "unix://:secret@")))]
        assert tables.write("t", LAYOUT, rows(3)) == 3
        for wrong in (url, url.replace("unix://", "unix://:other@")):
            with pytest.raises(FeastRepositoryError, match="may this user read and write") as told:
                RedisTables(RedisPlace(wrong)).read([Read("t", [])])
            assert "other" not in str(told.value)


def test_a_server_that_was_restarted_is_used_again(tmp_path: Path):
    kept = ("--appendonly", "yes", "--appendfsync", "always")
    with redis_server(tmp_path, *kept) as url:
        tables = RedisTables(RedisPlace(url))
        tables.write("t", LAYOUT, rows(3))
    with pytest.raises(FeastRepositoryError, match="is the server running"):
        tables.read([Read("t", [])])
    with redis_server(tmp_path, *kept):
        assert len(tables.read([Read("t", [])])[0].keys) == 3


def test_prefixes_are_kept_apart(tmp_path: Path):
    with redis_server(tmp_path) as url:
        one, other = RedisTables(RedisPlace(url, "one")), RedisTables(RedisPlace(url, "other"))
        one.write("t", LAYOUT, rows(3))
        assert other.look({"t": (0, 9)}) == {}
        other.teardown(["t"])
        assert len(one.read([Read("t", [])])[0].keys) == 3


def test_tls_is_used_and_a_certificate_of_nobody_is_refused(tmp_path: Path):
    with redis_with_tls(tmp_path) as url:
        assert RedisTables(RedisPlace(url)).write("t", LAYOUT, rows(3)) == 3
        with pytest.raises(FeastRepositoryError, match="certificate"):
            RedisTables(RedisPlace(url.partition("?")[0])).read([Read("t", [])])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server that has all slots of a cluster."""
    with redis_cluster(tmp_path_factory.mktemp("cluster"), masters=1) as url:
        yield url


def test_a_cluster_reads_and_changes_all_tables_at_one_instant(cluster: str):
    tables = RedisTables(RedisPlace(cluster, cluster=True))
    for table in ("t", "u"):
        assert tables.write(table, LAYOUT, rows(12_000)) == 12_000
    found = tables.read([Read("t", ["x"]), Read("u", ["x"], [b"7", b"nobody"])])
    assert [len(each.keys) for each in found] == [12_000, 2]
    assert found[1].values["x"].to_list() == [1.0, None]
    changed = Layout.of([("x", "INT64")])
    tables.update(["u"], {"t": changed})
    assert tables.look({"t": (0, 9), "u": (0, 9)})["t"].rows == 12_000
    assert tables.read([Read("t", ["x"], [b"7"])])[0].values["x"].to_list() == [1]
