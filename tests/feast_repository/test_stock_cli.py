"""The ``feast`` command itself, on a copy of ``feature_repo/``, by the wall clock as it goes.

Its feature server is started as anybody starts it; its other commands, from a process that has
imported Feast.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import LocalDisk, append_part
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.former.served import FeastCommand
from tests.lakehouse.s3 import free_port
from tests.lakehouse.technicals import technicals
from tests.processes import Forge

CHECKOUT = Path(__file__).resolve().parent.parent.parent
FEAST = str(Path(sys.executable).parent / "feast")
PATIENCE = 90


Feast = Callable[..., str]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository beside a lakehouse with an hour-old snapshot."""
    root = tmp_path_factory.mktemp("checkout")
    copy = shutil.copytree(
        CHECKOUT / "feature_repo", root / "feature_repo", ignore=shutil.ignore_patterns("__py*")
    )
    (root / "data").mkdir()
    known_at = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    rows = technicals(["NASDAQ:AAPL", "NYSE:IBM"], known_at, RSI=[61.5, None])
    append_part(LocalDisk(root / "data" / "lakehouse"), GROUP, rows, "run")
    return copy


@pytest.fixture(scope="module")
def feast(repository: Path, forge: Forge) -> Feast:
    """Runs a command of Feast's, and gives what it prints; the repository is applied."""

    def run(*words: str) -> str:
        command = FeastCommand(repository.parent, words)
        done = forge.start(command, environment(repository)).wait()
        assert done.code == 0, done.err
        return done.out

    plan = run("plan")
    for name in ("tv_technicals_1d", "selection_v1", "served_history_v1", "symbol"):
        assert f"Created {'entity' if name == 'symbol' else 'feature'}" in plan
        assert name in plan
    run("apply")
    return run


def environment(repository: Path) -> dict[str, str]:
    lakehouse = repository.parent / "data" / "lakehouse"
    return {"PATH": os.environ["PATH"], "TVFEAST_LAKEHOUSE": str(lakehouse), "HOME": "/nonexistent"}


def asking(port: int, has_ended: Callable[[], bool]) -> Callable[..., requests.Response]:
    """Return a function that asks a server, once it has come up."""

    def ask(method: str, path: str, **body) -> requests.Response:
        deadline = time.monotonic() + PATIENCE
        url = f"http://127.0.0.1:{port}{path}"
        while True:
            try:
                return requests.request(method, url, timeout=PATIENCE, **body)
            except requests.ConnectionError:
                assert not has_ended(), "the server ended"
                assert time.monotonic() < deadline, "the server did not come up"
                time.sleep(0.1)

    return ask


def options(port: int) -> tuple[str, ...]:
    return ("--port", str(port), "--host", "127.0.0.1")


@contextmanager
def feature_server(repository: Path) -> Iterator[Callable[..., requests.Response]]:
    """Run ``feast serve``; gives a function that asks it."""
    port = free_port()
    with subprocess.Popen(
        [FEAST, "serve", *options(port)],
        cwd=repository,
        env=environment(repository),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield asking(port, lambda: process.poll() is not None)
        finally:
            process.terminate()


def test_incremental_materialization_and_the_feature_server_give_the_newest_row(
    repository: Path, feast: Feast
):
    feast("materialize-incremental", datetime.now(UTC).isoformat())
    with feature_server(repository) as ask:
        document = ask(
            "POST",
            "/get-online-features",
            json={
                "feature_service": "selection_v1",
                "entities": {"symbol": ["NASDAQ:AAPL", "NYSE:IBM", "X:GONE"]},
            },
        ).json()
    served = dict(zip(document["metadata"]["feature_names"], document["results"], strict=True))
    assert served["RSI"]["values"] == [61.5, None, None]
    assert served["AO"]["values"] == [0.0, 1.0, None]
    assert served["AO"]["statuses"] == ["PRESENT", "PRESENT", "NOT_FOUND"]


@pytest.mark.usefixtures("feast")
def test_the_user_interface_comes_up(repository: Path, forge: Forge):
    port = free_port()
    command = FeastCommand(repository.parent, ("ui", *options(port)))
    pages = forge.start(command, environment(repository))
    try:
        ask = asking(port, lambda: pages.has_ended)
        assert "<title>" in ask("GET", "/").text
        assert "tvfeast" in ask("GET", "/projects-list.json").text
    finally:
        pages.terminate()


def test_a_faulty_declaration_ends_feasts_command_with_one_message(tmp_path: Path, monkeypatch):
    folder = make_workspace(tmp_path / "project")
    monkeypatch.setenv("TVFEAST_PROJECT", str(folder))
    (folder / "feature_repo" / "groups").mkdir()
    faulty = folder / "feature_repo" / "groups" / "mine.py"
    faulty.write_text(
        "from ingestion.catalog import FeatureGroup, FromBars\n\n"
        "MINE = FeatureGroup(name='mine', meaning='m', source=FromBars(), ttl='4d', features=['x'])"
    )
    with pytest.raises(SystemExit) as ended:  # Click prints its text, and ends with 1
        runpy.run_path(str(folder / "feature_repo" / "definitions.py"))
    assert str(ended.value).startswith(
        f"{faulty}, line 3: mine names the formula 'x', which is not declared; there are "
    )
