"""Compared members are gated, served, selected, explained and joined, and come again."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ingestion.base.arrow import to_rows
from ingestion.base.errors import GateRefused
from ingestion.cli.commands import cli
from ingestion.datasets import Schedule
from ingestion.jobs.audit.compact import compact
from ingestion.jobs.audit.explain import ExplainRequest, explain
from ingestion.jobs.audit.validate import validate
from ingestion.jobs.compute.cross_sections import cross_sections
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.panel import PanelRequest, write_panel
from ingestion.jobs.serve.prove import Finding, prove
from ingestion.jobs.serve.reproduce import reproduce
from ingestion.jobs.serve.select import SelectRequest, select
from ingestion.jobs.serve.verify_online import verify_online
from ingestion.lakehouse import (
    list_parts,
)
from tests.jobs.compared.world import (
    COMPARED,
    GROUPS,
    MEMBERS,
    NEW_YORK_CLOSES,
    NOW,
    World,
    approx,
    check,
    moment,
    with_groups,
)


def test_rows_are_gated_served_selected_explained_and_joined(world: World, tmp_path: Path):
    project = world.project
    world.made()
    close, expected = COMPARED[-1], world.oracle(COMPARED[-1])
    assert "ranked" in validate(project).promoted
    assert "ranked" in {load.view for load in materialize(project).loads}
    online = verify_online(project)
    assert online.passed
    # Five features, the universe's size and its hash.
    assert next(view for view in online.views if view.view == "ranked").values == 7 * len(expected)

    ranks = {symbol: row["score_rank"] for symbol, row in expected.items()}
    ranked = {symbol: rank for symbol, rank in ranks.items() if rank is not None}
    best = sorted(ranked, key=lambda symbol: (-ranked[symbol], symbol))
    for as_of in (None, close + timedelta(hours=1)):
        asked = SelectRequest(by="score_rank", as_of=as_of, top=3, max_bar_age=timedelta(9))
        chosen = select(project, asked)
        assert [row.symbol for row in chosen.rows] == best[:3]

    told = explain(project, ExplainRequest(best[0], "score_zscore", close + timedelta(hours=1)))
    (story,) = told.stories
    assert story.versions[0].value == pytest.approx(expected[best[0]]["score_zscore"])
    valid = (world._valid(world.scores, each, close, 2) for each in expected)
    scores = [row["score"] for row in valid if row and row["score"] is not None]
    assert story.source.startswith("signals:score of the members of club, compared at their last")
    assert story.notes[0].startswith(
        f"compared: signals:score of 26 members of club, {len(scores)} with a value by 2021-03-12"
    )
    assert f"mean {np.mean(scores):.6g}, deviation {np.std(scores):.6g}" in story.notes[0]

    days = Schedule(date(2021, 3, 1), date(2021, 3, 12))
    out = tmp_path / "panel.parquet"
    features = ("ranked:score_percentile", "score_neutralised")
    write_panel(project, PanelRequest(days, out, features=features, universe="club"))
    rows = to_rows(pq.read_table(out))
    assert len(rows) == len(world.rows())
    for row in rows:
        cells = world.oracle(row["event_timestamp"])[row["symbol"]]
        assert {name: row[name] for name in ("score_percentile", "score_neutralised")} == approx(
            {name: cells[name] for name in ("score_percentile", "score_neutralised")}
        )
    proof = prove(project, out)
    assert proof.passed
    assert "later days" in [each.name for each in proof.checks if each.finding == Finding.SOUND]


def test_sets_of_compared_members_come_again_after_restatements_and_compaction(
    world: World, tmp_path: Path, now: Callable[[datetime], None]
):
    world.made()
    days = Schedule(date(2021, 3, 1), date(2021, 3, 12))
    panel, labelled = tmp_path / "panel.parquet", tmp_path / "labelled.parquet"
    features = ["ranked:score_rank", "ranked:score_neutralised"]
    write_panel(world.project, PanelRequest(days, panel, features=features, universe="club"))
    labels = tmp_path / "labels.csv"
    lines = [f"{each},{close.isoformat()},1" for close in COMPARED for each in MEMBERS]
    labels.write_text("\n".join(["symbol,event_timestamp,y", *lines]) + "\n")
    words = ["training-set", "--labels", str(labels), "--universe", "club", "--out", str(labelled)]
    result = CliRunner().invoke(cli, [*words, *(w for f in features for w in ("--feature", f))])
    assert result.exit_code == 0, result.output
    ranks = {(r["symbol"], r["event_timestamp"]): r["score_rank"] for r in world.rows()}
    rows = to_rows(pq.read_table(labelled))
    assert len(rows) == len(ranks)
    for row in rows:
        decided = datetime.fromisoformat(row["event_timestamp"])
        assert row["score_rank"] == ranks[row["symbol"], decided]
    now(NOW + timedelta(days=1))
    world.created = NOW + timedelta(hours=1)
    world.add("scores", *(world.score(each, NEW_YORK_CLOSES[3], 500.0) for each in MEMBERS[:9]))
    world.add("spans", world.member("NASDAQ:NEW", moment(5)))
    assert world.made().restated
    group = world.project.catalog.group("ranked")
    parts = len(list_parts(world.project.lakehouse, group))
    compact(world.project)
    assert len(list_parts(world.project.lakehouse, group)) < parts
    check(world, COMPARED)
    for place in (panel, labelled):
        again = reproduce(world.project, place, tmp_path / "again.parquet")
        assert again.passed, again
        assert prove(world.project, place).passed
    latest = PanelRequest(days, tmp_path / "now.parquet", features=features, universe="club")
    assert write_panel(world.project, latest).fingerprint != again.fingerprint["rows"]


def test_what_the_gate_stops_is_not_published(world: World):
    few = "    features=[Column('score_rank', low=1, high=9)],\n    source=CrossSection("
    with_groups(world.project, GROUPS.replace("    source=CrossSection(", few))
    with pytest.raises(GateRefused, match="quarantined share"):
        cross_sections(world.project)
    rows = world.rows()
    assert max(row["event_timestamp"] for row in rows) == COMPARED[-2]  # the day to be served
    assert max(row["score_rank"] or 0 for row in rows) <= 9
    with_groups(world.project, GROUPS)
    world.made()
    check(world, COMPARED)


def test_the_commands_of_computed_features_bring_them_too(world: World):
    def printed(*words: str) -> str:
        result = CliRunner().invoke(cli, [*words])
        assert result.exit_code == 0, result.output
        return result.output

    # No bar is there, and none is needed.
    span = ("--from", "2021-03-01", "--to", "2021-03-02")
    assert printed("backfill", *span).startswith("ranked: 2 days of club, 54 rows written")
    assert "ranked: 10 days of club, 206 rows written, 54 unchanged" in printed("local-features")
    assert printed("local-features") == "ranked: nothing new to compare\n"
    assert json.loads(printed("local-features", "--json"))["groups"][0]["written"] == 0
