"""A lakehouse is restored from what the page on backups says to copy, and is what it was."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.catalog import FeatureGroup
from ingestion.jobs.audit.compact import compact
from ingestion.jobs.audit.status import StatusLimits, status
from ingestion.jobs.audit.verify_lakehouse import accept_losses, check_lakehouse
from ingestion.jobs.compute.local_features import backfill
from ingestion.jobs.flow import flow_data
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.serve.rebuild import rebuild
from ingestion.jobs.serve.select import SelectRequest, select
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import list_parts, read_current
from ingestion.markets.candidates import read_candidates
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner
from tests.conftest import MONDAY, SAMPLE
from tests.declared import DATASETS, LOCAL_1D, TV_TECHNICALS_1D

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "howto" / "restore_a_backup.md"
SYMBOLS = ["BINANCE:BTCUSDT", "NASDAQ:AAPL", "NYSE:UPS"]
EVER = date(2020, 10, 1), date(2021, 4, 13)


def chapter() -> str:
    return DOCS.read_text()


def folders() -> list[str]:
    """Return the folders below the lakehouse that the chapter lists."""
    listed = re.search(r"```text\n(.*?)```", chapter(), re.DOTALL)
    assert listed
    return [line.split()[0].rstrip("/") for line in listed[1].splitlines()]


def test_every_dataset_is_in_the_list():
    listed = ["_caches", "_runs", *(dataset.storage for dataset in DATASETS)]
    assert sorted(folders()) == sorted(listed)


@pytest.fixture(scope="module")
def operated(sample_panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """History, a recorded split, two evenings, and dates that were merged; only to be read."""
    folder = tmp_path_factory.mktemp("operated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TVFEAST_PROJECT", str(make_workspace(folder / "project")))
        patch.setenv("TVFEAST_NOW", MONDAY.isoformat())
        with ReplayScanner(sample_panel) as scanner:
            settings = replace(Project.from_environment(), scanner_url=scanner.url)
            operate(settings, folder, lambda now: patch.setenv("TVFEAST_NOW", now.isoformat()))
        yield settings


def operate(settings: Project, folder: Path, at: Callable[[datetime], None]) -> None:
    bars = pq.read_table(SAMPLE / "bars.parquet")
    since = int(datetime.fromisoformat("2021-01-04T00:00Z").timestamp())
    until = int(MONDAY.replace(hour=0).timestamp())
    spanned = pc.and_(pc.greater_equal(bars["timestamp"], since), pc.less(bars["timestamp"], until))
    bars = bars.filter(pc.and_(spanned, pc.is_in(bars["symbol"], value_set=pa.array(SYMBOLS))))
    pq.write_table(bars, folder / "bars.parquet")
    (folder / "candidates.json").write_text('["NASDAQ:AAPL", "NYSE:UPS", "BINANCE:BTCUSDT"]')
    (folder / "splits.csv").write_text("symbol,date,ratio\nNYSE:UPS,2021-03-01,1\n")
    import_bars(settings, ImportRequest(files=(folder / "bars.parquet",)))
    import_bars(settings, ImportRequest(splits=folder / "splits.csv"))
    backfill(settings, *EVER)
    request = FeatureIngestRequest(read_candidates(folder / "candidates.json"))
    for evening in (MONDAY, MONDAY + timedelta(hours=3), MONDAY + timedelta(days=1)):
        at(evening)
        assert flow_data(settings, replace(request, refresh=True)).error is None
    assert compact(settings, None).merged


@pytest.fixture(autouse=True)
def on_tuesday_evening(at: Callable[[datetime], None]) -> None:
    at(MONDAY + timedelta(days=1))


def restored(settings: Project, folder: Path, without: str = "") -> Project:
    """Copy what is listed, and nothing else, into a project that is new."""
    project = make_workspace(folder / "restored")
    lakehouse = project / "data" / "lakehouse"
    for name in folders():
        if name != without and (settings.lakehouse_at / name).exists():
            shutil.copytree(settings.lakehouse_at / name, lakehouse / name)
    return replace(settings, folder=project, lakehouse_at=lakehouse)


def rows(settings: Project, group: FeatureGroup) -> list[dict]:
    table = read_current(list_parts(settings.lakehouse, group), group)
    order = [("symbol", "ascending"), ("timestamp", "ascending")]
    return table.drop_columns(["created_timestamp"]).sort_by(order).to_pylist()


def test_a_restored_lakehouse_is_verified_rebuilt_and_serves_the_same(
    operated: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = {group.name: rows(operated, group) for group in (TV_TECHNICALS_1D, LOCAL_1D)}
    served = select(operated, SelectRequest(by="RSI"))
    told = status(operated, StatusLimits()).problems
    fresh = restored(operated, tmp_path)
    aside = operated.folder.rename(operated.folder.with_name("aside"))
    monkeypatch.setenv("TVFEAST_PROJECT", str(fresh.folder))
    assert check_lakehouse(fresh).faults == []
    assert backfill(fresh, *EVER).rows_written == 0
    assert rebuild(fresh).report.passed
    assert status(fresh, StatusLimits()).problems == told
    assert {g.name: rows(fresh, g) for g in (TV_TECHNICALS_1D, LOCAL_1D)} == before
    assert select(fresh, SelectRequest(by="RSI")) == served
    aside.rename(operated.folder)


def test_without_local_1d_it_is_computed_anew_to_the_same_values(
    operated: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = rows(operated, LOCAL_1D)
    fresh = restored(operated, tmp_path, without="features/local_1d")
    monkeypatch.setenv("TVFEAST_PROJECT", str(fresh.folder))
    assert check_lakehouse(fresh).lost
    accept_losses(fresh, ["features/local_1d"], "not in the backup")
    assert check_lakehouse(fresh).faults == []
    backfill(fresh, *EVER)
    assert rows(fresh, LOCAL_1D) == before
    assert check_lakehouse(fresh).faults == []


def test_the_copy_waits_for_whoever_writes(operated: Project):
    """What the chapter calls before the copy takes the lock that a run takes."""
    command = re.search(r"^flock (\S+) rsync ", chapter(), re.MULTILINE)
    assert command
    lock = operated.folder / command[1]
    assert lock == operated.lakehouse_at / "_lock"
    tried = ["flock", "--nonblock", str(lock), "true"]
    assert subprocess.run(tried, check=False).returncode == 0
    assert shlex.split(command[0])[0] == "flock"
