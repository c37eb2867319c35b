"""Which sessions are missing in the window of bars that a recomputed value comes from."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from ingestion.bars.accepted import read_accepted
from ingestion.bars.attendance import market_of
from ingestion.catalog import OHLCV_1D
from ingestion.formulas.reach import BARS_BACK, DAYS_BACK
from ingestion.jobs.audit.lineage import MissingSession
from ingestion.jobs.ingest.holes import find_holes
from ingestion.lakehouse import by_date, list_parts, read_current_of
from ingestion.lakehouse.parts import Part


def missing_in_window(
    root: Path, symbol: str, feature: str, event: datetime, now: datetime
) -> tuple[MissingSession, ...]:
    """Return the sessions that a symbol lacks among those that a value of ``local_1d`` spans.

    Parameters
    ----------
    event
        Close of the value's bar.
    """
    market = market_of(symbol)
    accepted = {
        each.closes: MissingSession(each.session, f"{each.accepted_at:%Y-%m-%d}: {each.reason}")
        for each in read_accepted(root)
        if each.market == market
    }
    missing = accepted | {
        int(each.closes.timestamp()): MissingSession(each.session, None)
        for each in find_holes(root, now).open
        if each.market == market
    }
    if not missing:
        return ()
    bars = _bars_back(root, symbol, feature, event)
    first, stored = bars[-1], {int(each.timestamp()) for each in bars}
    return tuple(
        session
        for closes, session in sorted(missing.items())
        if first.timestamp() < closes < event.timestamp() and closes not in stored
    )


def _bars_back(root: Path, symbol: str, feature: str, event: datetime) -> list[datetime]:
    """Return the closes of the bars that a feature reads, the newest first."""
    reach = timedelta(days=DAYS_BACK[feature]) if feature in DAYS_BACK else None
    found = [event]
    days = by_date(list_parts(root, OHLCV_1D))
    for day in sorted((day for day in days if day <= event.date()), reverse=True):
        if reach is not None and found[-1] < event - reach:
            break
        if reach is None and len(found) > BARS_BACK[feature]:
            break
        closes = _closes(days[day], symbol)
        found += sorted((close for close in closes if close < found[-1]), reverse=True)
    return found if reach is not None else found[: BARS_BACK[feature] + 1]


def _closes(parts: list[Part], symbol: str) -> set[datetime]:
    rows = read_current_of(parts, OHLCV_1D, [symbol], ["symbol", "timestamp", "event_timestamp"])
    return set(rows["event_timestamp"].to_pylist())
