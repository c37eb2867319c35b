"""The earlier rows that a batch is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.holes import OpenHoles
from ingestion.base.arrow import codes_in, empty_table, from_numpy, latest, to_numpy
from ingestion.base.columns import INSTANT
from ingestion.base.instants import to_micros
from ingestion.base.reading import reading_again
from ingestion.catalog import FeatureGroup
from ingestion.catalog.formula import Formula
from ingestion.formulas import SHIPPED
from ingestion.lakehouse import Lakehouse, arrow_schema, days_back, read_part
from ingestion.lakehouse.parts import Part
from ingestion.markets.feeds import Feeds

LONG_AGO = datetime.min.replace(tzinfo=UTC)
_PART = "part"
"""Column of the number of the part that a row is from, while rows are being chosen."""


@dataclass(frozen=True)
class History:
    """What a batch is compared with."""

    previous: pa.Table
    """The newest row of each of its symbols that is earlier than its row in the batch; unique on
    ``symbol``."""
    holes: OpenHoles | None = None
    """Sessions that are missing: values over them are gone for a known reason."""
    feeds: Feeds | None = None
    """How late each symbol's feed was; as is usual for its exchange if nothing is known."""
    formulas: Mapping[str, Formula] = field(default_factory=lambda: SHIPPED)
    """By name, what computed features say of how far back they read."""

    @classmethod
    def none(cls, group: FeatureGroup) -> History:
        """Return the history of a group that has none."""
        return cls(empty_table(arrow_schema(group)))


def read_history(
    lakehouse: Lakehouse,
    group: FeatureGroup,
    rows: pa.Table,
    holes: OpenHoles | None = None,
    feeds: Feeds | None = None,
    formulas: Mapping[str, Formula] = SHIPPED,
) -> History:
    """Read the previous rows of a batch's symbols.

    Reads the partition of the batch's newest date and those before it, until each symbol has a row
    or the dates are as many as the group compares over.

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
    newest = _newest(rows).date()
    wanted = ["symbol", "timestamp", "created_timestamp", *(c.name for c in group.served)]
    symbols = rows["symbol"].combine_chunks()
    stamps, count = to_numpy(rows["timestamp"]), len(pc.unique(symbols))

    def read() -> pa.Table:
        found: list[pa.Table] = []
        names: list[pa.Array] = []
        left = group.quality.compared_days
        for day, parts in days_back(lakehouse, group, newest):
            left -= day != newest
            if left < 0:
                break
            for part in parts:
                table = read_part(part, group, wanted)
                place = codes_in(symbols, table["symbol"])
                earlier = (place >= 0) & (to_numpy(table["timestamp"]) < stamps[place])
                found.append(table.filter(from_numpy(earlier)))
                names.append(pc.unique(found[-1]["symbol"]))
            if len(pc.unique(pa.chunked_array(names, pa.string()))) == count:
                break
        empty = empty_table(arrow_schema(group)).select(wanted)
        return pa.concat_tables([empty, *found])

    previous = newest_of_symbols(reading_again(read), ("timestamp", "created_timestamp"))
    return History(previous, holes, feeds or Feeds(lakehouse), formulas)


class Newest(NamedTuple):
    """The newest row of each symbol."""

    rows: pa.Table
    """Unique on and sorted by ``symbol``; no rows if the group has none."""
    parts: tuple[Part, ...]
    """The parts that they are from, oldest first."""


def newest_rows(lakehouse: Lakehouse, group: FeatureGroup, at: datetime) -> Newest:
    """Return each symbol's newest row, of those that are at most a TTL older than the newest.

    That is what would be promoted if it were done in the instant of the newest row.

    Parameters
    ----------
    at
        Later rows do not count.
    """

    def read() -> tuple[pa.Table, list[Part], datetime]:
        newest = LONG_AGO
        tables: list[pa.Table] = []
        sources: list[Part] = []
        for day, parts in days_back(lakehouse, group, at.date()):
            if newest > LONG_AGO and day < (newest - group.ttl).date():
                break
            for part in reversed(parts):
                rows = read_part(part, group)
                rows = rows.filter(pc.less_equal(rows["event_timestamp"], _instant(at)))
                if rows.num_rows:
                    newest = max(newest, _newest(rows))
                    number = from_numpy(np.full(rows.num_rows, len(sources), np.int32))
                    tables.append(rows.append_column(_PART, number))
                    sources.append(part)
        empty = empty_table(arrow_schema(group).append(pa.field(_PART, pa.int32())))
        return pa.concat_tables([empty, *tables]), sources, newest

    rows, parts, newest = reading_again(read)
    if rows.num_rows:
        since = _instant(newest - group.ttl)
        rows = rows.filter(pc.greater_equal(rows["event_timestamp"], since))
    rows = newest_of_symbols(rows, ("event_timestamp", "created_timestamp"))
    parts = sorted(parts[number] for number in pc.unique(rows[_PART]).to_pylist())
    return Newest(rows.drop_columns([_PART]), tuple(parts))


def newest_of_symbols(rows: pa.Table, order: tuple[str, ...]) -> pa.Table:
    """Return the last row of each symbol, sorted by symbol."""
    rows = rows.sort_by([(key, "ascending") for key in ("symbol", *order)])
    symbols = rows["symbol"].combine_chunks()
    last = pc.not_equal(symbols[1:], symbols[:-1])
    return rows.filter(pa.concat_arrays([last, from_numpy(np.ones(min(1, len(rows)), dtype=bool))]))


def _newest(rows: pa.Table) -> datetime:
    return latest(rows["event_timestamp"]) or LONG_AGO


def _instant(value: datetime) -> pa.Scalar:
    return from_numpy(np.array([to_micros(value)])).cast(INSTANT)[0]
