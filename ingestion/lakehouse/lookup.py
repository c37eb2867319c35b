"""When was a symbol last seen: questions that need the keys alone, not the features."""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple

from ingestion.base.reading import reading_again
from ingestion.catalog import Dataset, FeatureGroup
from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.parts import list_parts, read_part, utc_date


def newest_between(lakehouse: Lakehouse, dataset: Dataset, first: int, last: int) -> dict[str, int]:
    """Return each symbol's newest ``timestamp`` from ``first`` to ``last``, inclusive, Unix s."""

    def look() -> dict[str, int]:
        newest: dict[str, int] = {}
        for part in list_parts(lakehouse, dataset, utc_date(first)):
            if part.date > utc_date(last):
                break
            rows = read_part(part, dataset, ["symbol", "timestamp"]).to_pydict()
            for symbol, timestamp in zip(*rows.values(), strict=True):
                if first <= timestamp <= last:
                    newest[symbol] = max(timestamp, newest.get(symbol, timestamp))
        return newest

    return reading_again(look)


class Known(NamedTuple):
    """The times of a row: when it became knowable, when it was written, and its bar's open."""

    event: datetime
    created: datetime
    bar: datetime | None


def newest_known(
    lakehouse: Lakehouse,
    group: FeatureGroup,
    at: datetime,
    symbols: set[str],
    as_recorded: bool = True,
    since: date = date.min,
) -> dict[str, Known]:
    """Return the times of each symbol's newest row at an instant.

    The newest event that is not after ``at`` decides, then the newest created. Walks the partitions
    backwards and stops when every symbol is found, so a symbol that is nowhere costs the whole way.

    Parameters
    ----------
    as_recorded
        Count only rows that had been written by then, as this installation knew it; else also what
        was written later of an event that was knowable, as imported history is.
    since
        The first date of events to look at.
    """
    columns = ["symbol", group.event, "created_timestamp", "bar_timestamp"]

    def look() -> dict[str, Known]:
        newest: dict[str, Known] = {}
        day: date | None = None
        for part in reversed(list_parts(lakehouse, group, since)):
            if part.date > at.date():
                continue
            if part.date != day and len(newest) == len(symbols):
                break
            day = part.date
            rows = read_part(part, group, columns).to_pydict()
            for symbol, *times in zip(*rows.values(), strict=True):
                known = Known(*times)
                was_written = known.created <= at or not as_recorded
                if symbol in symbols and known.event <= at and was_written:
                    before = newest.get(symbol, known)
                    newest[symbol] = max(before, known, key=lambda each: each[:2])
        return newest

    return reading_again(look)
