"""README's commands for history, as they are printed, in a project that is new."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from ingestion.cli.commands import cli
from ingestion.jobs.workspace import make_workspace
from tests.conftest import SAMPLE

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
SYMBOLS = ["BINANCE:BTCUSDT", "NASDAQ:AAPL", "NYSE:UPS"]


def commands() -> list[list[str]]:
    """Return the words of README's commands from the first import on, without their comments."""
    lines = README.read_text().partition("tvfeast import-bars")
    block = (lines[1] + lines[2]).partition("```")[0]
    return [shlex.split(line, comments=True) for line in block.splitlines() if line.strip()]


def run(words: list[str]) -> Result:
    program, *arguments = words
    assert program == "tvfeast"
    given = [
        name
        for word in arguments
        for name in (map(str, sorted(Path().glob(word))) if "*" in word else [word])
    ]
    return CliRunner().invoke(cli, given, catch_exceptions=False)


def test_history_is_imported_computed_trained_on_and_ranked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bars = pq.read_table(SAMPLE / "bars.parquet")
    (tmp_path / "history").mkdir()
    for symbol in SYMBOLS:
        own = bars.filter(pc.equal(bars["symbol"], symbol))
        pq.write_table(own, tmp_path / "history" / f"{symbol.replace(':', '_')}.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TVFEAST_PROJECT", str(make_workspace(tmp_path / "project")))
    monkeypatch.setenv("TVFEAST_NOW", "2026-01-17T12:00:00Z")
    asked = commands()
    assert [words[1] for words in asked] == ["import-bars", "backfill", "training-set", "select"]
    results = [run(words) for words in asked]
    assert [result.exit_code for result in results] == [0, 0, 0, 0]
    trained = pq.read_table(tmp_path / "training_set.parquet")
    assert trained.num_rows > 1000
    assert {"symbol", "event_timestamp", "fwd_return_5d", "RSI", "momentum_60d"} <= set(
        trained.column_names
    )
    assert pc.sum(pc.is_valid(trained["RSI"])).as_py() > 1000
    assert pa.types.is_float64(trained["fwd_return_5d"].type)
    table = results[-1].stdout.splitlines()
    assert {line.split()[1] for line in table[2:5]} == set(SYMBOLS)


def test_crons_lines_write_into_a_folder_that_every_checkout_has():
    """The shell opens the log before the command could make its folder."""
    logs = set(re.findall(r">> (\S+)", (ROOT / "docs" / "howto" / "run_daily.md").read_text()))
    assert logs == {"data/logs/flow.log"}
    for log in logs:
        assert (ROOT / log).parent.is_dir()
