"""All of it: what there is now, and which limits are passed.

Reads the newest receipts and the keys of recent rows; a receipt that cannot be read is past a
limit, and the one before it counts, as it does where a run died before its snapshot appeared.
Changes nothing, does not ask Feast, and waits for nobody. Only the step of a flow keeps what it has
read of the bars (:mod:`ingestion.bars.kept_days`), for those who look later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from ingestion.bars.recent_bars import RecentBars
from ingestion.base import clock
from ingestion.base.errors import InputError
from ingestion.base.wording import counted, some_of
from ingestion.catalog import OHLCV_1D, FeatureGroup, FromBars
from ingestion.jobs.audit.status.bars import BarsStatus, bars
from ingestion.jobs.audit.status.flows import ProfileStatus, flows
from ingestion.jobs.audit.status.groups import Demand, GroupStatus, Newest, demands, group_status
from ingestion.jobs.audit.status.looks import LOOKS, Section
from ingestion.jobs.audit.status.served import (
    Load,
    StoreStatus,
    last_load,
    look_at_stores,
    store_problems,
)
from ingestion.jobs.audit.status.wanted import Snapshot, newest_snapshot, symbols_wanted
from ingestion.jobs.ingest.unfinished_imports import half_imports
from ingestion.jobs.looking import one_look
from ingestion.jobs.serve.loads import LastLoad, Unpromoted, last_loads, unpromoted
from ingestion.lakehouse import (
    Lakehouse,
    list_dates,
    newest_events,
)
from ingestion.markets.symbols import exchange_of
from ingestion.project import Project
from ingestion.runs.receipt_file import newest_receipt

LOOKBACK = timedelta(days=90)
"""A symbol without a row for longer counts as missing, not as stale."""
_BARS = "data_ingest.json"


@dataclass(frozen=True)
class StatusLimits:
    """From where on a monitor is to ring; a value at its limit is inside."""

    max_age: timedelta | None = None
    """Of each group's newest rows and of the online store; the catalog's for each group if None."""
    min_coverage: float = 0.95
    """Of the newest snapshot of each flow."""
    max_stale_share: float = 0.05
    """Stale and missing symbols among those that a flow asks for."""
    max_held_back: int | None = None
    """Symbols whose bars wait until a split is recorded; None for any number."""


@dataclass(frozen=True)
class StatusReport:
    """What there is, and which limits it is past."""

    SHOWN: ClassVar = ("passed",)

    at: datetime
    profiles: tuple[ProfileStatus, ...]
    """The flows of the operation, by name."""
    demands: tuple[Demand, ...]
    """By flow and group, the symbols that are wanted and those that are not fresh."""
    groups: tuple[GroupStatus, ...]
    bars: BarsStatus
    unpromoted: tuple[Unpromoted, ...]
    """Groups whose newest rows the promotion gate has refused; the last load is served instead."""
    load: Load | None
    stores: StoreStatus
    without_bars: dict[str, tuple[str, ...]]
    """By exchange, symbols with a fresh snapshot and no stored bar: nothing is recomputed."""
    held_back: tuple[dict[str, Any], ...]
    """Split suspected: symbols whose bars wait until it is recorded, as their receipt says."""
    sections: tuple[Section, ...]
    """What further looks have found; their problems and warnings are among those below too."""
    problems: tuple[str, ...]
    """What a monitor is to ring for."""
    warnings: tuple[str, ...]
    """What is to be known in time, and nothing to ring for."""

    @property
    def passed(self) -> bool:
        """Whether everything is inside the limits."""
        return not self.problems

    @property
    def refusal(self) -> str | None:
        """Which limits are passed; None if none is."""
        return some_of(self.problems) if self.problems else None

    @property
    def is_history(self) -> bool:
        """Whether there is history alone: nobody has begun to fetch, so nothing is to be fresh."""
        has_snapshot = any(group.newest for group in self.groups if not group.of_closed_bars)
        is_used = self.profiles or any(each.asked for each in self.demands)
        return self.bars.first is not None and not (is_used or has_snapshot)


@one_look
def status(
    project: Project, limits: StatusLimits | None = None, *, profile: str | None = None
) -> StatusReport:
    """Look at what there is now.

    Parameters
    ----------
    profile
        The flow that asks: what is wrong with other flows alone is a warning then. All
        flows count alike if None.

    Raises
    ------
    CorruptPart
        If a part of the last 90 days that is looked at cannot be read.
    """
    limits, at, lakehouse = limits or StatusLimits(), clock.now(), project.lakehouse
    # Reported by the status itself: a monitor reads no warnings, and what is older may look sound.
    damaged: list[InputError] = []
    catalog = project.catalog
    pulse = catalog.pulse
    dates = [day for day in list_dates(lakehouse, OHLCV_1D) if day <= at.date()]
    since = min(dates[-1:], default=at.date()) - LOOKBACK
    recent = RecentBars.read(lakehouse, since, at.date(), keep=profile is not None)
    stored = bars(dates, recent, at)
    newest = {
        group.name: newest_events(lakehouse, group, at - LOOKBACK, at, _latest(group, stored))
        for group in catalog.groups
    }
    profiles = flows(lakehouse, catalog, at, newest[pulse.name], damaged.append)
    max_ages = {group.name: limits.max_age or group.max_age for group in catalog.groups}
    snapshots = {
        group.name: snapshot
        for group in catalog.scanned
        if (snapshot := newest_snapshot(lakehouse, group, damaged.append))
    }
    demand = tuple(
        each
        for flow, symbols, coverage, asked in _wanted(
            lakehouse, pulse, profiles, snapshots, newest, profile
        )
        for each in demands(
            catalog.groups, flow, symbols, coverage, newest, stored, max_ages, at, asked
        )
    )
    groups = tuple(
        group_status(
            lakehouse,
            group,
            newest[group.name],
            [each for each in demand if each.view == group.name],
            snapshots.get(group.name, snapshots.get(pulse.name)),
            max_ages[group.name],
            at,
        )
        for group in catalog.groups
    )
    loads = last_loads(project, damaged.append)
    held_back = newest_receipt(lakehouse, _BARS, _held_back, damaged.append) or ()
    half = half_imports(lakehouse, damaged.append)
    report = StatusReport(
        at=at,
        profiles=profiles,
        demands=demand,
        groups=groups,
        bars=stored,
        unpromoted=tuple(unpromoted(project, loads, damaged.append).values()),
        load=last_load(loads, at),
        stores=look_at_stores(project, at),
        without_bars=_without_bars(groups, newest[pulse.name], stored),
        held_back=held_back,
        sections=tuple(look(project, at, recent) for look in LOOKS),
        problems=(),
        warnings=(),
    )
    of_all = [
        *map(str, damaged),
        *map(str, half),
        *_problems(limits.max_age or pulse.max_age, limits, report, loads),
    ]
    of_flows = list(_flow_problems(limits, report))
    others = [problem for flow, problem in of_flows if profile not in (None, flow)]
    own = [problem for flow, problem in of_flows if profile in (None, flow)]
    sections = report.sections
    return replace(
        report,
        problems=(*of_all, *own, *(each for section in sections for each in section.problems)),
        warnings=(
            *_warnings(report),
            *others,
            *(each for section in sections for each in section.warnings),
        ),
    )


def _latest(group: FeatureGroup, stored: BarsStatus) -> Mapping[str, datetime] | None:
    """Return when a group's newest rows can be of at most, by symbol; None if that is not known."""
    return stored.newest if isinstance(group.source, FromBars) else None


