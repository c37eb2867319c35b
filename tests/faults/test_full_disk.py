"""No room, or no leave, to write: a clear error, nothing half published, all well afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import product

import pytest

from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from tests.faults.small_disk import SmallDisk
from tests.faults.stock import StockMaterialize
from tests.faults.strikes import NO_ROOM, FileSizeLimit
from tests.faults.told import assert_told
from tests.faults.world import BARS, NEWS, SERVED, State, World, content
from tests.fuzzing import chosen, sized
from tests.tally import faults

pytestmark = pytest.mark.faults

JOBS = (
    *("feature-ingest", "data-ingest", "meta-ingest", "local-features"),
    *("backfill", "compact", "materialize", "rebuild"),
)
LOADS = ("materialize", "rebuild")
FEW = ("feature-ingest", "local-features", "compact", "materialize")
"""One job of each way to write."""


def job(world: World, name: str) -> tuple[State, tuple[object, ...]]:
    if name.endswith("-ingest"):
        return SERVED, (name, *world.scan)
    if name == "backfill":
        return BARS, (name, "--from", "2021-04-05", "--to", "2021-04-12")
    return BARS if name == "local-features" else NEWS, (name,)


@pytest.fixture
def disk(world: World) -> Iterator[SmallDisk]:
    disk = SmallDisk(world.data)
    if not disk.mount():
        pytest.skip("mounting a tmpfs takes privileges that these tests do not have")
    yield disk
    disk.unmount()


@pytest.mark.parametrize("name", sized(FEW, JOBS))
def test_a_full_disk_is_told_and_the_next_run_with_room_completes(
    world: World, disk: SmallDisk, name: str
):
    state, words = job(world, name)
    world.restore(state)
    world.done(*words)
    undisturbed = content(world.settings)
    full, pages, step = 0, 0, sized(24, 1)
    while True:
        disk.leave_room(10_000)
        world.restore(state)
        disk.leave_room(pages)
        ended = world.run(*words)
        disk.leave_room(10_000)
        assert_told(world, ended, words, pages)
        assert check_lakehouse(world.settings).faults == []
        if ended.code == 0:
            break
        assert any(reason in ended.line for reason in (*NO_ROOM, "full")), ended
        full += 1
        if name in LOADS:
            world.done("select")  # what was served is served
        world.done(*words)
        assert content(world.settings) == undisturbed
        if name in LOADS:
            world.done("verify", "--online")
        pages += step
    assert full
    faults["full disk"] += full


def test_a_file_that_may_not_grow_is_told_and_the_next_run_completes(world: World):
    for name, size in chosen(product(JOBS, (512, 4096, 16384)), 4):
        state, words = job(world, name)
        world.restore(state)
        world.done(*words)
        undisturbed = content(world.settings)
        world.restore(state)
        ended = world.run(*words, arrange=FileSizeLimit(size))
        assert_told(world, ended, words, size)
        assert check_lakehouse(world.settings).faults == []
        world.done(*words)
        assert content(world.settings) == undisturbed
        faults["full disk"] += ended.code != 0


@pytest.mark.parametrize("name", [*JOBS, "parity", "validate"])
def test_a_read_only_folder_is_told(world: World, disk: SmallDisk, name: str):
    state, words = job(world, name)
    world.restore(state)
    disk.be_read_only()
    ended = world.run(*words)
    disk.be_read_only(False)
    assert_told(world, ended, words)
    assert ended.code == 2
    assert str(world.data) in ended.line
    world.done(*words)
    faults["read-only folder"] += 1


@pytest.mark.parametrize("name", ["status", "verify", "explain", "select"])
def test_what_only_reads_works_in_a_read_only_folder_but_for_sqlite(
    world: World, disk: SmallDisk, name: str
):
    world.restore(SERVED)
    disk.be_read_only()
    ended = world.run(name, *(("NASDAQ:AAPL", "RSI") if name == "explain" else ()))
    disk.be_read_only(False)
    assert_told(world, ended, name)
    assert ended.code == (2 if name == "select" else 0)
    assert name != "select" or "online.db" in ended.line
    faults["read-only folder"] += 1


def test_a_registry_that_cannot_be_written_stays_as_it_was(world: World):
    world.restore(NEWS)
    before = (world.data / "registry.db").read_bytes()
    stock = StockMaterialize(world.settings.feast_repository, world.at - timedelta(4), world.at)
    assert world.call(stock, arrange=FileSizeLimit(512)).wait().code == 1
    assert (world.data / "registry.db").read_bytes() == before
    world.done("materialize")
    world.done("verify", "--online")
    faults["full disk"] += 1
