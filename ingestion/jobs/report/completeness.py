"""Which symbols had a row on which date, by group and market."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from ingestion.catalog import FeatureGroup
from ingestion.jobs.report.stored_rows import StoredRows
from ingestion.markets.hours import ClosingRule, hours_of_exchange
from ingestion.markets.sessions import sessions_between
from ingestion.report.contents import Axis, Kind, Plot, Section, Small
from ingestion.report.formats import counted, share

_GONE_AFTER = timedelta(days=30)
"""A symbol without a row for longer is no longer expected."""
_MARKET_DATES = 45
"""How many newest dates the table of markets shows."""
_STEPS = (0.5, 0.9, 0.99, 0.99999)
_PALETTE = ("q0", "q1", "q2", "q3", "q4")
_NAMES = ("below 50 %", "below 90 %", "below 99 %", "below 100 %", "all")


@dataclass(frozen=True)
class Cell:
    """How many symbols of a market were to have a row on a date, and how many had one."""

    day: date
    market: str
    expected: int
    there: int


@dataclass(frozen=True)
class Completeness:
    """A dataset's cells, by date and then by market."""

    dataset: str
    cells: tuple[Cell, ...]

    def by_day(self) -> dict[date, list[Cell]]:
        """Return the cells of each date."""
        found: dict[date, list[Cell]] = defaultdict(list)
        for cell in self.cells:
            found[cell.day].append(cell)
        return dict(found)


def completeness(found: StoredRows, at: datetime) -> Completeness:
    """Compare the symbols that had a row with those that were to have one.

    A symbol is expected from its first row on, on the dates on which its market has a session that
    closes, until it has had no row for 30 days. Markets that never close are expected when another
    one is, as a flow that runs on weekdays has them.
    """
    days = found.days
    if not days:
        return Completeness(found.dataset.name, ())
    ordinals = np.array([each.day.toordinal() for each in days])
    count = len(found.names.exchanges)
    first, last = np.full(count, np.iinfo(np.int64).max), np.zeros(count, dtype=np.int64)
    for number, each in enumerate(days):
        first[each.symbols] = np.minimum(first[each.symbols], ordinals[number])
        last[each.symbols] = np.maximum(last[each.symbols], ordinals[number])
    newest = int(ordinals[-1])
    last[last >= newest - _GONE_AFTER.days] = at.date().toordinal()
    exchanges = sorted(set(found.names.exchanges))
    of_symbol = np.array([exchanges.index(each) for each in found.names.exchanges])
    seen_on: dict[str, set[date]] = defaultdict(set)
    for each in days:
        for number in np.unique(of_symbol[each.symbols]).tolist():
            seen_on[exchanges[number]].add(each.day)
    open_on = _dates_of_sessions(exchanges, days[0].day, at, found.dataset, seen_on)
    present = {each.day: each.symbols for each in days}
    cells = []
    for day in sorted({*present, *(day for days in open_on.values() for day in days)}):
        is_expected = (first <= day.toordinal()) & (day.toordinal() <= last)
        expected = np.bincount(of_symbol[is_expected], minlength=len(exchanges))
        seen = present.get(day, np.array([], dtype=np.int64))
        there = np.bincount(of_symbol[seen], minlength=len(exchanges))
        for number, exchange in enumerate(exchanges):
            if day in open_on[exchange] and expected[number]:
                cells.append(Cell(day, exchange, int(expected[number]), int(there[number])))
    return Completeness(found.dataset.name, tuple(cells))


def _dates_of_sessions(
    exchanges: Sequence[str],
    first: date,
    at: datetime,
    dataset: object,
    open_days: Mapping[str, set[date]],
) -> dict[str, set[date]]:
    """Return by market the UTC dates on which a row is expected: those of its sessions' closes."""
    closes = {
        exchange: open_days.get(exchange, set())  # nothing says when it is open
        if hours_of_exchange(exchange).rule is ClosingRule.DAY_AFTER_OPEN
        else {
            datetime.fromtimestamp(session.closes, UTC).date()
            for session in sessions_between(exchange, first - timedelta(days=1), at.date())
            if session.closes <= at.timestamp()
        }
        for exchange in exchanges
    }
    never = {each for each in exchanges if _never_closes(each)}
    others = set[date]().union(*(closes[each] for each in exchanges if each not in never))
    is_snapshot = isinstance(dataset, FeatureGroup) and not dataset.source.of_closed_bars
    for exchange in never:
        if is_snapshot and others:
            closes[exchange] &= others
    return {name: {day for day in days if day >= first} for name, days in closes.items()}


