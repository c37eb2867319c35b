"""What the scanner's previous closes say about the session before its bars."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from scanned_rows import bar, instant

from ingestion.catalog import MISSED_BARS
from ingestion.cli.ingest import bars_text
from ingestion.formulas import SHIPPED
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.ingest.data_ingest import DataIngestResult
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.ingest.missing_sessions import accept_hole, find_holes
from ingestion.lakehouse import list_parts
from ingestion.project import Project
from tests.jobs.test_holes_features import stored

pytestmark = pytest.mark.usefixtures("no_power_cuts")

IBM, KO = "NYSE:IBM", "NYSE:KO"
MONDAY, TUESDAY, WEDNESDAY = (f"2021-03-0{day}T14:30" for day in (1, 2, 3))
EVENING = {"2021-03-01": "2021-03-01T21:30", "2021-03-03": "2021-03-03T21:30"}


def imported(settings: Project, tmp_path: Path, *lines: str) -> None:
    """Import bars of lines ``symbol,date,close``."""
    path = tmp_path / "vendor.csv"
    rows = (line.split(",") for line in lines)
    text = (f"{day},{symbol},{close},{close},{close},{close},1\n" for symbol, day, close in rows)
    path.write_text("date,symbol,open,high,low,close,volume\n" + "".join(text))
    import_bars(settings, ImportRequest((path,)))


def missing(result: DataIngestResult) -> list[tuple[str, date, int]]:
    return [(each.market, each.session, each.symbols) for each in result.missing]


def test_another_previous_close_proves_the_bar_of_a_single_symbol(ingest, settings, tmp_path):
    assert ingest("2021-03-01T21:30", bar(IBM, MONDAY, 10.0)).missing == ()
    result = ingest("2021-03-03T21:30", bar(IBM, WEDNESDAY, 11.0, change=-1.0))
    assert missing(result) == [("NYSE", date(2021, 3, 2), 1)]
    assert "NYSE 2021-03-02 is missing for 1 symbol:" in str(result.missing[0])
    assert json.loads(result.receipt.path.read_bytes())["missing"][0]["session"] == "2021-03-02"
    # The next evening says nothing of it: it is remembered.
    later = ingest("2021-03-04T21:30", bar(IBM, "2021-03-04T14:30", 11.0, change=0.0))
    assert missing(later) == [("NYSE", date(2021, 3, 2), 1)]
    imported(settings, tmp_path, f"{IBM},2021-03-02,11.1")
    assert find_holes(settings.lakehouse, instant("2021-03-04T21:30")).open == ()
    assert len(list_parts(settings.lakehouse, MISSED_BARS)) == 1


def test_the_values_of_the_symbol_are_null_until_it_is_accepted(ingest, settings):
    ingest("2021-03-01T21:30", bar(IBM, MONDAY, 10.0), bar(KO, MONDAY, 20.0))
    ingest("2021-03-02T21:30", bar(KO, TUESDAY, 21.0, change=5.0))
    ingest("2021-03-03T21:30", bar(IBM, WEDNESDAY, 11.0), bar(KO, WEDNESDAY, 22.0))
    local_features(settings)
    day = date(2021, 3, 3)
    assert stored(settings)[IBM, day]["returns_1d"] is None
    assert stored(settings)[KO, day]["returns_1d"] == pytest.approx(22 / 21 - 1)
    accept_hole(settings, "NYSE", date(2021, 3, 2), None, "a row was damaged")
    local_features(settings)
    assert stored(settings)[IBM, day]["returns_1d"] == pytest.approx(0.1)
    assert SHIPPED["returns_1d"].look_back == 1


@pytest.mark.parametrize(
    ("change", "is_missed"),
    [
        (10.0, False),  # from 10: halted in between
        (9.99, True),  # from 10.0009: the scanner's own closes agree to the last digit
        (None, False),  # it does not say
    ],
)
def test_a_halted_symbol_has_missed_nothing(ingest, change: float | None, is_missed: bool):
    ingest("2021-03-01T21:30", bar(IBM, MONDAY, 10.0))
    result = ingest("2021-03-03T21:30", bar(IBM, WEDNESDAY, 11.0, change=change))
    assert bool(result.missing) == is_missed


@pytest.mark.parametrize(("close", "is_missed"), [("9.92", False), ("9.8", True)])
def test_another_vendors_close_may_differ_by_a_percent(
    ingest, settings, tmp_path, at, close: str, is_missed: bool
):
    at(instant("2021-03-02T06:00"))
    imported(settings, tmp_path, f"{IBM},2021-03-01,{close}")
    result = ingest("2021-03-03T21:30", bar(IBM, WEDNESDAY, 11.0, change=10.0))
    assert bool(result.missing) == is_missed


def hong_kong(session: str, close: float, changes: list[float]) -> list[dict]:
    """Rows of a session of Hong Kong, closing at 08:00 UTC."""
    opened = f"{session}T01:30"
    return [
        bar(f"HKEX:{number}", opened, close, change=change)
        for number, change in enumerate(changes, start=1)
    ]


@pytest.mark.parametrize(("same", "is_open"), [(6, False), (5, True)])
def test_a_market_whose_previous_closes_are_those_of_before_did_not_open(
    ingest, settings, same: int, is_open: bool
):
    """A typhoon that no calendar knew: of 2 March 2021 the calendar has a session."""
    ingest("2021-03-01T09:00", *hong_kong("2021-03-01", 10.0, [0.0] * 6))
    changes = [10.0] * same + [3.0] * (6 - same)
    result = ingest("2021-03-03T09:00", *hong_kong("2021-03-03", 11.0, changes))
    found = find_holes(settings.lakehouse, instant("2021-03-03T09:00"))
    told = "the market did not open, whatever its calendar says"
    assert (told in bars_text(result)) == (not is_open)
    assert result.bars.did_not_open == (() if is_open else ("HKEX 2021-03-02",))
    if is_open:
        assert missing(result) == [("HKEX", date(2021, 3, 2), 6)]
        assert found.accepted == ()
    else:
        assert result.missing == ()
        (accepted,) = found.accepted
        assert (accepted.market, accepted.session) == ("HKEX", date(2021, 3, 2))
        assert "did not open" in accepted.reason
