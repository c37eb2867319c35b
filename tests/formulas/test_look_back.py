"""A look-back under which any bit differs is refused, and what is right is not."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from ingestion.base.errors import InputError
from ingestion.formulas import (
    SHIPPED,
    Bars,
    ema,
    formula,
    highest,
    ratio,
    rolling_sums,
    shift,
    sma,
)
from ingestion.formulas.look_back import check_look_back
from ingestion.formulas.trial_bars import usual_bars

BARS = list(usual_bars(SHIPPED.values()))


def declared(function, **declaration):
    return formula("x", "what is tried", **declaration)(function)


def test_the_bars_are_random_and_real_ones():
    symbols = [bars.close.shape[1] for bars in BARS]
    assert sum(symbols) == 3 * 12 + 60
    assert all((bars.split[-1] != 1).any() for bars in BARS[:3])
    assert all((bars.volume == 0).any() for bars in BARS[:3])


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_formulas_read_as_far_back_as_they_say(name: str):
    assert check_look_back(SHIPPED[name], BARS) == []


FINITE = [
    name
    for name, each in SHIPPED.items()
    if not each.recursive and not each.follows_clock and each.look_back
]


@pytest.mark.parametrize("name", FINITE)
def test_of_a_shipped_formula_one_bar_less_is_refused(name: str):
    shipped = SHIPPED[name]
    shorter = declared(shipped.function, look_back=shipped.look_back - 1, warm_up=0)
    (complaint,) = check_look_back(shorter, BARS)
    assert (
        f": the formula x has look_back={shipped.look_back - 1}, which is too short: declare "
        f"look_back={shipped.look_back} (" in complaint
    )


@pytest.mark.parametrize("name", [name for name, each in SHIPPED.items() if each.recursive])
def test_a_recursion_says_that_it_is_one(name: str):
    shipped = SHIPPED[name]
    finite = declared(shipped.function, look_back=shipped.look_back, warm_up=shipped.warm_up)
    (complaint,) = check_look_back(finite, BARS)
    assert "declare recursive=True" in complaint


@pytest.mark.parametrize("name", ["Perf.W", "Perf.1M"])
def test_of_days_one_less_is_refused(name: str):
    shipped = SHIPPED[name]
    shorter = declared(shipped.function, look_back=shipped.look_back - timedelta(days=1))
    (complaint,) = check_look_back(shorter, BARS)
    assert f"is too short: declare look_back={shipped.look_back!r} (" in complaint


def smoothed(bars: Bars) -> np.ndarray:
    """A recursion of one's own: the mean of all closes until now."""
    return np.cumsum(bars.close, axis=0) / np.arange(1, len(bars.close) + 1)[:, None]


def rare(bars: Bars) -> np.ndarray:
    """Reads farther back only where the price has not moved for three bars."""
    still = rolling_sums((bars.close == shift(bars.close, 1)).astype(float), (3,))[0] == 3
    return np.where(still, ratio(bars.close, shift(bars.close, 5)), bars.close * 0)


def last_bit(bars: Bars) -> np.ndarray:
    """A running sum carries the rounding of all history along."""
    total = np.cumsum(bars.close, axis=0)
    return total - shift(total, 3)


