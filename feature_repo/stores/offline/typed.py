"""From what a file holds to what was declared."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.stores.offline.instants import INSTANT, instants_in, is_text

_VIEWS = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
"""Types that few of Arrow's functions know, and the ones that contain the same."""


def conform(column: pa.ChunkedArray, declared: pa.DataType | None) -> pa.ChunkedArray:
    """Return a column in its declared type.

    Dictionaries and views of text are decoded. Timestamps become UTC microseconds, finer parts cut
    off towards the past, and those without a zone are UTC already. Where an instant is declared, a
    date is its midnight, UTC, and a text is read as ISO 8601: JSON has no other instants. A number
    becomes a float of any width, but an integer only if nothing is lost.

    Parameters
    ----------
    declared
        None for as it is stored, timestamps, dictionaries and views of text aside.

    Raises
    ------
    TypeError
        If the values are none of that type.
    """
    if column.type == declared:
        return column
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.type in _VIEWS:
        column = column.cast(_VIEWS[column.type])
    if pa.types.is_timestamp(column.type):
        column = _utc(column)
    if declared is None or column.type == declared:
        return column
    if declared == INSTANT:
        column = _as_instants(column)
    elif column.type == INSTANT and column.null_count < len(column):
        raise TypeError("an instant is nothing else")
    try:
        return column.cast(declared, safe=not pa.types.is_floating(declared))
    except pa.ArrowException as error:
        raise TypeError(str(error)) from None


def _as_instants(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return dates and texts as instants, and columns of nulls as they are."""
    if is_text(column.type):
        return instants_in(column)
    if pa.types.is_date(column.type):
        return column.cast(pa.timestamp("us")).cast(INSTANT)
    if column.null_count < len(column):
        raise TypeError("only timestamps, dates and ISO 8601 texts are instants")
    return column


def _utc(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if column.type.unit != "ns":
        return column.cast(INSTANT)
    numbers = column.cast(pa.int64())
    missing = column.is_null().to_numpy() if column.null_count else None
    floored = pc.fill_null(numbers, 0).to_numpy() // 1_000
    return pa.chunked_array([pa.array(floored, mask=missing).view(INSTANT)])


def storable(column: pa.ChunkedArray, stored: pa.DataType) -> pa.ChunkedArray:
    """Return a column in the type that its source stores it in.

    As :func:`conform` reads, and instants in whatever form the source has them: of another unit
    (finer parts are cut off towards the past), without a zone (UTC), as text (ISO 8601), or as a
    date, if they are midnights of UTC.

    Raises
    ------
    TypeError
        If a value cannot be stored in that type.
    """
    if column.type == stored:
        return column
    if pa.types.is_dictionary(stored):
        return storable(column, stored.value_type).cast(stored)
    if pa.types.is_timestamp(stored):
        return _cast(_in_unit(conform(column, INSTANT), stored.unit), stored)
    if pa.types.is_timestamp(column.type) and is_text(stored):
        texts = pc.strftime(conform(column, INSTANT), "%Y-%m-%dT%H:%M:%SZ")
        return texts.cast(stored)
    if pa.types.is_date(stored) and not pa.types.is_date(column.type):
        instants = conform(column, INSTANT)
        if not pc.all(pc.equal(pc.floor_temporal(instants, unit="day"), instants)).as_py():
            raise TypeError("a date has no time of day, and not all of these are midnights of UTC")
        return _cast(instants.cast(pa.timestamp("us")), stored)
    return conform(column, stored)


def _in_unit(instants: pa.ChunkedArray, unit: str) -> pa.ChunkedArray:
    """Cut instants to a coarser unit; one that is finer contains them all."""
    names = {"s": "second", "ms": "millisecond"}
    return pc.floor_temporal(instants, unit=names[unit]) if unit in names else instants


def _cast(column: pa.ChunkedArray, stored: pa.DataType) -> pa.ChunkedArray:
    try:
        return column.cast(stored)
    except pa.ArrowException as error:
        raise TypeError(str(error)) from None
