"""One file adds a group, a formula or a bar source; nothing else is touched, and all works."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import requests
from click.testing import CliRunner

from ingestion.base.errors import GateRefused, InputError
from ingestion.base.store_files import read_configuration
from ingestion.catalog import OHLCV_1D
from ingestion.cli.commands import cli
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import list_parts, read_current
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner
from tests.bars.source_files import SHIPPED
from tests.conftest import MONDAY, SAMPLE
from tests.former.served import FeastCommand
from tests.processes import Forge, Running

A, B, C = "NASDAQ:AAPL", "NASDAQ:AMZN", "NYSE:IBM"

GROUPS = """
from ingestion.catalog import Column, FeatureGroup, FromBars, Scanner

SIGNALS = FeatureGroup(
    name="mine",
    meaning="signals of mine, of every type",
    source=Scanner(),
    ttl="4d",
    features=[
        Column("beta_1_year", meaning="beta over a year"),
        Column("number_of_employees", "int64", meaning="employees", low=0),
        Column("is_primary", "bool", meaning="whether it is the primary listing"),
        Column("AnalystRating", "string", meaning="rating", values=("Buy", "Hold", "Sell")),
        Column("earnings_release_date", "timestamp", meaning="last release"),
        Column("gone", meaning="what the scanner does not know any more", optional=True),
        Column("gap", meaning="open ÷ previous close − 1"),
    ],
)

COMPUTED = FeatureGroup(
    name="mine_bars",
    meaning="gaps, computed from bars",
    source=FromBars(twin="mine"),
    ttl="12d",
    features=["gap", "RSI"],
)
"""

FORMULAS = '''
from ingestion.formulas import formula, ratio, shift


@formula("gap", "open ÷ previous close − 1", look_back=1, low=-1)
def gap(bars):
    """Return the open over the close of the bar before - 1."""
    return ratio(bars.open, shift(bars.close, 1)) - 1
'''

SOURCES = """
from datetime import date, datetime, timezone
from pathlib import Path

from ingestion.catalog import BarSource, BarTable

FILE = Path(__file__).resolve().parents[2] / "before.parquet"


def tables(want):
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    bars = pq.read_table(FILE)
    yield BarTable(bars.filter(pc.equal(bars["symbol"], want.symbol)))


