"""The point-in-time join itself: integers in, integers out; no Arrow, no files, no Feast.

A question is a key and an instant; a row answers it if its key is the same and its event is not
after the instant. Of those the newest event wins, then the newest creation, then the highest
number; *as recorded*, only rows count that had been created by then. A winner older than the TTL
is no answer, and neither is any other row then.

1. Rows are offered in batches, best from the newest to the oldest, and wait until there are enough
   of them for a look at all open questions.
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


@dataclass(frozen=True)
class Answers:
    """Which row answers which question."""

    number: Integers
    """For each question, shape ``(n,)``; −1 where there is none."""
    created_later: int
    """Questions whose row was created after their instant."""


class Instants:
    """When questions are asked: in rough order, and whether any is asked within a span.

    Parameters
    ----------
    instant
        Unix µs, shape ``(n,)``; ``NEVER`` has no answer.
    """

    def __init__(self, instant: Integers) -> None:
        known = instant != NEVER
        self._first = int(instant.min(where=known, initial=FOREVER))
        self._last = int(instant.max(where=known, initial=NEVER))
        span = max(self._last - self._first, 0)
        self._shift = max(span.bit_length() - 16, 0)
        since = (np.maximum(instant, self._first) - self._first).view(np.uint64)
        since >>= np.uint64(self._shift)
        bucket = since.astype(np.uint16)
        used = np.zeros((1 << 16) + 1, dtype=bool)
        used[bucket] = True
        self._used = np.concatenate([[0], np.cumsum(used)])
        bucket >>= 8
        self.order = compact(np.argsort(bucket.astype(np.uint8), kind="stable"))
        """The order of the instants' 256ths: integers of one byte are sorted by radix."""
        self._instant = instant

    @property
    def sorted(self) -> Integers:
        """The instants in that order."""
        return self._instant[self.order]

    def any_between(self, first: int, last: int) -> bool:
        """Return whether there may be a question; False is certain."""
        first, last = max(first, self._first), min(last, self._last)
        if first > last:
            return False
        begin, end = (first - self._first) >> self._shift, (last - self._first) >> self._shift
        return bool(self._used[end + 1] > self._used[begin])


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
        # Questions of one time ask the same rows, which then stay in a core's cache.
        self._key, self._instant = key, instant = key[instants.order], instants.sorted
        self._event = np.full(len(key), NEVER)
        self._created = np.full(len(key), NEVER)
        self._number = np.full(len(key), -1)
        self._open = np.flatnonzero((key >= 0) & (instant != NEVER))
        self._keys = int(key.max(initial=-1)) + 1
        self._latest = int(instant[self._open].max(initial=NEVER))
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
        # A look at the questions is worth it for as many rows.
        if self._waiting_rows >= len(self._open):
            self._look(newest_to_come)

    def answers(self) -> Answers:
        """Return the best rows of all that were offered."""
        self._look(NEVER)
        valid = (self._number >= 0) & self._reach(self._instant, self._event)
        later = valid & (self._created > self._instant)
        number = np.empty_like(self._number)
        number[self._instants.order] = np.where(valid, self._number, -1)
        return Answers(number, int(later.sum()))

    def _look(self, newest_to_come: int) -> None:
        """Ask the rows that wait, for each open question, and close those that are done."""
        lookup = self._lookup()
        oldest = lookup.rows.event.min() if lookup is not None else FOREVER
        self._waiting, self._waiting_rows = [], 0

        def ask(begin: int) -> Integers:
            block = self._open[begin : begin + _BLOCK]
            asked = _where(self._instant[block] >= oldest, block)[0]
            if lookup is not None and len(asked):
                key = self._key[asked].astype(np.int64)
                row = lookup.find(key, self._instant[asked])
                question, row = _where(row >= 0, asked, row)
                self._keep_better(question, lookup.rows, row)
            return block[self._may_improve(block, newest_to_come)]

        still = in_threads(ask, range(0, len(self._open), _BLOCK))
        self._open = np.concatenate([self._open[:0], *still])
        self._latest = int(self._instant[self._open].max(initial=NEVER))

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
        return Sorted(rows, since, self._instant[self._open], self._keys)

    def _known(self, rows: Rows) -> Rows:
        """Leave out rows that answer nothing."""
        known = (rows.key >= 0) & (rows.key < self._keys)
        known &= (rows.event != NEVER) & (rows.event <= self._latest)
        if self._as_recorded:
            known &= (rows.created != NEVER) & (rows.created <= self._latest)
        return rows if known.all() else rows.where(known)

    def _keep_better(self, question: Integers, rows: Rows, row: Integers) -> None:
        """Give each question its row, unless it has a better one."""
        event, kept = rows.event[row], self._event[question]
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
        self._created[question] = rows.created[row]
        self._number[question] = rows.number[row]

    def _may_improve(self, question: Integers, newest_to_come: int) -> NDArray[np.bool_]:
        """Return for which questions a row to come may be an answer."""
        reach = self._reach(self._instant[question], newest_to_come)
        return reach & (self._event[question] <= newest_to_come)

    def _reach(self, instant: Integers, event: int | Integers) -> NDArray[np.bool_]:
        """Return which instants are at most the TTL after an event."""
        if self._ttl is None:
            return np.ones(len(instant), dtype=bool)
        # The first instants that there are have no TTL before them.
        return np.maximum(instant, NEVER + self._ttl) - self._ttl <= event


def _where(kept: NDArray[np.bool_], *arrays: Integers) -> Sequence[Integers]:
    """Return some places of arrays: without a copy if these are all."""
    return arrays if kept.all() else [array[kept] for array in arrays]
