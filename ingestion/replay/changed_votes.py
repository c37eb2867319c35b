"""Ratings as the scanner would serve them if the rule of a vote changed on a date.

TradingView has changed its rules five times under unchanged names; with this the replay does, so
that what watches them can be tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time

import numpy as np
from numpy.typing import NDArray

from ingestion.base.errors import InputError
from ingestion.formulas import BarFormula, Bars, Matrix, shift
from ingestion.formulas.ratings import RATINGS, Vote, Votes, rating, recommendation

Rule = Callable[[Bars, Vote], NDArray[np.int8]]
"""From bars, and a vote by today's rule, to 1, 0 or -1 by another; shape (bars, symbols)."""


def _only_when_it_turns(_: Bars, vote: Vote) -> NDArray[np.int8]:
    return np.where(shift(vote.value.astype(np.float64), 1) == vote.value, 0, vote.value)


RULES: Mapping[str, Rule] = {
    "reversed": lambda _, vote: -vote.value,
    "silent": lambda _, vote: np.zeros_like(vote.value),
    "turning": _only_when_it_turns,
}
"""By name: sell for buy, never cast, cast only where it differs from the bar before."""


@dataclass(frozen=True)
class ChangedVote:
    """A vote that is cast by another rule from a date on."""

    vote: str
    """As ``RSI`` or ``SMA10``."""
    rule: Rule
    since: date
    """UTC date on which the first bars close that are rated by it."""

    @classmethod
    def parse(cls, text: str) -> ChangedVote:
        """Read ``VOTE=RULE@DATE``.

        Raises
        ------
        InputError
            If it is of another form, or there is no such vote or rule.

        Examples
        --------
        >>> changed = ChangedVote.parse("Mom=reversed@2021-04-06")
        >>> changed.vote, changed.since.isoformat()
        ('Mom', '2021-04-06')
        """
        vote, _, how = text.partition("=")
        rule, _, day = how.partition("@")
        try:
            since = date.fromisoformat(day)
        except ValueError:
            raise InputError(f"{text!r} names no date: write VOTE=RULE@YYYY-MM-DD") from None
        if rule not in RULES:
            raise InputError(f"{text!r}: no rule {rule!r}; there are {', '.join(RULES)}")
        if vote not in (votes := _votes()):
            raise InputError(f"{text!r}: no vote {vote!r}; there are {', '.join(votes)}")
        return cls(vote, RULES[rule], since)

    def __call__(self, bars: Bars, vote: Vote) -> Vote:
        """Return a vote that follows the other rule on the bars that close on its date or later."""
        first = int(datetime.combine(self.since, time(), UTC).timestamp())
        other = np.where(vote.defined, self.rule(bars, vote), 0)
        value = np.where(bars.closed >= first, other, vote.value).astype(np.int8)
        return vote._replace(value=value)


def _votes() -> list[str]:
    """Return the names of the votes of both ratings."""
    one = np.ones((1, 1))
    bar = Bars(open=one, high=one, low=one, close=one, volume=one)
    return [name for votes in RATINGS.values() for name, _ in votes(bar)]


def by_other_rules(formula: BarFormula, changes: Sequence[ChangedVote]) -> BarFormula:
    """Return a formula with the changed votes, where it is a rating; else as it is."""
    if not changes:
        return formula
    others = {
        each: replace(each, function=_rating(votes, changes)) for each, votes in RATINGS.items()
    }
    if formula == recommendation:
        one, other = others.values()
        return replace(formula, function=lambda bars: (one(bars) + other(bars)) / 2)
    return others.get(formula, formula)


def _rating(votes: Votes, changes: Sequence[ChangedVote]) -> Callable[[Bars], Matrix]:
    def changed(bars: Bars) -> Iterator[Vote]:
        for name, vote in votes(bars):
            for change in changes:
                if change.vote == name:
                    vote = change(bars, vote)
            yield vote

    return lambda bars: rating(changed(bars))