SOURCE = BarSource("mine", "bars of mine", tables, exchanges=["NASDAQ", "NYSE"])
"""

CELLS: dict[str, dict[str, Any]] = {
    "beta_1_year": {A: 1.25, B: 0.75, C: 2.0},
    "number_of_employees": {A: 164_000, B: 1_500_000, C: 270_000},
    "is_primary": {A: True, B: False, C: True},
    "AnalystRating": {A: "Buy", B: "Hold", C: None},
    "earnings_release_date": {A: 1_611_781_200, B: 1_612_299_600, C: 1_611_262_800},
    "gap": {A: 0.01, B: -0.01, C: 0.0},
}


class World:
    """A fresh project with the three files, after two evenings of the whole flow."""

    def __init__(self, folder: Path, scanner: ReplayScanner, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch, self.url = make_workspace(folder), patch, scanner.url
        for name, text in (("groups", GROUPS), ("formulas", FORMULAS), ("sources", SOURCES)):
            (self.folder / "feature_repo" / name).mkdir()
            (self.folder / "feature_repo" / name / "mine.py").write_text(text)
        self.enter(patch)
        self.candidates = self.folder / "portfolio_candidates.json"
        self.candidates.write_text(json.dumps({"symbols": [A, B, C]}))
        bars = pq.read_table(SAMPLE / "bars.parquet")
        since = pc.field("timestamp") > (MONDAY - timedelta(days=240)).timestamp()
        self.bars = bars.filter(since & pc.field("symbol").isin([A, B, C]))
        pq.write_table(self.bars, self.folder / "history.parquet")

    def enter(self, patch: pytest.MonkeyPatch, day: int = 0) -> None:
        """Work in this project, on the evening of a day."""
        self.patch = patch
        patch.setenv("TVFEAST_PROJECT", str(self.folder))
        patch.setenv("TVFEAST_SCANNER_URL", self.url)
        self.evening(day)

    def evening(self, day: int) -> None:
        self.patch.setenv("TVFEAST_NOW", (MONDAY + timedelta(days=day)).isoformat())

    def run(self, *words: str) -> Any:
        """Run a command and return its JSON."""
        result = CliRunner().invoke(cli, [*words, "--json"], catch_exceptions=False)
        assert result.exit_code == 0, (words, result.output)
        return json.loads(result.stdout)

    @property
    def project(self) -> Project:
        return Project.from_environment()


@pytest.fixture(scope="module")
def made(sample_panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("extend") / "project"
    with (
        pytest.MonkeyPatch.context() as patch,
        ReplayScanner(sample_panel.with_columns(CELLS)) as scanner,
    ):
        world = World(folder, scanner, patch)
        before = world.folder / "before.parquet"
        known = world.bars.filter(
            pc.less(world.bars["timestamp"], int((MONDAY - timedelta(hours=12)).timestamp()))
        )
        pq.write_table(known, before)
        world.run("fetch-bars", "--source", "mine", "--candidates", str(world.candidates))
        for day in (0, 1):
            world.evening(day)
            world.flow = world.run("flow-data", "--candidates", str(world.candidates))
        yield world


@pytest.fixture
def world(made: World, monkeypatch: pytest.MonkeyPatch) -> World:
    made.enter(monkeypatch, day=1)
    return made


def test_the_flow_publishes_and_serves_both_groups(world: World):
    published = {each["dataset"]: each for each in world.flow["published"]}
    assert published["mine"]["rows"] == 3
    assert published["mine_bars"]["online"] == 3
    assert not world.flow["refused"]


def test_the_rows_have_the_scanners_values_in_every_type(world: World):
    group = world.project.catalog.group("mine")
    rows = read_current(list_parts(world.project.lakehouse, group), group).to_pylist()
    assert len(rows) == 6
    last = {row["symbol"]: row for row in rows[-6:] if row["timestamp"] == rows[-1]["timestamp"]}
    assert last[A]["beta_1_year"] == 1.25
    assert last[A]["number_of_employees"] == 164_000
    assert last[A]["is_primary"] is True
    assert (last[B]["AnalystRating"], last[C]["AnalystRating"]) == ("Hold", None)
    assert last[A]["earnings_release_date"].timestamp() == 1_611_781_200
    assert all(row["gone"] is None for row in rows)


def test_the_formula_is_computed_for_all_of_history(world: World):
    group = world.project.catalog.group("mine_bars")
    rows = read_current(list_parts(world.project.lakehouse, group), group)
    own = rows.filter(pc.equal(rows["symbol"], A)).sort_by("timestamp").to_pandas()
    bars = world.bars.filter(pc.equal(world.bars["symbol"], A)).sort_by("timestamp").to_pandas()
    split = bars["split_ratio"].cumprod() if "split_ratio" in bars else 1.0
    opens, closes = bars["open"] * split, bars["close"] * split
    expected = (opens / closes.shift(1) - 1)[: len(own)]
    pd.testing.assert_series_equal(
        own["gap"][1:], expected[1:], check_names=False, check_exact=False, rtol=1e-12
    )


def test_the_bars_are_of_the_source_and_the_scanner(world: World):
    rows = read_current(list_parts(world.project.lakehouse, OHLCV_1D), OHLCV_1D)
    assert set(rows["source"].to_pylist()) == {"fetch:mine", "scanner"}
    assert {each["name"] for each in world.run("catalog")["sources"]} == {"mine", *SHIPPED}


def test_select_ranks_by_the_new_feature(world: World):
    chosen = world.run("select", "--by", "mine:beta_1_year")
    assert [row["symbol"] for row in chosen["rows"]] == [C, A, B]
    computed = world.run("select", "--by", "gap", "--from-group", "mine_bars")
    assert len(computed["rows"]) == 3


def test_a_limit_may_be_on_a_feature_of_another_group(world: World):
    """Plain where only one group has the feature, else group:feature."""
    asked = ("select", "--by", "mine:beta_1_year")
    for name in ("volatility_20d", "tv_technicals_1d:RSI", "mine_bars:RSI"):
        assert len(world.run(*asked, "--min", f"{name}=-1000")["rows"]) == 3
        assert world.run(*asked, "--min", f"{name}=1000")["left_out"] == {"filtered": 3}
    row = world.run("select", "--by", "RSI", "--min", "beta_1_year=1.5")["rows"][0]
    assert (row["symbol"], row["features"]["beta_1_year"]) == (C, 2.0)
    as_of = world.run("select", "--as-of", "2021-04-13T21:30:00Z", "--min", "beta_1_year=1.5")
    assert [row["symbol"] for row in as_of["rows"]] == [C]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--min", "gap=0"], "write mine:gap or mine_bars:gap"),
        (["--from-group", "mine_bars", "--max", "beta_1_yaer=0"], "there is no feature"),
        (["--min", "elsewhere:gap=0"], "there is no group 'elsewhere'; there are mine, "),
    ],
)
def test_a_feature_that_is_not_clear_is_told_with_where_it_is(
    world: World, words: list[str], told: str
):
    result = CliRunner().invoke(cli, ["select", *words])
    assert isinstance(result.exception, InputError)
    assert told in str(result.exception)


def test_a_backfill_says_what_it_does_to_each_group(world: World):
    done = CliRunner().invoke(cli, ["backfill", "--from", "2021-04-01", "--to", "2021-04-13"])
    will, did = done.stdout.splitlines()
    later = CliRunner().invoke(cli, ["backfill", "--from", "2022-04-01", "--to", "2022-04-13"])
    assert "nothing to compute: no bar closed from 2022-04-01 to 2022-04-13" in later.output
    assert re.search(r" 0 dates, 0 rows of local_1d, 0 rows of mine_bars", will)
    assert re.search(r"local_1d: 0 rows written, (\d+) unchanged; mine_bars: 0 rows .*, \1", did)


@pytest.mark.parametrize(
    ("feature", "value", "source"),
    [
        ("number_of_employees", 164_000, "column number_of_employees"),
        ("mine_bars:gap", None, "close of the bar before"),
    ],
)
def test_explain_says_where_a_value_comes_from(world: World, feature: str, value: Any, source: str):
    (story,) = world.run("explain", A, feature)["stories"]
    assert source in story["source"]
    assert "tvfeast_file" not in story["source"]
    job = "local_features.json" if "bars" in feature else "feature_ingest.mine.json"
    assert story["versions"][0]["receipt"] == f"_runs/{world.flow['run_id']}/{job}"
    if value is not None:
        assert story["versions"][0]["value"] == value
        assert story["online"]["value"] == value


def test_explain_says_that_the_scanner_did_not_know_a_column(world: World):
    (story,) = world.run("explain", A, "gone")["stories"]
    assert {each["was_unknown"] for each in story["versions"]} == {True}
    shown = CliRunner().invoke(cli, ["explain", A, "gone"], catch_exceptions=False).stdout
    assert "null because the scanner did not know the column, which is optional" in shown
    (story,) = world.run("explain", B, "AnalystRating")["stories"]
    assert {each["was_unknown"] for each in story["versions"]} == {False}


def test_status_verify_and_parity_know_them(world: World):
    status = world.run("status")
    assert {"mine", "mine_bars"} <= {group["view"] for group in status["groups"]}
    scanned = {step["group"]: step["name"] for step in world.flow["steps"] if step["group"]}
    assert scanned == {
        "mine": "feature-ingest mine",
        "tv_technicals_1d": "feature-ingest",
    }
    assert not world.run("verify")["faults"]
    assert {"gap"} <= {column["feature"] for column in world.run("parity")["report"]["columns"]}


def test_the_catalog_is_sound_and_documented(world: World):
    assert not world.run("catalog", "check")["problems"]
    document = subprocess.run(
        [sys.executable, "-m", "ingestion.cli.schema_registry"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"TVFEAST_PROJECT": str(world.folder)},
    ).stdout
    assert "| `number_of_employees` | int64 | yes |" in document


def test_history_and_online_reads_through_feast(world: World):
    from feast import FeatureStore

    store = FeatureStore(repo_path=str(world.folder / "feature_repo"))
    names = [f"mine:{name}" for name in CELLS if name != "gap"] + ["mine_bars:gap"]
    asked = pd.DataFrame({"symbol": [A, B], "event_timestamp": [pd.Timestamp(MONDAY)] * 2})
    asked["event_timestamp"] += pd.Timedelta(days=1, minutes=5)
    joined = store.get_historical_features(entity_df=asked, features=names).to_df()
    joined = joined.set_index("symbol")
    assert joined.loc[A, "number_of_employees"] == 164_000
    assert joined.loc[B, "AnalystRating"] == "Hold"
    assert bool(joined.loc[A, "is_primary"]) is True
    answer = store.get_online_features(names, [{"symbol": A}]).to_dict()
    assert answer["AnalystRating"] == ["Buy"]
    assert answer["is_primary"] == [True]
    assert answer["number_of_employees"] == [164_000]
    assert answer["gap"][0] == pytest.approx(joined.loc[A, "gap"])


@dataclass(frozen=True)
class Seeing:
    """Sees the modules of a folder before all others."""

    folder: Path

    def __call__(self) -> None:
        sys.path.insert(0, str(self.folder))


def copied(world: World, tmp_path: Path) -> tuple[Path, Seeing]:
    """Return a copy of the project, and a module ``groups`` that is installed elsewhere."""
    installed = tmp_path / "site"
    (installed / "groups").mkdir(parents=True)
    (installed / "groups" / "__init__.py").write_text("raise RuntimeError('not ours')")
    return shutil.copytree(world.folder, tmp_path / "copy"), Seeing(installed)


def test_feast_plans_and_applies_from_either_folder(world: World, tmp_path: Path, forge: Forge):
    """A module that is installed under the name of a folder changes nothing."""
    folder, installed = copied(world, tmp_path)
    for where, words in ((".", ["--chdir", "feature_repo", "plan"]), ("feature_repo", ["apply"])):
        command = FeastCommand(folder, tuple(words), where)
        done = forge.start(command, {}, installed).wait()
        assert done.code == 0, done.err[-2000:]
    from feast import FeatureStore

    store = FeatureStore(repo_path=str(folder / "feature_repo"))
    views = {view.name: view for view in store.list_feature_views()}
    assert {"mine", "mine_bars"} <= views.keys()
    assert views["mine"].batch_source.path.startswith(str(folder))


@contextmanager
def running(command: str, folder: Path, where: str, start: Callable[..., Running]) -> Iterator[str]:
    """Run a server of Feast's; gives its address, where it answers in a moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    chdir = () if where == "feature_repo" else ("--chdir", "feature_repo")
    words = (*chdir, command, "--host", "127.0.0.1", "--port", port)
    now = {"TVFEAST_NOW": os.environ["TVFEAST_NOW"]}
    server = start(FeastCommand(folder, words, where), now)
    try:
        for _ in range(1_200):
            assert not server.has_ended, server.wait().err[-2000:]
            with suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), 1):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()


