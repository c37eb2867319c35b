"""The flows that make up the operation: what became of each one's last run, and is it missing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from ingestion.base.clock import parse_instant
from ingestion.catalog import Catalog
from ingestion.jobs.audit.status.rhythm import grace, next_start, rhythm
from ingestion.jobs.audit.status.wanted import PassedOver, first_snapshot, symbols_wanted
from ingestion.jobs.profiles import FLOW_FILE, Profile, known_profiles
from ingestion.lakehouse import Lakehouse, run_file
from ingestion.markets.universe import read_universe
from ingestion.runs.receipt_file import receipt_told
from ingestion.runs.run import Outcome

_LOOK_AT_ALL = "status"
"""The step that looks at the whole operation; what it finds is no failure of the one flow."""
_AS_USUAL = ("done", "nothing to do", "not run")
"""What a step's receipt says where nothing went wrong with it."""


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
    pulse = catalog.pulse
    wanted = symbols_wanted(
        lakehouse, pulse, asked, first_snapshot(lakehouse, pulse, fetched, passed_over), seen
    )
    runs = [profile.run_id, *fetched]
    newest = {
        group.name: first_snapshot(lakehouse, group, runs, passed_over) for group in catalog.scanned
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
    )


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
