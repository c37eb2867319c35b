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

from ingestion.base.arrow import codes_in, from_numpy, to_numpy
from ingestion.base.instants import DAY, MICROSECONDS
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
_CLOSE_BITS = 36
"""Of a bar's key: Unix seconds need no more for a thousand years."""
_BEFORE_ALL = -(1 << _CLOSE_BITS - 1)
"""A close before that of any bar; bars of before 1970 have negative ones."""


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
    local = of_own_bars(local)
    local = local.append_column("bar_close", local["timestamp"])
    names = pc.unique(local["symbol"])
    names = names.take(pc.array_sort_indices(names))
    local, keys = _by_bar(local, names)
    pairs, wanted = _by_bar(served, names)
    place = np.searchsorted(keys, wanted)
    found = keys[np.minimum(place, len(keys) - 1)] == wanted if len(keys) else wanted < 0
    pairs, place = pairs.filter(from_numpy(found)), place[found]
    symbols = keys >> _CLOSE_BITS
    values = {name: _doubles(local[name]) for name in twins.names}
    of_pairs = {name: _doubles(pairs[name]) for name in twins.names}

    def same(names: Sequence[str], step: int) -> NDArray[np.bool_]:
        """Return which snapshots have the values of the bar so many bars later."""
        at = np.clip(place + step, 0, max(len(symbols) - 1, 0))
        equal: NDArray[np.bool_] = (at == place + step) & (symbols[at] == symbols[place])
        for name in names:
            equal &= _are_equal(of_pairs[name], values[name][at])
        return equal

    of_the_bar = twins.of_the_bar
    agrees = same(of_the_bar, 0)
    another = (same(of_the_bar, -1) | same(of_the_bar, 1)) & (len(of_the_bar) > 0)
    ratings = [name for name in twins.names if name in RATING_NAMES]
    if ratings:
        late = same(ratings, -1) | same(ratings, 1)
        another = np.where(agrees, late & ~same(ratings, 0), another)
    seen = np.where(another, Seen.ANOTHER, Seen.UNCLEAR)
    bars = _known_bars(pairs, twins.of_history)
    pairs = pairs.drop_columns([*twins.of_history.values()])
    for mark, cells in {"agrees": agrees, "seen": seen, "bars": bars}.items():
        pairs = pairs.append_column(mark, from_numpy(cells))
    at_place = from_numpy(place)
    for name in twins.names:
        pairs = pairs.append_column(name + RECOMPUTED, local[name].take(at_place))
    return pairs


def of_own_bars(local: pa.Table) -> pa.Table:
    """Leave out recomputed rows of withdrawn bars: they have the values of a bar before."""
    opened = to_numpy(local["bar_timestamp"]) // MICROSECONDS
    return local.filter(from_numpy(to_numpy(local["timestamp"]) - opened <= _LONGEST_BAR))


def with_open_bars(pairs: pa.Table, later: pa.Table) -> pa.Table:
    """Mark the snapshots whose bar was still open, as later snapshots of it show.

    Parameters
    ----------
    later
        Pairs of the same bars, of later snapshots.
    """
    final = later.filter(later["agrees"])
    names = pc.unique(final["symbol"])
    keys, final_keys = (
        bar_keys(codes_in(names, rows["symbol"]), to_numpy(rows["bar_close"]))
        for rows in (pairs, final)
    )
    moved = np.isin(keys, final_keys)
    seen = np.where(moved & ~to_numpy(pairs["agrees"]), Seen.OPEN, to_numpy(pairs["seen"]))
    return pairs.set_column(pairs.column_names.index("seen"), "seen", from_numpy(seen))


def _by_bar(rows: pa.Table, names: pa.Array) -> tuple[pa.Table, NDArray[np.int64]]:
    """Return the rows of the named symbols in the order of their bars, and the bars' keys."""
    keys = bar_keys(codes_in(names, rows["symbol"]), to_numpy(rows["bar_close"]))
    order = np.argsort(keys, kind="stable")
    order = order[np.searchsorted(keys[order], 0) :]
    return rows.take(from_numpy(order)), keys[order]


def bar_keys(
    codes: NDArray[np.int64], closes: NDArray[np.int64] | int = _BEFORE_ALL
) -> NDArray[np.int64]:
    """Return one number per bar, in the order of symbols and closes; below 0 of a code of -1.

    Parameters
    ----------
    codes, closes
        The symbols' numbers, and when the bars closed, Unix s; without these, what is below the
        keys of all bars of a symbol.

    Examples
    --------
    >>> keys = bar_keys(np.array([0, 0, 1]), np.array([-60, 60, -60]))
    >>> bool((np.diff(keys) > 0).all()), np.searchsorted(keys, bar_keys(np.array([0, 1])))
    (True, array([0, 2]))
    """
    return (codes << _CLOSE_BITS) + (closes - _BEFORE_ALL)


def _doubles(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a column of numbers; NaN where it has none."""
    nan = from_numpy(np.array([np.nan]))[0]
    return to_numpy(pc.fill_null(column.cast(pa.float64()), nan))


def _known_bars(pairs: pa.Table, of_history: dict[str, str]) -> NDArray[np.int64]:
    """Return at most how many bars TradingView has; there are no more of them than days."""
    found = np.full(pairs.num_rows, _MANY, dtype=np.int64)
    for scanner, name in of_history.items():
        told = _doubles(pairs[name])
        if scanner == _FIRST_BAR:
            told = (to_numpy(pairs["bar_close"]) - told) // DAY + 1
        found = np.where(np.isnan(told), found, np.minimum(found, np.nan_to_num(told)))
    return found.astype(np.int64)


def _are_equal(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which values are equal but for rounding, or both missing."""
    size = np.maximum(np.abs(one), np.abs(other))
    both = np.isnan(one) & np.isnan(other)
    return np.asarray((np.abs(one - other) <= _EQUAL * size) | both)
