"""The cells of a row, checked against the columns that were asked for.

One row serves several tables. A cell that cannot be used is kept as :class:`BadCell`: the tables
that need it do without the row, and the others have theirs. It never becomes a null: a text in
place of a number means that something upstream has changed, and a null would look like the
scanner's own "no value".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ingestion.base.wording import counted
from ingestion.catalog import Column, Dtype

_LARGEST_EXACT = 2**53
"""From here on, a double cannot distinguish neighbouring whole numbers."""
_LATEST_SECOND = 4_102_444_800  # 2100-01-01: beyond it, it is not seconds

Value = float | int | str | bool | None


@dataclass(frozen=True)
class BadCell:
    """A cell that cannot be used."""

    reason: str
    """The scanner's name of the column, and what is wrong."""


Cell = Value | BadCell


class BadRow(Exception):
    """A whole row cannot be used; ``str()`` says why."""


def scanner_name(column: Column) -> str:
    """Return the name under which the scanner is asked for a column."""
    return column.scanner or column.name


class RowReader:
    """Reads the rows of an answer.

    Parameters
    ----------
    columns
        What is wanted. Columns that the scanner calls by one name are asked for once, and each is
        read by its own type.

    Attributes
    ----------
    columns
        The distinct ones, in their order.
    names
        What to ask for.
    still
        Those of them that no bar changes, by their type: texts, counts, dates.
    """

    def __init__(self, columns: Iterable[Column]) -> None:
        self.columns = tuple(dict.fromkeys(columns))
        self.names = tuple(dict.fromkeys(map(scanner_name, self.columns)))
        measured = {scanner_name(each) for each in self.columns if each.dtype is Dtype.DOUBLE}
        self.still = frozenset(self.names) - measured
        self._places = [self.names.index(scanner_name(column)) for column in self.columns]

    def read(self, values: list[Any]) -> tuple[Cell, ...]:
        """Convert a row's JSON values.

        Parameters
        ----------
        values
            One value per name.

        Returns
        -------
        tuple
            One cell per column: text, bool, float or int, as the column's type is; for timestamps,
            which come as Unix seconds, int microseconds; None where there is no value.

        Raises
        ------
        BadRow
            If the row has another width.
        """
        if len(values) != len(self.names):
            raise BadRow(
                f"{counted(len(values), 'value')} for {counted(len(self.names), 'column')}"
            )
        return tuple(
            None if values[place] is None else _read(column, values[place])
            for column, place in zip(self.columns, self._places, strict=True)
        )


def first_problem(cells: Iterable[Cell]) -> str | None:
    """Return why the first bad cell cannot be used; None if all can."""
    return next((cell.reason for cell in cells if isinstance(cell, BadCell)), None)


def _read(column: Column, value: Any) -> Cell:
    try:
        return _READERS[column.dtype](column, value)
    except ValueError as error:
        return BadCell(f"{scanner_name(column)}: {error}")


def _text(column: Column, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_short(value)} where text belongs")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which no Parquet file can contain
        raise ValueError(f"{_short(value)} is not valid text") from None
    if column.values and value not in column.values:
        raise ValueError(f"{_short(value)} is none of {_short(', '.join(column.values))}")
    return value


def _truth(_: Column, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{_short(value)} where true or false belongs")
    return value


def _number(_: Column, value: Any) -> float:
    # bool is an int to Python, not to the scanner.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{_short(value)} where a number belongs")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{number} where a number belongs")
    return number


def _whole(column: Column, value: Any) -> int:
    number = _number(column, value)
    if not number.is_integer() or abs(number) >= _LARGEST_EXACT:
        raise ValueError(f"{number:g} where a whole number belongs")
    return int(number)


def _microseconds(column: Column, value: Any) -> int:
    number = _number(column, value)
    if not 0 < number < _LATEST_SECOND:
        raise ValueError(f"{_short(value)} is not a time in Unix seconds")
    return round(number * 1_000_000)


_READERS: dict[Dtype, Callable[[Column, Any], Value]] = {
    Dtype.DOUBLE: _number,
    Dtype.INT64: _whole,
    Dtype.BOOL: _truth,
    Dtype.STRING: _text,
    Dtype.TIMESTAMP: _microseconds,
}


def _short(value: Any) -> str:
    if isinstance(value, list | dict):  # the repr of a deep one exceeds Python's recursion limit
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
