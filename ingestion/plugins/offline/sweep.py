"""The point-in-time join of many keys at few instants: one sweep through time.

The rules are those of :mod:`ingestion.plugins.offline.join`. Where thousands of keys are asked
about at one instant, as a panel does, no row is searched for: rows are taken in the order in which
they begin to count, each key keeps its best row so far, and at each instant its keys are looked up
there. What is computed at an instant stays in a core's cache.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ingestion.plugins.offline.join import Answers, Instants
from ingestion.plugins.offline.lookup import (
    FOREVER,
    NEVER,
    Compact,
    Integers,
    Rows,
    oldest_valid,
    wins_tie,
)

_AT_ONCE = 64
"""Questions at each instant, on average, from which on a sweep is worth it."""


class Decisions:
    """A few instants in ascending order, at each of which many questions are asked.

    Parameters
    ----------
    instant
        Of each question, Unix µs, shape ``(n,)``, ascending.
    begins
        Where another instant begins, shape ``(k,)``.
    """

    def __init__(self, instant: Integers, begins: Integers) -> None:
        self.instant, self.begins = instant, begins
        self.distinct = instant[begins]
        self._listed: list[int] = self.distinct.tolist()

    def any_between(self, first: int, last: int) -> bool:
        """Return whether there is a question."""
        at = bisect_left(self._listed, first)  # of one number, a tenth of NumPy's time
        return at < len(self._listed) and self._listed[at] <= last


def decisions_of(instant: Integers) -> Decisions | Instants:
    """Return when questions are asked, as the join that suits them takes it.

    Examples
    --------
    >>> at = np.repeat([10, 20], 100)
    >>> type(decisions_of(at)).__name__, type(decisions_of(at[::-1])).__name__
    ('Decisions', 'Instants')
    """
    steps = instant[1:] != instant[:-1]
    begins = np.append(0, np.flatnonzero(steps) + 1)
    if not len(instant) or len(begins) * _AT_ONCE > len(instant):
        return Instants(instant)
    distinct = instant[begins]
    if distinct[0] == NEVER or (distinct[1:] < distinct[:-1]).any():
        return Instants(instant)
    return Decisions(instant, begins)


@dataclass(frozen=True)
class _Swept:
    """What a sweep has found."""

    number: Integers
    """Of each question's row, shape ``(n,)``; −1 where there is none."""
    created_later: int
    """Questions whose row was created after their instant."""
    oldest: Integers
    """At each instant, the oldest event of a best row; ``NEVER`` where a key has none."""


