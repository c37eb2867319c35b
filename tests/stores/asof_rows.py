"""The rows of the view ``signals``, and questions about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd

MONDAY = datetime(2021, 4, 12, 21, tzinfo=UTC)
DAY, TICK = timedelta(days=1), timedelta(microseconds=1)


def row(name: str, event: datetime, rsi: float | None, created: datetime | None = None) -> dict:
    return {
        "symbol": name,
        "RSI": rsi,
        "name_y": f"{name} of {event:%d}",
        "event_timestamp": event,
        "created_timestamp": created or event,
    }


ROWS = [
    row("A", MONDAY, 1.0),
    row("B", MONDAY, 2.0),
    row("A", MONDAY + DAY, 3.0),
    row("A", MONDAY + DAY, 3.5, created=MONDAY + 3 * DAY),
    row("B", MONDAY + DAY, None),
]

REFS = ["signals:RSI", "signals:name_y"]


def frame(*rows: tuple, **columns) -> pd.DataFrame:
    given = pd.DataFrame(rows, columns=["symbol", "event_timestamp"])
    return given.assign(**columns)