def test_feast_serves_the_features_and_shows_the_registry(
    world: World, tmp_path: Path, forge: Forge
):
    folder, installed = copied(world, tmp_path)
    project = read_configuration(world.project)["project"]
    asked = {"features": ["mine:number_of_employees"], "entities": {"symbol": [A]}}
    start = partial(forge.start, arrange=installed)
    with (
        running("serve", folder, "feature_repo", start) as server,
        running("ui", folder, ".", start) as pages,
    ):
        answer = requests.post(f"{server}/get-online-features", json=asked, timeout=60).json()
        assert answer["metadata"]["feature_names"] == ["symbol", "number_of_employees"]
        assert answer["results"][1]["values"] == [164_000]
        views = requests.get(
            f"{pages}/api/v1/feature_views", params={"project": project}, timeout=60
        ).json()
        shown = {view["spec"]["name"] for view in views["featureViews"]}
        assert {"mine", "mine_bars"} <= shown
        assert "<title>" in requests.get(pages, timeout=60).text


def test_compaction_changes_no_row(world: World):
    group = world.project.catalog.group("mine")
    before = read_current(list_parts(world.project.lakehouse, group), group)
    world.evening(3)
    world.run("compact")
    assert read_current(list_parts(world.project.lakehouse, group), group).equals(before)
    assert not world.run("verify")["faults"]


