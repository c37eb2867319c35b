"""Only symbols that were known to be active at a decision are labelled."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from target_bars import daily

from ingestion.catalog import OHLCV_1D, SYMBOLS
from ingestion.datasets import DropReason, LabelCollection, Universe, forward_returns
from ingestion.jobs.serve.targets import training_labels
from ingestion.lakehouse import append_part, arrow_schema
from ingestion.project import Project

START = datetime(2025, 12, 20, 14, 30, tzinfo=UTC)
DAYS = 40
CLOSE = timedelta(hours=6, minutes=30)
SPAN = (date(2025, 12, 20), date(2026, 1, 20))
INSTANT = pa.timestamp("us", tz="UTC")


def close_of(day: int) -> datetime:
    return START + timedelta(days=day) + CLOSE


@pytest.fixture
def lakehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Forty days of three symbols, across a new year; nothing is known of the symbols yet."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    settings = Project(tmp_path, tmp_path / "lakehouse", "https://scanner.test")
    walk = np.random.default_rng(20260116).normal(0, 0.02, (3, DAYS))
    bars = pa.concat_tables(
        daily(list(10 * np.exp(np.cumsum(steps))), symbol=symbol, start=START)
        for symbol, steps in zip(("TEST:A", "TEST:B", "TEST:C"), walk, strict=True)
    )
    schema = arrow_schema(OHLCV_1D)
    made_up = {
        "high": bars["close"],
        "low": bars["close"],
        "volume": pa.array(np.ones(bars.num_rows)),
        "created_timestamp": bars["event_timestamp"],
        "source": pa.array(["test"] * bars.num_rows),
    }
    rows = pa.table(
        {n: bars[n] if n in bars.column_names else made_up[n] for n in schema.names}, schema=schema
    )
    dates = rows["event_timestamp"].cast(pa.date32())
    for day in pc.unique(dates).to_pylist():
        append_part(settings.lakehouse, OHLCV_1D, rows.filter(pc.equal(dates, day)), "run")
    return settings


def observe(settings: Project, symbol: str, *changes: tuple[datetime, bool]) -> None:
    schema = arrow_schema(SYMBOLS)
    for at, active in changes:
        row = dict.fromkeys(schema.names) | {"symbol": symbol, "active": active, "valid_from": at}
        append_part(settings.lakehouse, SYMBOLS, pa.Table.from_pylist([row], schema=schema), "run")


def test_decisions_on_symbols_that_were_not_active_then_are_dropped(lakehouse: Project) -> None:
    observe(lakehouse, "TEST:A", (close_of(0), True))
    gone = close_of(20) + timedelta(microseconds=1)
    observe(lakehouse, "TEST:B", (close_of(10), True), (gone, False), (close_of(25), True))
    everyone = training_labels(lakehouse, "fwd_return_2d", *SPAN).labels
    result = training_labels(lakehouse, "fwd_return_2d", *SPAN, universe_as_of=True)
    labels = result.labels
    decided = {
        symbol: [
            (row["event_timestamp"] - close_of(0)).days
            for row in labels.table.to_pylist()
            if row["symbol"] == symbol
        ]
        for symbol in ("TEST:A", "TEST:B", "TEST:C")
    }
    assert decided == {
        "TEST:A": list(range(32)),
        "TEST:B": [*range(10, 21), *range(25, 32)],
        "TEST:C": [],
    }
    assert labels.dropped[DropReason.NOT_ACTIVE] == 96 - labels.table.num_rows == 10 + 4 + 32
    assert labels.decisions == everyone.decisions == 96
    # What is left is what it was.
    kept = {tuple(row.values()) for row in labels.table.to_pylist()}
    assert kept < {tuple(row.values()) for row in everyone.table.to_pylist()}


def test_the_warning_says_since_when_anything_is_known(lakehouse: Project) -> None:
    observe(lakehouse, "TEST:A", (close_of(5), True))
    (warning,) = training_labels(lakehouse, "fwd_return_2d", *SPAN, universe_as_of=True).warnings
    assert "known from 2025-12-25 21:00 UTC on" in warning
    assert f"{5 + 2 * 32} rows were dropped" in warning
    assert "survivors" not in warning


def test_an_instant_fixes_the_universe(lakehouse: Project) -> None:
    observe(lakehouse, "TEST:A", (close_of(5), True))
    observe(lakehouse, "TEST:B", (close_of(1), True), (close_of(9), False))
    for day, symbols in ((0, set()), (1, {"TEST:B"}), (6, {"TEST:A", "TEST:B"}), (9, {"TEST:A"})):
        labels = training_labels(
            lakehouse, "fwd_return_2d", *SPAN, universe_as_of=close_of(day)
        ).labels
        assert set(labels.table["symbol"].to_pylist()) == symbols
        assert labels.table.num_rows == 32 * len(symbols)


def test_what_was_observed_after_known_at_is_not_known(lakehouse: Project) -> None:
    observe(lakehouse, "TEST:A", (close_of(5), True), (close_of(30), False))
    observe(lakehouse, "TEST:B", (close_of(15), True))

    def symbols(as_of: bool | datetime, known_at: datetime) -> set[str]:
        made = training_labels(
            lakehouse, "fwd_return_2d", *SPAN, universe_as_of=as_of, known_at=known_at
        )
        return set(made.labels.table["symbol"].to_pylist())

    late = close_of(40)
    assert symbols(close_of(31), late) == {"TEST:B"}
    assert symbols(close_of(31), close_of(25)) == {"TEST:A", "TEST:B"}
    assert symbols(close_of(31), close_of(14)) == {"TEST:A"}
    assert symbols(True, late) == symbols(True, close_of(25)) == {"TEST:A", "TEST:B"}
    assert symbols(True, close_of(14)) == {"TEST:A"}


@pytest.mark.parametrize("n", [1, 5, 12])
@pytest.mark.parametrize("entry", ["open", "close"])
def test_year_by_year_is_all_at_once_bit_for_bit(lakehouse: Project, n: int, entry: str) -> None:
    from ingestion.jobs.serve.targets import read_bars

    made = training_labels(lakehouse, f"fwd_return_{n}d", *SPAN, entry).labels
    bars = read_bars(lakehouse.lakehouse, date.min, date.max)
    assert made == forward_returns(bars, n, entry=entry, first=SPAN[0], last=SPAN[1])
    assert made.table.num_rows == 96 - sum(made.dropped.values())


DAYS_WITH_BARS = st.sets(st.integers(0, 70), max_size=50)


@given(
    days=st.lists(DAYS_WITH_BARS, min_size=1, max_size=4),
    cuts=st.sets(st.integers(1, 59), max_size=3),
    n=st.integers(1, 4),
)
def test_labels_of_ranges_with_their_windows_put_together_are_those_of_the_whole(
    days: list[set[int]], cuts: set[int], n: int
) -> None:
    """Gaps and delisted symbols at the ranges' ends included: each range sees 12 n days more."""
    start = date(2026, 1, 5)
    tables = [
        daily([1.0 + number + day / 7 for day in range(71)], symbol=f"TEST:{number}").take(
            pa.array(sorted(own), pa.int64())
        )
        for number, own in enumerate(days)
    ]
    bars = pa.concat_tables(tables)
    last = start + timedelta(days=60)
    reach = bars.filter(_closed(bars, start, last + timedelta(days=12 * n)))
    if not reach.num_rows:
        return
    whole = forward_returns(reach, n, first=start, last=last)
    newest = pc.max(reach["event_timestamp"]).as_py()
    collection = LabelCollection()
    for first, end in pairwise([0, *sorted(cuts), 61]):
        begin, stop = start + timedelta(days=first), start + timedelta(days=end - 1)
        part = bars.filter(_closed(bars, begin, stop + timedelta(days=12 * n)))
        collection.add(forward_returns(part, n, first=begin, last=stop, newest=newest))
    assert collection.merge() == whole


