"""Splits whose ex-date has no bar: they take effect at the symbol's next bar.

The ratio of such a split is written on that next bar, multiplied with those of others that wait
there too. When a bar comes that lies between, the ratio moves to it. The split of a bar that is
withdrawn goes to another bar of the session, or else it is recorded and waits like these.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ingestion.bars.arrays import Bars, Split, among, in_order, keys_of
from ingestion.bars.splits import ratios_at, read_recorded
from ingestion.bars.stored_bars import LOOKBACK, NearbyBars
from ingestion.base.instants import DAY, date_of_day
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import Lakehouse, Part, by_date, list_parts, read_current_of
from ingestion.markets.hours import known_calendar
from ingestion.markets.sessions import session_days, sessions_between
from ingestion.markets.symbols import exchange_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


_REACH = timedelta(days=400)
"""The next bar of a split, and the one before it, must be within this time."""

_ONE_SPLIT_SECONDS = timedelta(days=7).total_seconds()
"""Equal ratios of a symbol within this time are one split, dated in two ways."""

Ratios = dict[tuple[str, int], float]
"""Ratios by symbol and close of the ex-date's session, Unix seconds."""


def carried_ratios(bars: Bars, names: Sequence[str], splits: Ratios) -> NDArray[np.float64]:
    """Return, for each bar, the product of the ratios that have no bar and take effect at it.

    Parameters
    ----------
    bars
        As :func:`ingestion.bars.arrays.in_order` leaves them, one per session. Nothing takes effect
        at a symbol's first bar: there is no price before it.
    """
    factor = np.ones(len(bars))
    for at, ratio in _next_bars(bars, names, splits):
        factor[at] *= ratio
    return factor


def _next_bars(bars: Bars, names: Sequence[str], splits: Ratios) -> Iterable[tuple[int, float]]:
    numbers = {name: number for number, name in enumerate(names)}
    for (symbol, event), ratio in splits.items():
        number = numbers.get(symbol)
        if number is None:
            continue
        start, end = np.searchsorted(bars.symbol, [number, number + 1]).tolist()
        at = start + int(np.searchsorted(bars.event[start:end], event))
        if start < at < end and bars.event[at] != event:
            yield at, ratio