def _wanted(
    lakehouse: Lakehouse,
    pulse: FeatureGroup,
    profiles: tuple[ProfileStatus, ...],
    snapshots: Mapping[str, Snapshot],
    newest: Newest,
    asking: str | None,
) -> Iterator[tuple[str | None, frozenset[str], Mapping[str, float], frozenset[str] | None]]:
    """Yield who wants which symbols, what its newest snapshots cover, and which groups it asks for.

    Each flow that is expected does, and the newest run whatever it is: it may be a snapshot that no
    flow took.
    """
    last = max((each.run_id for each in profiles), default="")
    for each in profiles:
        if each.is_expected or each.run_id == last or each.name == asking:
            yield each.name, each.wanted, each.coverage, each.groups
    seen, snapshot = newest[pulse.name], snapshots.get(pulse.name)
    if snapshot is None and not profiles:
        yield None, frozenset(seen), {}, None
    elif snapshot is not None and snapshot.run_id > last:
        wanted = symbols_wanted(lakehouse, pulse, snapshot.symbols, snapshot, seen)
        yield None, wanted, {name: each.coverage for name, each in snapshots.items()}, None


def _held_back(receipt: dict[str, Any]) -> tuple[dict[str, Any], ...] | None:
    if "bars" not in receipt:  # it was refused
        return None
    return tuple(dict(each) for each in receipt["bars"]["held_back"])


