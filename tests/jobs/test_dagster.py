"""The example of an orchestrator, run by Dagster: a program apart, in ``.venv-dagster``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ingestion.project import Project
from tests.conftest import MONDAY
from tests.stores.online_servers import at_length

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-dagster" / "bin" / "python"
EXAMPLE = ROOT / "docs" / "examples" / "dagster_flow.py"


@at_length
@pytest.mark.skipif(not PYTHON.exists(), reason="make dagster installs it")
def test_the_example_runs_each_step_once_under_one_run_id(settings: Project, tmp_path: Path):
    candidates = tmp_path / "candidates.json"
    candidates.write_text(json.dumps(["NASDAQ:AAPL", "NASDAQ:AMZN", "NYSE:GE"]))
    variables = {
        "TVFEAST": str(Path(sys.executable).with_name("tvfeast")),
        "TVFEAST_CANDIDATES": str(candidates),
        "TVFEAST_SCANNER_URL": settings.scanner_url,
        "TVFEAST_NOW": MONDAY.isoformat(),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }
    done = subprocess.run(
        [PYTHON, EXAMPLE], env=os.environ | variables, cwd=tmp_path, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (run,) = (settings.lakehouse_at / "_runs").iterdir()
    receipts = {path.stem for path in run.glob("*.json")}
    assert {"data_ingest", "meta_ingest", "local_features", "validate", "materialize"} <= receipts
    assert (settings.folder / "data" / "online.db").exists()
