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
_DEPTH, _BINS = 5, 32
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
    trees = {name: _Tree(after, name) for name in rows.votes}
    lengths = {name: tree.length for name, tree in trees.items()}
    best = min(lengths, key=lambda name: lengths[name])
    named = tuple(name for name in lengths if lengths[name] <= lengths[best] + TIE)
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


class _Tree:
    """What a vote's value and readings say of the difference.

    Greedy: each node is split where that shortens the description most, by at least what the split
    itself costs.
    """

    def __init__(self, rows: VoteRows, vote: str) -> None:
        self._vote = vote
        self._cost = np.log(max(len(rows.day), 2))
        quantities = self._quantities(rows)
        impossible = np.abs(rows.votes[vote] + rows.difference) > 1
        self._leaves: list[tuple[list[_Split], int]] = []
        self.length = float(impossible.sum() * self._cost)
        """Description length, nats."""
        everything = np.arange(len(rows.day))
        self._grow(quantities, np.clip(rows.difference, -2, 2) + 2, everything, [])

    def expected(self, rows: VoteRows) -> Ints:
        """Return the most frequent difference of each bar's leaf; 0 where it is rare there."""
        quantities = self._quantities(rows)
        found = np.zeros(len(rows.day), dtype=np.int64)
        for path, value in self._leaves:
            is_inside = np.ones(len(found), dtype=np.bool_)
            for number, threshold, is_above in path:
                is_inside &= (quantities[number] > threshold) == is_above
            found[is_inside] = value
        return found

    def _quantities(self, rows: VoteRows) -> list[Floats]:
        reads = [np.nan_to_num(each) for each in rows.reads[self._vote]]
        found = [rows.votes[self._vote].astype(np.float64), *reads]
        for one, other in combinations(reads, 2):
            size = np.abs(one) + np.abs(other)
            found.append((one - other) / np.where(size > 0, size, 1.0))
        return found

    def _grow(
        self,
        quantities: list[Floats],
        classes: Ints,
        rows: Ints,
        path: list[_Split],
    ) -> None:
        counts = np.bincount(classes[rows], minlength=5).astype(np.float64)
        own = float(_entropy(counts))
        best = (self._cost, -1, 0.0)
        if len(path) < _DEPTH and own > 0:
            for number, quantity in enumerate(quantities):
                gain, threshold = _best_split(quantity[rows], classes[rows], own)
                if gain > best[0]:
                    best = (gain, number, threshold)
        _, number, threshold = best
        if number < 0:
            self.length += own
            changed = np.where(np.arange(5) == 2, 0, counts)
            is_frequent = changed.max() >= _FREQUENT * counts.sum()
            self._leaves.append((path, int(np.argmax(changed)) - 2 if is_frequent else 0))
            return
        self.length += float(self._cost)
        above = quantities[number][rows] > threshold
        for side in (False, True):
            inside = rows[above == side]
            self._grow(quantities, classes, inside, [*path, (number, threshold, side)])


def _best_split(values: Floats, classes: Ints, own: float) -> tuple[float, float]:
    """Return by how many nats the best threshold shortens a node, and that threshold."""
    thresholds = np.unique(
        np.append(np.quantile(values, np.linspace(0, 1, _BINS + 1)[:-1], method="lower"), 0.0)
    )
    place = np.searchsorted(thresholds, values, side="left")
    table = np.bincount(place * 5 + classes, minlength=(len(thresholds) + 1) * 5)
    below = np.cumsum(table.reshape(-1, 5), axis=0)[:-1].astype(np.float64)
    above = table.reshape(-1, 5).sum(axis=0) - below
    gains = own - _entropy(below) - _entropy(above)
    best = int(np.argmax(gains))
    return float(gains[best]), float(thresholds[best])


def _entropy(counts: Floats) -> Floats:
    """Return the nats of classes that are counted along the last axis."""
    total = counts.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(counts > 0, counts * np.log(counts / total), 0.0)
    return np.asarray(-parts.sum(axis=-1), dtype=np.float64)
