"""The figures of the report's sections, against values that were derived by hand."""

from __future__ import annotations

import doctest
from datetime import UTC, date, datetime
from types import ModuleType

import numpy as np
import pytest

import ingestion.jobs.report.distributions
import ingestion.report.formats
from ingestion.catalog import OHLCV_1D, Column
from ingestion.jobs.report.agreement import told_votes
from ingestion.jobs.report.completeness import Cell, completeness
from ingestion.jobs.report.distributions import distributions, psi
from ingestion.jobs.report.feed_lag import feed_lag_section
from ingestion.jobs.report.operation import RunTold, stopped_section, timings_section
from ingestion.jobs.report.stored_rows import Day, Names, StoredRows
from ingestion.report.contents import Note, Plot, Table

MONDAY = date(2026, 1, 12)
AT = datetime(2026, 1, 14, 22, 0, tzinfo=UTC)
NAMES = Names(
    {"NYSE:A": 0, "NYSE:B": 1, "BINANCE:C": 2, "MINE:D": 3}, ["NYSE", "NYSE", "BINANCE", "MINE"]
)
NONE = np.array([], dtype=np.int64)


@pytest.mark.parametrize("module", [ingestion.jobs.report.distributions, ingestion.report.formats])
def test_the_examples_run(module: ModuleType):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def stored(*days: Day, columns: tuple[Column, ...] = (), **more: object) -> StoredRows:
    found = {"updates": {}, "others": {}, **more}
    return StoredRows(OHLCV_1D, columns, NAMES, days, (), **found)


def day(number: int, symbols: list[int], values: list[list[float]] | None = None) -> Day:
    there = np.array(symbols, dtype=np.int64)
    of_day = None if values is None else np.array(values, dtype=float)
    return Day(date(2026, 1, number), there, len(symbols), 0, of_day)


def test_a_symbol_is_expected_from_its_first_row_on_in_its_markets_sessions():
    """B begins on the 13th and lacks a row on the 14th; who never closes has each day."""
    found = completeness(stored(day(12, [0, 2]), day(13, [0, 1, 2]), day(14, [0, 3])), AT)
    assert found.cells == (
        Cell(date(2026, 1, 12), "BINANCE", 1, 1),
        Cell(date(2026, 1, 12), "NYSE", 1, 1),
        Cell(date(2026, 1, 13), "BINANCE", 1, 1),
        Cell(date(2026, 1, 13), "NYSE", 2, 2),
        Cell(date(2026, 1, 14), "BINANCE", 1, 0),
        Cell(date(2026, 1, 14), "MINE", 1, 1),
        Cell(date(2026, 1, 14), "NYSE", 2, 1),
    )


def test_a_session_that_has_not_closed_expects_nothing():
    noon = datetime(2026, 1, 14, 12, 0, tzinfo=UTC)
    found = completeness(stored(day(12, [0]), day(13, [0])), noon)
    assert [(cell.day.day, cell.there) for cell in found.cells] == [(12, 1), (13, 1)]


def test_a_holiday_is_no_gap():
    """15 January 2026 is a Thursday, 19 January Martin Luther King's day."""
    at = datetime(2026, 1, 20, 22, 0, tzinfo=UTC)
    found = completeness(stored(day(16, [0]), day(20, [0])), at)
    assert [cell.day.day for cell in found.cells] == [16, 20]


def test_the_newest_date_is_compared_with_those_before():
    column = Column("RSI", low=0, high=100)
    before = [day(number, list(range(4)), [[10.0], [30.0], [50.0], [70.0]]) for number in (12, 13)]
    (found,) = distributions(
        stored(
            *before, day(14, list(range(4)), [[10.0], [30.0], [50.0], [np.nan]]), columns=(column,)
        )
    )
    assert found.quantiles[:, 2].tolist() == [40, 40, 30]
    assert found.values == 3
    assert found.nulls == 0.25
    assert found.psi is None  # of three values nothing can be said
    low = [round(float(edge), 6) for edge in found.edges]
    assert (low[0], low[-1]) == (0, 100)
    assert found.now.sum() == pytest.approx(1)
    assert sorted(found.before[found.before > 0].tolist()) == [0.25] * 4


