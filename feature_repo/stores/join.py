"""The point-in-time join itself: integers in, integers out; no Arrow, no files, no Feast.

A question is a key and an instant; a row answers it if its key is the same and its event is not
after the instant. Of those the newest event wins, then the newest creation, then the highest
number; *as recorded*, only rows count that had been created by then. A winner older than the TTL
is no answer, and neither is any other row then.

1. Questions are sorted by (key, instant), once. The questions of a key are a slice.
2. Rows are offered in batches, best from the newest to the oldest. A row is the answer, so far,
   from the first question at or after it up to the row that follows it: a bisection of the slice.
3. What a question already holds is kept unless the new row beats it; so batches may overlap in
   time, and come in any order.
4. When all rows to come are older than what the last questions of a slice hold, these are settled
   and the slice ends before them.

Rows that come in order are looked at once, and every question is answered about once: with n
questions and m rows, O((n + m) log n), whatever the TTL. Only the questions stay in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

NEVER = int(np.iinfo(np.int64).min)
"""The instant of what has none: before all others."""
FOREVER = int(np.iinfo(np.int64).max)


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
        return Rows(self.key[kept], self.event[kept], self.created[kept], self.number[kept])


@dataclass(frozen=True)
class Answers:
    """For each question the row that answers it, as arrays of shape ``(n,)``."""

    number: Integers
    """−1 where there is none."""
    created: Integers
    """Unix µs; ``NEVER`` where it is null or there is no answer."""


class AsOfJoin:
    """Questions, and the best rows for them so far.

    Parameters
    ----------
    key
        Codes from 0, shape ``(n,)``; −1 is a key that has no answer.
    instant
        Unix µs, shape ``(n,)``; ``NEVER`` has no answer.
    ttl
        How old an answer may be, µs, inclusive; None is without limit.
    as_recorded
        Whether a row counts only from its creation on.
    """

    def __init__(
        self, key: Integers, instant: Integers, *, ttl: int | None, as_recorded: bool
    ) -> None:
        self._size = len(key)
        self._ttl, self._as_recorded = ttl, as_recorded
        asked = np.flatnonzero((key >= 0) & (instant != NEVER))
        if len(asked) < len(key):
            key, instant = key[asked], instant[asked]
        self._times = _Times(instant)
        order = _sorted_by(key, instant)
        self._place = order if len(asked) == self._size else asked[order]
        self._instant = instant[order]
        counts = np.bincount(key)
        self._end = np.cumsum(counts)
        self._start = self._end - counts
        self._last = np.full(len(self._end), NEVER)
        self._find_last(np.arange(len(self._end)))
        self._event = np.full(len(order), NEVER)
        self._created = np.full(len(order), NEVER)
        self._number = np.full(len(order), -1)

    def needs(self, first: int, last: int) -> bool:
        """Tell whether rows with events from ``first`` to ``last`` may still answer a question."""
        if self._last.max(initial=NEVER) < first:
            return False
        return self._ttl is None or self._times.any_between(first, min(last + self._ttl, FOREVER))

    def offer(self, rows: Rows, newest_to_come: int) -> None:
        """Let rows answer what they can.

        Parameters
        ----------
        newest_to_come
            No row of a later batch has an event after this; ``FOREVER`` if nobody knows.
        """
        known = (rows.key >= 0) & (rows.key < len(self._end)) & (rows.event != NEVER)
        if self._as_recorded:
            known &= rows.created != NEVER
        rows = _in_order(rows if known.all() else rows.where(known))
        if not len(rows.key):
            return
        key, since, winner = rows.key, rows.event, np.arange(len(rows.key))
        if self._as_recorded:
            since = np.maximum(rows.event, rows.created)
            known_first = np.lexsort((since, key))
            # Rows are ranked by their position. Within a key, the best row known by an instant is
            # the highest rank so far; the ranks of the keys before are all lower.
            winner = np.maximum.accumulate(known_first)
            key, since = key[known_first], since[known_first]
        begin, until = self._first_at_or_after(key, since), self._end[key]
        same_key = key[1:] == key[:-1]
        until[:-1][same_key] = begin[1:][same_key]
        self._keep_better(rows, winner, begin, until - begin)
        self._settle(key, begin, rows.event[winner] > newest_to_come)

    def answers(self) -> Answers:
        """Return the best rows of all that were offered."""
        valid = self._number >= 0
        if self._ttl is not None:
            # The first instants that there are have no TTL before them.
            valid &= self._event >= np.maximum(self._instant, NEVER + self._ttl) - self._ttl
        place = self._place[valid]
        number, created = np.full(self._size, -1), np.full(self._size, NEVER)
        number[place] = self._number[valid]
        created[place] = self._created[valid]
        return Answers(number, created)

    def _first_at_or_after(self, key: Integers, instant: Integers) -> Integers:
        """Bisect each key's open questions."""
        low, high = self._start[key], self._end[key]
        while (searching := low < high).any():
            middle = (low + high) >> 1
            # What is found already may lie behind the last question.
            earlier = searching & (self._instant.take(middle, mode="clip") < instant)
            low = np.where(earlier, middle + 1, low)
            high = np.where(earlier, high, middle)
        return low

    def _keep_better(self, rows: Rows, winner: Integers, begin: Integers, counts: Integers) -> None:
        """Give each question from ``begin`` on the winner, unless it holds a better row."""
        some = np.flatnonzero(counts > 0)
        counts, begin = counts[some], begin[some]
        ends = np.cumsum(counts)
        question = np.arange(ends[-1] if len(ends) else 0) + np.repeat(
            begin - ends + counts, counts
        )
        row = np.repeat(winner[some], counts)
        better = rows.event[row] > self._event[question]
        tied = np.flatnonzero(rows.event[row] == self._event[question])
        if len(tied):
            mine, theirs = row[tied], question[tied]
            created, held = rows.created[mine], self._created[theirs]
            later = rows.number[mine] > self._number[theirs]
            better[tied] = (created > held) | ((created == held) & later)
        question, row = question[better], row[better]
        self._event[question] = rows.event[row]
        self._created[question] = rows.created[row]
        self._number[question] = rows.number[row]

    def _settle(self, key: Integers, begin: Integers, final: NDArray[np.bool_]) -> None:
        """Close the questions from a key's first final row on; events only ascend from there."""
        rows = np.flatnonzero(final)
        rows = rows[np.diff(key[rows], prepend=-1) > 0]
        self._end[key[rows]] = begin[rows]
        self._find_last(key[rows])

    def _find_last(self, key: Integers) -> None:
        """Note the latest open question of some keys."""
        some = self._end[key] > self._start[key]
        self._last[key[~some]] = NEVER
        self._last[key[some]] = self._instant[self._end[key[some]] - 1]


