"""How each feature's values are distributed now, and how they were before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np

from ingestion.base.wording import some_of
from ingestion.catalog import Column
from ingestion.jobs.report.stored_rows import Floats, StoredRows, Values
from ingestion.report.contents import Axis, Cell, Kind, Mark, Note, Plot, Row, Section, Small, Table
from ingestion.report.formats import column as number_column
from ingestion.report.formats import count, counted, day, share

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_NAMES = ("p5", "p25", "p50", "p75", "p95")
_BINS = 24
_COMPARED = 20
"""Dates before the newest one that it is compared with."""
_CATEGORIES = 8
ENOUGH = 20
"""Values from which on two distributions are compared."""
_SHIFTED, _MOVED = 0.25, 0.1
"""Of the index of population stability: from where on a distribution is another one, or moves."""


@dataclass(frozen=True)
class Distribution:
    """One feature's values by date, and the newest ones against those before."""

    column: Column
    dates: tuple[date, ...]
    quantiles: Floats
    """Shape ``(dates, 5)``."""
    edges: Floats
    now: Floats
    """Share of the newest date's values by bin."""
    before: Floats
    values: int
    """Of the newest date."""
    values_before: int
    """Of the dates that it is compared with."""
    nulls: float
    """Share of the newest date's rows without a value."""
    psi: float | None
    """Index of population stability, of tenths of the history; None of too few values."""


def distributions(found: StoredRows) -> list[Distribution]:
    """Return one for each numeric column that has a value on one of the newest dates."""
    days = found.values
    result = []
    for number, column in enumerate(found.columns):
        by_date = [_values(each.values, number) for each in days if each.values is not None]
        dates = [
            (each.day, values) for each, values in zip(days, by_date, strict=True) if len(values)
        ]
        if not dates:
            continue
        now = by_date[-1]
        before = np.concatenate([*by_date[-1 - _COMPARED : -1], np.empty(0)])
        edges = _edges(column, np.concatenate([now, before]))
        rows = days[-1].rows
        result.append(
            Distribution(
                column=column,
                dates=tuple(each for each, _ in dates),
                quantiles=np.array([np.quantile(values, _QUANTILES) for _, values in dates]),
                edges=edges,
                now=_shares(now, edges),
                before=_shares(before, edges),
                values=len(now),
                values_before=len(before),
                nulls=1 - len(now) / rows if rows else 0.0,
                psi=psi(now, before),
            )
        )
    return result


def _values(values: Floats | None, number: int) -> Floats:
    column = np.empty(0) if values is None else values[:, number]
    return column[np.isfinite(column)]


def _edges(column: Column, values: Floats) -> Floats:
    if column.low is not None and column.high is not None:
        return np.linspace(column.low, column.high, _BINS + 1)
    low, high = np.quantile(values, [0.01, 0.99]) if len(values) else (0.0, 1.0)
    if column.low is not None:
        low = max(low, column.low)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, _BINS + 1)


def _shares(values: Floats, edges: Floats) -> Floats:
    """Return the share of the values in each bin; what is beyond the edges is in the outer bins."""
    if not len(values):
        return np.zeros(len(edges) - 1)
    inside = np.clip(values, edges[0], edges[-1])
    return np.histogram(inside, edges)[0] / len(values)


def psi(now: Floats, before: Floats) -> float | None:
    """Return the index of population stability of two samples, over tenths of the earlier one.

    Below 0.1 they are usually called the same, above 0.25 different. A bin without values counts
    as half a value. None if one sample has fewer than 20 values, or the earlier one is constant.

    Examples
    --------
    >>> values = np.arange(100.0)
    >>> psi(values, values), round(psi(values + 50, values), 2)
    (0.0, 2.32)
    """
    if min(len(now), len(before)) < ENOUGH:
        return None
    edges = np.unique(np.quantile(before, np.linspace(0, 1, 11)))
    if len(edges) < 3:
        return None
    inner = edges[1:-1]
    parts = [
        np.maximum(
            np.bincount(np.searchsorted(inner, each, side="right"), minlength=len(edges) - 1), 0.5
        )
        / len(each)
        for each in (now, before)
    ]
    return float(np.sum((parts[0] - parts[1]) * np.log(parts[0] / parts[1])))


def histogram(group: str, found: Distribution) -> Plot:
    """Return the newest values against those before, as a plot."""
    column = found.column
    return Plot(
        key=f"histogram-{group}-{column.name}",
        title="Now (line) against the 20 dates before (bars)",
        kind=Kind.HISTOGRAM,
        x=Axis(column.name, column.unit or "no unit"),
        y=Axis("values", "%"),
        columns={
            "low": found.edges[:-1].tolist(),
            "high": found.edges[1:].tolist(),
            "now": found.now.tolist(),
            "before": found.before.tolist(),
        },
        is_small=True,
    )


