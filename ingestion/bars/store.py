"""Bars into the lakehouse: only what is new or says something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.catalog import OHLCV_1D
from ingestion import clock
from ingestion.bars.ahead import read_ahead
from ingestion.bars.model import Bars, Split
from ingestion.bars.nearby import ADJUSTED
from ingestion.bars.times import DAY
from ingestion.bars.twins import Twin, Twins
from ingestion.bars.withdrawn import Withdrawn, as_withdrawn
from ingestion.lakehouse import (
    append_part,
    append_parts,
    arrow_schema,
    by_date,
    created_after,
    created_at,
    is_withdrawn,
    list_parts,
    read_current_of,
    standing,
)
from ingestion.placing import assumed
from ingestion.symbols import exchange_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VALUES = ("open", "high", "low", "close", "volume", "split_ratio")
ASSUMED = ";assumed_hours"
"""Ends the source of a bar whose session lies beyond the end of its exchange's calendar."""
_SPLITS = ";splits:"
_EPOCH = date(1970, 1, 1)
_SCHEMA = arrow_schema(OHLCV_1D)
_CREATED = "created_timestamp"
PARTS_AT_ONCE = 64
"""Parts that are written together, for the disk is waited for once for all of them."""


@dataclass
class Written:
    """What became of the bars."""

    is_new: NDArray[np.bool_]
    """Shape ``(n,)``, in the order of the bars: written, not already there."""
    restated: int = 0
    """Rows among the written that replace an earlier version, recorded splits included."""
    split_rows: int = 0
    """Rows that were written only to record a split."""
    parts: list[Path] = field(default_factory=list)
    barless: list[Split] = field(default_factory=list)
    """Splits without a stored bar on their ex-date, and ratios of 1: what no bar can say."""
    adjusted: list[Split] = field(default_factory=list)
    """Splits of bars that are stored split-adjusted: recorded, they would count twice."""
    gave_way: list[str] = field(default_factory=list)
    """Symbols whose bar disagrees with a stored one of another source, which stays."""
    assumed: Counter[str] = field(default_factory=Counter)
    """Bars among the written whose session's hours are assumed, by exchange."""
    not_taken: dict[int, Twin | Withdrawn] = field(default_factory=dict)
    """By position, bars against which something stored speaks: their session's bar with another
    close and other values, or that they were withdrawn."""


def _to_none(_: str) -> bool:
    return False


@dataclass(frozen=True)
class Incoming:
    """What an import brings to the lakehouse."""

    bars: Bars
    """One per symbol and close, as :func:`ingestion.bars.series.in_order` leaves them."""
    names: Sequence[str]
    """Symbols by number."""
    source: Callable[[NDArray[np.intp]], list[str]]
    """The source of the bars at some positions."""
    splits: list[Split]
    """Splits for stored bars, none of them in ``bars``."""
    splits_file: str = ""
    moved: Sequence[Split] = ()
    """The ratios that stored bars get because a split without a bar takes effect at them."""
    tolerance: float = 0.0
    """Relative difference up to which a value counts as the stored one."""
    gives_way_to: Callable[[str], bool] = _to_none
    """Whether a stored bar of that source stays, whatever the new one says."""


def write_bars(root: Path, incoming: Incoming, run_id: str) -> Written:
    """Append what the lakehouse does not hold yet; the caller holds its lock."""
    written = Written(np.zeros(len(incoming.bars), dtype=bool))
    news = new_rows(root, incoming, written)
    while batch := list(islice(news, PARTS_AT_ONCE)):
        written.parts += append_parts(root, OHLCV_1D, list(map(_created_now, batch)), run_id)
    return written


class NewRows(NamedTuple):
    """Rows of one partition date that are to be written."""

    rows: pa.Table
    """In the schema of ``ohlcv_1d``, not created yet."""
    newest: datetime | None
    """When the newest row that they may restate was created; None if there is none."""


def append_new(root: Path, new: NewRows, run_id: str) -> Path:
    """Append rows as created now, and after what they restate."""
    return append_part(root, OHLCV_1D, _created_now(new), run_id)


def _created_now(new: NewRows) -> pa.Table:
    return created_at(new.rows, created_after(clock.now(), new.newest))


