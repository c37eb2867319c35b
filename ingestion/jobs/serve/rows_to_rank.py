"""The rows that are ranked: what is served now, or was known at an instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ingestion.base.errors import InputError
from ingestion.catalog import Catalog, FeatureGroup
from ingestion.jobs.serve.ages import NEVER, ages_at
from ingestion.jobs.serve.feast_repository import (
    feast_calls,
    feast_project,
    has_own_online_store,
    open_repository,
    own_stores,
    read_online,
)
from ingestion.jobs.serve.ranked_features import Wanted
from ingestion.jobs.serve.registered import VALUE_TYPES, Reference, Registered
from ingestion.lakehouse import newest_known
from ingestion.lakehouse.current import Known
from ingestion.plugins.online.keys import encode_keys
from ingestion.plugins.online.reading import Asked, View, read_views, table_name
from ingestion.plugins.online.rows import Read, Tables
from ingestion.project import Project

if TYPE_CHECKING:
    from feast import FeatureStore

_BAR = "bar_timestamp"
_KEYS_A_READ = 5_000
"""Feast's SQLite store binds one variable for each key, and SQLite has a limit."""


class Row(NamedTuple):
    """What there is of one symbol."""

    known_at: datetime
    """Event of the ranked group's row."""
    bar_open: datetime | None
    """None where its bar is not known."""
    features: dict[str, Any]
    """By the names of :class:`Wanted`."""
    written_later: bool = False
    """Whether the row was written after the instant that it is read as of."""
    others: Mapping[str, datetime | None] = MappingProxyType({})
    """By further group, the event of the row that its features are of; None without one."""


Served = dict[Reference, tuple[list[int], list[Any]]]
"""By feature, one event for each symbol in seconds, 0 where it has no row, and one value."""


def served_rows(
    project: Project, group: FeatureGroup, symbols: Sequence[str], wanted: Wanted, at: datetime
) -> dict[str, Row]:
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
    others = [
        (project.catalog.group(each.view), served[each][0])
        for each in {each.view: each for each in asked if each.view != group.name}.values()
    ]
    columns = [_fresh(project.catalog, served[each], group, each, at) for each in wanted.references]
    cells = list(zip(*columns, strict=True))
    rows = {
        symbol: Row(
            datetime.fromtimestamp(seconds[i], UTC),
            _utc(served[bar][1][i]) if is_bar_served else None,
            dict(zip(wanted.labels, cells[i], strict=True)),
            others={other.name: _known_at(other, events[i], at) for other, events in others},
        )
        for i, symbol in enumerate(symbols)
        if seconds[i]
    }
    return rows if is_bar_served else _with_bars(project, group, rows, at)


def _read_own_store(
    project: Project,
    registered: Registered,
    tables: Tables,
    group: FeatureGroup,
    symbols: Sequence[str],
    asked: Sequence[Reference],
    at: datetime,
) -> Served:
    feast = feast_project(project)
    views = list(dict.fromkeys([group.name, *(each.view for each in asked)]))
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
        raise _nothing_served(group)
    served: Served = {}
    for name, answer in zip(views, answers, strict=True):
        seconds = (answer.event_us // 1_000_000).tolist()
        for feature, values in answer.values.items():
            served[Reference(name, feature)] = seconds, values.to_objects()
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
    project: Project, group: FeatureGroup, rows: Mapping[str, Row], at: datetime
) -> dict[str, Row]:
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
    at: datetime,
) -> list[Any]:
    """Return values of the other views only inside their TTL, which Feast's own store may ignore.

    The age of the ranked group's row is judged, and counted, with that row.
    """
    seconds, values = served
    if each.view == group.name:
        return values
    oldest = (at - catalog.group(each.view).ttl).timestamp()
    return [
        value if second >= oldest else None for second, value in zip(seconds, values, strict=True)
    ]


def _known_at(group: FeatureGroup, seconds: int, at: datetime) -> datetime | None:
    """Return a row's event if it is inside the TTL."""
    known_at = datetime.fromtimestamp(seconds, UTC)
    return known_at if seconds and at - known_at <= group.ttl else None


def rows_as_of(
    project: Project,
    group: FeatureGroup,
    symbols: Sequence[str],
    wanted: Wanted,
    at: datetime,
) -> dict[str, Row]:
    """Read the newest rows that were known at an instant, from the offline store.

    The join does not give their times, which are read from the lakehouse. A row that appeared
    between the two readings would give its values an older one's time, so both are read again until
    nothing has come meanwhile.
    """
    # A snapshot is of when it was taken. What is recomputed from bars was knowable when they
    # closed, and is nearly always written later.
    as_recorded = not group.source.is_history
    look = (project.lakehouse, group, at, set(symbols), as_recorded)
    store = open_repository(project, apply_if_missing=True)
    with feast_calls(project):
        known = newest_known(*look)
        while True:
            rows = _join(store, known, symbols, wanted, at, as_recorded)
            before, known = known, newest_known(*look)
            if known == before:
                return _with_others(project, rows, group, wanted, at, as_recorded)


def _with_others(
    project: Project,
    rows: Mapping[str, Row],
    group: FeatureGroup,
    wanted: Wanted,
    at: datetime,
    as_recorded: bool,
) -> dict[str, Row]:
    """Look up when the rows of further groups were known."""
    names = dict.fromkeys(each.view for each in wanted.references if each.view != group.name)
    symbols = list(rows)
    instants = np.full(len(symbols), int(at.timestamp() * 1_000_000), dtype=np.int64)
    events: dict[str, list[datetime | None]] = {}
    for name in names:
        other = project.catalog.group(name)
        ages = ages_at(project.lakehouse, other, symbols, instants, as_recorded=as_recorded)
        second = at.replace(microsecond=0)
        events[name] = [
            None if age == NEVER else second - timedelta(seconds=age) for age in ages.tolist()
        ]
    return {
        symbol: row._replace(others={name: of_all[i] for name, of_all in events.items()})
        for i, (symbol, row) in enumerate(rows.items())
    }


def _join(
    store: FeatureStore,
    known: Mapping[str, Known],
    symbols: Sequence[str],
    wanted: Wanted,
    at: datetime,
    as_recorded: bool,
) -> dict[str, Row]:
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
        row["symbol"]: Row(
            known[row["symbol"]].event,
            known[row["symbol"]].bar,
            {label: _value(row.get(_full(each))) for label, each in wanted.by_label.items()},
            known[row["symbol"]].created > at,
        )
        for row in frame.to_dict("records")
    }


def _full(each: Reference) -> str:
    """Return a feature's name as Feast spells it with its view."""
    return f"{each.view}__{each.feature}"


def _utc(value: Any) -> datetime | None:
    """Return an instant as Feast and pandas give it: naive is UTC, NaT is none."""
    if value is None or value != value:
        return None
    instant = datetime.fromtimestamp(value.timestamp(), UTC) if value.tzinfo else value
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _value(value: Any) -> Any:
    """Return a cell of a frame; None where it is missing."""
    return None if value is None or value != value else value
