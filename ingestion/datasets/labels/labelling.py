"""From bars to a table of labels: which decisions there are, and one column per label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.columns import INSTANT
from ingestion.base.errors import InputError
from ingestion.base.instants import DAY, MICROSECONDS, to_micros
from ingestion.datasets.choice import Choice
from ingestion.datasets.labels.label import (
    MAX_GAP,
    Decisions,
    Doubles,
    DropReason,
    Entry,
    Label,
    Mask,
    Outcome,
)
from ingestion.datasets.series import Series, read_series

START, END = "label_start_timestamp", "label_end_timestamp"
_DAY = DAY * MICROSECONDS
_EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Labels:
    """Labels, and what became of the decisions that have none."""

    targets: tuple[str, ...]
    """Names of the labels' columns."""
    table: pa.Table
    """Sorted by and unique on (``symbol``, ``event_timestamp``)."""
    decisions: int
    """Bars that closed in the range; each is a row of ``table`` or counted in ``dropped``."""
    dropped: dict[DropReason, int]
    """Decisions without any label, by the reason of the first target; every reason is there."""
    unknown: int = 0
    """Decisions at whose time it is not known which symbols could be chosen: all count as such."""
    missing: dict[str, dict[DropReason, int]] = field(default_factory=dict)
    """By target, decisions without that label, by reason; of several targets alone."""

    @property
    def spans(self) -> dict[str, tuple[str, str]]:
        """By target, the columns that say from when to when its position is open."""
        is_one = len(self.targets) == 1
        return {name: (START, END if is_one else end_of(name)) for name in self.targets}


def end_of(target: str) -> str:
    """Return the column of when a label ends, where there are several.

    Examples
    --------
    >>> end_of("fwd_return_5d")
    'fwd_return_5d__end_timestamp'
    """
    return f"{target}__end_timestamp"


