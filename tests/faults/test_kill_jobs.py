"""``kill -9`` at any instant of a job that writes: nothing is lost, nothing is there twice."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.lakehouse import list_parts, read_current
from tests.declared import LOCAL_1D, TV_TECHNICALS_1D
from tests.faults.stock import StockMaterialize
from tests.faults.strikes import AtTouch
from tests.faults.world import (
    BARS,
    FURTHER,
    NEWS,
    RESTATED,
    SERVED,
    STALE,
    SYMBOLS,
    WEDNESDAY,
    State,
    World,
    content,
)
from tests.fuzzing import sized
from tests.processes import KILLED, Command
from tests.tally import kills

pytestmark = pytest.mark.faults

OFTEN = {
    *("data-ingest", "feature-ingest", "materialize", "compact"),
    *("local-features", "local-features that go on", "local-features from all bars"),
    "local-features of a restated bar",
}
"""The jobs of every day: the long form kills them 200 times, others 50 times."""

Row = dict[str, object]


@dataclass(frozen=True)
class Whole:
    """A run that nobody killed, from the state that killed ones begin in too."""

    state: State
    run: Callable[[], object]
    touches: bytes
    """What it called that touches the disk."""
    lasted: float
    """Seconds of its own work."""


def whole_run(world: World, state: State, run: Callable[[], object]) -> Whole:
    """Run to the end, and leave the project as that does."""
    log = world.settings.folder / "touches"
    world.restore(state)
    running = world.call(run, arrange=AtTouch(log))
    running.begin()
    ended = running.wait()
    assert ended.code == 0, ended
    touches = log.read_bytes()
    assert len(touches) > 10
    return Whole(state, run, touches, ended.lasted)


def killed_runs(world: World, name: str, whole: Whole) -> Iterator[None]:
    """Kill runs that begin in that state: by turns before a call that touches the disk,
    and at an instant of their own time. What ends before that is no kill."""
    log = world.settings.folder / "touches"
    chance, killed = random.Random(name), 0
    while killed < (sized(2, 200) if name in OFTEN else sized(1, 50)):
        world.restore(whole.state)
        if killed % 2 == 0:
            at = chance.randrange(len(whole.touches))
            ended = world.call(whole.run, arrange=AtTouch(log, at)).wait()
        else:
            log.unlink()
            running = world.call(whole.run, arrange=AtTouch(log))
            running.begin()
            running.sleep(chance.uniform(0, whole.lasted))
            running.kill()
            ended = running.wait()
        assert ended.code in (0, KILLED), ended
        if ended.code == KILLED:
            killed += 1
            kills[f"{name} {_when(log, whole)}"] += 1
            yield


def _when(log: Path, whole: Whole) -> str:
    """Return where in its work a killed run was, by what it had put on the disk for good."""
    kept = log.read_bytes().count(b"s") if log.exists() else 0
    if kept == 0:
        return "before its first write"
    return "between" if kept < whole.touches.count(b"s") else "after its last"


def commands(world: World) -> dict[str, tuple[State, Command]]:
    return {
        "local-features": (BARS, Command("local-features")),
        "local-features that go on": (FURTHER, Command("local-features")),
        "local-features from all bars": (STALE, Command("local-features")),
        "local-features of a restated bar": (RESTATED, Command("local-features")),
        "backfill": (BARS, Command("backfill", "--from", "2021-04-05", "--to", "2021-04-12")),
        "compact": (NEWS, Command("compact")),
        "feature-ingest": (SERVED, Command("feature-ingest", *world.scan)),
        "data-ingest": (SERVED, Command("data-ingest", *world.scan)),
        "meta-ingest": (BARS, Command("meta-ingest", *world.scan)),
    }


def current_rows(world: World) -> list[Row]:
    """Return what is computed from bars, but for when it was."""
    rows = read_current(list_parts(world.settings.lakehouse, LOCAL_1D), LOCAL_1D)
    return rows.drop_columns(["created_timestamp"]).to_pylist()


def backfilled(world: World, state: State) -> list[Row]:
    """Return what a backfill makes of a state's bars alone."""
    world.restore(state)
    for name in (LOCAL_1D.storage, "_caches"):
        shutil.rmtree(world.settings.lakehouse_at / name, ignore_errors=True)
    world.done("backfill", "--from", "1990-01-01", "--to", "2100-01-01")
    return current_rows(world)


