"""Which vote of a rating disagrees, and since when: a changed rule, or bad bars.

A rating is the mean of its votes, so a difference times their number is the difference of the
votes' sum. Where one vote's rule has changed, the differences follow from what this vote reads and
from nothing else; what they follow from shows which vote it is.

1. The date on which differences begin is where two shares, before and after it, explain the days
   best (a likelihood ratio).
2. For each vote a small decision tree says from its value and its readings what the difference is.
   Its description length, in nats, is that of the differences given the tree and of the tree
   itself. The shortest one explains best; others are as good within :data:`TIE`.
3. The date is looked for again, among the bars alone on which that tree expects a difference: a
   vote is not cast every day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

ENOUGH = 30
"""How often a vote has to be cast on each side of a date to be named."""
SYMBOLS = 3
"""How many symbols have to differ: on fewer it may be their bars."""
TIE = 3.0
"""Nats; one bar that only one of two votes explains is worth more."""
EXPLAINED = 0.8
"""Least share of the differences that the best vote explains; else it is no change of one rule."""
_SIGNIFICANT = 5.0
_FREQUENT = 0.2
_DEPTH, _BINS, _CLASSES = 5, 64, 5
_EPOCH = date(1970, 1, 1)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_Split = tuple[int, float, bool]
"""The number of a quantity, a threshold, and whether the quantity is above it."""


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
    votes: Mapping[str, Ints]
    """By name, 1, 0 or -1."""
    reads: Mapping[str, Sequence[Floats]]
    """By name, what the vote reads."""

    def __getitem__(self, rows: NDArray[np.bool_]) -> VoteRows:
        return VoteRows(
            self.symbol[rows],
            self.day[rows],
            self.difference[rows],
            {name: each[rows] for name, each in self.votes.items()},
            {name: [read[rows] for read in each] for name, each in self.reads.items()},
        )


def find_break(feature: str, market: str, rows: VoteRows) -> VoteBreak | None:
    """Return since when a rating is served by other rules, and which vote explains it.

    None if it is not, or if what differs is no single vote.
    """
    differs = rows.difference != 0
    first = _change(rows.day, differs)
    if first is None:
        return None
    since = rows.day >= first
    if len(np.unique(rows.symbol[since & differs])) < SYMBOLS:
        return None
    after = rows[since]
    trees = _trees(after)
    best = min(trees, key=lambda name: trees[name].length)
    named = tuple(name for name in rows.votes if name in trees)
    expected = trees[best].expected(rows)
    explained = (expected != 0) & (rows.difference == expected)
    count = int((differs & since).sum())
    if (explained & since).sum() < EXPLAINED * count:
        return None
    tried = expected != 0
    again = _change(rows.day[tried], explained[tried])
    first = first if again is None else again
    agreed = rows.day[tried & ~differs & (rows.day < first)]
    is_before = rows.day < first
    cast = [rows.votes[name] != 0 for name in named]
    concerned = cast[0] | explained
    days = tuple(_days(rows.day, concerned, explained))
    before, later = ((concerned & side, explained & side) for side in (is_before, ~is_before))
    return VoteBreak(
        feature=feature,
        market=market,
        votes=named,
        since=_date(first),
        agreed_until=_date(int(agreed.max())) if len(agreed) else None,
        cast_before=min(int((each & is_before).sum()) for each in cast),
        cast_after=min(int((each & ~is_before).sum()) for each in cast),
        explained=int(later[1].sum()),
        differing=int((differs & ~is_before).sum()),
        share_before=_share(*before),
        share_after=_share(*later),
        days=days,
    )


def _share(of: NDArray[np.bool_], those: NDArray[np.bool_]) -> float:
    return float(those.sum() / of.sum()) if of.any() else 0.0


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


def _trees(rows: VoteRows) -> dict[str, _Tree]:
    """Return the trees of the votes that explain best, equally well.

    A description is longer than its impossible bars alone, so most votes need no tree.
    """
    least = {name: _impossible(rows, name) * _cost(rows) for name in rows.votes}
    trees: dict[str, _Tree] = {}
    shortest = np.inf
    for name in sorted(least, key=lambda name: least[name]):
        if least[name] > shortest + TIE:
            break
        trees[name] = _Tree(rows, name)
        shortest = min(shortest, trees[name].length)
    return {name: tree for name, tree in trees.items() if tree.length <= shortest + TIE}


class _Tree:
    """What a vote's value and readings say of the difference.

    Greedy: each node is split where that shortens the description most, by at least what the split
    itself costs. Which quantity to split is seen from its bins, where to split it from its values.
    """

    def __init__(self, rows: VoteRows, vote: str) -> None:
        self._vote = vote
        self._cost = _cost(rows)
        self._quantities = self._quantities_of(rows)
        self._binned = [_binned(each) for each in self._quantities]
        self._classes = np.clip(rows.difference, -2, 2) + 2
        self._leaves: list[tuple[list[_Split], int]] = []
        self.length = float(_impossible(rows, vote) * self._cost)
        """Description length, nats."""
        self._grow(np.arange(len(rows.day)), [])

    def expected(self, rows: VoteRows) -> Ints:
        """Return the most frequent difference of each bar's leaf; 0 where it is rare there."""
        quantities = self._quantities_of(rows)
        found = np.zeros(len(rows.day), dtype=np.int64)
        for path, value in self._leaves:
            is_inside = np.ones(len(found), dtype=np.bool_)
            for number, threshold, is_above in path:
                is_inside &= (quantities[number] > threshold) == is_above
            found[is_inside] = value
        return found

    def _quantities_of(self, rows: VoteRows) -> list[Floats]:
        reads = [np.nan_to_num(each) for each in rows.reads[self._vote]]
        found = [rows.votes[self._vote].astype(np.float64), *reads]
        for one, other in combinations(reads, 2):
            size = np.abs(one) + np.abs(other)
            found.append((one - other) / np.where(size > 0, size, 1.0))
        return found

    def _grow(self, rows: Ints, path: list[_Split]) -> None:
        classes = self._classes[rows]
        counts = np.bincount(classes, minlength=_CLASSES).astype(np.float64)
        own = float(_entropy(counts))
        split = self._best_split(rows, classes, own) if len(path) < _DEPTH and own > 0 else None
        if split is None:
            self.length += own
            changed = np.where(np.arange(_CLASSES) == 2, 0, counts)
            is_frequent = changed.max() >= _FREQUENT * counts.sum()
            self._leaves.append((path, int(np.argmax(changed)) - 2 if is_frequent else 0))
            return
        number, threshold = split
        self.length += self._cost
        above = self._quantities[number][rows] > threshold
        for side in (False, True):
            self._grow(rows[above == side], [*path, (number, threshold, side)])

    def _best_split(self, rows: Ints, classes: Ints, own: float) -> tuple[int, float] | None:
        """Return which quantity to split, and above what; None if no split is worth its cost."""
        gains = [_gains(binned[rows] * _CLASSES + classes, own).max() for binned in self._binned]
        number = int(np.argmax(gains))
        if gains[number] <= self._cost:
            return None
        values, place = np.unique(self._quantities[number][rows], return_inverse=True)
        return number, float(values[np.argmax(_gains(place * _CLASSES + classes, own))])


