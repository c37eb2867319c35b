"""Columns of Arrow from and to NumPy and Python, without the import of pandas.

``pyarrow.array`` and ``pyarrow.scalar`` ask whether they are given an object of pandas; instants
become Python's, and arrays NumPy's, by code that looks there too; and ``group_by`` is in a module
that does so when it is imported. The first such call of a process imports pandas, which takes
longer than all that a command such as ``select`` does. The functions here make the same from
Arrow's buffers. ``tests/test_start.py`` says which commands must not import pandas.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.instants import from_micros

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MICROS = pa.timestamp("us", tz="UTC")
_KINDS = {"i8": pa.int64(), "i4": pa.int32(), "f8": pa.float64()}


def strings(values: Collection[str]) -> pa.StringArray:
    """Return an array of texts; none is null.

    Examples
    --------
    >>> strings(["NASDAQ:AAPL", "é"]).to_pylist()
    ['NASDAQ:AAPL', 'é']
    """
    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    text = pa.py_buffer(b"".join(encoded))
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(ends), text)


def text(value: str) -> pa.StringScalar:
    """Return a text as the functions of ``pyarrow.compute`` take it."""
    return strings([value])[0]


def from_numpy(values: NDArray[Any]) -> pa.Array:
    """Return an array of whole numbers, doubles or truth values; none is null.

    Examples
    --------
    >>> from_numpy(np.array([True, False])).to_pylist(), from_numpy(np.array([0.5])).to_pylist()
    ([True, False], [0.5])
    """
    if values.dtype == np.bool_:
        bits = pa.py_buffer(np.packbits(values, bitorder="little"))
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, bits])
    kind = _KINDS[values.dtype.str[1:]]
    return pa.Array.from_buffers(
        kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))]
    )


def finite(values: NDArray[np.float64]) -> pa.DoubleArray:
    """Return doubles as an array, null where they are not finite.

    Examples
    --------
    >>> finite(np.array([0.5, np.nan, np.inf])).to_pylist()
    [0.5, None, None]
    """
    is_finite = np.isfinite(values)
    if is_finite.all():
        return from_numpy(values)
    bits = pa.py_buffer(np.packbits(is_finite, bitorder="little"))
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.float64(), len(values), [bits, data])


def to_numpy(column: pa.Array | pa.ChunkedArray, null: int | None = None) -> NDArray[Any]:
    """Return the numbers, truth values or instants of a column.

    Parameters
    ----------
    null
        What a null becomes; if not given, there must be none.

    Returns
    -------
    NDArray
        Shape ``(n,)``; instants as int64, in the column's own unit since 1970 UTC.

    Raises
    ------
    ValueError
        If the column has a null and ``null`` is not given, or is of another type.

    Examples
    --------
    >>> to_numpy(pa.chunked_array([[1, 2], [3]])), to_numpy(pa.array([True]))
    (array([1, 2, 3]), array([ True]))
    >>> to_numpy(pa.array([1, None]), null=-1)
    array([ 1, -1])
    """
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks == 0:  # it would be combined by way of ``pyarrow.array``
            column = pa.nulls(0, column.type)
        else:
            column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if pa.types.is_timestamp(column.type):
        column = column.view(pa.int64())
    if column.null_count:
        if null is None:
            raise ValueError("a column with nulls is no array of NumPy's")
        column = pc.fill_null(column, from_numpy(np.array([null]))[0].cast(column.type))
    if pa.types.is_boolean(column.type):
        bits = np.frombuffer(column.buffers()[1] or b"", np.uint8)
        end = column.offset + len(column)
        return np.unpackbits(bits, count=end, bitorder="little")[column.offset :].astype(bool)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise ValueError(f"{column.type} is no number of NumPy's")
    return np.from_dlpack(column)


def latest(column: pa.ChunkedArray) -> datetime | None:
    """Return the latest of a column of instants; None if there is none.

    Examples
    --------
    >>> latest(pa.chunked_array([[1, None]]).cast(_MICROS)).isoformat()
    '1970-01-01T00:00:00.000001+00:00'
    """
    micros = pc.max(column).value
    return None if micros is None else from_micros(micros)


def codes_in(known: pa.Array, names: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """Return where names, of whatever string type, are among known ones; -1 if they are not.

    Examples
    --------
    >>> codes_in(pa.array(["NYSE:A", "NYSE:B"]), pa.array(["NYSE:B", "NYSE:C"]))
    array([ 1, -1])
    """
    return to_numpy(pc.index_in(names.cast(pa.string()), value_set=known), null=-1).astype(np.int64)


def to_objects(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return a column as ``to_pylist`` does: instants are datetimes in UTC.

    Examples
    --------
    >>> to_objects(pa.array([0, None]).cast(pa.timestamp("us", "UTC")))
    [datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), None]
    """
    if column.type != _MICROS:
        values: list[Any] = column.to_pylist()
        return values
    found = column.cast(pa.int64()).to_pylist()
    return [None if micros is None else from_micros(micros) for micros in found]


def to_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Return a table as its ``to_pylist`` does: instants are datetimes in UTC."""
    names = table.column_names
    columns = [to_objects(column) for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def has_value(rows: pa.Table) -> pa.ChunkedArray:
    """Return which rows have a value in at least one column.

    Examples
    --------
    >>> has_value(pa.table({"RSI": [1.5, None], "ADX": pa.nulls(2)})).to_pylist()
    [True, False]
    """
    # A table without columns has none; `pa.scalar` would import pandas.
    return reduce(pc.or_, map(pc.is_valid, [pa.nulls(rows.num_rows), *rows.columns]))


def empty_table(schema: pa.Schema) -> pa.Table:
    """Return a table without rows."""
    return pa.Table.from_batches([], schema=schema)
