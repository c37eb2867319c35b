"""The ``feast`` command itself, on a copy of ``feature_repo/``, by the wall clock as it goes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from feature_repo.catalog import GROUPS
from feature_repo.catalog import TV_TECHNICALS_1D as GROUP
from ingestion.lakehouse import append_part, make_readable
from tests.lakehouse.technicals import technicals

CHECKOUT = Path(__file__).resolve().parent.parent.parent
FEAST = str(Path(sys.executable).parent / "feast")
PATIENCE = 90


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository beside a lakehouse with an hour-old snapshot, applied."""
    root = tmp_path_factory.mktemp("checkout")
    copy = shutil.copytree(
        CHECKOUT / "feature_repo", root / "feature_repo", ignore=shutil.ignore_patterns("__py*")
    )
    (root / "data").mkdir()
    known_at = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    rows = technicals(["NASDAQ:AAPL", "NYSE:IBM"], known_at, RSI=[61.5, None])
    append_part(root / "data" / "lakehouse", GROUP, rows, "run")
    make_readable(root / "data" / "lakehouse", GROUPS, "run")
    plan = feast(copy, "plan")
    for name in ("tv_technicals_1d", "selection_v1", "served_history_v1", "symbol"):
        assert f"Created {'entity' if name == 'symbol' else 'feature'}" in plan
        assert name in plan
    feast(copy, "apply")
    return copy


def environment(repository: Path) -> dict[str, str]:
    lakehouse = repository.parent / "data" / "lakehouse"
    return {"PATH": os.environ["PATH"], "TVFEAST_LAKEHOUSE": str(lakehouse), "HOME": "/nonexistent"}


def feast(repository: Path, *arguments: str) -> str:
    done = subprocess.run(
        [FEAST, *arguments],
        cwd=repository,
        env=environment(repository),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(process: subprocess.Popen[bytes], method: str, url: str, **body) -> requests.Response:
    """Ask a server that is starting up until it answers."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return requests.request(method, url, timeout=10, **body)
        except requests.ConnectionError:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not come up"
            time.sleep(0.2)


def test_incremental_materialization_and_the_feature_server_give_the_newest_row(repository: Path):
    feast(repository, "materialize-incremental", datetime.now(UTC).isoformat())
    port = free_port()
    with subprocess.Popen(
        [FEAST, "serve", "--port", str(port), "--host", "127.0.0.1"],
        cwd=repository,
        env=environment(repository),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            response = answer(
                server,
                "POST",
                f"http://127.0.0.1:{port}/get-online-features",
                json={
                    "feature_service": "selection_v1",
                    "entities": {"symbol": ["NASDAQ:AAPL", "NYSE:IBM", "X:GONE"]},
                },
            )
        finally:
            server.terminate()
    document = response.json()
    served = dict(zip(document["metadata"]["feature_names"], document["results"], strict=True))
    assert served["RSI"]["values"] == [61.5, None, None]
    assert served["AO"]["values"] == [0.0, 1.0, None]
    assert served["AO"]["statuses"] == ["PRESENT", "PRESENT", "NOT_FOUND"]


def test_the_user_interface_comes_up(repository: Path):
    port = free_port()
    with subprocess.Popen(
        [FEAST, "ui", "--port", str(port), "--host", "127.0.0.1"],
        cwd=repository,
        env=environment(repository),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            page = answer(server, "GET", f"http://127.0.0.1:{port}/")
            projects = answer(server, "GET", f"http://127.0.0.1:{port}/projects-list.json")
        finally:
            server.terminate()
    assert "<title>" in page.text
    assert "tvfeast" in projects.text
