"""Each kind of label against plain loops over the bars, as its definition says."""

from __future__ import annotations

import math
import statistics
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, product

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from target_bars import ALWAYS, DAY, sample_bars, with_range

from ingestion.base.columns import INSTANT
from ingestion.datasets import MAX_GAP, DropReason, labels_of, make_labels

START = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)
SPY = "TEST:SPY"

price = st.floats(50, 150)
step = st.sampled_from([1, 1, 1, 1, 1, 2, 11, 13])


@st.composite
def some_bars(draw: st.DrawFn) -> tuple[pa.Table, pa.Table]:
    """Bars of some symbols and a benchmark, and dividends, of any session or of none."""
    rows, dividends = [], []
    for symbol in ["SPY", *draw(st.lists(st.sampled_from("ABCD"), unique=True, max_size=3))]:
        opened = int(START.timestamp()) + draw(st.integers(0, 3)) * DAY
        for _ in range(draw(st.integers(1, 16))):
            opened += draw(step) * DAY
            open_, close = draw(price), draw(price)
            rows.append(
                {
                    "symbol": f"TEST:{symbol}",
                    "opened": opened,
                    "closed": opened + 23_400,
                    "open": open_,
                    "close": close,
                    "high": max(open_, close) * draw(st.floats(1, 1.3)),
                    "low": min(open_, close) * draw(st.floats(0.7, 1)),
                    "split_ratio": draw(st.sampled_from([1.0, 1.0, 1.0, 1.0, 2.0, 0.5])),
                }
            )
        for _ in range(draw(st.integers(0, 3))):
            dividends.append(
                {
                    "symbol": f"TEST:{symbol}",
                    "event_timestamp": START + timedelta(days=draw(st.integers(0, 30)), hours=6.5),
                    "amount": draw(st.sampled_from([0.0, 0.5, 2.0, 30.0, None])),
                }
            )
    order = draw(st.permutations(range(len(rows))))
    bars = with_range([rows[i] for i in order])
    schema = pa.schema(
        [("symbol", pa.string()), ("event_timestamp", INSTANT), ("amount", pa.float64())]
    )
    return bars, pa.Table.from_pylist(dividends, schema)


