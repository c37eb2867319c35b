"""A backfill by tasks, each of some symbols, stores what one by this process does."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ingestion.base.errors import FeastRepositoryError, InputError
from ingestion.base.executors import Engine, engine_of
from ingestion.base.objects import Objects
from ingestion.base.settings import StoreUrl
from ingestion.jobs.audit.cache_check import check_caches
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.jobs.compute import all_bars, local_features
from ingestion.jobs.compute.local_features import backfill
from ingestion.jobs.copy_lakehouse import copy
from ingestion.project import Project
from tests.jobs.test_further_bars import DAY, EVER, FIRST, SYMBOLS, World
from tests.lakehouse.in_a_bucket import placed
from tests.stores.failing_tasks import computed_by_task, computing_once, fill, kill

pytestmark = pytest.mark.usefixtures("no_power_cuts")

KEY = ("symbol", "timestamp")
ROWS_PER_TASK = 100
"""Two symbols of 41 dates: three tasks."""


def with_bars(folder: Path, patch: pytest.MonkeyPatch) -> World:
    """Make bars with all that happens to them: late, restated, withdrawn, missing, split."""
    world, keys = World(folder, 7, patch), []
    for number in range(40):
        lost = number in (20, 21, 22)  # a session of all markets but that of coins is lost
        for symbol in SYMBOLS[:1] if lost else SYMBOLS[: 4 + (number > 9) + (number > 30)]:
            world.bar(symbol, world.day, 4.0 if (symbol, number) == ("NASDAQ:AAPL", 15) else 1.0)
            keys.append((symbol, world.day))
        world.day += DAY
    world.write(keys)
    key = ("NASDAQ:TSLA", FIRST + 8 * DAY)
    world.bars[key] = world.bars[key] | {"close": 77.0, "low": 70.0}
    world.write([key])
    world.write([("NASDAQ:MSFT", FIRST + 9 * DAY)], source="withdrawn;wrong")
    world.bar("NYSE:JPM", FIRST - 3 * DAY)
    world.write([("NYSE:JPM", FIRST - 3 * DAY)])
    patch.setenv("TVFEAST_NOW", (world.now + 4000 * DAY).isoformat())
    return world


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return with_bars(tmp_path / "there", monkeypatch)


@pytest.fixture
def in_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Let this process do the tasks, one after another, as an engine would."""
    staging = placed(tmp_path / "staging")  # a lakehouse in a folder needs none
    engine = Engine("local", ROWS_PER_TASK, staging if isinstance(staging, StoreUrl) else None)
    monkeypatch.setattr(
        local_features,
        "turn_of",
        lambda project, run, _, seen: all_bars.OnEngine(project, run, seen, engine),
    )
    return engine


def on(executor: str, world: World, tmp_path: Path, *more: str) -> Project:
    """Give the project a repository that names an executor."""
    folder = tmp_path / "project"
    shutil.copytree(world.project.feast_repository, folder / "feature_repo")
    file = folder / "feature_repo" / "feature_store.yaml"
    said = [f"executor: {executor}", f"rows_per_task: {ROWS_PER_TASK}", *more]
    kind = "  type: ingestion.plugins.asof.AsofOfflineStore\n"
    own = "".join(f"  {line}\n" for line in said)
    file.write_text(file.read_text().replace(kind, kind + own))
    return replace(world.project, folder=folder)


def check(world: World, project: Project) -> None:
    """Compare with what this process makes of the same bars, and look for what is left over."""
    other = replace(world.project, lakehouse_at=world.root.parent / "other")
    shutil.copytree(world.root / "ohlcv_1d", other.lakehouse_at / "ohlcv_1d")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_features, "turn_of", all_bars.turn_of)
        backfill(other, *EVER)
    mine, theirs = world.stored(), world.stored(other)
    for name in theirs.column_names:
        assert mine[name].combine_chunks().equals(theirs[name].combine_chunks()), name
    assert mine.num_rows == len(world.bars)
    assert check_lakehouse(project).passed
    caches = check_caches(project)
    assert (caches.symbols, caches.unfit, caches.faults) == (len(SYMBOLS), "", ())
    assert project.lakehouse.staged() == []


