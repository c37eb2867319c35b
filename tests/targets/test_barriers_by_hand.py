"""The barrier that is touched first: by hand, and as its inventor defines it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from target_bars import ALWAYS, DAY, with_range

from ingestion.datasets import DropReason, labels_of, make_labels

START = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)


def first_touch(close: list[float], loc: int, t1: int, trgt: float) -> tuple[int, int]:
    """Snippet 3.2 of López de Prado (2018), ``applyPtSlOnT1``: when, and at which barrier."""
    path = {at: close[at] / close[loc] - 1 for at in range(loc, t1 + 1)}
    stops = [at for at, move in path.items() if move < -trgt]
    profits = [at for at, move in path.items() if move > trgt]
    first = min([t1, *stops, *profits])
    return first, (first in profits) - (first in stops)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 12))
def test_on_closes_alone_the_barrier_is_lopez_de_prados(seed: int, n: int):
    moves = np.random.default_rng(seed).normal(0, 0.02, 40)
    close = (100 * np.exp(np.cumsum(moves))).tolist()
    same = ("open", "high", "low", "close")
    bars = with_range(
        [
            {"opened": at, "closed": at + 23_400, **dict.fromkeys(same, price)}
            for at, price in zip(range(0, 40 * DAY, DAY), close, strict=True)
        ]
    )
    widths = "profit=3%,loss=3%"
    texts = f"barrier_{n}d,{widths} barrier_return_{n}d,{widths}"
    made = make_labels(bars, labels_of(texts), entry="close", **ALWAYS).table.to_pylist()
    assert len(made) == 40 - n
    for loc, row in enumerate(made):
        first, touched = first_touch(close, loc, loc + n, 0.03)
        assert row[f"barrier_{n}d"] == touched
        assert row["label_end_timestamp"].timestamp() == first * DAY + 23_400
        # Snippet 3.5: the sign of the return at the first touch.
        sign = np.sign(close[first] / close[loc] - 1)
        assert np.sign(row[f"barrier_return_{n}d"]) == sign


def day(open_: float, high: float, low: float, close: float, split: float = 1.0) -> dict:
    return {"open": open_, "high": high, "low": low, "close": close, "split_ratio": split}


ENTRY = day(99, 101, 98, 100)


@pytest.mark.parametrize(
    ("entry", "days", "wanted"),
    [
        # The decision is at 100; barriers at 110 and 90, to the cent.
        ("close", [day(100, 110, 95, 101)], (1, 0.10, 1)),
        ("close", [day(100, 105, 90, 101)], (-1, -0.10, 1)),
        ("close", [day(100, 109.99, 90.01, 101), day(101, 102, 99, 103)], (0, 0.03, 2)),
        ("close", [day(100, 111, 89, 101)], (-1, -0.10, 1)),  # both: the loss
        ("close", [day(115, 116, 85, 90)], (1, 0.15, 1)),  # opened beyond, before it fell
        ("close", [day(80, 115, 79, 112)], (-1, -0.20, 1)),
        ("close", [day(100, 101, 99, 100), day(115, 116, 114, 115)], (1, 0.15, 2)),
        # A split of 2 for 1 moves nothing: 50 is 100, and 55 is the barrier.
        ("close", [day(50, 51, 49, 50, 2.0), day(50, 55, 49, 50)], (1, 0.10, 2)),
        # Entered at the open of 200: barriers at 220 and 180; that open fills nothing.
        ("open", [day(200, 219, 181, 190), day(190, 200, 180, 185)], (-1, -0.10, 2)),
        ("open", [day(200, 221, 181, 190)], (1, 0.10, 1)),
        # A split on the entry's own day is in its open.
        ("open", [day(50, 54, 46, 50, 2.0), day(50, 55, 50, 50)], (1, 0.10, 2)),
    ],
)
def test_barriers_by_hand(entry: str, days: list[dict], wanted: tuple[int, float, int]):
    calm = [day(*[days[-1]["close"]] * 4)] * 2
    rows = [
        {
            "opened": START.timestamp() + n * DAY,
            "closed": START.timestamp() + n * DAY + 3_600,
            **one,
        }
        for n, one in enumerate([ENTRY, *days, *calm])
    ]
    rows = [row | {"opened": int(row["opened"]), "closed": int(row["closed"])} for row in rows]
    texts = ("barrier_2d,profit=10%,loss=10%", "barrier_return_2d,profit=10%,loss=10%")
    made = make_labels(with_range(rows), labels_of(texts), entry=entry, **ALWAYS).table
    found = made.slice(0, 1).to_pylist()[0]
    assert found["barrier_2d"] == wanted[0]
    assert found["barrier_return_2d"] == pytest.approx(wanted[1])
    assert found["label_end_timestamp"] == START + timedelta(days=wanted[2], hours=1)


def test_a_symbol_that_has_ended_keeps_the_labels_of_its_touches():
    fallen = [ENTRY, day(100, 101, 99, 100), day(80, 81, 79, 80)]
    rows = [
        {"symbol": "TEST:GONE", "opened": n, "closed": n + 3_600, **one}
        for n, one in zip(range(0, 3 * DAY, DAY), fallen, strict=True)
    ]
    rows += [
        {"symbol": "TEST:STAYS", "opened": n, "closed": n + 3_600, **ENTRY}
        for n in range(0, 40 * DAY, DAY)
    ]
    text = "barrier_5d,profit=10%,loss=10%"
    made = make_labels(with_range(rows), labels_of(text), entry="close", **ALWAYS)
    found = made.table.filter(pc.equal(made.table["symbol"], "TEST:GONE"))
    assert found["barrier_5d"].to_pylist() == [-1, -1]
    assert made.dropped[DropReason.GAP_IN_WINDOW] == 1
    assert made.dropped[DropReason.NO_FULL_WINDOW] == 5