@pytest.mark.parametrize(
    "name",
    [
        *("local-features", "local-features that go on", "local-features from all bars"),
        *("local-features of a restated bar", "backfill"),
        *("compact", "feature-ingest", "data-ingest", "meta-ingest"),
    ],
)
def test_a_killed_job_is_completed_by_its_repetition(world: World, name: str):
    state, command = commands(world)[name]
    whole = whole_run(world, state, command)
    undisturbed = content(world.settings)
    if name.startswith("local-features"):
        assert current_rows(world) == backfilled(world, state)
    for _ in killed_runs(world, name, whole):
        faults = [each.file for each in check_lakehouse(world.settings).faults]
        assert faults in ([], ["_caches/formula_state.zip"] if state is STALE else [])
        ended = world.call(command).wait()
        assert ended.code == 0, ended
        assert check_lakehouse(world.settings).faults == []
        assert content(world.settings) == undisturbed


def test_a_killed_import_is_history_as_a_whole_or_not_at_all(world: World):
    def computed(*jobs: Command) -> list[Row]:
        world.restore(BARS)
        for job in (*jobs, Command("local-features")):
            assert world.call(job).wait().code == 0
        return content(world.settings)["local_1d"]

    restate = Command("import-bars", world.restated)
    before, after = computed(), computed(restate)
    assert before != after
    for _ in killed_runs(world, "import-bars", whole_run(world, BARS, restate)):
        assert check_lakehouse(world.settings).faults == []
        ended = world.run("local-features")
        if ended.code == 0:
            assert content(world.settings)["local_1d"] in (before, after)
        else:
            assert (ended.code, "is half done" in ended.line) == (3, True), ended
            assert "local_1d" not in content(world.settings)
        assert world.call(restate).wait().code == 0
        world.done("local-features")
        assert check_lakehouse(world.settings).faults == []


@dataclass(frozen=True)
class Served:
    """What a selection is made from: the features of each view, by symbol."""

    technicals: dict[str, Row]
    returns: dict[str, Row]


def served(world: World) -> Served:
    """Ask for everything that is served."""
    document = world.done("select", "--json", "--top", "99", "--max-bar-age", "99d").json
    rows = {row["symbol"]: row["features"] for row in document["rows"]}
    technicals = [column.name for column in TV_TECHNICALS_1D.features]
    return Served(
        *(
            {symbol: {name: row[name] for name in names} for symbol, row in rows.items()}
            for names in (technicals, ["returns_1d", "volatility_20d", "momentum_60d"])
        )
    )


def assert_whole_rows(now: Served, before: Served, after: Served) -> None:
    """Each view's row of each symbol is the old one or the new one."""
    for mine, old, new in (
        (now.technicals, before.technicals, after.technicals),
        (now.returns, before.returns, after.returns),
    ):
        assert mine.keys() == set(SYMBOLS)
        assert all(row in (old[symbol], new[symbol]) for symbol, row in mine.items())


def before_and_after(world: World, load: Callable[[], object]) -> tuple[Served, Served, Whole]:
    """Return what is served before a run that nobody kills, and after it."""
    world.restore(NEWS)
    before = served(world)
    whole = whole_run(world, NEWS, load)
    after = served(world)
    for old, new in ((before.technicals, after.technicals), (before.returns, after.returns)):
        assert all(old[symbol] != new[symbol] for symbol in SYMBOLS)
    return before, after, whole


@pytest.mark.parametrize("name", ["materialize", "rebuild"])
def test_a_killed_load_serves_whole_rows_and_is_completed_by_materialize(world: World, name: str):
    before, after, whole = before_and_after(world, Command(name))
    for _ in killed_runs(world, name, whole):
        assert_whole_rows(served(world), before, after)
        world.done("materialize")
        world.done("verify", "--online")
        assert check_lakehouse(world.settings).faults == []


def test_a_killed_stock_materialize_serves_whole_rows_and_is_completed_by_ours(world: World):
    since = WEDNESDAY - timedelta(days=4)
    stock = StockMaterialize(world.settings.feast_repository, since, WEDNESDAY)
    before, after, whole = before_and_after(world, stock)
    for _ in killed_runs(world, "feast materialize", whole):
        assert_whole_rows(served(world), before, after)
        world.done("materialize")
        world.done("verify", "--online")
