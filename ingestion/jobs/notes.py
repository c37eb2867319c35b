"""What else is known of the bars that a recomputed value comes from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from feature_repo.catalog import OHLCV_1D
from ingestion.bars.withdrawn import as_withdrawn
from ingestion.lakehouse import by_date, is_withdrawn, list_parts, read_current_of


def notes_on_bars(root: Path, symbol: str, event: datetime) -> Iterator[str]:
    """Say what a value of a symbol, known at an instant, does not show.

    Parameters
    ----------
    event
        Close of the value's bar.
    """
    of_day = by_date(list_parts(root, OHLCV_1D, event.date())).get(event.date(), [])
    rows = read_current_of(of_day, OHLCV_1D, [symbol], withdrawn=True)
    closing = [row for row in rows.to_pylist() if row["event_timestamp"] == event]
    gone = rows.filter(is_withdrawn(rows)).to_pylist()
    taken_back = [as_withdrawn(row) for row in gone if row["event_timestamp"] == event]
    if taken_back and len(taken_back) == len(closing):
        last = max(taken_back, key=lambda each: each.created)
        yield (
            f"the bar that closed then was withdrawn on {last.created:%Y-%m-%d}: {last.why}; these "
            "are the values of the bar before"
        )
