"""What is judged over a batch as a whole: counts, shares, ages, each a number with its limits.

A column that stands still, has one value, or is in another unit is found by comparing the batch
with the previous rows of the same symbols. The limits leave room for every day of the sample, the
crash of March 2020 among them; ``docs/reference/quality.md`` has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.holes import OpenHoles
from ingestion.base.arrow import from_numpy, to_numpy
from ingestion.base.instants import from_micros
from ingestion.base.wording import counted
from ingestion.catalog import Dtype, FeatureGroup
from ingestion.catalog.formula import Formula
from ingestion.markets.hours import hours_of, known_bar_close
from ingestion.markets.sessions import session_bounds
from ingestion.quality.history import History
from ingestion.quality.rules import Mask, numbers

_BAR = "bar_timestamp"
_DAYS_PER_BAR = 2
"""More than any market's sessions are apart: five in seven days, and halts."""
_LONGEST_PAUSE = timedelta(days=12)


@dataclass(frozen=True)
class Figure:
    """A number of a batch, and the limits that it must keep, inclusive; None for no limit."""

    check: str
    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        limits = ((self.low, "at least"), (self.high, "at most"))
        told = (f"{word} {limit:g}" for limit, word in limits if limit is not None)
        return ", ".join([f"{self.value:.6g}", *told])

    @property
    def is_inside(self) -> bool:
        """Whether the limits are kept; what is not a number keeps none."""
        low, high = self.low, self.high
        return (low is None or self.value >= low) and (high is None or self.value <= high)


@dataclass(frozen=True)
class Skipped:
    """A check that could not be judged."""

    check: str
    reason: str


def too_few(check: str, count: int, what: str, group: FeatureGroup) -> Skipped:
    """Return a share as skipped: of so few it says nothing."""
    return Skipped(check, f"{count} {what}, judged from {group.quality.judged_from}")


def quarantined_share(group: FeatureGroup, rows: int, quarantined: int) -> Figure | Skipped:
    """Judge how many rows were quarantined."""
    limit = group.quality.max_quarantined_share
    return _share("quarantined share", quarantined, rows, limit, group)


def against_history(
    group: FeatureGroup, rows: pa.Table, history: History | None
) -> Iterator[Figure | Skipped]:
    """Judge what needs earlier rows: lost values, bars that did not move, still or other values.

    Parameters
    ----------
    rows
        One row per symbol.
    history
        Earlier rows of the same symbols; None if there are none to compare with.
    """
    history = history or History.none(group)
    place = pc.index_in(rows["symbol"], history.previous["symbol"].combine_chunks())
    before = history.previous.take(place)
    yield from _lost(group, rows, before, history)
    if group.quality.max_unmoved_share is not None:
        yield _unmoved(group, group.quality.max_unmoved_share, rows, before, history)
    for column in group.features:
        if column.dtype is Dtype.DOUBLE and not column.retired:
            yield from _compared(group, column.name, rows, before)


def age(group: FeatureGroup, rows: pa.Table, at: datetime) -> Figure | Skipped:
    """Judge how old the newest row is, in hours."""
    if not rows.num_rows:
        return Skipped("age hours", "no rows")
    hours = (at - newest(rows)) / timedelta(hours=1)
    return Figure("age hours", hours, high=group.max_age / timedelta(hours=1))


def newest(rows: pa.Table) -> datetime:
    """Return the newest event time of some rows."""
    return from_micros(pc.max(rows["event_timestamp"]).value)


def _share(
    check: str, part: int, whole: int, limit: float, group: FeatureGroup
) -> Figure | Skipped:
    if whole < group.quality.judged_from:
        return too_few(check, whole, "rows", group)
    return Figure(check, part / whole, high=limit)


def _lost(
    group: FeatureGroup, rows: pa.Table, before: pa.Table, history: History
) -> Iterator[Figure | Skipped]:
    """Count the values that were there in the symbol's previous row and are gone.

    Those behind a missing session do not count: they are null until it is imported or accepted.
    """
    for column in group.features:
        had = to_numpy(pc.is_valid(before[column.name]))
        if history.holes:
            had &= ~_spans_hole(rows, history.formulas[column.name], history.holes)
        lost = had & to_numpy(pc.is_null(rows[column.name]))
        check, limit = f"{column.name} lost share", group.quality.max_lost_share
        yield _share(check, int(lost.sum()), int(had.sum()), limit, group)