class Sweep:
    """Questions, and the rows that may answer them.

    Parameters
    ----------
    key
        Codes from 0, shape ``(n,)``; −1 is a key that has no answer.
    ttl
        How old an answer may be, µs, inclusive; None is without limit.
    as_recorded
        Whether a row counts only from its creation on.
    """

    def __init__(
        self, key: Compact, decisions: Decisions, *, ttl: int | None, as_recorded: bool
    ) -> None:
        self._key, self._decisions = key, decisions
        self._ttl, self._as_recorded = ttl, as_recorded
        self._keys = int(key.max(initial=-1)) + 1
        self._latest = int(decisions.distinct[-1])
        self._last = self._latest
        self._taken: list[Rows] = []
        self._count, self._look_at = 0, len(key)
        self._swept: _Swept | None = None

    def needs(self, first: int, last: int) -> bool:
        """Return whether rows with events from ``first`` to ``last`` may answer a question."""
        if self._latest < first:
            return False
        last = FOREVER if self._ttl is None else min(last + self._ttl, FOREVER)
        return self._decisions.any_between(first, last)

    def offer(self, rows: Rows, newest_to_come: int) -> None:
        """Let rows answer what they can.

        Parameters
        ----------
        newest_to_come
            No row of a later batch has an event after this; ``FOREVER`` if nobody knows.
        """
        if self._latest == NEVER:
            return  # read ahead of the look that closed all questions
        known = (rows.key >= 0) & (rows.key < self._keys)
        known &= (rows.event != NEVER) & (rows.event <= self._last)
        if self._as_recorded:
            known &= (rows.created != NEVER) & (rows.created <= self._last)
        if not known.all():
            rows = rows.where(known)
        if not len(rows.key):
            return
        self._taken.append(rows)
        self._count += len(rows.key)
        self._swept = None
        if self._count >= self._look_at:
            self._look_at *= 2
            self._latest = self._latest_open(newest_to_come)

    def answers(self) -> Answers:
        """Return the best rows of all that were offered."""
        swept = self._sweep()
        return Answers(swept.number, None, swept.created_later)

    def _latest_open(self, newest_to_come: int) -> int:
        """Return the last instant of a question that a row to come may answer, or better."""
        may = self._sweep().oldest <= newest_to_come
        may &= self._reach(self._decisions.distinct) <= newest_to_come
        return int(self._decisions.distinct[may].max(initial=NEVER))

    def _sweep(self) -> _Swept:
        if self._swept is None:
            self._swept = self._found()
        return self._swept

    def _found(self) -> _Swept:
        distinct, begins = self._decisions.distinct, self._decisions.begins.tolist()
        best, later = _Best(self._keys), 0
        number, oldest = np.empty(len(self._key), np.int64), np.empty_like(distinct)
        blocks = map(slice, begins, [*begins[1:], len(number)])
        instants = zip(distinct.tolist(), self._reach(distinct).tolist(), strict=True)
        for place, ((instant, reach), block, new) in enumerate(
            zip(instants, blocks, self._beginning(), strict=True)
        ):
            for rows in new:
                best.add(rows)
            key = self._key[block]
            event, row = best.event.take(key, mode="wrap"), best.number.take(key, mode="wrap")
            asked = event if key.min() >= 0 else event[key >= 0]
            oldest[place] = asked.min(initial=FOREVER)
            if oldest[place] < reach:
                row[event < reach] = -1
            if best.newest > instant:
                created = best.created.take(key, mode="wrap")
                later += int(np.count_nonzero((row >= 0) & (created > instant)))
            number[block] = row
        return _Swept(number, later, oldest)

    def _beginning(self) -> list[list[Rows]]:
        """Return the rows that count from each decision on, in batches."""
        distinct = self._decisions.distinct
        begin: list[list[Rows]] = [[] for _ in distinct]
        for rows in self._taken:
            since = np.maximum(rows.event, rows.created) if self._as_recorded else rows.event
            first, last = np.searchsorted(distinct, [since.min(), since.max()]).tolist()
            if first == last:  # as of a date's rows: one session's, and its decision
                begin[first].append(rows)
                continue
            at = np.searchsorted(distinct, since)
            order = np.argsort(at, kind="stable")
            cuts = np.searchsorted(at[order], np.arange(first, last + 2))
            for place, (start, end) in enumerate(pairwise(cuts.tolist()), start=first):
                if end > start:
                    begin[place].append(rows.where(order[start:end]))
        return begin

    def _reach(self, instant: Integers) -> Integers:
        """Return how old an answer may be at most at each instant."""
        if self._ttl is None:
            return np.full(len(instant), NEVER)
        return oldest_valid(instant, self._ttl)


class _Best:
    """The best row of each key so far; the last place is that of no key, which has none."""

    def __init__(self, keys: int) -> None:
        self.event = np.full(keys + 1, NEVER)
        self.created = np.full(keys + 1, NEVER)
        self.number = np.full(keys + 1, -1)
        self.newest = NEVER
        """The last creation of all rows so far."""

    def add(self, rows: Rows) -> None:
        """Take rows in any order."""
        rows = _from_worst_to_best(rows)
        kept = self.event.take(rows.key)
        better = rows.event > kept
        if not better.all():
            tied = np.flatnonzero(rows.event == kept)
            key = rows.key[tied]
            better[tied] = wins_tie(
                rows.created[tied], rows.number[tied], self.created[key], self.number[key]
            )
            rows = rows.where(better)
        # The last one of a key's stays, which is its best.
        self.event[rows.key] = rows.event
        self.created[rows.key] = rows.created
        self.number[rows.key] = rows.number
        self.newest = max(self.newest, int(rows.created.max(initial=NEVER)))


def _from_worst_to_best(rows: Rows) -> Rows:
    """Return rows in an order in which, of each key, the best one is the last."""
    if (rows.key[1:] > rows.key[:-1]).all():  # each key has one
        return rows
    return rows.where(np.lexsort((rows.number, rows.created, rows.event)))
