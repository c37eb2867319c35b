"""What was seen last: of each symbol its newest row."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.reading import reading_again
from ingestion.catalog import Dataset
from ingestion.lakehouse import Lakehouse, list_parts, read_part


def newest_events(
    lakehouse: Lakehouse, dataset: Dataset, since: datetime, until: datetime
) -> dict[str, datetime]:
    """Return the newest event of each symbol with a row in a span of time, both ends included.

    Raises
    ------
    CorruptPart
        If a part of it cannot be read.
    """
    return reading_again(lambda: _newest_events(lakehouse, dataset, since, until))


def _newest_events(
    lakehouse: Lakehouse, dataset: Dataset, since: datetime, until: datetime
) -> dict[str, datetime]:
    newest = pa.table({"symbol": pa.array([], pa.string()), "event": pa.array([], _INSTANT)})
    for part in list_parts(lakehouse, dataset, since.date()):
        if part.date > until.date():
            break
        rows = read_part(part, dataset, ["symbol", dataset.event])
        rows = rows.rename_columns(["symbol", "event"])
        inside = pc.and_(
            pc.greater_equal(rows["event"], pa.scalar(since, _INSTANT)),
            pc.less_equal(rows["event"], pa.scalar(until, _INSTANT)),
        )
        both = pa.concat_tables([newest, rows.filter(inside)])
        newest = both.group_by("symbol").aggregate([("event", "max")])
        newest = newest.rename_columns(["symbol", "event"])
    return dict(zip(*newest.to_pydict().values(), strict=True))


_INSTANT = pa.timestamp("us", "UTC")
