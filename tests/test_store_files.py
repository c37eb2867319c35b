"""Where registry and online store are: as Feast says, without importing it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ingestion.base.errors import FeastRepositoryError
from ingestion.base.store_files import StoreFiles, read_configuration, store_files, with_files
from ingestion.jobs.serve.feast_repository import own_tables
from ingestion.project import Project

OURS = "ingestion.plugins.wide_sqlite.WideSqliteOnlineStore"
FEASTS = "feast.infra.online_stores.sqlite.SqliteOnlineStore"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "feature_repo").mkdir()
    return replace(Project.from_environment(), folder=tmp_path)


def written(project: Project, text: str) -> Path:
    path = project.feast_repository / "feature_store.yaml"
    path.write_text(f"project: p\nprovider: local\nentity_key_serialization_version: 3\n{text}")
    return path


@pytest.mark.parametrize(
    "text",
    [
        f"registry: {{path: ../data/r.db}}\nonline_store: {{type: {OURS}, path: ../data/o.db}}",
        "registry: ../elsewhere/r.db\nonline_store: {type: sqlite, path: /srv/feast/online.db}",
        f"registry: {{path: /srv/r.db, cache_ttl_seconds: 5}}\nonline_store: {{type: {FEASTS}}}",
        "registry: r.db",
        "registry: r.db\nonline_store: sqlite",
        f"registry: ${{FEAST_HOME}}/r.db\nonline_store: {{type: {OURS}, path: $FEAST_HOME/o.db}}",
        f"registry: a/../b/r.db\nonline_store:\n  type: {OURS}\n  path: 'with space/ö.db'",
    ],
)
def test_both_files_are_where_feast_looks_for_them(project, text, monkeypatch):
    from feast.infra.online_stores.sqlite import SqliteOnlineStore
    from feast.infra.registry.file import FileRegistryStore
    from feast.repo_config import load_repo_config

    monkeypatch.setenv("FEAST_HOME", "../of/feast")
    path = written(project, text)
    config = load_repo_config(project.feast_repository, path)
    registry = FileRegistryStore(config.registry, project.feast_repository)._filepath
    online = SqliteOnlineStore._get_db_path(config)
    assert store_files(project)[:2] == (registry.resolve(), Path(online).resolve())


@pytest.mark.parametrize(
    ("text", "registry", "online"),
    [
        ("registry: {registry_type: sql, path: sqlite:///r.db}\nonline_store: sqlite", None, True),
        ("registry: s3://bucket/registry.pb\nonline_store: {type: redis}", None, None),
        ("registry: r.db\nonline_store: {type: remote, path: http://h:6566}", True, None),
        (f"registry: gs://b/r.db\nonline_store: {{type: {OURS}}}", None, True),
    ],
)
def test_what_is_no_file_of_this_machine_is_none(project, text, registry, online):
    written(project, text)
    found = store_files(project)
    assert (found.registry and True, found.online and True) == (registry, online)


@pytest.mark.parametrize(
    "content", [b"registry: [", b"\xff\xfe\x00", b"- a\n- b\n", b"", b"p: 1\nregistry: [a, b]\n"]
)
def test_a_yaml_that_cannot_be_read_is_named(project, content):
    (project.feast_repository / "feature_store.yaml").write_bytes(content)
    with pytest.raises(FeastRepositoryError, match=r"feature_store\.yaml"):
        store_files(project)


def test_a_missing_yaml_names_the_setting(project):
    with pytest.raises(FeastRepositoryError, match="TVFEAST_PROJECT"):
        store_files(project)


def test_above_a_linked_repository_is_where_the_link_leads(project, tmp_path):
    written(project, f"registry: ../r.db\nonline_store: {{type: {OURS}, path: ../o.db}}")
    far = tmp_path / "far"
    far.mkdir()
    project.feast_repository.rename(far / "repository")
    project.feast_repository.symlink_to(far / "repository")
    assert store_files(project)[:2] == (far / "r.db", far / "o.db")


@pytest.mark.parametrize(
    ("text", "is_own"),
    [
        (f"online_store: {{type: {OURS}}}", True),
        (f"online_store: {{type: {FEASTS}}}", False),
        ("online_store: sqlite", False),
        ("", False),
    ],
)
def test_this_projects_online_store_is_told_from_feasts(project, text, is_own):
    written(project, text)
    assert (own_tables(project) is not None) is is_own


def test_other_places_leave_all_other_settings(project):
    written(project, f"registry: r.db\nonline_store: {{type: {OURS}, path: o.db}}")
    before = read_configuration(project)
    after = with_files(before, Path("/a/r.db"), Path("/b/o.db"))
    assert after == before | {
        "registry": {"path": "/a/r.db"},
        "online_store": {"type": OURS, "path": "/b/o.db"},
    }


def test_feast_is_not_imported():
    said = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys\nfrom ingestion.project import Project\n"
            "from ingestion.base.store_files import store_files\n"
            "print(store_files(Project.from_environment()))\n"
            "print('feast' in sys.modules, 'pyarrow' in sys.modules)",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    data = Path(__file__).resolve().parent.parent / "data"
    assert said == [
        str(StoreFiles(data / "registry.db", data / "online.db")),
        "False False",
    ]
