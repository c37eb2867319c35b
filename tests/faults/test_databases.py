"""``online.db`` and ``registry.db`` damaged or gone: one command mends them, and all say so."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from tests.faults.damage import cut_short, emptied, overwritten
from tests.faults.told import assert_told
from tests.faults.world import SERVED, World
from tests.fuzzing import chosen
from tests.tally import faults

pytestmark = pytest.mark.faults


def missing(path: Path) -> Path:
    path.unlink()
    return path


def halved(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


DAMAGES = (missing, emptied, halved, cut_short, overwritten)
NEEDING = (
    *(("select",), ("verify", "--online"), ("explain", "NASDAQ:AAPL", "RSI"), ("status",)),
    ("materialize",),
)


@pytest.mark.parametrize("name", ["online.db", "registry.db"])
def test_every_command_names_the_one_that_mends(world: World, name: str):
    world.restore(SERVED)
    before = world.done("select", "--json").json["rows"]
    for damage, words in chosen(product(DAMAGES, (*NEEDING, world.train_on_labels)), 8):
        world.restore(SERVED)
        damage(world.data / name)
        ended = world.run(*words)
        assert_told(world, ended, damage, words)
        if ended.code == 2:
            assert "tvfeast rebuild" in ended.line or "tvfeast materialize" in ended.line, ended
        faults["damaged databases"] += 1
    for damage in chosen(DAMAGES, 2):
        world.restore(SERVED)
        damage(world.data / name)
        world.done("rebuild")
        world.done("verify", "--online")
        assert world.done("select", "--json").json["rows"] == before
        faults["damaged databases"] += 1
