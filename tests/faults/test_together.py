"""Two runs at once, runs after failed and killed ones, and a clock that jumps back."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.replay import FaultPlan
from tests.faults.told import assert_told
from tests.faults.world import NEWS, SERVED, THURSDAY, WEDNESDAY, World, content
from tests.fuzzing import chosen
from tests.processes import KILLED
from tests.tally import faults, kills

pytestmark = pytest.mark.faults

WRITERS = (
    *("local-features", "materialize", "rebuild", "compact", "validate", "parity"),
    *("data-ingest", "meta-ingest", "feature-ingest", "flow-data"),
)
READERS = (("select",), ("status",), ("verify",), ("explain", "NASDAQ:AAPL", "RSI"))


def words(world: World, name: str) -> tuple[object, ...]:
    scans = name.endswith("-ingest") or name == "flow-data"
    return (name, *world.scan) if scans else (name,)


def test_while_one_run_writes_others_are_refused_and_readers_are_not(world: World):
    world.restore(SERVED)
    world.scanner.plan = FaultPlan(chances={"stall": 1.0})
    holder = world.start("feature-ingest", *world.scan, "--read-timeout", "60")
    lock = world.settings.lakehouse_at / "_lock"
    while not lock.read_text():
        time.sleep(0.01)
    for name in WRITERS:
        ended = world.run(*words(world, name))
        assert (ended.code, ended.line.partition(" is writing to ")[0].partition(" (")[0]) == (
            5,
            "tvfeast: " + lock.read_text().partition(" (")[0],
        )
        faults["two runs at once"] += 1
    for each in READERS:
        assert_told(world, world.run(*each), each)
    holder.kill()
    assert holder.wait().code == KILLED
    kills["feature-ingest"] += 1
    world.scanner.plan = FaultPlan()
    for name in WRITERS:
        world.done(*words(world, name))
    assert check_lakehouse(world.settings).faults == []


def test_runs_that_start_together_do_their_work_or_are_refused(world: World):
    names = ("data-ingest", "feature-ingest", "local-features", "compact", "materialize")
    world.restore(SERVED)
    for name in names[:3]:
        world.done(*words(world, name))
    undisturbed = content(world.settings)
    world.restore(SERVED)
    together = [world.start(*words(world, name)) for name in names]
    codes = {running.wait().code for running in together}
    assert codes <= {0, 5}
    for name in names:
        world.done(*words(world, name))
    assert content(world.settings) == undisturbed
    assert check_lakehouse(world.settings).faults == []
    world.done("verify", "--online")
    faults["two runs at once"] += 1


def test_a_run_that_fails_after_a_killed_one_leaves_the_next_its_work(world: World):
    world.restore(SERVED)
    world.done("flow-data", *world.scan)
    undisturbed = content(world.settings)
    for fault in chosen(["empty", "reset", "forbidden-html", "short-page"], 1):
        world.restore(SERVED)
        world.scanner.latency = 0.05
        killed = world.start("flow-data", *world.scan)
        killed.sleep(0.15)
        killed.kill()
        assert killed.wait().code == KILLED
        kills["flow-data"] += 1
        world.scanner.plan = FaultPlan(chances={fault: 1.0})
        assert_told(world, world.run("flow-data", *world.scan), fault)
        world.scanner.plan = FaultPlan()
        world.done("flow-data", *world.scan)
        assert content(world.settings) == undisturbed
        assert check_lakehouse(world.settings).faults == []


def test_a_clock_that_jumps_back_harms_nothing(world: World):
    for back in chosen([timedelta(seconds=1), timedelta(hours=3), timedelta(days=2)], 1):
        world.restore(NEWS)
        world.done("materialize")
        before = world.done("select", "--json").json["rows"]
        world.at = WEDNESDAY - back
        # Parity's verdict on so short a history would stop the last flow.
        for name in (each for each in WRITERS if each != "parity"):
            assert_told(world, world.run(*words(world, name)), name, back)
            faults["clock set back"] += 1
        for each in READERS:
            assert_told(world, world.run(*each), each, back)
        world.at = WEDNESDAY
        assert check_lakehouse(world.settings).faults == []
        world.done("materialize")
        world.done("verify", "--online")
        assert world.done("select", "--json").json["rows"] == before
        world.at = THURSDAY
        world.done("flow-data", *world.scan)
        assert check_lakehouse(world.settings).faults == []
        world.done("verify", "--online")