def test_tasks_of_symbols_compute_what_this_process_computes(world: World, in_tasks: Engine):
    result = backfill(world.project, *EVER)
    assert result.rows_written == world.stored().num_rows
    check(world, world.project)
    world.next_day([*SYMBOLS])
    further = world.compute()
    assert further.state.recomputed == 0  # it goes on from what the tasks have kept


def test_an_engine_computes_what_this_process_computes(engine: str, world: World, tmp_path: Path):
    project = on(engine, world, tmp_path)
    backfill(project, *EVER)
    check(world, project)


def test_a_span_is_computed_from_all_bars_before_it(world: World, in_tasks: Engine):
    first, last = FIRST + 12 * DAY, FIRST + 24 * DAY
    backfill(world.project, first, last)
    spanned = world.stored()
    days = {at.date() for at in spanned["event_timestamp"].to_pylist()}
    assert (min(days), max(days)) == (first, last)
    backfill(world.project, *EVER)
    whole = world.stored()
    keys = set(zip(*(spanned[name].to_pylist() for name in KEY), strict=True))
    again = [row for row in whole.to_pylist() if tuple(row[name] for name in KEY) in keys]
    assert again == spanned.to_pylist()


@pytest.mark.parametrize("how", [kill, fill])
def test_a_task_that_fails_is_done_again_and_leaves_nothing(
    engine: str, how, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = tmp_path / "failed"
    monkeypatch.setattr(all_bars, "_of_symbols", partial(computing_once, place, how))
    project = on(engine, world, tmp_path)
    backfill(project, *EVER)
    assert place.exists()
    check(world, project)


def test_a_task_that_fails_each_time_publishes_nothing(
    world: World, in_tasks: Engine, monkeypatch: pytest.MonkeyPatch
):
    def fail(task, only):
        if SYMBOLS[3] in {task.wanted.names[number] for number in only}:
            raise OSError("the disk of a worker is full")
        return computed_by_task(task, only)

    with monkeypatch.context() as patch:
        patch.setattr(all_bars, "_of_symbols", fail)
        with pytest.raises(OSError, match="is full"):
            backfill(world.project, *EVER)
    assert not (world.root / "local_1d").exists()
    assert world.project.lakehouse.staged() == []
    backfill(world.project, *EVER)
    check(world, world.project)


def test_rows_of_tasks_may_lie_in_an_object_store(
    world: World, bucket: str, monkeypatch: pytest.MonkeyPatch
):
    far = replace(world.project, lakehouse_at=StoreUrl(f"{bucket}/lakehouse"))
    copy(str(world.project.lakehouse_at), far.lakehouse_at)
    for staging, refused in ((None, True), (f"{bucket}/staging", False)):
        engine = Engine("local", ROWS_PER_TASK, staging)
        monkeypatch.setattr(
            local_features,
            "turn_of",
            lambda project, run, _, seen, e=engine: all_bars.OnEngine(project, run, seen, e),
        )
        if refused:
            with pytest.raises(InputError, match="set staging_location"):
                backfill(far, *EVER)
        else:
            backfill(far, *EVER)
    assert [*Objects(f"{bucket}/staging").below("")] == []
    here = replace(world.project, lakehouse_at=world.root.parent / "here")
    shutil.copytree(world.root / "ohlcv_1d", here.lakehouse_at / "ohlcv_1d")
    monkeypatch.setattr(local_features, "turn_of", all_bars.turn_of)
    backfill(here, *EVER)
    assert world.stored(far).equals(world.stored(here))


def test_the_repository_names_the_engine(world: World, tmp_path: Path):
    project = on("local", world, tmp_path, "staging_location: ../staging")
    assert engine_of(project) == Engine("local", ROWS_PER_TASK, str(tmp_path / "project/staging"))
    assert engine_of(world.project) == Engine()
    assert engine_of(replace(project, folder=tmp_path / "none")) == Engine()
    file = project.feast_repository / "feature_store.yaml"
    sound = file.read_text()
    for wrong in ("executor: dask", "executor: [ray]", "rows_per_task: 0", "rows_per_task: many"):
        name = wrong.partition(":")[0]
        lines = [f"  {wrong}" if f" {name}:" in line else line for line in sound.splitlines()]
        file.write_text("\n".join(lines))
        with pytest.raises(FeastRepositoryError, match="the first is local, ray or spark"):
            backfill(project, *EVER)
