"""Forward returns: what a position entered after a decision made of it, n sessions later.

The decision is made at the close of bar d, when its features became known. The position is entered
at the next open (or at that close itself), and left at the close of bar d + n. Sessions are the
symbol's own bars, whatever other markets did. Other labels are made alike:
:func:`~ingestion.datasets.labels.make_labels`.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pyarrow as pa

from ingestion.datasets.choice import Choice
from ingestion.datasets.labels.label import MAX_GAP, Entry
from ingestion.datasets.labels.labelling import Labels, make_labels
from ingestion.datasets.labels.returns import ForwardReturn
from ingestion.datasets.labels.target import label_of


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
    >>> from ingestion.base.columns import INSTANT
    >>> from ingestion.datasets import DropReason
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
    return make_labels(
        bars,
        [ForwardReturn(sessions)],
        entry=entry,
        first=first,
        last=last,
        max_gap=max_gap,
        universe=universe,
        newest=newest,
    )


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
    """Return how many sessions a target looks ahead at most.

    Raises
    ------
    InputError
        If there is no such target, see :func:`~ingestion.datasets.labels.label_of`.

    Examples
    --------
    >>> target_sessions("fwd_return_5d")
    5
    """
    return label_of(name).ahead


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
    return ForwardReturn(sessions).name
