"""A training set has each symbol exactly inside its spans, and daily answers give these spans.

Five hundred symbols, sixty of which join or leave. The right answer is worked out beside the
product, from the dates alone, by the exchange's calendar as ``exchange_calendars`` has it.
"""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import exchange_calendars
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ingestion.base.errors import InputError
from ingestion.catalog import OHLCV_1D, Listing, Universe
from ingestion.datasets import DropReason, Membership
from ingestion.jobs.ingest.import_universe import ImportUniverseRequest, import_universe
from ingestion.jobs.ingest.universe_ingest import universe_ingest
from ingestion.jobs.serve.targets import TrainingLabels, training_labels
from ingestion.lakehouse import arrow_schema, read_members
from ingestion.lakehouse.writer import append_parts
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner
from tests.conftest import QUICK

SYMBOLS = [f"NASDAQ:S{number:03}" for number in range(500)]
YEARS = int(os.environ.get("TVFEAST_MEMBERSHIP_YEARS", "1"))
"""Five in the long form."""
ASKED = slice(60, 84)
"""The sessions whose evenings have an answer, but for a week in which none comes."""
FIRST, LAST = date(2020 - YEARS + 1, 1, 2), date(2020, 12, 31)
TARGET = "fwd_return_1d"


@dataclass(frozen=True)
class Session:
    day: date
    opens: datetime
    closes: datetime


@pytest.fixture(scope="module")
def sessions() -> list[Session]:
    calendar = exchange_calendars.get_calendar("XNYS", start="2015-01-01", end="2021-02-01")
    schedule = calendar.schedule.loc[str(FIRST) : str(LAST + timedelta(days=20))]
    return [
        Session(day.date(), row["open"].to_pydatetime(), row["close"].to_pydatetime())
        for day, row in schedule.iterrows()
    ]


Spans = dict[str, list[tuple[date, date | None]]]


@pytest.fixture(scope="module")
def spans(sessions: list[Session]) -> Spans:
    """Sixty symbols change: thirty leave, some of which return; the others join.

    Every second change is in the sessions in which the scanner is asked each evening.
    """
    chance = random.Random(14)
    days = [each.day for each in sessions if FIRST < each.day < LAST]
    days = [day for day, near in zip(days, cycle(days[ASKED]), strict=False) for day in (day, near)]
    made: Spans = {symbol: [(FIRST, None)] for symbol in SYMBOLS[:470]}
    for symbol in chance.sample(SYMBOLS[:470], 30):
        left, again = _two(chance, days)
        made[symbol] = [(FIRST, left)] + [(again, None)] * chance.randint(0, 1)
    for symbol in SYMBOLS[470:]:
        joined, left = _two(chance, days)
        made[symbol] = [(joined, left if chance.random() < 0.5 else None)]
    return made


def _two(chance: random.Random, days: list[date]) -> list[date]:
    """Two different dates, in order."""
    return sorted(chance.sample(sorted({*chance.sample(days, 20)}), 2))


def is_inside(spans: Spans, symbol: str, day: date) -> bool:
    return any(first <= day and (last is None or day < last) for first, last in spans[symbol])


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory, sessions: list[Session]) -> Project:
    """A daily bar of every symbol in every session."""
    folder = tmp_path_factory.mktemp("membership")
    project = Project(folder, folder / "lakehouse", "https://scanner.test")
    schema, size = arrow_schema(OHLCV_1D), len(SYMBOLS)
    tables = []
    for number, each in enumerate(sessions):
        price = pa.array(np.full(size, 100.0 + number % 7))
        columns: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close"), price)
        columns |= {
            "timestamp": [int(each.opens.timestamp())] * size,
            "symbol": SYMBOLS,
            "volume": np.ones(size),
            "split_ratio": np.ones(size),
            "event_timestamp": [each.closes] * size,
            "created_timestamp": [each.closes] * size,
            "source": ["test"] * size,
        }
        tables.append(pa.table({name: columns[name] for name in schema.names}, schema=schema))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        append_parts(project.lakehouse, OHLCV_1D, tables, "run")
    return project


def file_of(spans: Spans, path: Path) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["symbol", "from", "to"])
        for symbol, own in spans.items():
            writer.writerows([symbol, first, last or ""] for first, last in own)
    return path


def labelled(made: TrainingLabels) -> set[tuple[str, date]]:
    table = made.labels.table
    days = table["event_timestamp"].cast(pa.date32()).to_pylist()
    return set(zip(table["symbol"].to_pylist(), days, strict=True))


def expected(spans: Spans, sessions: list[Session]) -> set[tuple[str, date]]:
    days = [each.day for each in sessions if FIRST <= each.day <= LAST]
    return {(symbol, day) for symbol in SYMBOLS for day in days if is_inside(spans, symbol, day)}


