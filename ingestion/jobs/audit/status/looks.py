"""What ``status`` looks at beside the flows and the rows: each look gives one section.

Holes, the ends of calendars, universes, and what bar sources changed of their past. A look changes
nothing, and takes no lock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow.compute as pc

from ingestion.bars.changed_past import ChangedPast
from ingestion.bars.recent_bars import RecentBars
from ingestion.base.arrow import text
from ingestion.base.clock import parse_instant
from ingestion.base.wording import counted
from ingestion.jobs.ingest.missing_sessions import find_holes, hole_messages
from ingestion.jobs.ingest.unfinished_imports import imports_told
from ingestion.lakehouse import IMPORTED, read_members, recorded_universes
from ingestion.lakehouse.membership import Membership
from ingestion.markets.sessions import calendar_ends
from ingestion.project import Project

_CHANGED_WITHIN = timedelta(days=90)


@dataclass(frozen=True)
class Section:
    """What one look has found."""

    name: str
    """Which one it is."""
    document: object = None
    """What it has found, for ``--json``: a dataclass, or values of the types of JSON."""
    lines: tuple[str, ...] = field(default=(), repr=False)
    """The same for people."""
    problems: tuple[str, ...] = field(default=(), repr=False)
    """What ``status`` exits with 3 for, each with what to do."""
    warnings: tuple[str, ...] = field(default=(), repr=False)
    """What is to be known in time; the exit code stays as it is."""


_NAMED = 10
"""Accepted sessions that the text names."""


def look_at_holes(project: Project, at: datetime, recent: RecentBars) -> Section:
    """Name the sessions that are missing, or accepted as missing."""
    holes = find_holes(project.lakehouse, at, recent)
    lines = [
        f"accepted as missing on {each.accepted_at:%Y-%m-%d}: {each.market} {each.session}: "
        f"{each.reason}"
        for each in holes.accepted[-_NAMED:]
    ]
    if (more := len(holes.accepted) - _NAMED) > 0:
        lines.append(f"  and {counted(more, 'earlier session')}")
    return Section("holes", holes, tuple(lines), tuple(hole_messages(holes.open)))


IN_TIME = timedelta(days=60)
"""How long before a calendar's end there is a warning."""
_IN_USE = timedelta(days=30)
"""An exchange whose bars closed within it is in use."""


def look_at_calendars(project: Project, at: datetime, recent: RecentBars) -> Section:
    """Name the exchanges in use whose sessions are soon not known any more.

    A warning, before the end and after it: bars are stored then as before, and marked.
    """
    today = at.date()
    ends = calendar_ends(_exchanges(recent, today))
    ending = {exchange: end for exchange, end in ends.items() if end - today <= IN_TIME}
    document = {"calendar_ends": {exchange: str(end) for exchange, end in ends.items()}}
    warnings = [_told(exchange, end, today) for exchange, end in ending.items()]
    return Section("calendars", document, warnings=tuple(warnings))


def _told(exchange: str, end: date, today: date) -> str:
    verb = "ended" if end < today else "ends"
    return (
        f"the calendar of {exchange} {verb} on {end}: after it each weekday's usual hours are "
        "assumed, holidays and short days too, and its bars are marked; update "
        "exchange_calendars, or write the year's holidays and short days to "
        "feature_repo/sessions.csv"
    )


def _exchanges(recent: RecentBars, today: date) -> set[str]:
    """Return the exchanges that have bars of late."""
    is_there = np.zeros(len(recent.names), dtype=bool)
    for each in recent.days:
        if each.day >= today - _IN_USE:
            is_there[each.symbol] = True
    return {recent.exchanges[number] for number in np.flatnonzero(is_there).tolist()}


_ANSWERED_WITHIN = timedelta(days=30)
"""A universe whose last answer is older is not in use any more."""


@dataclass(frozen=True)
class RecordedUniverse:
    """What is known now of a universe that was asked for of late."""

    name: str
    answered: datetime
    """When the last complete answer came."""
    members: int
    """Those that it listed."""
    known_until: datetime
    """From then on membership is unknown, unless a complete answer comes."""


def look_at_universes(project: Project, at: datetime, recent: RecentBars) -> Section:
    """Name the universes that were asked for of late, and those whose members are not known.

    A warning: who asks for a universe is a flow, which is missed by itself.
    """
    found, since = [], (at - _ANSWERED_WITHIN).date()
    for name in recorded_universes(project.lakehouse, since):
        rows = read_members(project.lakehouse, name, since=since)
        membership = Membership.of(rows.filter(pc.not_equal(rows["source"], text(IMPORTED))))
        if (answered := membership.last_answer(at)) is not None:
            members, until = membership.listed_at(answered), membership.answered_until_of(answered)
            found.append(RecordedUniverse(name, answered, len(members), until))
    lines = [
        f"universe {each.name}: {counted(each.members, 'member')} of "
        f"{each.answered:%Y-%m-%d %H:%M} UTC"
        for each in found
    ]
    warnings = [
        f"who is in the universe {each.name} is unknown since {each.known_until:%Y-%m-%d %H:%M} "
        f"UTC: no complete answer came since {each.answered:%Y-%m-%d %H:%M} UTC; run `tvfeast "
        f"flow-data --universe {each.name}`, its receipt says why"
        for each in found
        if each.known_until <= at
    ]
    return Section("universes", found, tuple(lines), warnings=tuple(warnings))


def look_at_changed_past(project: Project, at: datetime, recent: RecentBars) -> Section:
    """Say how often sources gave stored bars other values in the last 90 days, and how large."""
    past = ChangedPast()

    def read(receipt: dict[str, Any]) -> tuple[datetime, dict[str, Any]]:
        return parse_instant(receipt["started"]), receipt.get("changed_past", {})

    # Receipts that cannot be read are named by the report.
    for started, told in imports_told(project.lakehouse, read, lambda _: None):
        if started < at - _CHANGED_WITHIN:
            break
        past.add_document(told)
    lines = [
        f"past changed by {source} in 90 days: {counted(each.bars, 'bar')} of "
        f"{counted(len(each.symbols), 'symbol')}"
        + (f", by at most {each.largest * 100:.2g} % ({each.largest_of})" if each.largest else "")
        for source, each in past
    ]
    return Section("changed_past", past, tuple(lines))


LOOKS = (look_at_holes, look_at_calendars, look_at_universes, look_at_changed_past)
"""In the order in which they are shown. They change nothing, and take no lock."""
