"""When a vendor's bars open and close.

Where sessions are known (:attr:`~ingestion.markets.hours.ClosingRule.SESSION`) a time names one of
them:

=====================================  =========================================================
a vendor's time                        its session
=====================================  =========================================================
a date                                 that date's
an instant within a session, or        that session's: vendors stamp the opening bell, or a pre-open
before it on its local date            auction; local midnight is such an instant too
00:00 UTC, in no session               that date's: a date written as an instant
midnight with an offset, in no         that of the date as written
session of another date
any other                              none: the row is refused
=====================================  =========================================================

Elsewhere an instant is the bar's open, and its close follows from it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.cells import Kind, Times
from ingestion.markets.closes import known_bar_closes
from ingestion.markets.hours import DAY, ClosingRule, hours_of
from ingestion.markets.placing import running_closes, why_no_session
from ingestion.markets.sessions import session_bounds, sessions_of_labels
from ingestion.markets.symbols import exchange_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

NONE = -1
"""Stands for the close of a time that is in no session: no bar closes then."""
_EPOCH = date(1970, 1, 1)


def opens_and_closes(
    times: Times, symbols: list[str | None], which: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Place bars in time.

    Parameters
    ----------
    times
        Shape ``(n,)``.
    symbols
        Unified symbols; None for what is no symbol.
    which
        Shape ``(n,)``: the symbol of each bar.

    Returns
    -------
    tuple[NDArray[np.int64], NDArray[np.int64]]
        Opens and closes, Unix seconds; :data:`NONE` as the close of a time that is in no session,
        an unreadable time or a row without a symbol.
    """
    opens, days = times.seconds.copy(), times.days.copy()
    closes = np.full(len(opens), NONE, dtype=np.int64)
    in_sessions = np.array(
        [name is not None and hours_of(name).rule is ClosingRule.SESSION for name in symbols],
        dtype=bool,
    )[which]
    written = (times.kinds == Kind.LOCAL_MIDNIGHT) & in_sessions
    labelled = (times.kinds == Kind.LABEL) | written
    instants = ~labelled & (times.kinds != Kind.UNREADABLE)
    for number, rows in _grouped(which, instants):
        symbol = symbols[number]
        if symbol is None:
            continue
        found, is_known = known_bar_closes(symbol, opens[rows])
        closes[rows] = found
        if in_sessions[rows[0]]:
            closes[rows[~is_known]] = NONE
            dates = rows[~is_known & (opens[rows] % DAY == 0)]
            days[dates] = opens[dates] // DAY
            labelled[dates] = True
    _close_labels(days, symbols, which, labelled, opens, closes)
    for number, rows in _grouped(which, written):
        # Midnight in another country may be within a session here, of another date: which of the
        # two is meant?
        running = running_closes(symbols[number] or "", times.seconds[rows])
        closes[rows[(running != NONE) & (running != closes[rows])]] = NONE
    return opens, closes


def why_unplaced(times: Times, at: int, symbol: str) -> str:
    """Tell why the time of a row is in no session: what it is, and what was expected."""
    exchange = exchange_of(symbol)
    kind, seconds = times.kinds[at], int(times.seconds[at])
    if hours_of(symbol).rule is not ClosingRule.SESSION:
        return f"{exchange} has no session on that date"
    if kind == Kind.INSTANT and seconds % DAY:
        return why_no_session(exchange, seconds)
    label = _EPOCH + timedelta(int(times.days[at]) if kind != Kind.INSTANT else seconds // DAY)
    if session_bounds(exchange, label):
        instant = datetime.fromtimestamp(seconds, UTC)
        return f"{instant:%Y-%m-%dT%H:%MZ} is within a session of another date: give dates alone"
    return why_no_session(exchange, label)


def _close_labels(
    days: NDArray[np.int64],
    symbols: list[str | None],
    which: NDArray[np.int64],
    labelled: NDArray[np.bool_],
    opens: NDArray[np.int64],
    closes: NDArray[np.int64],
) -> None:
    """Fill in opens and closes of labels, exchange by exchange: its symbols share its sessions."""
    exchanges = sorted({exchange_of(name) for name in symbols if name is not None})
    numbers = np.array(
        [NONE if name is None else exchanges.index(exchange_of(name)) for name in symbols],
        dtype=np.int64,
    )
    for number, rows in _grouped(numbers[which], labelled):
        if number == NONE:
            continue
        labels, back = np.unique(days[rows], return_inverse=True)
        bounds = sessions_of_labels(exchanges[number], labels)
        opens[rows], closes[rows] = (of_label[back] for of_label in bounds)


def _grouped(
    keys: NDArray[np.int64], mask: NDArray[np.bool_]
) -> list[tuple[int, NDArray[np.intp]]]:
    """Return the masked positions by key."""
    at = np.flatnonzero(mask)
    if not len(at):
        return []
    at = at[np.argsort(keys[at], kind="stable")]
    starts = np.flatnonzero(np.diff(keys[at])) + 1
    return [(int(keys[group[0]]), group) for group in np.split(at, starts)]
