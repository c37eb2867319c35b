"""The flows that make up the operation: what became of each one's last run, and is it missing.

The rhythm is the declared one, or the median of the gaps between the last five starts; of two in
the middle the longer, so that a flow with two lines in the crontab is one of every day.

The next start is a rhythm after the last one. The time in which none of the flow's markets has a
session is added, so a flow that runs on weekdays is not missed on a Sunday, nor in a holiday. A
quarter of the rhythm later the flow is missed.

A market that never closes does not count beside others: whoever runs shares and coins together
may do so on weekdays. Of exchanges of unknown hours nothing is expected on a weekend.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import partial
from itertools import pairwise
from typing import Any

from ingestion.base.clock import parse_instant
from ingestion.catalog import Catalog, FeatureGroup
from ingestion.jobs.audit.status.wanted import PassedOver, first_snapshot, symbols_wanted
from ingestion.jobs.profiles import FLOW_FILE, Profile, known_profiles
from ingestion.lakehouse import Lakehouse, run_file
from ingestion.markets.hours import ClosingRule, MarketHours, hours_of
from ingestion.markets.sessions import session_bounds
from ingestion.markets.symbols import exchange_of
from ingestion.markets.universe import read_universe
from ingestion.runs.receipt_file import receipt_told
from ingestion.runs.run import Outcome

_LOOK_AT_ALL = "status"
"""The step that looks at the whole operation; what it finds is no failure of the one flow."""
_AS_USUAL = ("done", "nothing to do", "not run")
"""What a step's receipt says where nothing went wrong with it."""

_DAY = timedelta(days=1)
_LONGEST_PAUSE = timedelta(days=30)
"""No market known is closed for as long."""
_SATURDAY = 5

Span = tuple[datetime, datetime]
"""Open and close of a session."""


class State(StrEnum):
    """What became of a flow's last run."""

    RUNNING = "running"
    DONE = "done"
    REFUSED = "refused"
    """A limit said no, to all or to a part."""
    FAILED = "failed"
    KILLED = "killed"
    """It ended without a word: its lock is free."""


@dataclass(frozen=True)
class ProfileStatus:
    """One flow of the operation."""

    name: str
    run_id: str
    """Its last run."""
    state: State
    reason: str
    """What failed, or how far it came."""
    started: datetime
    every: timedelta | None
    """Its rhythm: as declared, else as its last starts show; None before there are two."""
    is_declared: bool
    is_expected: bool
    """Whether it has run often enough to be missed."""
    missed_from: datetime | None
    """When it is missed unless it starts before; None if nothing is known to be expected."""
    is_absent: bool
    symbols: int
    """How many it fetches."""
    coverage: dict[str, float]
    """Of the newest snapshot of each of the scanner's groups that it has one of."""
    wanted: frozenset[str] = field(repr=False)
    """The symbols that it fetches."""
    groups: frozenset[str]
    """The groups of the scanner that it asks for."""

    @property
    def _verb(self) -> str:
        return "failed" if self.state is State.FAILED else "was refused something"

    @property
    def problem(self) -> str | None:
        """What is wrong with it, and what to do; None if nothing is."""
        who = f"the flow {self.name!r}"
        name = shlex.quote(self.name)
        forget = f"or `tvfeast status --forget {name}` if it is not to run any more"
        if self.state is State.KILLED:
            return (
                f"{who} was killed {self.reason} (run {self.run_id}, started "
                f"{self.started:%Y-%m-%d %H:%M} UTC): run it again, {forget}"
            )
        if self.state in (State.FAILED, State.REFUSED):
            return (
                f"{who} {self._verb} at {self.started:%Y-%m-%d %H:%M} UTC: {self.reason} "
                f"(run {self.run_id}): run it again, {forget}"
            )
        if self.is_absent and self.state is State.RUNNING:
            return (
                f"{who} has been running since {self.started:%Y-%m-%d %H:%M} UTC {self.reason}, "
                f"and was to start again by {self.missed_from:%Y-%m-%d %H:%M} UTC"
            )
        if self.is_absent:
            return (
                f"{who} did not run: it last started at {self.started:%Y-%m-%d %H:%M} UTC, and was "
                f"to start again by {self.missed_from:%Y-%m-%d %H:%M} UTC: run it, {forget}"
            )
        return None


def flows(
    lakehouse: Lakehouse,
    catalog: Catalog,
    at: datetime,
    seen: Mapping[str, datetime],
    passed_over: PassedOver,
) -> tuple[ProfileStatus, ...]:
    """Return the flows of the operation, by name.

    Reads the newest receipt of all flows, and of each flow its own newest one and its snapshot's.

    Parameters
    ----------
    seen
        The symbols with a row in the last 90 days.
    passed_over
        Gets the error of each receipt that cannot be read.
    """
    found = []
    for _, profile in sorted(known_profiles(lakehouse, passed_over).items()):
        read = partial(_flow, lakehouse, catalog, at, seen, passed_over, profile)
        told = receipt_told(run_file(lakehouse, profile.run_id, FLOW_FILE), read, passed_over)
        if told is not None:
            found.append(told)
    return tuple(found)


