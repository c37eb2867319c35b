"""Bars computed some at a time have the bits of all bars computed at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.formulas import SHIPPED, compute, ema, formula, ratio, rma, shift, sma
from ingestion.formulas.carry import OtherReads
from ingestion.formulas.incremental import (
    How,
    Kept,
    Plan,
    begin_blocks,
    go_on_block,
    how,
)
from ingestion.formulas.panel import Block
from ingestion.formulas.planning import goes_on, plan_of
from ingestion.formulas.trial_bars import made_bars
from ingestion.jobs.audit.catalog_check import list_catalog
from ingestion.project import Project

DAY = 86_400


@formula("by_hand", "close ÷ close 5 bars ago, by slices", look_back=5)
def by_hand(bars):
    found = np.full(bars.close.shape, np.nan)
    found[5:] = bars.close[5:] / bars.close[:-5]
    return found


@formula("fast", "an average of a ratio of averages", unit="price", look_back=10, recursive=True)
def fast(bars):
    return rma(ema(bars.close, 5) * ratio(sma(bars.volume, 3), shift(sma(bars.volume, 3), 2)), 7)


@formula("ten_days", "change in ten days", look_back=timedelta(days=10), warm_up=1)
def ten_days(bars):
    rows = bars.reference(timedelta(days=10))
    base = np.take_along_axis(bars.close, np.maximum(rows, 0), axis=0)
    return np.where(rows < 0, np.nan, bars.close / base)


@formula("sum_of_all", "sum of all closes", look_back="all")
def sum_of_all(bars):
    return np.cumsum(bars.close, axis=0)


@formula("hidden", "an average of a sum of all", look_back=14, recursive=True)
def hidden(bars):
    return ema(np.cumsum(bars.close, axis=0), 14)


OWN = (by_hand, fast, ten_days)


def made(seed: int, bars: int) -> pa.Table:
    """Return some symbols' bars: splits, pauses, missing sessions, halts and young symbols."""
    rng = np.random.default_rng(seed)
    tables = []
    for number in range(5):
        n = bars if number < 2 else int(rng.integers(1, bars + 1))
        days = np.cumsum(rng.choice([1, 1, 1, 3, 20], n)) + bars * 3 - n
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, n)))
        if number == 1:
            close[n // 3 : n // 2] = 50.0
        opened = days * DAY
        missing = np.where(rng.random(n) < 0.02, opened - DAY, 0)
        tables.append(
            pa.table(
                {
                    "timestamp": opened,
                    "symbol": [f"X:{number}"] * n,
                    "open": close * 1.001,
                    "high": close * 1.01,
                    "low": close * 0.99,
                    "close": close,
                    "volume": rng.integers(0, 5, n).astype(float),
                    "split_ratio": rng.choice([1.0, 2.0, 0.25], n, p=[0.97, 0.02, 0.01]),
                    "close_timestamp": opened + 23_400,
                    "missing_from": np.where(np.arange(n) > 0, missing, 0),
                }
            )
        )
    return pa.concat_tables(tables)


def by_row(bars: pa.Table, block: Block) -> pa.Table:
    """Return a block of bars as ``compute`` returns them; its rows are taken by date."""
    rows, values = block.by_date(bars["timestamp"].to_numpy())
    keys = bars.select(["timestamp", "symbol"]).take(pa.array(rows))
    assert keys["timestamp"].to_pylist() == sorted(keys["timestamp"].to_pylist())
    columns = {name: pa.array(each, mask=~np.isfinite(each)) for name, each in values.items()}
    return pa.table({**dict(zip(keys.column_names, keys.columns, strict=True)), **columns})


ORDERS = {
    "by symbol": lambda bars: bars,
    "by date": lambda bars: bars.sort_by("timestamp"),
    "in none": lambda bars: bars.take(np.random.default_rng(1).permutation(bars.num_rows)),
}


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_bars_computed_some_at_a_time_have_the_same_bits(data: st.DataObject):
    bars = made(data.draw(st.integers(0, 10_000)), data.draw(st.integers(1, 260)))
    bars = ORDERS[data.draw(st.sampled_from(sorted(ORDERS)))](bars)
    formulas = (*SHIPPED.values(), *OWN)
    whole = compute(bars, formulas).sort_by([("timestamp", "ascending"), ("symbol", "ascending")])
    plan = data.draw(st.sampled_from([Plan(formulas), plan_of(formulas, SHIPPED)]))
    kept: dict[str, Kept] = {}
    rows = []
    opened = bars["timestamp"].to_numpy()
    cuts = data.draw(st.lists(st.integers(0, int(opened.max())), max_size=5))
    cuts = sorted({*cuts, *np.unique(opened)[-4:].tolist(), int(opened.max()) + 1})

    def keep(symbols: pa.StringArray, of_them: Kept) -> None:
        for column, symbol in enumerate(symbols.to_pylist()):
            kept[symbol] = of_them.take(np.array([column]))

    for first, end in zip([-1, *cuts], cuts, strict=False):
        some = bars.filter(pa.array((opened >= first) & (opened < end)))
        names = some["symbol"].to_pylist()
        old = sorted({name for name in names if name in kept})
        is_old = pa.array([name in kept for name in names], pa.bool_())
        further = some.filter(is_old)
        young = some.filter(pa.array([name not in kept for name in names], pa.bool_()))
        if young.num_rows:
            rows += [by_row(young, block) for block in begin_blocks(young, plan, keep)]
        if old:
            before = Kept.beside([kept[name] for name in old])
            assert plan.is_enough(before).all()
            block, after = go_on_block(further, plan, before)
            rows.append(by_row(further, block))
            keep(pa.array(old), after)
    found = pa.concat_tables(rows).sort_by([("timestamp", "ascending"), ("symbol", "ascending")])
    for name in whole.column_names:
        assert found[name].combine_chunks().equals(whole[name].combine_chunks()), name


def test_a_formula_says_how_its_new_bars_are_computed():
    assert [how(each) for each in (by_hand, fast, ten_days, sum_of_all)] == [
        How.WINDOW,
        How.CARRIED,
        How.WINDOW,
        How.WHOLE,
    ]
    assert {how(each) for each in SHIPPED.values()} == {How.WINDOW, How.CARRIED}


def test_each_shipped_formula_that_reads_a_number_of_bars_goes_on_as_a_recursion_does():
    others = plan_of(SHIPPED.values(), SHIPPED).others
    assert {*others.values()} == {How.CARRIED}
    bars = [made_bars(260, 6, seed) for seed in range(2)]
    assert [name for name in others if not goes_on(SHIPPED[name], bars)] == []
    assert not goes_on(by_hand, bars)


def test_the_catalog_says_which_features_read_all_bars():
    catalog = Project.from_environment().catalog
    formulas = {**SHIPPED, "RSI": replace(sum_of_all, name="RSI")}
    assert [each.source for each in list_catalog(catalog, formulas).groups] == [
        "scanner",
        "bars; all of them for RSI",
    ]


def test_what_is_no_recursion_of_ours_is_computed_from_all_bars():
    plan = plan_of([*OWN, sum_of_all, hidden], SHIPPED)
    assert plan.others == {"hidden": How.WHOLE}
    assert {each.name for each in plan.from_all_bars} == {"sum_of_all", "hidden"}
    bars, kept = made(0, 30), []
    for _ in begin_blocks(bars, plan, lambda _, of_them: kept.append(of_them)):
        pass
    with pytest.raises(OtherReads):
        go_on_block(bars, plan, kept[0])


def test_another_order_of_calls_is_another_mark():
    @formula("one", "two averages", look_back=9, recursive=True)
    def one(bars):
        return ema(bars.high, 5) + ema(bars.low, 5)

    @formula("one", "two averages", look_back=9, recursive=True)
    def other(bars):
        low = ema(bars.low, 5)
        return ema(bars.high, 5) + low

    marks, others = Plan((one,)).marks, Plan((other,)).marks
    assert marks["one"] == others["one"]
    assert marks[""] != others[""]