def _without_bars(
    groups: tuple[GroupStatus, ...], seen: Mapping[str, datetime], stored: BarsStatus
) -> dict[str, tuple[str, ...]]:
    lacking = seen.keys() - stored.newest.keys()
    lacking -= {symbol for group in groups for symbol in group.stale}
    exchanges: dict[str, list[str]] = {}
    for symbol in sorted(lacking):
        exchanges.setdefault(exchange_of(symbol), []).append(symbol)
    return {exchange: tuple(symbols) for exchange, symbols in exchanges.items()}


def _problems(
    max_age: timedelta, limits: StatusLimits, report: StatusReport, loads: Mapping[str, LastLoad]
) -> Iterator[str]:
    yield from store_problems(loads, report.stores)
    if report.is_history:
        return
    for group in report.groups:
        yield from _group_problems(group, report.bars)
    yield from (str(each) for each in report.unpromoted if not _is_history(each, report))
    if report.load is None and not report.stores.is_unreadable:
        yield "nothing was ever materialized: run `tvfeast materialize`"
    elif report.load is not None and report.load.age > max_age:
        yield f"the online store is as of {report.load.age} ago, more than {max_age}"
    held_back = len(report.held_back)
    if limits.max_held_back is not None and held_back > limits.max_held_back:
        yield (
            f"{counted(held_back, 'symbol is', 'symbols are')} held back for a split that "
            "is to be recorded"
        )


def _warnings(report: StatusReport) -> Iterator[str]:
    if report.is_history and not any(group.newest for group in report.groups):
        yield "nothing is computed from the bars yet: run `tvfeast local-features`"
    for group in report.groups:
        if group.is_imported and group.newest is None:
            yield f"{group.view} has no rows yet: run `tvfeast {group.command} {group.view} FILE`"
    yield from (str(each) for each in report.unpromoted if _is_history(each, report))


def _is_history(group: Unpromoted, report: StatusReport) -> bool:
    """Return whether a group is kept back that can be no newer: its bars come by import alone."""
    computed = {each.view for each in report.groups if each.of_closed_bars}
    return group.group in computed and group.is_old and report.bars.is_imported


def _group_problems(group: GroupStatus, stored: BarsStatus) -> Iterator[str]:
    recomputed = group.of_closed_bars
    if not group.is_due:
        return
    if group.age is None:
        if not group.is_imported and (not recomputed or stored.first is not None):
            yield f"{group.view} has no rows: run `tvfeast {group.command}`"
    elif group.age > group.max_age and not (recomputed and stored.is_imported):
        yield f"{group.view} is {group.age} old, more than {group.max_age}"


def _flow_problems(limits: StatusLimits, report: StatusReport) -> Iterator[tuple[str | None, str]]:
    for each in report.profiles:
        if each.problem:
            yield each.name, each.problem
    for demand in report.demands:
        if demand.coverage is not None and demand.coverage < limits.min_coverage:
            yield (
                demand.flow,
                f"{demand.label} covers {demand.coverage:.1%}, less than {limits.min_coverage:.1%}",
            )
        if demand.late > limits.max_stale_share * demand.asked:
            yield (
                demand.flow,
                f"{demand.label}: {len(demand.stale)} stale and {len(demand.missing)} missing of "
                f"{counted(demand.asked, 'symbol')}, more than {limits.max_stale_share:.1%}",
            )
