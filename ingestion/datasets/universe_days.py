"""When the members of a universe are compared with each other: once for each day, all at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.base.instants import DAY, MICROSECONDS, day_of_date
from ingestion.datasets.questions import SLICE, Slice
from ingestion.datasets.schedule import sessions_of
from ingestion.lakehouse.membership import Membership
from ingestion.markets.sessions import by_hours

_REACH = timedelta(days=3)
"""How far a session's label may be from the UTC date of an instant in it."""


@dataclass(frozen=True)
class UniverseDays:
    """The instants at which a universe is compared, with its members then.

    Only what was known by an instant decides whether it is one: the last close of a day is the last
    one among those of the members that were known at it.

    Examples
    --------
    >>> rows = {"symbol": ["NYSE:A", "XETR:B"], "source": ["import"] * 2}
    >>> start = datetime(2021, 1, 1, tzinfo=UTC)
    >>> times = {"valid_from": [start] * 2, "valid_until": pa.nulls(2, pa.timestamp("us", "UTC"))}
    >>> known = {"event_timestamp": [start] * 2, "created_timestamp": [start] * 2}
    >>> membership = Membership.of(pa.table(rows | times | known))
    >>> week = UniverseDays(membership, None, date(2021, 3, 5), date(2021, 3, 8), until=2**62)
    >>> [str(np.datetime64(instant, "us"))[:16] for instant, _ in week.days()]
    ['2021-03-05T21:00', '2021-03-08T21:00']
    """

    membership: Membership
    at: time | None
    """A UTC time of day; the last close of the members' sessions if None."""
    first: date
    """UTC date of the first instant."""
    last: date
    """UTC date of the last instant, included."""
    until: int
    """No instant is later, Unix µs."""

    @cached_property
    def names(self) -> pa.Array:
        """All symbols that ever were members, sorted."""
        return pa.array(sorted(self.membership.names.to_pylist()), pa.string())

    def slices(self, size: int = SLICE) -> Iterator[Slice]:
        """Yield each day's members, about ``size`` at a time; a day is never divided.

        Examples
        --------
        >>> nobody = Membership.of(pa.table({name: pa.nulls(0, kind) for name, kind in {
        ...     "symbol": pa.string(), "source": pa.string(),
        ...     **dict.fromkeys(
        ...         ("valid_from", "valid_until", "event_timestamp", "created_timestamp"),
        ...         pa.timestamp("us", "UTC"),
        ...     ),
        ... }.items()}))
        >>> list(UniverseDays(nobody, None, date(2021, 3, 5), date(2021, 3, 8), 2**62).slices())
        []
        """
        codes: list[NDArray[np.int32]] = []
        instants: list[NDArray[np.int64]] = []
        for instant, members in self.days():
            codes.append(members.astype(np.int32))
            instants.append(np.full(len(members), instant, np.int64))
            if sum(map(len, codes)) >= size:
                yield Slice(np.concatenate(codes), np.concatenate(instants), self.names)
                codes, instants = [], []
        if codes:
            yield Slice(np.concatenate(codes), np.concatenate(instants), self.names)

    def days(self) -> Iterator[tuple[int, NDArray[np.intp]]]:
        """Yield each instant, Unix µs ascending, and the places of its members among ``names``."""
        places, before = by_hours(self.names.to_pylist()), -1
        for instant, ending, later in self._candidates(list(places)):
            if instant == before:
                continue  # a day that ends as another one does
            members = self._members(instant)
            if not any(members[places[key]].any() for key in ending):
                continue  # nobody has a session then
            if any(members[places[key]].any() for key in later):
                continue  # somebody's session closes later that day
            before = instant
            yield instant, np.flatnonzero(members)

    def unknown(self) -> int:
        """Return at how many instants with a session it is not known who is in the universe."""
        keys = list(by_hours(self.names.to_pylist()))
        instants = np.array([instant for instant, _, _ in self._candidates(keys)], np.int64)
        return int(np.count_nonzero(~self.membership.is_known(instants)))

    def _candidates(self, keys: list[str]) -> list[tuple[int, set[str], set[str]]]:
        """Return instants, with the hours that have one then, and those that close later that day.

        The hours are those of :func:`~ingestion.markets.sessions.by_hours`.
        """
        closes: dict[date, dict[int, set[str]]] = {}
        for key in keys:
            for session in sessions_of(key, self.first - _REACH, self.last + _REACH):
                instant = self._instant(session.label, session.closes)
                closes.setdefault(session.label, {}).setdefault(instant, set()).add(key)
        begin, end = (day_of_date(day) * DAY * MICROSECONDS for day in (self.first, self.last))
        found = []
        for of_day in closes.values():
            for instant, ending in of_day.items():
                if begin <= instant < end + DAY * MICROSECONDS and instant <= self.until:
                    later = [each for other, each in of_day.items() if other > instant]
                    found.append((instant, ending, set().union(*later)))
        return sorted(found, key=lambda each: each[0])

    def _instant(self, label: date, closes: int) -> int:
        if self.at is None:
            return closes * MICROSECONDS
        at = datetime.combine(label, self.at, UTC)
        return int(at.timestamp()) * MICROSECONDS

    def _members(self, instant: int) -> NDArray[np.bool_]:
        """Return which of the names were known to be in."""
        times = np.full(len(self.names), instant, np.int64)
        is_known = self.membership.is_known(times[:1])
        if not len(times) or not is_known[0]:
            return np.zeros(len(times), dtype=bool)
        return self.membership.was_member(self.names, np.arange(len(times)), times)
