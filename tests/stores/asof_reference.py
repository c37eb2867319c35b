"""The point-in-time join, brute force and obvious: an oracle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta


def best_row(
    rows: Iterable[dict],
    key: dict,
    at: datetime | None,
    *,
    ttl: timedelta | None,
    as_recorded: bool,
    event: str = "event_timestamp",
    created: str = "created_timestamp",
) -> dict | None:
    """Of all rows valid at an instant, the newest event, then the newest created, then the last."""
    if at is None or None in key.values():
        return None
    best: dict | None = None
    for row in rows:
        if row[event] is None or row[event] > at or any(row[k] != v for k, v in key.items()):
            continue
        if as_recorded and (row[created] is None or row[created] > at):
            continue
        if best is None or rank(row, event, created) >= rank(best, event, created):
            best = row
    if best is not None and ttl and at - best[event] > ttl:
        return None
    return best


def rank(row: dict, event: str, created: str) -> tuple:
    written = row.get(created)
    return row[event], written is not None, written or row[event]


def newest(rows: Sequence[dict], keys: Sequence[str], start: datetime, end: datetime) -> list[dict]:
    """Of each key the newest row of a window."""
    best: dict[tuple, dict] = {}
    for row in rows:
        key = tuple(row[k] for k in keys)
        event = row["event_timestamp"]
        if None in key or event is None or not start <= event <= end:
            continue
        names = ("event_timestamp", "created_timestamp")
        if key not in best or rank(row, *names) >= rank(best[key], *names):
            best[key] = row
    return [best[key] for key in sorted(best)]
