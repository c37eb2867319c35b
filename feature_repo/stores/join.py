"""The point-in-time join itself: integers in, integers out; no Arrow, no files, no Feast.

A question is a key and an instant; a row answers it if its key is the same and its event is not
after the instant. Of those the newest event wins, then the newest creation, then the highest
number; *as recorded*, only rows count that had been created by then. A winner older than the TTL
is no answer, and neither is any other row then.

1. Rows are offered in batches, best from the newest to the oldest, and wait until there are enough
   of them for a look at all open questions.
2. Batches are mostly days: apart in time, and with a row a key. Then a question's day and key lead
   to its row; a table of them has each day's rows, and what a day lacks from the days before.
3. Else rows and questions are sorted by (key, instant), which make one integer, and a bisection
   finds the last row that a question can have.
4. What a question already holds is kept unless the new row beats it; so batches may overlap in
   time, and come in any order.
5. When all rows to come are older than what a question holds, or too old for it, it is closed.

With n questions and m rows, O((n + m) log (n + m)), whatever the TTL. Only the questions stay in
memory, and rows in proportion to them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

NEVER = int(np.iinfo(np.int64).min)
"""The instant of what has none: before all others."""
FOREVER = int(np.iinfo(np.int64).max)

_ENOUGH = 2
"""A look at the open questions is worth it for a half as many rows."""
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


@dataclass(frozen=True)
class Answers:
    """Which row answers which question."""

    number: Integers
    """For each question, shape ``(n,)``; −1 where there is none."""
    created_later: int
    """Questions whose row was created after their instant."""


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
        self._ttl, self._as_recorded = ttl, as_recorded
        self._key, self._instant = key, instant
        self._event = np.full(len(key), NEVER)
        self._created = np.full(len(key), NEVER)
        self._number = np.full(len(key), -1)
        self._open = np.flatnonzero((key >= 0) & (instant != NEVER))
        self._keys = int(key.max(initial=-1)) + 1
        self._latest = int(instant[self._open].max(initial=NEVER))
        self._times = _Times(instant[self._open])
        self._waiting: list[Rows] = []

    def needs(self, first: int, last: int) -> bool:
        """Tell whether rows with events from ``first`` to ``last`` may still answer a question."""
        if self._latest < first:
            return False
        return self._ttl is None or self._times.any_between(first, min(last + self._ttl, FOREVER))

    def offer(self, rows: Rows, newest_to_come: int) -> None:
        """Let rows answer what they can.

        Parameters
        ----------
        newest_to_come
            No row of a later batch has an event after this; ``FOREVER`` if nobody knows.
        """
        self._waiting.append(rows)
        if sum(len(each.key) for each in self._waiting) * _ENOUGH >= len(self._open):
            self._look()
            self._close(newest_to_come)

    def answers(self) -> Answers:
        """Return the best rows of all that were offered."""
        self._look()
        valid = (self._number >= 0) & self._reach(self._instant, self._event)
        later = valid & (self._created > self._instant)
        return Answers(np.where(valid, self._number, -1), int(later.sum()))

    def _look(self) -> None:
        """Find for each open question the best of the rows that wait."""
        batches = [rows for rows in map(self._known, self._waiting) if len(rows.key)]
        self._waiting = []
        if not batches:
            return
        at = self._instant[self._open]
        oldest = min(int(rows.event.min()) for rows in batches)
        newest = max(int(rows.event.max()) for rows in batches)
        asked = self._open[(at >= oldest) & self._reach(at, newest)]
        key, instant = self._key[asked], self._instant[asked]
        batches.sort(key=lambda rows: int(rows.event[0]))
        rows = Rows.together(batches)
        if not self._as_recorded and _are_days(batches, self._keys):
            row = _by_day(batches, rows.event, self._keys, key, instant)
        else:
            since = np.maximum(rows.event, rows.created) if self._as_recorded else rows.event
            row = _by_bisection(rows, since, self._keys, key, instant)
        found = np.flatnonzero(row >= 0)
        self._keep_better(asked[found], rows, row[found])

    def _known(self, rows: Rows) -> Rows:
        """Leave out rows that answer nothing."""
        known = (rows.key >= 0) & (rows.key < self._keys)
        known &= (rows.event != NEVER) & (rows.event <= self._latest)
        if self._as_recorded:
            known &= (rows.created != NEVER) & (rows.created <= self._latest)
        return rows if known.all() else rows.where(known)

    def _keep_better(self, question: Integers, rows: Rows, row: Integers) -> None:
        """Give each question its row, unless it holds a better one."""
        event, held = rows.event[row], self._event[question]
        better = event > held
        tied = np.flatnonzero(event == held)
        if len(tied):
            mine, theirs = row[tied], question[tied]
            created, held = rows.created[mine], self._created[theirs]
            later = rows.number[mine] > self._number[theirs]
            better[tied] = (created > held) | ((created == held) & later)
        if not better.all():
            question, row, event = question[better], row[better], event[better]
        self._event[question] = event
        self._created[question] = rows.created[row]
        self._number[question] = rows.number[row]

    def _close(self, newest_to_come: int) -> None:
        """Leave out the questions to which no row to come is an answer."""
        at = self._instant[self._open]
        still = (self._event[self._open] <= newest_to_come) & self._reach(at, newest_to_come)
        self._open = self._open[still]
        self._latest = int(at[still].max(initial=NEVER))

    def _reach(self, instant: Integers, event: int | Integers) -> NDArray[np.bool_]:
        """Tell which instants are at most the TTL after an event."""
        if self._ttl is None:
            return np.ones(len(instant), dtype=bool)
        # The first instants that there are have no TTL before them.
        return np.maximum(instant, NEVER + self._ttl) - self._ttl <= event


def _are_days(batches: list[Rows], keys: int) -> bool:
    """Tell whether batches, by time, are apart in time and have a key once at most."""
    apart = all(int(a.event.max()) < int(b.event.min()) for a, b in pairwise(batches))
    rows = sum(len(batch.key) for batch in batches)
    return (
        apart
        and len(batches) * keys <= _SPARSE * rows
        and all(int(np.bincount(batch.key).max()) == 1 for batch in batches)
    )


def _by_day(
    days: list[Rows], event: Integers, keys: int, key: Integers, instant: Integers
) -> Integers:
    """Return for each question the place of its row among those of all days; −1 without one."""
    table = np.full((len(days) + 1, keys), -1)
    rows = np.arange(len(event))
    for day, begin in enumerate(np.cumsum([0, *(len(each.key) for each in days[:-1])]).tolist()):
        keys_of_day = days[day].key
        table[day + 1, keys_of_day] = rows[begin : begin + len(keys_of_day)]
    np.maximum.accumulate(table, axis=0, out=table)
    begun = np.searchsorted(np.array([each.event.min() for each in days]), instant, side="right")
    place = begun * keys + key
    row = table.take(place, mode="clip")
    # The day has begun, but that row came later in it: the day before has what was known then.
    early = np.flatnonzero((row >= 0) & (event.take(row, mode="clip") > instant))
    row[early] = table.take(place[early] - keys, mode="clip")
    return row


def _by_bisection(
    rows: Rows, since: Integers, keys: int, key: Integers, instant: Integers
) -> Integers:
    """Return for each question the place of its row; −1 without one."""
    scale = _Scale(keys, instant, rows.event, since)
    code, best = _best_by_then(rows, since, scale)
    asked = scale(key, instant)
    order = order_of(asked)
    asked = asked[order]
    last = np.searchsorted(code, asked, side="right") - 1
    # Not before all rows, nor behind the last one of a key before.
    found = (last >= 0) & (code[last] >= scale.begin(key[order]))
    row = np.empty_like(order)
    row[order] = np.where(found, best[last], -1)
    return row


class _Scale:
    """A key and an instant as one integer, in the order of both.

    Instants are counted from the first one. Where that does not fit for so many keys, an instant
    is the number of questions' instants before it, which orders it among the questions alone.
    """

    def __init__(self, keys: int, questions: Integers, *others: Integers) -> None:
        instants = [each for each in (questions, *others) if len(each)]
        self._first = min((int(each.min()) for each in instants), default=0)
        self._width = max((int(each.max()) for each in instants), default=0) - self._first + 1
        self._marks: Integers | None = None
        if keys * self._width > FOREVER:
            self._marks = np.unique(questions)
            self._width = len(self._marks) + 1

    def __call__(self, key: Integers, instant: Integers) -> Integers:
        code = self.begin(key)
        code += instant - self._first if self._marks is None else self._marks.searchsorted(instant)
        return code

    def begin(self, key: Integers) -> Integers:
        """Return the first integer of a key."""
        return key * self._width


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
