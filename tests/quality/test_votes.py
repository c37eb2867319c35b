"""Which vote explains the differences of a rating, on votes of made prices.

The long form, 500 symbols and three ways to change each rule: ``TVFEAST_LONG_VOTES=1``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pytest

from ingestion.formulas import Bars, ratings
from ingestion.jobs.compute.rating_votes import readings
from ingestion.quality.votes import ENOUGH, VoteRows, find_break

IS_LONG = "TVFEAST_LONG_VOTES" in os.environ
SYMBOLS = 500 if IS_LONG else 24
BEFORE, DAYS, HISTORY = 30, 60, 320
FIRST = date(2026, 1, 5)
CHANGED = FIRST + timedelta(days=BEFORE)
NUMBER = (FIRST - date(1970, 1, 1)).days
OSCILLATORS = [
    *("RSI", "Stoch", "CCI20", "ADX", "AO", "Mom", "MACD", "Stoch.RSI", "W.R", "BBPower", "UO"),
]
AVERAGES = [f"{kind}{n}" for kind in ("SMA", "EMA") for n in (10, 20, 30, 50, 100, 200)]
AVERAGES += ["HullMA9", "VWMA"]
SOME = [*OSCILLATORS, "SMA10", "EMA200", "HullMA9"]

Change = Callable[[np.ndarray], np.ndarray]


def is_cast_on_a_change_only(value: np.ndarray) -> np.ndarray:
    by_day = value.reshape(DAYS, SYMBOLS)
    before = np.vstack([np.zeros_like(by_day[:1]), by_day[:-1]])
    return np.where(before == by_day, 0, by_day).reshape(-1)


CHANGES: dict[str, Change] = {
    "reversed": np.negative,
    "silent": np.zeros_like,
    "cast on a change only": is_cast_on_a_change_only,
}


@pytest.fixture(scope="module")
def of_rating() -> dict[str, VoteRows]:
    """By rating, the votes of 60 days; as served and as computed alike."""
    chance = np.random.default_rng(7)
    shape = (HISTORY, SYMBOLS)
    moves = chance.normal(0, 0.02, shape) + chance.normal(0, 0.008, (HISTORY, 1))
    close = 100 * np.exp(np.cumsum(moves, axis=0))
    open_ = np.vstack([close[:1], close[:-1]])
    above, below = (np.exp(np.abs(chance.normal(0, 0.01, shape))) for _ in range(2))
    bars = Bars(
        open=open_,
        high=np.maximum(open_, close) * above,
        low=np.minimum(open_, close) / below,
        close=close,
        volume=chance.integers(1, 1_000, shape).astype(float),
    )
    found = {}
    for name, votes in (
        ("Recommend.Other", ratings.oscillator_votes(bars)),
        ("Recommend.MA", ratings.average_votes(bars)),
    ):
        cast = dict(votes)
        found[name] = VoteRows(
            symbol=np.tile(np.arange(SYMBOLS), DAYS),
            day=np.repeat(NUMBER + np.arange(DAYS), SYMBOLS),
            difference=np.zeros(DAYS * SYMBOLS, dtype=np.int64),
            votes={each: cast[each].value[-DAYS:].reshape(-1).astype(int) for each in cast},
            reads={
                each: [read[-DAYS:].reshape(-1) for read in readings(cast[each])] for each in cast
            },
        )
    return found


def rating_of(vote: str) -> str:
    return "Recommend.Other" if vote in OSCILLATORS else "Recommend.MA"


def changed(rows: VoteRows, vote: str, change: Change) -> VoteRows:
    value = rows.votes[vote]
    difference = np.where(rows.day >= NUMBER + BEFORE, change(value) - value, 0)
    return VoteRows(rows.symbol, rows.day, difference, rows.votes, rows.reads)


@pytest.mark.parametrize("rating", ["Recommend.Other", "Recommend.MA"])
def test_where_nothing_differs_nothing_is_found(
    of_rating: dict[str, VoteRows], rating: str
) -> None:
    assert find_break(rating, "NYSE", of_rating[rating]) is None


@pytest.mark.parametrize("change", CHANGES if IS_LONG else ["reversed"])
@pytest.mark.parametrize("vote", OSCILLATORS + AVERAGES if IS_LONG else SOME)
def test_the_vote_whose_rule_changed_is_named_with_its_date(
    of_rating: dict[str, VoteRows], vote: str, change: str
) -> None:
    rows = changed(of_rating[rating_of(vote)], vote, CHANGES[change])
    first = rows.day[rows.difference != 0].min(initial=np.iinfo(np.int64).max)
    found = find_break(rating_of(vote), "NYSE", rows)
    cast = rows.votes[vote] != 0
    sides = [int((cast & side).sum()) for side in (rows.day < first, rows.day >= first)]
    if min(sides) < ENOUGH:
        assert found is None or not found.is_told
        return
    assert found is not None
    assert found.votes == (vote,)
    # Where no bar of the first day shows the new rule, the data do not show that day.
    assert found.since == date(1970, 1, 1) + timedelta(days=int(first))
    assert found.agreed_until is None or found.agreed_until < CHANGED
    assert [found.cast_before, found.cast_after] == sides
    assert found.is_told
    assert found.explained >= 0.95 * found.differing


def test_two_votes_that_explain_the_differences_equally_are_both_named(
    of_rating: dict[str, VoteRows],
) -> None:
    rows = changed(of_rating["Recommend.Other"], "Mom", np.negative)
    twin = rows.votes | {"twin": rows.votes["Mom"]}
    reads = dict(rows.reads) | {"twin": rows.reads["Mom"]}
    doubled = VoteRows(rows.symbol, rows.day, rows.difference, twin, reads)
    found = find_break("Recommend.Other", "NYSE", doubled)
    assert found is not None
    assert found.votes == ("Mom", "twin")
    assert "Mom or twin" in str(found)


def test_differences_of_no_vote_and_of_few_symbols_are_no_changed_rule(
    of_rating: dict[str, VoteRows],
) -> None:
    rows = of_rating["Recommend.Other"]
    chance = np.random.default_rng(1)
    since = rows.day >= NUMBER + BEFORE
    scattered = np.where(
        since & (chance.random(len(since)) < 0.05), chance.choice([-1, 1], len(since)), 0
    )
    one_symbol = changed(rows, "Mom", np.negative).difference * (rows.symbol < 2)
    for difference in (scattered, one_symbol):
        made = VoteRows(rows.symbol, rows.day, difference, rows.votes, rows.reads)
        assert find_break("Recommend.Other", "NYSE", made) is None


def test_differences_that_were_always_there_are_no_break(of_rating: dict[str, VoteRows]) -> None:
    rows = of_rating["Recommend.Other"]
    always = -2 * rows.votes["ADX"]
    made = VoteRows(rows.symbol, rows.day, always, rows.votes, rows.reads)
    found = find_break("Recommend.Other", "NYSE", made)
    assert found is None or found.share_after - found.share_before == 0
