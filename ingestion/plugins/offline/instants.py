"""Instants as integers: Unix microseconds, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.columns import INSTANT
from ingestion.plugins.offline.lookup import NEVER, Integers

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(column: pa.ChunkedArray) -> Integers:
    """Return a column of the type ``INSTANT`` as integers, null as ``NEVER``."""
    values = one_chunk(column).view(pa.int64())
    if values.null_count:
        values = pc.fill_null(values, NEVER)
    integers: Integers = values.to_numpy()
    return integers


def instants_in(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Read instants that are written as ISO 8601; UTC where there is no zone.

    Raises
    ------
    TypeError
        If a text is none.

    Examples
    --------
    >>> texts = pa.chunked_array([["2026-01-16T21:30:00Z", "2026-01-16 22:30+01:00", None]])
    >>> [each and each.isoformat() for each in instants_in(texts).unique().to_pylist()]
    ['2026-01-16T21:30:00+00:00', None]
    """
    frame = texts.to_pandas().astype(object)
    try:
        # By this name pandas reads ISO 8601 alone, but a time without a zone in that of the row
        # before; by the other name it reads each by itself.
        pd.to_datetime(frame, utc=True, format="ISO8601")
        read = pd.to_datetime(frame, utc=True, format="mixed")
    except (TypeError, ValueError) as error:  # also a date beyond what pandas can contain
        raise TypeError(f"{error}: write instants as ISO 8601") from None
    return pa.chunked_array([pa.array(read.dt.floor("us"), INSTANT, from_pandas=True)])


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a type is one of texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without a copy if it is one."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def microsecond(instant: datetime | timedelta) -> int:
    """Return an instant, UTC unless it has a zone, or a duration as an integer."""
    if isinstance(instant, datetime):
        aware = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
        instant = aware - _EPOCH
    return instant // timedelta(microseconds=1)


def instant(microseconds: int) -> datetime:
    """Return Unix microseconds as an instant, UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)
