"""The online store against the lakehouse: every symbol, every feature, bit for bit.

The lakehouse is read here without Feast and without the stores' own code, so that a fault in them
cannot hide itself. A group that the promotion gate has kept back is compared with what its last
load saw.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base import clock
from ingestion.base.reading import reading_again
from ingestion.catalog import FeatureGroup
from ingestion.jobs.looking import one_look
from ingestion.jobs.serve.feast_repository import feast_calls, open_repository, read_online
from ingestion.jobs.serve.loads import LastLoad, last_loads, unpromoted
from ingestion.lakehouse import Lakehouse, arrow_schema, list_parts, read_part
from ingestion.lakehouse.ledger import Ledger
from ingestion.project import Project
from ingestion.quality.history import newest_of_symbols

LISTED = 1_000
"""Differences that a report lists."""

_EVENT, _CREATED = "event_timestamp", "created_timestamp"


@dataclass(frozen=True)
class Difference:
    """One disagreement."""

    view: str
    symbol: str
    column: str
    """A feature, ``event_timestamp``, ``created_timestamp``, or ``row`` where one side has none."""
    online: Any
    offline: Any

    def __str__(self) -> str:
        return (
            f"{self.view}, {self.symbol}, {self.column}: online {self.online}, "
            f"lakehouse {self.offline}"
        )


@dataclass(frozen=True)
class ViewAgreement:
    """How one view compares."""

    view: str
    symbols: int
    """Symbols with a valid row on both sides."""
    values: int
    """Feature values compared."""
    expired: int
    """Rows of the online store that are past their TTL, and are not served."""
    different: int
    as_of: datetime | None = None
    """The last load, of a group whose newer rows are not promoted; None where it is compared as of
    now."""


@dataclass(frozen=True)
class OnlineReport:
    """What ``verify --online`` found."""

    SHOWN: ClassVar = ("passed", "different")

    at: datetime
    views: tuple[ViewAgreement, ...]
    differences: tuple[Difference, ...]
    """The first :data:`LISTED`."""

    @property
    def different(self) -> int:
        """All differences, listed or not."""
        return sum(view.different for view in self.views)

    @property
    def passed(self) -> bool:
        """Whether what is served is what the lakehouse has."""
        return self.different == 0

    @property
    def refusal(self) -> str | None:
        """How many differences there are; None if there is none."""
        if self.passed:
            return None
        return (
            f"the online store differs from the lakehouse in {self.different:,} places, "
            f"{self.differences[0]} among them: run `tvfeast materialize`, or `tvfeast rebuild` if "
            "that does not help"
        )


@one_look
def verify_online(project: Project) -> OnlineReport:
    """Compare what would be served now with the newest valid rows of the lakehouse.

    Of a group whose newest rows the gate has refused, what its last load has brought counts.

    Raises
    ------
    CorruptPart
        If a part cannot be read.
    FeastRepositoryError
        If the repository is not applied, or its online store is not this project's.
    """
    at = clock.now()
    store = open_repository(project)
    kept_back = unpromoted(project, last_loads(project))
    views, differences = [], []
    for group in project.catalog.groups:
        with feast_calls(project):
            online = read_online(store, group)
        served = kept_back[group.name].served if group.name in kept_back else None
        if group.name in kept_back:
            read = partial(_newest_loaded, project.lakehouse, group, served, at)
        else:
            read = partial(newest_valid, project.lakehouse, group, at)
        agreement, found = compare_online(group, online, reading_again(read), at)
        views.append(replace(agreement, as_of=served.until if served else None))
        differences += found
    return OnlineReport(at, tuple(views), tuple(differences[:LISTED]))


def newest_valid(lakehouse: Lakehouse, group: FeatureGroup, at: datetime) -> pa.Table:
    """Return each symbol's newest row that is valid at an instant, sorted by symbol.

    The newest event decides, then the newest created.
    """
    since = at - group.ttl
    tables = [_none(group)]
    for part in list_parts(lakehouse, group, since.date(), at.date()):
        tables.append(_between(read_part(part, group, _columns(group)), since, at))
    return newest_of_symbols(pa.concat_tables(tables), (_EVENT, _CREATED))


def _newest_loaded(
    lakehouse: Lakehouse, group: FeatureGroup, load: LastLoad | None, at: datetime
) -> pa.Table:
    """Return the rows that a load has brought and that are valid at a later instant."""
    tables = [_none(group)]
    if load is not None:
        since = load.until - group.ttl
        parts = list_parts(lakehouse, group, since.date())
        ledger = Ledger.of_merged(lakehouse, parts, load.parts, whole=False)
        for part in parts:
            name = part.key
            was_loaded = ledger.is_among(name, load.parts)
            if was_loaded or any(entry.replaces for entry in ledger.of(name)):
                rows = _between(read_part(part, group, _columns(group)), since, load.until)
                # One that was merged since may have rows that came later.
                tables.append(rows if was_loaded else _created_by(rows, load.until))
    newest = newest_of_symbols(pa.concat_tables(tables), (_EVENT, _CREATED))
    return _between(newest, at - group.ttl, at)


def _created_by(rows: pa.Table, instant: datetime) -> pa.Table:
    created = rows[_CREATED]
    return rows.filter(pc.less_equal(created, pa.scalar(instant, created.type)))


def _columns(group: FeatureGroup) -> list[str]:
    return ["symbol", _EVENT, _CREATED, *(column.name for column in group.served)]


def _none(group: FeatureGroup) -> pa.Table:
    return arrow_schema(group).empty_table().select(_columns(group))


def compare_online(
    group: FeatureGroup, online: pa.Table, offline: pa.Table, at: datetime
) -> tuple[ViewAgreement, list[Difference]]:
    """Compare two tables of one row a symbol.

    Parameters
    ----------
    online
        All rows of the online store.
    offline
        The rows that are valid at ``at``, as :func:`newest_valid` gives them.

    Returns
    -------
    tuple[ViewAgreement, list[Difference]]
        The list has at most :data:`LISTED`.
    """
    valid = pc.greater_equal(online[_EVENT], pa.scalar(at - group.ttl, online[_EVENT].type))
    expired = online.num_rows - int(pc.sum(valid).as_py() or 0)
    online = online.filter(valid).sort_by("symbol")
    differences: list[Difference] = []
    for rows, others in ((online, offline), (offline, online)):
        alone = rows.filter(pc.invert(pc.is_in(rows["symbol"], others["symbol"])))
        for row in alone.select(["symbol", _EVENT]).to_pylist():
            sides = (row[_EVENT], None) if rows is online else (None, row[_EVENT])
            differences.append(Difference(group.name, row["symbol"], "row", *sides))
    different = len(differences)
    online, offline = (
        rows.filter(pc.is_in(rows["symbol"], others["symbol"]))
        for rows, others in ((online, offline), (offline, online))
    )
    names = [_EVENT, _CREATED, *(column.name for column in group.served)]
    for name in names:
        at_odds = np.flatnonzero(~_same(online[name], offline[name]))
        different += len(at_odds)
        for row in at_odds[:LISTED].tolist():
            symbol, *values = (
                column[row].as_py() for column in (online["symbol"], online[name], offline[name])
            )
            differences.append(Difference(group.name, symbol, name, *values))
    agreement = ViewAgreement(
        view=group.name,
        symbols=online.num_rows,
        values=online.num_rows * len(group.served),
        expired=expired,
        different=different,
    )
    return agreement, differences[:LISTED]


def _between(rows: pa.Table, since: datetime, until: datetime) -> pa.Table:
    events, kind = rows[_EVENT], rows[_EVENT].type
    late = pc.greater_equal(events, pa.scalar(since, kind))
    return rows.filter(pc.and_(late, pc.less_equal(events, pa.scalar(until, kind))))


def _same(a: pa.ChunkedArray, b: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return where two columns have the same bits: −0.0 is not 0.0."""
    null_a, null_b = (pc.is_null(each).to_numpy() for each in (a, b))
    bits = [_bits(each) for each in (a, b)]
    same: np.ndarray[Any, np.dtype[np.bool_]] = (null_a == null_b) & (null_a | (bits[0] == bits[1]))
    return same


def _bits(values: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """Return values that are equal where the bits are; a null is any value."""
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    array: np.ndarray[Any, Any] = pc.fill_null(values, pa.scalar(0).cast(values.type)).to_numpy()
    return array.view(np.int64) if pa.types.is_floating(values.type) else array