def categories(group: str, name: str, found: Values) -> Plot | None:
    """Return how often each value of a text is there, as a plot; None where there is none."""
    first = list(found.counts.items())[:_CATEGORIES]
    if not first:
        return None
    more = len(found.counts) - len(first)
    return Plot(
        key=f"values-{group}-{name}",
        title="Now" + (f": the first {len(first)} of {len(found.counts)} values" if more else ""),
        kind=Kind.BARS,
        x=Axis("rows", "count"),
        y=Axis(name, "category"),
        columns={
            "y": [value for value, _ in first],
            "value": [number for _, number in first],
            "note": [counted(number, "row") for _, number in first],
        },
        is_small=True,
    )


def drift_section(found: Mapping[str, list[Distribution]]) -> Section:
    """Return how the features' distributions move, group by group."""
    judged = sorted(
        (
            (each.psi, group, each)
            for group, of_group in found.items()
            for each in of_group
            if each.psi is not None
        ),
        key=lambda each: -each[0],
    )
    shifted = [f"{group}:{each.column.name}" for value, group, each in judged if value > _SHIFTED]
    lead = (
        f"No feature has the {ENOUGH} values now and before that a comparison needs."
        if not judged
        else f"{counted(len(shifted), 'feature')} of {len(judged)} are distributed otherwise than "
        f"in the {_COMPARED} dates before (stability index above {_SHIFTED}): "
        f"{some_of(shifted, 6)}."
        if shifted
        else f"None of {counted(len(judged), 'feature')} is distributed otherwise than in the "
        f"{_COMPARED} dates before (stability index at most {_SHIFTED})."
    )
    body = list(_unjudged(found))
    rows: list[Row] = [
        [
            Cell(f"{group}:{each.column.name}", is_code=True),
            Cell(f"{value:.2f}", _mark(value)),
            *number_column([float(each.quantiles[-1][2]), _median_before(each)]),
            each.column.unit or "–",
            count(each.values),
            share(each.nulls),
        ]
        for value, group, each in judged[:12]
    ]
    head = ("feature", "stability index", "median now", "before", "unit", "values", "null")
    caption = "The features that have moved most"
    table = Table(caption, head, rows, frozenset({1, 2, 3, 5, 6}), "tvfeast data-docs")
    smalls = [
        Small(group, [_bands(group, each) for each in found[group]], _NOTE) for group in found
    ]
    return Section("drift", "Drift", lead, [*([table] if rows else ()), *body, *smalls])


def _unjudged(found: Mapping[str, list[Distribution]]) -> Iterator[Note]:
    """Yield why features have no stability index, group by group."""
    for group, of_group in found.items():
        few = [
            each.column.name
            for each in of_group
            if min(each.values, each.values_before) < ENOUGH and each.psi is None
        ]
        constant = [
            each.column.name
            for each in of_group
            if each.psi is None and each.column.name not in few
        ]
        if few:
            yield Note(
                f"{counted(len(few), 'feature')} of {group} cannot be judged: an index needs "
                f"{ENOUGH} values on the newest date and as many before it, and there are fewer "
                f"of {some_of(few, 6)}."
            )
        if constant:
            yield Note(
                f"{counted(len(constant), 'feature')} of {group} had hardly any different values "
                f"in the dates before, so that no index can be made: {some_of(constant, 6)}."
            )


_NOTE = (
    "Across all symbols on each date: the line is the median, the darker band has half of the "
    "values, the lighter one nine in ten. Dates on which fewer than half of the symbols have a row "
    "are left out."
)


def _median_before(found: Distribution) -> float | None:
    """Return the median of the medians of the dates before the newest one."""
    return float(np.median(found.quantiles[:-1, 2])) if len(found.quantiles) > 1 else None


def _mark(value: float) -> Mark:
    return Mark.BAD if value > _SHIFTED else Mark.CARE if value > _MOVED else Mark.GOOD


def _bands(group: str, found: Distribution) -> Plot:
    column = found.column
    quantiles: Iterable[tuple[str, list[float]]] = zip(
        _NAMES, found.quantiles.T.tolist(), strict=True
    )
    return Plot(
        key=f"bands-{group}-{column.name}",
        title=column.name,
        kind=Kind.BANDS,
        x=Axis("date", "UTC"),
        y=Axis("value", column.unit or "no unit"),
        columns={"date": [day(each) for each in found.dates], **dict(quantiles)},
        is_small=True,
    )
