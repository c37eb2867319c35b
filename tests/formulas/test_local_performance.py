"""Which bar ``Perf.W`` and ``Perf.1M`` are measured from."""

import numpy as np
import pyarrow as pa
import pytest
from local_bars import DAY, START, column

from ingestion.formulas import compute_local_features


def bars_on(days: list[int], closes_after: int | None = None) -> pa.Table:
    """Bars whose open on day d is 100 + d and whose close is 200."""
    opened = START + np.array(days, dtype=np.int64) * DAY
    opens = 100.0 + np.array(days)
    table = {
        "timestamp": opened,
        "symbol": ["TEST:P"] * len(days),
        "open": opens,
        "high": np.full(len(days), 210.0),
        "low": np.full(len(days), 90.0),
        "close": np.full(len(days), 200.0),
        "volume": np.ones(len(days)),
    }
    if closes_after is not None:
        table["close_timestamp"] = opened + closes_after
    return pa.table(table)


def reference_days(bars: pa.Table, feature: str) -> list[float | None]:
    """Solve the performance of each bar for the day that it was measured from."""
    perf = column(compute_local_features(bars), feature)
    return [None if np.isnan(p) else round(200 / (1 + p / 100) - 100, 6) for p in perf]


def test_reference_is_the_last_bar_that_opened_before_seven_days_ago() -> None:
    days = list(range(12))
    # Closing 6.5 h after the open, day 10 looks back to 6.5 h after the open of day 3.
    assert reference_days(bars_on(days, 23_400), "Perf.W")[8:] == [1, 2, 3, 4]


def test_a_bar_that_opened_exactly_seven_days_ago_is_too_late() -> None:
    # Without a close, "now" is 24 h after the open: exactly the open of the next day.
    assert reference_days(bars_on(list(range(12))), "Perf.W")[8:] == [1, 2, 3, 4]
    assert reference_days(bars_on(list(range(12)), DAY + 1), "Perf.W")[8:] == [2, 3, 4, 5]


def test_a_month_is_thirty_days() -> None:
    assert reference_days(bars_on(list(range(40)), 23_400), "Perf.1M")[32:35] == [2, 3, 4]


def test_a_gap_reaches_further_back() -> None:
    assert reference_days(bars_on([0, 1, 2, 20, 21, 29], 23_400), "Perf.W")[3:] == [2, 2, 21]


def test_a_young_symbol_is_measured_from_its_first_open() -> None:
    assert reference_days(bars_on([5, 6, 7], 23_400), "Perf.1M") == [None, 5, 5]


def test_a_bar_longer_than_the_window_has_no_reference() -> None:
    assert reference_days(bars_on([0, 10, 20], 8 * DAY), "Perf.W") == [None, None, None]


def test_a_rise_from_a_negative_price_is_undefined() -> None:
    bars = bars_on([0, 1, 2], 23_400)
    values = bars.to_pydict() | {"open": [-5.0, 100.0, 100.0], "low": [-6.0, 90.0, 90.0]}
    assert np.isnan(column(compute_local_features(pa.table(values)), "Perf.W")).all()


@pytest.mark.parametrize("feature", ["Perf.W", "Perf.1M"])
def test_performance_is_the_close_against_an_open_in_percent(feature: str) -> None:
    perf = column(compute_local_features(bars_on([0, 1], 23_400)), feature)
    assert perf[1] == pytest.approx(100.0)
