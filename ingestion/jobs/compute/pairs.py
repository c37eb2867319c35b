"""Served and recomputed values of the same bars, side by side.

A snapshot and a recomputed row speak of one bar if they agree on symbol and session close, both by
:mod:`ingestion.markets.hours`: vendors stamp the open of a session differently, its close is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.base.instants import DAY
from ingestion.catalog import Column, Dtype, FeatureGroup, FromBars
from ingestion.formulas import BarFormula
from ingestion.formulas.ratings import RATINGS, recommendation
from ingestion.project import Project

KEYS = ["symbol", "bar_close"]
TIMES = ["symbol", "timestamp", "bar_timestamp"]
MARKS = ["known_at", "agrees", "seen", "bars"]
"""What each pair has beside its keys and values: the instant of its snapshot (Unix s), whether the
columns apart from ratings are those of this bar, :class:`Seen`, and at most how many bars
TradingView has of the symbol, as far as it was asked."""
RECOMPUTED = " recomputed"
RATING_NAMES = frozenset({each.name for each in RATINGS} | {recommendation.name})

_EQUAL = 1e-4
"""Relative; values of equal bars differ by rounding, and of a cent on 100 dollars by more."""
NEIGHBOURS = timedelta(days=12)
"""How far the bar before or after may be."""
_BARS_COUNT, _FIRST_BAR = "bars_count", "first_bar_time"
_MANY = 1 << 30
_LONGEST_BAR = 26 * 3_600
"""Seconds, and an hour more than a dealer's day in which clocks go back."""


class Seen(IntEnum):
    """Of which bar a snapshot's values are, where they are not those of its own bar."""

    UNCLEAR = 0
    ANOTHER = 1
    """All are those of the bar before or after, or all ratings are."""
    OPEN = 2
    """A later snapshot of the bar has other values, which agree."""


@dataclass(frozen=True)
class Twins:
    """A group of the scanner, the group computed from bars, and what both have."""

    served: FeatureGroup
    recomputed: FeatureGroup
    columns: tuple[Column, ...]
    by_clock: tuple[BarFormula, ...]
    """The formulas of those columns that follow the clock."""

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(column.name for column in self.columns)

    @property
    def of_history(self) -> dict[str, str]:
        """By the scanner's name, the served columns that show how many bars TradingView has."""
        return {
            column.scanner: column.name
            for column in self.served.features
            if column.scanner in (_BARS_COUNT, _FIRST_BAR)
            and column.dtype in (Dtype.DOUBLE, Dtype.INT64)
        }

    @property
    def read(self) -> list[str]:
        """What is read of a snapshot."""
        return [*TIMES, *self.names, *self.of_history.values()]

    @property
    def of_the_bar(self) -> tuple[str, ...]:
        """The columns that show of which bar a row is: no ratings, and nothing by the clock."""
        apart = RATING_NAMES.union(each.name for each in self.by_clock)
        return tuple(name for name in self.names if name not in apart)


def twins_of(project: Project) -> Iterator[Twins]:
    """Yield the pairs of groups that the catalog declares and the project runs."""
    scanned = {group.name: group for group in project.catalog.scanned}
    for group in project.catalog.computed:
        # A twin that the project does not run has no rows to compare with.
        if isinstance(group.source, FromBars) and group.source.twin in scanned:
            served = scanned[group.source.twin]
            names = {column.name for column in group.features if column.dtype is Dtype.DOUBLE}
            columns = tuple(
                each
                for each in served.features
                if each.name in names and each.name in project.formulas
            )
            formulas = (project.formulas[column.name] for column in columns)
            by_clock = tuple(each for each in formulas if each.follows_clock)
            yield Twins(served, group, columns, by_clock)