def test_two_equal_samples_are_the_same_and_two_apart_are_not():
    values = np.arange(200.0)
    assert psi(values, values) == 0
    assert psi(values + 1, values) < 0.1
    assert psi(values + 400, values) > 1


def test_lag_is_measured_to_the_snapshot_or_to_the_close():
    """Bars of 12 January 2026 in New York: 14:30 to 21:00 UTC."""
    opens = np.array([1768228200] * 3)
    events = np.array([1768233600, 1768255200, 1768255200])  # 16:00, 22:00, 22:00
    updates = np.array([1768233000, 1768251600, 1768250400])  # 15:50, 21:00, 20:40
    rows = stored(updates={"NYSE": (events, opens, updates)})
    section = feed_lag_section({"tv": rows})
    plot = next(each for each in section.body if isinstance(each, Plot))
    assert list(zip(plot.columns["x"], plot.columns["value"], strict=True)) == [(16, 10), (22, 10)]
    table = next(each for each in section.body if isinstance(each, Table))
    longest = {row[1]: row[5] for row in table.rows}
    assert longest == {"16": "10", "22": "20"}


def flow(number: int, outcome: str = "done", seconds: float = 1.0, **more: object) -> RunTold:
    told = {
        "steps": (("data-ingest", "done", "", seconds), ("verify --online", "done", "", 0.5)),
        "refused": (), "error": "", **more,
    }  # fmt: skip
    started = datetime(2026, 1, number, 21, 30, tzinfo=UTC)
    return RunTold(f"run{number}", "flow-data", started, outcome, duration=seconds + 0.5, rows=0,
                   parts=(), **told)  # fmt: skip


def test_the_steps_of_one_scan_have_one_reason_and_a_killed_run_is_named():
    reason = "no rows came; see here"
    refused = tuple((name, reason) for name in ("data-ingest", "mine_1d", "status"))
    runs = [flow(12), flow(13, "refused", refused=refused), flow(14, "running")]
    section = stopped_section(runs, ())
    (table,) = (each for each in section.body if isinstance(each, Table))
    assert [[row[2], row[4]] for row in table.rows] == [
        ["all", "it was killed, or still runs"],
        ["data-ingest, mine_1d", "no rows came"],
    ]
    assert section.lead.startswith("2 runs of the last 3")


def test_where_nothing_was_stopped_nothing_is_listed():
    section = stopped_section([flow(12)], ())
    assert [each.text for each in section.body if isinstance(each, Note)] == [
        "Nothing was refused, and nothing failed."
    ]


def test_the_timings_are_those_of_the_steps():
    section = timings_section([flow(12, seconds=1), flow(13, seconds=3), flow(14, seconds=2)])
    assert section.lead == "The last flow took 2.50 s; the median of the last 3 flows is 2.50 s."
    (table,) = (each for each in section.body if isinstance(each, Table))
    assert table.rows[0] == ["data-ingest", "2.00 s", "2.00 s", "3.00 s"]
    assert table.rows[1][0] == "verify --online"


def test_a_vote_that_follows_another_rule_is_drawn_by_date():
    days = [{"day": "2026-01-12", "cast": 40, "differing": 0},
            {"day": "2026-01-13", "cast": 40, "differing": 30},
            {"day": "2026-01-14", "cast": 0, "differing": 0}]  # fmt: skip
    broken = {"votes": ["RSI"], "feature": "Recommend.Other", "market": "NYSE",
              "since": "2026-01-13", "share_before": 0.0, "share_after": 0.75, "explained": 30,
              "differing": 30, "days": days}  # fmt: skip
    table, plot = told_votes({"broken": [broken]})
    assert isinstance(table, Table)
    assert table.rows[0][4:] == ["0 %", "75.0 %", "30 of 30"]
    assert isinstance(plot, Plot)
    assert plot.columns["date"] == ["2026-01-12", "2026-01-13"]
    assert plot.columns["value"] == [0, 75]
    (note,) = told_votes({"broken": []})
    assert isinstance(note, Note)
