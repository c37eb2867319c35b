"""Which votes explain the differences of a rating, on votes of made prices.

The long form, 500 symbols and every way to change each rule, is ``make test-votes``; it says of
each what was found.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from ingestion.formulas import Bars, ratings
from ingestion.jobs.compute.rating_votes import readings
from ingestion.quality.votes import ENOUGH, VoteBreak, VoteRows, find_breaks
from tests.quality.other_rules import OTHER_RULES, cast

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
SOME_RULES = ["RSI at 35 and 65", "Stoch of 14", "Mom reversed", "EMA10 simple"]
TOGETHER = [  # those of 2021, and those of 2024
    ("Mom reversed", "RSI leaves its zone", "AO without saucer"),
    ("Stoch crosses", "ADX crosses", "Stoch.RSI crosses"),
]
SHARES = [0.01, 0.05, 0.3, 1.0] if IS_LONG else [0.05, 0.3, 1.0]
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
def bars() -> Bars:
    chance = np.random.default_rng(7)
    shape = (HISTORY, SYMBOLS)
    moves = chance.normal(0, 0.02, shape) + chance.normal(0, 0.008, (HISTORY, 1))
    close = 100 * np.exp(np.cumsum(moves, axis=0))
    open_ = np.vstack([close[:1], close[:-1]])
    above, below = (np.exp(np.abs(chance.normal(0, 0.01, shape))) for _ in range(2))
    return Bars(
        open=open_,
        high=np.maximum(open_, close) * above,
        low=np.minimum(open_, close) / below,
        close=close,
        volume=chance.integers(1, 1_000, shape).astype(float),
    )


@pytest.fixture(scope="module")
def of_rating(bars: Bars) -> dict[str, VoteRows]:
    """By rating, the votes of 60 days; as served and as computed alike."""
    found = {}
    for name, votes in (
        ("Recommend.Other", ratings.oscillator_votes(bars)),
        ("Recommend.MA", ratings.average_votes(bars)),
    ):
        votes_of = dict(votes)
        total = sum(each.value.astype(int) for each in votes_of.values())
        found[name] = VoteRows(
            symbol=np.tile(np.arange(SYMBOLS), DAYS),
            day=np.repeat(NUMBER + np.arange(DAYS), SYMBOLS),
            difference=np.zeros(DAYS * SYMBOLS, dtype=np.int64),
            late=last_days(total[:-1]) - last_days(total[1:]),
            votes={vote: last_days(each.value).astype(int) for vote, each in votes_of.items()},
            reads={
                vote: [*map(last_days, readings(vote, each, bars.close))]
                for vote, each in votes_of.items()
            },
        )
    return found


def last_days(matrix: np.ndarray) -> np.ndarray:
    return matrix[-DAYS:].reshape(-1)


def rating_of(vote: str) -> str:
    return "Recommend.Other" if vote in OSCILLATORS else "Recommend.MA"


def served(rows: VoteRows, vote: str, value: np.ndarray) -> VoteRows:
    """Return the rows with another value of a vote from a date on."""
    return replace(
        rows, difference=np.where(rows.day >= NUMBER + BEFORE, value - rows.votes[vote], 0)
    )


def demand_named(rows: VoteRows, vote: str, what: str) -> None:
    """Look for the change of a vote; say what is found, and demand what the data show."""
    found = find_breaks(rating_of(vote), "NYSE", rows)
    first = rows.day[rows.difference != 0].min(initial=np.iinfo(np.int64).max)
    is_cast = rows.votes[vote] != 0
    sides = [int((is_cast & side).sum()) for side in (rows.day < first, rows.day >= first)]
    if IS_LONG:
        print(f"{vote:<10} {what:<24} {said(found, sides)}")
    if min(sides) < ENOUGH:
        assert not any(each.is_told for each in found)
        return
    (only,) = found
    assert only.votes == (vote,)
    # Where no bar of the first day shows the new rule, the data do not show that day.
    assert only.since == date(1970, 1, 1) + timedelta(days=int(first))
    assert only.agreed_until is None or only.agreed_until < CHANGED
    assert [only.cast_before, only.cast_after] == sides
    assert only.is_told
    assert only.explained >= 0.8 * only.differing


def said(found: list[VoteBreak], sides: list[int]) -> str:
    """Return one line of the long form's report."""
    if not found:
        return f"nothing is named; cast {sides[0]:,} and {sides[1]:,} times"
    return "; ".join(
        f"{' or '.join(each.votes)} since {each.since}, {each.explained:,} of "
        f"{each.differing:,} differences, cast {each.cast_before:,} and {each.cast_after:,} times"
        + ", not enough to tell"
        * (not each.is_told)
        for each in found
    )


