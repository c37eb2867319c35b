"""Declarations of a project: loaded from its files, checked, refused with file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingestion.base.errors import CatalogError, InputError
from ingestion.catalog import Catalog, Column, FeatureGroup, FromBars, Scanner, Service
from ingestion.cli.commands import cli
from ingestion.formulas import SHIPPED
from ingestion.jobs.workspace import make_workspace

HEAD = "from ingestion.catalog import Column, FeatureGroup, FromBars, Scanner, Service\n"
MINE = HEAD + (
    "GROUP = FeatureGroup(name='mine', meaning='m', source=Scanner(), ttl='2d', "
    "features=[Column('beta', meaning='b')])\n"
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "feature_repo" / "groups").mkdir(parents=True)
    return tmp_path / "feature_repo"


def load(repository: Path) -> Catalog:
    return Catalog.load(repository, lambda: SHIPPED)


def declare(repository: Path, text: str, name: str = "mine.py") -> Path:
    path = repository / "groups" / name
    path.write_text(text)
    return path


def test_without_a_repository_there_are_the_shipped_groups():
    catalog = Catalog.load(None, lambda: SHIPPED)
    assert [group.name for group in catalog.groups] == ["tv_technicals_1d", "local_1d"]
    assert catalog.pulse.name == "tv_technicals_1d"


def test_a_file_adds_a_group(repository: Path):
    declare(repository, MINE)
    group = load(repository).group("mine")
    assert group.storage == "features/mine"
    assert [(column.name, column.scanner) for column in group.features] == [("beta", "beta")]


def test_a_file_of_a_shipped_files_name_replaces_it(repository: Path):
    declare(repository, "", "local_1d.py")
    declare(repository, "", "services.py")
    catalog = load(repository)
    assert [group.name for group in catalog.groups] == ["tv_technicals_1d"]
    assert not catalog.services


def test_the_same_file_twice_is_one_group(repository: Path):
    declare(repository, MINE + "ALSO = GROUP\nALL = [GROUP, ALSO]\n")
    assert load(repository).groups == load(repository).groups
    assert sum(group.name == "mine" for group in load(repository).groups) == 1


def test_names_that_begin_with_an_underscore_are_no_declarations(repository: Path):
    declare(repository, "1 / 0", "_draft.py")
    assert len(load(repository).groups) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MINE.replace("'mine'", "'local_1d'"), r"mine\.py, line 2: 'local_1d' is declared at .*"),
        (MINE.replace("'mine'", "'splits'"), r"mine\.py, line 2: 'splits' is a dataset"),
        (MINE.replace("'mine'", "'My Group'"), r"mine\.py, line 2: 'My Group' cannot be a group"),
        (MINE.replace("'2d'", "'soon'"), r"mine\.py, line 2: mine has ttl 'soon': write days"),
        (MINE.replace("'2d'", "'0d'"), r"line 2: mine has no time to live"),
        (MINE.replace("'beta'", "'symbol'"), r"line 2: mine has 'symbol' twice"),
        (MINE.replace("'beta'", "'be ta'"), r"line 2: 'be ta' in mine cannot be a feature's name"),
        (MINE.replace("[Column('beta', meaning='b')]", "[]"), r"line 2: mine has no feature"),
        (MINE.replace("'b')", "'b', low=2, high=1)"), r"line 2: beta has low 2 above high 1"),
        (MINE.replace("'b')", "'b', dtype='text')"), r"line 2: 'text' is no type of a column"),
        (MINE.replace("'b')", "'b', dtype='bool', low=0)"), r"beta is a bool and has bounds"),
        (MINE.replace("'b')", "'b', values=['x'])"), r"beta has values; only a string"),
        (MINE.replace("Scanner()", "FromBars()"), r"line 2: mine is computed from bars: name form"),
        (MINE.replace("Scanner()", "Scanner(frame='7d')"), r"line 2: '7d' is no frame"),
        (HEAD + "S = Service('s', ['mine'])", r"line 2: the service s: there is no group 'mine'"),
        (HEAD + "S = Service('s', ['local_1d:x'])", r"line 2: the service s: there is no feature"),
        (HEAD + "S = Service('s', [])", r"line 2: the service s has no parts"),
        (HEAD + "S = Service('s', ['local_1d'], default_for=['x'])", r"line 2: s is the default f"),
        (
            HEAD + "S = Service('s', ['local_1d'], default_for=['target'])",
            r"line 2: s and training_v1 are both the default for target",
        ),
        (HEAD + "S = Service('s', ['local_1d'], rank_by='x')", r"line 2: s ranks by 'x'"),
        (HEAD + "S = (", r"mine\.py, line 2: this is not Python"),
        (HEAD + "\n1 / 0", r"mine\.py, line 3: ZeroDivisionError"),
    ],
)
def test_what_cannot_be_used_is_refused_with_file_and_line(repository: Path, text: str, said: str):
    declare(repository, text)
    with pytest.raises(InputError, match=said):
        load(repository)


@pytest.mark.parametrize(
    ("features", "source", "said"),
    [
        ("['nowhere']", "FromBars()", "mine names the formula 'nowhere', which is not declared"),
        ("['RSII']", "FromBars()", r"'RSII', which is not declared \(did you mean RSI\?\); there "),
        ("['RSI']", "Scanner()", "mine names formulas, but its source is not FromBars"),
        ("['RSI']", "FromBars(twin='local_1d')", "has the twin 'local_1d', which is no group of t"),
    ],
)
def test_formulas_and_twins_must_be_there(repository: Path, features: str, source: str, said: str):
    declared = MINE.replace("[Column('beta', meaning='b')]", features).replace("Scanner()", source)
    declare(repository, declared)
    with pytest.raises(CatalogError, match=said):
        load(repository)


def test_a_plain_name_is_enough_where_it_is_unique(repository: Path):
    declare(repository, MINE)
    catalog = load(repository)
    assert catalog.feature("beta")[0].name == "mine"
    assert catalog.feature("mine:beta") == catalog.feature("beta")
    with pytest.raises(CatalogError, match="2 groups have 'RSI': write tv_technicals_1d:RSI or lo"):
        catalog.feature("RSI")
    with pytest.raises(CatalogError, match="no group 'yours'"):
        catalog.feature("yours:beta")


def test_bounds_of_one_side_are_said():
    assert Column("x", high=1).bounds == "≤ 1"
    assert Column("x", low=1).bounds == "≥ 1"
    assert Column("x").bounds == "finite"


def test_a_retired_column_is_not_asked_for():
    features = [Column("old", retired=True, meaning="o"), Column("new", meaning="n")]
    group = FeatureGroup(name="g", meaning="m", source=Scanner(), ttl="1d", features=features)
    assert [column.scanner for column in group.scanned] == ["new", "time", "last_bar_update_time"]
    assert [column.name for column in group.columns[2:4]] == ["old", "new"]


def test_a_service_names_the_features_of_each_group():
    service = Service("s", ["a", "b:x", "b:y"])
    assert (service.groups, service.features_of("a"), service.features_of("b")) == (
        ("a", "b"),
        (),
        ("x", "y"),
    )


def test_a_group_of_bars_is_of_closed_bars():
    assert FromBars().of_closed_bars
    assert not Scanner().of_closed_bars


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = make_workspace(tmp_path / "project")
    monkeypatch.setenv("TVFEAST_PROJECT", str(folder))
    return folder


def test_the_catalog_is_listed_for_people_and_machines(project: Path):
    (project / "feature_repo" / "groups").mkdir()
    declare(project / "feature_repo", MINE)
    text = CliRunner().invoke(cli, ["catalog"], catch_exceptions=False)
    assert text.exit_code == 0
    assert "mine" in text.stdout
    document = json.loads(CliRunner().invoke(cli, ["catalog", "--json"]).stdout)
    assert [group["name"] for group in document["groups"]] == [
        *("mine", "tv_technicals_1d", "local_1d")
    ]
    assert document["groups"][0]["features"] == ["beta"]


def test_a_sound_catalog_is_said_to_be_sound(project: Path):
    shipped = len(list((Path(__file__).parents[1] / "feature_repo" / "sources").glob("*.py")))
    result = CliRunner().invoke(cli, ["catalog", "check"], catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (
        0,
        f"2 groups, 1 universe, {shipped} bar sources and 4 services are sound\n",
    )


def test_a_folder_that_feast_would_load_a_second_time_is_named(project: Path):
    (project / "feature_repo" / ".feastignore").write_text("groups/**\n")
    for name in ("groups", "formulas"):
        (project / "feature_repo" / name).mkdir()
    result = CliRunner().invoke(cli, ["catalog", "check"])
    assert result.exit_code == 1
    assert "does not list formulas/**: `feast apply` would load" in result.stdout


def test_a_look_back_that_is_too_short_is_named(project: Path):
    folder = project / "feature_repo" / "formulas"
    folder.mkdir()
    (folder / "short.py").write_text(
        "from ingestion.formulas import formula, sma\n"
        "@formula('mean', 'mean of 5 closes', unit='price', look_back=3)\n"
        "def mean(bars):\n"
        "    return sma(bars.close, 5)\n"
    )
    result = CliRunner().invoke(cli, ["catalog", "check"])
    assert result.stdout.startswith(
        f"{folder / 'short.py'}, line 2: the formula mean has look_back=3, which is too short: "
        "declare look_back=4 ("
    )
    assert str(result.exception) == "1 problem in what the project declares"