def test_a_feature_that_is_no_number_cannot_be_ranked_by(world: World):
    result = CliRunner().invoke(cli, ["select", "--by", "mine:AnalystRating"])
    assert "is a string: name a number" in str(result.exception)


def test_a_computed_group_that_is_refused_keeps_no_other_from_being_written(
    settings: Project, tmp_path: Path
):
    groups = """
from ingestion.catalog import FeatureGroup, FromBars, Identity, Quality

REFUSED, KEPT = (
    FeatureGroup(
        name=name,
        meaning="computed from bars",
        source=FromBars(),
        ttl="12d",
        features=["RSI", "AO"],
        quality=Quality(identities=rules, judged_from=1),
    )
    for name, rules in (("a_refused", (Identity("RSI", (("AO", 1.0),)),)), ("z_kept", ()))
)
"""
    (settings.folder / "feature_repo" / "groups").mkdir(exist_ok=True)
    (settings.folder / "feature_repo" / "groups" / "two.py").write_text(groups)
    bars = pq.read_table(SAMPLE / "bars.parquet")
    since = pc.field("timestamp") > MONDAY.timestamp() - 60 * 86_400
    pq.write_table(bars.filter(since & (pc.field("symbol") == A)), tmp_path / "bars.parquet")
    import_bars(settings, ImportRequest((tmp_path / "bars.parquet",)))
    with pytest.raises(GateRefused, match=r"a_refused: .*z_kept \(\d+ rows\)"):
        local_features(settings)
    newest = {
        group.name: max(part.date for part in list_parts(settings.lakehouse, group))
        for group in settings.catalog.computed
        if list_parts(settings.lakehouse, group)
    }
    assert newest.pop("a_refused") < MONDAY.date()
    assert newest == {"local_1d": MONDAY.date(), "z_kept": MONDAY.date()}


def test_replacing_the_project_changes_no_other(world: World, tmp_path: Path):
    other = replace(world.project, folder=make_workspace(tmp_path / "other"))
    assert [group.name for group in other.catalog.groups] == ["tv_technicals_1d", "local_1d"]
