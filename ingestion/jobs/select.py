"""Rank the candidates by what Feast serves, or served at some instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from feature_repo.catalog import GROUPS, TV_TECHNICALS_1D
from ingestion import clock
from ingestion.errors import InputError
from ingestion.jobs.feast_repository import (
    Reference,
    feast_calls,
    has_own_online_store,
    open_repository,
    read_online,
    references,
    require_servable,
)
from ingestion.lakehouse import newest_between, newest_known
from ingestion.sessions import BarState, bar_state
from ingestion.settings import Settings

if TYPE_CHECKING:
    from feast import FeatureStore

GROUP = TV_TECHNICALS_1D
SERVICE = "selection_v1"
_BAR = Reference(GROUP.name, "bar_timestamp")
_TTL = {group.name: group.ttl for group in GROUPS}
_STOCK_KEYS_A_READ = 5_000
"""Feast's SQLite store binds a variable a key, and SQLite has a limit."""

REASONS = {
    "unknown": "without a row",
    "future": "snapshot later than that instant",
    "expired": f"snapshot older than {GROUP.ttl.days} days",
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

    by: str = "Recommend.All"
    symbols: Sequence[str] | None = None
    """Candidates; all symbols with a row inside the TTL if none are given."""
    minimum: Mapping[str, float] = field(default_factory=dict)
    maximum: Mapping[str, float] = field(default_factory=dict)
    top: int | None = 20
    ascending: bool = False
    max_bar_age: timedelta = timedelta(days=4)
    """Longest time since a bar's open; a halted symbol's last bar is stamped afresh every day."""
    closed_only: bool = False
    as_of: datetime | None = None


@dataclass(frozen=True)
class Selected:
    """One ranked symbol."""

    symbol: str
    features: dict[str, float | None]
    known_at: datetime
    """When its snapshot was taken."""
    bar_open: datetime | None
    bar_state: BarState


@dataclass(frozen=True)
class Selection:
    """The ranking, best first, and what was left out, by the keys of :data:`REASONS`."""

    at: datetime
    source: str
    by: str
    asked: int
    features: tuple[str, ...]
    """Names of the service's features, in its order."""
    rows: tuple[Selected, ...]
    left_out: dict[str, int]


class _Row(NamedTuple):
    known_at: datetime
    bar_open: datetime | None
    features: dict[str, float | None]


def select(settings: Settings, request: SelectRequest) -> Selection:
    """Rank candidates by a feature.

    Without ``as_of`` the online store is read at ``clock.now()``. With it the offline store is
    (rows with event and creation at or before that instant, TTL counted at it), and the online
    store is not touched.

    Raises
    ------
    InputError
        If a feature is not served, ``as_of`` lies in the future, there is no symbol to rank, or
        the online store is empty.
    FeastRepositoryError
        If the registry is missing, describes another lakehouse, or has a view that Feast does not
        serve.
    """
    now = clock.now()
    at = request.as_of or now
    if at > now:
        raise InputError(f"--as-of {at.isoformat()} is in the future: it is {now.isoformat()}")
    symbols = _symbols(settings, request, at)
    store = open_repository(settings)
    with feast_calls(settings):
        wanted = references(store.get_feature_service(SERVICE))
        _check_features(request, [reference.feature for reference in wanted])
        if request.as_of is None:
            require_servable(store, [GROUP.name, *(reference.view for reference in wanted)])
            rows = _read_online(store, symbols, wanted, at)
            if not rows:
                _refuse_empty(store)
        else:
            rows = _read_as_of(settings, store, symbols, wanted, at)
    left_out = dict.fromkeys(REASONS, 0)
    kept: list[Selected] = []
    for symbol in symbols:
        row = rows.get(symbol)
        reason, chosen = _judge(symbol, row, request, at)
        if chosen is None:
            left_out[reason] += 1
        else:
            kept.append(chosen)
    kept.sort(key=lambda chosen: _rank(chosen, request))
    listed = kept[: request.top]
    left_out["beyond_top"] = len(kept) - len(listed)
    return Selection(
        at=at,
        source="online store" if request.as_of is None else "offline store",
        by=request.by,
        asked=len(symbols),
        features=tuple(reference.feature for reference in wanted),
        rows=tuple(listed),
        left_out={reason: count for reason, count in left_out.items() if count},
    )


def _refuse_empty(store: FeatureStore) -> None:
    """Tell an online store that was never loaded, or was lost, from one without these symbols."""
    if not read_online(store, GROUP).num_rows:
        raise InputError("the online store holds nothing: run `tvfeast materialize`")


def _symbols(settings: Settings, request: SelectRequest, at: datetime) -> list[str]:
    if request.symbols is not None:
        return list(dict.fromkeys(request.symbols))
    oldest = int((at - GROUP.ttl).timestamp())
    symbols = sorted(newest_between(settings.lakehouse, GROUP, oldest, int(at.timestamp())))
    if not symbols:
        raise InputError(
            f"{settings.lakehouse} holds no {GROUP.name} of the {GROUP.ttl.days} days before "
            f"{at:%Y-%m-%d %H:%M} UTC: run `tvfeast flow-data`, or name --candidates"
        )
    return symbols


def _check_features(request: SelectRequest, names: list[str]) -> None:
    for name in (request.by, *request.minimum, *request.maximum):
        if name not in names:
            raise InputError(f'{SERVICE} has no feature "{name}"; it has {", ".join(names)}')


def _read_online(
    store: FeatureStore, symbols: Sequence[str], wanted: Sequence[Reference], at: datetime
) -> dict[str, _Row]:
    rows: dict[str, _Row] = {}
    features = [str(reference) for reference in (*wanted, _BAR)]
    # In one read where the store can: a load between two would be ranked against the one before.
    size = max(1, len(symbols)) if has_own_online_store(store) else _STOCK_KEYS_A_READ
    for start in range(0, len(symbols), size):
        keys = symbols[start : start + size]
        answer = store.get_online_features(
            features=features, entity_rows=[{"symbol": symbol} for symbol in keys]
        ).to_dict(include_event_timestamps=True)
        for i, symbol in enumerate(keys):
            # Feast gives second 0 where there is no row.
            if seconds := answer[f"{_BAR.feature}__ts"][i]:
                rows[symbol] = _Row(
                    datetime.fromtimestamp(seconds, UTC),
                    _utc(answer[_BAR.feature][i]),
                    {each.feature: _fresh(answer, each, i, at) for each in wanted},
                )
    return rows


def _fresh(answer: dict[str, Any], each: Reference, i: int, at: datetime) -> float | None:
    """Return a value of the other views only inside their TTL, which Feast does not look at.

    The snapshot's own age is judged, and counted, with its row.
    """
    known_at = datetime.fromtimestamp(answer[f"{each.feature}__ts"][i], UTC)
    if each.view != GROUP.name and at - known_at > _TTL[each.view]:
        return None
    value: float | None = answer[each.feature][i]
    return value


def _read_as_of(
    settings: Settings,
    store: FeatureStore,
    symbols: Sequence[str],
    wanted: Sequence[Reference],
    at: datetime,
) -> dict[str, _Row]:
    """Read the rows and, as the join does not tell them, their times.

    A snapshot that appeared between the two readings would give its values an older one's time, so
    both are read again until nothing has come meanwhile.
    """
    known = newest_known(settings.lakehouse, GROUP, at, set(symbols))
    while True:
        rows = _join(store, known, symbols, wanted, at)
        before, known = known, newest_known(settings.lakehouse, GROUP, at, set(symbols))
        if known == before:
            return rows


def _join(
    store: FeatureStore,
    known: Mapping[str, datetime],
    symbols: Sequence[str],
    wanted: Sequence[Reference],
    at: datetime,
) -> dict[str, _Row]:
    import pandas as pd

    keys = [symbol for symbol in symbols if symbol in known]
    if not keys:
        return {}
    stamps = pd.Series([at] * len(keys)).astype("datetime64[us, UTC]")
    frame = store.get_historical_features(
        entity_df=pd.DataFrame({"symbol": keys, "event_timestamp": stamps}),
        features=[str(each) for each in (*wanted, _BAR)],
        filter_by_created_timestamp=True,
    ).to_df()
    return {
        row["symbol"]: _Row(
            known[row["symbol"]],
            _utc(row[_BAR.feature]),
            {each.feature: _number(row.get(each.feature)) for each in wanted},
        )
        for row in frame.to_dict("records")
    }


def _judge(
    symbol: str, row: _Row | None, request: SelectRequest, at: datetime
) -> tuple[str, Selected | None]:
    """Return the row to list, or why it is not listed."""
    if row is None:
        return "unknown", None
    if row.known_at > at:
        return "future", None
    if at - row.known_at > GROUP.ttl:
        return "expired", None
    if row.bar_open is not None and at - row.bar_open > request.max_bar_age:
        return "stale_bar", None
    opened = None if row.bar_open is None else int(row.bar_open.timestamp())
    state = bar_state(symbol, opened, int(row.known_at.timestamp()))
    if request.closed_only and state is not BarState.CLOSED:
        return "open_bar" if state is BarState.OPEN else "unsure_bar", None
    if row.features[request.by] is None:
        return "no_value", None
    if not _inside(row.features, request):
        return "filtered", None
    return "", Selected(symbol, row.features, row.known_at, row.bar_open, state)


def _inside(features: Mapping[str, float | None], request: SelectRequest) -> bool:
    """Tell whether all limits hold; no value is inside no limit."""
    for name, low in request.minimum.items():
        if (value := features[name]) is None or value < low:
            return False
    for name, high in request.maximum.items():
        if (value := features[name]) is None or value > high:
            return False
    return True


def _rank(chosen: Selected, request: SelectRequest) -> tuple[float, str]:
    value = chosen.features[request.by] or 0.0
    return (value if request.ascending else -value), chosen.symbol


def _utc(value: Any) -> datetime | None:
    """Return an instant as Feast and pandas give it: naive is UTC, NaT is none."""
    if value is None or value != value:
        return None
    instant = datetime.fromtimestamp(value.timestamp(), UTC) if value.tzinfo else value
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)
