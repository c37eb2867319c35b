"""A lakehouse of real bars and features, with sectors and a universe that change on the way."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.catalog import SYMBOLS, UNIVERSE_MEMBERS
from ingestion.datasets import DataSet, Schedule, read_set
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.serve.targets import training_labels
from ingestion.jobs.serve.training_set import TrainingSetRequest, training_set
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import append_rows
from ingestion.project import Project
from tests.conftest import MONDAY, SAMPLE

NOW = MONDAY + timedelta(minutes=5)
NAMES = (
    *("NASDAQ:AAPL", "NASDAQ:AMGN", "NASDAQ:CSCO", "NASDAQ:GILD", "NASDAQ:INTC", "NASDAQ:MSFT"),
    *("NASDAQ:NVDA", "NASDAQ:TXN", "NYSE:BAC", "NYSE:GS", "NYSE:JNJ", "NYSE:JPM", "NYSE:LLY"),
)
BANKS, DRUGS = {"NYSE:BAC", "NYSE:GS", "NYSE:JPM"}, {"NASDAQ:AMGN", "NASDAQ:GILD", "NYSE:JNJ",
                                                    "NYSE:LLY"}  # fmt: skip
SPAN = Schedule(date(2020, 12, 1), date(2021, 3, 31))
KNOWN = datetime(2020, 12, 15, tzinfo=UTC)
"""From then on sectors are known."""
CHANGED = datetime(2021, 2, 1, tzinfo=UTC)
"""Then Intel becomes a bank, and leaves the universe."""
FEATURES = ("local_1d:RSI", "local_1d:momentum_60d")
TARGETS = ("fwd_return_1d", "fwd_return_5d")


_GRADED = """from ingestion.catalog import Column, FeatureGroup, Files

GROUP = FeatureGroup(
    name="graded",
    meaning="a group without rows",
    source=Files(),
    ttl="4d",
    features=[Column("score"), Column("grade", "string", meaning="a text")],
)
"""


def sector(symbol: str) -> str:
    return "Finance" if symbol in BANKS else "Health" if symbol in DRUGS else "Technology"


def _observed(symbol: str, at: datetime, sector: str) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(column.name for column in SYMBOLS.columns)
    return row | {"symbol": symbol, "valid_from": at, "sector": sector, "active": True}


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's folder."""
    folder = make_workspace(tmp_path_factory.mktemp("factors") / "workspace")
    groups = folder / "feature_repo" / "groups"
    groups.mkdir(exist_ok=True)
    (groups / "graded.py").write_text(_GRADED)
    bars = pq.read_table(SAMPLE / "bars.parquet")
    opened = pc.field("timestamp")
    recent = (opened > MONDAY.timestamp() - 260 * 86_400) & (opened < MONDAY.timestamp() - 86_400)
    file = folder / "bars.parquet"
    pq.write_table(bars.filter(recent & pc.field("symbol").isin(NAMES)), file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TVFEAST_PROJECT", str(folder))
        patch.setenv("TVFEAST_NOW", NOW.isoformat())
        project = Project.from_environment()
        import_bars(project, ImportRequest((file,)))
        local_features(project)
        observed = [_observed(name, KNOWN, sector(name)) for name in NAMES]
        append_rows(project.lakehouse, SYMBOLS, observed, "run-1")
        append_rows(
            project.lakehouse, SYMBOLS, [_observed("NASDAQ:INTC", CHANGED, "Finance")], "run-2"
        )
        members = [
            {
                "universe": "mine",
                "symbol": name,
                "valid_from": KNOWN,
                "valid_until": CHANGED if name == "NASDAQ:INTC" else None,
                "event_timestamp": KNOWN,
                "created_timestamp": NOW,
                "source": "import",
            }
            for name in NAMES
        ]
        append_rows(project.lakehouse, UNIVERSE_MEMBERS, members, "run-3")
    return folder


@pytest.fixture
def project(stocked: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("TVFEAST_PROJECT", str(stocked))
    monkeypatch.setenv("TVFEAST_NOW", NOW.isoformat())
    return Project.from_environment()


@pytest.fixture(scope="session")
def joined(stocked: Path) -> DataSet:
    """The training set of the same features and labels, as Feast's own retrieval joins them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TVFEAST_PROJECT", str(stocked))
        patch.setenv("TVFEAST_NOW", NOW.isoformat())
        project = Project.from_environment()
        made = training_labels(project, TARGETS, SPAN.first, SPAN.last)
        told = {"target": made.target, "spans": made.spans}
        request = TrainingSetRequest(
            made.labels.table, stocked / "set.parquet", features=FEATURES, made=told
        )
        return read_set(training_set(project, request).out)
