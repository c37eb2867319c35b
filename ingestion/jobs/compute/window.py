"""Which sessions are missing in the window of bars that a recomputed value comes from."""

from __future__ import annotations

from datetime import datetime, timedelta

from ingestion.bars.holes import market_of, read_accepted
from ingestion.catalog import OHLCV_1D
from ingestion.catalog.formula import Formula
from ingestion.jobs.audit.lineage import MissingSession
from ingestion.jobs.ingest.missing_sessions import find_holes
from ingestion.lakehouse import Lakehouse, Part, by_date, list_parts, read_current_of


def missing_in_window(
    lakehouse: Lakehouse, symbol: str, formula: Formula, event: datetime, now: datetime
) -> tuple[MissingSession, ...]:
    """Return the sessions that a symbol lacks among those that a formula's value spans.

    Parameters
    ----------
    event
        Close of the value's bar.
    """
    market = market_of(symbol)
    accepted = {
        each.closes: MissingSession(each.session, f"{each.accepted_at:%Y-%m-%d}: {each.reason}")
        for each in read_accepted(lakehouse)
        if each.market == market
    }
    missing = accepted | {
        int(each.closes.timestamp()): MissingSession(each.session, None)
        for each in find_holes(lakehouse, now).open
        if each.market == market
    }
    if not missing:
        return ()
    bars = _bars_back(lakehouse, symbol, formula, event)
    first, stored = bars[-1], {int(each.timestamp()) for each in bars}
    return tuple(
        session
        for closes, session in sorted(missing.items())
        if first.timestamp() < closes < event.timestamp() and closes not in stored
    )


def _bars_back(
    lakehouse: Lakehouse, symbol: str, formula: Formula, event: datetime
) -> list[datetime]:
    """Return the closes of the bars that a formula reads, the newest first."""
    back = formula.look_back
    found = [event]
    days = by_date(list_parts(lakehouse, OHLCV_1D))
    for day in sorted((day for day in days if day <= event.date()), reverse=True):
        if isinstance(back, timedelta) and found[-1] < event - back:
            break
        if isinstance(back, int) and len(found) > back:
            break
        closes = _closes(days[day], symbol)
        found += sorted((close for close in closes if close < found[-1]), reverse=True)
    return found[: back + 1] if isinstance(back, int) else found


def _closes(parts: list[Part], symbol: str) -> set[datetime]:
    rows = read_current_of(parts, OHLCV_1D, [symbol], ["symbol", "timestamp", "event_timestamp"])
    return set(rows["event_timestamp"].to_pylist())