def _compared(
    group: FeatureGroup, column: str, rows: pa.Table, before: pa.Table
) -> Iterator[Figure | Skipped]:
    """Compare a column with the previous rows, of the symbols that have a value in both."""
    quality = group.quality
    now, former = numbers(rows, column), numbers(before, column)
    both = now.valid & former.valid
    checks = (f"{column} same share", f"{column} still share", f"{column} unit")
    if (count := int(both.sum())) < quality.compared_from:
        for check in checks:
            yield Skipped(check, f"{counted(count, 'value')}, judged from {quality.compared_from}")
        return
    values, earlier = now.values[both], former.values[both]
    commonest = np.unique(values, return_counts=True)[1].max()
    yield Figure(checks[0], float(commonest / count), high=quality.max_same_share)
    moved = _moved(rows, before)[both]
    if (count := int(moved.sum())) < quality.compared_from:
        yield Skipped(
            checks[1], f"{counted(count, 'new bar')}, judged from {quality.compared_from}"
        )
    else:
        still = float(np.mean(values[moved] == earlier[moved]))
        yield Figure(checks[1], still, high=quality.max_still_share.of(column))
    size, former_size = (float(np.quantile(np.abs(each), 0.75)) for each in (values, earlier))
    if not former_size:
        yield Skipped(checks[2], "three quarters of the previous values are 0")
        return
    factor = quality.max_unit_factor
    yield Figure(checks[2], size / former_size, 1 / factor, factor)


def _moved(rows: pa.Table, before: pa.Table) -> Mask:
    """Return which rows describe another bar than the symbol's previous row."""
    if _BAR not in before.column_names:  # not served: each row is a bar of its own
        return np.ones(rows.num_rows, dtype=bool)
    bar, former = numbers(rows, _BAR), numbers(before, _BAR)
    moved: Mask = bar.valid & former.valid & (bar.values > former.values)
    return moved


def _spans_hole(rows: pa.Table, formula: Formula, holes: OpenHoles) -> Mask:
    """Say in which rows a formula's window may span a missing session."""
    back = formula.look_back
    if isinstance(back, int):
        back = timedelta(days=back * _DAYS_PER_BAR)
    window = timedelta.max if back == "all" else back + _LONGEST_PAUSE
    return holes.reach_into(rows["symbol"].to_pylist(), to_numpy(rows["timestamp"]), window)


def _unmoved(
    group: FeatureGroup, limit: float, rows: pa.Table, before: pa.Table, history: History
) -> Figure | Skipped:
    """Count the symbols that show an old bar though a session has closed since it did."""
    bar, former = numbers(rows, _BAR), numbers(before, _BAR)
    moved = _moved(rows, before)
    still = np.flatnonzero(bar.valid & former.valid & ~moved)
    stalled = sum(
        _session_closed(symbol, int(opened), int(known_at) - _delay(history, symbol, known_at))
        for symbol, opened, known_at in zip(
            rows["symbol"].take(from_numpy(still)).to_pylist(),
            former.values[still],
            rows["timestamp"].take(from_numpy(still)).to_pylist(),
            strict=True,
        )
    )
    return _share("unmoved share", stalled, int(moved.sum()) + stalled, limit, group)


def _delay(history: History, symbol: str, known_at: int) -> int:
    """Return the seconds after a close from which a symbol's values are final."""
    if history.feeds is None:
        return hours_of(symbol).finality_delay
    return history.feeds.delay(symbol, known_at)


def _session_closed(symbol: str, bar_open: int, latest: int) -> bool:
    """Return whether a session after a bar's own has closed by then, as far as hours are known."""
    close = known_bar_close(symbol, bar_open)
    if close is None:
        return False
    exchange = symbol.partition(":")[0]
    day, last = (datetime.fromtimestamp(each, UTC).date() for each in (close, latest))
    day -= timedelta(days=1)  # local dates are at most a day off
    while day <= last + timedelta(days=1):
        bounds = session_bounds(exchange, day)
        if bounds is not None and bounds[0] >= close and bounds[1] <= latest:
            return True
        day += timedelta(days=1)
    return False
