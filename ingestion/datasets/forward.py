"""Forward returns: what a position entered after a decision made of it, n sessions later.

The decision is made at the close of bar d, when its features became known. The position is entered
at the next open (or at that close itself), and left at the close of bar d + n. Sessions are the
symbol's own bars, whatever other markets did.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Literal, TypeAlias, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.base.columns import INSTANT
from ingestion.base.errors import InputError
from ingestion.base.instants import DAY, MICROSECONDS, to_micros
from ingestion.datasets.membership import Choice
from ingestion.datasets.series import Series, read_series

Entry: TypeAlias = Literal["open", "close"]
"""Where the position is entered: at the next session's open, or at the decision's own close."""

MAX_GAP = timedelta(days=12)
"""Longest time from close to close inside a window, as the time to live of daily features.

The longest pause of a large exchange, Lunar New Year, is 11 days. Beyond that the symbol was halted
or its bars are missing, and n of its sessions are not n of the market's.
"""

LONGEST = 9_999
"""Sessions of the longest target: forty years, more than any history here."""

_NAME = re.compile(r"fwd_return_([1-9][0-9]{0,3})d")

_DAY = DAY * MICROSECONDS
_EPOCH = date(1970, 1, 1).toordinal()


class DropReason(StrEnum):
    """Why a decision has no label; of several reasons the first in this list counts."""

    NOT_ACTIVE = "not_active"
    """Not in the universe then: the symbol was inactive, or not observed yet."""
    GAP_IN_WINDOW = "gap_in_window"
    """More than the longest gap without a bar before the window was full.

    The time from a symbol's last bar to the newest bar of all counts too: of a symbol that was
    delisted in the window nobody knows the return.
    """
    NO_FULL_WINDOW = "no_full_window"
    """Fewer than n bars after the decision: the window is not over yet."""
    SESSION_MISSING = "session_missing"
    """A session of the market is missing in the window, so its n bars are not n sessions."""
    ENTRY_BEFORE_DECISION = "entry_before_decision"
    """The next bar opened before this one was known to have closed.

    So do bars of an exchange of unknown hours, stamped 24 h after their open, on the day its clocks
    go forward.
    """
    NO_FINITE_RETURN = "no_finite_return"
    """The entry price is not above 0, or the return overflows."""


@dataclass(frozen=True)
class Labels:
    """Labels, and what became of the decisions that have none."""

    target: str
    """Name of the target's column."""
    table: pa.Table
    """Sorted by and unique on (``symbol``, ``event_timestamp``)."""
    decisions: int
    """Bars that closed in the range; each is a row of ``table`` or counted in ``dropped``."""
    dropped: dict[DropReason, int]
    """Rows by reason; every reason is there."""
    unknown: int = 0
    """Decisions at whose time it is not known which symbols could be chosen: all count as such."""