def with_carried(
    own: NDArray[np.float64], carried_ratio: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the ratio that takes effect at each bar: its own and those that it carries.

    If both ratios are equal they are one split, which two vendors date differently.
    """
    product: NDArray[np.float64] = np.where(own == carried_ratio, own, own * carried_ratio)
    return product


def without_carried(
    ratio: NDArray[np.float64], carried_ratio: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return stored bars' own ratios: what :func:`with_carried` was given."""
    own = ratio / carried_ratio
    # A lakehouse of an earlier version has 1 on the next bar: nothing was carried there.
    is_one = (ratio == 1) | (np.abs(own - 1) < 1e-9)
    return np.where(carried_ratio == 1, ratio, np.where(is_one, 1.0, own))


class Known:
    """All that is known of the splits of some symbols: recorded, and brought by an import.

    Parameters
    ----------
    names
        Symbols by number.
    recorded
        What waits in the lakehouse.
    splits
        Those of the splits file, which overrule everything else.
    """

    def __init__(
        self, names: Sequence[str], stored: NearbyBars, recorded: Ratios, splits: Sequence[Split]
    ) -> None:
        self.names = names
        self.recorded = dict(recorded)
        self.fresh = {(split.symbol, split.event): split.ratio for split in splits}
        self._of_splits_file = dict(self.fresh)
        self._numbers = {name: number for number, name in enumerate(names)}
        self._stored = stored
        self._files_are_right = False

    def add(self, of_files: Iterable[Split]) -> None:
        """Take the splits that the files of bars give; the splits file overrules them."""
        for split in of_files:
            self.fresh.setdefault((split.symbol, split.event), split.ratio)

    def forget(self, symbols: Container[str]) -> None:
        """Leave out what the import brings for some symbols."""
        self.fresh = {key: ratio for key, ratio in self.fresh.items() if key[0] not in symbols}
        self._of_splits_file = {
            key: ratio for key, ratio in self._of_splits_file.items() if key[0] not in symbols
        }

    def forget_of_bars(self, symbols: Container[str]) -> None:
        """Leave out what the files of bars give for some symbols, not what the splits file does."""
        self.fresh = {
            key: ratio
            for key, ratio in self.fresh.items()
            if key[0] not in symbols or key in self._of_splits_file
        }

    def believe_files(self) -> None:
        """From now on, a file that says that there was no split overrules a recorded one."""
        self._files_are_right = True

    def waiting_now(self, unplaced: Iterable[Split]) -> None:
        """Keep, of what the import brings, the splits that have no bar in it."""
        self.fresh = {(split.symbol, split.event): split.ratio for split in unplaced}
        self.recorded |= self.fresh

    def ratios(self, bars: Bars) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the ratio that takes effect at each bar, 1 for none.

        Parameters
        ----------
        bars
            As :func:`ingestion.bars.arrays.in_order` leaves them, one per session; stored ones have
            a file number below 0.

        Returns
        -------
        tuple[NDArray[np.float64], NDArray[np.bool_]]
            Shape ``(n,)`` each: the ratios, and the bars whose file says that there was no split,
            though one is recorded: the recorded one is returned.
        """
        stored = self._stored
        was_carried = carried_ratios(stored.bars, self.names, self.recorded)
        match = stored.find(bars)
        known = match >= 0
        recorded = np.full(len(bars), np.nan)
        recorded[known] = without_carried(stored.bars.split_ratio, was_carried)[match[known]]
        waiting = self._at_bars(bars, self.recorded)
        recorded = np.where(known | np.isnan(waiting), recorded, waiting)
        own = np.where(np.isnan(bars.split_ratio) | (bars.file < 0), recorded, bars.split_ratio)
        of_splits_file = self._at_bars(bars, self._of_splits_file)
        doubtful = (bars.file >= 0) & (own == 1) & np.isnan(of_splits_file) & ~np.isnan(recorded)
        doubtful &= (recorded != 1) & (not self._files_are_right)
        own = np.where(doubtful, recorded, own)
        own = np.where(np.isnan(of_splits_file), own, of_splits_file)
        own = np.where(np.isnan(own), 1.0, own)
        return with_carried(
            own, carried_ratios(bars, self.names, self.recorded | self.fresh)
        ), doubtful

    def settled(self, bars: Bars) -> NDArray[np.bool_]:
        """Return at which bars it is recorded that there was no split, whatever it looks like."""
        is_one: NDArray[np.bool_] = self._at_bars(bars, self.recorded | self._of_splits_file) == 1
        return is_one

    def unconfirmed(self, bars: Bars) -> NDArray[np.bool_]:
        """Return which bars have a split that only their own file gives."""
        alone: NDArray[np.bool_] = bars.file >= 0
        alone &= ~np.isnan(bars.split_ratio) & (bars.split_ratio != 1)
        alone &= np.isnan(self._at_bars(bars, self.recorded | self._of_splits_file))
        return alone

    def all_splits(self, bars: Bars) -> list[Split]:
        """Return every split of the symbols of some bars, one per ex-date, whoever gave it."""
        symbols = {self.names[number] for number in np.unique(bars.symbol).tolist()}
        found = {key: ratio for key, ratio in self.fresh.items() if key[0] in symbols}
        given = list(found.items())
        stored = self._stored.bars
        own = without_carried(stored.split_ratio, carried_ratios(stored, self.names, self.recorded))
        at = np.flatnonzero(own != 1).tolist()
        recorded = {(self.names[stored.symbol[n]], int(stored.event[n])): own[n] for n in at}
        for (symbol, event), ratio in [*recorded.items(), *self.recorded.items()]:
            is_given = any(
                key[0] == symbol and other == ratio and abs(key[1] - event) <= _ONE_SPLIT_SECONDS
                for key, other in given
            )
            if symbol in symbols and not is_given:
                found.setdefault((symbol, event), float(ratio))
        return [Split(symbol, event, ratio) for (symbol, event), ratio in found.items()]

    def _at_bars(self, bars: Bars, splits: Ratios) -> NDArray[np.float64]:
        return ratios_at(bars, self._numbers, splits)


def read_around(stored: NearbyBars, bars: Bars, known: Known) -> None:
    """Read what else is needed to know the next bars of splits.

    Parameters
    ----------
    bars
        The import's, in order.
    """
    merged = with_stored(bars, stored)
    numbers = {name: number for number, name in enumerate(known.names)}
    reach = _REACH.days
    further: dict[int, set[int]] = {}
    for symbol, event in known.recorded | known.fresh:
        number = numbers.get(symbol)
        if number is None:
            continue
        start, end = np.searchsorted(merged.symbol, [number, number + 1]).tolist()
        of_symbol = merged.event[start:end]
        at = int(np.searchsorted(of_symbol, event))
        is_new = (symbol, event) in known.fresh
        if at < len(of_symbol):
            if of_symbol[at] == event:
                continue
            if not at and not is_new and merged.file[start] < 0:
                continue  # it has taken effect at an earlier bar
        elif not is_new:
            continue  # no bar here is after it
        day = event // DAY
        first = int(of_symbol[at - 1]) // DAY if at else day - reach
        last = int(of_symbol[at]) // DAY if at < len(of_symbol) else day + reach
        days = range(max(first, day - reach), min(last, day + reach) + 1)
        if not stored.has_read(number, days):
            for each in days:
                further.setdefault(each, set()).add(number)
    # All splits together, so that each date is read once.
    if further:
        stored.extend(further)


def with_stored(bars: Bars, stored: NearbyBars) -> Bars:
    """Return bars, which are in order, and the stored ones that they do not replace, in order."""
    there = stored.bars
    replaced = among(keys_of(there.symbol, there.event), keys_of(bars.symbol, bars.event))
    return in_order(Bars.concatenate([bars, there.take(~replaced)]))


def take_effect(
    bars: Bars, stored: NearbyBars, known: Known, before: Ratios
) -> tuple[Bars, list[Split]]:
    """Write on each bar the ratio that takes effect at it, where the lakehouse would not.

    Parameters
    ----------
    bars
        What is to be written, as :func:`ingestion.bars.arrays.in_order` leaves it.
    known
        What waits now.
    before
        The splits that waited until now.

    Returns
    -------
    tuple[Bars, list[Split]]
        The bars, and the stored ones whose ratio is another one with these bars beside them.
    """
    after = with_stored(bars, stored)
    ratio, _ = known.ratios(after)
    is_new = after.file >= 0
    match = stored.find(after)
    default = np.ones(len(after))
    default[match >= 0] = stored.bars.split_ratio[match[match >= 0]]
    tell = is_new & (~np.isnan(after.split_ratio) | (ratio != default))
    after.split_ratio[tell] = ratio[tell]
    return after.take(is_new), _changed_ratios(
        stored.bars, after, known.names, before, known.recorded
    )


def take_recorded(lakehouse: Lakehouse, bars: Bars, names: Sequence[str]) -> list[Split]:
    """Write on bars of a daily run, in place, the ratio of splits that have no bar.

    Parameters
    ----------
    bars
        One per symbol and session, in any order.

    Returns
    -------
    list[Split]
        The stored bars whose ratio is another one with these bars beside them.
    """
    recorded = read_recorded(lakehouse)
    symbols = {symbol for symbol, _ in recorded}
    chosen = np.array([names[number] in symbols for number in bars.symbol], dtype=bool)
    if not chosen.any():
        return []
    at = np.flatnonzero(chosen)
    at = at[np.argsort(keys_of(bars.symbol[at], bars.event[at]))]
    of_them = bars.take(at)
    stored = NearbyBars.around(lakehouse, of_them.symbol, of_them.event, names)
    known = Known(names, stored, recorded, [])
    read_around(stored, of_them, known)
    taken, changes = take_effect(of_them, stored, known, recorded)
    bars.split_ratio[at] = taken.split_ratio
    return changes


def _changed_ratios(
    before: Bars, after: Bars, names: Sequence[str], old: Ratios, new: Ratios
) -> list[Split]:
    """Return the stored bars whose ratio is another one after an import.

    Parameters
    ----------
    before
        The stored bars, in order.
    after
        The same with the import's.
    old, new
        The splits that waited before the import, and those that wait now.
    """
    kept = after.take(after.file < 0)
    at = np.searchsorted(keys_of(before.symbol, before.event), keys_of(kept.symbol, kept.event))
    was = carried_ratios(before, names, old)[at]
    now = carried_ratios(after, names, new)[after.file < 0]
    ratio = np.where(
        was == now, kept.split_ratio, with_carried(without_carried(kept.split_ratio, was), now)
    )
    # An earlier version of the project did not write some ratios: they are written now.
    late = (was == now) & (was != 1) & (kept.split_ratio == 1)
    ratio[late] = now[late]
    return [
        Split(names[kept.symbol[n]], int(kept.event[n]), float(ratio[n]), is_moved=True)
        for n in np.flatnonzero(ratio != kept.split_ratio).tolist()
    ]


@dataclass(frozen=True)
class KeptSplits:
    """What becomes of the splits of withdrawn bars."""

    ahead: list[Split]
    """Those whose session has no other bar: they are to be recorded."""
    ratios: list[Split]
    """The ratios that stored bars get: of the same session, or the next one of their symbol."""


def keep_splits(
    lakehouse: Lakehouse, rows: Sequence[Mapping[str, Any]], gone: Container[tuple[str, int]]
) -> KeptSplits:
    """Find where the splits go that no other bar of their session has.

    Parameters
    ----------
    rows
        Of ``ohlcv_1d``: the bars with a split that are to be withdrawn.
    gone
        Symbol and open of all bars that are to be withdrawn.
    """
    stored = by_date(list_parts(lakehouse, OHLCV_1D))
    ahead, ratios = [], []
    for row in rows:
        symbol, ratio = row["symbol"], row["split_ratio"]
        session, beside = _session_day(row), _others_of_session(row, stored, gone)
        if not beside:
            ahead.append(Split(symbol, _close_of_session(row, session), ratio))
        elif all(other["split_ratio"] == 1 for other in beside):
            ratios.append(Split(symbol, _seconds(beside[0]["event_timestamp"]), ratio))
    return KeptSplits(ahead, [*ratios, *_ratios_of_next_bars(lakehouse, ahead, gone)])


def _others_of_session(
    row: Mapping[str, Any], stored: Mapping[date, list[Part]], gone: Container[tuple[str, int]]
) -> list[dict[str, Any]]:
    """Return the other bars of a bar's session."""
    day = row["event_timestamp"].date()
    near = [part for n in (-1, 0, 1) for part in stored.get(day + timedelta(n), [])]
    rows = read_current_of(near, OHLCV_1D, [row["symbol"]]).to_pylist()
    session = _session_day(row)
    return [
        other
        for other in rows
        if (other["symbol"], other["timestamp"]) not in gone and _session_day(other) == session
    ]


def _session_day(row: Mapping[str, Any]) -> int:
    """Return the day of a bar's session, from 1970-01-01."""
    times = (row["timestamp"], _seconds(row["event_timestamp"]))
    opens, closes = (np.array([each], dtype=np.int64) for each in times)
    return int(session_days(row["symbol"], opens, closes)[0])


def _close_of_session(row: Mapping[str, Any], session: int) -> int:
    """Return the close of a session, or of the next one on a day without one."""
    day = date_of_day(session)
    if known_calendar(row["symbol"]) is None:
        return _seconds(row["event_timestamp"])
    sessions = sessions_between(exchange_of(row["symbol"]), day, day + LOOKBACK)
    return sessions[0].closes if sessions else _seconds(row["event_timestamp"])


def _ratios_of_next_bars(
    lakehouse: Lakehouse, ahead: list[Split], gone: Container[tuple[str, int]]
) -> list[Split]:
    """Return the ratios of the stored bars at which splits without a bar take effect now."""
    if not ahead:
        return []
    names = sorted({split.symbol for split in ahead})
    numbers = np.array([names.index(split.symbol) for split in ahead], dtype=np.int32)
    events = np.array([split.event for split in ahead], dtype=np.int64)
    stored = NearbyBars.around(lakehouse, numbers, events, names)
    before = read_recorded(lakehouse)
    known = Known(names, stored, before, ahead)
    _leave_out(stored, names, gone)
    read_around(stored, Bars.concatenate([]), known)
    _leave_out(stored, names, gone)
    known.waiting_now(ahead)
    return take_effect(Bars.concatenate([]), stored, known, before)[1]


def _leave_out(stored: NearbyBars, names: Sequence[str], gone: Container[tuple[str, int]]) -> None:
    keys = zip(stored.bars.symbol.tolist(), stored.bars.timestamp.tolist(), strict=True)
    stays = np.array([(names[number], opens) not in gone for number, opens in keys], dtype=bool)
    stored.keep(stays)


def _seconds(instant: datetime) -> int:
    return int(instant.timestamp())
