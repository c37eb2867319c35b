"""Rank the candidates by what Feast serves, or served at some instant."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ingestion.base import clock
from ingestion.base.errors import InputError
from ingestion.catalog import Catalog, Dtype, FeatureGroup, Service
from ingestion.jobs.serve.feast_repository import (
    feast_calls,
    feast_project,
    has_own_online_store,
    open_repository,
    own_stores,
    read_online,
)
from ingestion.jobs.serve.registered import VALUE_TYPES, Reference, Registered, references
from ingestion.jobs.serve.show_universe import refuse_unless_known, show_universe
from ingestion.lakehouse import list_parts, newest_between, newest_known
from ingestion.lakehouse.current import Known
from ingestion.markets.feeds import Feeds
from ingestion.markets.frames import bar_state_in, frame_length
from ingestion.markets.hours import BarState
from ingestion.plugins.online.database import Database
from ingestion.plugins.online.keys import encode_keys
from ingestion.plugins.online.reading import View, read_rows, table_name
from ingestion.plugins.online.tables import stored_rows
from ingestion.project import Project

if TYPE_CHECKING:
    from feast import FeatureStore

_BAR = "bar_timestamp"
_KEYS_A_READ = 5_000
"""Feast's SQLite store binds one variable for each key, and SQLite has a limit."""

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
    symbols: Sequence[str] | None = None
    """Candidates; all symbols with a row inside the TTL if none are given."""
    universe: str | None = None
    """In place of candidates: the symbols that were known to be in this universe."""
    minimum: Mapping[str, float] = field(default_factory=dict)
    maximum: Mapping[str, float] = field(default_factory=dict)
    top: int | None = 20
    ascending: bool = False
    max_bar_age: timedelta = timedelta(days=4)
    """Longest time since a bar's open; a halted symbol's last bar is stamped afresh every day.

    A bar of a week or month may be older by its length."""
    closed_only: bool = False
    as_of: datetime | None = None
    group: str | None = None
    """Whose rows are ranked. If None: the group that ``by`` names, or the only one that has it;
    else the snapshots; or, where there was none by then, what is computed from bars."""


@dataclass(frozen=True)
class Selected:
    """One ranked symbol."""

    symbol: str
    features: dict[str, Any]
    known_at: datetime
    """When its snapshot was taken, or its bar closed."""
    bar_open: datetime | None
    bar_state: BarState


@dataclass(frozen=True)
class Selection:
    """The ranking, best first, and what was left out, by the keys of :data:`REASONS`."""

    at: datetime
    source: str
    group: str
    """Whose rows were ranked."""
    of_closed_bars: bool
    """Whether those are computed from closed bars, and not snapshots."""
    by: str
    asked: int
    features: tuple[str, ...]
    """Names of the service's features, in its order."""
    shown: tuple[str, ...]
    """Those that a table shows, the one ranked by first."""
    rows: tuple[Selected, ...]
    left_out: dict[str, int]
    written_later: int
    """Rows among those ranked that were written after ``at``, as all of imported history is."""


class _Row(NamedTuple):
    known_at: datetime
    bar_open: datetime | None
    features: dict[str, Any]
    written_later: bool = False


def select(project: Project, request: SelectRequest) -> Selection:
    """Rank candidates by a feature.

    Without ``as_of`` the online store is read at ``clock.now()``. With it the offline store is, and
    the online store is not touched: snapshots that had been taken and written by then, or the rows
    of computed groups whose bars had closed by then, whenever they were computed. The TTL is
    counted at that instant.

    Raises
    ------
    InputError
        If a feature is not served, ``as_of`` lies in the future, there is no symbol to rank or no
        such universe, or the online store is empty.
    GateRefused
        If it is not known who was in the universe.
    FeastRepositoryError
        If the registry is missing, describes another lakehouse, or has a view that Feast does not
        serve.
    """
    now = clock.now()
    at = request.as_of or now
    if at > now:
        raise InputError(f"--as-of {at.isoformat()} is in the future: it is {now.isoformat()}")
    service = _service(project, request, at)
    named = [name for name in (request.by, *request.minimum, *request.maximum) if name]
    wanted = Wanted.of(project.catalog, service, named)
    group = project.catalog.group(service.groups[0])
    by = wanted.label(request.by or service.rank_by or wanted.references[0].feature)
    limits = _limits(wanted, request)
    symbols = _symbols(project, group, request, at)
    if request.as_of is None:
        rows = _read_online(project, group, symbols, wanted, at)
    else:
        store = open_repository(project, apply_if_missing=True)
        with feast_calls(project):
            rows = _read_as_of(project, store, group, symbols, wanted, at)
    left_out = dict.fromkeys(REASONS, 0)
    kept: list[Selected] = []
    feeds = Feeds(project.lakehouse)
    for symbol in symbols:
        row = rows.get(symbol)
        reason, chosen = _judge(symbol, row, group, by, limits, request, at, feeds)
        if chosen is None:
            left_out[reason] += 1
        else:
            kept.append(chosen)
    kept.sort(key=lambda chosen: _rank(chosen, by, ascending=request.ascending))
    listed = kept[: request.top]
    left_out["beyond_top"] = len(kept) - len(listed)
    return Selection(
        at=at,
        source="online store" if request.as_of is None else "offline store",
        group=group.name,
        of_closed_bars=group.source.of_closed_bars,
        by=by,
        asked=len(symbols),
        features=wanted.labels,
        shown=wanted.shown(by, service),
        rows=tuple(listed),
        left_out={reason: count for reason, count in left_out.items() if count},
        written_later=sum(rows[chosen.symbol].written_later for chosen in kept),
    )


