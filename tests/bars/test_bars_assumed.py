"""Bars beyond the end of their exchange's calendar are stored with its usual hours, and marked."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

import pytest
from bars_tools import HEADER, Import, Rows, Write, utc

from ingestion.cli.bars import import_text


@pytest.fixture(autouse=True)
def in_2027(at: Callable[[datetime], None], lakehouse: object) -> None:
    at(utc("2027-06-01"))


def test_a_bar_beyond_a_calendars_end_is_stored_and_marked(
    run: Import, write: Write, stored: Rows
) -> None:
    lines = [
        "2026-12-31,SSE:600519,10,11,9,10,1",
        "2027-01-04,SSE:600519,10,11,9,10,1",
        "2027-01-05T01:30:00Z,SSE:600519,10,11,9,10,1",
        "2027-01-05T00:00:00Z,SZSE:000001,10,11,9,10,1",
        "2027-01-04,NYSE:IBM,10,11,9,10,1",
        "2027-01-02,SSE:600519,10,11,9,10,1",  # a Saturday
    ]
    result = run(write("v.csv", HEADER + "\n".join(lines)))
    assert {
        (row["symbol"], f"{row['event_timestamp']:%Y-%m-%d %H:%M}"): row["source"]
        for row in stored()
    } == {
        ("SSE:600519", "2026-12-31 07:00"): "import:v.csv",
        ("SSE:600519", "2027-01-04 07:00"): "import:v.csv;assumed_hours",
        ("SSE:600519", "2027-01-05 07:00"): "import:v.csv;assumed_hours",
        ("SZSE:000001", "2027-01-05 07:00"): "import:v.csv;assumed_hours",
        ("NYSE:IBM", "2027-01-04 21:00"): "import:v.csv",
    }
    assert result.refused == 1
    told = "3 bars lie beyond the end of their exchange's calendar"
    assert told in import_text(result)
    assert "SSE 2, SZSE 1" in import_text(result)
    assert json.loads(result.receipt.path.read_text())["findings"]["assumed_hours"]["count"] == 3


def test_a_mark_is_no_reason_to_write_a_bar_again(run: Import, write: Write, stored: Rows) -> None:
    path = write("v.csv", HEADER + "2027-01-04,SSE:600519,10,11,9,10,1\n")
    run(path)
    before = stored()
    assert run(path).written == 0
    assert stored() == before
