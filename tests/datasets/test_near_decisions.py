"""Rows of a set come in the order of time by way of files, and back in their own order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ingestion.base.columns import INSTANT
from ingestion.jobs.serve.near_decisions import NUMBER, Places, in_order, near

FIRST = datetime(2021, 1, 1, tzinfo=UTC)
ROWS = st.lists(st.tuples(st.sampled_from("ABCD"), st.integers(0, 900)), min_size=1, max_size=60)


def table(rows: list[tuple[str, int]]) -> pa.Table:
    times = [FIRST + timedelta(days=day) for _, day in rows]
    columns = {
        "symbol": pa.array([name for name, _ in rows]),
        "event_timestamp": pa.array(times, INSTANT),
        "y": pa.array(range(len(rows))),
    }
    return pa.table(columns)


@given(ROWS, st.integers(1, 20), st.integers(1, 20))
def test_rows_of_near_decisions_come_together_and_back_in_their_order(rows, size, cut):
    whole = table(rows)
    pieces = [whole.slice(at, cut) for at in range(0, len(rows), cut)]
    slices = list(near(iter(pieces), size))
    assert all(0 < each.num_rows <= size for each in slices)
    # No decision of a slice is a pile of days before one of an earlier slice.
    days = [[(at - FIRST).days for at in each["event_timestamp"].to_pylist()] for each in slices]
    for one, following in pairwise(days):
        assert min(following) > max(one) - 16
    again = list(in_order(iter(slices), [each.num_rows for each in pieces]))
    assert [each.to_pylist() for each in again] == [each.to_pylist() for each in pieces]
    numbers = [number for each in slices for number in each[NUMBER].to_pylist()]
    assert sorted(numbers) == list(range(len(rows)))


@given(st.lists(st.tuples(st.sampled_from("ABCD"), st.integers(0, 9)), unique=True), ROWS)
def test_a_decision_is_found_where_it_is_or_nowhere(known, asked):
    places = Places(table(known)).of(table(asked)).tolist()
    assert places == [known.index(each) if each in known else -1 for each in asked]