class Wanted(NamedTuple):
    """The features that are read, and what each is called in the ranking."""

    catalog: Catalog
    by_label: dict[str, Reference]
    """By plain name where it is unique among them, else by ``group:feature``."""

    @classmethod
    def of(cls, catalog: Catalog, service: Service, named: Iterable[str] = ()) -> Wanted:
        """Return a service's features, in its order, then those of other groups that are named.

        Raises
        ------
        InputError
            If there is no feature of a name, or several groups have one.
        """
        own = references(catalog, service)
        count = Counter(each.feature for each in own)
        labels = {each.feature if count[each.feature] == 1 else str(each): each for each in own}
        for name in named:
            if not any(name in (each.feature, str(each)) for each in labels.values()):
                group, column = catalog.feature(name)
                each = Reference(group.name, column.name)
                labels[column.name if column.name not in count else str(each)] = each
        return cls(catalog, labels)

    @property
    def references(self) -> list[Reference]:
        """The features."""
        return list(self.by_label.values())

    @property
    def labels(self) -> tuple[str, ...]:
        """What they are called."""
        return tuple(self.by_label)

    def label(self, name: str) -> str:
        """Return what a number is called here that was asked for by plain or full name.

        Raises
        ------
        InputError
            If several of them have the name, or it is no number.
        """
        for label, each in self.by_label.items():
            if name in (label, str(each)):
                _, column = self.catalog.feature(str(each))
                if column.dtype not in (Dtype.DOUBLE, Dtype.INT64, Dtype.BOOL):
                    raise InputError(f"{name} is a {column.dtype.value}: name a number")
                return label
        both = [str(each) for each in self.references if each.feature == name]
        raise InputError(f"{len(both)} groups have {name!r}: write {' or '.join(both)}")

    def shown(self, by: str, service: Service) -> tuple[str, ...]:
        """Return what a table shows: what is ranked by, then what the service has to say."""
        names = (by, *([service.rank_by] if service.rank_by else []), *service.shown)
        return tuple(dict.fromkeys(name for name in names if name in self.by_label))


def _full(each: Reference) -> str:
    """Return a feature's name as Feast spells it with its view."""
    return f"{each.view}__{each.feature}"


