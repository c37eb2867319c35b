"""The panel against a brute-force search of the same rows."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from made_group import MONDAY, OTHERS, SIGNALS, day, row, stocked

from ingestion.base.executors import Engine
from ingestion.base.instants import to_micros
from ingestion.datasets import Counts, Questions, Schedule, Universe, features_of, panel
from ingestion.datasets.panel import schema_of
from ingestion.datasets.panel_tasks import panel_in_tasks
from ingestion.plugins.offline.files import location_of
from tests.stores.asof_reference import best_row

NAMES = ("BINANCE:B", "LSE:L", "NYSE:A", "NYSE:C")
FEATURES = features_of([(SIGNALS, "grade"), (OTHERS, "beta"), (SIGNALS, "score")])
NEVER = 2**62

# Around closes: of London at 16:30, of New York at 21:00, of Binance at midnight.
instants = st.builds(
    lambda n, hours, tick: day(n) + timedelta(hours=hours, microseconds=tick),
    st.integers(-3, 6),
    st.sampled_from([0, 16.5, 21, 23]),
    st.sampled_from([-1, 0, 1]),
)
numbers = st.none() | st.integers(0, 9).map(float)
signals = st.builds(
    lambda symbol, event, created, score, grade: row(
        symbol, event, created, score=score, grade=grade
    ),
    st.sampled_from(NAMES),
    instants,
    instants,
    numbers,
    st.none() | st.sampled_from(["x", ""]),
)
others = st.builds(
    lambda symbol, event, created, beta: row(symbol, event, created, beta=beta),
    st.sampled_from(NAMES),
    instants,
    instants,
    numbers,
)


def of_a_version(rows: list[dict]) -> list[dict]:
    """Versions of a row differ in when they were created, as writers make them."""
    found = {(each["symbol"], each["timestamp"], each["created_timestamp"]): each for each in rows}
    # A row's event follows from its key.
    events = {(each["symbol"], each["timestamp"]): each["event_timestamp"] for each in rows}
    return [
        each | {"event_timestamp": events[each["symbol"], each["timestamp"]]}
        for each in found.values()
    ]


@settings(deadline=None, max_examples=20)
@given(
    st.lists(signals, max_size=25).map(of_a_version),
    st.lists(others, max_size=8).map(of_a_version),
    st.booleans(),
    st.none() | instants,
    st.integers(1, 9),
)
def test_each_cell_is_the_one_that_was_known_then(
    of_signals, of_others, as_recorded, known_at, size
):
    asked = Questions(
        pa.array(NAMES), Schedule(date(2021, 2, 26), date(2021, 3, 5)), Universe.fixed(NAMES), NEVER
    )
    counts = Counts()
    with tempfile.TemporaryDirectory() as folder:
        lakehouse = stocked(Path(folder), of_signals)
        stocked(Path(folder), of_others, OTHERS)
        tables = list(
            panel(
                lakehouse,
                FEATURES,
                asked,
                known_at=known_at,
                as_recorded=as_recorded,
                size=size,
                counts=counts,
            )
        )
    closes = {
        "BINANCE:B": [day(n) for n in range(-3, 5)],
        "LSE:L": [day(n + 16.5 / 24) for n in (-3, 0, 1, 2, 3, 4)],
        "NYSE:A": [day(n + 21 / 24) for n in (-3, 0, 1, 2, 3, 4)],
    }
    closes["NYSE:C"] = closes["NYSE:A"]
    expected, later = [], 0
    for at, symbol in sorted((at, name) for name, each in closes.items() for at in each):
        cells = {"symbol": symbol, "event_timestamp": at}
        for group, rows in ((SIGNALS, of_signals), (OTHERS, of_others)):
            known = [
                one for one in rows if known_at is None or one["created_timestamp"] <= known_at
            ]
            best = best_row(known, {"symbol": symbol}, at, ttl=group.ttl, as_recorded=as_recorded)
            names = [column.name for column in group.features]
            cells |= {name: best and best[name] for name in names}
            later += best is not None and best["created_timestamp"] > at
        expected.append(cells)
    together = pa.concat_tables(tables)
    assert together.schema == schema_of(FEATURES)
    assert together.to_pylist() == expected
    assert counts.rows == len(expected)
    assert sum(counts.created_later.values()) == later
    names = ("score", "grade", "beta")
    assert counts.matched == sum(any(each[n] is not None for n in names) for each in expected)


def test_a_slice_reads_only_the_dates_that_it_needs(tmp_path: Path, monkeypatch):
    rows = [row("NYSE:A", day(n), day(n), score=float(n)) for n in range(40)]
    lakehouse = stocked(tmp_path, rows)
    broken = tmp_path / SIGNALS.storage / "date=2021-03-20" / "part-0.parquet"
    broken.write_bytes(b"no Parquet")
    asked = Questions(
        pa.array(["NYSE:A"]),
        Schedule(date(2021, 3, 1), date(2021, 3, 17)),
        Universe.fixed(["NYSE:A"]),
        NEVER,
    )
    tables = list(panel(lakehouse, features_of([(SIGNALS, "score")]), asked, size=2))
    assert pa.concat_tables(tables)["score"].to_pylist() == [
        float(n) for n in range(17) if (MONDAY + timedelta(n)).weekday() < 5
    ]


def test_no_decision_is_later_than_what_is_known():
    asked = Questions(
        pa.array(["NYSE:A"]),
        Schedule(date(2021, 3, 1), date(2021, 3, 5)),
        Universe.fixed(["NYSE:A"]),
        to_micros(datetime(2021, 3, 3, 21, tzinfo=UTC)),
    )
    assert len(asked.decisions()) == 3


@settings(deadline=None, max_examples=12)
@given(
    st.lists(signals, min_size=3, max_size=25).map(of_a_version),
    st.sampled_from(["session", "week", "month"]),
    st.none() | st.sampled_from([time(0), time(16, 30), time(23, 59)]),
    st.dates(date(2021, 2, 24), date(2021, 3, 1)),
    st.dates(date(2021, 3, 1), date(2021, 4, 2)),
    st.integers(1, 30),
    st.booleans(),
    st.booleans(),
)
def test_tasks_of_some_dates_answer_as_this_process_does(
    of_signals, every, at, first, last, rows_per_task, as_recorded, only_with_values
):
    asked = Questions(
        pa.array(NAMES), Schedule(first, last, every, at), Universe.fixed(NAMES), NEVER
    )
    options = {"as_recorded": as_recorded, "only_with_values": only_with_values}
    here, there = Counts(), Counts()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as staging:
        lakehouse = stocked(Path(folder), of_signals)
        expected = [*panel(lakehouse, FEATURES, asked, counts=here, **options)]
        engine, place = Engine("local", rows_per_task), location_of(staging)
        tables = [
            *panel_in_tasks(engine, place, lakehouse, FEATURES, asked, counts=there, **options)
        ]
        assert [*Path(staging).iterdir()] == []
    empty = schema_of(FEATURES).empty_table()
    assert pa.concat_tables([empty, *tables]).equals(pa.concat_tables([empty, *expected]))
    assert there == here
    assert len(tables) >= min(len(expected), 1)


def test_an_engine_answers_a_panel_as_this_process_does(engine: str, tmp_path: Path):
    of_signals = [
        row(name, day(n), day(n + n % 3), score=float(n), grade=f"{name} {n}")
        for n in range(20)
        for name in NAMES
    ]
    lakehouse = stocked(tmp_path, of_signals)
    who = Universe.fixed(NAMES)
    asked = Questions(pa.array(NAMES), Schedule(date(2021, 3, 1), date(2021, 3, 19)), who, NEVER)
    here, there = Counts(), Counts()
    expected = pa.concat_tables(panel(lakehouse, FEATURES, asked, counts=here))
    staging = location_of(str(tmp_path))
    found = panel_in_tasks(Engine(engine, 20), staging, lakehouse, FEATURES, asked, counts=there)
    tables = [*found]
    assert len(tables) > 3
    assert pa.concat_tables(tables).equals(expected)
    assert there == here
