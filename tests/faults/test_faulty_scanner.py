"""The scanner fails in every way it knows, in mixtures, under the whole daily flow."""

from __future__ import annotations

import json
import random
from datetime import timedelta

import pytest

from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.replay import FaultPlan
from ingestion.replay.faults import FAULTS
from tests.faults.told import assert_told
from tests.faults.world import SERVED, Content, World, content
from tests.fuzzing import chosen, sized
from tests.tally import faults

pytestmark = pytest.mark.faults

BELIEVABLE = {"null-value", "integer-value", "text-value"}
"""What could be true is published as it came, and superseded at a later instant."""
SLOW = {"trickle", "trickle-headers", "rate-limited-retry-after"}
"""An answer is waited for a minute, or as long as it says: in the long form, by itself, once."""


def flow(world: World, *more: object) -> tuple[object, ...]:
    # The last option given counts: a silent scanner is not waited for.
    return ("flow-data", *world.scan, "--min-coverage", "0.5", "--read-timeout", "0.2", *more)


@pytest.fixture(scope="module")
def undisturbed(only_world: World) -> Content:
    only_world.restore(SERVED)
    only_world.done(*flow(only_world))
    return content(only_world.settings)


def mixtures() -> list[dict[str, float]]:
    """Each fault by itself, on every request; then several at once, on some."""
    names = sorted(FAULTS - SLOW)
    alone = [{name: 1.0} for name in [*names, *sized((), sorted(SLOW))]]
    chance = random.Random(20)
    mixed = [
        {
            name: chance.choice([0.1, 0.3, 0.6])
            for name in chance.sample(names, chance.randint(2, 6))
        }
        for _ in range(sized(3, 60))
    ]
    return chosen(alone, 1) + mixed


def all_came(world: World) -> bool:
    """Tell whether the newest run got all symbols in each step: half of them would do for it."""
    receipts = max((world.settings.lakehouse_at / "_runs").iterdir()).glob("*.json")
    return all(json.loads(each.read_text()).get("coverage", 1) == 1 for each in receipts)


def test_a_flow_tells_what_failed_and_the_next_one_completes(world: World, undisturbed: Content):
    for seed, chances in enumerate(mixtures()):
        world.restore(SERVED)
        world.scanner.plan = FaultPlan(chances=chances, seed=seed)
        patience = ("--retries", "0") if chances.keys() & SLOW else ()
        ended = world.run(*flow(world, *patience))
        assert_told(world, ended, chances)
        assert check_lakehouse(world.settings).faults == [], chances
        world.scanner.plan = FaultPlan()
        believed = bool(BELIEVABLE & chances.keys())
        world.at += timedelta(hours=3 * believed)
        if ended.code or not all_came(world):
            world.done(*flow(world))
        world.done("verify", "--online")
        assert check_lakehouse(world.settings).faults == [], chances
        if not believed:
            assert content(world.settings) == undisturbed, chances
        faults["failing scanner"] += 1
