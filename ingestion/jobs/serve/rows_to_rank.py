"""The rows that are ranked: what is served now, or was known at an instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingestion.base.errors import InputError
from ingestion.base.instants import MICROSECONDS, to_micros
from ingestion.catalog import Catalog, Dtype, FeatureGroup
from ingestion.jobs.serve.ages import NEVER, ages_at
from ingestion.jobs.serve.feast_repository import (
    feast_calls,
    feast_project,
    has_own_online_store,
    open_repository,
    own_stores,
    read_as_of,
    read_online,
)
from ingestion.jobs.serve.ranked_features import Wanted
from ingestion.jobs.serve.registered import VALUE_TYPES, Reference, Registered
from ingestion.lakehouse import newest_known
from ingestion.lakehouse.current import Known
from ingestion.plugins.online.keys import encode_keys
from ingestion.plugins.online.layout import Values
from ingestion.plugins.online.reading import Asked, View, read_views, table_name
from ingestion.plugins.online.rows import Read, Tables
from ingestion.project import Project

if TYPE_CHECKING:
    from feast import FeatureStore

_BAR = "bar_timestamp"
_KEYS_A_READ = 5_000
"""Feast's SQLite store binds one variable for each key, and SQLite has a limit."""


class Rows(NamedTuple):
    """What there is of some symbols, one row each; all arrays are of shape ``(rows,)``."""

    symbols: Sequence[str]
    """All different, those with a row alone."""
    known_at: NDArray[np.int64]
    """Events of the ranked group's rows, Unix µs."""
    bar_open: NDArray[np.int64]
    """Unix µs; :data:`UNKNOWN` where a row's bar is not known."""
    features: Mapping[str, Values]
    """By the names of :class:`Wanted`."""
    written_later: NDArray[np.bool_]
    """Whether a row was written after the instant that it is read as of."""
    others: Mapping[str, NDArray[np.int64]]
    """By further group, the event of the row that its features are of, Unix µs; :data:`UNKNOWN`
    without one."""


UNKNOWN = np.iinfo(np.int64).min
"""Stands for "no instant"."""

Served = dict[Reference, tuple[NDArray[np.int64], Values]]
"""By feature, one event for each symbol in whole seconds, as Unix µs, 0 where it has no row, and
one value."""


def served_rows(
    project: Project, group: FeatureGroup, symbols: Sequence[str], wanted: Wanted, at: datetime
) -> Rows:
    """Read what is served; without Feast where the files of this project's own stores allow it."""
    bar = Reference(group.name, _BAR)
    is_bar_served = any(column.name == _BAR for column in group.served)
    asked = [*wanted.references, *[bar] * is_bar_served]
    views = list(dict.fromkeys([group.name, *(each.view for each in asked)]))
    own = own_stores(project, views)
    if own is None:
        served = _read_through_feast(project, group, symbols, asked, views)
    else:
        served = _read_own_store(project, *own, symbols, asked, views, at)
    known_at, _ = served[next(each for each in asked if each.view == group.name)]
    has_row = known_at != 0
    there = np.flatnonzero(has_row)
    bars = np.full(len(symbols), UNKNOWN)
    if is_bar_served:
        _, opens = served[bar]
        bars = np.where(opens.valid, opens.data, UNKNOWN)
    others = {
        each.view: _events_inside(project.catalog.group(each.view), served[each][0][there], at)
        for each in {each.view: each for each in asked if each.view != group.name}.values()
    }
    rows = Rows(
        symbols=[symbols[at] for at in there.tolist()],
        known_at=known_at[there],
        bar_open=bars[there],
        features={
            label: _fresh(project.catalog, served[each], group, each, at).take(there)
            for label, each in wanted.by_label.items()
        },
        written_later=np.zeros(len(there), dtype=bool),
        others=others,
    )
    return rows if is_bar_served else _with_bars(project, group, rows, at)