def test_an_imported_universe_labels_each_symbol_inside_its_spans(
    stocked: Project, spans: Spans, sessions: list[Session], tmp_path: Path
):
    request = ImportUniverseRequest(file_of(spans, tmp_path / "members.csv"), "imported")
    result = import_universe(stocked, request)
    assert (result.refused, result.symbols) == ({}, 500)
    made = training_labels(stocked, TARGET, FIRST, LAST, universe="imported")
    right = expected(spans, sessions)
    assert labelled(made) == right
    assert made.labels.dropped[DropReason.NOT_ACTIVE] == made.labels.decisions - len(right)
    assert made.warnings == ()
    everybody = training_labels(stocked, TARGET, FIRST, LAST)
    assert len(labelled(everybody)) == everybody.labels.decisions > len(right)
    assert "survivors: these 500 symbols" in everybody.warnings[0]


def test_where_membership_is_unknown_all_are_kept_and_the_share_is_told(
    stocked: Project, spans: Spans, sessions: list[Session], tmp_path: Path
):
    """The file begins later than the decisions."""
    begins = sessions[60].day
    later: Spans = {
        symbol: [(max(first, begins), last) for first, last in own if last is None or last > begins]
        for symbol, own in spans.items()
    }
    import_universe(stocked, ImportUniverseRequest(file_of(later, tmp_path / "later.csv"), "later"))
    made = training_labels(stocked, TARGET, FIRST, LAST, universe="later")
    unknown = {(symbol, each.day) for symbol in SYMBOLS for each in sessions[:60]}
    right = {key for key in expected(spans, sessions) if key[1] >= begins} | unknown
    assert labelled(made) == right
    (warning,) = made.warnings
    share = len(unknown) / made.labels.decisions
    assert f"{len(unknown):,} of {made.labels.decisions:,} decisions ({share:.1%})" in warning


@pytest.fixture
def recorded(
    stocked: Project, spans: Spans, sessions: list[Session], at: Callable[[datetime], None]
) -> list[datetime]:
    """The answers of the evenings; of nine sessions, more than a week, there is none."""
    index = "SYML:SP;SPX"
    opens = {each.day: each.opens.timestamp() for each in sessions}
    panel = Panel.from_bars(_one_bar(), _about()).with_aliases(500, exchange="NASDAQ")
    names = dict(zip(SYMBOLS, panel.symbols, strict=True))
    panel.symbolsets[index] = {
        names[symbol]: [
            (opens.get(first, 0), opens[last] if last else np.inf) for first, last in own
        ]
        for symbol, own in spans.items()
    }
    asked = [each for number, each in enumerate(sessions[ASKED]) if not 8 <= number < 17]
    with ReplayScanner(panel) as scanner, pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        project = Project(stocked.folder, stocked.lakehouse_at, scanner.url)
        for each in asked:
            at(each.closes + timedelta(minutes=90))
            result = universe_ingest(project, Universe("asked", Listing(symbolset=index)), QUICK)
            assert result.short is None
    return [each.closes + timedelta(minutes=90) for each in asked]


def _one_bar() -> pa.Table:
    opened = int(datetime(2015, 1, 2, 14, 30, tzinfo=UTC).timestamp())
    row = {"timestamp": opened, "symbol": "NASDAQ:A", "volume": 1.0, "split_ratio": 1.0}
    return pa.Table.from_pylist([row | dict.fromkeys(("open", "high", "low", "close"), 1.0)])


def _about() -> dict[str, dict[str, str]]:
    values = {"market": "america", "type": "stock", "currency": "USD", "description": "A"}
    return {"NASDAQ:A": values}


def test_daily_answers_give_these_spans_each_from_the_first_answer_on(
    stocked: Project, spans: Spans, sessions: list[Session], recorded: list[datetime]
):
    """Membership changes at the first complete answer after the change, and not before."""
    membership = Membership.of(read_members(stocked.lakehouse, "asked"))
    names = {f"NASDAQ:S{number:06}": SYMBOLS[number] for number in range(500)}
    for hour in range(0, 24 * 48, 5):
        now = sessions[ASKED][0].opens + timedelta(hours=hour)
        before = [each for each in recorded if each <= now]
        members = membership.members_at(now)
        if not before or now - before[-1] > timedelta(days=7):
            assert members is None, now
            continue
        day = before[-1].date()
        right = {symbol for symbol in SYMBOLS if is_inside(spans, symbol, day)}
        assert {names[each] for each in members or ()} == right, now


def test_an_unknown_universe_is_an_error_that_names_the_known_ones(stocked: Project):
    with pytest.raises(InputError, match="there is no universe 'nowhere'"):
        training_labels(stocked, TARGET, FIRST, LAST, universe="nowhere")


def test_members_without_bars_are_named(stocked: Project, tmp_path: Path):
    path = tmp_path / "few.csv"
    path.write_text(f"symbol,from,to\nNASDAQ:S000,{FIRST},\nNASDAQ:GONE,{FIRST},2020-03-02\n")
    import_universe(stocked, ImportUniverseRequest(path, "few"))
    made = training_labels(stocked, TARGET, FIRST, LAST, universe="few")
    assert any(
        "1 member of few has no bars" in each and "NASDAQ:GONE" in each for each in made.warnings
    )
    assert pc.unique(made.labels.table["symbol"]).to_pylist() == ["NASDAQ:S000"]
