"""The point-in-time join itself: integers in, integers out; no Arrow, no files, no Feast.

A question is a key and an instant; a row answers it if its key is the same and its event is not
after the instant. Of those the newest event wins, then the newest creation, then the highest
number; *as recorded*, only rows count that had been created by then. A winner older than the TTL
is no answer, and neither is any other row then.

1. Rows are offered in batches, best from the newest to the oldest, and wait until there are enough
   of them for a look at the questions: as many as have no answer, or 262,144 and an eighth of the
   open ones, which are asked again.
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
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ingestion.plugins.offline.lookup import (
    FOREVER,
    NEVER,
    Best,
    Compact,
    Days,
    Integers,
    Lookup,
    Rows,
    Sorted,
    compact,
    counts_of,
    in_groups,
    no_places,
    oldest_valid,
)
from ingestion.plugins.offline.threads import blocks_of, in_threads

_BLOCK = 1 << 16
"""Questions that are asked at a time."""

_MANY = 1 << 18
"""Rows that wait at most for a look at the questions, or an eighth of the open ones. So many and
their table fit into a core's cache."""

_SPAN_BITS = 16
_SPANS = 6
"""In bits. Questions of so many spans of time are one group; of years, a group is about a day."""
_GROUPS = 1 << (_SPAN_BITS - _SPANS)


@dataclass(frozen=True)
class Answers:
    """Which row answers which question."""

    row: Integers
    """The number of each question's row, shape ``(n,)``; −1 where there is none."""
    question: Compact | None
    """Whose rows these are, shape ``(n,)``: about in the order of time. None for each in turn."""
    created_later: int
    """Questions whose row was created after their instant."""

    @property
    def number(self) -> Integers:
        """The number of each question's row, in the order of the questions."""
        if self.question is None:
            return self.row
        number = np.empty_like(self.row)
        number[self.question] = self.row
        return number


class Instants:
    """When questions are asked: their order in time, and whether any is asked within a span.

    Parameters
    ----------
    instant
        Unix µs, shape ``(n,)``; ``NEVER`` has no answer.
    """

    def __init__(self, instant: Integers) -> None:
        self.instant = instant
        self._blocks = blocks_of(len(instant), _BLOCK)
        ends = list(in_threads(lambda block: _ends(instant[block]), self._blocks))
        self._first = min((first for first, _ in ends), default=FOREVER)
        self._last = max((last for _, last in ends), default=NEVER)
        self._shift = max((self._last - self._first).bit_length() - _SPAN_BITS, 0)
        used = np.zeros((1 << _SPAN_BITS) + 1, dtype=bool)

        def group(block: slice) -> NDArray[np.uint16]:
            span = self._span(instant[block])
            used[span] = True
            return self._group(block, span)

        self._counts = counts_of(self._blocks, _GROUPS + 1, group)
        counts = self._counts.sum(axis=0)
        self._begins = np.cumsum(counts) - counts
        self._used = np.concatenate([[0], np.cumsum(used)])

    def in_order(self, key: Compact) -> tuple[Compact, Compact, Integers]:
        """Return the questions as exactly in the order of time as groups are; ``NEVER`` first.

        It is made anew each time: to keep it takes memory that others need.

        Parameters
        ----------
        key
            Of each question, shape ``(n,)``.

        Returns
        -------
        tuple
            The questions, and their keys and instants, in that order.
        """
        order, keys = no_places(len(key)), np.empty_like(key)
        instants = np.empty_like(self.instant)

        def put(block: slice, in_block: Integers, place: Integers) -> None:
            order[place] = (in_block + block.start).astype(order.dtype)  # else it takes three times
            keys[place] = key[block].take(in_block)
            instants[place] = self.instant[block].take(in_block)

        def group(block: slice) -> NDArray[np.uint16]:
            return self._group(block, self._span(self.instant[block]))

        in_groups(self._blocks, self._counts, group, put)
        return order, keys, instants

    def _group(self, block: slice, span: Integers) -> NDArray[np.uint16]:
        """Return the groups of questions by their spans: 1 is the first in time, 0 ``NEVER``."""
        number = (span >> _SPANS).astype(np.uint16)
        number += 1
        number[self.instant[block] == NEVER] = 0
        return number

    @property
    def unknown(self) -> int:
        """How many are ``NEVER``: the first ones in order."""
        return int(self._begins[1])

    def since(self, instant: int) -> int:
        """Return the place in order before which no question is at or after an instant."""
        if instant > self._last:
            return len(self.instant)
        oldest = self._span(np.array([max(instant, self._first)]))[0] >> _SPANS
        return int(self._begins[1 + oldest])

    def until(self, place: int) -> int:
        """Return an instant after which none of the first so many in order is asked."""
        group = int(np.searchsorted(self._begins, place)) - 1  # the last one that begins before
        end = self._first + (group << (_SPANS + self._shift)) - 1
        return NEVER if group < 1 else min(end, self._last)

    def _span(self, instant: Integers) -> Integers:
        """Return which span of time each is in; ``NEVER`` in the first one."""
        since = (np.maximum(instant, self._first) - self._first).view(np.uint64)
        since >>= np.uint64(self._shift)
        return since.view(np.int64)

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


