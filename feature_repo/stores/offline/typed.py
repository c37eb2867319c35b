"""From what a file holds to what was declared."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.stores.offline.instants import INSTANT


def conform(column: pa.ChunkedArray, declared: pa.DataType | None) -> pa.ChunkedArray:
    """Return a column in its declared type.

    Dictionaries are decoded. Timestamps become UTC microseconds, finer parts cut off towards the
    past, and those without a zone are UTC already. A number becomes a float of any width, but an
    integer only if nothing is lost.

    Parameters
    ----------
    declared
        None for as it is stored, timestamps and dictionaries aside.

    Raises
    ------
    TypeError
        If the values are none of that type.
    """
    if column.type == declared:
        return column
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        column = _utc(column)
    if declared is None or column.type == declared:
        return column
    if (declared == INSTANT) != (column.type == INSTANT) and column.null_count < len(column):
        raise TypeError("only timestamps are instants")
    try:
        return column.cast(declared, safe=not pa.types.is_floating(declared))
    except pa.ArrowException as error:
        raise TypeError(str(error)) from None


def _utc(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if column.type.unit != "ns":
        return column.cast(INSTANT)
    numbers = column.cast(pa.int64())
    missing = column.is_null().to_numpy() if column.null_count else None
    floored = pc.fill_null(numbers, 0).to_numpy() // 1_000
    return pa.chunked_array([pa.array(floored, mask=missing).view(INSTANT)])