class Oracle:
    """Walks bar by bar; a reason is a string, a label a value with its end."""

    def __init__(self, bars: pa.Table, dividends: pa.Table, entry: str) -> None:
        self.entry = entry
        self.rows = bars.to_pylist()
        self.newest = max(row["event_timestamp"] for row in self.rows)
        self.own: dict[str, list[dict]] = {}
        for row in sorted(self.rows, key=lambda row: row["timestamp"]):
            self.own.setdefault(row["symbol"], []).append(row | {"paid": []})
        for each in dividends.to_pylist():
            for row in self.own.get(each["symbol"], []):
                if row["event_timestamp"] >= each["event_timestamp"]:
                    row["paid"].append(each["amount"])
                    break

    def price_return(self, symbol: str, d: int, n: int, *, total: bool = False):
        own = self.own[symbol]
        window = own[d : d + n + 1]
        closes = [row["event_timestamp"] for row in window]
        if len(window) < n + 1:
            closes.append(self.newest)
        if any(b - a > MAX_GAP for a, b in pairwise(closes)):
            return "gap_in_window"
        if len(window) < n + 1:
            return "no_full_window"
        return self.held(window[0] if self.entry == "close" else None, window, total), closes[-1]

    def held(self, at_close: dict | None, window: list[dict], total: bool):
        """Buy a share, keep it through splits, and buy more with its dividends."""
        paid, later = (
            (at_close["close"], window[1:]) if at_close else (window[1]["open"], window[2:])
        )
        shares = 1.0
        for row in later:
            shares *= row["split_ratio"]
            if total and None in row["paid"]:
                return "dividend_currency"
            if total:
                shares += shares * sum(row["paid"]) / row["close"]
        return shares * window[-1]["close"] / paid - 1

    def excess(self, symbol: str, d: int, n: int, *, total: bool = False):
        own = self.price_return(symbol, d, n, total=total)
        if isinstance(own, str):
            return own
        window, others = self.own[symbol][d : d + n + 1], self.own[SPY]
        key = "event_timestamp" if self.entry == "close" else "timestamp"
        start = window[0 if self.entry == "close" else 1][key]
        starts = [i for i, row in enumerate(others) if row[key] == start]
        ends = [i for i, row in enumerate(others) if row["event_timestamp"] == own[1]]
        steps = n if self.entry == "close" else n - 1
        if not (starts and ends) or ends[0] - starts[0] < steps:
            return "benchmark_missing"
        if isinstance(own[0], str):
            return own[0]
        span = others[starts[0] : ends[0] + 1]
        span = span if self.entry == "close" else [{}, *span]
        other = self.held(span[0] if self.entry == "close" else None, span, total)
        return other if isinstance(other, str) else (own[0] - other, own[1])

    def deviation(self, symbol: str, d: int, bars: int) -> float | None:
        own = self.own[symbol][: d + 1][-bars - 1 :]
        closes = [row["event_timestamp"] for row in own]
        if len(own) < bars + 1 or any(b - a > MAX_GAP for a, b in pairwise(closes)):
            return None
        moves = [b["close"] * b["split_ratio"] / a["close"] - 1 for a, b in pairwise(own)]
        return statistics.stdev(moves) or None

    def scaled(self, symbol: str, d: int, n: int, bars: int):
        own, deviation = self.price_return(symbol, d, n), self.deviation(symbol, d, bars)
        if isinstance(own, str):
            return own
        return (own[0] / (deviation * math.sqrt(n)), own[1]) if deviation else "no_volatility"

    def barrier(self, symbol: str, d: int, n: int, up: float, down: float, both: str):
        """Lopez de Prado's first touch, with the rules for gaps and for both in one bar."""
        own = self.own[symbol]
        window = own[d : d + n + 1]
        full = len(window) == n + 1
        touch = None
        if len(window) > 1:
            paid = window[0]["close"] if self.entry == "close" else window[1]["open"]
            shares = 1.0
            for k, row in enumerate(window[1:], 1):
                entered_here = self.entry == "open" and k == 1
                shares *= 1.0 if entered_here else row["split_ratio"]
                open_, high, low, close = (
                    row[name] * shares for name in ("open", "high", "low", "close")
                )
                profit, loss = paid * (1 + up), paid * (1 - down)
                if not entered_here and open_ >= profit:
                    touch = (1, open_ / paid - 1)
                elif not entered_here and open_ <= loss:
                    touch = (-1, open_ / paid - 1)
                elif high >= profit and low <= loss:
                    touch = (-1, -down) if both == "loss" else (1, up)
                elif high >= profit:
                    touch = (1, up)
                elif low <= loss:
                    touch = (-1, -down)
                elif k == n:
                    touch = (0, close / paid - 1)
                if touch:
                    break
        all_later = [row["event_timestamp"] for row in own[d:]] + [self.newest]
        has_ended = any(b - a > MAX_GAP for a, b in pairwise(all_later))
        is_over = touch is not None and (full or has_ended)
        closes = [row["event_timestamp"] for row in window]
        closes = closes[: k + 1] if is_over else [*closes, *([] if full else [self.newest])]
        if not is_over:
            closes = all_later
        if any(b - a > MAX_GAP for a, b in pairwise(closes)):
            return "gap_in_window"
        return (*touch, closes[-1]) if is_over else "no_full_window"


def compare(made, oracle: Oracle, column: str, wanted) -> None:
    """Compare each decision's label, or the counts of those without one."""
    got = {(row["symbol"], row["event_timestamp"]): row for row in made.table.to_pylist()}
    dropped: dict[str, int] = {}
    for symbol, own in oracle.own.items():
        for d, row in enumerate(own):
            right = wanted(symbol, d)
            if not isinstance(right, str) and isinstance(right[0], str):
                right = right[0]
            found = got.pop((symbol, row["event_timestamp"]), None)
            if isinstance(right, str):
                assert found is None, right
                dropped[right] = dropped.get(right, 0) + 1
                continue
            assert found is not None, right
            assert found[column] == pytest.approx(right[0], rel=1e-9, abs=1e-9)
            assert found["label_end_timestamp"] == right[1]
            later = own[d + 1] if oracle.entry == "open" else row
            key = "timestamp" if oracle.entry == "open" else "event_timestamp"
            start = later[key]
            if isinstance(start, int):
                start = datetime.fromtimestamp(start, UTC)
            assert found["label_start_timestamp"] == start >= row["event_timestamp"]
    assert not got
    assert {reason.value: n for reason, n in made.dropped.items() if n} == dropped


def made_of(text: str, data: tuple[pa.Table, pa.Table], entry: str, **more):
    bars, dividends = data
    return make_labels(bars, labels_of(text), entry=entry, dividends=dividends, **ALWAYS, **more)


PROPERTY = settings(max_examples=20, deadline=None, derandomize=True)
entries = st.sampled_from(["open", "close"])


