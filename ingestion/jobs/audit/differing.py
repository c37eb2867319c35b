"""How one served value differs from the one that the stored bars give, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ingestion.catalog import Column, Dtype, FeatureGroup, FromBars
from ingestion.formulas.ratings import RATINGS, recommendation
from ingestion.jobs.audit.lineage import Bar
from ingestion.jobs.compute.causes import TOLERANCE, Cause, cause_at
from ingestion.lakehouse import parts_of
from ingestion.lakehouse.history import versions_of
from ingestion.markets.hours import BarState
from ingestion.project import Project

_RATINGS = {each.name for each in (*RATINGS, recommendation)}


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
    twins = (
        each
        for each in project.catalog.computed
        if isinstance(each.source, FromBars) and each.source.twin == group.name
    )
    twin = next((each for each in twins if column.name in {c.name for c in each.features}), None)
    if twin is None or bar is None or column.name not in project.formulas:
        return None
    formula = project.formulas[column.name]
    if formula.follows_clock:
        return None
    if bar.state != BarState.CLOSED:
        return f"not comparable with {twin.name}: the bar was {bar.state} by then"
    of_day = parts_of(project.lakehouse, twin, bar.close.date())
    rows = [
        row.values
        for row in versions_of(project.lakehouse, twin, of_day, values["symbol"])
        if row.values[twin.event] == bar.close
    ]
    if not rows:
        return f"not comparable with {twin.name}: it has no row of this bar"
    shared = [
        each.name
        for each in twin.features
        if each.dtype is Dtype.DOUBLE
        and each.name in values
        and each.name in project.formulas
        and not project.formulas[each.name].follows_clock
    ]
    recomputed = rows[-1]
    differing = {name for name in shared if not _same(values[name], recomputed[name])}
    if column.name not in differing:
        return None
    cause = cause_at(project.lakehouse, values["symbol"], bar.close, formula)
    # Equal bars give equal values: where ratings alone differ, their rules do.
    if column.name in _RATINGS and differing <= _RATINGS and cause is not Cause.NO_TRADES:
        cause = Cause.RULE
    return (
        f"differs from {twin.name}: {_text(values[column.name])} was served, and the bars give "
        f"{_text(recomputed[column.name])}; cause: {cause}"
    )


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= TOLERANCE * max(abs(one), abs(other))


def _text(value: float | None) -> str:
    return "null" if value is None else f"{value:.6g}"
