"""The point-in-time join of many keys at few instants: one sweep through time.

The rules are those of :mod:`ingestion.plugins.offline.join`. Where thousands of keys are asked
about at one instant, as a panel does, no row is searched for: rows are taken in the order in which
they begin to count, each key keeps its best row so far, and at each instant its keys are looked up
there. What is computed at an instant stays in a core's cache.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ingestion.plugins.offline.join import Answers, Instants
from ingestion.plugins.offline.lookup import FOREVER, NEVER, Compact, Integers, Rows

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

    def any_between(self, first: int, last: int) -> bool:
        """Return whether there is a question."""
        return bool(
            np.searchsorted(self.distinct, first) < np.searchsorted(self.distinct, last, "right")
        )


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
        self._swept: tuple[Rows, Compact] | None = None

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
        self._taken.append(rows if known.all() else rows.where(known))
        self._count += len(self._taken[-1].key)
        self._swept = None
        if self._count >= self._look_at:
            self._look_at *= 2
            self._latest = self._latest_open(newest_to_come)

    def answers(self) -> Answers:
        """Return the best rows of all that were offered."""
        rows, row = self._sweep()
        number = np.append(rows.number, -1)[row]
        created = np.append(rows.created, NEVER)[row]
        later = (number >= 0) & (created > self._decisions.instant)
        return Answers(number, None, int(np.count_nonzero(later)))

    def _latest_open(self, newest_to_come: int) -> int:
        """Return the last instant of a question that a row to come may answer, or better."""
        rows, row = self._sweep()
        instant = self._decisions.instant
        may = np.append(rows.event, NEVER)[row] <= newest_to_come
        may &= self._key >= 0
        if self._ttl is not None:
            may &= np.maximum(instant, NEVER + self._ttl) - self._ttl <= newest_to_come
        return int(instant[may].max(initial=NEVER))

    def _sweep(self) -> tuple[Rows, Compact]:
        """Return the rows, and for each question the place of its row; none is behind the last."""
        if self._swept is not None:
            return self._swept
        rows, at = self._in_order()
        none = len(rows.key)
        event = np.append(rows.event, NEVER)
        created, number = np.append(rows.created, NEVER), np.append(rows.number, -1)
        best = np.full(self._keys + 1, none, np.int32)  # the last one is that of no key
        found = np.empty(len(self._key), np.int32)
        distinct, begins = self._decisions.distinct, self._decisions.begins.tolist()
        ends = np.searchsorted(at, np.arange(len(distinct)), side="right").tolist()
        first = 0
        for instant, end, begin, until in zip(
            distinct.tolist(), ends, begins, [*begins[1:], len(found)], strict=True
        ):
            if end > first:
                new = np.arange(first, end, dtype=np.int32)
                key = rows.key[first:end]
                kept = best[key]
                better = event[first:end] > event[kept]
                if not better.all():
                    tied = np.flatnonzero(event[first:end] == event[kept])
                    better[tied] = _later(created, number, new[tied], kept[tied])
                    key, new = key[better], new[better]
                best[key] = new  # the last one of a key's, which is its best
                first = end
            row = best.take(self._key[begin:until], mode="wrap")
            if self._ttl is not None:
                row[event.take(row) < max(instant, NEVER + self._ttl) - self._ttl] = none
            found[begin:until] = row
        self._swept = rows, found
        return self._swept

    def _in_order(self) -> tuple[Rows, Integers]:
        """Return the rows by the decision from which on they count, from worst to best.

        And the number of that decision.
        """
        if not self._taken:
            return Rows(*[np.empty(0, np.int64)] * 4), np.empty(0, np.int64)
        self._taken.sort(key=lambda rows: int(rows.event.min(initial=FOREVER)))
        rows = Rows.together(self._taken)
        self._taken = [rows]
        since = np.maximum(rows.event, rows.created) if self._as_recorded else rows.event
        at = np.searchsorted(self._decisions.distinct, since)
        if not _is_sorted(at, rows.event, rows.created, rows.number):
            order = np.lexsort((rows.number, rows.created, rows.event, at))
            rows, at = rows.where(order), at[order]
            self._taken = [rows]
        return rows, at


def _later(created: Integers, number: Integers, new: Compact, kept: Compact) -> NDArray[np.bool_]:
    """Return which new rows beat those of the same event that are kept."""
    mine, theirs = created[new], created[kept]
    later: NDArray[np.bool_] = (mine > theirs) | ((mine == theirs) & (number[new] > number[kept]))
    return later


def _is_sorted(*columns: Integers) -> bool:
    """Return whether rows are in the order of their columns, the first one before the others."""
    tied = np.ones(max(len(columns[0]) - 1, 0), dtype=bool)
    for column in columns:
        step = column[1:] >= column[:-1]
        if not (step | ~tied).all():
            return False
        tied &= column[1:] == column[:-1]
        if not tied.any():
            break
    return True
