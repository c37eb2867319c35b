"""One row's values, checked against the columns that were asked for.

A row is taken whole or not at all: a text in place of a number means that something upstream has
changed, and a null in its stead would pass for the scanner's own "no value".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ingestion.catalog import Column, Dtype

_LARGEST_EXACT = 2**53
"""From here on, a double does not tell whole numbers apart."""
_LATEST_SECOND = 4_102_444_800  # 2100-01-01: beyond it, it is not seconds

Value = float | int | str | None


class BadRow(Exception):
    """A row cannot be used; ``str()`` says which column and why."""


def read_values(columns: Sequence[Column], values: list[Any]) -> tuple[Value, ...]:
    """Convert a row's JSON values.

    Returns
    -------
    tuple
        One value a column, or None: text; float or int for numbers; for timestamps, which come as
        Unix seconds, int microseconds.

    Raises
    ------
    BadRow
        If the row has another width, or a value is not of its column's type.
    """
    if len(values) != len(columns):
        raise BadRow(f"{len(values)} values for {len(columns)} columns")
    return tuple(map(_read, columns, values))


def _read(column: Column, value: Any) -> Value:
    if value is None:
        return None
    if column.dtype is Dtype.STRING:
        return _text(column, value)
    number = _finite(column, value)
    if column.dtype is Dtype.INT64:
        return _whole(column, number)
    if column.dtype is not Dtype.TIMESTAMP:
        return number
    if not 0 < number < _LATEST_SECOND:
        raise BadRow(f"{column.scanner}: {_short(value)} is not a time in Unix seconds")
    return round(number * 1_000_000)


def _text(column: Column, value: Any) -> str:
    if not isinstance(value, str):
        raise BadRow(f"{column.scanner}: {_short(value)} where text belongs")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: no Parquet file can hold it
        raise BadRow(f"{column.scanner}: {_short(value)} is not valid text") from None
    return value


def _whole(column: Column, number: float) -> int:
    if not number.is_integer() or abs(number) >= _LARGEST_EXACT:
        raise BadRow(f"{column.scanner}: {number:g} where a whole number belongs")
    return int(number)


def _finite(column: Column, value: Any) -> float:
    # bool is an int to Python, not to the scanner.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRow(f"{column.scanner}: {_short(value)} where a number belongs")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BadRow(f"{column.scanner}: {number} where a number belongs")
    return number


def _short(value: Any) -> str:
    if isinstance(value, list | dict):  # the repr of a deep one exceeds Python's recursion limit
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
