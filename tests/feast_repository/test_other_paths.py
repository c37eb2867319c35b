"""``feature_store.yaml`` keeps registry and online store elsewhere: every command follows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ingestion.base.errors import CorruptPart, FeastRepositoryError
from ingestion.base.store_files import read_configuration, with_files
from ingestion.jobs.audit.explain import ExplainRequest, explain
from ingestion.jobs.audit.lineage import Online
from ingestion.jobs.audit.status import StatusLimits, status
from ingestion.jobs.flow import flow_data
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.rebuild import rebuild
from ingestion.jobs.serve.select import SelectRequest, select
from ingestion.jobs.serve.verify_online import verify_online
from ingestion.lakehouse import list_parts
from ingestion.markets.candidates import read_candidates
from ingestion.project import Project
from tests.conftest import SAMPLE
from tests.declared import TV_TECHNICALS_1D
from tests.feast_repository.conftest import WEEK


@pytest.fixture(autouse=True)
def now_is_friday_evening(at):
    at(WEEK[-1])


@pytest.fixture(params=["relative", "absolute"])
def elsewhere(writable_week: Project, tmp_path: Path, request) -> tuple[Project, Path, Path]:
    """A project whose two files are in two folders that do not exist yet, and those files."""
    registry = tmp_path / "state" / "feast" / "features.pb"
    online = tmp_path / "served" / "now" / "rows.sqlite"
    named = (registry, online)
    if request.param == "relative":
        up = Path("..") / ".."
        named = (up / registry.relative_to(tmp_path), up / online.relative_to(tmp_path))
    moved(writable_week, *named)
    return writable_week, registry, online


def moved(settings: Project, registry: Path, online: Path) -> None:
    path = settings.feast_repository / "feature_store.yaml"
    path.write_text(yaml.safe_dump(with_files(read_configuration(settings), registry, online)))


def told_online(settings: Project) -> object:
    explained = explain(settings, ExplainRequest("NASDAQ:AAPL", "tv_technicals_1d:RSI"))
    return explained.stories[0].online


def test_loading_ranking_verifying_and_explaining_use_those_files(elsewhere):
    settings, registry, online = elsewhere
    assert told_online(settings) == "there is no online store yet"
    materialize(settings)
    assert registry.is_file()
    assert registry.stat().st_mode & 0o777 == 0o600
    assert online.is_file()
    assert not list((settings.folder / "data").glob("*.db"))
    ranked = select(settings, SelectRequest(by="RSI"))
    assert len(ranked.rows) == 20
    assert verify_online(settings).passed
    told = told_online(settings)
    assert isinstance(told, Online)
    assert told.state == "served"
    assert status(settings, StatusLimits()).load.rows["tv_technicals_1d"] == 60


@pytest.mark.parametrize("name", ["registry", "online"])
def test_damage_is_told_of_the_right_file_and_rebuilt_in_its_place(elsewhere, name: str):
    settings, *files = elsewhere
    materialize(settings)
    before = select(settings, SelectRequest(by="RSI"))
    damaged = files[name == "online"]
    damaged.write_bytes(b"\xff" * 5000)
    with pytest.raises(FeastRepositoryError, match=f"{damaged.name} cannot be read"):
        select(settings, SelectRequest(by="RSI"))
    if name == "online":
        assert str(damaged) in str(told_online(settings))
    for path in files:  # rebuilt from the damaged one, then from a missing one
        assert rebuild(settings).report.passed
        assert select(settings, SelectRequest(by="RSI")) == before
        path.unlink()
    assert rebuild(settings).report.passed
    for path in files:
        assert {each.name for each in path.parent.iterdir()} <= {
            *(path.name + suffix for suffix in ("", "-wal", "-shm")),
        }
    assert not list((settings.folder / "data").glob("*.db"))


def test_a_rebuild_that_fails_leaves_what_is_served(elsewhere):
    settings, *_ = elsewhere
    materialize(settings)
    request = SelectRequest(symbols=["NASDAQ:AAPL"])
    before = select(settings, request)
    part = list_parts(settings.lakehouse, TV_TECHNICALS_1D)[-1].path
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(CorruptPart):
        rebuild(settings)
    assert select(settings, request) == before


def test_a_flow_refuses_another_lakehouses_registry_before_it_publishes(
    settings: Project, tmp_path: Path
):
    """The registry that the YAML names is the one that is looked at."""
    moved(settings, tmp_path / "r" / "registry.db", tmp_path / "o" / "online.db")
    request = FeatureIngestRequest(read_candidates(SAMPLE / "portfolio_candidates.json"))
    flow_data(settings, request)
    assert (tmp_path / "r" / "registry.db").is_file()
    assert (tmp_path / "o" / "online.db").is_file()
    other = replace(settings, lakehouse_at=tmp_path / "another")
    with pytest.raises(FeastRepositoryError, match="lakehouse"):
        flow_data(other, request)
    assert not list((tmp_path / "another").glob("features/*"))


def test_a_rebuild_of_what_is_no_file_says_so(writable_week: Project):
    path = writable_week.feast_repository / "feature_store.yaml"
    text = path.read_text().replace("path: ../data/registry.db", "path: s3://bucket/registry.db")
    path.write_text(text)
    with pytest.raises(FeastRepositoryError, match="registry in no file"):
        rebuild(writable_week)
