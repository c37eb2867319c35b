"""What a vote's value and its readings say of the differences of a rating: a small decision tree.

A tree's description length, in nats, is that of the differences given the tree, and of the tree
itself. The shortest one explains best.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_Split = tuple[int, float, bool]
"""The number of a quantity, a threshold, and whether the quantity is above it."""
_DEPTH, _BINS = 5, 64
_NONE, _CLASSES = 2, 5
"""A difference of -2 to 2 is a class of 0 to 4."""


class VoteTree:
    """A tree that is grown on some bars.

    Greedy: each node is split where that shortens the description most, by at least what the split
    itself costs. Which quantity to split is seen from its bins, where to split it from its values.

    Parameters
    ----------
    value
        The vote, 1, 0 or -1; shape ``(bars,)``.
    reads
        What it reads; the same shape each.
    difference
        Sum of the votes as served, less that of the stored bars.

    Examples
    --------
    >>> momentum = np.arange(-20.0, 20.0)
    >>> tree = VoteTree(np.sign(momentum).astype(int), [momentum], np.where(momentum > 4, -1, 0))
    >>> tree.expected(np.array([1, 1]), [np.array([3.0, 9.0])], 0.5)
    array([ 0, -1])
    """

    def __init__(self, value: Ints, reads: Sequence[Floats], difference: Ints) -> None:
        self._cost = split_cost(len(value))
        self._quantities = _quantities(value, reads)
        self._bins = _bins(self._quantities)
        self._classes = np.clip(difference, -_NONE, _NONE) + _NONE
        self._leaves: list[tuple[list[_Split], Floats]] = []
        self.length = 0.0
        """Description length, nats."""
        self.without = float(_entropy(np.bincount(self._classes, minlength=_CLASSES)))
        """That of the differences alone, without a tree."""
        self._grow(np.arange(len(value)), [])

    def expected(self, value: Ints, reads: Sequence[Floats], frequent: float) -> Ints:
        """Return the most frequent difference of each bar's leaf; 0 where its share is less."""
        quantities = _quantities(value, reads)
        found = np.zeros(len(value), dtype=np.int64)
        for path, counts in self._leaves:
            changed = np.where(np.arange(_CLASSES) == _NONE, 0, counts)
            if changed.max() < frequent * counts.sum():
                continue
            is_inside = np.ones(len(found), dtype=np.bool_)
            for number, threshold, is_above in path:
                is_inside &= (quantities[number] > threshold) == is_above
            found[is_inside] = int(np.argmax(changed)) - _NONE
        return found

    def _grow(self, rows: Ints, path: list[_Split]) -> None:
        classes = self._classes[rows]
        counts = np.bincount(classes, minlength=_CLASSES).astype(np.float64)
        own = float(_entropy(counts))
        split = self._best_split(rows, classes, own) if len(path) < _DEPTH and own > 0 else None
        if split is None:
            self.length += own
            self._leaves.append((path, counts))
            return
        number, threshold = split
        self.length += self._cost
        above = self._quantities[number][rows] > threshold
        for side in (False, True):
            self._grow(rows[above == side], [*path, (number, threshold, side)])

    def _best_split(self, rows: Ints, classes: Ints, own: float) -> tuple[int, float] | None:
        """Return which quantity to split, and above what; None if no split is worth its cost."""
        gains = _gains(self._bins[:, rows], classes, own, _BINS + 1).max(axis=1)
        number = int(np.argmax(gains))
        if gains[number] <= self._cost:
            return None
        values, place = np.unique(self._quantities[number][rows], return_inverse=True)
        (exact,) = _gains(place[np.newaxis], classes, own, len(values))
        return number, float(values[np.argmax(exact)])


def split_cost(bars: int) -> float:
    """Return what a split, or a bar that is an exception, adds to a description, nats."""
    return float(np.log(max(bars, 2)))


def _quantities(value: Ints, reads: Sequence[Floats]) -> list[Floats]:
    """Return what a split may ask for: the vote, its readings, and how two of them compare."""
    reads = [np.nan_to_num(each) for each in reads]
    found = [value.astype(np.float64), *reads]
    for one, other in combinations(reads, 2):
        size = np.abs(one) + np.abs(other)
        found.append((one - other) / np.where(size > 0, size, 1.0))
    return found


def _bins(quantities: list[Floats]) -> NDArray[np.int16]:
    """Return the number of each value's bin; bins have equal counts, and one ends at 0."""
    bins = np.empty((len(quantities), len(quantities[0])), dtype=np.int16)
    for number, values in enumerate(quantities):
        ends = np.sort(values)[np.arange(_BINS - 1) * len(values) // _BINS]
        bins[number] = np.searchsorted(np.unique(np.append(ends, 0.0)), values)
    return bins


def _gains(bins: NDArray[Any], classes: Ints, own: float, count: int) -> Floats:
    """Return by how many nats a split after each bin shortens a node.

    Parameters
    ----------
    bins
        Shape ``(quantities, bars)``: the number of each bar's bin.
    classes
        Shape ``(bars,)``.
    own
        Nats of the node, not split.
    count
        How many bins there are.

    Returns
    -------
    numpy.ndarray
        Shape ``(quantities, count)``.
    """
    cells = bins * np.int64(_CLASSES) + classes
    cells += np.arange(len(bins))[:, np.newaxis] * count * _CLASSES
    table = np.bincount(cells.reshape(-1), minlength=len(bins) * count * _CLASSES)
    below = np.cumsum(table.reshape(len(bins), count, _CLASSES), axis=1)
    return own - _entropy(below) - _entropy(below[:, -1:] - below)


def _entropy(counts: NDArray[Any]) -> Floats:
    """Return the nats of classes that are counted along the last axis."""
    total = counts.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(counts > 0, counts * np.log(counts / total), 0.0)
    return np.asarray(-parts.sum(axis=-1), dtype=np.float64)