@dataclass(frozen=True)
class _Open:
    """Questions that were asked, and that a row to come may answer, or answer better."""

    question: Compact
    """Places in order, shape ``(k,)``."""
    best: Best
    """What they have so far."""

    @staticmethod
    def together(parts: Sequence[_Open]) -> _Open:
        """Return all of them."""
        none = np.empty(0, np.int64)
        return _Open(
            np.concatenate([none.astype(np.int32), *(part.question for part in parts)]),
            Best(
                np.concatenate([none, *(part.best.event for part in parts)]),
                np.concatenate([none, *(part.best.created for part in parts)]),
                np.concatenate([none, *(part.best.number for part in parts)]),
            ),
        )


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
        # In order of time: what is looked at together lies together, questions as well as rows.
        self._order, self._key, self._instant = instants.in_order(key)
        if (self._key < 0).any():  # asked at no time, they have no answer
            self._instant = np.where(self._key < 0, NEVER, self._instant)
            self._key = np.maximum(self._key, 0)
        self._keys = int(key.max(initial=-1)) + 1
        self._latest = int(self._instant.max(initial=NEVER))
        self._number = self._instant
        """Of closed questions the numbers of their rows, in the place of their instants."""
        self._later = 0
        self._asked = len(key)  # from this place on
        self._open = _Open.together([])
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
        # Each look asks the open questions again, which is worth it for an eighth as many rows. If
        # there are few, rows wait until a core's cache is full of them.
        still = len(self._open.question) + self._asked - self._instants.unknown
        if self._waiting_rows >= min(still, max(len(self._open.question) // 8, _MANY)):
            self._look(newest_to_come)

    def answers(self) -> Answers:
        """Return the best rows of all that were offered; to be called once, at last."""
        self._look(NEVER)  # closes all that have a row
        self._number[: self._asked] = -1
        self._number[self._open.question] = -1
        return Answers(self._number, self._order, self._later)

    def _look(self, newest_to_come: int) -> None:
        """Ask the rows that wait, for each open question, and close those that are done."""
        lookup = self._lookup()
        self._waiting, self._waiting_rows = [], 0
        ask_again = partial(self._ask_again, lookup, newest_to_come)
        looked = [*in_threads(ask_again, blocks_of(len(self._open.question), _BLOCK))]
        if lookup is not None:
            ask_first = partial(self._ask_first, lookup, newest_to_come)
            first = min(self._asked, self._instants.since(lookup.oldest))
            blocks = blocks_of(self._asked - first, _BLOCK)
            looked += in_threads(
                ask_first, (slice(first + each.start, first + each.stop) for each in blocks)
            )
            self._asked = first
        self._open = _Open.together([still for still, _ in looked])
        self._later += sum(later for _, later in looked)
        self._latest = max(
            int(self._instant.take(self._open.question).max(initial=NEVER)),
            self._instants.until(self._asked),
        )

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

    def _ask_again(
        self, lookup: Lookup | None, newest_to_come: int, block: slice
    ) -> tuple[_Open, int]:
        """Ask for questions that may have a row."""
        question = self._open.question[block].astype(np.int64)
        best = self._open.best.take(block)
        instant = self._instant.take(question)  # takes half the time of indexing
        if lookup is not None:
            key = self._key.take(question).astype(np.int64)
            best = best.or_better(lookup.find(key, instant))
        return self._close(question, instant, best, newest_to_come)

    def _ask_first(self, lookup: Lookup, newest_to_come: int, block: slice) -> tuple[_Open, int]:
        """Ask for questions that have no row yet; most close at once."""
        instant = self._instant[block]
        best = lookup.find(self._key[block].astype(np.int64), instant)
        return self._close(block, instant, best, newest_to_come)

    def _close(
        self, question: slice | Integers, instant: Integers, best: Best, newest_to_come: int
    ) -> tuple[_Open, int]:
        """Close questions whose best rows no row to come can beat.

        Returns
        -------
        tuple
            Those that are open still, and of how many others the row was created later.
        """
        may = best.event <= newest_to_come
        may &= instant != NEVER
        later, number = best.created > instant, best.number
        if self._ttl is not None:
            oldest = oldest_valid(instant, self._ttl)
            may &= oldest <= newest_to_come
            valid = oldest <= best.event
            later &= valid
            number = np.where(valid, number, -1)
        still = np.flatnonzero(may)
        places = still + question.start if isinstance(question, slice) else question[still]
        opened = _Open(compact(places), best.take(still))
        later[still], number[still] = False, instant[still]
        self._number[question] = number
        return opened, int(np.count_nonzero(later))