def new_rows(root: Path, incoming: Incoming, written: Written) -> Iterator[NewRows]:
    """Yield what the lakehouse does not hold yet, one table per partition date.

    Of each date, one at a time:

    1. read the current rows of the symbols that come;
    2. find each bar's own by symbol and close; a stored open stays, so that vendors who stamp the
       opening bell differently restate one bar instead of making two; one of its session that
       closes elsewhere (:mod:`ingestion.bars.twins`) says the same, or stands against it;
    3. where nothing is said about splits, take the stored ratio, or that recorded ahead, else 1;
    4. refuse what is equal to a bar that was withdrawn;
    5. leave out what is equal in prices, volume and split ratio, and what a stored bar overrules.

    Parameters
    ----------
    written
        Takes what became of the bars, as far as it has come.
    """
    ahead = read_ahead(root)
    stored_parts = by_date(list_parts(root, OHLCV_1D))

    names = {incoming.names[number] for number in np.unique(incoming.bars.symbol)}
    symbols = sorted(names.union(split.symbol for split in incoming.splits))

    @lru_cache(maxsize=4)
    def rows_of(day: date) -> pa.Table:
        return read_current_of(stored_parts.get(day, []), OHLCV_1D, symbols, withdrawn=True)

    twins = Twins(lambda day: standing(rows_of(day)))
    for day, at, splits, moved in _days(incoming.bars, incoming.splits, incoming.moved):
        stored = _Stored(rows_of(day))
        beside = twins.find(day, *_keys(incoming, at))
        rows = pa.concat_tables(
            [
                _changed(incoming, at, stored, beside, ahead, written),
                _record(splits, stored, incoming.splits_file, written),
                _moved(moved, splits, stored, written),
            ]
        )
        if rows.num_rows:
            yield NewRows(rows, stored.newest)


class _Stored:
    """The current rows of one partition date.

    Parameters
    ----------
    rows
        With those that are withdrawn.
    """

    def __init__(self, rows: pa.Table) -> None:
        self.newest: datetime | None = pc.max(rows[_CREATED]).as_py()
        self.withdrawn = [as_withdrawn(row) for row in rows.filter(is_withdrawn(rows)).to_pylist()]
        rows = standing(rows)
        self.values = {name: rows[name].to_numpy() for name in ("timestamp", *_VALUES)}
        symbols = rows["symbol"].to_pylist()
        events = rows["event_timestamp"].cast(pa.int64()).to_numpy() // 1_000_000
        opens = zip(symbols, self.values["timestamp"].tolist(), strict=True)
        self.at_event = {
            key: at for at, key in enumerate(zip(symbols, events.tolist(), strict=True))
        }
        self.at_open = {key: at for at, key in enumerate(opens)}
        self._rows = rows

    def find(self, symbol: str, opened: int, event: int) -> int:
        """Return the position of a bar's row, −1 for none."""
        return self.at_open.get((symbol, opened), self.at_event.get((symbol, event), -1))

    def source(self, at: int) -> str:
        """Return where a row comes from."""
        return str(self._rows["source"][at].as_py())

    def row(self, at: int) -> dict[str, Any]:
        """Return a whole row."""
        row: dict[str, Any] = self._rows.slice(at, 1).to_pylist()[0]
        return row


def _days(
    bars: Bars, splits: Sequence[Split], moved: Sequence[Split]
) -> Iterator[tuple[date, NDArray[np.intp], list[Split], list[Split]]]:
    """Yield partition dates in order, each with its bars' positions, its splits and its moves."""
    days = bars.event // DAY
    order = np.argsort(days, kind="stable")
    starts = np.flatnonzero(np.diff(days[order])) + 1
    groups = {int(days[group[0]]): group for group in np.split(order, starts) if len(group)}
    recorded, changed = _of_days(splits), _of_days(moved)
    for day in sorted(groups.keys() | recorded.keys() | changed.keys()):
        at = groups.get(day, np.array([], dtype=np.intp))
        yield _EPOCH + timedelta(day), at, recorded.get(day, []), changed.get(day, [])