def _service(project: Project, request: SelectRequest, at: datetime) -> Service:
    """Return what to read: the first group of it is the one whose rows are ranked."""
    catalog = project.catalog
    ranking = sorted(
        (each for each in catalog.services if each.rank_by is not None),
        key=lambda service: "selection" not in service.default_for,
    )
    name = request.group
    if name is None and request.by is not None:
        found = catalog.features(request.by)
        served = {group.name for group, _ in found}
        if ":" in request.by or (
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
        if _has_rows(project, catalog.group(each.groups[0]), at):
            return each
    # Snapshots that are merely too old are still what is asked for: the ranking says that they are.
    return ranking[0]


def _has_rows(project: Project, group: FeatureGroup, at: datetime) -> bool:
    """Return whether any row of a group has an event at or before an instant."""
    midnight = datetime.combine(at.date(), time(), UTC)
    first = next(iter(list_parts(project.lakehouse, group)), None)
    if first is None or first.date >= at.date():
        seconds = int(midnight.timestamp()), int(at.timestamp())
        return bool(newest_between(project.lakehouse, group, *seconds))
    return True


def _symbols(
    project: Project, group: FeatureGroup, request: SelectRequest, at: datetime
) -> list[str]:
    if request.symbols is not None:
        return list(dict.fromkeys(request.symbols))
    if request.universe is not None:
        shown = show_universe(project, request.universe, at)
        refuse_unless_known(shown)
        if not shown.symbols:
            raise InputError(f"nobody was in {request.universe} at {at:%Y-%m-%d %H:%M} UTC")
        return list(shown.symbols)
    oldest = int((at - group.ttl).timestamp())
    symbols = sorted(newest_between(project.lakehouse, group, oldest, int(at.timestamp())))
    if not symbols:
        raise InputError(
            f"{project.lakehouse} has no {group.name} of the {group.ttl.days} days before "
            f"{at:%Y-%m-%d %H:%M} UTC: run `tvfeast {group.source.command}`, or name --candidates"
        )
    return symbols


Limits = list[tuple[str, float, float]]
"""By a feature's label its least and largest value, both included."""


def _limits(wanted: Wanted, request: SelectRequest) -> Limits:
    least = [(wanted.label(name), low, math.inf) for name, low in request.minimum.items()]
    return least + [(wanted.label(name), -math.inf, top) for name, top in request.maximum.items()]


def _is_inside(value: float | None, low: float, high: float) -> bool:
    return value is not None and low <= value <= high


Served = dict[Reference, tuple[list[int], list[Any]]]
"""By feature, one event for each symbol in seconds, 0 where it has no row, and one value."""


def _read_online(
    project: Project, group: FeatureGroup, symbols: Sequence[str], wanted: Wanted, at: datetime
) -> dict[str, _Row]:
    """Read what is served; without Feast where the files of this project's own stores allow it."""
    bar = Reference(group.name, _BAR)
    is_bar_served = any(column.name == _BAR for column in group.served)
    asked = [*wanted.references, *[bar] * is_bar_served]
    own = own_stores(project)
    if own is None:
        served = _read_through_feast(project, group, symbols, asked)
    else:
        served = _read_own_store(project, *own, group, symbols, asked, at)
    seconds, _ = served[next(each for each in asked if each.view == group.name)]
    rows = {
        symbol: _Row(
            datetime.fromtimestamp(seconds[i], UTC),
            _utc(served[bar][1][i]) if is_bar_served else None,
            {
                label: _fresh(project.catalog, served[each], group, each, i, at)
                for label, each in wanted.by_label.items()
            },
        )
        for i, symbol in enumerate(symbols)
        if seconds[i]
    }
    return rows if is_bar_served else _with_bars(project, group, rows, at)


def _read_own_store(
    project: Project,
    registered: Registered,
    online: Path,
    group: FeatureGroup,
    symbols: Sequence[str],
    asked: Sequence[Reference],
    at: datetime,
) -> Served:
    feast = feast_project(project)
    views = list(dict.fromkeys([group.name, *(each.view for each in asked)]))
    registered.check_servable(project, views)
    keys = encode_keys({"symbol": ("STRING", symbols)})
    served: Served = {}
    with Database(online).reading() as connection:
        for name in views:
            of_view = project.catalog.group(name)
            types = {column.name: VALUE_TYPES[column.dtype] for column in of_view.served}
            types = {each.feature: types[each.feature] for each in asked if each.view == name}
            view = View(table_name(feast, name), of_view.ttl)
            answer = read_rows(connection, view, keys, types, at)
            seconds = (answer.event_us // 1_000_000).tolist()
            for feature, values in answer.values.items():
                served[Reference(name, feature)] = seconds, values.to_objects()
            is_missing = name == group.name and not any(seconds)
            if is_missing and not stored_rows(connection, view.table, []).keys:
                raise _nothing_served(group)
    return served


def _read_through_feast(
    project: Project, group: FeatureGroup, symbols: Sequence[str], asked: Sequence[Reference]
) -> Served:
    store = open_repository(project)
    served: Served = {each: ([], []) for each in asked}
    with feast_calls(project):
        Registered.of(store).check_servable(project, [each.view for each in asked])
        # All at once where the store can: a load between two reads would be mixed into the answer.
        size = max(1, len(symbols)) if has_own_online_store(store) else _KEYS_A_READ
        for start in range(0, len(symbols), size):
            answer = store.get_online_features(
                features=[str(each) for each in asked],
                entity_rows=[{"symbol": symbol} for symbol in symbols[start : start + size]],
                full_feature_names=True,
            ).to_dict(include_event_timestamps=True)
            for each, (seconds, values) in served.items():
                seconds += answer[f"{_full(each)}__ts"]
                values += answer[_full(each)]
        if not any(served[asked[0]][0]) and not read_online(store, group).num_rows:
            raise _nothing_served(group)
    return served


def _nothing_served(group: FeatureGroup) -> InputError:
    """Distinguish an online store that was never loaded, or was lost, from one without symbols."""
    return InputError(
        f"the online store has no {group.name}: run `tvfeast materialize`, or name the group to "
        "rank (--from-group) or an instant (--as-of)"
    )


def _with_bars(
    project: Project, group: FeatureGroup, rows: Mapping[str, _Row], at: datetime
) -> dict[str, _Row]:
    """Look up in the lakehouse which bars the rows describe; a row that it lacks is of none."""
    since = (at - group.ttl).date()
    known = newest_known(project.lakehouse, group, at, set(rows), False, since)
    return {
        symbol: row._replace(bar_open=known[symbol].bar)
        if symbol in known and known[symbol].event.replace(microsecond=0) == row.known_at
        else row
        for symbol, row in rows.items()
    }


def _fresh(
    catalog: Catalog,
    served: tuple[list[int], list[Any]],
    group: FeatureGroup,
    each: Reference,
    i: int,
    at: datetime,
) -> Any:
    """Return a value of the other views only inside their TTL, which Feast's own store may ignore.

    The age of the ranked group's row is judged, and counted, with that row.
    """
    seconds, values = served
    if each.view == group.name:
        return values[i]
    known_at = datetime.fromtimestamp(seconds[i], UTC)
    return values[i] if at - known_at <= catalog.group(each.view).ttl else None


def _read_as_of(
    project: Project,
    store: FeatureStore,
    group: FeatureGroup,
    symbols: Sequence[str],
    wanted: Wanted,
    at: datetime,
) -> dict[str, _Row]:
    """Read the rows and, as the join does not give them, their times.

    A row that appeared between the two readings would give its values an older one's time, so
    both are read again until nothing has come meanwhile.
    """
    # A snapshot is of when it was taken. What is recomputed from bars was knowable when they
    # closed, and is nearly always written later.
    as_recorded = not group.source.of_closed_bars
    look = (project.lakehouse, group, at, set(symbols), as_recorded)
    known = newest_known(*look)
    while True:
        rows = _join(store, known, symbols, wanted, at, as_recorded)
        before, known = known, newest_known(*look)
        if known == before:
            return rows


def _join(
    store: FeatureStore,
    known: Mapping[str, Known],
    symbols: Sequence[str],
    wanted: Wanted,
    at: datetime,
    as_recorded: bool,
) -> dict[str, _Row]:
    import pandas as pd

    keys = [symbol for symbol in symbols if symbol in known]
    if not keys:
        return {}
    stamps = pd.Series([at] * len(keys)).astype("datetime64[us, UTC]")
    frame = store.get_historical_features(
        entity_df=pd.DataFrame({"symbol": keys, "event_timestamp": stamps}),
        features=[str(each) for each in wanted.references],
        full_feature_names=True,
        filter_by_created_timestamp=as_recorded,
    ).to_df()
    return {
        row["symbol"]: _Row(
            known[row["symbol"]].event,
            known[row["symbol"]].bar,
            {label: _value(row.get(_full(each))) for label, each in wanted.by_label.items()},
            known[row["symbol"]].created > at,
        )
        for row in frame.to_dict("records")
    }


def _judge(
    symbol: str,
    row: _Row | None,
    group: FeatureGroup,
    by: str,
    limits: Limits,
    request: SelectRequest,
    at: datetime,
    feeds: Feeds,
) -> tuple[str, Selected | None]:
    """Return the row to list, or why it is not listed."""
    if row is None:
        return "unknown", None
    if row.known_at > at:
        return "future", None
    if at - row.known_at > group.ttl:
        return "expired", None
    frame = group.source.frame
    longest = request.max_bar_age + frame_length(frame)
    if row.bar_open is not None and at - row.bar_open > longest:
        return "stale_bar", None
    opened = None if row.bar_open is None else int(row.bar_open.timestamp())
    known_at = int(row.known_at.timestamp())
    state = bar_state_in(frame, symbol, opened, known_at, feeds.delay(symbol, known_at))
    if group.source.of_closed_bars:
        state = BarState.CLOSED
    if request.closed_only and state is not BarState.CLOSED:
        return "open_bar" if state is BarState.OPEN else "unsure_bar", None
    if row.features[by] is None:
        return "no_value", None
    if not all(_is_inside(row.features[name], *both) for name, *both in limits):
        return "filtered", None
    return "", Selected(symbol, row.features, row.known_at, row.bar_open, state)


def _rank(chosen: Selected, by: str, *, ascending: bool) -> tuple[float, str]:
    value = float(chosen.features[by] or 0)
    return (value if ascending else -value), chosen.symbol


def _utc(value: Any) -> datetime | None:
    """Return an instant as Feast and pandas give it: naive is UTC, NaT is none."""
    if value is None or value != value:
        return None
    instant = datetime.fromtimestamp(value.timestamp(), UTC) if value.tzinfo else value
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _value(value: Any) -> Any:
    """Return a cell of a frame; None where it is missing."""
    return None if value is None or value != value else value
