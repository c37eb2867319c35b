"""Which votes of a rating disagree, and since when: a changed rule, or bad bars.

A rating is the mean of its votes, so a difference times their number is the difference of the
votes' sum. Where one vote's rule has changed, the differences follow from what this vote reads and
from nothing else; what they follow from shows which vote it is.

1. The date on which differences begin is where two shares, before and after it, explain the days
   best (a likelihood ratio).
2. For each vote a :class:`~ingestion.quality.vote_tree.VoteTree` says from its value and its
   readings what the difference is. A vote is -1, 0 or 1, so no rule of it makes some of the
   differences; each of them lengthens its description. The shortest one explains best; others are
   as good within :data:`TIE`.
3. Where one vote does not explain them, several may have changed together: the one whose tree
   shortens the description most is taken first, the next one explains what is left, and so on.
4. The date is looked for again, among the bars alone on which a tree expects a difference: a vote
   is not cast every day.

Differences on few of the symbols that could show them are no changed rule, nor are ratings that are
those of the bar before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from ingestion.quality.vote_tree import Floats, Ints, VoteTree, split_cost

ENOUGH = 30
"""How often a vote has to be cast on each side of a date to be named."""
SYMBOLS = 3
"""How many symbols have to differ: on fewer it may be their bars."""
TIE = 3.0
"""Nats; one bar that only one of two votes explains is worth more."""
EXPLAINED = 0.8
"""Least share of the differences that changed rules explain; else it is something else."""
SPREAD = 0.5
"""Least share of the symbols that would differ if all did alike, and do."""
_SIGNIFICANT = 5.0
_FREQUENT, _MOSTLY, _EVER = 0.2, 0.5, 1e-9
"""From what share of a leaf on a difference is expected there."""
_SURPRISE = 30.0
"""Nats by which a vote has to explain more than chance gives."""
_IMPOSSIBLE = 0.01
"""Share of differences that are other things, in spite of that."""
_MOST_VOTES = 4
"""How many votes are looked for that changed together."""
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class VoteDay:
    """What one date of snapshots shows of a vote."""

    day: date
    cast: int
    """Bars on which it was cast, by the stored bars or, as the difference shows, as served."""
    differing: int

    @property
    def share(self) -> float:
        """Share of those on which it was served otherwise."""
        return self.differing / self.cast if self.cast else 0.0


@dataclass(frozen=True)
class VoteBreak:
    """A rating whose served values follow other rules since a date."""

    feature: str
    """The rating."""
    market: str
    """One, or several whose bars were looked at together."""
    votes: tuple[str, ...]
    """What explains the differences; several if they explain them equally."""
    since: date
    """UTC date of the first snapshots that differ."""
    agreed_until: date | None
    """UTC date of the last ones on which such a difference could have been seen, and was not."""
    cast_before: int
    cast_after: int
    """How often the vote was cast on each side; of several, the least."""
    explained: int
    """Differences that these votes explain."""
    differing: int
    share_before: float
    share_after: float
    """Of the bars on which it was cast, those on which it was served otherwise."""
    days: tuple[VoteDay, ...]
    """By date, of the first of the votes."""

    @property
    def is_told(self) -> bool:
        """Whether the votes were cast often enough to be named."""
        return min(self.cast_before, self.cast_after) >= ENOUGH

    def __str__(self) -> str:
        names = " or ".join(self.votes)
        share = f"{self.share_before:.1%} before and {self.share_after:.1%} since"
        if not self.is_told:
            return (
                f"{self.feature} of {self.market} differs since {self.since}: not enough to tell "
                f"which vote: {names} was cast {self.cast_before:,} times before and "
                f"{self.cast_after:,} times since; {ENOUGH} are needed on each side"
            )
        return (
            f"{self.feature} of {self.market}: the vote {names} follows another rule since "
            f"{self.since}: served otherwise on {share} of the bars on which it was cast; it "
            f"explains {self.explained:,} of {self.differing:,} differences"
        )


@dataclass(frozen=True)
class VoteRows:
    """Bars of which a rating was served, with the votes that the stored bars give.

    All arrays have one element per bar.
    """

    symbol: Ints
    """A number of each symbol."""
    day: Ints
    """UTC date of the snapshot, days since 1970."""
    difference: Ints
    """Sum of the votes as served, less that of the stored bars."""
    late: Ints
    """What the difference would be if the rating were that of the bar before."""
    votes: Mapping[str, Ints]
    """By name, 1, 0 or -1."""
    reads: Mapping[str, Sequence[Floats]]
    """By name, what the vote reads."""

    def less(self, expected: Ints) -> VoteRows:
        """Return the same without some differences."""
        return replace(self, difference=self.difference - expected)

    def __getitem__(self, rows: NDArray[np.bool_]) -> VoteRows:
        return VoteRows(
            self.symbol[rows],
            self.day[rows],
            self.difference[rows],
            self.late[rows],
            {name: each[rows] for name, each in self.votes.items()},
            {name: [read[rows] for read in each] for name, each in self.reads.items()},
        )


def find_breaks(feature: str, market: str, rows: VoteRows) -> list[VoteBreak]:
    """Return since when a rating is served by other rules, and which votes explain it.

    Several if rules of several votes changed together; none if no rule did, as far as the
    differences show.
    """
    differs = rows.difference != 0
    first = _change(rows.day, differs)
    if first is None:
        return []
    after = rows[rows.day >= first]
    differing = after.difference != 0
    if len(np.unique(after.symbol[differing])) < SYMBOLS:
        return []
    if _share(differing, after.difference == after.late) >= EXPLAINED:
        return []
    trees = _best_trees(after)
    best = min(trees, key=lambda name: trees[name].length)
    names = tuple(name for name in rows.votes if name in trees)
    one = _one(feature, market, rows, after, names, (best, trees[best]))
    if one and _impossible(after, best) <= _IMPOSSIBLE * differing.sum():
        return one
    return _several(feature, market, rows, after) or one


def _one(
    feature: str,
    market: str,
    rows: VoteRows,
    after: VoteRows,
    names: tuple[str, ...],
    best: tuple[str, VoteTree],
) -> list[VoteBreak]:
    """Return the change of one vote, if it explains the differences."""
    differing = after.difference != 0
    is_only = _is_only_possible(after, best[0])
    for frequent in (_FREQUENT, *([_EVER] if is_only else [])):
        if _share(differing, after.difference == _possible(after, *best, frequent)) >= EXPLAINED:
            expected, often = (_possible(rows, *best, each) for each in (frequent, _FREQUENT))
            found = _break(feature, market, rows, names, expected, often)
            return [] if found is None else [found]
    return []


def _several(feature: str, market: str, rows: VoteRows, after: VoteRows) -> list[VoteBreak]:
    """Return the changes of several votes that explain the differences together."""
    left, trees = after, dict[str, VoteTree]()
    while len(trees) < _MOST_VOTES and (left.difference != 0).any():
        grown = {name: _tree(left, name) for name in rows.votes if name not in trees}
        best = min(grown, key=lambda name: grown[name].length)
        expected = _possible(left, best, grown[best], _MOSTLY)
        if grown[best].without - grown[best].length < _SURPRISE or not expected.any():
            break
        trees[best] = grown[best]
        left = left.less(expected)
    differing = after.difference != 0
    if len(trees) < 2 or _share(differing, left.difference == 0) < EXPLAINED:
        return []
    since = rows.day >= after.day.min()
    of_each = {name: _possible(rows, name, tree, _MOSTLY) for name, tree in trees.items()}
    total = np.sum(list(of_each.values()), axis=0)
    breaks = (
        _break(feature, market, rows.less(np.where(since, total - own, 0)), (name,), own, own)
        for name, own in of_each.items()
    )
    return [found for found in breaks if found is not None]


def _possible(rows: VoteRows, name: str, tree: VoteTree, frequent: float) -> Ints:
    """Return the differences that a tree expects, where the vote can make them."""
    expected = tree.expected(rows.votes[name], rows.reads[name], frequent)
    return np.where(np.abs(rows.votes[name] + expected) > 1, 0, expected)


def _break(
    feature: str,
    market: str,
    rows: VoteRows,
    names: tuple[str, ...],
    expected: Ints,
    often: Ints,
) -> VoteBreak | None:
    """Return what is known of a changed rule; None if it is no market's as a whole.

    Parameters
    ----------
    expected
        By the first tree of the names, of each bar.
    often
        The same, where it is often so; the symbols of these bars show whether all do alike.
    """
    tried, differs = expected != 0, rows.difference != 0
    explained = tried & (rows.difference == expected)
    first = _change(rows.day[tried], explained[tried])
    if first is None:
        return None
    is_before = rows.day < first
    shown = (often != 0 if often.any() else tried) & ~is_before
    if not _is_spread(rows.symbol[shown], explained[shown]):
        return None
    agreed = rows.day[tried & ~differs & is_before]
    cast = [rows.votes[name] != 0 for name in names]
    concerned = cast[0] | explained
    return VoteBreak(
        feature=feature,
        market=market,
        votes=names,
        since=_date(first),
        agreed_until=_date(int(agreed.max())) if len(agreed) else None,
        cast_before=min(int((each & is_before).sum()) for each in cast),
        cast_after=min(int((each & ~is_before).sum()) for each in cast),
        explained=int((explained & ~is_before).sum()),
        differing=int((differs & ~is_before).sum()),
        share_before=_share(concerned & is_before, explained),
        share_after=_share(concerned & ~is_before, explained),
        days=tuple(_days(rows.day, concerned, explained)),
    )


def _is_spread(symbol: Ints, explained: NDArray[np.bool_]) -> bool:
    """Return whether as many symbols differ as would if all did alike."""
    tried = np.bincount(symbol)
    differing = np.bincount(symbol, explained) > 0
    if not len(symbol):
        return False
    alike = 1 - (1 - explained.mean()) ** tried
    return bool(differing.sum() >= SPREAD * alike.sum())


def _best_trees(rows: VoteRows) -> dict[str, VoteTree]:
    """Return the trees of the votes that explain best, equally well.

    A description is longer than its impossible bars alone, so most votes need no tree.
    """
    cost = split_cost(len(rows.day))
    least = {name: _impossible(rows, name) * cost for name in rows.votes}
    trees: dict[str, VoteTree] = {}
    shortest = np.inf
    for name in sorted(least, key=lambda name: least[name]):
        if least[name] > shortest + TIE:
            break
        trees[name] = _tree(rows, name)
        trees[name].length += least[name]
        shortest = min(shortest, trees[name].length)
    return {name: tree for name, tree in trees.items() if tree.length <= shortest + TIE}


def _tree(rows: VoteRows, name: str) -> VoteTree:
    return VoteTree(rows.votes[name], rows.reads[name], rows.difference)


def _impossible(rows: VoteRows, name: str) -> int:
    """Return how many of the differences no rule of a vote can make."""
    return int((np.abs(rows.votes[name] + rows.difference) > 1).sum())


def _is_only_possible(rows: VoteRows, name: str) -> bool:
    """Return whether a vote can make the differences, and that is no chance.

    So it is where its rule reads something else now, which its readings do not show.
    """
    differences, counts = np.unique(rows.difference[rows.difference != 0], return_counts=True)
    of_chance = [(np.abs(rows.votes[name] + each) <= 1).mean() for each in differences]
    surprise = -float(counts @ np.log(np.maximum(of_chance, _EVER)))
    return surprise >= _SURPRISE and _impossible(rows, name) <= _IMPOSSIBLE * counts.sum()


def _share(of: NDArray[np.bool_], those: NDArray[np.bool_]) -> float:
    """Return which share of some bars are among others."""
    return float(those[of].mean()) if of.any() else 0.0


def _date(day: int) -> date:
    return _EPOCH + timedelta(days=day)


def _days(
    day: Ints, concerned: NDArray[np.bool_], explained: NDArray[np.bool_]
) -> Iterator[VoteDay]:
    found, place = np.unique(day, return_inverse=True)
    cast = np.bincount(place, concerned, len(found)).astype(int)
    differing = np.bincount(place, explained, len(found)).astype(int)
    for each, of, those in zip(found, cast, differing, strict=True):
        yield VoteDay(_date(int(each)), int(of), int(those))


def _change(day: Ints, hits: NDArray[np.bool_]) -> int | None:
    """Return the day from which hits are more frequent; None if no day has significantly more."""
    days, place = np.unique(day, return_inverse=True)
    if len(days) < 2:
        return None
    total = np.cumsum(np.bincount(place, minlength=len(days))).astype(np.float64)
    hit = np.cumsum(np.bincount(place, hits, len(days))).astype(np.float64)
    n, k = total[:-1], hit[:-1]
    rest, left = total[-1] - n, hit[-1] - k
    gain = (
        _log_likelihood(k, n) + _log_likelihood(left, rest) - _log_likelihood(hit[-1:], total[-1:])
    )
    gain = np.where(left / rest > k / n, gain, -np.inf)
    best = int(np.argmax(gain))
    return int(days[best + 1]) if gain[best] > _SIGNIFICANT else None


def _log_likelihood(hits: Floats, of: Floats) -> Floats:
    """Return that of so many hits, by their own share."""
    misses = of - hits
    with np.errstate(divide="ignore", invalid="ignore"):
        hit, missed = (np.where(n > 0, n * np.log(n / of), 0.0) for n in (hits, misses))
    return np.asarray(hit + missed, dtype=np.float64)
