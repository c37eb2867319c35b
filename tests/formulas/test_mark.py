"""A formula has another mark if it computes something else, and not if it is written otherwise."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from datetime import timedelta

import numpy as np
import pytest

from ingestion.formulas import (
    SHIPPED,
    Bars,
    definition_marks,
    ema,
    formula,
    ratio,
    rma,
    shift,
    sma,
)
from ingestion.formulas import windows as moving
from ingestion.formulas.trial_bars import made_bars

SHIPPED_MARKS = {
    "returns_1d": "look_back=1; low=-1; values=55d111ee75af",
    "volatility_20d": "look_back=20; low=0; values=a0d6259b2b97",
    "momentum_60d": "look_back=60; low=-1; values=92d831d35487",
    "Recommend.All": "look_back=199; low=-1; high=1; values=6442232ec9fc",
    "Recommend.MA": "look_back=199; low=-1; high=1; values=f9efa7f30d39",
    "Recommend.Other": "look_back=49; low=-1; high=1; values=3d0c8ee5b8e0",
    "RSI": "look_back=14; low=0; high=100; values=6b3bae7daf21",
    "ADX": "look_back=27; low=0; high=100; values=f2ba1c9a5d16",
    "AO": "look_back=33; unit=price; values=c3e1d9a23fcc",
    "CCI20": "look_back=19; values=8005e346f2a6",
    "Stoch.K": "look_back=15; unit=%; low=0; high=100; values=d39095e8d41f",
    "Stoch.D": "look_back=17; unit=%; low=0; high=100; values=0174ddcd48ad",
    "MACD.macd": "look_back=25; unit=price; values=88eebefad432",
    "MACD.signal": "look_back=33; unit=price; values=37d0f71c0a89",
    "Volatility.D": "look_back=1; unit=%; low=0; values=dd26279c5492",
    "Perf.W": "look_back=7d; unit=%; low=-100; values=d4ba5d2993bd",
    "Perf.1M": "look_back=30d; unit=%; low=-100; values=e5f3567e56fe",
    "SMA20": "look_back=19; unit=price; values=6caa221695c7",
    "SMA50": "look_back=49; unit=price; values=6d19681b87b4",
    "SMA100": "look_back=99; unit=price; values=6ac8385513d0",
    "SMA200": "look_back=199; unit=price; values=9baa41d8cabe",
    "EMA20": "look_back=19; unit=price; values=e18b8e9abf2c",
    "EMA50": "look_back=49; unit=price; values=893297d295aa",
    "EMA200": "look_back=199; unit=price; values=91cfc8428a30",
    "ATR": "look_back=14; unit=price; low=0; values=d18393a47adc",
    "BB.upper": "look_back=19; unit=price; values=36694c9f07fb",
    "BB.lower": "look_back=19; unit=price; values=73dc07a83a6c",
    "VWAP": "look_back=0; unit=price; values=84bd352ad803",
    "W.R": "look_back=13; unit=%; low=-100; high=0; values=9aed52abd6a9",
    "Mom": "look_back=10; unit=price; values=3ce15fb7d234",
    "UO": "look_back=28; low=0; high=100; values=c0a4d3775810",
    "P.SAR": "look_back=60; unit=price; values=92ac9532b46a",
    "average_volume_10d_calc": "look_back=9; unit=units; low=0; values=67164306b422",
    "relative_volume_10d_calc": "look_back=10; low=0; values=cab0a658ea9f",
    "change": "look_back=1; unit=%; low=-100; values=c8742f049c37",
    "price_52_week_high": "look_back=364d; unit=price; values=db3ca62b6bc1",
    "price_52_week_low": "look_back=364d; unit=price; values=276a7a8394db",
    "Perf.3M": "look_back=90d; unit=%; low=-100; values=fba535a819db",
    "Perf.6M": "look_back=180d; unit=%; low=-100; values=02ff6abe2ec6",
    "Perf.Y": "look_back=365d; unit=%; low=-100; values=d78f45947017",
    "Perf.YTD": "look_back=368d; unit=%; low=-100; values=494075a93204",
    "Volatility.W": "look_back=9d; unit=%; low=0; values=ec1a3229ec2d",
    "Volatility.M": "look_back=32d; unit=%; low=0; values=9c553d060f78",
}
"""A change of these stops the daily run of everybody who has stored rows: it needs a line in the
CHANGELOG that says so."""


def mark(function, *, to_the_bit=False, **declaration) -> str:
    declaration.setdefault("look_back", 20)
    made = formula("x", "what is tried", **declaration)(function)
    return definition_marks([made], to_the_bit=to_the_bit)["x"]


def test_the_shipped_formulas_compute_what_they_have_always_computed():
    assert definition_marks(SHIPPED.values()) == SHIPPED_MARKS


def test_a_mark_is_the_same_in_another_process_alone_and_with_others():
    code = (
        "from ingestion.formulas import SHIPPED, definition_marks\n"
        "print(definition_marks([SHIPPED['Recommend.All']])['Recommend.All'])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == SHIPPED_MARKS["Recommend.All"]


def test_every_shipped_formula_has_values_on_most_of_the_bars():
    bars = made_bars(512, 6)
    shares = {name: np.isfinite(each(bars)).mean() for name, each in SHIPPED.items()}
    assert min(shares.values()) > 0.5, shares


ORIGINAL = mark(lambda b: ratio(b.close, sma(b.close, 20)) - 1)

CHANGED = {
    "another window": lambda b: ratio(b.close, sma(b.close, 19)) - 1,
    "another series": lambda b: ratio(b.close, sma(b.open, 20)) - 1,
    "in percent": lambda b: 100 * (ratio(b.close, sma(b.close, 20)) - 1),
    "a constant": lambda b: ratio(b.close, sma(b.close, 20)) - 1.00001,
    "a billionth": lambda b: (1 + 1e-9) * (ratio(b.close, sma(b.close, 20)) - 1),
    "a bar later": lambda b: shift(ratio(b.close, sma(b.close, 20)) - 1, 1),
    "another average": lambda b: ratio(b.close, ema(b.close, 20)) - 1,
    "clipped": lambda b: np.clip(ratio(b.close, sma(b.close, 20)) - 1, -0.2, 0.2),
    "null without volume": lambda b: np.where(
        b.volume > 0, ratio(b.close, sma(b.close, 20)) - 1, np.nan
    ),
    "on days of a split": lambda b: np.where(
        b.split != shift(b.split, 1), 0, ratio(b.close, sma(b.close, 20)) - 1
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_another_formula_has_another_mark(name: str):
    assert mark(CHANGED[name]) != ORIGINAL


@pytest.mark.parametrize(
    "function",
    [
        lambda bars: (ratio(bars.close, moving.smas(bars.close, (5, 20))[1]) - 1).copy(),
        lambda bars: -1 + ratio(bars.close, sma(bars.close, 20)),
    ],
)
def test_the_same_in_other_words_has_the_same_mark(function):
    assert mark(function) == ORIGINAL


def test_a_sum_in_another_order_is_no_other_formula():
    def in_order(b: Bars):
        return sum(shift(b.close, bars) / 20 for bars in range(20))

    averaged = mark(lambda b: sma(b.close, 20))
    assert mark(in_order) == averaged
    assert mark(in_order, to_the_bit=True) != mark(lambda b: sma(b.close, 20), to_the_bit=True)


def test_another_last_bit_is_another_mark_where_every_bit_counts():
    def ratios(b: Bars):
        return ratio(b.close, sma(b.close, 20)) + 1

    def last_bit(b: Bars):
        values = ratios(b)
        values[400, 0] = np.nextafter(values[400, 0], np.inf)
        return values

    assert mark(ratios) == mark(last_bit)
    assert mark(ratios, to_the_bit=True) != mark(last_bit, to_the_bit=True)
    assert mark(ratios, to_the_bit=True) == mark(ratios, to_the_bit=True)


def test_what_a_value_means_is_in_its_mark():
    def range_(b: Bars):
        return b.high - b.low

    plain = mark(range_, look_back=0)
    others = [
        mark(range_, look_back=1),
        mark(range_, look_back="all"),
        mark(range_, look_back=timedelta(days=3)),
        mark(range_, look_back=0, unit="price"),
        mark(range_, look_back=0, low=0),
        mark(range_, look_back=0, high=1e9),
    ]
    assert len({plain, *others}) == 7
    assert mark(range_, look_back=timedelta(hours=36)).startswith("look_back=1.5d; values=")


@pytest.mark.parametrize("back", [300, 700, 2_000, timedelta(days=1_500)])
def test_the_bars_are_longer_than_what_is_read(back):
    bars = back if isinstance(back, int) else back.days
    marks = {mark(lambda b, n=n: shift(b.close, n), look_back=back) for n in (bars, bars - 1)}
    assert len(marks) == 2


def test_a_function_that_a_formula_calls_counts(monkeypatch):
    before = definition_marks([SHIPPED["RSI"]])
    monkeypatch.setattr(
        "ingestion.formulas.oscillators.rmas", lambda series, n: [rma(x, n + 1) for x in series]
    )
    assert definition_marks([SHIPPED["RSI"]]) != before


def test_very_large_values_differ_too():
    assert mark(lambda b: b.close * 1e300) != mark(lambda b: b.close * 1e301)


def test_the_made_bars_are_the_same_on_every_machine():
    made = made_bars(100, 6, seed=3)
    series = (made.open, made.high, made.low, made.close, made.volume, made.split, made.opened)
    bits = b"".join(np.ascontiguousarray(each).tobytes() for each in series)
    assert hashlib.sha256(bits).hexdigest()[:16] == "a6c82381db37aaae"
    assert (made.low <= np.minimum(made.open, made.close)).all()
    assert (made.high >= np.maximum(made.open, made.close)).all()