@PROPERTY
@given(data=some_bars(), n=st.integers(1, 5), entry=entries)
def test_total_returns_buy_shares_with_each_dividend(data, n: int, entry: str):
    oracle = Oracle(*data, entry)
    made = made_of(f"total_return_{n}d", data, entry)
    compare(
        made, oracle, f"total_return_{n}d", lambda s, d: oracle.price_return(s, d, n, total=True)
    )


@PROPERTY
@given(data=some_bars(), n=st.integers(1, 5), entry=entries, total=st.booleans())
def test_an_excess_is_over_the_benchmarks_own_bars_of_the_span(data, n: int, entry: str, total):
    oracle, kind = Oracle(*data, entry), "total" if total else "fwd"
    name = f"excess_{kind}_return_{n}d"
    made = made_of(f"{name},benchmark={SPY}", data, entry)
    compare(made, oracle, name, lambda s, d: oracle.excess(s, d, n, total=total))


@PROPERTY
@given(data=some_bars(), n=st.integers(1, 4), entry=entries, bars=st.integers(2, 6))
def test_scaled_returns_are_in_deviations_that_were_known(data, n: int, entry: str, bars: int):
    oracle = Oracle(*data, entry)
    made = made_of(f"scaled_fwd_return_{n}d,volatility={bars}", data, entry)
    compare(made, oracle, f"scaled_fwd_return_{n}d", lambda s, d: oracle.scaled(s, d, n, bars))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    data=some_bars(),
    n=st.integers(1, 6),
    entry=entries,
    up=st.sampled_from([1, 7, 20, None]),
    down=st.sampled_from([1, 7, 20, None]),
    both=st.sampled_from(["loss", "profit"]),
)
def test_the_barrier_that_is_touched_first_is_the_label(data, n, entry, up, down, both):
    if up is None and down is None:
        up = 3
    oracle = Oracle(*data, entry)
    widths = "".join(
        f",{name}={width}%" for name, width in (("profit", up), ("loss", down)) if width is not None
    )

    def right(symbol: str, d: int):
        return oracle.barrier(
            symbol,
            d,
            n,
            math.inf if up is None else up / 100,
            math.inf if down is None else down / 100,
            both,
        )

    def part(place: int):
        return lambda s, d: r if isinstance(r := right(s, d), str) else (r[place], r[2])

    for name, place in ((f"barrier_{n}d", 0), (f"barrier_return_{n}d", 1)):
        compare(made_of(f"{name}{widths},both={both}", data, entry), oracle, name, part(place))


@PROPERTY
@given(data=some_bars(), n=st.integers(1, 4), entry=entries, bars=st.integers(2, 4))
def test_barriers_in_deviations_are_those_of_the_decision(data, n: int, entry: str, bars: int):
    oracle = Oracle(*data, entry)

    def right(symbol: str, d: int):
        deviation = oracle.deviation(symbol, d, bars)
        own = oracle.barrier(symbol, d, n, 2 * (deviation or 1e9), (deviation or 1e9), "loss")
        if isinstance(own, str):
            return own
        return (own[0], own[2]) if deviation else "no_volatility"

    name = f"barrier_{n}d"
    made = made_of(f"{name},profit=2sd,loss=1sd,volatility={bars}", data, entry)
    compare(made, oracle, name, right)


@PROPERTY
@given(data=some_bars(), n=st.integers(1, 4), entry=entries, classes=st.integers(2, 4))
def test_quantiles_and_signs_are_those_of_the_returns(data, n: int, entry: str, classes: int):
    base = {
        (row["symbol"], row["event_timestamp"]): row
        for row in made_of(f"fwd_return_{n}d", data, entry).table.to_pylist()
    }
    made = made_of(
        f"sign_fwd_return_{n}d quantile_fwd_return_{n}d,classes={classes}", data, entry
    ).table.to_pylist()
    assert {(row["symbol"], row["event_timestamp"]) for row in made} == set(base)
    for row in made:
        own = base[row["symbol"], row["event_timestamp"]]
        value = own[f"fwd_return_{n}d"]
        assert row[f"sign_fwd_return_{n}d"] == (value > 0) - (value < 0)
        day = row["event_timestamp"].date()
        others = [each for (_, at), each in base.items() if at.date() == day]
        found = row[f"quantile_fwd_return_{n}d"]
        if len(others) < classes:
            assert found is None
            continue
        values = [each[f"fwd_return_{n}d"] for each in others]
        place = sum(each < value for each in values) + values.count(value) / 2
        assert found == math.floor(classes * place / len(values))
        end = max(each["label_end_timestamp"] for each in others)
        assert row[f"quantile_fwd_return_{n}d__end_timestamp"] == end == row["label_end_timestamp"]


