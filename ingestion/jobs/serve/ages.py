"""When the rows were known that a join has found: the age of each group's values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta

import numpy as np
from numpy.typing import NDArray

from ingestion.base.arrow import codes_in, strings, to_numpy
from ingestion.base.instants import from_micros, to_micros
from ingestion.base.reading import reading_again
from ingestion.catalog import FeatureGroup
from ingestion.lakehouse import Lakehouse, list_parts, read_part
from ingestion.plugins.offline.join import AsOfJoin, Instants
from ingestion.plugins.offline.lookup import Rows

NEVER = -1
"""Stands for "no row"."""
_SECOND, _DAY = map(to_micros, (timedelta(seconds=1), timedelta(days=1)))


def ages_at(
    lakehouse: Lakehouse,
    group: FeatureGroup,
    symbols: Sequence[str],
    instants: NDArray[np.int64],
    *,
    as_recorded: bool = False,
    known_at: datetime | None = None,
) -> NDArray[np.int64]:
    """Return how old the row is that each question gets, in whole seconds; ``NEVER`` without one.

    The search is the offline store's own, of keys and times alone: an age is always that of the row
    whose values are joined.

    Parameters
    ----------
    symbols, instants
        Shape ``(n,)``: whose row is asked for, and when, Unix µs.
    as_recorded
        Count only rows that had been written by then.
    known_at
        Rows that were written later than this are not there; None for all.

    Raises
    ------
    CorruptPart
        If a part cannot be read.
    """
    if not len(instants):
        return np.empty(0, dtype=np.int64)
    asked = strings(symbols).dictionary_encode()
    codes, known = to_numpy(asked.indices), asked.dictionary
    questions, ttl = Instants(instants), to_micros(group.ttl)
    earliest = from_micros(int(instants.min())) - group.ttl

    def read() -> NDArray[np.int64]:
        join = AsOfJoin(codes, questions, ttl=ttl, as_recorded=as_recorded)
        events, count = [], 0
        for part in reversed(list_parts(lakehouse, group, earliest.date())):
            midnight = to_micros(datetime.combine(part.date, time.min))
            last = midnight + _DAY - 1
            if not join.needs(midnight, last):
                continue
            table = read_part(part, group, ["symbol", group.event, "created_timestamp"])
            key = codes_in(known, table["symbol"])
            event, created = (to_numpy(table[name]) for name in table.column_names[1:])
            if known_at is not None:
                key = np.where(created <= to_micros(known_at), key, -1)
            number = np.arange(count, count + len(event))
            join.offer(Rows(key, event, created, number), last)
            events.append(event)
            count += len(event)
        number = join.answers().number
        if not events:
            return np.full(len(instants), NEVER)
        age = (instants - np.concatenate(events)[number]) // _SECOND
        return np.where(number < 0, NEVER, age)

    return reading_again(read)
