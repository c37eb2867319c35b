"""The examples of the commands' help, run one after another on a small project.

Those that ask TradingView for a whole market, need a file or a source of one's own, or take long
are not run here; that all can be parsed is tried by ``test_cli_help``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ingestion.cli.commands import cli
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.workspace import make_workspace
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner
from tests.conftest import MONDAY, SAMPLE
from tests.test_cli_help import EVERY, examples_of

OWN = ["NASDAQ:AAPL", "NYSE:KO", "NYSE:XOM"]
NOT_RUN = {
    "copy": "it is run by its own tests",
    "init": "it is run by test_new_project",
    "demo": "it is run by test_demo",
    "replay-scanner": "it serves until it is stopped",
    "report": "it is run by the report's own tests",
    "factor-report": "likewise; three symbols are too few",
    "doctor": "it is run by test_doctor",
    "fetch-bars": "it needs a source",
    "history": "likewise; it is run by its own tests",
    "daily-bars": "likewise",
    "import-features": "it needs a group of files",
    "data-docs": "it takes seconds to import Great Expectations",
    "universe import": "it needs a file",
    "universe show": "nobody has asked who is in us_large",
    "universe": "likewise",
    "accept-hole": "no session is missing",
    "rebuild": "it is run by its own tests",
}
CODES = {
    "tvfeast status --forget large   # this flow is expected no more": 2,
    'tvfeast withdraw-bars --listed --reason "doubles that verify lists"': 2,
}
"""Where there is nothing to do, that is refused."""


@pytest.fixture
def project(sample_panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with bars of half a year, of some symbols, and its files beside it."""
    folder = make_workspace(tmp_path / "workspace")
    bars = pq.read_table(SAMPLE / "bars.parquet")
    opened, now = pc.field("timestamp"), MONDAY.timestamp()
    recent = (opened > now - 200 * 86_400) & (opened < now - 86_400)
    (folder / "history").mkdir()
    pq.write_table(
        bars.filter(recent & pc.field("symbol").isin(OWN)), folder / "history" / "bars.parquet"
    )
    (folder / "portfolio_candidates.json").write_text(str(OWN).replace("'", '"'))
    labels = "symbol,event_timestamp,y\nNASDAQ:AAPL,2021-04-09T21:30Z,1\n"
    (folder / "labels.csv").write_text(labels)
    paid = "symbol,ex_date,amount,currency\nNASDAQ:AAPL,2021-02-05,0.205,USD\n"
    (folder / "dividends.csv").write_text(paid)
    monkeypatch.setenv("TVFEAST_PROJECT", str(folder))
    monkeypatch.setenv("TVFEAST_NOW", (MONDAY + timedelta(minutes=5)).isoformat())
    monkeypatch.chdir(folder)
    with ReplayScanner(sample_panel) as scanner:
        monkeypatch.setenv("TVFEAST_SCANNER_URL", scanner.url)
        yield folder


def test_the_examples_work_one_after_another(project: Path):
    import_bars(Project.from_environment(), ImportRequest((project / "history" / "bars.parquet",)))
    done: list[str] = []
    first = ["local-features", "flow-data"]
    for name in [*first, *(each for each in EVERY if each not in first)]:
        if name in NOT_RUN:
            continue
        for line, words in zip(
            (EVERY[name].epilog or "").splitlines()[2:], examples_of(EVERY[name]), strict=True
        ):
            if not _can_run(words):
                continue
            result = CliRunner().invoke(cli, words[1:])
            code = getattr(result.exception, "exit_code", result.exit_code)
            assert code == CODES.get(line.strip(), 0), (line, result.output, result.exception)
            done.append(name)
    assert {"flow-data", "select", "explain", "training-set", "verify", "parity"} <= set(done)
    assert len(done) >= 30


def _can_run(words: list[str]) -> bool:
    """Return whether an example asks for nothing that the small project has not."""
    missing = {
        "labels.parquet",
        "rank.txt",
        "AAPL.csv",
        "bars.csv",
        "history/*.parquet",
        "2015-01-01",
    }
    return not missing.intersection(words) and "--universe" not in words
