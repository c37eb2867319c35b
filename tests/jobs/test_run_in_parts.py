"""A daily flow whose steps are commands of their own, as an orchestrator runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ingestion.base.errors import TvfeastError
from ingestion.cli.commands import cli
from ingestion.project import Project
from tests.conftest import MONDAY
from tests.processes import KILLED, Command, Forge, project_of

RUN = "20210412T213000Z-000000abcd"


@pytest.fixture
def scan(settings: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("TVFEAST_SCANNER_URL", settings.scanner_url)
    candidates = tmp_path / "candidates.json"
    candidates.write_text(json.dumps(["NASDAQ:AAPL", "NASDAQ:AMZN", "NYSE:GE"]))
    return ["--candidates", str(candidates), "--backoff", "0.01"]


@pytest.fixture
def steps(scan: list[str]) -> list[list[str]]:
    jobs = [[name, *scan] for name in ("data-ingest", "meta-ingest", "feature-ingest")]
    jobs += [["local-features"], ["validate"], ["materialize"]]
    return [[*words, "--run-id", RUN] for words in jobs]


def run(words: list[str]) -> Result:
    return CliRunner().invoke(cli, words)


def code(result: Result) -> int:
    error = result.exception
    return error.exit_code if isinstance(error, TvfeastError) else result.exit_code


def parts(project: Project) -> list[Path]:
    return sorted(project.lakehouse_at.glob("*/date=*/*.parquet"))


def test_each_step_is_done_once_and_no_other_run_writes_between_them(
    settings: Project, steps: list[list[str]], at: Callable
):
    for number, words in enumerate(steps):
        result = run(words)
        assert code(result) == 0, (words, result.output, result.exception)
        there = parts(settings)
        again = run(words)
        assert code(again) == 0
        assert f"run {RUN} has done {words[0]} already" in str(again.exception)
        assert parts(settings) == there
        if number in (0, 4):
            other = run(["local-features"])
            assert code(other) == 5
            assert "is between two of its steps" in str(other.exception)
    assert parts(settings)
    assert code(run(["verify"])) == 0
    assert code(run(["verify", "--online"])) == 0
    receipts = {path.name for path in (settings.lakehouse_at / "_runs" / RUN).iterdir()}
    assert {"data_ingest.json", "validate.json", "materialize.json", "files.jsonl"} <= receipts
    assert code(run(["parity", "--run-id", RUN])) == 2  # no step of a flow
    at(MONDAY + timedelta(hours=1))
    ended = run(["local-features", "--run-id", RUN[:-1] + "e", "--last"])
    assert code(ended) == 5  # the first run has not ended


def test_the_last_step_ends_the_run(settings: Project, scan: list[str]):
    assert code(run(["data-ingest", *scan, "--run-id", RUN])) == 0
    assert code(run(["local-features"])) == 5
    assert code(run(["local-features", "--run-id", RUN, "--last"])) == 0
    assert code(run(["local-features"])) == 0
    lost = run(["meta-ingest", *scan, "--run-id", RUN])
    assert code(lost) == 5
    assert "lost its lease" in str(lost.exception)


def test_a_step_that_was_killed_is_done_by_its_next_try(
    settings: Project, scan: list[str], forge: Forge
):
    words = ["data-ingest", *scan, "--run-id", RUN]
    for wait in (0.02, 0.1, 0.3):
        started = forge.start(Command(*words), project_of(settings, MONDAY))
        started.begin()
        started.sleep(wait)
        started.kill()
        assert started.wait().code in (KILLED, 0)
    assert code(run(words)) == 0
    assert "already" in str(run(words).exception)
    assert code(run(["verify"])) == 0


def test_a_flow_does_what_its_run_has_not_done(settings: Project, scan: list[str]):
    assert code(run(["data-ingest", *scan, "--run-id", RUN])) == 0
    receipt = settings.lakehouse_at / "_runs" / RUN / "data_ingest.json"
    before = receipt.read_bytes()
    flow = [*scan, "--run-id", RUN]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingestion.jobs.flow.materialize", killed)
        assert code(run(["flow-data", *flow])) != 0
    done = run(["flow-data", *flow])
    assert code(done) == 0, (done.output, done.exception)
    lines = done.output.splitlines()
    assert [line.split()[0] for line in lines if "already" in line] == [
        *("data-ingest", "meta-ingest", "feature-ingest", "local-features", "validate")
    ]
    assert receipt.read_bytes() == before
    there = parts(settings)
    again = run(["flow-data", *flow])
    assert code(again) == 0
    assert f"run {RUN} has done flow-data already" in str(again.exception)
    assert parts(settings) == there
    assert code(run(["local-features"])) == 5
    assert code(run(["verify"])) == 0
    assert code(run(["verify", "--online"])) == 0


def test_a_flow_that_has_lost_its_lease_publishes_nothing_more(settings: Project, scan: list[str]):
    assert code(run(["data-ingest", *scan, "--run-id", RUN, "--last"])) == 0
    assert code(run(["local-features"])) == 0
    there = parts(settings)
    lost = run(["flow-data", *scan, "--run-id", RUN])
    assert code(lost) == 5
    assert "lost its lease" in str(lost.exception)
    assert parts(settings) == there


def killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("wrong", ["mine", "20210412T213000Z", "../20210412T213000Z-000000abcd"])
def test_a_run_id_is_a_time_and_four_digits(settings: Project, wrong: str):
    result = run(["local-features", "--run-id", wrong])
    assert result.exit_code == 2
    assert "no run id such as" in result.output
