"""A server that dies, hangs, is cut off or full: no row is lost, doubled, or served wrong."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingestion.base.errors import FeastRepositoryError
from ingestion.plugins.online.layout import Layout, Values
from ingestion.plugins.online.opening import open_tables
from ingestion.plugins.online.rows import Read, Rows, Tables
from tests.faults.small_disk import SmallDisk
from tests.stores.online_servers import (
    PostgresServer,
    RedisServer,
    Server,
    at_length,
    short_folder,
)
from tests.stores.proxy import ANSWERED, ASKED, Proxy
from tests.tally import faults

pytestmark = [pytest.mark.faults, at_length]

LAYOUT = Layout.of([("x", "DOUBLE"), ("s", "STRING")])
COUNT = 2_000
PASSWORD = "not-to-be-told"


def version(at: int) -> Rows:
    us = np.full(COUNT, at)
    values = {"x": Values.of("DOUBLE", us * 1.0), "s": Values.of("STRING", [str(at)] * COUNT)}
    return Rows([b"%d" % each for each in range(COUNT)], us, us, values)


def version_of(rows: Rows) -> int:
    """Return the one version that all rows are of."""
    assert len(rows.keys) == COUNT
    (number,) = {*rows.values["x"].to_list()}
    assert {*rows.values["s"].to_list()} == {str(int(number))}
    assert {*rows.event_us.tolist(), *rows.created_us.tolist()} == {int(number)}
    return int(number)


@dataclass
class Place:
    """A server with a password, and its tables: directly, and through a proxy."""

    server: Server
    proxy: Proxy
    settings: Callable[[int], dict[str, Any]]
    """Of a store that is reached at a port; 0 is the socket."""

    def tables(self, port: int = 0, timeout_s: float = 20) -> Tables:
        tables = open_tables(self.settings(port) | {"timeout_s": timeout_s}, Path("/"))
        assert tables is not None
        return tables


@contextlib.contextmanager
def running(kind: str, folder: Path) -> Iterator[Place]:
    server: Server
    if kind == "redis":
        kept = ("--appendonly", "yes", "--appendfsync", "always")
        server = RedisServer(folder, *kept, password=PASSWORD)
        target, type_ = folder / "redis.sock", "ingestion.plugins.wide_redis.WideRedisOnlineStore"

        def settings(port: int) -> dict[str, Any]:
            scheme, where = ("redis", f"127.0.0.1:{port}/0") if port else ("unix", str(target))
            return {"type": type_, "url": f"{scheme}://:{PASSWORD}@{where}"}
    else:
        server = PostgresServer(folder, password=PASSWORD)
        target = folder / ".s.PGSQL.5432"
        type_ = "ingestion.plugins.wide_postgres.WidePostgresOnlineStore"

        def settings(port: int) -> dict[str, Any]:
            where = f"host=127.0.0.1 port={port}" if port else f"host={folder}"
            return {
                "type": type_,
                "conninfo": f"{where} dbname=postgres user=feast password={PASSWORD}",
            }

    proxy = Proxy(target)
    try:
        yield Place(server, proxy, settings)
    finally:
        proxy.close()
        server.kill()


@pytest.fixture(scope="module", params=["redis", "postgres"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with short_folder() as folder, running(request.param, folder) as place:
        yield place


def refused(call: Callable[[], object], *words: str) -> bool:
    """Return whether a call was refused: in one line, with the place and without the password."""
    try:
        call()
    except FeastRepositoryError as error:
        told = str(error)
        assert PASSWORD not in told
        assert "\n" not in told
        assert "is the server running" in told or any(word in told for word in words), told
        faults["faults of servers of rows"] += 1
        return True
    return False


def bytes_of(place: Place, call: Callable[[], object]) -> dict[str, int]:
    place.proxy.disarm()
    call()
    return dict(place.proxy.passed)


@pytest.mark.parametrize("action", ["cut", "kill"])
def test_a_write_that_ends_at_any_byte_is_whole_or_nothing(place: Place, action: str):
    tables, at = place.tables(place.proxy.port), 1
    place.tables().update(["t"], {"t": LAYOUT})
    tables.write("t", LAYOUT, version(at))
    at += 1
    sent = bytes_of(place, lambda: tables.write("t", LAYOUT, version(at)))
    do = place.server.kill if action == "kill" else lambda: None
    for way, parts in ((ASKED, (0.02, 0.5, 0.97, 1.0)), (ANSWERED, (0.3, 0.99))):
        for part in parts:
            place.proxy.arm(way, max(1, int(sent[way] * part)), do)
            new = version(at + 1)
            was_refused = refused(lambda new=new: tables.write("t", LAYOUT, new))
            assert not place.proxy.disarm(), "nothing was cut"
            if action == "kill":
                place.server.start()
            (found,) = place.tables().read([Read("t", ["x", "s"])])
            assert version_of(found) in ((at, at + 1) if was_refused else (at + 1,))
            refused(lambda: tables.look({}))  # the connection is opened anew
            tables.write("t", LAYOUT, new)
            at += 1
            assert version_of(tables.read([Read("t", ["x", "s"])])[0]) == at


@pytest.mark.parametrize("action", ["cut", "kill"])
def test_an_answer_that_ends_at_any_byte_is_right_or_an_error(place: Place, action: str):
    tables = place.tables(place.proxy.port)
    place.tables().update(["t", "u"], {})
    for table in ("t", "u"):
        place.tables().write(table, LAYOUT, version(7))
    reads = [Read("t", ["x", "s"]), Read("u", ["x", "s"], version(0).keys)]
    tables.read(reads)  # what is asked at the first connection is no part of an answer
    sent = bytes_of(place, lambda: tables.read(reads))[ANSWERED]
    do = place.server.kill if action == "kill" else lambda: None
    for part in (0.001, 0.3, 0.6, 0.9, 0.98):
        place.proxy.arm(ANSWERED, max(1, int(sent * part)), do)
        answers: list[Rows] = []
        refused(lambda answers=answers: answers.extend(tables.read(reads)))
        assert not place.proxy.disarm(), "nothing was cut"
        assert all(version_of(each) == 7 for each in answers)
        if action == "kill":
            place.server.start()
        refused(lambda: tables.look({}))
        assert [version_of(each) for each in tables.read(reads)] == [7, 7]


def test_a_frozen_server_is_waited_for_so_long_and_used_again(place: Place):
    tables = place.tables(place.proxy.port, timeout_s=1)
    place.tables().update(["t"], {"t": LAYOUT})
    tables.write("t", LAYOUT, version(1))
    new = place.tables(place.proxy.port, timeout_s=1)
    for call in (
        lambda: tables.read([Read("t", ["x"])]),
        lambda: tables.write("t", LAYOUT, version(2)),
        lambda: new.look({}),
    ):
        with place.server.frozen():
            began = time.monotonic()
            assert refused(call)
            assert time.monotonic() - began < 8
    assert version_of(place.tables().read([Read("t", ["x", "s"])])[0]) in (1, 2)
    until = time.monotonic() + 10
    while refused(lambda: tables.write("t", LAYOUT, version(3))):  # what it had begun ends first
        assert time.monotonic() < until
    assert version_of(tables.read([Read("t", ["x", "s"])])[0]) == 3


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_a_changed_password_is_told_and_the_new_one_works(kind: str):
    with short_folder() as folder, running(kind, folder) as place:
        tables = place.tables(place.proxy.port)
        tables.write("t", LAYOUT, version(1))
        if kind == "redis":
            import redis

            client = redis.Redis.from_url(place.settings(0)["url"])
            client.config_set("requirepass", "other")
            new = {"url": place.settings(0)["url"].replace(PASSWORD, "other")}
        else:
            import psycopg

            with psycopg.connect(place.settings(0)["conninfo"], autocommit=True) as owner:
                owner.execute("ALTER USER feast PASSWORD 'other'")
            new = {"conninfo": place.settings(0)["conninfo"].replace(PASSWORD, "other")}
        place.proxy.arm(ASKED, 1)
        for _ in range(3):
            assert refused(lambda: tables.read([Read("t", ["x", "s"])]), "password")
        assert refused(lambda: place.tables().write("t", LAYOUT, version(2)), "password")
        opened = open_tables(place.settings(0) | new, Path("/"))
        assert version_of(opened.read([Read("t", ["x", "s"])])[0]) == 1


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_a_full_disk_of_the_server_refuses_a_write_whole(kind: str):
    with short_folder() as folder:
        disk = SmallDisk(folder)
        if not disk.mount():
            pytest.skip("no disk may be mounted here")
        try:
            disk.leave_room(50_000)
            with running(kind, folder) as place:
                place.tables().write("t", LAYOUT, version(1))
                disk.leave_room(8)
                was_refused = False
                for at in range(2, 30):
                    was_refused = refused(
                        lambda at=at: place.tables().write("t", LAYOUT, version(at))
                    )
                    if was_refused:
                        break
                assert was_refused
                disk.leave_room(50_000)
                with contextlib.suppress(AssertionError):
                    place.server.kill()
                place.server.start()
                kept = version_of(place.tables().read([Read("t", ["x", "s"])])[0])
                assert kept == at - 1
                place.tables().write("t", LAYOUT, version(at))
                assert version_of(place.tables().read([Read("t", ["x", "s"])])[0]) == at
        finally:
            disk.unmount()


@pytest.mark.skipif(not shutil.which("faketime"), reason="apt-get install faketime")
@pytest.mark.parametrize("offset", ["+10m", "-10m"])
def test_the_clock_of_the_server_does_not_count(offset: str, monkeypatch: pytest.MonkeyPatch):
    """Redis, which does not start under faketime, is asked for no time."""
    library = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")))
    monkeypatch.setenv("LD_PRELOAD", os.fspath(library))
    monkeypatch.setenv("FAKETIME", offset)
    with short_folder() as folder, running("postgres", folder) as place:
        monkeypatch.delenv("LD_PRELOAD")
        tables, now = place.tables(), time.time_ns() // 1_000
        for at in (now, now - 1, now + 1, now):
            tables.write("t", LAYOUT, version(at))
        assert version_of(tables.read([Read("t", ["x", "s"])])[0]) == now + 1
