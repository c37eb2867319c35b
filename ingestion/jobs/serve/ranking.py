"""Everybody who is asked about: the ranked ones in their order, and why the others are not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ingestion.base import clock
from ingestion.base.errors import InputError, demand_all
from ingestion.base.instants import MICROSECONDS, to_micros
from ingestion.base.reading import reading_again
from ingestion.base.wording import did_you_mean
from ingestion.catalog import UNIVERSE_MEMBERS, FeatureGroup, Service
from ingestion.jobs.serve.ranked_features import SCORE, Wanted
from ingestion.jobs.serve.rows_to_rank import UNKNOWN, Rows, rows_as_of, served_rows
from ingestion.lakehouse import list_dates, newest_between, parts_of
from ingestion.markets.feeds import Feeds
from ingestion.markets.frames import bar_state_in, frame_length
from ingestion.markets.hours import BarState, hours_of
from ingestion.markets.symbols import exchange_of
from ingestion.project import Project
from ingestion.runs.known_at import check_known, first_created

if TYPE_CHECKING:
    from ingestion.jobs.serve.models import Model, ScoredBy

REASONS = {
    "unknown": "without a row",
    "future": "known only later than that instant",
    "expired": "known too long ago",
    "stale_bar": "bar opened too long ago",
    "open_bar": "bar still open",
    "unsure_bar": "not known whether the bar is closed",
    "no_value": "no value to rank by",
    "filtered": "outside --min or --max",
    "beyond_top": "beyond --top",
}
"""Why a symbol is not listed, in the order in which the checks are made."""


@dataclass(frozen=True)
class SelectRequest:
    """What to rank, and what to leave out."""

    by: str | None = None
    """``FEATURE`` or ``GROUP:FEATURE``; what the service ranks by if None."""
    model: Path | None = None
    """In its place: the file of a model, whose scores are ranked."""
    trained_on: Path | None = None
    """The model's training set, if its metadata is not beside the model."""
    symbols: Sequence[str] | None = None
    """Candidates; all symbols with a row inside the TTL if none are given."""
    universe: str | None = None
    """In place of candidates: the symbols that were known to be in this universe."""
    minimum: Mapping[str, float] = field(default_factory=dict)
    maximum: Mapping[str, float] = field(default_factory=dict)
    top: int | None = 20
    features: Sequence[str] = ()
    """Further features to show, of any group: ``FEATURE`` or ``GROUP:FEATURE``."""
    ascending: bool = False
    max_bar_age: timedelta = timedelta(days=4)
    """Longest time since a bar's open; a halted symbol's last bar is stamped afresh every day.

    A bar of a week or month may be older by its length."""
    closed_only: bool = False
    as_of: datetime | None = None
    known_at: datetime | None = None
    """With ``as_of``: the lakehouse as it was then, rows created later are not there. Without it
    snapshots count that had been written by ``as_of``, and the newest rows of computed groups."""
    service: str | None = None
    """Whose features are read, and whose first group is ranked, in place of ``group``."""
    group: str | None = None
    """Whose rows are ranked. If None: the group that ``by`` names, or the only one that has it, or
    that of the model's first input; else the snapshots; or, where there was none by then, what is
    computed from bars."""


@dataclass(frozen=True)
class Ranking:
    """Everybody who was asked about, the ranked ones in their order."""

    at: datetime
    service: Service
    group: FeatureGroup
    """Whose rows are ranked."""
    wanted: Wanted
    by: str
    model: ScoredBy | None
    """What gave the scores that are ranked; None where a feature is."""
    symbols: list[str]
    """All that were asked about."""
    rows: Rows
    """Of those that have one."""
    order: NDArray[np.intp]
    """Places among the rows, best first."""
    left_out: Mapping[str, str]
    """By symbol that is not ranked, the key of :data:`REASONS`."""
    states: BarStates
    """Whether the rows' bars were final."""

    @property
    def counts(self) -> dict[str, int]:
        """How many symbols are left out for which reason."""
        counts = Counter(self.left_out.values())
        return {reason: counts[reason] for reason in REASONS if counts[reason]}


