"""The daily work on a lakehouse in an object store, beside the same work on a local one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.base.settings import StoreUrl
from ingestion.feast_objects import describe
from ingestion.jobs.audit.compact import compact
from ingestion.jobs.audit.explain import ExplainRequest, explain
from ingestion.jobs.audit.prune import prune
from ingestion.jobs.audit.status.report import status
from ingestion.jobs.audit.validate import validate
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.jobs.compute.local_features import backfill, local_features
from ingestion.jobs.flow import flow_data
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.report.make_report import make_report
from ingestion.jobs.serve.select import SelectRequest, select
from ingestion.jobs.serve.targets import training_labels
from ingestion.jobs.serve.training_set import TrainingSetRequest, training_set
from ingestion.jobs.serve.verify_online import verify_online
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import Lakehouse, list_parts, read_file, run_ids
from ingestion.markets.candidates import Candidates, read_candidates
from ingestion.project import Project
from ingestion.replay import ReplayScanner
from tests.conftest import MONDAY, QUICK, SAMPLE

pytestmark = pytest.mark.skipif(
    "TVFEAST_SCALE" not in os.environ, reason="make test-scale runs it: it takes half a minute"
)
PLACES = ("local", "store")
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SYMBOLS = read_candidates(SAMPLE / "portfolio_candidates.json").symbols[:4]


@pytest.fixture
def work(
    bucket: str, tmp_path: Path, scanner: ReplayScanner, at: Callable[[datetime], None]
) -> Iterator[Callable[[str], Project]]:
    """Import bars and run two evenings, on a place: ``local`` or ``store``."""
    bars = pq.read_table(SAMPLE / "bars.parquet")
    wanted = pc.is_in(bars["symbol"], value_set=pa.array(SYMBOLS))
    recent = pc.greater(bars["timestamp"], int(MONDAY.timestamp()) - 40 * 86_400)
    pq.write_table(bars.filter(pc.and_(wanted, recent)), tmp_path / "recent.parquet")
    request = FeatureIngestRequest(Candidates("some.json", SYMBOLS, (), 0), scanner=QUICK)

    def run(place: str) -> Project:
        project = made(place)
        at(MONDAY)
        import_bars(project, ImportRequest((tmp_path / "recent.parquet",)))
        local_features(project)
        for evening in (MONDAY, MONDAY + 2 * HOUR, MONDAY + DAY):
            at(evening)
            flow = flow_data(project, request)
            assert flow.error is None
        return project

    def made(place: str) -> Project:
        folder = make_workspace(tmp_path / place)
        patch.setenv("TVFEAST_PROJECT", str(folder))
        if place == "store":
            patch.setenv("TVFEAST_LAKEHOUSE", bucket)
        return replace(Project.from_environment(), scanner_url=scanner.url)

    with pytest.MonkeyPatch.context() as patch:
        yield run


def stored(lakehouse: Lakehouse, project: Project) -> dict[str, pa.Table]:
    """Return all rows of all parts, by dataset and without the instants of their creation."""
    return {
        dataset.name: pa.concat_tables(read_file(part).replace_schema_metadata() for part in parts)
        for dataset in project.catalog.datasets
        if (parts := list_parts(lakehouse, dataset))
    }


def test_everything_that_runs_on_a_folder_runs_on_an_object_store(
    work: Callable[[str], Project], tmp_path: Path
):
    local, store = (answers(work(place), tmp_path / f"{place}.parquet") for place in PLACES)
    assert [*store] == [*local]
    for what, answer in local.items():
        assert store[what] == answer, what


def answers(project: Project, out: Path) -> dict[str, object]:
    """Run what people run after an evening; return what must be the same wherever it is."""
    lakehouse = project.lakehouse
    assert (str(lakehouse).startswith("s3://")) == isinstance(project.lakehouse_at, StoreUrl)
    told: dict[str, object] = {"rows": stored(lakehouse, project)}
    sources = {each.name: each.path for each in describe(project).sources}
    assert all(path.startswith(str(lakehouse)) for path in sources.values())
    told["verify"] = check_lakehouse(project).faults
    assert told["verify"] == []
    validated = [validate(project).passed for _ in range(2)]
    told["validate"] = validated
    told["verify online"] = verify_online(project).passed
    told["status"] = status(project).passed
    chosen = select(project, SelectRequest(top=5))
    told["select"] = chosen.rows
    told["select as of"] = select(project, SelectRequest(top=5, as_of=MONDAY)).rows
    labels = training_labels(project, "fwd_return_5d", date(2021, 3, 8), date(2021, 4, 1))
    trained = training_set(project, TrainingSetRequest(labels.labels.table, out, None))
    told["training set"] = (trained.rows, trained.matched, pq.read_table(out))
    why = explain(project, ExplainRequest(SYMBOLS[0], "RSI"))
    told["explain"] = [[each.value for each in story.versions] for story in why.stories]
    filled = backfill(project, date(2021, 3, 1), date(2021, 4, 12))
    told["backfill"] = filled.rows_written
    merged = compact(project, MONDAY.date() + DAY)
    told["compact"] = [(each.part, each.replaced, each.rows) for each in merged.merged]
    assert told["compact"]
    told["rows after"] = stored(lakehouse, project)
    told["prune"] = len(prune(project, timedelta(0)).retired)
    assert told["prune"]
    told["report"] = make_report(project).answer
    assert check_lakehouse(project).faults == []
    told["runs"] = len(run_ids(lakehouse))
    return told
