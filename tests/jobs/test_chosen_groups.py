"""Which groups run is the project's choice; what it does not choose costs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner

from ingestion.base.errors import CatalogError
from ingestion.cli.commands import cli
from ingestion.cli.ingest import ingest_text
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.lakehouse import list_parts, read_part
from ingestion.markets.candidates import Candidates
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner
from tests.conftest import MONDAY, QUICK

A, B, C = "NASDAQ:AAPL", "NASDAQ:AMZN", "NYSE:IBM"
ASKED = Candidates("three.json", (A, B, C), (), 0)
DEFAULT = ("tv_technicals_1d", "local_1d")
FRAMES = {"1h": "|60", "4h": "|240", "1w": "|1W", "1mo": "|1M"}


def choose(project: Project, names: Iterable[str]) -> None:
    listed = ", ".join(f'"{name}"' for name in names)
    (project.feast_repository / "groups.toml").write_text(f"groups = [{listed}]\n")
    vars(project).pop("catalog", None)


def request(group: str | None = None) -> FeatureIngestRequest:
    return FeatureIngestRequest(ASKED, scanner=QUICK, group=group)


def test_shipped_groups_that_are_not_chosen_do_not_run(settings: Project):
    catalog = settings.catalog
    assert tuple(group.name for group in catalog.groups) == DEFAULT
    assert {f"tv_technicals_{frame}" for frame in FRAMES} <= {each.name for each in catalog.others}
    assert "agreement_v1" not in {service.name for service in catalog.services}
    with pytest.raises(CatalogError, match="tv_technicals_4h does not run in this project: list"):
        catalog.group("tv_technicals_4h")
    with pytest.raises(CatalogError, match=r"'RSI\[1\]'; tv_technicals_1h has it: list that group"):
        catalog.features("RSI[1]")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("RSII", "there is no feature 'RSII' (did you mean RSI?); there are "),
        ("adx", "there is no feature 'adx' (did you mean ADX?); there are "),
        ("tv_technicals_1d:Stoch.k", "(did you mean Stoch.K"),
        ("tv_technical_4h:RSI", "no group 'tv_technical_4h' (did you mean tv_technicals_4h?)"),
        ("locl_1d:RSI", "there is no group 'locl_1d' (did you mean local_1d?)"),
    ],
)
def test_a_misspelt_feature_is_refused_with_the_nearest_name(
    settings: Project, name: str, said: str
):
    with pytest.raises(CatalogError, match=re.escape(said)):
        settings.catalog.features(name)


def test_a_list_of_groups_is_the_projects_choice(settings: Project):
    choose(settings, [*DEFAULT, *(f"tv_technicals_{frame}" for frame in FRAMES)])
    names = [group.name for group in settings.catalog.groups]
    assert set(names) == {*DEFAULT, *(f"tv_technicals_{frame}" for frame in FRAMES)}
    assert names[-1] == "local_1d"  # what is computed comes last
    assert "agreement_v1" in {service.name for service in settings.catalog.services}


def test_more_groups_run_beside_the_default_ones_and_ones_own(settings: Project):
    folder = settings.feast_repository / "groups"
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(
        "from ingestion.catalog import Column, FeatureGroup, Scanner\n"
        "GROUP = FeatureGroup(name='mine', meaning='m', source=Scanner(), ttl='4d',\n"
        "                     features=[Column('ATR', meaning='a')])\n"
    )
    (settings.feast_repository / "groups.toml").write_text('more = ["tv_technicals_1w"]\n')
    names = {group.name for group in settings.catalog.groups}
    assert names == {*DEFAULT, "tv_technicals_1w", "mine"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('groups = ["tv_technicals_9h"]', "lists 'tv_technicals_9h', which no file declares"),
        ('groups = ["local_1d", "local_1d"]', "lists 'local_1d' twice"),
        ("groups = []", "write one line, groups ="),
        ('groups = ["local_1d"]\nmore = ["tv_technicals_1w"]', "write one line, groups ="),
        ('more = "tv_technicals_1w"', "more = .* beside the default ones"),
        ('group = ["local_1d"]', "write one line, groups ="),
        ("groups", "groups.toml cannot be read"),
        (
            '# mine\ngroups = [\n  "local_1d",\n  "tv_technical_4h",\n]',
            "line 4: .*mean tv_technicals_4h",
        ),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_with_its_file(
    settings: Project, text: str, said: str
):
    (settings.feast_repository / "groups.toml").write_text(text)
    with pytest.raises(CatalogError, match=said) as refused:
        _ = settings.catalog
    assert refused.value.exit_code == 2


def test_the_list_of_groups_shows_what_can_be_chosen(settings: Project):
    told = CliRunner().invoke(cli, ["catalog"]).output
    running, _, others = told.partition("runs if groups.toml lists it")
    assert "local_1d" in running
    assert "tv_technicals_4h" not in running
    assert "tv_technicals_4h" in others


BARS = {
    "1h": {A: "2021-04-12 19:30", B: "2021-04-12 18:30", C: "2021-04-12 19:00"},
    "4h": {A: "2021-04-12 17:30", B: "2021-04-09 17:30", C: None},
    "1w": {A: "2021-04-12 13:30", B: "2021-04-05 13:30", C: "2021-04-14 13:30"},
    "1mo": {A: "2021-04-01 13:30", B: "2021-03-01 14:30", C: "2021-05-03 13:30"},
}
"""At 21:30 UTC, an hour and a half after the close, of the three symbols."""
MARKS = {
    "1h": ["expected", "earlier", "misplaced"],
    "4h": ["expected", "earlier", "unknown"],
    "1w": ["expected", "earlier", "later"],
    "1mo": ["expected", "earlier", "later"],
}


def cells(project: Project, frame: str) -> Mapping[str, Mapping[str, Any]]:
    group = project.catalog.group(f"tv_technicals_{frame}")
    opens = {
        symbol: None if text is None else int(_utc(text).timestamp())
        for symbol, text in BARS[frame].items()
    }
    rating = {"Recommend.All": 0.25, "Recommend.MA": 0.5, "Recommend.Other": 0}
    values = {
        column.scanner: dict.fromkeys((A, B, C), rating.get(column.name, 40.5 + at))
        for at, column in enumerate(group.features)
    }
    ticks = {symbol: None if each is None else each + 60 for symbol, each in opens.items()}
    suffix = FRAMES[frame]
    return values | {f"time{suffix}": opens, f"last_bar_update_time{suffix}": ticks}


@pytest.mark.parametrize("frame", FRAMES)
def test_rows_of_a_frame_are_kept_and_marked(settings: Project, sample_panel: Panel, frame: str):
    choose(settings, [*DEFAULT, f"tv_technicals_{frame}"])
    group = settings.catalog.group(f"tv_technicals_{frame}")
    panel = sample_panel.with_columns(cells(settings, frame))
    with ReplayScanner(panel, record=True) as scanner:
        project = _at(settings, scanner)
        result = feature_ingest(project, request(group.name))
    asked = [each.body["columns"] for each in scanner.requests if each.body]
    assert all(name.endswith(FRAMES[frame]) or name == "update_mode" for name in asked[-1])
    (part,) = list_parts(project.lakehouse, group)
    rows = read_part(part, group).to_pylist()
    assert [row["symbol"] for row in rows] == [A, B, C]
    assert [row["bar_check"] for row in rows] == MARKS[frame]
    assert [row["bar_timestamp"] for row in rows] == [
        None if text is None else _utc(text) for text in BARS[frame].values()
    ]
    assert rows[0]["RSI[1]"] == 40.5 + 11
    assert dict(result.notes.bar_checks) == dict.fromkeys(MARKS[frame], 1)
    assert f"bars not as expected (kept, see bar_check): 1 {MARKS[frame][1]}" in ingest_text(result)


def test_what_is_not_chosen_is_not_asked_for(settings: Project, sample_panel: Panel):
    asked = []
    for chosen in (None, DEFAULT):
        if chosen:
            choose(settings, chosen)
        with ReplayScanner(sample_panel, record=True) as scanner:
            feature_ingest(_at(settings, scanner), request())
        asked.append([each.body for each in scanner.requests])
        for part in list_parts(settings.lakehouse, settings.catalog.pulse):
            part.path.unlink()
    assert asked[0] == asked[1]
    assert len(asked[0]) == 1


def _at(project: Project, scanner: ReplayScanner) -> Project:
    return replace(project, scanner_url=scanner.url)


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


assert datetime(2021, 4, 12, 21, 30, tzinfo=UTC) == MONDAY