def rank(project: Project, request: SelectRequest, *, may_be_empty: bool = False) -> Ranking:
    """Rank all that a request asks about; errors as of :func:`~.select.select`.

    Parameters
    ----------
    may_be_empty
        Whether nobody is ranked where nobody was known at ``known_at``, which is an error else.
    """
    now = clock.now()
    at, known_at = request.as_of or now, request.known_at
    if at > now:
        raise InputError(f"--as-of {at.isoformat()} is in the future: it is {now.isoformat()}")
    if known_at is not None and request.as_of is None:
        raise InputError("--known-at goes with --as-of: the online store has no former state")
    model = _model(project, request)
    first = model.inputs[0] if model else request.by
    service = _service(project, request, first, at)
    named = [*request.features, *request.minimum, *request.maximum]
    named = [*(model.inputs if model else ()), *([request.by] if request.by else ()), *named]
    wanted = Wanted.of(project.catalog, service, named)
    group = project.catalog.group(service.groups[0])
    by = wanted.label(request.by or service.rank_by or wanted.references[0].feature)
    limits = _limits(wanted, request)
    if known_at is not None and not may_be_empty:
        views = dict.fromkeys([group.name, *(each.view for each in wanted.references)])
        read = [project.catalog.group(name) for name in views]
        datasets = [*read, UNIVERSE_MEMBERS] if request.universe else read
        check_known(project.lakehouse, datasets, known_at)
    symbols = _symbols(project, group, request, at, may_be_empty)
    if request.as_of is None:
        rows = served_rows(project, group, symbols, wanted, at)
    else:
        rows = rows_as_of(project, group, symbols, wanted, at, known_at)
    if model is not None:
        by = SCORE
        scores = model.scores([rows.features[wanted.label(name)] for name in model.inputs])
        rows = rows._replace(features={SCORE: scores, **rows.features})
    states = BarStates(group, rows, project)
    kept, left_out = _kept(rows, group, by, limits, request, at, states)
    there = set(rows.symbols)
    left_out |= {symbol: "unknown" for symbol in symbols if symbol not in there}
    order = _ranked(rows, by, np.flatnonzero(kept), ascending=request.ascending)
    told = model.told if model else None
    return Ranking(at, service, group, wanted, by, told, symbols, rows, order, left_out, states)


def _model(project: Project, request: SelectRequest) -> Model | None:
    if request.model is None:
        if request.trained_on is not None:
            raise InputError("a training set (--trained-on) is named without a model (--model)")
        return None
    if request.by is not None:
        raise InputError("name a feature to rank by (--by) or a model (--model), not both")
    from ingestion.jobs.serve.models import read_model

    return read_model(project, request.model, request.trained_on)


def _service(project: Project, request: SelectRequest, by: str | None, at: datetime) -> Service:
    """Return what to read: the first group of it is the one whose rows are ranked.

    Parameters
    ----------
    by
        The feature whose group is meant if the request names none.
    """
    catalog = project.catalog
    if request.service is not None:
        if request.group is not None:
            raise InputError("name --service or --from-group, not both")
        services = {each.name: each for each in catalog.services}
        if request.service not in services:
            near = did_you_mean(request.service, services)
            raise InputError(
                f'no service "{request.service}"{near}; there are {", ".join(services)}'
            )
        return services[request.service]
    ranking = sorted(
        (each for each in catalog.services if each.rank_by is not None),
        key=lambda service: "selection" not in service.default_for,
    )
    name = request.group
    if name is None and by is not None:
        found = catalog.features(by)
        served = {group.name for group, _ in found}
        if ":" in by or (
            len(served) == 1 and not any(served & set(each.groups) for each in ranking)
        ):
            name = found[0][0].name
    if name is not None:
        catalog.group(name)
        own = Service(name, [name])
        return next((each for each in ranking if each.groups[0] == name), own)
    if not ranking:
        raise InputError("no service is declared for selection: name a group (--from-group)")
    for each in ranking:
        if _has_rows(project, catalog.group(each.groups[0]), at, request.known_at):
            return each
    # Snapshots that are merely too old are still what is asked for: the ranking says that they are.
    return ranking[0]


def _has_rows(
    project: Project, group: FeatureGroup, at: datetime, known_at: datetime | None
) -> bool:
    """Return whether any row of a group has an event at or before an instant."""
    lakehouse = project.lakehouse
    if known_at is not None:
        first = reading_again(partial(first_created, lakehouse, group, known_at))
        if first is None or first > known_at:
            return False
    midnight = datetime.combine(at.date(), time(), UTC)
    day = next(
        (each for each in list_dates(lakehouse, group) if parts_of(lakehouse, group, each)), None
    )
    if day is None or day >= at.date():
        seconds = int(midnight.timestamp()), int(at.timestamp())
        return bool(newest_between(lakehouse, group, *seconds, known_at))
    return True


