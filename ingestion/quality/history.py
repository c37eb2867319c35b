"""The earlier rows that a batch is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.bars.holes import OpenHoles
from ingestion.base.reading import reading_again
from ingestion.catalog import FeatureGroup
from ingestion.catalog.formula import Formula
from ingestion.formulas import SHIPPED
from ingestion.lakehouse import arrow_schema, by_date, list_parts, read_part
from ingestion.markets.feeds import Feeds

LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class History:
    """Rows of a batch's symbols, earlier than their rows in the batch."""

    previous: pa.Table
    """The newest earlier row of each symbol that has one; unique on ``symbol``."""
    trailing: pa.Table
    """All earlier rows of the days before the batch's newest."""
    days: int
    """Dates that ``trailing`` is of."""
    holes: OpenHoles | None = None
    """Sessions that are missing: values over them are gone for a known reason."""
    feeds: Feeds | None = None
    """How late each symbol's feed was; as is usual for its exchange if nothing is known."""
    formulas: Mapping[str, Formula] = field(default_factory=lambda: SHIPPED)
    """By name, what computed features say of how far back they read."""

    @classmethod
    def none(cls, group: FeatureGroup) -> History:
        """Return the history of a group that has none."""
        empty = arrow_schema(group).empty_table()
        return cls(empty, empty, 0)


def read_history(
    lakehouse: Path,
    group: FeatureGroup,
    rows: pa.Table,
    holes: OpenHoles | None = None,
    feeds: Feeds | None = None,
    formulas: Mapping[str, Formula] = SHIPPED,
) -> History:
    """Read the trailing days of a batch's symbols.

    Reads the partition of the batch's newest date and as many before it as drift is judged from.

    Parameters
    ----------
    rows
        In the group's schema, at least one; the first of a repeated symbol counts.
    holes, feeds, formulas
        Go into the history; the stored feeds if none are given.

    Raises
    ------
    CorruptPart
        If a part cannot be read.
    """
    newest = pc.max(rows["event_timestamp"]).as_py().date()
    wanted = ["symbol", "timestamp", "created_timestamp", *(c.name for c in group.served)]

    def read() -> tuple[pa.Table, NDArray[np.int64]]:
        parts = by_date([part for part in list_parts(lakehouse, group) if part.date <= newest])
        dates = list(parts)[-1 - group.quality.drift_days :]
        tables, days = [arrow_schema(group).empty_table().select(wanted)], [np.empty(0, np.int64)]
        for number, day in enumerate(dates):
            for part in parts[day]:
                tables.append(read_part(part, group, wanted))
                days.append(np.full(tables[-1].num_rows, number if day < newest else -1))
        return pa.concat_tables(tables), np.concatenate(days)

    history = _history(*reading_again(read), rows)
    return replace(history, holes=holes, feeds=feeds or Feeds(lakehouse), formulas=formulas)


def newest_rows(lakehouse: Path, group: FeatureGroup, at: datetime) -> pa.Table:
    """Return each symbol's newest row, of those that are at most a TTL older than the newest.

    That is what would be promoted if it were done in the instant of the newest row.

    Parameters
    ----------
    at
        Later rows do not count.

    Returns
    -------
    pa.Table
        Unique on and sorted by ``symbol``; no rows if the group has none up to then.
    """

    def read() -> tuple[list[pa.Table], datetime]:
        tables, newest = [arrow_schema(group).empty_table()], LONG_AGO
        parts = [part for part in list_parts(lakehouse, group) if part.date <= at.date()]
        for part in reversed(parts):
            if newest > LONG_AGO and part.date < (newest - group.ttl).date():
                break
            rows = read_part(part, group)
            rows = rows.filter(pc.less_equal(rows["event_timestamp"], _instant(at)))
            if rows.num_rows:
                newest = max(newest, pc.max(rows["event_timestamp"]).as_py())
                tables.append(rows)
        return tables, newest

    tables, newest = reading_again(read)
    if len(tables) == 1:
        return tables[0]
    rows = pa.concat_tables(tables)
    rows = rows.filter(pc.greater_equal(rows["event_timestamp"], _instant(newest - group.ttl)))
    keys = ("symbol", "event_timestamp", "created_timestamp")
    rows = rows.sort_by([(key, "ascending") for key in keys])
    symbols = rows["symbol"].combine_chunks()
    last = pc.not_equal(symbols[1:], symbols[:-1])
    return rows.filter(pa.concat_arrays([last, pa.array([True])]))


def _instant(value: datetime) -> pa.Scalar:
    return pa.scalar(value, pa.timestamp("us", "UTC"))


def _history(table: pa.Table, day: NDArray[np.int64], rows: pa.Table) -> History:
    """Keep what is earlier than the batch.

    Parameters
    ----------
    day
        Shape ``(len(table),)``: a number for each trailing date, -1 on the batch's own.
    """
    place = pc.index_in(table["symbol"], rows["symbol"].combine_chunks())
    symbol = pc.fill_null(place, -1).to_numpy()
    stamps, created = table["timestamp"].to_numpy(), table["created_timestamp"].cast(pa.int64())
    earlier = (symbol >= 0) & (stamps < rows["timestamp"].to_numpy()[symbol])
    kept = np.flatnonzero(earlier)
    order = kept[np.lexsort((created.to_numpy()[kept], stamps[kept], symbol[kept]))]
    last = np.ones(len(order), dtype=bool)
    last[:-1] = symbol[order][1:] != symbol[order][:-1]
    trailing = earlier & (day >= 0)
    return History(
        previous=table.take(pa.array(order[last])),
        trailing=table.filter(pa.array(trailing)),
        days=len(np.unique(day[trailing])),
    )
