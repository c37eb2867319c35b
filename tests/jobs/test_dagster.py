"""The example of an orchestrator, run by Dagster: a program apart, in ``.venv-dagster``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import list_parts, read_current
from ingestion.project import Project
from ingestion.replay.exchanges import Pair, ReplayBinance
from tests.conftest import MONDAY
from tests.stores.online_servers import at_length

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-dagster" / "bin" / "python"
COIN = "BINANCE:BTCUSDT"
EXAMPLE = ROOT / "docs" / "examples" / "dagster_flow.py"


@at_length
@pytest.mark.skipif(not PYTHON.exists(), reason="make dagster installs it")
def test_the_example_runs_each_step_once_under_one_run_id(settings: Project, tmp_path: Path):
    candidates = tmp_path / "candidates.json"
    candidates.write_text(json.dumps(["NASDAQ:AAPL", "NASDAQ:AMZN", "NYSE:GE", COIN]))
    shutil.copy(
        ROOT / "feature_repo" / "sources" / "binance.py", settings.feast_repository / "sources"
    )
    (settings.feast_repository / "sources.toml").write_text('[daily]\nBINANCE = "binance"\n')
    yesterday = MONDAY.date() - timedelta(days=1)
    days = [(yesterday - timedelta(days=n), 6e4, 6.1e4, 5.9e4, 6e4, 5.0) for n in range(20)]
    variables = {
        "TVFEAST": str(Path(sys.executable).with_name("tvfeast")),
        "TVFEAST_CANDIDATES": str(candidates),
        "TVFEAST_DAILY_SOURCES": "binance",
        "TVFEAST_SCANNER_URL": settings.scanner_url,
        "TVFEAST_NOW": MONDAY.isoformat(),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }
    with ReplayBinance([Pair("BTC", "USDT", days[::-1])], lambda: MONDAY) as binance:
        variables["TVFEAST_BINANCE_URL"] = binance.url
        done = subprocess.run(
            [PYTHON, EXAMPLE], env=os.environ | variables, cwd=tmp_path, capture_output=True,
            text=True, check=False, timeout=300,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (run,) = (settings.lakehouse_at / "_runs").iterdir()
    receipts = {path.stem for path in run.glob("*.json")}
    steps = {"data_ingest", "meta_ingest", "local_features", "validate", "materialize"}
    assert steps | {"daily_bars.binance"} <= receipts
    rows = read_current(list_parts(settings.lakehouse, OHLCV_1D), OHLCV_1D).to_pylist()
    newest = max(row["timestamp"] for row in rows if row["symbol"] == COIN)
    assert datetime.fromtimestamp(newest, UTC).date() == yesterday
    assert (settings.folder / "data" / "online.db").exists()