def make_labels(
    bars: pa.Table,
    labels: Sequence[Label],
    *,
    entry: Entry = "open",
    first: date,
    last: date,
    max_gap: timedelta | None = MAX_GAP,
    universe: Choice | None = None,
    newest: datetime | None = None,
    symbols: Collection[str] | None = None,
    dividends: pa.Table | None = None,
) -> Labels:
    """Make labels for every decision of a date range.

    Parameters
    ----------
    bars
        One row per bar, unique on (``symbol``, ``timestamp``), in any order: ``timestamp`` (int64,
        bar open, Unix s), ``symbol``, ``open``, ``close``, ``split_ratio``, ``event_timestamp``
        (bar close), as traded; ``high`` and ``low`` where a label needs them. They must reach past
        ``last`` by as much as a window may take, see
        :func:`~ingestion.datasets.forward.longest_window`, and as far before ``first`` for a
        volatility. Optional: ``missing_from`` (int64), not 0 where sessions are missing between the
        symbol's bar before and this one.
    labels
        Their columns differ.
    entry
        Where positions of all labels are entered: the next open, or the decision's own close.
    first, last
        UTC dates of the first and last decision, both inclusive.
    max_gap
        Longest time between two closes in a window, inclusive; None allows any.
    universe
        Which symbols could be chosen when; None for all, always.
    newest
        Close of the newest bar of all, where these are only some; that among them if none is given.
    symbols
        Symbols to label; all if none are given. The bars of others count as benchmarks alone.
    dividends
        ``symbol``, ``event_timestamp`` (close of the ex-date's session), ``amount`` (per share, as
        traded then; null where it is in another currency than the price). None: there are none.

    Returns
    -------
    Labels
        The table has ``symbol``; ``event_timestamp``, the decision; a column per label;
        ``label_start_timestamp``, when the position is entered, never before the decision;
        ``label_end_timestamp``, when the row's last label is known. Of several labels, each has its
        own end, ``<label>__end_timestamp``, and is null, like that, where it is missing; a row has
        at least one label. Instants are ``timestamp[us, UTC]``.

    Raises
    ------
    InputError
        The bars are not as described (which column or bar); ``first`` is after ``last``;
        ``entry`` is none of the possible; no label is given, or two have one column.

    Examples
    --------
    >>> from datetime import UTC
    >>> from ingestion.datasets.labels import labels_of
    >>> opens = [datetime(2026, 1, day, 14, 30, tzinfo=UTC) for day in (5, 6, 7)]
    >>> bars = pa.table({
    ...     "timestamp": [int(each.timestamp()) for each in opens], "symbol": ["NYSE:A"] * 3,
    ...     "open": [99.0, 100.0, 104.0], "close": [99.5, 104.0, 125.0], "split_ratio": [1.0] * 3,
    ...     "event_timestamp": pa.array([each + timedelta(hours=6.5) for each in opens], INSTANT),
    ... })
    >>> wanted = labels_of("fwd_return_2d sign_fwd_return_1d")
    >>> made = make_labels(bars, wanted, first=date(2026, 1, 5), last=date(2026, 1, 7))
    >>> made.table.select([*made.targets]).to_pylist()
    [{'fwd_return_2d': 0.25, 'sign_fwd_return_1d': 1}, \
{'fwd_return_2d': None, 'sign_fwd_return_1d': 1}]
    """
    columns = [each.column for each in labels]
    if not columns or len(set(columns)) < len(columns):
        raise InputError(f"labels need columns of their own, not {', '.join(columns) or 'none'}")
    if entry not in get_args(Entry):
        raise InputError(f'no entry "{entry}"; a position is entered at the open or the close')
    if first > last:
        raise InputError(f"the first decision, {first}, is after the last, {last}")
    series = read_series(bars, sorted({name for each in labels for name in each.needs}))
    decided = (series.closed >= _midnight(first)) & (series.closed < _midnight(last) + _DAY)
    if symbols is not None:
        chosen = pc.is_in(series.names, value_set=pa.array(sorted(set(symbols)), pa.string()))
        decided &= chosen.to_numpy(zero_copy_only=False)[series.codes]
    rows = np.flatnonzero(decided)
    outside, unknown = np.zeros(len(rows), dtype=bool), 0
    if universe is not None:
        unknown = int(np.count_nonzero(~universe.is_known(series.closed[rows])))
        outside = ~universe.was_active(series.names, series.codes[rows], series.closed[rows])
    decisions = Decisions(
        series,
        rows,
        entry,
        outside,
        _long_gaps(series, max_gap, newest),
        _on_bars(series, dividends),
    )
    return _told(decisions, columns, [each.make(decisions) for each in labels], unknown)


def _told(
    decisions: Decisions, columns: Sequence[str], outcomes: Sequence[Outcome], unknown: int
) -> Labels:
    """Put the labels into a table, and count what is missing."""
    series, rows = decisions.series, decisions.rows
    missing = {
        name: _by_reason(each.problems) for name, each in zip(columns, outcomes, strict=True)
    }
    nowhere = np.logical_and.reduce([each.missing for each in outcomes])
    kept = np.flatnonzero(~nowhere)
    is_one = len(outcomes) == 1
    dropped = missing[columns[0]] if is_one else _by_reason(outcomes[0].problems, nowhere)
    table: dict[str, pa.Array] = {
        "symbol": series.symbols(rows[kept]),
        "event_timestamp": pa.array(series.closed[rows[kept]]).cast(INSTANT),
    }
    latest = np.zeros(len(kept), dtype=np.int64)
    own_ends: dict[str, pa.Array] = {}
    for name, outcome in zip(columns, outcomes, strict=True):
        null, ends = outcome.missing[kept], outcome.ends[kept]
        table[name] = pa.array(outcome.values[kept], mask=None if is_one else null)
        own_ends[end_of(name)] = pa.array(ends, mask=null).cast(INSTANT)
        latest = np.maximum(latest, np.where(null, 0, ends))
    table[START] = pa.array(decisions.starts[kept]).cast(INSTANT)
    table[END] = pa.array(latest).cast(INSTANT)
    table |= {} if is_one else own_ends
    return Labels(
        tuple(columns),
        pa.table(table),
        len(rows),
        dropped,
        unknown,
        {} if is_one else missing,
    )