WRONG = {
    "a longer window": (lambda b: sma(b.close, 8), 5, "declare look_back=7 ("),
    "one bar more": (lambda b: shift(b.close, 4), 3, "declare look_back=4 ("),
    "a very long window": (lambda b: shift(b.close, 900), 3, "declare look_back=900 ("),
    "a window that is too long": (lambda b: shift(b.close, 1_100), 3, "so is any up to 1,000 bars"),
    "an extreme": (lambda b: highest(b.high, 30), 10, "declare look_back=29 ("),
    "no bar back": (lambda b: b.open - shift(b.close, 1), 0, "declare look_back=1 ("),
    "where the price stands still": (rare, 3, "declare look_back=5 ("),
    "the rounding of a running sum": (last_bit, 3, "so is any up to 1,000 bars"),
    "all of history": (smoothed, 50, "so is any up to 1,000 bars"),
    "the number of bars": (
        lambda b: np.arange(len(b.close))[:, None] + 0 * b.close,
        5,
        "too short",
    ),
    "the sign of zero": (
        lambda b: np.copysign(0.0, np.cumsum(b.close - 100, axis=0)),
        2,
        "too short",
    ),
    "an EMA": (lambda b: ema(b.close, 5), 4, "recursive=True"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_look_back_that_is_too_short_is_refused(name: str):
    function, back, told = WRONG[name]
    (complaint,) = check_look_back(declared(function, look_back=back, warm_up=0), BARS)
    assert f"look_back={back}, which " in complaint
    assert told in complaint
    assert "from the last" in complaint


def test_a_recursion_of_ones_own_reads_all():
    said = declared(smoothed, look_back=5, recursive=True, warm_up=0)
    (complaint,) = check_look_back(said, BARS)
    assert 'declare look_back="all"' in complaint
    assert check_look_back(declared(smoothed, look_back="all"), BARS) == []


@pytest.mark.parametrize(
    ("function", "declaration"),
    [
        (lambda b: sma(b.close, 8), {"look_back": 7}),
        (lambda b: sma(b.close, 8), {"look_back": 70, "warm_up": 7}),
        (lambda b: b.high - b.low, {"look_back": 0, "unit": "price"}),
        (lambda b: sma(b.volume * b.close, 5), {"look_back": 4}),
        (lambda b: ema(b.close, 5), {"look_back": 4, "recursive": True}),
        (lambda b: np.full(b.close.shape, np.inf), {"look_back": 3}),
    ],
)
def test_what_is_declared_as_it_is_is_accepted(function, declaration):
    assert check_look_back(declared(function, **declaration), BARS) == []


def test_a_value_before_the_warm_up_is_named():
    (complaint,) = check_look_back(declared(lambda b: b.close + 0, look_back=3), BARS)
    place, _, told = complaint.partition(": ")
    assert place.startswith(f"{__file__}, line ")
    assert told == (
        "the formula x has a value at bar 0, counted from 0, and says that bar 3 is the first: "
        "declare warm_up=0"
    )


def later(values: np.ndarray, bars: int) -> np.ndarray:
    moved = np.full_like(values, np.nan)
    moved[:-bars] = values[bars:]
    return moved


FUTURE = {
    "the next close": lambda b: later(b.close, 1) / b.close,
    "the close of a week later": lambda b: later(b.close, 5),
    "the mean of all bars": lambda b: b.close - np.nanmean(b.close, axis=0),
    "the last bar, at the first": lambda b: np.roll(b.close, 1, axis=0),
    "a centred window": lambda b: later(sma(b.close, 5), 2),
    "the money of the last bar": lambda b: b.close / b.split[-1],
}


@pytest.mark.parametrize("name", FUTURE)
@pytest.mark.parametrize("back", [0, 20, "all"])
def test_a_formula_that_reads_the_future_gets_no_advice_on_its_look_back(name: str, back):
    (complaint,) = check_look_back(declared(FUTURE[name], look_back=back, warm_up=0), BARS[:1])
    assert complaint.startswith(f"{__file__}, line ")
    assert "the formula x reads later bars: " in complaint
    assert "without the bars after it" in complaint
    assert "declare" not in complaint


def test_a_formula_that_reads_other_symbols_is_named():
    ranked = declared(lambda b: b.close.argsort(axis=1).argsort(axis=1), look_back=0)
    (complaint,) = check_look_back(ranked, BARS[:1])
    assert "the formula x reads bars of other symbols: " in complaint


def test_a_formula_that_fails_is_named_with_its_line():
    def broken(bars: Bars) -> np.ndarray:
        return bars.close + np.zeros(3_000)

    with pytest.raises(InputError, match=r"formula x of .*test_look_back.py, line \d+: ValueError"):
        check_look_back(declared(broken, look_back=1), BARS)