class _Times:
    """Roughly when questions are asked."""

    _BUCKETS = 1 << 16

    def __init__(self, instants: Integers) -> None:
        self._first = int(instants.min(initial=FOREVER))
        self._last = int(instants.max(initial=NEVER))
        self._width = max(self._last - self._first, 0) // self._BUCKETS + 1
        used = np.zeros(self._BUCKETS + 1, dtype=bool)
        buckets = (instants - self._first).view(np.uint64)
        buckets //= np.uint64(self._width)
        used[buckets.view(np.int64)] = True
        self._used = np.concatenate([[0], np.cumsum(used)])

    def any_between(self, first: int, last: int) -> bool:
        """Tell whether there may be a question; a no is certain."""
        first, last = max(first, self._first), min(last, self._last)
        if first > last:
            return False
        begin, end = (first - self._first) // self._width, (last - self._first) // self._width
        return bool(self._used[end + 1] > self._used[begin])


def _in_order(rows: Rows) -> Rows:
    """Sort by key and then from the worst to the best; files often are."""
    higher = rows.key[1:] > rows.key[:-1]
    later = (rows.key[1:] == rows.key[:-1]) & (rows.event[1:] > rows.event[:-1])
    if (higher | later).all():
        return rows
    return rows.where(np.lexsort((rows.number, rows.created, rows.event, rows.key)))


def _sorted_by(key: Integers, instant: Integers) -> Integers:
    """Return the order by key and then instant: by one integer for both, where they fit."""
    first, last = int(instant.min(initial=FOREVER)), int(instant.max(initial=NEVER))
    span = max(last - first, 0) + 1
    if (int(key.max(initial=0)) + 1) * span > FOREVER:
        return np.lexsort((instant, key))
    # Stable: questions that come by day or by key are in order for long stretches.
    both = instant - first
    both += key * span
    return np.argsort(both, kind="stable")
