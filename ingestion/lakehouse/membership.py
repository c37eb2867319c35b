"""Who was in a universe at an instant, as it was known then.

Two kinds of records say so. A complete answer of the scanner lists all members; it is valid until
the next one, at most for the universe's ``max_age``. Imported membership is dated: a symbol is in
from one instant to another. Where a complete answer is valid, it decides. Where none is, the
imported spans decide, from the first of them on and until the first complete answer after the
import: from then on they are no longer the newest that was known. At any other instant membership
is unknown, which is not the same as empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.base.arrow import codes_in, from_numpy, text, to_numpy
from ingestion.base.columns import INSTANT
from ingestion.base.instants import from_micros, to_micros
from ingestion.base.ordered import distinct, last_before
from ingestion.lakehouse.members import IMPORTED

_NEVER = np.iinfo(np.int64).max
"""Later than any instant."""


@dataclass(frozen=True)
class Membership:
    """Who was in a universe when; all instants are Unix µs.

    Examples
    --------
    One answer lists A and B on day 1, another one only B on day 3:

    >>> from datetime import UTC, timedelta
    >>> days = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 12)]
    >>> first, second = days[0], days[2]
    >>> rows = pa.table({
    ...     "symbol": ["NYSE:A", "NYSE:B", "NYSE:B"],
    ...     "valid_from": [first, first, second],
    ...     "valid_until": [each + timedelta(days=7) for each in (first, first, second)],
    ...     "event_timestamp": [first, first, second],
    ...     "created_timestamp": [first, first, second],
    ...     "source": ["scan"] * 3,
    ... })
    >>> membership = Membership.of(rows)
    >>> [membership.members_at(day) for day in days[1:3]]
    [['NYSE:A', 'NYSE:B'], ['NYSE:B']]
    >>> membership.members_at(days[10]) is None  # eight days later it is unknown
    True
    """

    names: pa.Array
    """All symbols that ever were members, in the order of their codes."""
    answered: NDArray[np.int64]
    """When complete answers came, ascending."""
    answered_until: NDArray[np.int64]
    """Until when each is valid at most, exclusive."""
    listed: NDArray[np.int64]
    """Sorted: number of the answer × number of names + code of each symbol that it lists."""
    spans: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    """Imported spans that do not overlap, sorted: code, from, until (exclusive)."""
    imported: tuple[int, int]
    """From and until when imported spans are the newest that is known; empty if there are none."""

    @classmethod
    def of(cls, rows: pa.Table, *, as_recorded: bool = False) -> Membership:
        """Take the rows of one universe, as :func:`~ingestion.lakehouse.read_members` returns them.

        Parameters
        ----------
        as_recorded
            Whether a row counts only from when it was written, not from when it was known.
        """
        names = pc.unique(rows["symbol"].cast(pa.string()))
        if isinstance(names, pa.ChunkedArray):
            names = names.combine_chunks()
        codes = pc.index_in(rows["symbol"].cast(pa.string()), value_set=names)
        columns = [to_numpy(codes).astype(np.int64), *map(_micros, _times(rows))]
        of_import = to_numpy(pc.equal(rows["source"], text(IMPORTED)))
        code, start, end, event, created = (each[~of_import] for each in columns)
        known = np.maximum(event, created) if as_recorded else event
        answered = distinct(known)
        number = np.searchsorted(answered, known)
        answered_until = np.empty_like(answered)
        answered_until[number] = end  # all rows of one answer say the same
        listed = distinct(number * len(names) + code)
        code, start, end, event, created = (each[of_import] for each in columns)
        known = np.maximum(event, created) if as_recorded else event
        return cls(
            names=names,
            answered=answered,
            answered_until=answered_until,
            listed=listed,
            spans=_disjoint(code, np.maximum(start, known), end),
            imported=_imported(np.maximum(start, known), end, created, answered),
        )

    def is_known(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return at which times (shape ``(n,)``) it is known who is in."""
        first, last = self.imported
        known: NDArray[np.bool_] = self._is_answered(times) | ((times >= first) & (times < last))
        return known

    def was_member(
        self, names: pa.Array, codes: NDArray[np.integer], times: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return which symbols were known to be in at which times.

        Parameters
        ----------
        names
            Symbols, of whatever string type.
        codes
            Shape ``(n,)``: positions in ``names``.
        times
            Shape ``(n,)``: Unix µs.
        """
        own = codes_in(self.names, names)[codes]
        number = np.searchsorted(self.answered, times, side="right") - 1
        keys = number * len(self.names) + own
        at = np.searchsorted(self.listed, keys)
        there = at < len(self.listed)
        is_listed = there & (np.append(self.listed, -1)[np.where(there, at, -1)] == keys)
        first, last = self.imported
        by_import = (times >= first) & (times < last) & self._is_in_span(own, times)
        member: NDArray[np.bool_] = (own >= 0) & np.where(
            self._is_answered(times), is_listed, by_import
        )
        return member

    def was_active(
        self, names: pa.Array, codes: NDArray[np.integer], times: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return which symbols were in, or may have been: where it is unknown, all."""
        active: NDArray[np.bool_] = self.was_member(names, codes, times) | ~self.is_known(times)
        return active

    def members_at(self, instant: datetime) -> list[str] | None:
        """Return who was in at an instant, sorted; None where that is unknown."""
        at = np.array([to_micros(instant)])
        if not self.is_known(at)[0]:
            return None
        codes = np.arange(len(self.names))
        is_in = self.was_member(self.names, codes, np.repeat(at, len(codes)))
        return sorted(self.names.filter(from_numpy(is_in)).to_pylist())

    def members_between(self, first: datetime, last: datetime) -> set[str]:
        """Return who was known to be in at any instant between two, both included."""
        start, end = to_micros(first), to_micros(last)
        valid = (self.answered <= end) & (self._ends_of_answers() > start)
        of_answer = self.listed // max(1, len(self.names))
        codes = set((self.listed[valid[of_answer]] % max(1, len(self.names))).tolist())
        code, begins, ends = self.spans
        begins, ends = np.maximum(begins, self.imported[0]), np.minimum(ends, self.imported[1])
        # What was imported counts where no answer decides: after one has ended, before the next.
        opens = np.append(start, np.maximum(self._ends_of_answers(), start))
        closes = np.minimum(np.append(self.answered, _NEVER), end + 1)
        for opened, closed in zip(opens.tolist(), closes.tolist(), strict=True):
            if opened < closed:
                inside = np.maximum(begins, opened) < np.minimum(ends, closed)
                codes |= set(code[inside].tolist())
        return set(self.names.take(from_numpy(np.array(sorted(codes), np.int64))).to_pylist())

    def _ends_of_answers(self) -> NDArray[np.int64]:
        """Return until when each answer decides: until the next one, or until it is too old."""
        following = np.append(self.answered[1:], _NEVER)[: len(self.answered)]
        ends: NDArray[np.int64] = np.minimum(self.answered_until, following)
        return ends

    def listed_at(self, answer: datetime) -> list[str]:
        """Return the symbols that a complete answer listed, by when it came, sorted."""
        number = int(np.searchsorted(self.answered, to_micros(answer)))
        of_answer = self.listed // max(1, len(self.names)) == number
        codes = self.listed[of_answer] % max(1, len(self.names))
        return sorted(self.names.take(from_numpy(codes)).to_pylist())

    def is_answered(self, instant: datetime) -> bool:
        """Return whether a complete answer is valid at an instant."""
        return bool(self._is_answered(np.array([to_micros(instant)]))[0])

    def answered_until_of(self, answer: datetime) -> datetime:
        """Return until when a complete answer is valid at most, by when it came."""
        number = int(np.searchsorted(self.answered, to_micros(answer)))
        return from_micros(int(self.answered_until[number]))

    def last_answer(self, instant: datetime) -> datetime | None:
        """Return when the last complete answer at or before an instant came; None before any."""
        number = int(np.searchsorted(self.answered, to_micros(instant), side="right")) - 1
        return None if number < 0 else from_micros(int(self.answered[number]))

    def _is_answered(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        number = np.searchsorted(self.answered, times, side="right") - 1
        until = np.append(self.answered_until, np.iinfo(np.int64).min)
        answered: NDArray[np.bool_] = times < until[number]
        return answered

    def _is_in_span(self, own: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.bool_]:
        code, start, end = self.spans
        at = last_before(code, start, own, times)
        found: NDArray[np.bool_] = (at >= 0) & (times < np.append(end, 0)[at])
        return found


def _times(rows: pa.Table) -> Iterable[pa.ChunkedArray]:
    never = from_numpy(np.array([_NEVER]))[0]
    until = pc.fill_null(rows["valid_until"].cast(INSTANT).cast(pa.int64()), never)
    names = ("event_timestamp", "created_timestamp")
    return (rows["valid_from"], until, *(rows[name] for name in names))


def _micros(times: pa.ChunkedArray) -> NDArray[np.int64]:
    whole = times if times.type == pa.int64() else times.cast(INSTANT).cast(pa.int64())
    micros: NDArray[np.int64] = to_numpy(whole)
    return micros


def _imported(
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    created: NDArray[np.int64],
    answered: NDArray[np.int64],
) -> tuple[int, int]:
    """Return from and until when imported spans are the newest that is known."""
    stands = start < end
    if not stands.any():
        return 0, 0
    later = answered[answered > created.max()]
    return int(start[stands].min()), int(later[0]) if len(later) else _NEVER


def _disjoint(
    code: NDArray[np.int64], start: NDArray[np.int64], end: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Put spans of one symbol that overlap or touch together; leave out those that are empty."""
    stands = start < end
    code, start, end = code[stands], start[stands], end[stands]
    order = np.lexsort((start, code))
    merged: list[list[int]] = []
    for one, first, last in zip(
        code[order].tolist(), start[order].tolist(), end[order].tolist(), strict=True
    ):
        if merged and merged[-1][0] == one and first <= merged[-1][2]:
            merged[-1][2] = max(merged[-1][2], last)
        else:
            merged.append([one, first, last])
    columns = np.array(merged, dtype=np.int64).reshape(-1, 3)
    return columns[:, 0], columns[:, 1], columns[:, 2]