def _flow(
    lakehouse: Lakehouse,
    catalog: Catalog,
    at: datetime,
    seen: Mapping[str, datetime],
    passed_over: PassedOver,
    profile: Profile,
    receipt: dict[str, Any],
) -> ProfileStatus:
    started = parse_instant(receipt["started"])
    asked = read_universe(receipt["request"]["source"]).symbols
    fetched = [start.run_id for start in reversed(profile.starts)]
    names = receipt.get("groups")  # None in a receipt from before flows had groups of their own
    groups = [each for each in catalog.scanned if names is None or each.name in names]
    main = catalog.pulse if catalog.pulse in groups or not groups else groups[0]
    wanted = symbols_wanted(
        lakehouse, main, asked, first_snapshot(lakehouse, main, fetched, passed_over), seen
    )
    runs = [profile.run_id, *fetched]
    newest = {
        group.name: first_snapshot(
            lakehouse, group, dict.fromkeys([*runs, *_last(profile, group)]), passed_over
        )
        for group in groups
    }
    declared = timedelta(seconds=receipt["every"]) if receipt["every"] is not None else None
    every = declared or rhythm([start.at for start in profile.starts])
    missed_from = _missed_from(at, started, every, wanted) if profile.is_expected else None
    state, reason = _state(lakehouse, receipt)
    return ProfileStatus(
        name=profile.name,
        run_id=profile.run_id,
        state=state,
        reason=reason,
        started=started,
        every=every,
        is_declared=declared is not None,
        is_expected=profile.is_expected,
        missed_from=missed_from,
        is_absent=missed_from is not None and at > missed_from,
        symbols=len(wanted),
        coverage={name: each.coverage for name, each in newest.items() if each},
        wanted=wanted,
        groups=frozenset(group.name for group in groups),
    )


def _last(profile: Profile, group: FeatureGroup) -> list[str]:
    """Return the run that has last fetched a group, which may be seldom due."""
    last = profile.snapshots.get(group.name)
    return [] if last is None else [last]


def _missed_from(
    at: datetime, started: datetime, every: timedelta | None, symbols: frozenset[str]
) -> datetime | None:
    if every is None:
        return None
    missed = started + every + grace(every)
    if at <= missed:  # no session moves it forward, so no calendar need be loaded
        return missed
    following = next_start(started, every, symbols)
    return following + grace(every) if following is not None else None


def _state(lakehouse: Lakehouse, receipt: dict[str, Any]) -> tuple[State, str]:
    outcome, steps = Outcome(receipt["outcome"]), receipt["steps"]
    own = [step for step in steps if step["step"] != _LOOK_AT_ALL]
    if outcome is Outcome.RUNNING:
        ended = [step["step"] for step in own if step["status"] != "not run"]
        so_far = f"after {ended[-1]}" if ended else "before its first step was done"
        state = State.RUNNING if lakehouse.is_writing(receipt["run_id"]) else State.KILLED
        return state, so_far
    for state in (State.FAILED, State.REFUSED):
        for step in own:
            if step["status"] == state:
                return state, f"{step['step']}: {step['reason']}"
    is_whole = all(step["status"] in _AS_USUAL for step in steps)
    if outcome is not Outcome.DONE and is_whole:  # it ended between its steps
        return State.FAILED, str(receipt["error"])
    return State.DONE, ""


def rhythm(starts: Sequence[datetime]) -> timedelta | None:
    """Return the usual gap between starts, which ascend; None of fewer than two.

    Examples
    --------
    >>> rhythm([datetime(2026, 1, day, 21, 40, tzinfo=UTC) for day in (8, 9, 12, 13, 14)])
    datetime.timedelta(days=1)
    """
    gaps = sorted(later - earlier for earlier, later in pairwise(starts))
    return gaps[len(gaps) // 2] if gaps else None


def grace(every: timedelta) -> timedelta:
    """Return for how long after it was to start a flow is not missed yet."""
    return every / 4


def next_start(start: datetime, every: timedelta, symbols: Iterable[str]) -> datetime | None:
    """Return when a flow of these symbols is to start again after it did; None for never.

    It loads the calendars of their exchanges, which takes seconds.
    """
    markets = {hours_of(symbol): exchange_of(symbol) for symbol in symbols}
    with_pauses = {
        hours: exchange
        for hours, exchange in markets.items()
        if hours.rule is not ClosingRule.MIDNIGHT_UTC
    }
    if not with_pauses:
        return start + every
    starts = (_in_market(start, every, *market) for market in with_pauses.items())
    return min((each for each in starts if each is not None), default=None)


def _in_market(
    start: datetime, every: timedelta, hours: MarketHours, exchange: str
) -> datetime | None:
    sessions = _sessions_around(start + every, hours, exchange)
    if every < _DAY:  # once or more in each session
        wanted = start + every
        if any(opens <= wanted <= closes for opens, closes in sessions):
            return wanted
        return min((opens + every for opens, _ in sessions if opens > wanted), default=None)
    # A start is of the session whose close is the nearest, be it before or after it.
    middle = start + every / 2
    closes = [closes for _, closes in sessions]
    for before, after in pairwise(closes):
        if before <= middle < after:
            return start + every + max(timedelta(0), after - before - _DAY)
    return None


def _sessions_around(instant: datetime, hours: MarketHours, exchange: str) -> list[Span]:
    days = [
        instant.date() + timedelta(days=day)
        for day in range(-_LONGEST_PAUSE.days, _LONGEST_PAUSE.days + 1)
    ]
    found = (_session(day, hours, exchange) for day in days)
    return [session for session in found if session is not None]


def _session(day: date, hours: MarketHours, exchange: str) -> Span | None:
    if hours.rule is ClosingRule.DAY_AFTER_OPEN and day.weekday() >= _SATURDAY:
        return None
    bounds = session_bounds(exchange, day)
    if bounds is None:
        return None
    opens, closes = (datetime.fromtimestamp(instant, UTC) for instant in bounds)
    return opens, closes
