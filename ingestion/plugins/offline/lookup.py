"""Rows of a feature table, ready to be asked which of them a key had at an instant.

Numbers alone: see :mod:`ingestion.plugins.offline.join`, which asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Protocol, TypeVar

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


_FEW = 32
"""To compare with so many days takes less time than to bisect, whose branches nobody foresees."""


def oldest_valid(instant: Integers, ttl: int) -> Integers:
    """Return the oldest event that is valid at each instant, by the TTL in µs, inclusive."""
    # The first instants that there are have no TTL before them.
    return np.maximum(instant, NEVER + ttl) - ttl


def wins_tie(
    created: Integers, number: Integers, than_created: Integers, than_number: Integers
) -> NDArray[np.bool_]:
    """Return which rows are better than others of the same events."""
    wins: NDArray[np.bool_] = number > than_number
    wins &= created == than_created
    wins |= created > than_created
    return wins


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


@dataclass(frozen=True)
class Best:
    """The best rows of some questions, shape ``(n,)``; ``NEVER`` and −1 where there is none."""

    event: Integers
    created: Integers
    number: Integers

    @staticmethod
    def of(rows: Rows, row: Compact, event: Integers | None = None) -> Best:
        """Take rows by their places; −1 is none.

        Parameters
        ----------
        rows
            The last one is what there is of none: see :func:`_with_none`.
        event
            Of these rows, if they were taken before.
        """
        return Best(
            rows.event.take(row) if event is None else event,
            rows.created.take(row),
            rows.number.take(row),
        )

    def take(self, places: Integers | slice) -> Best:
        """Return those of some of the questions."""
        return Best(self.event[places], self.created[places], self.number[places])

    def or_better(self, other: Best) -> Best:
        """Return for each question the better one of two rows."""
        better = other.event > self.event
        tied = np.flatnonzero(other.event == self.event)
        if len(tied):
            mine, theirs = self.take(tied), other.take(tied)
            better[tied] = wins_tie(theirs.created, theirs.number, mine.created, mine.number)
        return Best(
            np.where(better, other.event, self.event),
            np.where(better, other.created, self.created),
            np.where(better, other.number, self.number),
        )


def _with_none(batches: list[Rows]) -> Rows:
    """Return the rows of all batches, and behind them what is found where there is none."""
    none, never = np.full(1, -1), np.full(1, NEVER)
    return Rows.together([*batches, Rows(none, never, never, none)])


class Lookup(Protocol):
    """Rows that can be asked."""

    oldest: int
    """The first event."""

    def find(self, key: Integers, instant: Integers) -> Best:
        """Return for each question the best row that was known by then."""


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
        self._rows = _with_none(days)
        self._keys = keys
        self._begin = np.array([each.event.min() for each in days])
        self.oldest = int(self._begin[0])
        kind = np.int32 if len(self._rows.key) <= np.iinfo(np.int32).max else np.int64
        table, first = np.empty((len(days) + 1, keys), kind), 0
        table[0] = -1
        for before, day, each in zip(table[:-1], table[1:], days, strict=True):
            day[:] = before
            day[each.key] = np.arange(first, first + len(each.key), dtype=kind)
            first += len(each.key)
        self._table = table.ravel()

    @staticmethod
    def fit(batches: list[Rows], keys: int) -> bool:
        """Return whether batches, in the order of time, are days, and fill a table well enough."""
        rows = sum(len(batch.key) for batch in batches)
        return (
            len(batches) * keys <= _SPARSE * rows
            and all(int(a.event.max()) < int(b.event.min()) for a, b in pairwise(batches))
            and all(int(np.bincount(batch.key).max()) == 1 for batch in batches)
        )

    def find(self, key: Integers, instant: Integers) -> Best:
        """Look in the day that had begun, and then in the one before."""
        place = self._days_begun(instant)
        place *= self._keys
        place += key
        row: Compact = self._table.take(place)
        event = self._rows.event.take(row)
        # Its row may have come later that day: the day before has what was known then.
        early = np.flatnonzero(event > instant)
        if len(early):
            row[early] = self._table[place[early] - self._keys]
            event[early] = self._rows.event[row[early]]
        return Best.of(self._rows, row, event)

    def _days_begun(self, instant: Integers) -> Integers:
        """Return how many days had begun: questions that are asked together are of few of them."""
        ends = np.array([instant.min(), instant.max()])
        first, last = np.searchsorted(self._begin, ends, side="right").tolist()
        if last - first > _FEW:
            return np.searchsorted(self._begin, instant, side="right")
        more = np.zeros(len(instant), np.uint8)
        for begin in self._begin[first:last]:
            more += instant >= begin
        begun = more.astype(np.int64)
        begun += first
        return begun


class Sorted:
    """Any rows, by key and by when they became known.

    Parameters
    ----------
    since
        From when on each row counts.
    """

    def __init__(self, rows: Rows, since: Integers, keys: int) -> None:
        self._rows = _with_none([rows])
        self._scale = _Scale(keys, rows.event, since)
        self._since, self._best = _best_by_then(rows, since, self._scale)
        self.oldest = int(rows.event.min())

    def find(self, key: Integers, instant: Integers) -> Best:
        """Bisect, in the order of the rows, which spares the processor's caches."""
        asked = self._scale(key, instant)
        order = order_of(asked)
        asked = asked[order]
        last = np.searchsorted(self._since, asked, side="right") - 1
        # Not before all rows, nor behind the last one of a key before.
        found = (last >= 0) & (self._since[last] >= self._scale.begin(key[order]))
        row = np.empty_like(order)
        row[order] = np.where(found, self._best[last], -1)
        return Best.of(self._rows, row)


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


def order_of(code: Integers | NDArray[np.unsignedinteger]) -> Integers:
    """Return the stable ascending order of integers that are not negative.

    NumPy sorts integers several times as fast as it finds their order, so each carries its place
    in its low bits; in four bytes where that is enough. What that cuts off is put in order after;
    little is left to do then.
    """
    bits = len(code).bit_length()
    needed = int(code.max(initial=0)).bit_length() + bits
    cut = max(needed - 63, 0)
    packed: NDArray[Any] = (code >> cut).astype(np.uint32 if needed <= 32 else np.int64)
    packed <<= bits
    packed |= np.arange(len(code), dtype=packed.dtype)
    packed.sort()
    packed &= (1 << bits) - 1
    order: Integers = packed.astype(np.int64, copy=False)
    if cut:
        nearly = code[order]
        if (nearly[1:] < nearly[:-1]).any():
            return order[np.argsort(nearly, kind="stable")]
    return order


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

    Within a group the order stays.

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
        group, count = group_of(blocks[number]), counts[number]
        order = order_of(group)
        place = (begins[number] - count.cumsum() + count).take(group.take(order))
        place += np.arange(len(place))
        put(blocks[number], order, place)

    for _ in in_threads(put_block, range(len(blocks))):
        pass