def _read_own_store(
    project: Project,
    registered: Registered,
    tables: Tables,
    symbols: Sequence[str],
    asked: Sequence[Reference],
    views: Sequence[str],
    at: datetime,
) -> Served:
    """Read views, of which the first one's group is ranked."""
    feast = feast_project(project)
    registered.check_servable(project, views)
    keys = encode_keys({"symbol": ("STRING", symbols)})
    of_views = []
    for name in views:
        of_view = project.catalog.group(name)
        types = {column.name: VALUE_TYPES[column.dtype] for column in of_view.served}
        types = {each.feature: types[each.feature] for each in asked if each.view == name}
        of_views.append(Asked(View(table_name(feast, name), of_view.ttl), types, keys))
    answers = read_views(tables, of_views, at)
    ranked = of_views[0].view.table
    if not answers[0].event_us.any() and not tables.read([Read(ranked, [])])[0].keys:
        raise _nothing_served(project.catalog.group(views[0]))
    served: Served = {}
    for name, answer in zip(views, answers, strict=True):
        events = answer.event_us // MICROSECONDS * MICROSECONDS
        for feature, values in answer.values.items():
            served[Reference(name, feature)] = events, values
    return served


def _read_through_feast(
    project: Project,
    group: FeatureGroup,
    symbols: Sequence[str],
    asked: Sequence[Reference],
    views: Sequence[str],
) -> Served:
    store = open_repository(project, views=views)
    found: dict[Reference, tuple[list[int], list[Any]]] = {each: ([], []) for each in asked}
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
            for each, (seconds, values) in found.items():
                seconds += answer[f"{_full(each)}__ts"]
                values += answer[_full(each)]
        if not any(found[asked[0]][0]) and not read_online(store, group).num_rows:
            raise _nothing_served(group)
    return {
        each: (
            np.array(seconds, dtype=np.int64) * MICROSECONDS,
            _values(project.catalog, each, values),
        )
        for each, (seconds, values) in found.items()
    }


def _values(catalog: Catalog, each: Reference, objects: Sequence[Any]) -> Values:
    """Return the values of a feature, as Feast and pandas give them: not-a-number is none."""
    served = {column.name: column.dtype for column in catalog.group(each.view).served}
    own = [None if value is None or value != value else value for value in objects]
    if served[each.feature] is Dtype.TIMESTAMP:
        own = [None if value is None else to_micros(value) for value in own]
    return Values.of(VALUE_TYPES[served[each.feature]], own)


def _nothing_served(group: FeatureGroup) -> InputError:
    """Distinguish an online store that was never loaded, or was lost, from one without symbols."""
    return InputError(
        f"the online store has no {group.name}: run `tvfeast materialize`, or name the group to "
        "rank (--from-group) or an instant (--as-of)"
    )


def _with_bars(project: Project, group: FeatureGroup, rows: Rows, at: datetime) -> Rows:
    """Look up in the lakehouse which bars the rows describe; a row that it lacks is of none."""
    since = (at - group.ttl).date()
    known = newest_known(project.lakehouse, group, at, set(rows.symbols), False, since)
    bars = rows.bar_open.copy()
    for place, (symbol, event) in enumerate(zip(rows.symbols, rows.known_at.tolist(), strict=True)):
        own = known.get(symbol)
        if own is not None and to_micros(own.event.replace(microsecond=0)) == event:
            bars[place] = _micros(own.bar)
    return rows._replace(bar_open=bars)


def _micros(instant: datetime | None) -> int:
    return UNKNOWN if instant is None else to_micros(instant)


def _fresh(
    catalog: Catalog,
    served: tuple[NDArray[np.int64], Values],
    group: FeatureGroup,
    each: Reference,
    at: datetime,
) -> Values:
    """Return values of the other views only inside their TTL, which Feast's own store may ignore.

    The age of the ranked group's row is judged, and counted, with that row.
    """
    events, values = served
    if each.view == group.name:
        return values
    return values.where(events >= to_micros(at - catalog.group(each.view).ttl))


