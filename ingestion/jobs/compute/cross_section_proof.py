"""The lookahead proof of cross-sections: later days are taken away, members are not.

Of some instants, a lakehouse is made that ends with each: no value, no member and no record of a
symbol is known later than that. What is compared there must be, bit for bit, what is compared with
all days at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base import clock
from ingestion.base.arrow import from_numpy, to_numpy
from ingestion.base.columns import INSTANT
from ingestion.base.errors import InputError
from ingestion.base.instants import MICROSECONDS, from_micros, to_micros
from ingestion.catalog import OHLCV_1D, SYMBOLS, UNIVERSE_MEMBERS, Catalog, Dataset, FeatureGroup
from ingestion.jobs.compute.comparison import Compared, Comparison
from ingestion.jobs.compute.counterexample import first_difference
from ingestion.jobs.compute.lookahead import Leak, LookaheadReport, verify_lakehouse
from ingestion.lakehouse import (
    Lakehouse,
    append_part,
    list_parts,
    newest_part,
    open_lakehouse,
    read_part,
)
from ingestion.project import Project

Compare = Callable[[Lakehouse, Catalog, FeatureGroup, int], pa.Table | None]
"""Returns the rows of a group at an instant, Unix µs, from a lakehouse; None if it has none."""

NOTHING = LookaheadReport((), 0, 0, (), 0, 0, ())
"""A report before anything was proven."""
DAYS = 5
"""How many days are proven: the last one, and others evenly over history."""
_DAY = timedelta(days=1)
_CHANGE = "later days taken away"


def verify_project(project: Project, since: date = date.min) -> LookaheadReport:
    """Prove all formulas and all cross-sections of a project.

    Parameters
    ----------
    since
        UTC date of the first bars that formulas are proven on; of cross-sections a few days are.

    Raises
    ------
    InputError
        If the lakehouse contains no bars, and no cross-section has a day.
    """
    if newest_part(project.lakehouse, OHLCV_1D) is None and project.catalog.cross_sections:
        report = NOTHING
    else:
        report = verify_lakehouse(project, since=since)
    for group in project.catalog.cross_sections:
        report = with_cross_section(report, project, group)
    if not (report.bars or report.days):
        raise InputError(f"{project.lakehouse} has no bars, and nothing that can be compared")
    return report


def rows_at(
    lakehouse: Lakehouse, catalog: Catalog, group: FeatureGroup, instant: int
) -> pa.Table | None:
    """Return the rows of a cross-section at one instant, Unix µs; None if it has none."""
    comparison, day = Comparison(lakehouse, catalog, group), from_micros(instant).date()
    for _, rows in comparison.rows(comparison.days(day, day, instant), Compared()):
        at = rows.filter(pc.equal(rows["timestamp"], _whole(instant // MICROSECONDS)))
        if at.num_rows:
            return at
    return None


def with_cross_section(
    report: LookaheadReport, project: Project, group: FeatureGroup, compare: Compare = rows_at
) -> LookaheadReport:
    """Return a report with the proof of one cross-section.

    Parameters
    ----------
    compare
        The function to prove.
    """
    names = [column.name for column in group.features if not column.retired]
    leaks: dict[str, Leak] = {}
    compared = days = 0
    for instant in _instants(Comparison(project.lakehouse, project.catalog, group)):
        whole = compare(project.lakehouse, project.catalog, group, instant)
        if whole is None:
            continue
        with TemporaryDirectory() as folder:
            earlier = open_lakehouse(Path(folder))
            for dataset, first in _read(project.catalog, group, instant):
                _copy_until(project.lakehouse, earlier, dataset, first, instant)
            again = compare(earlier, project.catalog, group, instant)
        days, compared = days + 1, compared + whole.num_rows
        for leak in _differences(group, [*names, "universe_size"], whole, again):
            leaks.setdefault(leak.feature, leak)
    return replace(
        report,
        features=(*report.features, *(f"{group.name}:{name}" for name in names)),
        days=report.days + days,
        recomputations=report.recomputations + days,
        rows_compared=report.rows_compared + compared,
        leaks=(*report.leaks, *leaks.values()),
    )


def _instants(comparison: Comparison) -> list[int]:
    """Return the instants to prove."""
    first, last = comparison.available()
    now = clock.now()
    if first > last:
        return []
    days = comparison.days(first, min(last, now.date()), to_micros(now))
    instants = [instant for instant, _ in days.days()]
    count = min(len(instants), DAYS)
    return [instants[-1 - place * len(instants) // count] for place in range(count)]


def _read(catalog: Catalog, group: FeatureGroup, instant: int) -> Iterator[tuple[Dataset, date]]:
    """Yield what a cross-section reads at an instant, and the first date of it that matters."""
    for dataset in dict.fromkeys(
        catalog.group(name.partition(":")[0]) for name in getattr(group.source, "read", ())
    ):
        yield dataset, (from_micros(instant) - dataset.ttl - _DAY).date()
    yield UNIVERSE_MEMBERS, date.min
    yield SYMBOLS, date.min


def _copy_until(
    lakehouse: Lakehouse, to: Lakehouse, dataset: Dataset, first: date, instant: int
) -> None:
    last = from_micros(instant).date()
    for part in list_parts(lakehouse, dataset, first, last):
        if part.date < last:
            path = Path(to.location(part.key))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(part.read())
            continue
        rows = read_part(part, dataset)
        events = to_numpy(rows[dataset.event].cast(INSTANT))
        rows = rows.filter(from_numpy(events <= instant))
        for each in _versions(dataset, rows):
            append_part(to, dataset, each, "earlier")


def _versions(dataset: Dataset, rows: pa.Table) -> Iterator[pa.Table]:
    """Divide rows, of which a merged part may have several of a key, the oldest ones first."""
    created = [name for name in ("created_timestamp",) if name in rows.column_names]
    rows = rows.sort_by([(name, "ascending") for name in (*dataset.key, *created)])
    while rows.num_rows:
        is_first = np.ones(rows.num_rows, dtype=bool)
        is_first[1:] = False
        for name in dataset.key:
            column = rows[name].combine_chunks()
            is_first[1:] |= to_numpy(pc.not_equal(column[1:], column[:-1]))
        yield rows.filter(from_numpy(is_first))
        rows = rows.filter(from_numpy(~is_first))


def _differences(
    group: FeatureGroup, names: list[str], whole: pa.Table, again: pa.Table | None
) -> Iterator[Leak]:
    """Yield the first difference of each column, in any bit."""
    if again is None or not again["symbol"].equals(whole["symbol"]):
        symbol, at = whole["symbol"][0].as_py(), whole["timestamp"][0].as_py()
        rows = float(whole.num_rows), 0.0 if again is None else float(again.num_rows)
        yield Leak(f"{group.name}:universe", symbol, at, *rows, _CHANGE, what="day")
        return
    for name in names:
        found = first_difference(name, whole, again)
        if found is not None:
            yield Leak(f"{group.name}:{name}", *found, _CHANGE, what="day")


def _whole(number: int) -> pa.Scalar:
    return from_numpy(np.array([number], np.int64))[0]
