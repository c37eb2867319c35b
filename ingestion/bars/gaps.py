"""Sessions of which a symbol has no bar although it has bars before and after them.

A bar source is asked for them again. Those of which it gave none however often it was asked are
recorded in ``absent_bars``: nobody need ask for them any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from ingestion.bars.arrays import close_seconds
from ingestion.base.instants import utc, utc_date
from ingestion.base.reading import reading_again
from ingestion.catalog import ABSENT_BARS, OHLCV_1D
from ingestion.lakehouse import (
    Lakehouse,
    Part,
    append_rows,
    by_date,
    list_parts,
    read_current,
    read_current_of,
)
from ingestion.markets.market_sessions import market_of, sessions_of_market


def stored_closes(
    lakehouse: Lakehouse, symbols: Sequence[str], first: date, last: date
) -> dict[str, NDArray[np.int64]]:
    """Return when the stored bars of some symbols closed, withdrawn ones included.

    Parameters
    ----------
    first, last
        UTC dates of the closes, both included.

    Returns
    -------
    dict of str to ndarray
        By symbol, shape ``(bars,)``, Unix seconds, ascending; empty where there is none.
    """
    names = sorted(symbols)

    def read() -> dict[str, list[int]]:
        found: dict[str, list[int]] = {name: [] for name in names}
        columns = ["symbol", "timestamp", "event_timestamp"]
        for parts in by_date(list_parts(lakehouse, OHLCV_1D, first, last)).values():
            rows = read_current_of(parts, OHLCV_1D, names, columns, withdrawn=True)
            for name, close in zip(
                rows["symbol"].to_pylist(), close_seconds(rows).tolist(), strict=True
            ):
                found[name].append(close)
        return found

    return {name: np.unique(np.array(each, np.int64)) for name, each in reading_again(read).items()}


def gaps_of(symbol: str, closes: NDArray[np.int64], since: date) -> dict[date, int]:
    """Return the sessions before the newest of some bars that no bar is of.

    Parameters
    ----------
    closes
        Shape ``(bars,)``: when the symbol's bars closed, Unix seconds, ascending.
    since
        The first session that counts.

    Returns
    -------
    dict of date to int
        When each closed, Unix seconds, by its local date. Sessions after the end of a calendar are
        only assumed, and are not missed.
    """
    market = market_of(symbol)
    if market is None or not len(closes):
        return {}
    last = utc_date(int(closes[-1])) + timedelta(days=1)
    sessions = sessions_of_market(market, max(since, utc_date(int(closes[0]))), last)
    lacks = ~np.isin(sessions.closes, closes) & sessions.known
    lacks &= (sessions.closes > closes[0]) & (sessions.closes < closes[-1])
    return {sessions.labels[at]: int(sessions.closes[at]) for at in np.flatnonzero(lacks).tolist()}


def read_absent(lakehouse: Lakehouse) -> set[tuple[str, date]]:
    """Return the symbols and sessions of which no bar source that was asked has a bar."""
    rows = read_current(list_parts(lakehouse, ABSENT_BARS), ABSENT_BARS, ["symbol", "session"])
    pairs = zip(rows["symbol"].to_pylist(), rows["session"].to_pylist(), strict=True)
    return {(symbol, date.fromisoformat(session)) for symbol, session in pairs}


def record_absent(
    lakehouse: Lakehouse,
    absent: Mapping[str, Mapping[date, int]],
    source: str,
    now: datetime,
    run_id: str,
) -> list[Part]:
    """Append the sessions that a bar source has no bar of; the caller has the lakehouse's lock.

    Parameters
    ----------
    absent
        By symbol and session, when it closed, Unix seconds; none that is recorded.
    """
    rows: Iterable[dict[str, object]] = (
        {
            "timestamp": closes,
            "symbol": symbol,
            "session": session.isoformat(),
            "event_timestamp": utc(closes),
            "created_timestamp": now,
            "source": source,
        }
        for symbol, sessions in absent.items()
        for session, closes in sessions.items()
    )
    return append_rows(lakehouse, ABSENT_BARS, rows, run_id)
