"""``Perf.*`` with another "now" than the bar's close, against a search by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from ingestion.formulas import LOCAL, compute_local_features
from ingestion.jobs.compute import by_clock

DAY = 86_400
BY_CLOCK = tuple(each for each in LOCAL.values() if each.follows_clock)
MONDAY = 1_617_629_400
"""2021-04-05 13:30 UTC."""
SESSION = 23_400


def bars_of(symbol: str, days: list[int], seed: int = 0, splits: dict[int, float] | None = None):
    """Bars that open on these days after Monday, as traded, with splits at some positions."""
    rng = np.random.default_rng(seed)
    ratio = np.ones(len(days))
    for position, split in (splits or {}).items():
        ratio[position] = split
    open_, close = (rng.uniform(90, 110, len(days)) / np.cumprod(ratio) for _ in range(2))
    opened = MONDAY + DAY * np.array(days, dtype=np.int64)
    return pa.table(
        {
            "timestamp": opened,
            "symbol": [symbol] * len(days),
            "open": open_,
            "high": np.maximum(open_, close),
            "low": np.minimum(open_, close),
            "close": close,
            "volume": np.ones(len(days)),
            "split_ratio": ratio,
            "event_timestamp": pa.array((opened + SESSION) * 1_000_000).cast(
                pa.timestamp("us", "UTC")
            ),
        }
    )


def asked_of(rows: list[tuple[str, int, int]]) -> pa.Table:
    """Rows of (symbol, day of the bar, the instant)."""
    return pa.table(
        {
            "symbol": [symbol for symbol, _, _ in rows],
            "bar_close": [MONDAY + DAY * day + SESSION for _, day, _ in rows],
            "known_at": [known_at for _, _, known_at in rows],
        }
    )


def by_hand(bars: pa.Table, day: int, known_at: int, window: int) -> float | None:
    """Walk over one symbol's bars, in the money of the first."""
    rows = bars.to_pylist()
    money = np.cumprod([row["split_ratio"] for row in rows])
    at = next(i for i, row in enumerate(rows) if row["timestamp"] == MONDAY + DAY * day)
    reference = 0
    for i, row in enumerate(rows):
        if row["timestamp"] < known_at - window * DAY:
            reference = i
    if reference >= at:
        return None
    base = rows[reference]["open"] * money[reference]
    return 100 * (rows[at]["close"] * money[at] - base) / base


def recomputed_at(bars: pa.Table, asked: pa.Table) -> pa.Table:
    return by_clock.recomputed_at(bars, asked, BY_CLOCK)


def test_the_reference_follows_the_clock_and_not_the_bar():
    bars = bars_of("X:A", list(range(12)))
    close = MONDAY + 11 * DAY + SESSION
    for known_at, reference in ((close, 4), (close + 3 * DAY, 7), (close + 10 * DAY, None)):
        found = recomputed_at(bars, asked_of([("X:A", 11, known_at)]))["Perf.W"].to_pylist()
        assert found == [by_hand(bars, 11, known_at, 7)]
        if reference is None:
            assert found == [None], "no trade in the window"
        else:
            base = bars["open"][reference].as_py()
            change = 100 * (bars["close"][11].as_py() - base) / base
            assert found == [pytest.approx(change, rel=1e-12)]


def test_a_bar_that_opened_exactly_a_window_ago_is_not_the_reference():
    bars = bars_of("X:A", list(range(12)))
    at_open = MONDAY + 14 * DAY
    for known_at, reference in ((at_open, 6), (at_open + 1, 7)):
        found = recomputed_at(bars, asked_of([("X:A", 11, known_at)]))["Perf.W"].to_pylist()
        base = bars["open"][reference].as_py()
        assert found == [pytest.approx(100 * (bars["close"][11].as_py() - base) / base)]


@pytest.mark.parametrize("seed", range(5))
def test_any_bar_at_any_instant_equals_the_search_by_hand(seed: int):
    rng = np.random.default_rng(seed)
    each = {}
    for number, symbol in enumerate(("X:A", "X:B", "X:C")):
        days = np.unique(rng.integers(0, 90, 45)).tolist()
        each[symbol] = (days, bars_of(symbol, days, number, {5: 2.0, 11: 0.1}))
    bars = pa.concat_tables([table for _, table in each.values()])
    asked = [
        (symbol, day, MONDAY + DAY * day + SESSION + int(rng.integers(0, 20 * DAY)))
        for symbol, (days, _) in each.items()
        for day in days
        if rng.random() < 0.5
    ]
    found = recomputed_at(bars.take(pa.array(rng.permutation(len(bars)))), asked_of(asked))
    rows = {(row["symbol"], row["bar_close"]): row for row in found.to_pylist()}
    assert len(rows) == found.num_rows == len(asked)
    for symbol, day, known_at in asked:
        row = rows[symbol, MONDAY + DAY * day + SESSION]
        for name, window in (("Perf.W", 7), ("Perf.1M", 30)):
            expected = by_hand(each[symbol][1], day, known_at, window)
            assert row[name] == (None if expected is None else pytest.approx(expected, rel=1e-12))


def test_at_the_bars_close_it_is_the_feature_itself_bit_for_bit():
    days = [day for day in range(80) if day % 7 < 5]
    bars = bars_of("X:A", days, splits={20: 4.0})
    closes = pa.array(bars["timestamp"].to_numpy() + SESSION)
    features = compute_local_features(bars.append_column("close_timestamp", closes))
    asked = asked_of([("X:A", day, MONDAY + DAY * day + SESSION) for day in days])
    found = recomputed_at(bars, asked)
    for name in ("Perf.W", "Perf.1M"):
        assert found[name].to_pylist() == features[name].to_pylist()


def test_a_bar_that_is_not_there_has_no_row():
    bars = bars_of("X:A", [0, 1, 2])
    assert recomputed_at(bars, asked_of([("X:A", 5, MONDAY), ("X:B", 1, MONDAY)])).num_rows == 0