def _closed(bars: pa.Table, first: date, last: date) -> pa.ChunkedArray:
    closed = bars["event_timestamp"].cast(pa.date32())
    return pc.and_(pc.greater_equal(closed, first), pc.less_equal(closed, last))


OBSERVED = st.dictionaries(
    st.tuples(st.sampled_from("ABC"), st.integers(0, 20)), st.booleans(), max_size=12
)


@given(observed=OBSERVED, asked=st.lists(st.tuples(st.sampled_from("ABCD"), st.integers(-1, 21))))
def test_a_universe_holds_what_was_observed_last(
    observed: dict[tuple[str, int], bool], asked: list[tuple[str, int]]
) -> None:
    rows = [
        {"symbol": symbol, "valid_from": at, "active": active}
        for (symbol, at), active in observed.items()
    ]
    schema = pa.schema([("symbol", pa.string()), ("valid_from", INSTANT), ("active", pa.bool_())])
    universe = Universe.over_time(pa.Table.from_pylist(rows, schema=schema))
    names = pa.array(list("ABCD"))
    codes = np.array(["ABCD".index(symbol) for symbol, _ in asked], dtype=np.int32)
    holds = universe.was_active(names, codes, np.array([at for _, at in asked], dtype=np.int64))
    for (symbol, at), answer in zip(asked, holds.tolist(), strict=True):
        earlier = [when for name, when in observed if name == symbol and when <= at]
        assert answer == (bool(earlier) and observed[symbol, max(earlier)])
