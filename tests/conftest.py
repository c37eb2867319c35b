"""What tests of several folders share: the sample's panel, a workspace, a lakehouse to write to."""

from __future__ import annotations

import gc
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ingestion.jobs.serve.feast_repository import without_type_checks
from ingestion.jobs.workspace import make_workspace
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner
from ingestion.scanner import ScannerOptions
from tests import feasts_connections, tally
from tests.fuzzing import register_profiles, tried
from tests.lakehouse.in_a_bucket import move_all, only_in_a_folder
from tests.lakehouse.s3 import BUCKET, SERVER, environment, s3_server
from tests.lakehouse.seaweedfs import seaweedfs
from tests.processes import Forge

SAMPLE = Path(__file__).resolve().parent.parent / "data" / "sample"
MONDAY = datetime(2021, 4, 12, 21, 30, tzinfo=UTC)
QUICK = ScannerOptions(backoff=0.01, longest_backoff=0.05, retries=3, read_timeout=5)

ENGINES = ("ray", "spark")

COUNTED = (tried, tally.kills, tally.faults)

register_profiles()
feasts_connections.name_them()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say where the projects of the tests have their lakehouses."""
    parser.addoption("--lakehouse", choices=("folder", "bucket"), default="folder")


def pytest_configure(config: pytest.Config) -> None:
    """Declare what ``make test-faults`` picks beside the fuzz tests."""
    config.addinivalue_line("markers", "faults: kills, damages or starves what it runs")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Import what tests import as fast as commands do: Feast's classes without checks of types.

    What is there by then lasts: Python need not look through it for what nobody refers to.
    """
    gc.disable()
    with without_type_checks():
        collected = yield
    gc.freeze()
    gc.enable()
    return collected


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip, where lakehouses are in a bucket, what only a folder can do."""
    if config.getoption("--lakehouse") == "bucket":
        for item in items:
            if why := only_in_a_folder(item.nodeid):
                item.add_marker(pytest.mark.skip(reason=why))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what this process has counted to the one that prints it, where there are several."""
    gc.unfreeze()
    sent = getattr(session.config, "workeroutput", None)
    if sent is not None:
        sent["counted"] = [dict(counts) for counts in COUNTED]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what a process of pytest-xdist has counted."""
    for counts, more in zip(
        COUNTED, getattr(node, "workeroutput", {}).get("counted", ()), strict=False
    ):
        counts.update(more)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many cases the fuzz tests have tried, and what the fault tests have done."""
    if tried:
        terminalreporter.write_line(f"fuzz cases: {tried.total():,} in {len(tried)} tests")
    for line in tally.told():
        terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def lakehouses_in_a_bucket(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """With ``--lakehouse=bucket``, the projects of all tests have their lakehouses there."""
    if pytestconfig.getoption("--lakehouse") == "folder":
        yield
        return
    if not SERVER.exists():
        pytest.exit("`make servers` installs the server of the bucket", 2)
    folder = tmp_path_factory.mktemp("seaweedfs")
    with seaweedfs(folder) as address, pytest.MonkeyPatch.context() as patch:
        for name, value in environment(address).items():
            patch.setenv(name, value)
        move_all(patch)
        yield


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of the shell it was started from."""
    for name in ("PROJECT", "LAKEHOUSE", "SCANNER_URL", "NOW", "SESSION_ID"):
        monkeypatch.delenv(f"TVFEAST_{name}", raising=False)


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Forge:
    """Starts commands at the price of a fork; their imports are made once."""
    return Forge(tmp_path_factory.mktemp("processes"))


@pytest.fixture(scope="session")
def sample_panel() -> Panel:
    return Panel.from_folder(SAMPLE)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Set what now is, for the jobs and for the replay alike."""

    def set_now(instant: datetime) -> None:
        monkeypatch.setenv("TVFEAST_NOW", instant.isoformat())

    set_now(MONDAY)
    return set_now


@pytest.fixture
def scanner(sample_panel: Panel, at: Callable[[datetime], None]) -> Iterator[ReplayScanner]:
    with ReplayScanner(sample_panel) as replay:
        yield replay


@pytest.fixture
def settings(tmp_path: Path, scanner: ReplayScanner, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A workspace of its own, asking the replay scanner."""
    monkeypatch.setenv("TVFEAST_PROJECT", str(make_workspace(tmp_path / "workspace")))
    return replace(Project.from_environment(), scanner_url=scanner.url)


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """An S3 server of this process's tests."""
    if not SERVER.exists():
        pytest.skip("`make servers` installs the server")
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A prefix of its own, in a bucket whose server and credentials the environment names."""
    for name, value in environment(s3_address).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return f"s3://{BUCKET}/{secrets.token_hex(4)}/tests=1"


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    """An engine of two cores that is there for a module, if it is installed."""
    if request.param == "ray":
        ray = pytest.importorskip("ray")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield "ray"
        ray.shutdown()
    else:
        sql = pytest.importorskip("pyspark.sql")
        os.environ["PYSPARK_PYTHON"] = sys.executable
        builder = sql.SparkSession.builder.master("local[2,4]").config("spark.ui.enabled", False)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        yield "spark"
        session.stop()