def _events_inside(
    group: FeatureGroup, events: NDArray[np.int64], at: datetime
) -> NDArray[np.int64]:
    """Return rows' events where they are inside the TTL."""
    return np.where((events != 0) & (events >= to_micros(at - group.ttl)), events, UNKNOWN)


def rows_as_of(
    project: Project,
    group: FeatureGroup,
    symbols: Sequence[str],
    wanted: Wanted,
    at: datetime,
    known_at: datetime | None = None,
) -> Rows:
    """Read the newest rows that were known at an instant, from the offline store.

    With ``known_at`` these are the newest of those that were created by then.

    The join does not give their times, which are read from the lakehouse. A row that appeared
    between the two readings would give its values an older one's time, so both are read again until
    nothing has come meanwhile.
    """
    # A snapshot is of when it was taken. What is recomputed from bars was knowable when they
    # closed, and is nearly always written later.
    as_recorded = known_at is None and not group.source.is_history
    look = (project.lakehouse, group, at, set(symbols), as_recorded, date.min, known_at)
    store = open_repository(project, apply_if_missing=True)
    if known_at is not None:
        read_as_of(store, known_at)
    with feast_calls(project):
        known = newest_known(*look)
        while True:
            rows = _join(store, known, symbols, wanted, at, as_recorded)
            before, known = known, newest_known(*look)
            if known == before:
                return _with_others(project, rows, group, wanted, at, as_recorded, known_at)


def _with_others(
    project: Project,
    rows: Rows,
    group: FeatureGroup,
    wanted: Wanted,
    at: datetime,
    as_recorded: bool,
    known_at: datetime | None,
) -> Rows:
    """Look up when the rows of further groups were known."""
    names = dict.fromkeys(each.view for each in wanted.references if each.view != group.name)
    instants = np.full(len(rows.symbols), to_micros(at.replace(microsecond=0)), dtype=np.int64)
    asked_at = np.full(len(rows.symbols), to_micros(at), dtype=np.int64)
    events: dict[str, NDArray[np.int64]] = {}
    for name in names:
        other = project.catalog.group(name)
        ages = ages_at(
            project.lakehouse,
            other,
            rows.symbols,
            asked_at,
            as_recorded=as_recorded,
            known_at=known_at,
        )
        events[name] = np.where(ages == NEVER, UNKNOWN, instants - ages * MICROSECONDS)
    return rows._replace(others=events)


def _join(
    store: FeatureStore,
    known: Mapping[str, Known],
    symbols: Sequence[str],
    wanted: Wanted,
    at: datetime,
    as_recorded: bool,
) -> Rows:
    import pandas as pd

    keys = [symbol for symbol in symbols if symbol in known]
    stamps = pd.Series([at] * len(keys)).astype("datetime64[us, UTC]")
    columns: dict[str, list[Any]] = {"symbol": []}
    if keys:
        frame = store.get_historical_features(
            entity_df=pd.DataFrame({"symbol": keys, "event_timestamp": stamps}),
            features=[str(each) for each in wanted.references],
            full_feature_names=True,
            filter_by_created_timestamp=as_recorded,
        ).to_df()
        columns = {name: list(frame[name]) for name in frame.columns}
    found = columns["symbol"]
    nothing = [None] * len(found)
    times = [known[symbol] for symbol in found]
    return Rows(
        symbols=found,
        known_at=np.array([to_micros(each.event) for each in times], dtype=np.int64),
        bar_open=np.array([_micros(each.bar) for each in times], dtype=np.int64),
        features={
            label: _values(wanted.catalog, each, columns.get(_full(each), nothing))
            for label, each in wanted.by_label.items()
        },
        written_later=np.array([each.created > at for each in times], dtype=bool),
        others={},
    )


def _full(each: Reference) -> str:
    """Return a feature's name as Feast spells it with its view."""
    return f"{each.view}__{each.feature}"