@pytest.mark.parametrize("rating", ["Recommend.Other", "Recommend.MA"])
def test_where_nothing_differs_nothing_is_found(
    of_rating: dict[str, VoteRows], rating: str
) -> None:
    assert find_breaks(rating, "NYSE", of_rating[rating]) == []


@pytest.mark.parametrize("change", CHANGES if IS_LONG else ["reversed"])
@pytest.mark.parametrize("vote", OSCILLATORS + AVERAGES if IS_LONG else SOME)
def test_the_vote_whose_rule_changed_is_named_with_its_date(
    of_rating: dict[str, VoteRows], vote: str, change: str
) -> None:
    rows = of_rating[rating_of(vote)]
    demand_named(served(rows, vote, CHANGES[change](rows.votes[vote])), vote, change)


@pytest.mark.parametrize("rule", OTHER_RULES if IS_LONG else SOME_RULES)
def test_a_vote_by_another_rule_is_named_with_its_date(
    of_rating: dict[str, VoteRows], bars: Bars, rule: str
) -> None:
    """Rules that read what the vote did not read before are among them."""
    vote = OTHER_RULES[rule].vote
    value = last_days(cast(bars, OTHER_RULES[rule]))
    demand_named(served(of_rating[rating_of(vote)], vote, value), vote, rule)


@pytest.mark.parametrize("rules", TOGETHER)
def test_votes_whose_rules_changed_together_are_named_together(
    of_rating: dict[str, VoteRows], bars: Bars, rules: tuple[str, ...]
) -> None:
    rows = of_rating["Recommend.Other"]
    changes = [
        served(rows, OTHER_RULES[rule].vote, last_days(cast(bars, OTHER_RULES[rule]))).difference
        for rule in rules
    ]
    found = find_breaks("Recommend.Other", "NYSE", replace(rows, difference=sum(changes)))
    named, changed = {each.votes for each in found}, {(OTHER_RULES[rule].vote,) for rule in rules}
    # On few symbols the stochastic differs too seldom to be told from chance.
    assert named == changed or (not IS_LONG and named == changed - {("Stoch",)})
    assert {each.since for each in found} == {CHANGED}


def test_two_votes_that_explain_the_differences_equally_are_both_named(
    of_rating: dict[str, VoteRows],
) -> None:
    rows = of_rating["Recommend.Other"]
    changed = served(rows, "Mom", -rows.votes["Mom"])
    doubled = replace(
        changed,
        votes=rows.votes | {"twin": rows.votes["Mom"]},
        reads=dict(rows.reads) | {"twin": rows.reads["Mom"]},
    )
    (found,) = find_breaks("Recommend.Other", "NYSE", doubled)
    assert found.votes == ("Mom", "twin")
    assert "Mom or twin" in str(found)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("rating", ["Recommend.Other", "Recommend.MA"])
def test_differences_of_no_vote_are_no_changed_rule(
    of_rating: dict[str, VoteRows], rating: str, share: float
) -> None:
    """Votes that differ here and there, and ratings that are still those of the bar before."""
    rows, chance = of_rating[rating], np.random.default_rng(1)
    count, since = len(rows.day), rows.day >= NUMBER + BEFORE
    some = since & (chance.random(count) < share)
    of_some = since & (rows.symbol < max(2, share * SYMBOLS))
    for difference in (
        np.where(some, chance.choice([-1, 1], count), 0),
        np.where(some, chance.integers(-3, 4, count), 0),
        np.where(of_some, rows.late, 0),
    ):
        assert find_breaks(rating, "NYSE", replace(rows, difference=difference)) == []


@pytest.mark.parametrize("share", [each for each in SHARES if each < 0.5])
@pytest.mark.parametrize("vote", ["Mom", "ADX", "HullMA9"])
def test_what_differs_for_a_part_of_a_market_is_no_changed_rule(
    of_rating: dict[str, VoteRows], vote: str, share: float
) -> None:
    rows = of_rating[rating_of(vote)]
    changed = served(rows, vote, -rows.votes[vote])
    of_some = np.where(rows.symbol < max(2, share * SYMBOLS), changed.difference, 0)
    assert find_breaks(rating_of(vote), "NYSE", replace(rows, difference=of_some)) == []


def test_differences_that_were_always_there_are_no_break(of_rating: dict[str, VoteRows]) -> None:
    rows = of_rating["Recommend.Other"]
    always = replace(rows, difference=-2 * rows.votes["ADX"])
    assert find_breaks("Recommend.Other", "NYSE", always) == []
