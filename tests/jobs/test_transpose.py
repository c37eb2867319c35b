"""Bars become computed rows by date, whatever is there of their symbols."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.bars.arrays import SymbolTable
from ingestion.bars.holes import OpenHoles
from ingestion.formulas import SHIPPED, compute
from ingestion.formulas.incremental import Plan, begin_blocks
from ingestion.jobs.compute.transpose import Names, features, numbered

DAY = 86_400
FORMULAS = (SHIPPED["returns_1d"], SHIPPED["RSI"])


def made(days: dict[str, list[int]], source: str = "sample") -> pa.Table:
    """Bars of some symbols on some days, by date."""
    keys = sorted((day, symbol) for symbol, own in days.items() for day in own)
    opens = np.array([day for day, _ in keys], dtype=np.int64) * DAY
    price = 100.0 + np.arange(len(keys)) % 7
    prices = dict.fromkeys(("open", "high", "low", "close"), price)
    return pa.table(
        {
            "timestamp": opens,
            "symbol": pa.array([symbol for _, symbol in keys], pa.string()),
            **prices,
            "volume": np.ones(len(keys)),
            "split_ratio": np.ones(len(keys)),
            "event_timestamp": pa.array((opens + DAY // 2) * 1_000_000, pa.timestamp("us", "UTC")),
            "source": pa.array([source] * len(keys), pa.string()),
        }
    )


def computed(bars: pa.Table) -> tuple[pa.Table, Names]:
    symbols, plan = SymbolTable(), Plan(FORMULAS)
    rows = numbered(bars, symbols)
    names = Names(symbols.names)
    found = features(
        rows, names, OpenHoles(()), lambda each: begin_blocks(each, plan, lambda *_: None)
    )
    return pa.concat_tables(found), names


def test_a_history_that_was_withdrawn_whole_has_rows_without_values():
    rows, names = computed(made({"X:B": [1, 2], "X:A": [2]}, source="withdrawn;wrong"))
    symbols = names.ordered.take(rows["place"].combine_chunks()).to_pylist()
    keys = sorted(zip(rows["timestamp"].to_pylist(), symbols, strict=True))
    assert keys == [(DAY * 3 // 2, "X:B"), (DAY * 5 // 2, "X:A"), (DAY * 5 // 2, "X:B")]
    for formula in FORMULAS:
        assert rows[formula.name].null_count == 3


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["X:A", "X:B", "X:C", "X:D"]),
        st.lists(st.integers(0, 40), min_size=1, max_size=30, unique=True),
        min_size=1,
    )
)
def test_rows_come_by_date_with_what_the_formulas_give(days: dict[str, list[int]]):
    bars = made(days)
    rows, names = computed(bars)
    closes, place = rows["timestamp"].to_numpy(), rows["place"].to_numpy()
    assert (np.diff(closes // DAY * len(days) + place) > 0).all()
    by_symbol = np.lexsort((closes, place))
    whole = compute(bars, FORMULAS)
    assert names.ordered.take(pa.array(place[by_symbol])).to_pylist() == whole["symbol"].to_pylist()
    assert rows["bar_open"].to_numpy()[by_symbol].tolist() == whole["timestamp"].to_pylist()
    for formula in FORMULAS:
        values = rows[formula.name].to_numpy()[by_symbol]
        expected = whole[formula.name].to_numpy()
        assert np.array_equal(values, expected, equal_nan=True)
