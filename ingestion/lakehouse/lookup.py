"""When was a symbol last seen: questions that need the keys alone, not the features."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

from feature_repo.catalog import Dataset
from ingestion.lakehouse.parts import list_parts, read_part, utc_date
from ingestion.reading import reading_again


def newest_between(root: Path, dataset: Dataset, first: int, last: int) -> dict[str, int]:
    """Return each symbol's newest ``timestamp`` from ``first`` to ``last``, inclusive, Unix s."""
    return reading_again(lambda: _newest_between(root, dataset, first, last))


def newest_known(
    root: Path, dataset: Dataset, at: datetime, symbols: set[str]
) -> dict[str, datetime]:
    """Return when each symbol's newest row became knowable, as this installation knew it ``at``.

    Counts rows with event and creation both at or before that instant. Walks the partitions
    backwards and stops when every symbol is found, so a symbol that is nowhere costs the whole way.
    """
    return reading_again(lambda: _newest_known(root, dataset, at, symbols))


def _newest_between(root: Path, dataset: Dataset, first: int, last: int) -> dict[str, int]:
    newest: dict[str, int] = {}
    for part in list_parts(root, dataset, utc_date(first)):
        if part.date > utc_date(last):
            break
        rows = read_part(part.path, ["symbol", "timestamp"]).to_pydict()
        for symbol, timestamp in zip(*rows.values(), strict=True):
            if first <= timestamp <= last:
                newest[symbol] = max(timestamp, newest.get(symbol, timestamp))
    return newest


def _newest_known(
    root: Path, dataset: Dataset, at: datetime, symbols: set[str]
) -> dict[str, datetime]:
    newest: dict[str, datetime] = {}
    day: date | None = None
    for part in reversed(list_parts(root, dataset)):
        if part.date > at.date():
            continue
        if part.date != day and len(newest) == len(symbols):
            break
        day = part.date
        rows = read_part(part.path, ["symbol", "event_timestamp", "created_timestamp"]).to_pydict()
        for symbol, event, created in zip(*rows.values(), strict=True):
            if symbol in symbols and event <= at and created <= at:
                newest[symbol] = max(event, newest.get(symbol, event))
    return newest
