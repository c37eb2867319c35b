"""What is judged over a batch as a whole: shares, counts, drift, each a number with its limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.bars.holes import OpenHoles
from ingestion.catalog import FeatureGroup
from ingestion.catalog.formula import Formula
from ingestion.markets.hours import hours_of, known_bar_close
from ingestion.markets.sessions import session_bounds
from ingestion.quality.history import History
from ingestion.quality.rows import numbers

TENTHS = 10
SMALLEST_SHARE = 1e-3
"""What an empty bin counts for; the logarithm of nothing is not finite."""

_BAR = "bar_timestamp"
_DAYS_PER_BAR = 2
"""More than any market's sessions are apart: five in seven days, and halts."""
_LONGEST_PAUSE = timedelta(days=12)

Values = NDArray[np.float64]


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


@dataclass(frozen=True)
class Skipped:
    """A check that could not be judged."""

    check: str
    reason: str


def shares(group: FeatureGroup, rows: int, quarantined: int) -> Iterator[Figure | Skipped]:
    """Judge how many rows were quarantined."""
    yield _share(
        "quarantined share",
        quarantined,
        rows,
        group.quality.max_quarantined_share,
        group.quality.judged_from,
    )


def against_history(
    group: FeatureGroup, rows: pa.Table, history: History | None
) -> Iterator[Figure | Skipped]:
    """Judge what needs earlier rows: lost values, bars that did not move, drift.

    Parameters
    ----------
    rows
        A row a symbol.
    history
        Earlier rows of the same symbols; None if there are none to compare with.
    """
    history = history or History.none(group)
    yield from _lost(group, rows, history)
    if group.quality.max_unmoved_share is not None:
        yield _unmoved(group, group.quality.max_unmoved_share, rows, history)
    yield from _drift(group, rows, history)


def age(group: FeatureGroup, rows: pa.Table, at: datetime) -> Figure | Skipped:
    """Judge how old the newest row is, in hours."""
    if not rows.num_rows:
        return Skipped("age hours", "no rows")
    hours = (at - newest(rows)) / timedelta(hours=1)
    return Figure("age hours", hours, high=group.quality.max_age / timedelta(hours=1))


def newest(rows: pa.Table) -> datetime:
    """Return the newest event time of some rows."""
    instant: datetime = pc.max(rows["event_timestamp"]).as_py()
    return instant.astimezone(UTC)


def stability_index(values: Values, reference: Values) -> float:
    """Return the population stability index, Σ (p − q) ln(p ÷ q).

    p and q are the shares of the values and of the reference in each tenth of the reference, none
    counted as less than :data:`SMALLEST_SHARE`. Tenths whose edges coincide are one bin.

    Parameters
    ----------
    values, reference
        Shapes ``(n,)`` and ``(m,)``, finite, not empty, in any order.

    References
    ----------
    Lewis, E. M. (1994). An Introduction to Credit Scoring.
    """
    edges = np.unique(np.quantile(reference, np.arange(1, TENTHS) / TENTHS))
    p, q = (
        np.maximum(
            np.bincount(edges.searchsorted(each), minlength=len(edges) + 1) / len(each),
            SMALLEST_SHARE,
        )
        for each in (values, reference)
    )
    return float(((p - q) * np.log(p / q)).sum())


def _share(check: str, part: int, whole: int, limit: float, least: int) -> Figure | Skipped:
    if whole < least:
        return Skipped(check, f"{whole} rows, judged from {least}")
    return Figure(check, part / whole, high=limit)


def _lost(group: FeatureGroup, rows: pa.Table, history: History) -> Iterator[Figure | Skipped]:
    """Count the values that were there in the symbol's previous row and are gone.

    Those behind a missing session do not count: they are null until it is imported or accepted.
    """
    previous = history.previous
    before = previous.take(pc.index_in(rows["symbol"], previous["symbol"].combine_chunks()))
    for column in group.features:
        had = pc.is_valid(before[column.name]).to_numpy()
        if history.holes:
            had &= ~_spans_hole(rows, history.formulas[column.name], history.holes)
        lost = had & pc.is_null(rows[column.name]).to_numpy()
        yield _share(
            f"{column.name} lost share",
            int(lost.sum()),
            int(had.sum()),
            group.quality.max_lost_share,
            group.quality.judged_from,
        )


def _spans_hole(rows: pa.Table, formula: Formula, holes: OpenHoles) -> NDArray[np.bool_]:
    """Say in which rows a formula's window may span a missing session."""
    back = formula.look_back
    if isinstance(back, int):
        back = timedelta(days=back * _DAYS_PER_BAR)
    window = timedelta.max if back == "all" else back + _LONGEST_PAUSE
    return holes.reach_into(rows["symbol"].to_pylist(), rows["timestamp"].to_numpy(), window)


def _unmoved(
    group: FeatureGroup, limit: float, rows: pa.Table, history: History
) -> Figure | Skipped:
    """Count the symbols that show an old bar though a session has closed since it did."""
    previous = history.previous
    before = previous.take(pc.index_in(rows["symbol"], previous["symbol"].combine_chunks()))
    bar, former = numbers(rows, _BAR), numbers(before, _BAR)
    both = bar.valid & former.valid
    moved = both & (bar.values > former.values)
    still = np.flatnonzero(both & ~moved)
    stalled = sum(
        _session_closed(symbol, int(opened), int(known_at) - _delay(history, symbol, known_at))
        for symbol, opened, known_at in zip(
            rows["symbol"].take(pa.array(still)).to_pylist(),
            former.values[still],
            rows["timestamp"].take(pa.array(still)).to_pylist(),
            strict=True,
        )
    )
    with_session = int(moved.sum()) + stalled
    return _share("unmoved share", stalled, with_session, limit, group.quality.judged_from)


def _delay(history: History, symbol: str, known_at: int) -> int:
    """Return the seconds after a close from which a symbol's values are final."""
    if history.feeds is None:
        return hours_of(symbol).finality_delay
    return history.feeds.delay(symbol, known_at)


def _session_closed(symbol: str, bar_open: int, latest: int) -> bool:
    """Tell whether a session after a bar's own has closed by then, as far as hours are known."""
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


def _drift(group: FeatureGroup, rows: pa.Table, history: History) -> Iterator[Figure | Skipped]:
    quality = group.quality
    for column in group.features:
        limit = quality.max_drift.of(column.name)
        if limit is None:
            continue
        check = f"{column.name} drift"
        if history.days < quality.drift_days:
            yield Skipped(check, f"{history.days} days, judged from {quality.drift_days}")
            continue
        values, reference = (_present(each, column.name) for each in (rows, history.trailing))
        fewest = min(len(values), len(reference))
        if fewest < quality.drift_from:
            yield Skipped(check, f"{fewest} values, judged from {quality.drift_from}")
            continue
        yield Figure(check, stability_index(values, reference), high=limit)


def _present(rows: pa.Table, column: str) -> Values:
    values, valid = numbers(rows, column)
    return values[valid]
