"""Files that are damaged, missing or not ours: told or worked around, and nothing else is lost."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from ingestion.catalog import Dataset
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.lakehouse import list_parts
from tests.declared import DATASETS, LOCAL_1D
from tests.faults.commands import commands
from tests.faults.damage import DAMAGES, partition_deleted
from tests.faults.told import assert_told
from tests.faults.world import ALL_KINDS, NEWS, World, content
from tests.fuzzing import chosen
from tests.tally import faults

pytestmark = pytest.mark.faults


def parts_of(world: World) -> dict[Path, bytes]:
    """Return the content of every file that is named like a part."""
    found = world.settings.lakehouse_at.glob("**/part-*.parquet")
    return {path: path.read_bytes() for path in found if path.is_file()}


def damaged(world: World, dataset: Dataset, damage: Callable[[Path], Path]) -> Path:
    """Damage the newest part of a dataset, on the evening after."""
    world.restore(ALL_KINDS)
    return damage(list_parts(world.settings.lakehouse, dataset)[-1].path)


def test_verify_names_what_does_not_hold(world: World):
    for damage, dataset in chosen(product(DAMAGES, DATASETS), 20):
        path = damaged(world, dataset, damage)
        report = check_lakehouse(world.settings)
        name = path.relative_to(world.settings.lakehouse_at).as_posix()
        assert name in {fault.file for fault in report.faults}, damage
        faults["damaged files"] += 1


def test_each_command_tells_what_is_damaged_or_does_without(world: World):
    for words, dataset, damage in chosen(product(commands(world), DATASETS, DAMAGES), 12):
        path = damaged(world, dataset, damage)
        before = parts_of(world)
        ended = world.run(*words)
        case = (words, dataset.name, damage.__name__)
        assert_told(world, ended, *case)
        if ended.code == 2:
            assert str(path) in ended.line or "tvfeast verify" in ended.line, (case, ended)
        if words[0] != "compact":
            after = parts_of(world)
            assert {path: after.get(path) for path in before} == before, case
        faults["damaged files"] += 1


def test_a_deleted_partition_is_computed_again(world: World):
    world.restore(NEWS)
    undisturbed = content(world.settings)
    gone = partition_deleted(list_parts(world.settings.lakehouse, LOCAL_1D)[-1].path)
    assert content(world.settings) != undisturbed
    day = gone.parent.name.removeprefix("date=")
    world.done("backfill", "--from", day, "--to", day)
    assert content(world.settings) == undisturbed
    faults["damaged files"] += 1
