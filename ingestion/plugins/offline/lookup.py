"""Rows of a feature table, ready to be asked which of them a key had at an instant.

Numbers alone: see :mod:`ingestion.plugins.offline.join`, which asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ingestion.plugins.offline.threads import in_threads

Integers = NDArray[np.int64]
Compact = NDArray[np.int32] | NDArray[np.int64]
"""Integers of four bytes where that is enough: what is kept of each question counts."""

Numbers = TypeVar("Numbers", bound=Compact)

NEVER = int(np.iinfo(np.int64).min)
"""The instant of what has none: before all others."""
FOREVER = int(np.iinfo(np.int64).max)


def compact(numbers: Integers) -> Compact:
    """Return integers in four bytes each if they fit."""
    wide = len(numbers) and max(int(numbers.max()), -int(numbers.min())) > np.iinfo(np.int32).max
    return numbers if wide else numbers.astype(np.int32)


def no_places(size: int) -> Compact:
    """Return −1 for each of so many, to be replaced by places among them."""
    is_wide = size > np.iinfo(np.int32).max
    return np.full(size, -1, np.int64) if is_wide else np.full(size, -1, np.int32)


_SPARSE = 4
"""A table of days and keys is worth it if a fourth of it is filled."""


@dataclass(frozen=True)
class Rows:
    """Feature rows as arrays of shape ``(m,)``, in any order."""

    key: Integers
    """Codes, as of the questions; −1 is a key that nobody asked for."""
    event: Integers
    """Unix µs; ``NEVER`` where it is null, which answers nothing."""
    created: Integers
    """Unix µs; ``NEVER`` where it is null: loses to any other, and was recorded at no time."""
    number: Integers
    """What to call the row; not negative, and different for each row ever offered."""

    def where(self, kept: NDArray[np.bool_] | Integers) -> Rows:
        """Return some of the rows."""
        return Rows(*(getattr(self, each.name)[kept] for each in fields(self)))

    @staticmethod
    def together(batches: list[Rows]) -> Rows:
        """Return the rows of all batches."""
        parts = ([getattr(rows, each.name) for rows in batches] for each in fields(Rows))
        return batches[0] if len(batches) == 1 else Rows(*map(np.concatenate, parts))


class Lookup(Protocol):
    """Rows that can be asked."""

    rows: Rows

    def find(self, key: Integers, instant: Integers) -> Compact:
        """Return for each question the place of its best row; −1 if none was known by then."""


class Days:
    """Rows of days: batches apart in time, one row per key in each.

    A question's day and key lead to its row: a table has each day's rows, and what a day lacks from
    the days before.

    Parameters
    ----------
    days
        In the order of time.
    """

    def __init__(self, days: list[Rows], keys: int) -> None:
        self.rows = Rows.together(days)
        self._keys = keys
        self._begin = np.array([each.event.min() for each in days])
        kind = np.int32 if len(self.rows.key) <= np.iinfo(np.int32).max else np.int64
        table = np.full((len(days) + 1, keys), -1, kind)
        first = 0
        for day, each in enumerate(days):
            table[day + 1, each.key] = np.arange(first, first + len(each.key))
            first += len(each.key)
        self._table = np.maximum.accumulate(table, axis=0, out=table).ravel()

    @staticmethod
    def fit(batches: list[Rows], keys: int) -> bool:
        """Return whether batches, in the order of time, are days, and fill a table well enough."""
        rows = sum(len(batch.key) for batch in batches)
        return (
            len(batches) * keys <= _SPARSE * rows
            and all(int(a.event.max()) < int(b.event.min()) for a, b in pairwise(batches))
            and all(int(np.bincount(batch.key).max()) == 1 for batch in batches)
        )

    def find(self, key: Integers, instant: Integers) -> Compact:
        """Look in the day that had begun, and then in the one before."""
        place = np.searchsorted(self._begin, instant, side="right") * self._keys + key
        row: Compact = self._table.take(place)
        # Its row may have come later that day: the day before has what was known then.
        early = np.flatnonzero((row >= 0) & (self.rows.event.take(row) > instant))
        row[early] = self._table[place[early] - self._keys]
        return row


class Sorted:
    """Any rows, by key and by when they became known.

    Parameters
    ----------
    since
        From when on each row counts.
    """

    def __init__(self, rows: Rows, since: Integers, keys: int) -> None:
        self.rows = rows
        self._scale = _Scale(keys, rows.event, since)
        self._since, self._best = _best_by_then(rows, since, self._scale)

    def find(self, key: Integers, instant: Integers) -> Integers:
        """Bisect, in the order of the rows, which spares the processor's caches."""
        asked = self._scale(key, instant)
        order = order_of(asked)
        asked = asked[order]
        last = np.searchsorted(self._since, asked, side="right") - 1
        # Not before all rows, nor behind the last one of a key before.
        found = (last >= 0) & (self._since[last] >= self._scale.begin(key[order]))
        row = np.empty_like(order)
        row[order] = np.where(found, self._best[last], -1)
        return row