TEXTS = (
    f"fwd_return_5d total_return_20d excess_fwd_return_5d,benchmark={SPY} "
    "scaled_fwd_return_3d,volatility=5 sign_fwd_return_1d quantile_fwd_return_2d,classes=2 "
    "barrier_4d,profit=3%,loss=3% barrier_return_4d,profit=1sd,volatility=5"
)


@PROPERTY
@given(data=some_bars(), entry=entries)
def test_several_labels_are_each_as_if_alone(data, entry: str):
    together = made_of(TEXTS, data, entry)
    rows = {(r["symbol"], r["event_timestamp"]): r for r in together.table.to_pylist()}
    for text in TEXTS.split():
        alone = made_of(text, data, entry)
        (column,) = alone.targets
        own = {(r["symbol"], r["event_timestamp"]): r for r in alone.table.to_pylist()}
        start, end = together.spans[column]
        for key, row in rows.items():
            mine = own.pop(key, None)
            assert row[column] == (mine and mine[column])
            assert row[end] == (mine and mine["label_end_timestamp"])
            assert mine is None or row[start] == mine["label_start_timestamp"]
        assert not own
        assert together.missing[column] == alone.dropped
    assert together.decisions == len(rows) + sum(together.dropped.values())
    for row in rows.values():
        ends = [row[end] for _, end in together.spans.values() if row[end] is not None]
        assert row["label_end_timestamp"] == max(ends)
        assert row["event_timestamp"] <= row["label_start_timestamp"] < min(ends)


@PROPERTY
@given(data=some_bars(), entry=entries, cut=st.integers(1, 40))
def test_no_label_is_of_bars_after_its_end(data, entry: str, cut: int):
    """What comes later changes no label that had ended by then."""
    bars, dividends = data
    at = START + timedelta(days=cut)
    known = bars.filter(pa.array([row["event_timestamp"] <= at for row in bars.to_pylist()]))
    if not known.num_rows:
        return
    for text in TEXTS.split():
        if text.startswith(("barrier", "quantile")):
            # A window that is not over has no label though it was touched; the day's others count.
            continue
        whole, cut_off = (made_of(text, (each, dividends), entry) for each in (bars, known))
        ended = [r for r in whole.table.to_pylist() if r["label_end_timestamp"] <= at]
        assert cut_off.table.to_pylist() == ended


def test_labels_of_real_bars_with_splits_are_those_of_the_loops():
    bars = sample_bars("NASDAQ:AAPL", "NASDAQ:TSLA")  # both split on 2020-08-31
    rows = [r for r in bars.to_pylist() if date(2020, 6, 1) <= r["event_timestamp"].date()]
    named = [r | {"symbol": SPY if r["symbol"] == "NASDAQ:AAPL" else "TEST:A"} for r in rows]
    kept = ["timestamp", "symbol", "open", "high", "low", "close", "split_ratio"]
    table = pa.Table.from_pylist(
        [{k: r[k] for k in [*kept, "event_timestamp"]} for r in named],
        pa.schema([(n, bars.schema.field(n).type) for n in [*kept, "event_timestamp"]]),
    )
    paid = pa.table(
        {
            "symbol": [SPY],
            "event_timestamp": pa.array([datetime(2020, 8, 7, 20, tzinfo=UTC)], INSTANT),
            "amount": [0.82],
        }
    )
    for entry, n in product(("open", "close"), (1, 10)):
        oracle, data = Oracle(table, paid, entry), (table, paid)

        def total(symbol: str, d: int, oracle=oracle, n=n):
            return oracle.price_return(symbol, d, n, total=True)

        def excess(symbol: str, d: int, oracle=oracle, n=n):
            return oracle.excess(symbol, d, n, total=True)

        def barrier(symbol: str, d: int, oracle=oracle, n=n):
            own = oracle.barrier(symbol, d, n, 0.05, 0.04, "loss")
            return own if isinstance(own, str) else (own[0], own[2])

        for text, right in (
            (f"total_return_{n}d", total),
            (f"excess_total_return_{n}d,benchmark={SPY}", excess),
            (f"barrier_{n}d,profit=5%,loss=4%", barrier),
        ):
            compare(made_of(text, data, entry), oracle, text.partition(",")[0], right)
    reasons = made_of("total_return_10d", data, "open").dropped
    assert {reason for reason, count in reasons.items() if count} == {DropReason.NO_FULL_WINDOW}