def side_by_side(served: pa.Table, local: pa.Table, twins: Twins) -> pa.Table:
    """Return the snapshots that have a recomputed row, with its values beside theirs.

    Parameters
    ----------
    served
        ``symbol``, ``bar_close``, ``known_at`` (int64, Unix s) and the twins' columns; one row per
        bar.
    local
        Rows of the recomputed group: those of the same bars, and of the bars before and after.

    Returns
    -------
    pa.Table
        Ordered by :data:`KEYS`, with :data:`MARKS`, and each column twice.
    """
    # The row of a withdrawn bar has the values of a bar before: it describes no bar of its own.
    opens = pc.divide(local["bar_timestamp"].cast(pa.int64()), 1_000_000)
    is_own = pc.less_equal(pc.subtract(local["timestamp"], opens), _LONGEST_BAR)
    local = local.append_column("bar_close", local["timestamp"]).filter(is_own)
    local = local.sort_by([(key, "ascending") for key in KEYS])
    places = local.select(KEYS).append_column("place", pa.array(np.arange(local.num_rows)))
    # A join promises no order, and a receipt should not differ from run to run.
    pairs = served.join(places, KEYS, join_type="inner").sort_by(
        [(key, "ascending") for key in KEYS]
    )
    place = pairs["place"].to_numpy()
    symbols = local["symbol"].combine_chunks().dictionary_encode().indices.to_numpy()
    values = {name: local[name].to_numpy() for name in twins.names}

    def same(names: Sequence[str], step: int) -> NDArray[np.bool_]:
        """Return which snapshots have the values of the bar so many bars later."""
        at = np.clip(place + step, 0, max(len(symbols) - 1, 0))
        found: NDArray[np.bool_] = (at == place + step) & (symbols[at] == symbols[place])
        for name in names:
            found &= _are_equal(pairs[name].to_numpy(), values[name][at])
        return found

    of_the_bar = twins.of_the_bar
    agrees = same(of_the_bar, 0)
    another = (same(of_the_bar, -1) | same(of_the_bar, 1)) & (len(of_the_bar) > 0)
    ratings = [name for name in twins.names if name in RATING_NAMES]
    if ratings:
        late = same(ratings, -1) | same(ratings, 1)
        another = np.where(agrees, late & ~same(ratings, 0), another)
    seen = np.where(another, Seen.ANOTHER, Seen.UNCLEAR).astype(np.int8)
    bars = _known_bars(pairs, twins.of_history)
    pairs = pairs.drop_columns(["place", *twins.of_history.values()])
    for mark, cells in {"agrees": agrees, "seen": seen, "bars": bars}.items():
        pairs = pairs.append_column(mark, pa.array(cells))
    for name in twins.names:
        pairs = pairs.append_column(name + RECOMPUTED, local[name].take(pa.array(place)))
    return pairs


def with_open_bars(pairs: pa.Table, later: pa.Table) -> pa.Table:
    """Mark the snapshots whose bar was still open, as later snapshots of it show.

    Parameters
    ----------
    later
        Pairs of the same bars, of later snapshots.
    """
    rows = pairs.select(KEYS).append_column("row", pa.array(np.arange(pairs.num_rows)))
    final = later.filter(later["agrees"]).select(KEYS)
    moved = rows.join(final, KEYS, join_type="left semi")["row"].to_numpy()
    seen = pairs["seen"].to_numpy().copy()
    seen[moved[~pairs["agrees"].to_numpy()[moved]]] = Seen.OPEN
    return pairs.set_column(pairs.column_names.index("seen"), "seen", pa.array(seen))


def _known_bars(pairs: pa.Table, of_history: dict[str, str]) -> NDArray[np.int64]:
    """Return at most how many bars TradingView has; there are no more of them than days."""
    found = np.full(pairs.num_rows, _MANY, dtype=np.int64)
    for scanner, name in of_history.items():
        told = pc.fill_null(pairs[name].cast(pa.float64()), np.nan).to_numpy()
        if scanner == _FIRST_BAR:
            told = (pairs["bar_close"].to_numpy() - told) // DAY + 1
        found = np.where(np.isnan(told), found, np.minimum(found, np.nan_to_num(told)))
    return found.astype(np.int64)


def _are_equal(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which values are equal but for rounding, or both missing."""
    size = np.maximum(np.abs(one), np.abs(other))
    both = np.isnan(one) & np.isnan(other)
    return np.asarray((np.abs(one - other) <= _EQUAL * size) | both)
