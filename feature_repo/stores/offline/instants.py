"""Instants as integers: Unix microseconds, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.stores.offline.lookup import NEVER, Integers

INSTANT = pa.timestamp("us", tz="UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(column: pa.ChunkedArray) -> Integers:
    """Return a column of the type ``INSTANT`` as integers, null as ``NEVER``."""
    values = one_chunk(column).view(pa.int64())
    if values.null_count:
        values = pc.fill_null(values, NEVER)
    integers: Integers = values.to_numpy()
    return integers


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without a copy if it is one."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def microsecond(instant: datetime | timedelta) -> int:
    """Return an instant, UTC unless it has a zone, or a duration as an integer."""
    if isinstance(instant, datetime):
        aware = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
        instant = aware - _EPOCH
    return instant // timedelta(microseconds=1)