def _cost(rows: VoteRows) -> float:
    """Return what a split, or a bar that a vote cannot explain, adds to a description, nats."""
    return float(np.log(max(len(rows.day), 2)))


def _impossible(rows: VoteRows, vote: str) -> int:
    """Return how many of the differences no rule of a vote can make: it casts -1, 0 or 1."""
    return int((np.abs(rows.votes[vote] + rows.difference) > 1).sum())


def _binned(values: Floats) -> Ints:
    """Return the number of each value's bin; bins have equal counts, and one ends at 0."""
    ends = np.quantile(values, np.linspace(0, 1, _BINS + 1)[:-1], method="lower")
    return np.searchsorted(np.unique(np.append(ends, 0.0)), values, side="left")


def _gains(cells: Ints, own: float) -> Floats:
    """Return by how many nats a split after each bin shortens a node.

    Parameters
    ----------
    cells
        Of each bar the number of its bin times the number of classes, plus its class.
    own
        Nats of the node, not split.
    """
    table = np.bincount(cells, minlength=_CLASSES)
    table = np.append(table, np.zeros(-len(table) % _CLASSES, dtype=table.dtype))
    below = np.cumsum(table.reshape(-1, _CLASSES), axis=0).astype(np.float64)
    return own - _entropy(below) - _entropy(below[-1] - below)


def _entropy(counts: Floats) -> Floats:
    """Return the nats of classes that are counted along the last axis."""
    total = counts.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(counts > 0, counts * np.log(counts / total), 0.0)
    return np.asarray(-parts.sum(axis=-1), dtype=np.float64)
