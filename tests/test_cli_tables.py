"""How rows are printed: tables that fit the terminal, CSV, JSON and Parquet of the same rows."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from ingestion.cli.tables import Printing, Rows, cell, csv_text, rows_options, table
from tests.terminal import on_a_terminal

AT = datetime(2021, 4, 12, 21, 30, tzinfo=UTC)
ROWS = Rows(
    ("symbol", "value", "known_at", "age_s", "is_open"),
    [
        {"symbol": "NASDAQ:AAPL", "value": 1.25, "known_at": AT, "age_s": timedelta(hours=2)},
        {"symbol": "X:Ω", "value": None, "known_at": None, "is_open": True},
    ],
    "2 of 3 rows",
)


@click.command()
@rows_options
def printed(printing: Printing) -> None:
    """Print the rows."""
    printing.show({"rows": 2}, lambda _: "as people want it", lambda _: ROWS)


def run(*words: str) -> Result:
    return CliRunner().invoke(printed, words)


def test_csv_and_parquet_have_all_columns_typed_and_the_footer_is_beside_them(tmp_path: Path):
    as_csv = run("--format", "csv")
    assert list(csv.reader(io.StringIO(as_csv.stdout))) == [
        ["symbol", "value", "known_at", "age_s", "is_open"],
        ["NASDAQ:AAPL", "1.25", "2021-04-12T21:30:00+00:00", "7200", ""],
        ["X:Ω", "", "", "", "true"],
    ]
    assert as_csv.stderr == "2 of 3 rows\n"
    (tmp_path / "rows.parquet").write_bytes(run("--format", "parquet").stdout_bytes)
    read = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    first = {"value": 1.25, "known_at": AT, "age_s": 7200, "is_open": None}
    assert read[0] == {"symbol": "NASDAQ:AAPL"} | first
    assert read[1]["is_open"] is True


def test_columns_are_those_that_are_asked_for_in_that_order():
    assert run("--columns", "value,symbol").stdout.splitlines() == [
        "value  symbol",
        "-----  -----------",
        " 1.25  NASDAQ:AAPL",
        "    –  X:Ω",
        "2 of 3 rows",
    ]
    head = run("--format", "csv", "--columns", "age_s,symbol").stdout.splitlines()[0]
    assert head == "age_s,symbol"


def test_json_is_the_whole_object_by_either_option():
    for words in (["--json"], ["--format", "json"], ["--format", "csv", "--json"]):
        assert json.loads(run(*words).stdout) == {"rows": 2}
    refused = run("--json", "--columns", "value")
    assert refused.exit_code == 2
    assert "JSON has all" in refused.stderr


def test_a_column_that_is_none_is_answered_with_the_nearest_or_with_all():
    near, far = run("--columns", "valu"), run("--columns", "zzz")
    assert (near.exit_code, far.exit_code) == (2, 2)
    assert "did you mean value?" in near.stderr
    assert "there are symbol, value, known_at" in far.stderr


def test_no_rows_are_a_head_alone():
    assert csv_text(Rows(("a", "b"), [])) == "a,b\n"
    assert table(["a", "b"], [], {0}) == "a  b\n-  -"


WORDS = st.text("abcé ", min_size=1, max_size=24).map(str.strip).filter(bool)


@given(
    rows=st.lists(st.lists(WORDS, min_size=4, max_size=4), max_size=5),
    head=st.lists(WORDS, min_size=4, max_size=4),
    left=st.sets(st.integers(0, 3)),
    width=st.integers(10, 120),
)
def test_a_table_fits_its_width_and_loses_no_word_but_of_columns_that_it_names(
    rows: list[list[str]], head: list[str], left: set[int], width: int
):
    lines = table(head, rows, left, width).splitlines()
    hidden: list[str] = []
    if lines[-1].startswith("not shown"):
        hidden = lines.pop().partition(": ")[2].split(", ")
    kept = 4 - len(hidden)
    assert head[kept:] == hidden, "columns go from the right"
    words = sorted(word for row in [head, *rows] for text in row[:kept] for word in text.split())
    shown = sorted(word for line in lines for word in line.split() if set(word) != {"-"})
    assert shown == words
    if kept > 1:
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (0.125, "0.12"),
        (None, "–"),
        (AT, "2021-04-12 21:30 UTC"),
        (timedelta(days=3, hours=17), "3 d 17 h"),
        (False, "no"),
        ("NASDAQ:AAPL", "NASDAQ:AAPL"),
    ],
)
def test_values_are_written_one_way(value: object, text: str):
    assert cell(value) == text


def test_a_table_fits_the_terminal_that_it_is_printed_on():
    shown = on_a_terminal("catalog", columns=60)
    lines = shown.lines
    assert shown.code == 0
    assert any(line.startswith("tv_technicals_1d") for line in lines[:5])
    assert max(map(len, lines)) <= 60


def test_parquet_is_not_printed_on_a_terminal():
    shown = on_a_terminal("catalog", "--format", "parquet")
    assert shown.code == 2
    assert "> rows.parquet" in shown.text