class LabelCollection:
    """Collects the same labels of disjoint date ranges, in as little memory as it can.

    Examples
    --------
    >>> from datetime import UTC
    >>> collected = LabelCollection()
    >>> for day in (2, 1):
    ...     at = pa.array([datetime(2026, 1, day, 21, tzinfo=UTC)], INSTANT)
    ...     columns = {"symbol": ["NYSE:A"], "event_timestamp": at, "target": [day / 100]}
    ...     collected.add(Labels(("target",), pa.table(columns), decisions=1, dropped={}))
    >>> labels = collected.merge()
    >>> labels.decisions, labels.table["target"].to_pylist()
    (2, [0.01, 0.02])
    """

    def __init__(self) -> None:
        self.decisions = 0
        """Decisions so far."""
        self._unknown = 0
        self._targets: tuple[str, ...] = ()
        self._dropped: Counter[DropReason] = Counter(dict.fromkeys(DropReason, 0))
        self._missing: dict[str, Counter[DropReason]] = {}
        self._columns: dict[str, list[pa.ChunkedArray]] = {}

    def add(self, labels: Labels) -> None:
        """Take the labels of another range."""
        self.decisions += labels.decisions
        self._unknown += labels.unknown
        self._targets = labels.targets
        self._dropped.update(labels.dropped)
        for target, counts in labels.missing.items():
            self._missing.setdefault(target, Counter()).update(counts)
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
        return Labels(
            self._targets,
            pa.table(columns),
            self.decisions,
            dict(self._dropped),
            self._unknown,
            {target: dict(counts) for target, counts in self._missing.items()},
        )

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


def _long_gaps(series: Series, max_gap: timedelta | None, newest: datetime | None) -> Mask:
    """Return which bars too long a time follows on, until the next bar or the newest of all."""
    if max_gap is None or not len(series):
        return np.zeros(len(series), dtype=bool)
    following = np.append(series.closed[1:], 0)
    following[series.ends - 1] = series.closed.max() if newest is None else to_micros(newest)
    long: Mask = following - series.closed > max_gap // timedelta(microseconds=1)
    return long


def _on_bars(series: Series, dividends: pa.Table | None) -> Doubles:
    """Return the dividends of each bar: a symbol's first that closes at one's session, or later."""
    amounts = np.zeros(len(series))
    if dividends is None or not dividends.num_rows or not len(series):
        return amounts
    codes = pc.index_in(dividends["symbol"], value_set=series.names)
    own = dividends.filter(pc.is_valid(codes))
    numbers = codes.drop_null().to_numpy().astype(np.int64)
    closes = own["event_timestamp"].cast(INSTANT).cast(pa.int64()).to_numpy()
    values = own["amount"].cast(pa.float64()).to_numpy()  # a null becomes NaN
    order = np.argsort(numbers, kind="stable")
    for of_symbol in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
        begin, stop = np.searchsorted(series.codes, numbers[of_symbol[:1]] + [0, 1])
        places = begin + np.searchsorted(series.closed[begin:stop], closes[of_symbol])
        come = places < stop  # of others, the bar has not come yet
        np.add.at(amounts, places[come], values[of_symbol[come]])
    return amounts


def _by_reason(
    problems: Mapping[DropReason, Mask], among: Mask | None = None
) -> dict[DropReason, int]:
    """Return of how many decisions each reason is the first."""
    left = np.ones(len(problems[DropReason.NOT_ACTIVE]), dtype=bool) if among is None else among
    counts = {}
    for reason in DropReason:
        found = problems.get(reason)
        counts[reason] = 0 if found is None else int((left & found).sum())
        left = left if found is None else left & ~found
    return counts