def forward_returns(
    bars: pa.Table,
    sessions: int,
    *,
    entry: Entry = "open",
    first: date,
    last: date,
    max_gap: timedelta | None = MAX_GAP,
    universe: Choice | None = None,
    newest: datetime | None = None,
) -> Labels:
    """Label every decision of a date range with its forward return.

    Prices are put into the money of the entry by the product of the split ratios between entry and
    exit, so a split inside the window is no return; a split on the entry's own ex-date is already
    in its open. Dividends are not adjusted.

    Parameters
    ----------
    bars
        One row per bar, unique on (``symbol``, ``timestamp``), in any order: ``timestamp`` (int64,
        bar open, Unix s), ``symbol``, ``open``, ``close``, ``split_ratio``, ``event_timestamp``
        (bar close). They must reach past ``last`` by as much as a window may take, see
        :func:`longest_window`; bars before ``first`` are not needed. Optional: ``missing_from``
        (int64), not 0 where sessions are missing between the symbol's bar before and this one.
    sessions
        n, from 1.
    entry
        ``"open"``: close[d + n] / open[d + 1] − 1. ``"close"``: close[d + n] / close[d] − 1.
    first, last
        UTC dates of the first and last decision, both inclusive.
    max_gap
        Longest time between two closes in a window, inclusive; None allows any.
    universe
        Which symbols could be chosen when; None for all, always.
    newest
        Close of the newest bar of all, where these are only some; that among them if none is given.

    Returns
    -------
    Labels
        The table has ``symbol``; ``event_timestamp``, the decision; the target
        ``fwd_return_<n>d``, a fraction, finite and never null; ``label_start_timestamp``, when the
        position is entered, never before the decision; ``label_end_timestamp``, the close of bar
        d + n. Instants are ``timestamp[us, UTC]``.

    Raises
    ------
    InputError
        The bars are not as described (which column or bar); ``first`` is after ``last``;
        ``sessions`` or ``entry`` is none of the possible.

    Examples
    --------
    Three sessions of one symbol; the third one is the ex-date of a split of 2 for 1:

    >>> from datetime import UTC
    >>> opens = [datetime(2026, 1, day, 14, 30, tzinfo=UTC) for day in (5, 6, 7)]
    >>> closes = [each + timedelta(hours=6.5) for each in opens]
    >>> bars = pa.table({
    ...     "timestamp": [int(each.timestamp()) for each in opens], "symbol": ["NYSE:A"] * 3,
    ...     "open": [99.0, 100.0, 52.0], "close": [99.5, 104.0, 62.5],
    ...     "split_ratio": [1.0, 1.0, 2.0], "event_timestamp": pa.array(closes, INSTANT),
    ... })
    >>> made = forward_returns(bars, 2, first=date(2026, 1, 5), last=date(2026, 1, 7))
    >>> made.table.select(["symbol", "fwd_return_2d"]).to_pylist()  # 2 × 62.5 / 100 − 1
    [{'symbol': 'NYSE:A', 'fwd_return_2d': 0.25}]
    >>> made.decisions, made.dropped[DropReason.NO_FULL_WINDOW]
    (3, 2)
    """
    target = target_name(sessions)
    if entry not in get_args(Entry):
        raise InputError(f'no entry "{entry}"; a position is entered at the open or the close')
    if first > last:
        raise InputError(f"the first decision, {first}, is after the last, {last}")
    series = read_series(bars)
    decided = (series.closed >= _midnight(first)) & (series.closed < _midnight(last) + _DAY)
    rows = np.flatnonzero(decided)
    ends = series.ends[rows]
    gap = _has_gap(series, rows, np.minimum(rows + sessions, ends), max_gap, newest)
    full = rows + sessions < ends

    # Rows without a full window get their own bar for every price, and are dropped below.
    entered = np.where(full, rows + 1, rows) if entry == "open" else rows
    left = np.where(full, rows + sessions, rows)
    start = series.opened[entered] if entry == "open" else series.closed[rows]
    price = series.open[entered] if entry == "open" else series.close[rows]
    split = _split_products(series, 2 if entry == "open" else 1, sessions)[rows]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        returns = series.close[left] * split / price - 1

    outside, unknown = np.zeros(len(rows), dtype=bool), 0
    if universe is not None:
        unknown = int(np.count_nonzero(~universe.is_known(series.closed[rows])))
        outside = ~universe.was_active(series.names, series.codes[rows], series.closed[rows])
    problems = {
        DropReason.NOT_ACTIVE: outside,
        DropReason.GAP_IN_WINDOW: gap,
        DropReason.NO_FULL_WINDOW: ~full,
        DropReason.SESSION_MISSING: _spans(series.after_gap, rows + 1, left + 1),
        DropReason.ENTRY_BEFORE_DECISION: start < series.closed[rows],
        DropReason.NO_FINITE_RETURN: (price <= 0) | ~np.isfinite(returns),
    }
    kept, dropped = _sieve(len(rows), problems)
    columns = {
        "symbol": series.symbols(rows[kept]),
        "event_timestamp": pa.array(series.closed[rows[kept]]).cast(INSTANT),
        target: pa.array(returns[kept]),
        "label_start_timestamp": pa.array(start[kept]).cast(INSTANT),
        "label_end_timestamp": pa.array(series.closed[left[kept]]).cast(INSTANT),
    }
    return Labels(target, pa.table(columns), len(rows), dropped, unknown)


def longest_window(sessions: int, max_gap: timedelta = MAX_GAP) -> timedelta:
    """Return how long after a decision its window can end at most.

    Bars until then decide whether there is a label, and which: a window that is not full by then
    has a gap.

    Examples
    --------
    >>> longest_window(5).days
    60
    """
    return sessions * max_gap


