"""The report of a lakehouse to which things happen: what it says is what has happened."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pytest

from ingestion.jobs.audit.status import State, status
from ingestion.jobs.report.freshness import LateMarket, verdict
from ingestion.jobs.report.make_report import gather, make_report
from ingestion.lakehouse import list_dates, parts_of
from ingestion.project import Project
from ingestion.report.contents import Cell, Mark, Plot, Report, Section, Small, Table
from tests.report.browser import CHROMIUM, WHY_NOT, Page, browser
from tests.report.eventful import LAST, LATE, RESTATED, SYMBOLS, Course, build, now
from tests.report.page_checks import faults

COURSE = Course(date(2020, 3, 9), date(2020, 3, 10), date(2020, 3, 13), flows=1)
"""Eight days are enough for all of it; three months are what one looks at."""
NUMBERS = ["tv_technicals_1d", "local_1d", "ohlcv_1d"]


class World(NamedTuple):
    """A lakehouse, and what is reported of it."""

    project: Project
    report: Report
    file: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    before = {name: os.environ.get(name) for name in ("TVFEAST_PROJECT", "TVFEAST_NOW")}
    project = build(tmp_path_factory.mktemp("eventful") / "project", COURSE)
    try:
        yield World(project, gather(project), make_report(project).path)
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@pytest.fixture(autouse=True)
def that_evening(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVFEAST_NOW", now().isoformat())


def section(report: Report, key: str) -> Section:
    return next(each for each in report.sections if each.key == key)


def tables(report: Report, key: str) -> dict[str, list[dict[str, str]]]:
    """Return the tables of a section by caption, their rows by column."""
    return {
        each.caption: [
            dict(zip(each.head, (cell.text if isinstance(cell, Cell) else cell for cell in row),
                     strict=True))
            for row in each.rows
        ]
        for each in section(report, key).body
        if isinstance(each, Table)
    }  # fmt: skip


def plots(report: Report) -> dict[str, Plot]:
    found: dict[str, Plot] = {}
    for each in (block for one in report.sections for block in one.body):
        if isinstance(each, Plot):
            found[each.key] = each
        elif isinstance(each, Small):
            found |= {plot.key: plot for plot in each.plots}
    return found


def rows_of(plot: Plot) -> list[dict[str, object]]:
    return [
        dict(zip(plot.columns, row, strict=True))
        for row in zip(*plot.columns.values(), strict=True)
    ]


def test_the_first_screen_names_the_late_market(world: World):
    verdict = world.report.verdict
    assert verdict.answer == f"Yes, but not in {LATE}."
    assert verdict.mark is Mark.CARE
    assert verdict.reasons[0] == (
        "NYSE is late: its newest bar closed at 2020-03-13 20:00 UTC, and its last session at "
        "2020-03-16 20:00 UTC (1 session behind): run its flow again (`tvfeast flow-data`), or "
        "import its bars (`tvfeast import-bars`)"
    )
    tiles = {tile.label: tile.value for tile in verdict.tiles}
    assert tiles["late markets"] == "1"
    assert tiles["fresh symbols"] == "24 of 24"
    by_market = {row["market"]: row["bars"] for row in tables(world.report, "fresh")["By market"]}
    assert by_market == {
        "NYSE": "1 session behind", "BINANCE": "up to date", "NASDAQ": "up to date",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "answer"),
    [("ohlcv_1d", "No: a file of the newest rows cannot be read."), ("local_1d", None)],
)
def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_shown(
    world: World, name: str, answer: str | None
):
    lakehouse = world.project.lakehouse
    dataset = next(each for each in world.project.catalog.datasets if each.name == name)
    day = list_dates(lakehouse, dataset)[-1 if answer else -30]
    part = parts_of(lakehouse, dataset, day)[0].path
    content = part.read_bytes()
    part.write_bytes(content[:100])
    try:
        report = gather(world.project)
    finally:
        part.write_bytes(content)
    verdict = report.verdict
    assert verdict.answer == answer or world.report.verdict.answer
    assert f"{part} cannot be read" in verdict.reasons[0]
    assert {each.key for each in report.sections} == {each.key for each in world.report.sections}
    for key in ("drift", "complete", "revisions", "parity", "lag", "growth"):
        assert section(report, key).body
    assert plots(report).keys() == plots(world.report).keys()
    kept = {each["dataset"]: int(each["rows"].replace(",", ""))
            for each in tables(report, "revisions")["Rows of the last year"]}  # fmt: skip
    whole = {each["dataset"]: int(each["rows"].replace(",", ""))
             for each in tables(world.report, "revisions")["Rows of the last year"]}  # fmt: skip
    lost = {each: whole[each] - kept[each] for each in whole if whole[each] != kept[each]}
    assert lost.keys() == {name}
    assert 0 < lost[name] <= len(SYMBOLS)


def test_if_each_flow_has_failed_the_answer_is_no_and_of_several_it_is_care(world: World):
    found, catalog = status(world.project), world.project.catalog
    (flow,) = found.profiles
    failed = replace(flow, state=State.FAILED, reason="data-ingest: no rows came")
    problem = failed.problem
    assert problem is not None
    one = verdict(catalog, replace(found, profiles=(failed,), problems=(problem,)), [])
    assert (one.mark, one.answer) == (Mark.BAD, "No: not on today’s rows.")
    assert one.reasons == [problem]
    several = verdict(catalog, replace(found, profiles=(failed, flow), problems=(problem,)), [])
    assert several.mark is Mark.CARE
    fine = verdict(catalog, replace(found, problems=(), warnings=()), [])
    assert (fine.mark, fine.reasons) == (Mark.GOOD, [])


def test_if_each_market_is_late_the_answer_is_no(world: World):
    found = status(world.project)
    behind = [LateMarket(each.exchange, now(), each.newest, 1) for each in found.bars.markets]
    assert verdict(world.project.catalog, found, behind).mark is Mark.BAD
    assert verdict(world.project.catalog, found, behind[:1]).mark is Mark.CARE


def test_the_failed_day_is_empty_and_is_said_to_be_stopped(world: World):
    (stopped,) = tables(world.report, "stopped").values()
    assert [row["started"][:10] for row in stopped] == ["2020-03-10"]
    assert stopped[0]["what"].split(", ") == ["data-ingest", "meta-ingest", "feature-ingest"]
    assert "no rows came from the scanner" in stopped[0]["why"]
    calendar = rows_of(plots(world.report)["calendar-tv_technicals_1d"])
    by_day = {str(row["date"]): row["value"] for row in calendar}
    assert by_day.pop("2020-03-10") == 0
    assert set(by_day.values()) == {1}
    assert list(by_day) == ["2020-03-09", "2020-03-11", "2020-03-12", "2020-03-13", "2020-03-16"]


def test_a_market_lacks_its_bars_on_the_day_on_which_it_was_late(world: World):
    cells = rows_of(plots(world.report)["markets-ohlcv_1d"])
    lacking = [(str(row["x"]), row["y"], row["note"]) for row in cells if row["value"] != 1]
    assert lacking == [("2020-03-16", "NYSE", "0 of 10 symbols")]


def test_what_was_restated_is_counted(world: World):
    """Three symbols, and the sessions of 6, 9, 10, 11 and 12 March: fifteen bars, each once."""
    found = {
        row["dataset"]: row for row in tables(world.report, "revisions")["Rows of the last year"]
    }
    assert found["ohlcv_1d"]["written again"] == str(5 * len(RESTATED))
    assert found["tv_technicals_1d"]["written again"] == "0"
    assert int(found["local_1d"]["written again"]) >= 5 * len(RESTATED)
    changes = tables(world.report, "revisions")["How large the changes were"]
    closes = [row for row in changes if row["value"] == "ohlcv_1d:close"]
    assert [row["changed"] for row in closes] == ["15"]
    assert not [row for row in changes if row["value"] == "ohlcv_1d:open"]
    assert {row["of"] for row in changes} <= set(RESTATED)


def test_what_was_imported_later_is_late_and_history_is_not(world: World):
    """Of the failed day, one bar of each symbol; what was corrected was not late at first."""
    found = {
        row["dataset"]: row for row in tables(world.report, "revisions")["Rows of the last year"]
    }
    assert found["ohlcv_1d"]["late by over a day"] == str(len(SYMBOLS))
    assert found["tv_technicals_1d"]["late by over a day"] == "0"


def test_the_crash_is_seen_as_drift(world: World):
    moved = tables(world.report, "drift")["The features that have moved most"]
    found = [float(row["stability index"]) for row in moved]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.25
    assert "distributed otherwise" in section(world.report, "drift").lead


def test_the_selection_has_places_and_what_they_were_before(world: World):
    (ranked,) = tables(world.report, "selection").values()
    assert [row["place"] for row in ranked] == [str(number) for number in range(1, 21)]
    assert all(re.fullmatch(r"=|[▲▼] \d+|new", row["moved"]) for row in ranked)
    bars = {row["symbol"].partition(":")[0]: row["bar"] for row in ranked}
    assert bars.pop(LATE) == "2020-03-13 closed", "the bar of a late market is of another session"
    assert bars["NASDAQ"] == "2020-03-16 closed"


def test_every_feature_is_in_the_catalogue_with_what_is_known_of_it(world: World):
    groups = {group.name: group for group in world.project.catalog.groups}
    assert [card.name for card in world.report.catalogue] == list(groups)
    for card in world.report.catalogue:
        assert [each.name for each in card.features] == [c.name for c in groups[card.name].features]
        for feature in card.features:
            facts = dict(feature.facts)
            assert {
                "unit",
                "bounds",
                "source",
                "since",
                "null",
                "freshness",
                "services",
                "lineage",
            } <= facts.keys()
            assert feature.plot is not None
            assert sum(feature.plot.columns["now"]) == pytest.approx(1)
    rsi = next(each for each in world.report.catalogue[0].features if each.name == "RSI")
    facts = dict(rsi.facts)
    assert facts["bounds"] == "0 … 100"
    assert facts["since"] == "2020-03-09"
    assert facts["source"] == "TradingView’s scanner, column `RSI`"
    assert "selection_v1" in facts["services"]
    assert facts["lineage"] == "scanner column `RSI` → checks → `tv_technicals_1d:RSI`"
    local = {each.name: dict(each.facts)["lineage"] for each in world.report.catalogue[1].features}
    assert local["RSI"] == (
        "`ohlcv_1d` (all bars of the symbol up to this one) → formula → checks → `local_1d:RSI`; "
        "`tvfeast parity` compares it with `tv_technicals_1d:RSI`"
    )
    assert local["returns_1d"] == (
        "`ohlcv_1d` (this bar and 1 bar before it) → formula → checks → `local_1d:returns_1d`"
    )


def test_no_plot_is_empty(world: World):
    found = plots(world.report)
    assert {f"calendar-{name}" for name in NUMBERS} <= found.keys()
    assert {
        "lag-by-hour",
        "timings",
        "growth",
        "restated-by-week",
        "agreement-tv_technicals_1d",
    } <= (found.keys())
    for plot in found.values():
        assert all(len(column) for column in plot.columns.values()), plot.key


def test_the_commands_that_it_names_are_commands(world: World):
    from ingestion.cli.commands import TASKS

    names = {name for of_task in TASKS.values() for name in of_task}
    text = world.file.read_text(encoding="utf-8")
    said = set(re.findall(r"<code>tvfeast ([a-z-]+)", text))
    assert said
    assert said <= names


def test_it_is_one_small_file_that_says_the_same_again(world: World):
    first = world.file.read_bytes()
    assert len(first) < 5_000_000
    result = make_report(world.project)
    assert result.path.read_bytes() == first
    assert result.answer == world.report.verdict.answer
    assert json.dumps(list(result.reasons)) == json.dumps(list(world.report.verdict.reasons))
    assert f"{LAST:%Y-%m-%d} 21:30 UTC" in first.decode()


def test_a_new_project_has_a_report_that_says_no(settings: Project):
    report = gather(settings)
    assert report.verdict.mark is Mark.BAD
    assert any("nothing is served yet" in reason for reason in report.verdict.reasons)
    assert not [plot.key for plot in plots(report).values() if not all(plot.columns.values())]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.mark.skipif(CHROMIUM is None, reason=WHY_NOT)
@pytest.mark.parametrize(("width", "dark"), [(1400, False), (400, True)])
def test_it_is_readable_in_a_browser(world: World, chromium: Page, width: int, dark: bool):
    chromium.open(world.file.as_uri(), width, dark=dark)
    assert not faults(chromium)


@pytest.mark.skipif(CHROMIUM is None, reason=WHY_NOT)
@pytest.mark.parametrize(("width", "height"), [(1400, 900), (400, 900)])
def test_the_answer_is_on_the_first_screen(world: World, chromium: Page, width: int, height: int):
    chromium.open(world.file.as_uri(), width, height=height)
    box = chromium.run(
        "(() => { const b = document.querySelector('h1').getBoundingClientRect();"
        " return [b.top, b.bottom]; })()"
    )
    assert 0 <= box[0] < box[1] <= height
    assert LATE in chromium.run("document.querySelector('h1').textContent")
