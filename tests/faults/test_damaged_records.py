"""Receipts and ledgers that are damaged, missing or of others: told, and no row goes astray."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from tests.faults.commands import commands
from tests.faults.records import NO_RECORD, SPOILED
from tests.faults.told import assert_told
from tests.faults.world import ALL_KINDS, Content, World, content
from tests.fuzzing import chosen
from tests.tally import faults

pytestmark = pytest.mark.faults


def records(world: World) -> list[Path]:
    """Return the newest file of each name that a run leaves beside its parts."""
    world.restore(ALL_KINDS)
    found = sorted((world.settings.lakehouse_at / "_runs").glob("*/*.json*"))
    return list({path.name: path for path in found}.values())


@pytest.fixture(scope="module")
def undisturbed(only_world: World) -> Callable[[tuple[object, ...]], Content]:
    """Return what the lakehouse holds after a command that nothing has happened to."""

    @functools.cache
    def after(words: tuple[object, ...]) -> Content:
        only_world.restore(ALL_KINDS)
        only_world.run(*words)
        return content(only_world.settings)

    return after


def test_each_command_says_so_or_does_without_and_no_row_is_lost_or_doubled(
    world: World, undisturbed: Callable[[tuple[object, ...]], Content]
):
    cases = product(commands(world), records(world), SPOILED)
    for words, path, spoil in chosen(cases, 12, 800):
        expected = undisturbed(words)
        world.restore(ALL_KINDS)
        before = content(world.settings)
        spoil(path)
        ended = world.run(*words)
        case = (words, path.name, spoil.__name__)
        assert_told(world, ended, *case)
        if ended.code == 2:
            assert str(path) in ended.line, (case, ended)
        now = content(world.settings)
        assert now in (expected, *([before] if ended.code else [])), case
        faults["damaged receipts and ledgers"] += 1


def said(path: Path) -> list[bytes]:
    """Return a ledger's lines but the confirmations: a run that is killed has no last one."""
    if not path.is_file():
        return []
    return [line for line in path.read_bytes().splitlines() if not line.startswith(b'{"confirmed')]


def test_verify_names_a_record_that_does_not_hold(world: World):
    for path, spoil in chosen(product(records(world), NO_RECORD), 8):
        world.restore(ALL_KINDS)
        told = said(path)
        spoil(path)
        ended = world.run("verify", "--json")
        assert_told(world, ended, path, spoil)
        # Without its ledger a run's parts and receipts do not hold either.
        named = path.parent.name in ended.out + ended.line
        assert named or (path.suffix == ".jsonl" and said(path) == told), (path, spoil)
        faults["damaged receipts and ledgers"] += 1
