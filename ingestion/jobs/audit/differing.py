"""How one served value differs from the one that the stored bars give, and why."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.arrow import from_numpy, strings
from ingestion.base.instants import to_micros
from ingestion.catalog import Column, FeatureGroup
from ingestion.formulas.ratings import recommendation
from ingestion.jobs.audit.lineage import Bar
from ingestion.jobs.compute.causes import TOLERANCE, Cause, cause_at
from ingestion.jobs.compute.pairs import (
    NEIGHBOURS,
    RATING_NAMES,
    RECOMPUTED,
    TIMES,
    Seen,
    Twins,
    side_by_side,
    twins_of,
    with_open_bars,
)
from ingestion.lakehouse import list_dates, parts_of, read_current_of
from ingestion.lakehouse.history import versions_of
from ingestion.markets.hours import BarState
from ingestion.project import Project


def difference_of(
    project: Project,
    group: FeatureGroup,
    column: Column,
    values: Mapping[str, Any],
    bar: Bar | None,
) -> str | None:
    """Say how a snapshot's value differs from the recomputed one; None if it does not.

    Also None where nothing is recomputed under this name, or where it follows the clock.

    Parameters
    ----------
    values
        The snapshot's row.
    bar
        The bar that it describes.
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
    pairs = _pair(project, twins, values, bar).to_pylist()
    if not pairs:
        return f"not comparable with {twin}: it has no row of this bar"
    (pair,) = pairs
    if _same(pair[column.name], pair[column.name + RECOMPUTED]):
        return None
    cause = _cause(project, twins, column, pair, bar)
    return (
        f"differs from {twin}: {_text(pair[column.name])} was served, and the bars give "
        f"{_text(pair[column.name + RECOMPUTED])}; cause: {cause}"
    )


def _is_as_recomputed(
    project: Project, group: FeatureGroup, column: Column, values: Mapping[str, Any], bar: Bar
) -> bool:
    """Return whether the recomputed row of the bar has the value; most have."""
    of_day = parts_of(project.lakehouse, group, bar.close.date())
    rows = [
        row.values
        for row in versions_of(project.lakehouse, group, of_day, values["symbol"])
        if row.values[group.event] == bar.close and row.values["bar_timestamp"] == bar.open
    ]
    return bool(rows) and _same(values[column.name], rows[-1][column.name])


def _pair(project: Project, twins: Twins, values: Mapping[str, Any], bar: Bar) -> pa.Table:
    """Return a snapshot's row beside the recomputed one of its bar; no row if there is none."""
    symbol, day = values["symbol"], bar.close.date()
    names = {name: _double(values[name]) for name in (*twins.names, *twins.of_history.values())}
    closes = from_numpy(np.array([int(bar.close.timestamp())], np.int64))
    known_at = from_numpy(np.array([values["timestamp"]], np.int64))
    served = pa.table(
        {"symbol": strings([symbol]), "bar_close": closes, "known_at": known_at, **names}
    )
    later = _rows(project, twins.served, symbol, day, twins.read)
    opened = from_numpy(np.array([to_micros(bar.open)], np.int64))[0]
    is_of_bar = pc.equal(later["bar_timestamp"].cast(pa.int64()), opened)
    later = later.filter(pc.and_(is_of_bar, pc.greater(later["timestamp"], known_at[0])))
    later = later.append_column(
        "bar_close", from_numpy(np.full(later.num_rows, closes[0].as_py(), np.int64))
    )
    later = later.rename_columns({"timestamp": "known_at"}).select(served.column_names)
    local = _rows(project, twins.recomputed, symbol, day, [*TIMES, *twins.names])
    return with_open_bars(side_by_side(served, local, twins), side_by_side(later, local, twins))


def _double(value: float | None) -> pa.Array:
    """Return an array of one value."""
    return pa.nulls(1, pa.float64()) if value is None else from_numpy(np.array([value], float))


def _rows(
    project: Project, group: FeatureGroup, symbol: str, day: date, columns: list[str]
) -> pa.Table:
    """Return a symbol's rows around a date."""
    near = [each for each in list_dates(project.lakehouse, group) if abs(each - day) <= NEIGHBOURS]
    parts = [part for each in near for part in parts_of(project.lakehouse, group, each)]
    return read_current_of(parts, group, [symbol], columns)


def _cause(
    project: Project, twins: Twins, column: Column, pair: Mapping[str, Any], bar: Bar
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
        cause_at(project.lakehouse, pair["symbol"], bar.close, project.formulas[name], pair["bars"])
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
