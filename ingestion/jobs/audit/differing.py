"""How one served value differs from the one that the stored bars give, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from ingestion.base.arrow import from_numpy, to_numpy, to_rows
from ingestion.base.instants import to_micros
from ingestion.catalog import Column, FeatureGroup
from ingestion.formulas.ratings import recommendation
from ingestion.jobs.audit.lineage import Bar
from ingestion.jobs.compute.bars_of_symbol import BarsOfSymbol
from ingestion.jobs.compute.causes import TOLERANCE, Cause, cause_at
from ingestion.jobs.compute.pairs import (
    NEIGHBOURS,
    RATING_NAMES,
    RECOMPUTED,
    TIMES,
    Seen,
    Twins,
    of_own_bars,
    side_by_side,
    twins_of,
    with_open_bars,
)
from ingestion.lakehouse import list_dates, parts_of, read_current_of
from ingestion.lakehouse.history import versions_of
from ingestion.markets.hours import BarState
from ingestion.project import Project

_BAR = frozenset({"bar_timestamp"})
_NO_BAR = np.iinfo(np.int64).min
"""The open of the bar of a row that describes none."""


def difference_of(
    project: Project,
    group: FeatureGroup,
    column: Column,
    values: Mapping[str, Any],
    bar: Bar | None,
    bars: Callable[[date], BarsOfSymbol],
) -> str | None:
    """Say how a snapshot's value differs from the recomputed one; None if it does not.

    Also None where nothing is recomputed under this name, or where it follows the clock.

    Parameters
    ----------
    values
        Of the snapshot's row: the column's, and its times.
    bar
        The bar that it describes.
    bars
        Gives the symbol's bars up to a date.
    """
    twins = next(
        (
            each
            for each in twins_of(project)
            if each.served.name == group.name and column.name in each.names
        ),
        None,
    )
    if twins is None or bar is None or project.formulas[column.name].follows_clock:
        return None
    twin = twins.recomputed.name
    if bar.state != BarState.CLOSED:
        return f"not comparable with {twin}: the bar was {bar.state} by then"
    if _is_as_recomputed(project, twins.recomputed, column, values, bar):
        return None
    pairs = to_rows(_pair(project, twins, values, bar))
    if not pairs:
        return f"not comparable with {twin}: it has no row of this bar"
    (pair,) = pairs
    if _same(pair[column.name], pair[column.name + RECOMPUTED]):
        return None
    cause = _cause(project, twins, column, pair, bar, bars(bar.close.date()))
    return (
        f"differs from {twin}: {_text(pair[column.name])} was served, and the bars give "
        f"{_text(pair[column.name + RECOMPUTED])}; cause: {cause}"
    )


def _is_as_recomputed(
    project: Project, group: FeatureGroup, column: Column, values: Mapping[str, Any], bar: Bar
) -> bool:
    """Return whether the recomputed row of the bar has the value; most have."""
    of_day, columns = parts_of(project.lakehouse, group, bar.close.date()), _BAR | {column.name}
    rows = [
        row.values
        for row in versions_of(project.lakehouse, group, of_day, values["symbol"], columns)
        if row.values[group.event] == bar.close and row.values["bar_timestamp"] == bar.open
    ]
    return bool(rows) and _same(values[column.name], rows[-1][column.name])


def _pair(project: Project, twins: Twins, values: Mapping[str, Any], bar: Bar) -> pa.Table:
    """Return a snapshot's row beside the recomputed one of its bar; no row if there is none."""
    symbol, day = values["symbol"], bar.close.date()
    first = values[twins.served.event].date()
    days = [each for each in list_dates(project.lakehouse, twins.served) if first <= each]
    days = [each for each in days if each <= max(first, day + NEIGHBOURS)]
    snapshots = _rows(project, twins.served, symbol, days, twins.read)
    closes = from_numpy(np.full(snapshots.num_rows, int(bar.close.timestamp()), np.int64))
    snapshots = snapshots.append_column("bar_close", closes)
    known_at = to_numpy(snapshots["timestamp"])
    is_of_bar = to_numpy(snapshots["bar_timestamp"], null=_NO_BAR) == to_micros(bar.open)
    names = ["symbol", "bar_close", "known_at", *twins.names, *twins.of_history.values()]
    snapshots = snapshots.rename_columns({"timestamp": "known_at"}).select(names)
    served, later = (
        snapshots.filter(from_numpy(which))
        for which in (
            known_at == values["timestamp"],
            is_of_bar & (known_at > values["timestamp"]),
        )
    )
    local = _beside(project, twins, symbol, day)
    return with_open_bars(side_by_side(served, local, twins), side_by_side(later, local, twins))


def _beside(project: Project, twins: Twins, symbol: str, day: date) -> pa.Table:
    """Return a symbol's recomputed rows of a date, and of its bars before and after."""
    dates = list_dates(project.lakehouse, twins.recomputed)
    near = [each for each in dates if abs(each - day) <= NEIGHBOURS]
    ways = ([day], [each for each in reversed(near) if each < day], [x for x in near if x > day])
    found = []
    for days in ways:
        for each in days:
            rows = _rows(project, twins.recomputed, symbol, [each], [*TIMES, *twins.names])
            found.append(rows)
            if of_own_bars(rows).num_rows:
                break
    return pa.concat_tables(found)


def _rows(
    project: Project, group: FeatureGroup, symbol: str, days: list[date], columns: list[str]
) -> pa.Table:
    """Return a symbol's rows of some dates."""
    parts = [part for day in days for part in parts_of(project.lakehouse, group, day)]
    return read_current_of(parts, group, [symbol], columns)


def _cause(
    project: Project,
    twins: Twins,
    column: Column,
    pair: Mapping[str, Any],
    bar: Bar,
    bars: BarsOfSymbol,
) -> Cause:
    """Return why a value differs.

    Equal bars give equal values: where ratings alone differ, their rules do.
    """
    if pair["seen"] != Seen.UNCLEAR:
        return Cause.OPEN if pair["seen"] == Seen.OPEN else Cause.ANOTHER
    differing = [
        name
        for name in twins.names
        if name in RATING_NAMES - {recommendation.name}
        and not _same(pair[name], pair[name + RECOMPUTED])
    ]
    of_it = differing if column.name == recommendation.name else [column.name]
    causes = [
        cause_at(bars, bar.close, project.formulas[name], pair["bars"])
        for name in of_it or [column.name]
    ]
    if pair["agrees"] and column.name in RATING_NAMES and Cause.SOURCE in causes:
        return Cause.RULE
    return causes[0]


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= TOLERANCE * max(abs(one), abs(other))


def _text(value: float | None) -> str:
    return "null" if value is None else f"{value:.6g}"
