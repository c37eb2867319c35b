"""Members of a universe compared with each other: as known then, once each, day by day."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ingestion.base.errors import InputError
from ingestion.datasets.panel import answers
from ingestion.jobs.compute import comparison, cross_section_proof
from ingestion.jobs.compute.cross_section_proof import verify_project
from ingestion.jobs.compute.cross_sections import cross_sections
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import (
    list_parts,
    read_members,
    read_part,
    read_symbols,
)
from ingestion.project import Project
from tests.jobs.compared.world import (
    COMPARED,
    GROUPS,
    LONG_AGO,
    NEW_YORK_CLOSES,
    NOW,
    World,
    check,
    moment,
    with_groups,
)


def test_each_day_is_what_plain_lists_give(world: World):
    done = world.made()
    check(world, COMPARED)
    assert (done.days, done.unknown_days, done.quarantined, done.restated) == (10, 0, 0, 0)
    assert done.written == len(world.rows()) == sum(len(world.oracle(at)) for at in COMPARED)
    cells = [row["score_rank"] for row in world.rows()]
    assert done.nulls["score_rank: no value"] == sum(cell is None for cell in cells) > 0
    assert done.nulls["score_neutralised: no sector"] > 0
    assert done.nulls["score_neutralised: no size"] > 0
    assert world.made().days == 0  # nothing is new


def versions(world: World) -> int:
    """How many rows are stored, all versions."""
    group = world.project.catalog.group("ranked")
    parts = list_parts(world.project.lakehouse, group)
    return sum(read_part(part, group).num_rows for part in parts)


def test_days_that_come_later_change_no_earlier_day(world: World, now: Callable[[datetime], None]):
    now(moment(5, 6))
    world.made()
    before = world.rows()
    now(NOW)
    later = world.made()
    assert (later.restated, later.unchanged) == (0, 0)
    assert [row for row in world.rows() if row["event_timestamp"] < moment(5, 6)] == before
    check(world, COMPARED)


def test_a_restated_member_restates_its_days_and_no_other(world: World):
    world.made()
    old, stored = world.rows(), versions(world)
    close = NEW_YORK_CLOSES[3]
    world.add("scores", world.score("NYSE:M09", close, 500.0))
    done = world.made()
    check(world, COMPARED)
    new = world.rows()
    changed = [a for a, b in zip(old, new, strict=True) if a != b]
    # The score counts until its time to live is over, unless a newer one came.
    assert {row["event_timestamp"] for row in changed} <= set(NEW_YORK_CLOSES[3:5])
    assert done.days == 2  # the 4th and the 5th: it is valid for two days
    assert done.written == done.restated == len(changed) == versions(world) - stored
    of_day = [row for row in new if row["event_timestamp"] == close]
    has_value = {row["symbol"] for row in of_day if row["score_zscore"] is not None}
    assert {row["symbol"] for row in changed if row["event_timestamp"] == close} == has_value


def test_who_joins_leaves_or_changes_sector_counts_from_then_on(world: World):
    world.made()
    world.add("symbols", world.symbol("NYSE:M10", moment(8, 12), "Energy"))
    world.add("spans", world.member("NASDAQ:NEW", moment(9, 12)))
    done = world.made()
    check(world, COMPARED)
    rows = {(row["symbol"], row["event_timestamp"].day): row for row in world.rows()}
    assert ("NASDAQ:NEW", 9) in rows
    assert ("NASDAQ:NEW", 8) not in rows
    sizes = {day: row["universe_size"] for (_, day), row in rows.items()}
    assert sizes == {1: 27, 2: 27, 3: 27, 4: 25, 5: 25, 8: 25, 9: 27, 10: 27, 11: 27, 12: 27}
    assert done.restated


def test_the_order_in_which_rows_were_written_changes_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    world.made()
    monkeypatch.setenv("TVFEAST_PROJECT", str(make_workspace(tmp_path / "other")))
    other = World(with_groups(Project.from_environment(), GROUPS))
    for kind in ("spans", "symbols", "caps", "scores"):
        rows = list(getattr(world, kind))
        random.Random(1).shuffle(rows)
        other.add(kind, *rows)
    other.made()
    assert without_created(other.rows()) == without_created(world.rows())


def without_created(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "created_timestamp"} for row in rows]


def test_without_the_cache_all_days_are_compared_again_and_nothing_is_written(world: World):
    world.made()
    (world.project.lakehouse_at / "_caches" / "cross_section.ranked.zip").unlink()
    done = world.made()
    assert (done.days, done.written) == (10, 0)
    assert done.unchanged == len(world.rows())


def test_another_declaration_restates_all_days_by_itself(world: World):
    world.made()
    with_groups(world.project, GROUPS.replace("tails=0.1", "tails=0.3"))
    done = world.made()
    assert done.days == 10
    assert done.written == done.restated > 0


def test_a_backfill_of_some_dates_looks_at_these_alone(world: World):
    span = date(2021, 3, 3), date(2021, 3, 5)
    (done,) = cross_sections(world.project, dates=span).groups
    assert done.days == 3
    assert {row["event_timestamp"] for row in world.rows()} == set(NEW_YORK_CLOSES[2:5])
    (again,) = cross_sections(world.project, dates=span).groups
    assert (again.written, again.unchanged) == (0, done.written)
    world.made()
    check(world, COMPARED)
    with pytest.raises(InputError, match="is after --to"):
        cross_sections(world.project, dates=span[::-1])


def test_the_proof_names_what_is_known_too_early_and_nothing_on_the_clean_twin(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cross_section_proof, "DAYS", 3)  # the 4th, 9th and 12th
    clean = verify_project(world.project)
    assert clean.passed
    assert (clean.days, clean.features[0]) == (3, "ranked:score_rank")

    def todays_members(lakehouse: Any, universe: str) -> pa.Table:
        rows = read_members(lakehouse, universe).to_pylist()
        inside = [row for row in rows if row["valid_until"] is None]
        early = [row | {"valid_from": LONG_AGO, "event_timestamp": LONG_AGO} for row in inside]
        return pa.Table.from_pylist(early, read_members(lakehouse, universe).schema)

    def todays_sectors(lakehouse: Any) -> pa.Table:
        rows = read_symbols(lakehouse)
        last = {row["symbol"]: row | {"valid_from": LONG_AGO} for row in rows.to_pylist()}
        return pa.Table.from_pylist(list(last.values()), rows.schema)

    def tomorrows_values(lakehouse: Any, features: Any, slices: Any, **options: Any) -> Any:
        day = 86_400_000_000
        later = (each._replace(instants=each.instants + day) for each in slices)
        return answers(lakehouse, features, later, **options)

    plants = {
        "read_members": (todays_members, "ranked:universe"),
        "read_symbols": (todays_sectors, "ranked:score_neutralised"),
        "answers": (tomorrows_values, "ranked:score_zscore"),
    }
    for name, (planted, leak) in plants.items():
        with monkeypatch.context() as patched:
            patched.setattr(comparison, name, planted)
            report = verify_project(world.project)
        assert leak in [each.feature for each in report.leaks], name
        assert "later days taken away" in str(report.leaks[0])
