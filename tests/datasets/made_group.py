"""Groups and rows to make data sets from."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ingestion.catalog import Column, FeatureGroup, Files
from ingestion.lakehouse import Lakehouse, append_rows, open_lakehouse
from tests.lakehouse.in_a_bucket import placed

MONDAY = datetime(2021, 3, 1, tzinfo=UTC)
SIGNALS = FeatureGroup(
    name="signals",
    meaning="numbers and a text",
    source=Files(),
    ttl="2d",
    features=[Column("score"), Column("grade", "string", meaning="…")],
)
OTHERS = FeatureGroup(
    name="others", meaning="of another cadence", source=Files(), ttl="5d", features=[Column("beta")]
)


def row(symbol: str, event: datetime, created: datetime, **values: object) -> dict[str, object]:
    """A row of one of the groups."""
    return {
        "timestamp": int(event.timestamp()),
        "symbol": symbol,
        "event_timestamp": event,
        "created_timestamp": created,
        **values,
    }


def stocked(folder: Path, rows: Iterable[dict], group: FeatureGroup = SIGNALS) -> Lakehouse:
    """A lakehouse with rows; those of one key and event are versions, a part for each."""
    lakehouse = open_lakehouse(placed(folder))
    versions: dict[tuple, int] = {}
    batches: dict[int, list[dict]] = {}
    for each in sorted(rows, key=lambda one: one["created_timestamp"]):
        key = each["symbol"], each["timestamp"]
        versions[key] = versions.get(key, -1) + 1
        batches.setdefault(versions[key], []).append(each)
    for number, batch in batches.items():
        append_rows(lakehouse, group, batch, f"run-{number}")
    return lakehouse


def day(n: float) -> datetime:
    """Some days after a Monday."""
    return MONDAY + timedelta(days=n)
