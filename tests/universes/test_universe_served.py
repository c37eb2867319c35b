"""Selecting among the members of a universe, and labels of its members."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from ingestion.catalog import Listing, Universe
from ingestion.cli.commands import cli
from ingestion.jobs.flow import flow_data
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest
from ingestion.jobs.ingest.import_universe import ImportUniverseRequest, import_universe
from ingestion.jobs.ingest.universe_ingest import universe_ingest
from ingestion.markets.candidates import read_candidates
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner
from tests.conftest import MONDAY, QUICK, SAMPLE

INDEX = "SYML:SP;SPX"
SP500 = Universe("sp500", Listing(symbolset=INDEX))
ALWAYS = [(0.0, float("inf"))]
DAY = timedelta(days=1)


@pytest.fixture
def scanner(sample_panel: Panel, at: Callable[[datetime], None]) -> Iterator[ReplayScanner]:
    with ReplayScanner(sample_panel.with_columns({})) as replay:
        yield replay


@pytest.fixture
def served(settings: Project, scanner: ReplayScanner, at: Callable[[datetime], None]) -> Project:
    """Snapshots of all symbols on Monday and Tuesday; the universe changes on Tuesday."""
    candidates = read_candidates(SAMPLE / "portfolio_candidates.json")
    stocks = sorted(each for each in candidates.symbols if each.startswith("N"))
    for day, members in enumerate((stocks[:5], stocks[2:7])):
        at(MONDAY + day * DAY)
        scanner.panel.symbolsets[INDEX] = dict.fromkeys(members, ALWAYS)
        universe_ingest(settings, SP500, QUICK)
        flow_data(settings, FeatureIngestRequest(candidates, scanner=replace(QUICK, retries=0)))
    return settings


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, words)])


def test_members_are_selected_and_labelled_as_they_were(
    served: Project, scanner: ReplayScanner, at: Callable[[datetime], None], tmp_path: Path
):
    monday, tuesday = (MONDAY + day * DAY + timedelta(minutes=5) for day in (0, 1))
    at(tuesday)
    stocks = sorted(each for each in scanner.panel.symbols if each.startswith("N"))

    online = json.loads(command("select", "--universe", "sp500", "--json").stdout)
    assert sorted(row["symbol"] for row in online["rows"]) == stocks[2:7]
    was = command("select", "--universe", "sp500", "--as-of", monday.isoformat(), "--json")
    assert sorted(row["symbol"] for row in json.loads(was.stdout)["rows"]) == stocks[:5]

    before = command("select", "--universe", "sp500", "--as-of", "2021-04-11T21:30Z")
    assert getattr(before.exception, "exit_code", None) == 3
    assert "it is not known who was in sp500 at 2021-04-11 21:30 UTC" in str(before.exception)
    assert "there is no universe 'no'" in str(command("select", "--universe", "no").exception)
    both = command("select", "--universe", "sp500", "--candidates", "x.json")
    assert "not both" in str(both.exception)

    labels = tmp_path / "labels.csv"
    times = [monday - DAY, monday, tuesday]
    lines = [f"{each},{at.isoformat()},1.5" for at in times for each in stocks[:8]]
    labels.write_text("symbol,event_timestamp,mine\n" + "\n".join(lines) + "\n")
    out = tmp_path / "set.parquet"
    made = command("training-set", "--labels", labels, "--out", out, "--universe", "sp500")
    assert made.exit_code == 0, made.output
    rows = pq.read_table(out).to_pylist()
    assert sorted((row["event_timestamp"], row["symbol"]) for row in rows) == sorted(
        [(times[0].isoformat(), each) for each in stocks[:8]]
        + [(times[1].isoformat(), each) for each in stocks[:5]]
        + [(times[2].isoformat(), each) for each in stocks[2:7]]
    )
    assert "not known at 8 of 24 decisions (33.3%)" in made.stderr
    assert "18 label rows (6 of others left out)" in made.stdout
    receipts = sorted(served.lakehouse_at.glob("_runs/*/training_set.json"))
    receipt = json.loads(receipts[-1].read_text())
    assert (receipt["request"]["universe"], receipt["outside"], receipt["unknown"]) == (
        "sp500",
        6,
        8,
    )

    path = tmp_path / "members.csv"
    path.write_text(f"symbol,from,to\n{stocks[0]},2015-01-02,\n")
    import_universe(served, ImportUniverseRequest(path, "one"))
    made = command("training-set", "--labels", labels, "--out", out, "--universe", "one")
    assert set(pq.read_table(out)["symbol"].to_pylist()) == {stocks[0]}
    assert "survivors" not in made.stderr
    words = ("training-set", "--target", "fwd_return_1d", "--universe", "one", "--universe-as-of")
    assert "not both" in str(command(*words).exception)
