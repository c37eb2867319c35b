"""Columns in the type that was declared, in the type that a source stores, and as integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.arrow import to_numpy
from ingestion.base.columns import INSTANT
from ingestion.plugins.offline.lookup import NEVER, Integers

_VIEWS = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
"""Types that few of Arrow's functions know, and the ones that contain the same."""


def conform(
    column: pa.ChunkedArray, declared: pa.DataType | None, *, seconds: bool = False
) -> pa.ChunkedArray:
    """Return a column in its declared type.

    Dictionaries and views of text are decoded. Timestamps become UTC microseconds, finer parts cut
    off towards the past, and those without a zone are UTC already. Where an instant is declared, a
    date is its midnight, UTC, and a text is read as ISO 8601: JSON has no other instants. A number
    becomes a float of any width, but an integer only if nothing is lost. In lists, the same.

    Parameters
    ----------
    declared
        None for as it is stored, timestamps, dictionaries and views of text aside.
    seconds
        Whether an integer is an instant too: seconds since 1970 UTC, as in Feast's values.

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
    if _is_list(column.type) and pa.types.is_list(declared):
        inner = declared.value_type
        column = _of_values(column, lambda values: conform(values, inner, seconds=seconds))
    if declared == INSTANT:
        column = _as_instants(column, seconds)
    elif pa.types.is_temporal(column.type) and column.null_count < len(column):
        if column.type == INSTANT:
            raise TypeError("an instant is nothing else")
        if not is_text(declared):
            raise TypeError("a date or a time is no number")
    return _cast(column, declared, safe=not pa.types.is_floating(declared))


def readable(stored: pa.DataType) -> pa.DataType:
    """Return the type as which a column without a declared one is best read.

    Examples
    --------
    >>> str(readable(pa.dictionary(pa.int8(), pa.string()))), str(readable(pa.date32()))
    ('string', 'timestamp[us, tz=UTC]')
    >>> str(readable(pa.list_(pa.field("element", pa.string_view()))))
    'list<item: string>'
    """
    if pa.types.is_dictionary(stored):
        return readable(stored.value_type)
    if pa.types.is_date(stored) or pa.types.is_timestamp(stored):
        return INSTANT
    if _is_list(stored):
        return pa.list_(readable(stored.value_type))
    return _VIEWS.get(stored, stored)


def _as_instants(column: pa.ChunkedArray, seconds: bool) -> pa.ChunkedArray:
    """Return dates and texts as instants, and columns of nulls as they are."""
    if is_text(column.type):
        return instants_in(column)
    if pa.types.is_date(column.type):
        return column.cast(pa.timestamp("us")).cast(INSTANT)
    if seconds and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return _cast(_cast(column, pa.int64()).cast(pa.timestamp("s", "UTC")), INSTANT)
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
    date, if they are midnights of UTC. Frames have structs for maps: a field that is null is no
    key of the map.

    Raises
    ------
    TypeError
        If a value cannot be stored in that type.
    """
    if column.type == stored:
        return column
    if pa.types.is_dictionary(stored):
        return storable(column, stored.value_type).cast(stored)
    if _is_list(column.type) and _is_list(stored):
        lists = _of_values(column, lambda values: storable(values, stored.value_type))
        return _cast(lists, stored)
    if pa.types.is_struct(column.type) and pa.types.is_map(stored):
        return _maps(column, stored)
    if pa.types.is_struct(column.type) and pa.types.is_struct(stored):
        _refuse_lost_fields(column, stored)
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


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _of_values(
    column: pa.ChunkedArray, function: Callable[[pa.ChunkedArray], pa.ChunkedArray]
) -> pa.ChunkedArray:
    """Apply a function to the values of lists, all of them at once."""
    lists = one_chunk(_cast(column, pa.list_(column.type.value_type)))
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    values = one_chunk(function(pa.chunked_array([lists.flatten()])))
    made = pa.ListArray.from_arrays(pa.array(offsets), values, mask=lists.is_null())
    return pa.chunked_array([made])


def _maps(structs: pa.ChunkedArray, stored: pa.MapType) -> pa.ChunkedArray:
    def items(row: dict[str, Any]) -> list[tuple[str, Any]]:
        return [(key, value) for key, value in row.items() if value is not None]

    rows = [None if row is None else items(row) for row in structs.to_pylist()]
    try:
        return pa.chunked_array([pa.array(rows, stored)])
    except (pa.ArrowException, OverflowError) as error:
        raise TypeError(str(error)) from None


def _refuse_lost_fields(structs: pa.ChunkedArray, stored: pa.StructType) -> None:
    """Refuse fields that a struct of the source does not have."""
    kept = {field.name for field in stored}
    for field in structs.type:
        values = pc.struct_field(structs, field.name)
        if field.name not in kept and values.null_count < len(values):
            raise TypeError(f"there is no field {field.name} in {stored}")


def _in_unit(instants: pa.ChunkedArray, unit: str) -> pa.ChunkedArray:
    """Cut instants to a coarser unit; one that is finer contains them all."""
    names = {"s": "second", "ms": "millisecond"}
    return pc.floor_temporal(instants, unit=names[unit]) if unit in names else instants


def _cast(column: pa.ChunkedArray, wanted: pa.DataType, *, safe: bool = True) -> pa.ChunkedArray:
    try:
        return column.cast(wanted, safe=safe)
    except pa.ArrowException as error:
        raise TypeError(str(error)) from None


def microseconds(column: pa.ChunkedArray) -> Integers:
    """Return a column of the type ``INSTANT`` as integers, null as ``NEVER``."""
    return to_numpy(column, null=NEVER)


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
    import pandas as pd  # here, for what reads no such texts does not wait for its import

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
    """Return whether a type is one of texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without a copy if it is one."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
