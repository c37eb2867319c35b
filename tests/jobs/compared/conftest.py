"""A world that is recorded once and copied for each test, and an empty one."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ingestion.jobs.workspace import make_workspace
from ingestion.project import Project
from tests.jobs.compared.world import (
    GROUPS,
    LONG_AGO,
    MEMBERS,
    NEW_YORK_CLOSES,
    NOW,
    SECTORS,
    World,
    moment,
    with_groups,
)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    def set_now(instant: datetime) -> None:
        monkeypatch.setenv("TVFEAST_NOW", instant.isoformat())

    set_now(NOW)
    return set_now


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Nine sessions of 28 members: late scores, missing ones, leavers, sectors that change."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TVFEAST_PROJECT", str(make_workspace(tmp_path_factory.mktemp("world"))))
        world = World(with_groups(Project.from_environment(), GROUPS))
    chance = random.Random(7)
    world.add("spans", *(world.member(each, LONG_AGO) for each in MEMBERS[3:]))
    world.add("spans", *(world.member(each, LONG_AGO, moment(4, 12)) for each in MEMBERS[:2]))
    world.add("spans", world.member(MEMBERS[2], moment(9)))
    sectors = {each: chance.choice(SECTORS) for each in MEMBERS if "5" not in each}
    world.add("symbols", *(world.symbol(each, LONG_AGO, sectors[each]) for each in sectors))
    world.add("symbols", world.symbol(MEMBERS[6], moment(3, 12), "Retail"))
    world.add("symbols", world.symbol(MEMBERS[5], moment(9), "Energy"))  # it had none before
    named = zip(MEMBERS, ["USD", "EUR", "USD"] * 10, strict=False)
    sizes = {each: (chance.lognormvariate(20, 2), currency) for each, currency in named}
    sized = LONG_AGO + timedelta(days=400)
    world.add(
        "caps", *(world.cap(each, sized, *sizes[each]) for each in MEMBERS if "M09" not in each)
    )
    for close in NEW_YORK_CLOSES:
        scores = []
        for each in MEMBERS:
            event = close - timedelta(minutes=chance.choice([0, 0, 90]))
            score = None if chance.random() < 0.1 else float(round(chance.gauss(0, 3)))
            scores += [world.score(each, event, score)] if chance.random() < 0.8 else []
        world.add("scores", *scores)
    return world


@pytest.fixture
def world(
    recorded: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    now: Callable[[datetime], None],
) -> World:
    """A copy that a test may add to."""
    shutil.copytree(recorded.project.folder, tmp_path / "workspace")
    monkeypatch.setenv("TVFEAST_PROJECT", str(tmp_path / "workspace"))
    world = World(Project.from_environment())
    world.created = recorded.created
    for kind in ("scores", "caps", "symbols", "spans"):
        getattr(world, kind).extend(getattr(recorded, kind))
    return world


@pytest.fixture
def empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: Callable[[datetime], None]
) -> Project:
    monkeypatch.setenv("TVFEAST_PROJECT", str(make_workspace(tmp_path / "workspace")))
    return Project.from_environment()
