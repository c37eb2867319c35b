"""Labels against a reference that walks bar by bar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from target_bars import DAY, bar_table, oracle, sample_bars

from ingestion.datasets import MAX_GAP, DropReason, forward_returns

START = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)

price = st.floats(0.01, 1e6)
step = st.sampled_from([1, 1, 1, 1, 2, 3, 4, 11, 12, 13, 40])
split = st.sampled_from([1.0, 1.0, 1.0, 1.0, 2.0, 0.1, 1.5, 7.0])


@st.composite
def some_bars(draw: st.DrawFn) -> pa.Table:
    """Several symbols with gaps, splits, half days, and closes later than the next open."""
    rows = []
    for symbol in draw(st.lists(st.sampled_from("ABCDE"), unique=True, max_size=4)):
        opened = int(START.timestamp()) + draw(st.integers(0, 20)) * DAY
        for _ in range(draw(st.integers(1, 25))):
            opened += draw(step) * DAY
            rows.append(
                {
                    "symbol": f"TEST:{symbol}",
                    "opened": opened,
                    "closed": opened + draw(st.sampled_from([12_600, 23_400, DAY, DAY + 3_600])),
                    "open": draw(price),
                    "close": draw(price),
                    "split_ratio": draw(split),
                }
            )
    order = draw(st.permutations(range(len(rows))))
    return bar_table([rows[i] for i in order])


def assert_is_the_reference(
    bars: pa.Table, n: int, entry: str, first: date, last: date, max_gap: timedelta = MAX_GAP
) -> None:
    labels = forward_returns(bars, n, entry=entry, first=first, last=last, max_gap=max_gap)
    rows, dropped, decisions = oracle(bars, n, entry, first, last, max_gap)
    target = f"fwd_return_{n}d"
    got = labels.table.to_pylist()
    assert len(got) == len(rows)
    for row, wanted in zip(got, rows, strict=True):
        assert row.pop(target) == pytest.approx(wanted.pop("return"), rel=1e-12, abs=1e-12)
        assert row == wanted
    assert {reason.value: n for reason, n in labels.dropped.items() if n} == dropped
    assert labels.decisions == decisions == len(rows) + sum(labels.dropped.values())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    bars=some_bars(),
    n=st.integers(1, 10),
    entry=st.sampled_from(["open", "close"]),
    first=st.integers(-5, 60),
    length=st.integers(0, 120),
)
def test_labels_are_those_of_the_reference(
    bars: pa.Table, n: int, entry: str, first: int, length: int
) -> None:
    begin = START.date() + timedelta(days=first)
    assert_is_the_reference(bars, n, entry, begin, begin + timedelta(days=length))


@pytest.mark.parametrize("entry", ["open", "close"])
@pytest.mark.parametrize("n", [1, 5, 20])
def test_labels_of_real_bars_with_splits_are_those_of_the_reference(entry: str, n: int) -> None:
    bars = sample_bars("NASDAQ:AAPL", "NASDAQ:TSLA", "NASDAQ:ODFL", "BINANCE:ETHUSDT")
    assert_is_the_reference(bars, n, entry, date(2019, 12, 1), date(2021, 4, 20))


def test_a_split_is_no_return() -> None:
    bars = sample_bars("NASDAQ:AAPL")  # 4 : 1 on 2020-08-31
    labels = forward_returns(bars, 5, first=date(2020, 8, 20), last=date(2020, 9, 4))
    returns = labels.table["fwd_return_5d"].to_numpy()
    assert len(returns) == 12
    assert np.abs(returns).max() < 0.2


@settings(max_examples=40, deadline=None, derandomize=True)
@given(bars=some_bars(), n=st.integers(1, 10))
def test_every_label_is_entered_after_its_decision_and_left_later(bars: pa.Table, n: int) -> None:
    for entry in ("open", "close"):
        table = forward_returns(bars, n, entry=entry, first=date.min, last=date.max).table
        decided, start, end = (
            table[name].cast(pa.int64()).to_numpy()
            for name in ("event_timestamp", "label_start_timestamp", "label_end_timestamp")
        )
        assert (start >= decided).all()
        assert (end > start).all()
        assert np.isfinite(table[f"fwd_return_{n}d"].to_numpy()).all()
        assert table["symbol"].null_count == 0


@settings(max_examples=40, deadline=None, derandomize=True)
@given(bars=some_bars(), n=st.integers(1, 10), days=st.integers(1, 60))
def test_bars_past_the_longest_window_change_no_label(bars: pa.Table, n: int, days: int) -> None:
    last = START.date() + timedelta(days=days)
    end = datetime.combine(last, datetime.max.time(), UTC) + n * MAX_GAP
    known = [row["event_timestamp"] <= end for row in bars.to_pylist()]
    whole = forward_returns(bars, n, first=START.date(), last=last)
    cut = forward_returns(
        bars.filter(pa.array(known, pa.bool_())), n, first=START.date(), last=last
    )
    assert cut.table.equals(whole.table)
    assert cut.decisions == whole.decisions


def test_every_reason_is_counted_even_if_nothing_was_dropped_for_it() -> None:
    labels = forward_returns(sample_bars("NASDAQ:AAPL"), 1, first=date.min, last=date.max)
    assert list(labels.dropped) == list(DropReason)
    assert sum(labels.dropped.values()) == labels.dropped[DropReason.NO_FULL_WINDOW] == 1