def _never_closes(exchange: str) -> bool:
    return hours_of_exchange(exchange).rule is ClosingRule.MIDNIGHT_UTC


def lacking(cells: Sequence[Cell]) -> str:
    """Return which markets lack symbols, for people."""
    short = [each for each in cells if each.there < each.expected]
    if not short:
        return ""
    named = ", ".join(f"{each.market} {each.expected - each.there:,}" for each in short[:6])
    return f"; lacking {named}" + (f" and {len(short) - 6} more markets" if len(short) > 6 else "")


def completeness_section(found: Mapping[str, Completeness]) -> Section:
    """Return calendars of coverage by dataset, and coverage by market."""
    body = list(_plots(found))
    short = [
        f"{name} on {day} ({share(there / expected)} of {counted(expected, 'symbol')})"
        for name, each in found.items()
        for day, expected, there in _totals(each)[-5:]
        if there < expected
    ]
    lead = (
        "In the last five sessions, not every symbol had a row: " + "; ".join(short[:4]) + "."
        if short
        else "In the last five sessions, every symbol that was to have a row had one."
    )
    return Section("complete", "Coverage by day", lead, body, "tvfeast status")


def _totals(found: Completeness) -> list[tuple[date, int, int]]:
    return [
        (day, sum(each.expected for each in cells), sum(each.there for each in cells))
        for day, cells in found.by_day().items()
    ]


def _plots(found: Mapping[str, Completeness]) -> Iterator[Small]:
    there = {name: each for name, each in found.items() if each.cells}
    if there:
        yield Small(
            "Calendars",
            [_calendar(name, each) for name, each in there.items()],
            "One square for each day on which a market had a session.",
            is_wide=True,
        )
        yield Small(
            "By market",
            [_markets(name, each) for name, each in there.items()],
            f"The last {_MARKET_DATES} dates; a market without a session on a date is left grey.",
            is_wide=True,
        )


def _calendar(name: str, found: Completeness) -> Plot:
    by_day = found.by_day()
    totals = {day: (expected, there) for day, expected, there in _totals(found)}
    return Plot(
        key=f"calendar-{name}",
        title=name,
        kind=Kind.CALENDAR,
        x=Axis("week", "UTC dates"),
        y=Axis("day", "of the week"),
        columns={
            "date": list(totals),
            "value": [there / expected for expected, there in totals.values()],
            "note": [
                f"{there:,} of {expected:,} symbols{lacking(by_day[day])}"
                for day, (expected, there) in totals.items()
            ],
        },
        colour=Axis("symbols with a row", "% of those expected"),
        steps=_STEPS,
        palette=_PALETTE,
        names=_NAMES,
        is_small=True,
    )


def _markets(name: str, found: Completeness) -> Plot:
    days = sorted({cell.day for cell in found.cells})[-_MARKET_DATES:]
    cells = [cell for cell in found.cells if cell.day >= days[0]]
    return Plot(
        key=f"markets-{name}",
        title=name,
        kind=Kind.MATRIX,
        x=Axis("session’s close", "UTC date"),
        y=Axis("market", "TradingView code"),
        columns={
            "x": [cell.day for cell in cells],
            "y": [cell.market for cell in cells],
            "value": [cell.there / cell.expected for cell in cells],
            "note": [f"{cell.there:,} of {cell.expected:,} symbols" for cell in cells],
        },
        colour=Axis("symbols with a row", "% of those expected"),
        steps=_STEPS,
        palette=_PALETTE,
        names=_NAMES,
        is_small=True,
    )
