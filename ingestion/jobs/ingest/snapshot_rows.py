"""From a snapshot to a group's rows, and what is remarkable about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base import clock
from ingestion.catalog import UPDATE_MODE, Dtype, Excess, FeatureGroup
from ingestion.catalog.sources import BarCheck
from ingestion.lakehouse import Lakehouse, arrow_schema
from ingestion.markets.feeds import Feeds
from ingestion.markets.frames import bar_check
from ingestion.markets.hours import feed_delay
from ingestion.quality.history import read_history
from ingestion.scanner import Snapshot

_SAME = 1e-7
"""Relative difference up to which two values are one: the scanner's number format has changed."""


@dataclass(frozen=True)
class Notes:
    """What is remarkable about rows that are published all the same."""

    bar_checks: Mapping[str, int] = field(default_factory=dict)
    """Rows by :class:`~ingestion.catalog.sources.BarCheck`, of a group with a frame of its own."""
    restated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By reported column, the symbols whose value has changed while no label of its period has."""

    without: Mapping[str, int] = field(default_factory=dict)
    """By the reason, symbols that have no row of another market; see ``joined``."""

    @property
    def told(self) -> dict[str, object]:
        """What the receipt says of it: what there is."""
        return {name: each for name, each in vars(self).items() if each}


def notes_on(lakehouse: Lakehouse, group: FeatureGroup, rows: pa.Table) -> Notes:
    """Return what is remarkable about a group's new rows, one per symbol."""
    return Notes(_bar_checks(rows), _restated(lakehouse, group, rows))


def _bar_checks(rows: pa.Table) -> dict[str, int]:
    if _BAR_CHECK not in rows.column_names:
        return {}
    count = Counter(rows[_BAR_CHECK].to_pylist())
    return {check: count[check] for check in BarCheck if count[check]}


def _restated(
    lakehouse: Lakehouse, group: FeatureGroup, rows: pa.Table
) -> dict[str, tuple[str, ...]]:
    """Compare reported columns with the symbols' previous rows, where all labels are the same.

    A label that is null on both sides is the same, but one of them has to have a value: without a
    label a change of the period cannot be seen.
    """
    reported = [each.name for each in group.features if each.reported and not each.retired]
    labels = [each.name for each in group.features if each.label and not each.retired]
    if not reported or not rows.num_rows:
        return {}
    previous = read_history(lakehouse, group, rows, feeds=Feeds(lakehouse)).previous
    place = pc.index_in(previous["symbol"], rows["symbol"].combine_chunks())
    now = rows.take(place)
    is_same = np.ones(len(previous), dtype=bool)
    has_label = np.zeros(len(previous), dtype=bool)
    for name in labels:
        pairs = list(zip(now[name].to_pylist(), previous[name].to_pylist(), strict=True))
        is_same &= np.array([one == other for one, other in pairs], dtype=bool)
        has_label |= np.array([one is not None for one, _ in pairs], dtype=bool)
    found = {}
    for name in reported:
        one, other = (
            each[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for each in (now, previous)
        )
        differs = ~np.isclose(one, other, rtol=_SAME, atol=0) & ~np.isnan(one) & ~np.isnan(other)
        restated = previous["symbol"].filter(pa.array(differs & is_same & has_label))
        if len(restated):
            found[name] = tuple(restated.to_pylist())
    return found


def rows_of(group: FeatureGroup, snapshot: Snapshot, known_at: datetime) -> pa.Table:
    """Return the snapshot's rows in the group's schema, all stamped with one instant."""
    size = len(snapshot.rows)
    stamped = {
        "timestamp": pa.repeat(int(known_at.timestamp()), size),
        "symbol": pa.array(list(snapshot.rows), pa.string()),
        "event_timestamp": [known_at] * size,
        "created_timestamp": [max(clock.now(), known_at)] * size,
    }
    if any(column.name == _BAR_CHECK for column in group.columns):
        stamped[_BAR_CHECK] = pa.array(_checked_bars(group, snapshot, known_at), pa.string())
    values = zip(*snapshot.rows.values(), strict=True) if size else [()] * len(snapshot.columns)
    scanned = {
        column.name: pa.array(cells, _SCANNED_TYPES[column.dtype])
        for column, cells in zip(snapshot.columns, values, strict=True)
    }
    schema = arrow_schema(group)
    columns = stamped | scanned
    columns |= {
        column.name: pa.array(_excess(columns, column.derived), pa.float64())
        for column in group.features
        if column.derived is not None and not column.retired
    }
    return pa.table(
        [
            pa.array(columns[field.name]).cast(field.type)
            if field.name in columns
            else pa.nulls(size, field.type)  # retired
            for field in schema
        ],
        schema=schema,
    )


def _excess(columns: Mapping[str, Any], excess: Excess) -> Iterator[float | None]:
    """Yield by how many percent one column is above another one."""
    names = (excess.column, excess.over, *excess.same)
    for value, base, *texts in zip(*(columns[name].to_pylist() for name in names), strict=True):
        is_comparable = None not in (value, base, *texts) and base and len(set(texts)) < 2
        yield 100 * (value / base - 1) if is_comparable else None


def _checked_bars(
    group: FeatureGroup, snapshot: Snapshot, known_at: datetime
) -> Iterator[BarCheck]:
    """Yield for each row whether it describes the bar to expect."""
    names = [column.name for column in snapshot.columns]
    bar, mode = names.index("bar_timestamp"), names.index(UPDATE_MODE.name)
    last = int(known_at.timestamp())
    for symbol, row in snapshot.rows.items():
        opened, feed = row[bar], row[mode]
        asked_at = int(snapshot.asked_at.get(symbol, known_at).timestamp())
        yield bar_check(
            symbol,
            group.source.frame,
            opened // 1_000_000 if isinstance(opened, int) else None,
            asked_at,
            last,
            feed_delay(feed if isinstance(feed, str) else None),
        )


_BAR_CHECK = "bar_check"

_SCANNED_TYPES = {
    Dtype.DOUBLE: pa.float64(),
    Dtype.INT64: pa.int64(),
    Dtype.BOOL: pa.bool_(),
    Dtype.TIMESTAMP: pa.int64(),
    Dtype.STRING: pa.string(),
}