def _symbols(
    project: Project,
    group: FeatureGroup,
    request: SelectRequest,
    at: datetime,
    may_be_empty: bool,
) -> list[str]:
    if request.symbols is not None:
        return list(dict.fromkeys(request.symbols))
    if request.universe is not None:
        from ingestion.jobs.serve.show_universe import show_universe

        shown = show_universe(project, request.universe, at, request.known_at)
        if may_be_empty:
            return list(shown.symbols)
        demand_all(shown)
        if not shown.symbols:
            raise InputError(f"nobody was in {request.universe} at {at:%Y-%m-%d %H:%M} UTC")
        return list(shown.symbols)
    oldest = int((at - group.ttl).timestamp())
    found = newest_between(project.lakehouse, group, oldest, int(at.timestamp()), request.known_at)
    symbols = sorted(found)
    if not symbols and not may_be_empty:
        then = f", as known at {request.known_at:%Y-%m-%d %H:%M} UTC" if request.known_at else ""
        what = f"run `tvfeast {group.source.command}`, or name --candidates"
        if dates := list_dates(project.lakehouse, group):
            there = f"its dates are from {dates[0]} to {dates[-1]}"
            # No command brings a snapshot of then.
            is_lost = not group.source.of_closed_bars and at.date() < dates[0]
            what = there if is_lost else f"{there}; {what}"
        raise InputError(
            f"{project.lakehouse} has no {group.name} of the {group.ttl.days} days before "
            f"{at:%Y-%m-%d %H:%M} UTC{then}: {what}"
        )
    return symbols


Limits = list[tuple[str, float, float]]
"""By a feature's label its least and largest value, both included."""


def _limits(wanted: Wanted, request: SelectRequest) -> Limits:
    least = [(wanted.label(name), low, math.inf) for name, low in request.minimum.items()]
    return least + [(wanted.label(name), -math.inf, top) for name, top in request.maximum.items()]


class BarStates:
    """Whether bars were final when they were shown; symbols of an exchange mostly share it."""

    def __init__(self, group: FeatureGroup, rows: Rows, project: Project) -> None:
        self._source, self._rows = group.source, rows
        self._feeds = None if group.source.of_closed_bars else Feeds(project.lakehouse)
        self._known: dict[tuple[object, ...], BarState] = {}

    def of(self, row: int) -> BarState:
        """Return that of a row."""
        if self._feeds is None:
            return BarState.CLOSED
        symbol, rows = self._rows.symbols[row], self._rows
        known_at = int(rows.known_at[row]) // MICROSECONDS
        bar = int(rows.bar_open[row])
        opened = None if bar == UNKNOWN else bar // MICROSECONDS
        delay = self._feeds.delay(symbol, known_at)
        key = exchange_of(symbol), hours_of(symbol), opened, known_at, delay
        if (state := self._known.get(key)) is None:
            state = bar_state_in(self._source.frame, symbol, opened, known_at, delay)
            self._known[key] = state
        return state


def _kept(
    rows: Rows,
    group: FeatureGroup,
    by: str,
    limits: Limits,
    request: SelectRequest,
    at: datetime,
    states: BarStates,
) -> tuple[NDArray[np.bool_], dict[str, str]]:
    """Return which rows are ranked, and why the others' symbols are not, the first that fits."""
    kept, left_out = np.ones(len(rows.symbols), dtype=bool), dict[str, str]()

    def leave_out(reason: str, which: NDArray[np.bool_]) -> None:
        for row in np.flatnonzero(kept & which).tolist():
            left_out[rows.symbols[row]] = reason
        kept[which] = False

    now, longest = to_micros(at), request.max_bar_age + frame_length(group.source.frame)
    leave_out("future", rows.known_at > now)
    leave_out("expired", rows.known_at < now - to_micros(group.ttl))
    has_bar = rows.bar_open != UNKNOWN
    leave_out("stale_bar", has_bar & (rows.bar_open < now - to_micros(longest)))
    if request.closed_only:
        found = {row: states.of(row) for row in np.flatnonzero(kept).tolist()}
        is_open, is_closed = np.zeros_like(kept), np.ones_like(kept)
        for row, state in found.items():
            is_open[row], is_closed[row] = state is BarState.OPEN, state is BarState.CLOSED
        leave_out("open_bar", is_open)
        leave_out("unsure_bar", ~is_closed)
    leave_out("no_value", ~rows.features[by].valid)
    for name, low, high in limits:
        cells = rows.features[name]
        leave_out("filtered", ~(cells.valid & (low <= cells.data) & (cells.data <= high)))
    return kept, left_out


def _ranked(rows: Rows, by: str, which: NDArray[np.intp], *, ascending: bool) -> NDArray[np.intp]:
    """Return some rows in the order of their values, and of their symbols where those are equal."""
    values = rows.features[by].data[which].astype(np.float64)
    names = np.array([rows.symbols[row] for row in which.tolist()], dtype=np.str_)
    return which[np.lexsort((names, values if ascending else -values))]
