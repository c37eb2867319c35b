"""A changed declaration that stored parts do not allow is refused by every command."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from ingestion.base.errors import CatalogError
from ingestion.cli.commands import cli
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import append_part, arrow_schema
from ingestion.project import Project

GROUP = """
from ingestion.catalog import Column, FeatureGroup, Scanner

GROUP = FeatureGroup(
    name="mine",
    meaning="signals of mine",
    source=Scanner(),
    ttl="4d",
    features=[{features}],
)
"""
A, B = 'Column("a", meaning="a signal")', 'Column("b", "int64", meaning="a count")'


def declare(project: Path, *features: str) -> Project:
    file = project / "feature_repo" / "groups" / "mine.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(GROUP.format(features=", ".join(features)))
    return Project.from_environment()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at) -> Path:
    """A project with one stored row of its own group."""
    from tests.conftest import MONDAY

    at(MONDAY)
    folder = make_workspace(tmp_path / "workspace")
    monkeypatch.setenv("TVFEAST_PROJECT", str(folder))
    project = declare(folder, A, B)
    group = project.catalog.group("mine")
    row = {"symbol": "A:A", "timestamp": int(MONDAY.timestamp()), "event_timestamp": MONDAY}
    row |= {"created_timestamp": MONDAY, "a": 1.5, "b": 7}
    append_part(project.lakehouse, group, pa.Table.from_pylist([row], arrow_schema(group)), "run")
    return folder


@pytest.mark.parametrize(
    "features",
    [
        (A, B),
        (A, 'Column("c", "string", meaning="new")', B),
        (A, B.replace(", meaning", ", retired=True, meaning")),
        (A, 'Column("b", meaning="a count")'),
    ],
    ids=["same", "added", "retired", "widened"],
)
def test_what_stored_parts_allow_is_accepted(folder: Path, features: tuple[str, ...]):
    assert declare(folder, *features).catalog.group("mine")


@pytest.mark.parametrize(
    ("features", "complaint"),
    [
        ((A,), "mine: b is stored, and not declared: declare it again, with `retired=True`"),
        ((B, A), "mine: the columns are in another order"),
        ((A, 'Column("b", "string", meaning="x")'), "mine: b is stored as int64 and declared as"),
    ],
    ids=["removed", "another order", "another type"],
)
def test_what_they_do_not_allow_is_refused_with_what_to_do(
    folder: Path, features: tuple[str, ...], complaint: str
):
    project = declare(folder, *features)
    with pytest.raises(CatalogError) as refused:
        _ = project.catalog
    assert complaint in str(refused.value)
    for words in (
        ["status"],
        ["verify"],
        ["compact"],
        ["catalog", "check"],
        ["explain", "A:A", "a"],
    ):
        ended = CliRunner().invoke(cli, words)
        assert isinstance(ended.exception, CatalogError), (words, ended.output)
        assert complaint in str(ended.exception)
    assert json.loads((project.lakehouse_at / "_columns" / "mine.json").read_text())["b"] == "int64"
