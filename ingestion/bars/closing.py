"""When a vendor's bars open and close."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.times import Kind, Times
from ingestion.sessions import ClosingRule, bar_closes, hours_of, session_bounds
from ingestion.symbols import exchange_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

NONE = -1
"""Stands for the close of a label that names no session: no bar closes then."""
_EPOCH = date(1970, 1, 1)


def opens_and_closes(
    times: Times, symbols: list[str | None], which: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Place bars in time.

    A label becomes open and close of its session; an instant is the open itself, and closes as
    :func:`ingestion.sessions.bar_closes` says.

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
        Opens and closes, Unix seconds; :data:`NONE` as the close of a label without a session,
        an unreadable time or a row without a symbol.
    """
    opens = times.seconds.copy()
    closes = np.full(len(opens), NONE, dtype=np.int64)
    in_sessions = np.array(
        [name is not None and hours_of(name).rule is ClosingRule.SESSION for name in symbols],
        dtype=bool,
    )[which]
    labelled = (times.kinds == Kind.LABEL) | ((times.kinds == Kind.LOCAL_MIDNIGHT) & in_sessions)
    instants = ~labelled & (times.kinds != Kind.UNREADABLE)
    _close_labels(times, symbols, which, labelled, opens, closes)
    for number, rows in _grouped(which, instants):
        symbol = symbols[number]
        if symbol is not None:
            closes[rows] = bar_closes(symbol, opens[rows])
    return opens, closes


def _close_labels(
    times: Times,
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
        days, back = np.unique(times.days[rows], return_inverse=True)
        bounds = [session_bounds(exchanges[number], _EPOCH + timedelta(int(day))) for day in days]
        sessions = np.array([bound or (NONE, NONE) for bound in bounds], dtype=np.int64)
        opens[rows], closes[rows] = sessions[back, 0], sessions[back, 1]


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
