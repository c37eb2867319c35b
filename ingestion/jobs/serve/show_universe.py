"""Who was in a universe, and which universes there are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base import clock
from ingestion.base.errors import InputError
from ingestion.base.wording import did_you_mean
from ingestion.lakehouse import read_members, recorded_universes
from ingestion.lakehouse.membership import Membership
from ingestion.markets.hours import time_zone
from ingestion.project import Project


@dataclass(frozen=True)
class UniverseMembers:
    """Who was in a universe at an instant, as it was known then."""

    universe: str
    as_of: date | datetime
    """An instant; or a date, which each symbol's exchange ends at its own midnight."""
    is_known: bool
    symbols: tuple[str, ...]
    """Sorted; none if it is not known who was in."""
    source: str
    """What says so: ``scan``, ``symbolset``, ``symbols`` or ``import``; empty if unknown."""
    answered: datetime | None
    """When the last complete answer came; None before any."""

    @property
    def refusal(self) -> str | None:
        """Why it is not known who was in, and what to do; None if it is known."""
        if self.is_known:
            return None
        last = (
            f"the last complete answer before is of {self.answered:%Y-%m-%d %H:%M} UTC, which is "
            "too old"
            if self.answered
            else "there is no complete answer before, and nothing imported"
        )
        at = self.as_of
        when = f"{at:%Y-%m-%d %H:%M} UTC" if isinstance(at, datetime) else f"{at}"
        return (
            f"it is not known who was in {self.universe} at {when}: {last}; `tvfeast universe "
            f"import` loads dated membership; `tvfeast flow-data --universe {self.universe}` "
            "records the members from now on, where a file of feature_repo/universes/ declares it"
        )


@dataclass(frozen=True)
class UniverseState:
    """One universe, declared or recorded."""

    name: str
    declared: str
    """Where its symbols come from; empty if no file declares it."""
    members: int | None
    """Members now; None if it is not known who they are."""
    answered: datetime | None
    """When the last complete answer came."""
    imported: int
    """Spans that were imported."""


@dataclass(frozen=True)
class UniverseList:
    """All universes."""

    universes: tuple[UniverseState, ...]


def membership_of(
    project: Project, name: str, *, as_recorded: bool = False, known_at: datetime | None = None
) -> Membership:
    """Return who was in a universe when.

    Parameters
    ----------
    as_recorded
        Whether a row counts only from when it was written.
    known_at
        Rows that were written later are not there; None for all.

    Raises
    ------
    InputError
        If no file declares it and nothing of it is recorded.
    """
    return Membership.of(_rows_of(project, name, known_at), as_recorded=as_recorded)


def _rows_of(project: Project, name: str, known_at: datetime | None = None) -> pa.Table:
    rows = read_members(project.lakehouse, name, known_at)
    if rows.num_rows or project.catalog.universe(name) is not None:
        return rows
    declared = (each.name for each in project.catalog.universes)
    names = sorted({*recorded_universes(project.lakehouse), *declared})
    if name not in names:  # else it was recorded later
        there = f"there are {', '.join(names)}" if names else "there is none"
        near = did_you_mean(name, names)
        raise InputError(
            f"there is no universe {name!r}{near}: {there}; declare it in "
            "feature_repo/universes/, or import its members with `tvfeast universe import`"
        )
    return rows


def members_so_far(project: Project, name: str) -> tuple[str, ...]:
    """Return everybody who is known to have been in a universe until now, sorted.

    Raises
    ------
    InputError
        If there is no such universe, or nobody is known to have been in it.
    """
    first = datetime.min.replace(tzinfo=UTC)
    members = membership_of(project, name).members_between(first, clock.now())
    if not members:
        raise InputError(
            f"nobody is known to have been in {name}: `tvfeast universe import` loads dated "
            f"membership; `tvfeast flow-data --universe {name}` records the members from now on, "
            "where a file of feature_repo/universes/ declares it"
        )
    return tuple(sorted(members))


def show_universe(
    project: Project,
    name: str,
    as_of: date | datetime | None = None,
    known_at: datetime | None = None,
) -> UniverseMembers:
    """Return who was in a universe.

    Parameters
    ----------
    as_of
        An instant, or a date: the end of that date at each symbol's exchange; now if None.
    known_at
        Rows that were written later are not there; None for all.

    Raises
    ------
    InputError
        If there is no such universe.
    """
    at = clock.now() if as_of is None else as_of
    rows = _rows_of(project, name, known_at)
    membership = Membership.of(rows)
    if isinstance(at, datetime):
        members, instant = membership.members_at(at), at
    else:
        instant = _end_of(at, "Etc/UTC")
        members = _members_of_date(membership, at)
    answer = membership.last_answer(instant)
    source = ""
    if members is not None:
        is_answered = membership.is_answered(instant) and answer is not None
        of_answer = rows.filter(pc.equal(rows["valid_from"], pa.scalar(answer)))
        source = str(of_answer["source"][0]) if is_answered else "import"
    return UniverseMembers(
        universe=name,
        as_of=at,
        is_known=members is not None,
        symbols=tuple(members or ()),
        source=source,
        answered=answer,
    )


def list_universes(project: Project) -> UniverseList:
    """Return all universes that are declared or recorded."""
    now = clock.now()
    declared = {each.name: each.summary for each in project.catalog.universes}
    states = []
    for name in sorted({*declared, *recorded_universes(project.lakehouse)}):
        membership = membership_of(project, name)
        members = membership.members_at(now)
        states.append(
            UniverseState(
                name=name,
                declared=declared.get(name, ""),
                members=None if members is None else len(members),
                answered=membership.last_answer(now),
                imported=len(membership.spans[0]),
            )
        )
    return UniverseList(tuple(states))


def _members_of_date(membership: Membership, day: date) -> list[str] | None:
    """Return who was in at the end of a date at each symbol's own exchange."""
    names = membership.names.to_pylist()
    ends = {zone: _end_of(day, zone) for zone in {time_zone(name) or "Etc/UTC" for name in names}}
    micros = [int(ends[time_zone(name) or "Etc/UTC"].timestamp() * 1e6) for name in names]
    times = np.array(micros, dtype=np.int64)
    if not membership.is_known(times).any():
        return None
    is_in = membership.was_member(membership.names, np.arange(len(names)), times)
    return sorted(membership.names.filter(pa.array(is_in, pa.bool_())).to_pylist())


def _end_of(day: date, zone: str) -> datetime:
    midnight = datetime.combine(day + timedelta(days=1), time(), ZoneInfo(zone))
    return midnight.astimezone(UTC) - timedelta(seconds=1)
