"""The point-in-time join itself: integers in, integers out; no Arrow, no files, no Feast.

A question is a key and an instant; a row answers it if its key is the same and its event is not
after the instant. Of those the newest event wins, then the newest creation, then the highest
number; *as recorded*, only rows count that had been created by then. A winner older than the TTL
is no answer, and neither is any other row then.

1. Rows are offered in batches, best from the newest to the oldest, and wait until there are enough
   of them for a look at all open questions: as many as these, or a million and an eighth of them.
2. Days of rows become a table of days and keys; other rows are sorted by both. Either leads a
   question to the best row that it can have (:mod:`ingestion.plugins.offline.lookup`).
3. Questions are asked a block at a time: what is computed of them stays in a core's cache.
4. A question keeps the row that it already has unless the new row beats it; so batches may overlap
   in time, and come in any order.
5. When all rows to come are older than the row of a question, or too old for it, it is closed.

With n questions and m rows, O((n + m) log (n + m)), whatever the TTL. Only the questions stay in
memory, and rows in proportion to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingestion.plugins.offline.lookup import (
    FOREVER,
    NEVER,
    Compact,
    Days,
    Integers,
    Lookup,
    Rows,
    Sorted,
    compact,
)
from ingestion.plugins.offline.threads import in_threads

_BLOCK = 1 << 16
"""Questions that are asked at a time."""

_MANY = 1 << 20
"""Rows that wait at most for a look at the questions, or an eighth of the open ones."""


@dataclass(frozen=True)
class Answers:
    """Which row answers which question."""

    number: Integers
    """For each question, shape ``(n,)``; −1 where there is none."""
    created_later: int
    """Questions whose row was created after their instant."""


class Instants:
    """When questions are asked, and whether any is asked within a span.

    Parameters
    ----------
    instant
        Unix µs, shape ``(n,)``; ``NEVER`` has no answer.
    """

    def __init__(self, instant: Integers) -> None:
        self.instant = instant
        blocks = [instant[begin : begin + _BLOCK] for begin in range(0, len(instant), _BLOCK)]
        ends = list(in_threads(_ends, blocks))
        self._first = min((first for first, _ in ends), default=FOREVER)
        self._last = max((last for _, last in ends), default=NEVER)
        self._shift = max((self._last - self._first).bit_length() - 16, 0)
        used = np.zeros((1 << 16) + 1, dtype=bool)

        def mark(block: Integers) -> None:
            since = (np.maximum(block, self._first) - self._first).view(np.uint64)
            used[(since >> np.uint64(self._shift)).view(np.int64)] = True

        if self._first <= self._last:
            for _ in in_threads(mark, blocks):
                pass
        self._used = np.concatenate([[0], np.cumsum(used)])

    def any_between(self, first: int, last: int) -> bool:
        """Return whether there may be a question; False is certain."""
        first, last = max(first, self._first), min(last, self._last)
        if first > last:
            return False
        begin, end = (first - self._first) >> self._shift, (last - self._first) >> self._shift
        return bool(self._used[end + 1] > self._used[begin])


def _ends(instant: Integers) -> tuple[int, int]:
    """Return the first and the last instant that is one."""
    known = instant != NEVER
    if not known.all():
        instant = instant[known]
    return int(instant.min(initial=FOREVER)), int(instant.max(initial=NEVER))


class AsOfJoin:
    """Questions, and the best rows for them so far.

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
        self, key: Compact, instants: Instants, *, ttl: int | None, as_recorded: bool
    ) -> None:
        self._ttl, self._as_recorded = ttl, as_recorded
        self._instants = instants
        self._key, self._instant = key, instants.instant
        self._event = np.full(len(key), NEVER)
        self._created = np.empty_like(self._event)  # looked at where there is an event alone
        self._number = np.full(len(key), -1)
        self._open = compact(np.flatnonzero((key >= 0) & (self._instant != NEVER)))
        self._keys = int(key.max(initial=-1)) + 1
        self._latest = int(self._instant[self._open].max(initial=NEVER))
        self._waiting: list[Rows] = []
        self._waiting_rows = 0

    def needs(self, first: int, last: int) -> bool:
        """Return whether rows with events from ``first`` to ``last`` may answer a question."""
        if self._latest < first:
            return False
        last = FOREVER if self._ttl is None else min(last + self._ttl, FOREVER)
        return self._instants.any_between(first, last)

    def offer(self, rows: Rows, newest_to_come: int) -> None:
        """Let rows answer what they can.

        Parameters
        ----------
        newest_to_come
            No row of a later batch has an event after this; ``FOREVER`` if nobody knows.
        """
        self._waiting.append(rows)
        self._waiting_rows += len(rows.key)
        # A look at the questions is worth it for as many rows. If these are many, they take too
        # much memory, and too much of a core's cache, to wait for more.
        if self._waiting_rows >= min(len(self._open), max(len(self._open) // 8, _MANY)):
            self._look(newest_to_come)

    def answers(self) -> Answers:
        """Return the best rows of all that were offered; to be called once, at last."""
        self._look(NEVER)

        def count_later(begin: int) -> int:
            block = slice(begin, begin + _BLOCK)
            number, instant = self._number[block], self._instant[block]
            number[~self._reach(instant, self._event[block])] = -1
            return int(np.count_nonzero((number >= 0) & (self._created[block] > instant)))

        later = in_threads(count_later, range(0, len(self._number), _BLOCK))
        return Answers(self._number, sum(later))

    def _look(self, newest_to_come: int) -> None:
        """Ask the rows that wait, for each open question, and close those that are done."""
        lookup = self._lookup()
        oldest = lookup.rows.event.min() if lookup is not None else FOREVER
        self._waiting, self._waiting_rows = [], 0

        def ask(begin: int) -> tuple[Compact, int]:
            block = self._open[begin : begin + _BLOCK].astype(np.int64)
            instant = self._instant.take(block)  # takes half the time of indexing
            if lookup is not None:
                asked, then = _where(instant >= oldest, block, instant)
                row = lookup.find(self._key.take(asked).astype(np.int64), then)
                asked, row = _where(row >= 0, asked, row)
                self._keep_better(asked, lookup.rows, row)
            still, then = _where(self._may_improve(block, instant, newest_to_come), block, instant)
            return compact(still), int(then.max(initial=NEVER))

        asked = list(in_threads(ask, range(0, len(self._open), _BLOCK)))
        self._open = np.concatenate([self._open[:0], *(still for still, _ in asked)])
        self._latest = max((latest for _, latest in asked), default=NEVER)

    def _lookup(self) -> Lookup | None:
        """Make the rows that wait ready; None if they answer nothing."""
        batches = [rows for rows in map(self._known, self._waiting) if len(rows.key)]
        if not batches:
            return None
        batches.sort(key=lambda rows: int(rows.event[0]))
        if not self._as_recorded and Days.fit(batches, self._keys):
            return Days(batches, self._keys)
        rows = Rows.together(batches)
        since = np.maximum(rows.event, rows.created) if self._as_recorded else rows.event
        return Sorted(rows, since, self._keys)

    def _known(self, rows: Rows) -> Rows:
        """Leave out rows that answer nothing."""
        known = (rows.key >= 0) & (rows.key < self._keys)
        known &= (rows.event != NEVER) & (rows.event <= self._latest)
        if self._as_recorded:
            known &= (rows.created != NEVER) & (rows.created <= self._latest)
        return rows if known.all() else rows.where(known)

    def _keep_better(self, question: Integers, rows: Rows, row: Compact) -> None:
        """Give each question its row, unless it has a better one."""
        event, kept = rows.event.take(row), self._event.take(question)
        better = event > kept
        tied = np.flatnonzero(event == kept)
        if len(tied):
            mine, theirs = row[tied], question[tied]
            created, kept = rows.created[mine], self._created[theirs]
            later = rows.number[mine] > self._number[theirs]
            better[tied] = (created > kept) | ((created == kept) & later)
        if not better.all():
            question, row, event = question[better], row[better], event[better]
        self._event[question] = event
        self._created[question] = rows.created.take(row)
        self._number[question] = rows.number.take(row)

    def _may_improve(
        self, question: Integers, instant: Integers, newest_to_come: int
    ) -> NDArray[np.bool_]:
        """Return for which questions a row to come may be an answer."""
        return self._reach(instant, newest_to_come) & (self._event.take(question) <= newest_to_come)

    def _reach(self, instant: Integers, event: int | Integers) -> NDArray[np.bool_]:
        """Return which instants are at most the TTL after an event."""
        if self._ttl is None:
            return np.ones(len(instant), dtype=bool)
        # The first instants that there are have no TTL before them.
        return np.maximum(instant, NEVER + self._ttl) - self._ttl <= event


def _where(kept: NDArray[np.bool_], *arrays: NDArray[Any]) -> Sequence[NDArray[Any]]:
    """Return some places of arrays: without a copy if these are all."""
    return arrays if kept.all() else [array[kept] for array in arrays]