def _of_days(splits: Sequence[Split]) -> dict[int, list[Split]]:
    found: dict[int, list[Split]] = {}
    for split in splits:
        found.setdefault(split.event // DAY, []).append(split)
    return found


def _changed(
    incoming: Incoming,
    at: NDArray[np.intp],
    stored: _Stored,
    beside: dict[int, Twin],
    ahead: dict[tuple[str, int], float],
    written: Written,
) -> pa.Table:
    """Return the rows of a day's bars that differ from what is stored, not created yet."""
    day = incoming.bars.take(at)
    names = [incoming.names[number] for number in day.symbol]
    keys = zip(names, day.timestamp.tolist(), day.event.tolist(), strict=True)
    match = np.array([stored.find(*key) for key in keys], dtype=np.intp)
    known = match >= 0
    unsaid = np.isnan(day.split_ratio)
    day.split_ratio[unsaid] = 1.0
    if ahead:
        for n in np.flatnonzero(unsaid & ~known).tolist():
            day.split_ratio[n] = ahead.get((names[n], int(day.event[n])), 1.0)
    day.split_ratio[unsaid & known] = stored.values["split_ratio"][match[unsaid & known]]
    day.timestamp[known] = stored.values["timestamp"][match[known]]
    same = known.copy()
    for name in _VALUES:
        new, old = getattr(day, name)[known], stored.values[name][match[known]]
        same[known] &= np.abs(new - old) <= incoming.tolerance * np.maximum(
            np.abs(new), np.abs(old)
        )
    for n in np.flatnonzero(known & ~same).tolist():
        if incoming.gives_way_to(stored.source(int(match[n]))):
            written.gave_way.append(names[n])
            same[n] = True
    for n, withdrawn in _withdrawn(stored, names, day, known):
        day.timestamp[n] = withdrawn.opens  # other values are another version of that row
        if _says_the_same(day, n, withdrawn.prices, incoming.tolerance):
            same[n] = True
            written.not_taken[int(at[n])] = withdrawn
    for n, twin in beside.items():
        if known[n] or int(at[n]) in written.not_taken:
            continue
        same[n] = True
        equal = _says_the_same(day, n, twin.prices, incoming.tolerance)
        if twin.is_misplaced or not (equal or incoming.gives_way_to(twin.source)):
            written.not_taken[int(at[n])] = twin
        elif not equal:
            written.gave_way.append(names[n])
    written.is_new[at] = ~same
    written.restated += int((known & ~same).sum())
    fresh = np.flatnonzero(~same)
    columns: dict[str, Any] = {name: getattr(day, name)[fresh] for name in ("timestamp", *_VALUES)}
    columns["symbol"] = [names[n] for n in fresh]
    columns["event_timestamp"] = day.event[fresh] * 1_000_000
    columns[_CREATED] = pa.nulls(len(fresh))
    columns["source"] = incoming.source(at[fresh])
    for n in np.flatnonzero(assumed(columns["symbol"], day.event[fresh])).tolist():
        columns["source"][n] += ASSUMED
        written.assumed[exchange_of(columns["symbol"][n])] += 1
    return pa.table(
        [pa.array(columns[name]).cast(_SCHEMA.field(name).type) for name in _SCHEMA.names],
        schema=_SCHEMA,
    )


def _keys(
    incoming: Incoming, at: NDArray[np.intp]
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Return symbols, opens and closes of some bars."""
    names = [incoming.names[number] for number in incoming.bars.symbol[at]]
    return names, incoming.bars.timestamp[at], incoming.bars.event[at]


def _withdrawn(
    stored: _Stored, names: Sequence[str], bars: Bars, known: NDArray[np.bool_]
) -> Iterator[tuple[int, Withdrawn]]:
    """Yield the bars that are not stored, because somebody withdrew them."""
    if not stored.withdrawn:
        return
    of_key = {(each.symbol, each.opens): each for each in stored.withdrawn}
    of_session = {(each.symbol, each.event): each for each in stored.withdrawn}
    for n in np.flatnonzero(~known).tolist():
        found = of_key.get((names[n], int(bars.timestamp[n])))
        found = found or of_session.get((names[n], int(bars.event[n])))
        if found is not None:
            yield n, found


def _says_the_same(bars: Bars, at: int, prices: Mapping[str, float], tolerance: float) -> bool:
    return all(
        _is_close(float(getattr(bars, name)[at]), value, tolerance)
        for name, value in prices.items()
    )


def _is_close(new: float, old: float, tolerance: float) -> bool:
    return abs(new - old) <= tolerance * max(abs(new), abs(old))


def _record(splits: list[Split], stored: _Stored, splits_file: str, written: Written) -> pa.Table:
    """Return the stored rows of a day with the split ratios that they lack."""
    rows = []
    for split in splits:
        at = stored.at_event.get((split.symbol, split.event))
        if at is None:
            written.barless.append(split)
            continue
        row = stored.row(at)
        if split.ratio == 1:
            written.barless.append(split)
        if ADJUSTED in row["source"]:
            written.adjusted.append(split)
        elif row["split_ratio"] != split.ratio:
            source = f"{row['source'].partition(_SPLITS)[0]}{_SPLITS}{splits_file}"
            rows.append(row | {"split_ratio": split.ratio, "source": source})
    written.split_rows += len(rows)
    written.restated += len(rows)
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def _moved(moved: list[Split], splits: list[Split], stored: _Stored, written: Written) -> pa.Table:
    """Return the stored rows of a day whose ratio changes because a split has no bar of its own."""
    recorded = {(split.symbol, split.event) for split in splits}
    rows = []
    for split in moved:
        at = stored.at_event.get((split.symbol, split.event))
        if at is not None and (split.symbol, split.event) not in recorded:
            rows.append(stored.row(at) | {"split_ratio": split.ratio})
    written.split_rows += len(rows)
    written.restated += len(rows)
    return pa.Table.from_pylist(rows, schema=_SCHEMA)
