"""The receipt of a run that failed is not taken for that of one that has finished."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from ingestion.base.errors import GateRefused, InputError, NothingFetched
from ingestion.jobs.audit.status import status
from ingestion.jobs.audit.validate import validate
from ingestion.jobs.audit.verify_lakehouse import accept_losses, check_lakehouse
from ingestion.jobs.compute.local_features import backfill, local_features
from ingestion.jobs.compute.parity import ParityRequest, parity
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.ingest.unfinished_imports import half_imports
from ingestion.jobs.serve.loads import last_loads
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.training_set import TrainingSetRequest, training_set
from ingestion.markets.candidates import read_candidates
from ingestion.project import Project
from ingestion.replay import FaultPlan, ReplayScanner
from ingestion.runs.run import Run
from tests.conftest import MONDAY, QUICK, SAMPLE

RECEIPTS = (
    *(
        "data_ingest.json",
        "meta_ingest.json",
        "feature_ingest.tv_technicals_1d.json",
        "flow_data.json",
    ),
    *("local_features.json", "validate.json", "materialize.json", "parity.json", "accept.json"),
    *("accept_hole.json", "import_bars.json", "compact.json", "withdraw_bars.json"),
)


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    path = tmp_path / "BINANCE_BTCUSDT_1d.csv"
    lines = [f"2021-04-{day:02},{day},{day + 2},{day - 1},{day + 1},9" for day in range(1, 12)]
    path.write_text("\n".join(["date,open,high,low,close,volume", *lines]))
    return path


def fail(settings: Project, name: str, number: int, error: BaseException) -> None:
    run_id = f"99990101T00000{number % 10}Z-{number:06}"
    request = {"files": ["bars.csv"], "splits": None} if name == "import_bars.json" else None
    with suppress(type(error)), Run(settings, run_id, "job", request, file=name):
        raise error


@pytest.mark.parametrize(
    "error", [GateRefused("no"), InputError("bad"), KeyboardInterrupt()], ids=lambda e: type(e)
)
def test_no_reader_goes_by_a_receipt_that_knows_nothing(
    settings: Project, bars: Path, scanner: ReplayScanner, error: BaseException
):
    import_bars(settings, ImportRequest((bars,)))
    local_features(settings)
    candidates = read_candidates(SAMPLE / "portfolio_candidates.json")
    feature_ingest(settings, FeatureIngestRequest(candidates))
    materialize(settings)
    before = status(settings), validate(settings), last_loads(settings)
    for number, name in enumerate(RECEIPTS):
        fail(settings, name, number, error)
    now = status(settings), validate(settings), last_loads(settings)
    assert now[0].problems == before[0].problems
    assert now[0].load == before[0].load
    assert now[1].findings == before[1].findings
    assert now[1].skipped == before[1].skipped
    assert now[2] == before[2]
    assert half_imports(settings.lakehouse) == []
    other = bars.rename(bars.with_name("BINANCE_ETHUSDT_1d.csv"))
    import_bars(settings, ImportRequest((other,)))
    assert local_features(settings).rows_written == 10  # no run has seen them
    assert check_lakehouse(settings).faults == []


def test_an_import_that_fails_before_it_writes_finishes_no_other(settings: Project, bars: Path):
    run_id = "20210412T200000Z-half"
    with (
        suppress(InputError),
        Run(settings, run_id, "import-bars", file="import_bars.json") as run,
    ):
        request = {"files": [str(bars.resolve())], "splits": None}
        run.tell(verdict="writing", request=request)
        result = import_bars(settings, ImportRequest((bars,)))
        folder = settings.lakehouse_at / "_runs"
        (folder / run_id).mkdir(exist_ok=True)
        ledger = (folder / result.run_id / "files.jsonl").read_bytes()
        (folder / run_id / "files.jsonl").write_bytes(ledger.replace(result.run_id.encode(), b"x"))
        raise InputError("the disk is full")
    for path in (folder / result.run_id).iterdir():
        path.unlink()
    assert [each.run_id for each in half_imports(settings.lakehouse)] == [run_id]
    splits = bars.with_name("splits.csv")
    splits.write_text("symbol,date\nBINANCE:BTCUSDT,2021-04-05\n")  # no ratio
    with pytest.raises(InputError):
        import_bars(settings, ImportRequest((bars,), splits=splits))
    assert [each.run_id for each in half_imports(settings.lakehouse)] == [run_id]
    import_bars(settings, ImportRequest((bars,)))
    assert half_imports(settings.lakehouse) == []


def test_a_snapshot_that_never_appeared_is_not_what_the_gate_counts(
    settings: Project, scanner: ReplayScanner, at: Callable[[datetime], None]
):
    """Its receipt says how many it fetched, and no row of it is there."""
    candidates = read_candidates(SAMPLE / "portfolio_candidates.json")
    request = FeatureIngestRequest(candidates, scanner=QUICK)
    feature_ingest(settings, request)
    at(MONDAY + timedelta(hours=3))
    run_id = "99990101T000000Z-000000"
    with (
        suppress(OSError),
        Run(settings, run_id, "feature-ingest", file="feature_ingest.tv_technicals_1d.json") as run,
    ):
        known_at = (MONDAY + timedelta(hours=3)).isoformat()
        run.tell(known_at=known_at, verdict="publish", asked=60, resumed=0, min_coverage=0.95)
        raise OSError(28, "No space left on device")
    assert validate(settings).passed
    scanner.plan = FaultPlan(chances={"server-error": 1.0})
    with pytest.raises(NothingFetched):
        feature_ingest(settings, request)
    assert validate(settings).passed


def test_failing_commands_leave_their_receipts(settings: Project, bars: Path):
    labels = TrainingSetRequest(bars.parent / "none.parquet", bars.parent / "out.parquet")
    for name, job in (
        ("backfill.json", lambda: backfill(settings, date(2021, 4, 1), date(2021, 4, 2))),
        ("local_features.json", lambda: local_features(settings)),
        ("materialize.json", lambda: materialize(settings)),
        ("validate.json", lambda: validate(settings)),
        ("parity.json", lambda: parity(settings, ParityRequest())),
        ("training_set.json", lambda: training_set(settings, labels)),
        ("accept.json", lambda: accept_losses(settings, ["x"], "gone")),
        ("import_bars.json", lambda: import_bars(settings, ImportRequest((bars.parent / "no",)))),
    ):
        with pytest.raises(InputError):
            job()
        (path,) = (settings.lakehouse_at / "_runs").glob(f"*/{name}")
        assert '"outcome": "failed"' in path.read_text()
