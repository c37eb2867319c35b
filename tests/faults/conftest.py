"""One small project for all tests of this folder, put into a state by each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ingestion.replay import FaultPlan, Panel, ReplayScanner
from tests.faults.world import World
from tests.processes import Forge


@pytest.fixture(scope="session")
def only_world(
    sample_panel: Panel, forge: Forge, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with ReplayScanner(sample_panel, record=False) as scanner:
        yield World(folder, scanner, forge)


@pytest.fixture
def world(only_world: World) -> Iterator[World]:
    """The project, in whatever state the last test has left it."""
    yield only_world
    only_world.scanner.plan, only_world.scanner.latency = FaultPlan(), 0.0