class _Scale:
    """A key and an instant as one integer, in the order of both.

    An instant that no row has is as good as the last one before it that a row has. They are counted
    from the first one. Where that does not fit for so many keys, only those of rows are counted.
    """

    def __init__(self, keys: int, *instants: Integers) -> None:
        self._first = min(int(each.min()) for each in instants)
        self._last = max(int(each.max()) for each in instants)
        self._marks: Integers | None = None
        if keys * (self._last - self._first + 2) > FOREVER:
            self._marks = np.unique(np.concatenate(instants))
            self._first, self._last = 0, len(self._marks) - 1

    def __call__(self, key: Integers, instant: Integers) -> Integers:
        if self._marks is not None:
            instant = self._marks.searchsorted(instant, side="right") - 1
        code = self.begin(key)
        code += np.clip(instant, self._first - 1, self._last)
        code -= self._first - 1
        return code

    def begin(self, key: Integers) -> Integers:
        """Return the integer of a key before all rows."""
        return key * (self._last - self._first + 2)


def _best_by_then(rows: Rows, since: Integers, scale: _Scale) -> tuple[Integers, Integers]:
    """Return when a key's rows become known, ascending, and which row is the key's best by then."""
    best = _from_worst_to_best(rows, scale)
    code = scale(rows.key, since)
    if since is rows.event:
        return code[best], best
    # Rows are ranked by their position. Within a key, the best row known by an instant is the
    # highest rank so far; the ranks of the keys before are all lower.
    rank = np.empty_like(best)
    rank[best] = np.arange(len(best))
    known_first = order_of(code)
    return code[known_first], best[np.maximum.accumulate(rank[known_first])]


def _from_worst_to_best(rows: Rows, scale: _Scale) -> Integers:
    """Return the order by key, event, created and number."""
    code = scale(rows.key, rows.event)
    order = order_of(code)
    code = code[order]
    same = code[1:] == code[:-1]
    if same.any():
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        rows, among = rows.where(order[tied]), order[tied]
        order[tied] = among[np.lexsort((rows.number, rows.created, rows.event, code[tied]))]
    return order


def order_of(code: Integers) -> Integers:
    """Return the stable ascending order of integers that are not negative.

    NumPy sorts integers several times as fast as it finds their order, so each carries its place
    in its low bits. What that cuts off is put in order after; little is left to do then.
    """
    bits = len(code).bit_length()
    cut = max(int(code.max(initial=0)).bit_length() + bits - 63, 0)
    packed = code >> cut
    packed <<= bits
    packed |= np.arange(len(code))
    packed.sort()
    packed &= (1 << bits) - 1
    if cut:
        nearly = code[packed]
        if (nearly[1:] < nearly[:-1]).any():
            return packed[np.argsort(nearly, kind="stable")]
    return packed


GroupOf = Callable[[slice], NDArray[np.unsignedinteger]]
"""Returns the groups of a block, from 0 on."""


def counts_of(blocks: Sequence[slice], groups: int, group_of: GroupOf) -> Integers:
    """Return how many members of each group each block has, shape (blocks, groups)."""

    def count(block: slice) -> Integers:
        return np.bincount(group_of(block), minlength=groups)

    return np.array([*in_threads(count, blocks)], np.int64).reshape(-1, groups)


def in_groups(
    blocks: Sequence[slice],
    counts: Integers,
    group_of: GroupOf,
    put: Callable[[slice, Integers, Integers], None],
) -> None:
    """Put many into the order of their groups, a block at a time, by all cores.

    Integers of one or two bytes are sorted by radix; within a group the order stays.

    Parameters
    ----------
    counts
        As of :func:`counts_of`.
    put
        Gets a block, the order of its members by group, and their places among all then.
    """
    # Where each block's members of each group begin: group by group, and of each block by block.
    begins = counts.T.cumsum().reshape(counts.T.shape).T - counts

    def put_block(number: int) -> None:
        count = counts[number]
        place = np.repeat(begins[number] - count.cumsum() + count, count)
        place += np.arange(len(place))
        put(blocks[number], np.argsort(group_of(blocks[number]), kind="stable"), place)

    for _ in in_threads(put_block, range(len(blocks))):
        pass
