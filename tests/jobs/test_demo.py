"""The tour, on two evenings and a fifth of the sample: what it says to go on with is of use."""

from __future__ import annotations

import csv
import json
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ingestion.cli.checks import parity_table
from ingestion.cli.commands import cli
from ingestion.cli.serving import selection_text
from ingestion.jobs import demo as job
from tests.conftest import SAMPLE


def fewer(folder: Path) -> Path:
    """Write a fifth of the sample's symbols, among them Apple and a coin, and its last months."""
    bars = pq.read_table(SAMPLE / "bars.parquet")
    symbols = pc.unique(bars["symbol"]).to_pylist()[::5]
    symbols = sorted({*symbols, "NASDAQ:AAPL", "BINANCE:BTCUSDT"})
    since = int(datetime(2020, 10, 1, tzinfo=UTC).timestamp())
    kept = pc.and_(
        pc.is_in(bars["symbol"], value_set=pa.array(symbols)),
        pc.greater_equal(bars["timestamp"], since),
    )
    folder.mkdir()
    pq.write_table(bars.filter(kept), folder / "bars.parquet")
    with (SAMPLE / "symbols.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["symbol"] in symbols]
    with (folder / "symbols.csv").open("w") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "portfolio_candidates.json").write_text(json.dumps(symbols))
    return folder


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What it says, from beginning to end."""
    said: list[str] = []
    folder = tmp_path_factory.mktemp("demo")
    sample = fewer(folder / "sample")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "_DAYS", 2)
        tables = job.Tables(parity_table, selection_text)
        job.demo(folder / "a folder", sample, said.append, tables)
    return "\n".join(said)


def test_its_evenings_and_its_selection_are_told(told: str):
    assert "Mon 12 Apr" in told
    assert "Tue 13 Apr" in told
    assert "symbols by Recommend.All" in told


def test_every_command_that_it_prints_gives_something(told: str, monkeypatch: pytest.MonkeyPatch):
    lines = told.partition("Go on from there:")[2].split("\n")
    (export, *settings), *commands = [shlex.split(line) for line in lines if line.strip()]
    assert export == "export"
    for setting in settings:
        monkeypatch.setenv(*setting.split("=", 1))
    assert [words[:2] for words in commands] == [
        [".venv/bin/tvfeast", name] for name in ("select", "select", "select", "explain", "status")
    ]
    for _, *words in commands:
        done = CliRunner().invoke(cli, words, catch_exceptions=False)
        assert (done.exit_code, done.stderr) == (0, ""), words
        if words[0] == "select":
            assert done.stdout.splitlines()[2].split()[0] == "1", done.stdout  # a first place
        elif words[0] == "explain":
            assert done.stdout.count("served") == 2
