"""Each group and feature: its meaning, its source, how it is distributed, and who reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache

from ingestion.base.errors import CorruptPart
from ingestion.base.reading import reading_again
from ingestion.catalog import Column, CrossSection, FeatureGroup, Files, FromBars, Scanner
from ingestion.catalog.formula import Formula
from ingestion.catalog.sources import DAILY
from ingestion.formulas import BarFormula
from ingestion.jobs.report.distributions import ENOUGH, Distribution, categories, histogram
from ingestion.jobs.report.stored_rows import StoredRows, Values
from ingestion.lakehouse import list_dates, parts_of
from ingestion.lakehouse.parts import read_schema
from ingestion.project import Project
from ingestion.report.contents import FeatureCard, GroupCard, Plot
from ingestion.report.formats import age, counted, day, figure, instant, share


def catalogue(
    project: Project,
    found: Mapping[str, list[Distribution]],
    stored: Mapping[str, StoredRows],
    newest: Mapping[str, datetime | None],
    at: datetime,
) -> list[GroupCard]:
    """Return all groups that run, with their features.

    Parameters
    ----------
    found
        By group, its features' distributions.
    stored
        By group, its rows.
    newest
        By group, the event of its newest row.
    """
    return [
        _group(project, each, _shapes(each, found, stored), newest.get(each.name), at)
        for each in project.catalog.groups
    ]


Shape = Distribution | Values


def _shapes(
    group: FeatureGroup,
    found: Mapping[str, list[Distribution]],
    stored: Mapping[str, StoredRows],
) -> dict[str, Shape]:
    """Return by feature how its values are distributed; none of a group without rows."""
    if group.name not in stored:
        return {}
    rows = stored[group.name]
    empty: dict[str, Shape] = {column.name: Values(1.0, {}) for column in rows.columns}
    numbers = {each.column.name: each for each in found.get(group.name, [])}
    return {**empty, **rows.others, **numbers}


def _group(
    project: Project,
    group: FeatureGroup,
    shapes: Mapping[str, Shape],
    newest: datetime | None,
    at: datetime,
) -> GroupCard:
    since = reading_again(lambda: _since(project, group))
    services = [each for each in project.catalog.services if group.name in each.groups]
    facts = [
        ("rows from", _rows_from(group)),
        ("asked", group.asked if isinstance(group.source, Scanner) else "as its inputs come"),
        ("since", day(list_dates(project.lakehouse, group)[0]) if since else "no row yet"),
        ("newest row", f"{instant(newest)} ({age(at - newest)} ago)" if newest else "–"),
        ("counts as current", f"for {age(group.ttl)} after its event"),
        ("declared in", project.catalog.place(group).rpartition("feature_repo/")[2]),
        ("stored in", f"`{group.storage}`"),
        ("services", ", ".join(each.name for each in services) or "none"),
        ("lineage", _lineage(project, group)),
    ]
    cards = [
        _feature(
            project, group, column, shapes.get(column.name), since.get(column.name), newest, at
        )
        for column in group.features
    ]
    return GroupCard(group.name, group.meaning, facts, cards)


def _rows_from(group: FeatureGroup) -> str:
    source = group.source
    if isinstance(source, Scanner):
        frame = "daily bars" if source.frame == DAILY else f"bars of {source.frame}"
        return f"TradingView’s scanner, {frame}" + (
            f", market {source.market}" if source.market else ""
        )
    if isinstance(source, CrossSection):
        return f"`{source.of_group}`, the members of `{source.universe}` compared"
    return "files that others computed" if isinstance(source, Files) else "closed daily bars"


def _lineage(project: Project, group: FeatureGroup) -> str:
    if isinstance(group.source, Scanner):
        began = "scanner → checks"
    elif isinstance(group.source, Files):
        began = "files → checks"
    elif isinstance(group.source, CrossSection):
        began = f"{group.source.of_group} and universe_members → comparison → checks"
    else:
        began = "scanner and vendors → ohlcv_1d → formulas → checks"
    return f"{began} → {group.name} → gate → online store and training sets"


def _since(project: Project, group: FeatureGroup) -> dict[str, str]:
    """Return by column the first date of rows that can have it: it may be newer than the group."""
    days = list_dates(project.lakehouse, group)
    if not days:
        return {}

    @cache
    def names(number: int) -> set[str]:
        found: set[str] = set()
        for part in parts_of(project.lakehouse, group, days[number]):
            with suppress(CorruptPart):  # which the first screen names
                found |= set(read_schema(part).names)
        return found

    found: dict[str, str] = {}
    for column in group.columns:
        low, high = 0, len(days) - 1
        if column.name not in names(high):
            continue
        while low < high:  # columns are only ever added
            middle = (low + high) // 2
            low, high = (low, middle) if column.name in names(middle) else (middle + 1, high)
        found[column.name] = day(days[low])
    return found


def _feature(
    project: Project,
    group: FeatureGroup,
    column: Column,
    shape: Shape | None,
    since: str | None,
    newest: datetime | None,
    at: datetime,
) -> FeatureCard:
    services = [
        each.name
        for each in project.catalog.services
        if group.name in each.groups
        and column.name in {one.name for one in project.catalog.columns_of(each, group)}
    ]
    facts = [
        ("unit", column.unit or "none"),
        ("bounds", column.bounds.replace("-", "−") or "–"),
        ("source", _source(project, group, column)),
        *([("rules", column.rules)] if column.rules else []),
        ("since", since or "no row yet"),
        ("null", share(shape.nulls) + " of the newest rows" if shape else "–"),
        *(_numbers(column, shape) if isinstance(shape, Distribution) else ()),
        ("freshness", f"{age(at - newest)} old" if newest else "no row yet"),
        ("services", ", ".join(services) or "none"),
        ("lineage", _lineage_of(project, group, column)),
    ]
    return FeatureCard(
        group=group.name,
        name=column.name,
        meaning=column.meaning or "–",
        facts=facts,
        command=f"tvfeast explain SYMBOL {group.name}:{column.name}",
        plot=_plot(group, column, shape),
    )


def _lineage_of(project: Project, group: FeatureGroup, column: Column) -> str:
    """Return from what a feature is made, and with what its values are compared."""
    formula = _formula(project, group, column)
    if formula is not None:
        made = f"`ohlcv_1d` ({_bars(formula)}) → formula"
    elif column.derived is not None:
        made = f"`{column.derived.column}` and `{column.derived.over}` of the same answer"
    elif column.scanner:
        made = f"scanner column `{column.scanner}`"
    elif (compared := _compared(group, column)) is not None:
        made = f"`{compared}` of all members"
    else:
        made = "a file that others computed"
    twin = getattr(group.source, "twin", None)
    compared = (
        f"; `tvfeast parity` compares it with `{twin}:{column.name}`"
        if twin and formula is not None and formula.scanned
        else ""
    )
    return f"{made} → checks → `{group.name}:{column.name}`{compared}"


def _formula(project: Project, group: FeatureGroup, column: Column) -> BarFormula | None:
    is_computed = isinstance(group.source, FromBars)
    return project.formulas.get(column.name) if is_computed else None


def _compared(group: FeatureGroup, column: Column) -> str | None:
    """Return the feature that a cross-section compares for a column."""
    source = group.source
    if not isinstance(source, CrossSection):
        return None
    made = {name: f"{source.of_group}:{feature}" for name, feature, _ in source.made_of()}
    return made.get(column.name)


def _bars(formula: Formula) -> str:
    back = formula.look_back
    if formula.recursive or back == "all":
        return "all bars of the symbol up to this one"
    if isinstance(back, timedelta):
        return f"this bar and those of {counted(back.days, 'day')} before it"
    return f"this bar and {counted(back, 'bar')} before it" if back else "this bar"


def _numbers(column: Column, shape: Distribution) -> Iterator[tuple[str, str]]:
    median = f"{figure(float(shape.quantiles[-1][2]))} {column.unit}".strip()
    yield "median now", f"{median}, of {counted(shape.values, 'value')}"
    few = min(shape.values, shape.values_before) < ENOUGH
    why = f"fewer than {ENOUGH} values to compare" if few else "hardly any different values before"
    yield "stability", f"{shape.psi:.2f}" if shape.psi is not None else why


def _plot(group: FeatureGroup, column: Column, shape: Shape | None) -> Plot | None:
    if isinstance(shape, Distribution):
        return histogram(group.name, shape)
    return None if shape is None else categories(group.name, column.name, shape)


def _source(project: Project, group: FeatureGroup, column: Column) -> str:
    if column.retired:
        return "retired: only what was stored before is kept"
    if column.scanner:
        return f"TradingView’s scanner, column `{column.scanner}`"
    if column.derived is not None:
        return f"({column.derived.column} ÷ {column.derived.over} − 1) in %, of the same row"
    if (compared := _compared(group, column)) is not None:
        return f"`{compared}` among the members of a universe"
    formula = _formula(project, group, column)
    if formula is None:
        return "a file of `tvfeast import-features`"
    where, _, text = formula.description.partition(": ")
    return f"formula `{where}`: {text}" if text else f"formula: {where}"