def target_sessions(name: str) -> int:
    """Return how many sessions a target looks ahead.

    Raises
    ------
    InputError
        If the name is not of the form ``fwd_return_<n>d``.

    Examples
    --------
    >>> target_sessions("fwd_return_5d")
    5
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise InputError(
            f'no target "{name}"; a target is fwd_return_<n>d with n sessions from 1 to {LONGEST}, '
            "such as fwd_return_1d, fwd_return_5d, fwd_return_20d"
        )
    return int(match[1])


def target_name(sessions: int) -> str:
    """Return the name of the forward return of so many sessions.

    Raises
    ------
    InputError
        If there is no such target.

    Examples
    --------
    >>> target_name(5)
    'fwd_return_5d'
    """
    if not 1 <= sessions <= LONGEST:
        raise InputError(f"a target looks 1 to {LONGEST} sessions ahead, not {sessions}")
    return f"fwd_return_{sessions}d"


class LabelCollection:
    """Collects labels of one target and of disjoint date ranges, in as little memory as it can.

    Examples
    --------
    >>> from datetime import UTC
    >>> collected = LabelCollection()
    >>> for day in (2, 1):
    ...     at = pa.array([datetime(2026, 1, day, 21, tzinfo=UTC)], INSTANT)
    ...     columns = {"symbol": ["NYSE:A"], "event_timestamp": at, "target": [day / 100]}
    ...     collected.add(Labels("target", pa.table(columns), decisions=1, dropped={}))
    >>> labels = collected.merge()
    >>> labels.decisions, labels.table["target"].to_pylist()
    (2, [0.01, 0.02])
    """

    def __init__(self) -> None:
        self.decisions = 0
        """Decisions so far."""
        self._unknown = 0
        self._target = ""
        self._dropped: Counter[DropReason] = Counter(dict.fromkeys(DropReason, 0))
        self._columns: dict[str, list[pa.ChunkedArray]] = {}

    def add(self, labels: Labels) -> None:
        """Take the labels of another range."""
        self.decisions += labels.decisions
        self._unknown += labels.unknown
        self._target = labels.target
        self._dropped.update(labels.dropped)
        for name in labels.table.column_names:
            column = labels.table[name]
            if name == "symbol":  # codes take a fraction of the memory
                column = column.dictionary_encode()
            self._columns.setdefault(name, []).append(column)

    def merge(self) -> Labels:
        """Return all labels, sorted by symbol and time; the collection is empty then."""
        symbols = self._take("symbol")
        times = self._take("event_timestamp")
        by_name = pc.sort_indices(symbols.dictionary).to_numpy()
        rank = np.empty(len(by_name), dtype=np.int32)
        rank[by_name] = np.arange(len(by_name), dtype=np.int32)
        keys = (times.view(pa.int64()).to_numpy(), rank[symbols.indices.to_numpy()])
        order = pa.array(np.lexsort(keys))
        del keys
        columns = {"symbol": symbols.take(order).cast(pa.string())}
        del symbols
        columns["event_timestamp"] = times.take(order)
        del times
        # One at a time: all columns twice would be one time too many.
        for name in list(self._columns):
            columns[name] = self._take(name).take(order)
        dropped = dict(self._dropped)
        return Labels(self._target, pa.table(columns), self.decisions, dropped, self._unknown)

    def _take(self, name: str) -> pa.Array:
        """Return a column in one piece, and forget the pieces."""
        pieces = self._columns.pop(name)
        chunks = [chunk for piece in pieces for chunk in piece.chunks]
        column = pa.chunked_array(chunks, pieces[0].type).unify_dictionaries()
        del pieces, chunks
        whole = column.combine_chunks()
        # What no rows at all combine to is still chunked.
        return pa.array([], column.type) if isinstance(whole, pa.ChunkedArray) else whole


def _midnight(day: date) -> int:
    """Return a UTC date's start, Unix µs; plain integers also reach ``date.max``."""
    return (day.toordinal() - _EPOCH) * _DAY


def _has_gap(
    series: Series,
    first: NDArray[np.int64],
    stop: NDArray[np.int64],
    max_gap: timedelta | None,
    newest: datetime | None,
) -> NDArray[np.bool_]:
    """Return whether one of the bars ``first`` … ``stop`` − 1 is followed by a gap."""
    if max_gap is None or not len(series):
        return np.zeros(len(first), dtype=bool)
    following = np.append(series.closed[1:], 0)
    last = series.closed.max() if newest is None else to_micros(newest)
    following[series.ends - 1] = last
    return _spans(following - series.closed > max_gap // timedelta(microseconds=1), first, stop)


def _spans(
    marked: NDArray[np.bool_], first: NDArray[np.int64], stop: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return whether one of the bars ``first`` … ``stop`` − 1 is marked."""
    before = np.concatenate([[0], np.cumsum(marked)])
    spans: NDArray[np.bool_] = before[np.maximum(stop, first)] > before[first]
    return spans


def _split_products(series: Series, nearest: int, farthest: int) -> NDArray[np.float64]:
    """Return, for each bar, the product of the split ratios so many bars ahead.

    Of the symbol's own bars, from ``nearest`` to ``farthest`` inclusive. Splits are rare, so the
    work goes from each split back to the bars that see it; a bar that sees none has exactly 1.
    """
    products = np.ones(len(series))
    splits = np.flatnonzero(series.split_ratio != 1)
    for ahead in range(nearest, farthest + 1):
        splits = splits[splits >= ahead]
        splits = splits[series.codes[splits] == series.codes[splits - ahead]]
        products[splits - ahead] *= series.split_ratio[splits]
    return products


def _sieve(
    size: int, problems: dict[DropReason, NDArray[np.bool_]]
) -> tuple[NDArray[np.bool_], dict[DropReason, int]]:
    """Return which rows have no problem, and how many each problem was the first of."""
    kept = np.ones(size, dtype=bool)
    dropped = {}
    for reason, found in problems.items():
        dropped[reason] = int((kept & found).sum())
        kept &= ~found
    return kept, dropped
