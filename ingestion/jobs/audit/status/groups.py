"""How fresh the groups of features are, and for which flow they are not fresh enough."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ingestion.base.arrow import to_numpy
from ingestion.base.instants import from_micros
from ingestion.catalog import FeatureGroup, Files, FromBars, Scanner
from ingestion.jobs.audit.status.bars import BarsStatus
from ingestion.jobs.audit.status.wanted import Snapshot
from ingestion.lakehouse import Lakehouse, days_back, read_part
from ingestion.markets.due import Due
from ingestion.markets.symbols import exchange_of
from ingestion.runs.quarantine import quarantined

Newest = Mapping[str, Mapping[str, datetime]]
"""By group and symbol, the event of the newest row of the last 90 days."""


@dataclass(frozen=True)
class GroupStatus:
    """One feature group."""

    view: str
    of_closed_bars: bool
    """Whether it is computed from bars, not fetched from the scanner."""
    is_imported: bool
    """Whether its rows are read from files that somebody brings, in no flow."""
    command: str
    """What brings rows: a command of ``tvfeast``."""
    newest: datetime | None
    """Event of its newest row; None without one."""
    age: timedelta | None
    max_age: timedelta
    coverage: float | None
    """Of the newest snapshot, by its receipt; None where no receipt says it."""
    asked: int
    """Symbols that the flows want and that the group can have."""
    stale: tuple[str, ...]
    """Those among them whose newest row is older than ``max_age``."""
    missing: tuple[str, ...]
    """Those among them without any row in the last 90 days."""
    quarantined: int
    """Rows that the newest snapshot's run kept back."""
    asked_when: str
    """How often the scanner is asked, and while which market hours."""
    is_due: bool
    """Whether newer rows of any symbol that is wanted are to be had; else it is not late."""


@dataclass(frozen=True)
class Demand:
    """Who wants which symbols, and what of them is not fresh."""

    flow: str | None
    """The name of its profile; None for a snapshot that no flow took."""
    view: str
    asked: int
    stale: tuple[str, ...]
    missing: tuple[str, ...]
    coverage: float | None
    wanted: frozenset[str] = field(repr=False)
    due: int
    """Symbols among the asked that are to have a newer row."""

    @property
    def late(self) -> int:
        """Symbols that are stale or missing."""
        return len(self.stale) + len(self.missing)

    @property
    def label(self) -> str:
        """Whose view it is, for people."""
        return self.view if self.flow is None else f"{self.flow}: {self.view}"


def demands(
    groups: Iterable[FeatureGroup],
    flow: str | None,
    wanted: frozenset[str],
    coverage: Mapping[str, float],
    newest: Newest,
    bars: BarsStatus,
    max_ages: Mapping[str, timedelta],
    at: datetime,
    asked_groups: Collection[str] | None = None,
) -> Iterator[Demand]:
    """Yield of each group what one flow wants of it.

    A symbol for which a group is not due is neither stale nor missing.

    Of the recomputed group it wants the symbols with bars; those whose market is imported alone are
    as fresh as they can be.

    Parameters
    ----------
    coverage
        Of the newest snapshot, by the name of its group.
    asked_groups
        The groups of the scanner that the flow asks for; all if None.
    """
    imported = bars.imported
    for group in groups:
        is_scanned = isinstance(group.source, Scanner)
        if is_scanned and asked_groups is not None and group.name not in asked_groups:
            continue
        rows, asked, may_be_old = newest[group.name], wanted, frozenset[str]()
        if not group.source.has_all:  # those without a row may have none
            asked = wanted & rows.keys()
        if isinstance(group.source, FromBars):
            asked = wanted & bars.newest.keys()
            may_be_old = frozenset(s for s in asked if imported and exchange_of(s) in imported)
        if not group.is_asked_always:
            due = Due(group, at)
            may_be_old = frozenset(s for s in asked if not _is_owed(due, s, rows.get(s)))
        old = {s for s in asked & rows.keys() if at - rows[s] > max_ages[group.name]}
        yield Demand(
            flow=flow,
            view=group.name,
            asked=len(asked),
            stale=tuple(sorted(old - may_be_old)),
            missing=tuple(sorted(asked - rows.keys() - may_be_old)),
            coverage=coverage.get(group.name),
            wanted=asked,
            due=len(asked) - len(may_be_old),
        )


def _is_owed(due: Due, symbol: str, newest: datetime | None) -> bool:
    """Return whether a symbol was to have a newer row by now, or a first one is to be asked for."""
    if newest is None:
        return due.is_due(symbol, None)
    return due.is_behind(symbol, int(newest.timestamp()))


def group_status(
    lakehouse: Lakehouse,
    group: FeatureGroup,
    newest: Mapping[str, datetime],
    demand: list[Demand],
    snapshot: Snapshot | None,
    max_age: timedelta,
    at: datetime,
) -> GroupStatus:
    """Return how fresh one group is, for all who want it."""
    last = max(newest.values(), default=None) or _newest_of_all(lakehouse, group, at)
    return GroupStatus(
        view=group.name,
        of_closed_bars=group.source.of_closed_bars,
        is_imported=isinstance(group.source, Files),
        command=group.source.command,
        newest=last,
        age=at - last if last else None,
        max_age=max_age,
        coverage=snapshot.coverage if snapshot and not group.source.of_closed_bars else None,
        asked=len(frozenset[str]().union(*(each.wanted for each in demand))),
        stale=_union(each.stale for each in demand),
        missing=_union(each.missing for each in demand),
        quarantined=quarantined(lakehouse, snapshot.run_id)[group.name] if snapshot else 0,
        asked_when=group.asked,
        is_due=group.is_asked_always or not demand or any(each.due for each in demand),
    )


def _union(names: Iterator[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted(frozenset[str]().union(*names)))


def _newest_of_all(lakehouse: Lakehouse, group: FeatureGroup, at: datetime) -> datetime | None:
    """Return the newest event of a history that ended long ago."""
    for _, parts in days_back(lakehouse, group, at.date()):
        events = [
            event
            for part in parts
            for event in to_numpy(read_part(part, group, [group.event])[group.event]).tolist()
        ]
        if events:
            return from_micros(max(events))
    return None
