"""Window edges, date bounds, clocks, names, refusals, and speed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from target_bars import ALWAYS, DAY, bar_table, daily, instants, sample_bars

from ingestion.base.errors import InputError
from ingestion.datasets import DropReason, Labels, forward_returns, target_name, target_sessions


def dropped(labels: Labels) -> dict[str, int]:
    return {reason.value: count for reason, count in labels.dropped.items() if count}


def test_columns_and_types() -> None:
    table = forward_returns(daily([1, 2, 3]), 1, **ALWAYS).table
    instant = pa.timestamp("us", tz="UTC")
    assert table.schema == pa.schema(
        [
            ("symbol", pa.string()),
            ("event_timestamp", instant),
            ("fwd_return_1d", pa.float64()),
            ("label_start_timestamp", instant),
            ("label_end_timestamp", instant),
        ]
    )


def test_a_position_is_entered_at_the_next_open_and_left_at_the_nth_close() -> None:
    bars = daily([10, 11, 12, 13], opens=[10, 20, 30, 40])
    (first, *rest) = forward_returns(bars, 2, **ALWAYS).table.to_pylist()
    assert first == {
        "symbol": "TEST:A",
        "event_timestamp": datetime(2026, 1, 5, 21, 0, tzinfo=UTC),
        "fwd_return_2d": 12 / 20 - 1,
        "label_start_timestamp": datetime(2026, 1, 6, 14, 30, tzinfo=UTC),
        "label_end_timestamp": datetime(2026, 1, 7, 21, 0, tzinfo=UTC),
    }
    assert [row["fwd_return_2d"] for row in rest] == [13 / 30 - 1]


def test_entry_at_the_close_starts_at_the_decision() -> None:
    table = forward_returns(daily([10, 11, 12]), 2, entry="close", **ALWAYS).table
    assert table["fwd_return_2d"].to_pylist() == [12 / 10 - 1]
    assert table["label_start_timestamp"].equals(table["event_timestamp"])


def test_the_last_n_bars_have_no_full_window() -> None:
    labels = forward_returns(daily([1.0] * 10), 3, **ALWAYS)
    assert labels.table.num_rows == 7
    assert dropped(labels) == {"no_full_window": 3}


def test_a_window_longer_than_the_history_gives_no_row() -> None:
    labels = forward_returns(daily([1.0] * 10, splits={3: 2.0}), 9_999, **ALWAYS)
    assert labels.table.num_rows == 0
    assert dropped(labels) == {"no_full_window": 10}


@pytest.mark.parametrize(
    ("entry", "split_at", "wanted"),
    [
        ("open", 0, 1.0),  # before the entry: already in both prices
        ("open", 1, 1.0),  # on the entry's day: its open is after the split
        ("open", 2, 2.0),
        ("open", 3, 1.0),  # after the exit
        ("close", 0, 1.0),
        ("close", 1, 2.0),
        ("close", 2, 2.0),
        ("close", 3, 1.0),
    ],
)
def test_a_split_counts_from_after_the_entry_to_the_exit(
    entry: str, split_at: int, wanted: float
) -> None:
    bars = daily([10.0] * 4, splits={split_at: 2.0})
    value = forward_returns(bars, 2, entry=entry, **ALWAYS).table["fwd_return_2d"][0].as_py()
    assert value == wanted - 1


def test_a_split_of_one_symbol_is_none_of_the_next() -> None:
    bars = pa.concat_tables(
        [daily([10.0] * 3), daily([10.0] * 3, symbol="TEST:B", splits={0: 5.0})]
    )
    returns = forward_returns(bars, 1, **ALWAYS).table["fwd_return_1d"]
    assert set(returns.to_pylist()) == {0.0}


def test_date_bounds_are_inclusive_and_in_utc() -> None:
    # Tokyo's Tuesday closes at 06:30 UTC; a crypto day closes at the next midnight.
    crypto = bar_table(
        [
            {"opened": midnight, "closed": midnight + DAY}
            for midnight in range(1_767_571_200, 1_767_571_200 + 6 * DAY, DAY)
        ]
    )
    closed = [date(2026, 1, 6) + timedelta(days=i) for i in range(5)]
    for first in closed:
        for last in closed:
            if first <= last:
                labels = forward_returns(crypto, 1, first=first, last=last)
                got = [t.date() for t in labels.table["event_timestamp"].to_pylist()]
                assert got == [day for day in closed if first <= day <= last]
                assert labels.decisions == len(got)


def test_a_decision_in_the_last_microsecond_of_the_day_counts() -> None:
    last = daily([1, 2, 3])
    end = datetime(2026, 1, 5, 23, 59, 59, 999_999, tzinfo=UTC)
    stamps = [end, *last["event_timestamp"].to_pylist()[1:]]
    bars = last.set_column(5, "event_timestamp", pa.array(stamps, pa.timestamp("us", tz="UTC")))
    day = end.date()
    labels = forward_returns(bars, 1, entry="close", first=day, last=day)
    assert labels.table["event_timestamp"].to_pylist() == [end]


def test_sessions_keep_their_hours_when_clocks_change() -> None:
    bars = sample_bars("NASDAQ:MSFT")
    table = forward_returns(bars, 1, first=date(2021, 3, 12), last=date(2021, 3, 15)).table
    friday, monday = table.to_pylist()
    assert friday["event_timestamp"] == datetime(2021, 3, 12, 21, 0, tzinfo=UTC)
    assert friday["label_start_timestamp"] == datetime(2021, 3, 15, 13, 30, tzinfo=UTC)
    assert friday["label_end_timestamp"] == datetime(2021, 3, 15, 20, 0, tzinfo=UTC)
    assert monday["event_timestamp"] == friday["label_end_timestamp"]


def test_an_entry_before_the_decision_was_known_is_dropped() -> None:
    # Hours unknown: closes are stamped 24 h after the open, and the clocks go forward on day 2.
    opened = [14.5, 24 + 14.5, 48 + 13.5, 72 + 13.5]
    seconds = [1_767_571_200 + int(hours * 3_600) for hours in opened]
    bars = bar_table([{"opened": second, "closed": second + DAY} for second in seconds])
    labels = forward_returns(bars, 1, **ALWAYS)
    assert labels.table.num_rows == 2
    assert dropped(labels) == {"entry_before_decision": 1, "no_full_window": 1}
    assert forward_returns(bars, 1, entry="close", **ALWAYS).table.num_rows == 3


def test_a_gap_of_twelve_days_is_allowed_and_a_longer_one_is_not() -> None:
    allowed = forward_returns(daily([1.0] * 20, missing=tuple(range(3, 14))), 2, **ALWAYS)
    assert dropped(allowed) == {"no_full_window": 2}
    halted = daily([1.0] * 20, missing=tuple(range(3, 15)))
    assert dropped(forward_returns(halted, 2, **ALWAYS)) == {
        "gap_in_window": 2,
        "no_full_window": 2,
    }
    anyway = forward_returns(halted, 2, **ALWAYS, max_gap=None)
    assert dropped(anyway) == {"no_full_window": 2}


def test_a_symbol_that_ended_has_a_gap_and_not_an_unfinished_window() -> None:
    bars = pa.concat_tables([daily([1.0] * 40), daily([1.0] * 10, symbol="TEST:GONE")])
    labels = forward_returns(bars, 5, **ALWAYS)
    assert dropped(labels) == {"gap_in_window": 5, "no_full_window": 5}


def test_a_price_of_zero_is_no_entry_but_an_exit() -> None:
    bars = daily([10, 0, 10, 10], opens=[10, 10, 0, 10])
    labels = forward_returns(bars, 1, **ALWAYS)
    assert labels.table["fwd_return_1d"].to_pylist() == [-1.0, 0.0]
    assert dropped(labels) == {"no_finite_return": 1, "no_full_window": 1}


def test_a_negative_price_is_no_entry() -> None:
    labels = forward_returns(daily([10, -0.5, 10]), 1, entry="close", **ALWAYS)
    assert labels.table["fwd_return_1d"].to_pylist() == [-0.5 / 10 - 1]
    assert dropped(labels) == {"no_finite_return": 1, "no_full_window": 1}


def test_an_overflow_is_no_return() -> None:
    labels = forward_returns(daily([1e-300, 1e300]), 1, entry="close", **ALWAYS)
    assert dropped(labels) == {"no_finite_return": 1, "no_full_window": 1}


def test_order_chunks_and_dictionaries_do_not_matter() -> None:
    bars = sample_bars("NASDAQ:AAPL", "BINANCE:BTCUSDT", "NYSE:NEE")
    wanted = forward_returns(bars, 5, **ALWAYS)
    shuffled = bars.take(np.random.default_rng(0).permutation(len(bars)))
    chunked = pa.concat_tables([shuffled.slice(0, 700), shuffled.slice(700)])
    encoded = chunked.set_column(1, "symbol", chunked["symbol"].dictionary_encode())
    assert forward_returns(encoded, 5, **ALWAYS) == wanted


def test_no_bars_give_no_rows() -> None:
    for empty in (daily([1.0]).slice(0, 0), bar_table([])):
        labels = forward_returns(empty, 5, **ALWAYS)
        assert labels.table.num_rows == labels.decisions == 0
        assert not dropped(labels)


@pytest.mark.parametrize(("name", "sessions"), [("fwd_return_1d", 1), ("fwd_return_250d", 250)])
def test_a_target_is_named_after_its_sessions(name: str, sessions: int) -> None:
    assert target_sessions(name) == sessions
    assert target_name(sessions) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "fwd_return_0d",
        "fwd_return_05d",
        "fwd_return_-1d",
        "fwd_return_1.5d",
        "fwd_return_10000d",
        "fwd_return_5",
        "fwd_return_5d\n",
        "fwd_return_٥d",
        "FWD_RETURN_5D",
        "return_5d",
    ],
)
def test_another_name_is_refused_with_the_form(name: str) -> None:
    with pytest.raises(InputError, match=r"fwd_return_<n>d"):
        target_sessions(name)


@pytest.mark.parametrize("sessions", [0, -1, 10_000])
def test_no_return_looks_back_or_too_far(sessions: int) -> None:
    with pytest.raises(InputError, match="sessions ahead"):
        forward_returns(daily([1, 2]), sessions, **ALWAYS)


def test_other_arguments_are_refused() -> None:
    with pytest.raises(InputError, match='no entry "vwap"'):
        forward_returns(daily([1, 2]), 1, entry="vwap", **ALWAYS)
    with pytest.raises(InputError, match="2026-01-02, is after the last, 2026-01-01"):
        forward_returns(daily([1, 2]), 1, first=date(2026, 1, 2), last=date(2026, 1, 1))


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("open", [1.0, None], "open is null in 1 row"),
        ("close", [1.0, float("nan")], "close is not a finite number"),
        ("open", ["1", "2"], "open must be double, not string"),
        ("split_ratio", [1.0, 0.0], "split_ratio is not above 0"),
        ("symbol", [1, 2], "symbol must be string"),
        ("timestamp", [1.5, 2.5], "timestamp must be int64"),
        ("timestamp", [1_767_623_400] * 2, "is there twice"),
        ("event_timestamp", ["a", "b"], r"must be timestamp\[us, tz=UTC\]"),
    ],
)
def test_bad_bars_are_refused(column: str, values: list, problem: str) -> None:
    bars = daily([1, 2])
    bad = bars.set_column(bars.column_names.index(column), column, pa.array(values))
    with pytest.raises(InputError, match=problem):
        forward_returns(bad, 1, **ALWAYS)
    with pytest.raises(InputError, match=f"missing column {column}"):
        forward_returns(bars.drop_columns(column), 1, **ALWAYS)


def test_two_bars_of_one_session_are_refused() -> None:
    close = 1_767_646_800  # 21:00
    bars = bar_table([{"opened": close - 23_400, "closed": close}, {"opened": 0, "closed": close}])
    with pytest.raises(InputError, match=r"TEST:A, .*T14:30:00Z, .*two bars of one session"):
        forward_returns(bars, 1, **ALWAYS)


def test_a_bar_that_closes_before_it_opens_is_refused() -> None:
    with pytest.raises(InputError, match="closes before it opens"):
        forward_returns(bar_table([{"opened": 10, "closed": 9}]), 1, **ALWAYS)


def test_millions_of_bars_take_seconds() -> None:
    symbols, length = 400, 2_500
    rng = np.random.default_rng(0)
    size = symbols * length
    opened = np.tile(np.arange(length, dtype=np.int64) * DAY, symbols)
    codes = pa.array(np.repeat(np.arange(symbols, dtype=np.int32), length))
    names = pa.array([f"TEST:{i:05}" for i in range(symbols)])
    bars = pa.table(
        {
            "timestamp": opened,
            "symbol": pa.DictionaryArray.from_arrays(codes, names),
            "open": rng.uniform(1, 2, size),
            "close": rng.uniform(1, 2, size),
            "split_ratio": np.where(rng.random(size) < 0.001, 2.0, 1.0),
            "event_timestamp": instants(opened + 23_400),
        }
    )
    labels = forward_returns(bars, 20, **ALWAYS)
    assert labels.table.num_rows == symbols * (length - 20)
    assert labels.dropped[DropReason.NO_FULL_WINDOW] == symbols * 20
