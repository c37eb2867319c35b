"""How the features of a row lie in a table of the online store, and their values in memory.

Features of a fixed width share one BLOB, ``words``: a 64-bit little-endian word each (a double, an
integer, a bool as 0 or 1, an instant in microseconds), then one bit each, lowest first, that
says whether its value is there; a null's word is 0. So a NaN, which a column of SQLite cannot
store, stays one, and thousands of rows become columns with one look at their joined bytes. Every
other feature has a column of its own: text as TEXT, bytes as BLOB, anything else as a serialized
Feast ``Value``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingestion.base.errors import InputError
from ingestion.base.instants import from_micros

_FLOATS = frozenset({"DOUBLE", "FLOAT"})
_WORDS = _FLOATS | {"INT32", "INT64", "BOOL", "UNIX_TIMESTAMP"}
_NUMBERS = _WORDS - {"UNIX_TIMESTAMP"}
_PLAIN = _WORDS | {"STRING", "BYTES"}
_RANGES = {"BOOL": (0, 2), "INT32": (-(2.0**31), 2.0**31), "INT64": (-(2.0**63), 2.0**63)}
_BITS = 64
_WORD = np.dtype("<i8")

Array = NDArray[Any]


def is_word(value_type: str) -> bool:
    """Return whether values of a type have a fixed width."""
    return value_type in _WORDS


def is_float(value_type: str) -> bool:
    """Return whether a type is a floating-point one."""
    return value_type in _FLOATS


@dataclass(slots=True)  # frozen, it would take four times as long to make
class Values:
    """The values of one feature, one for each row; not to be changed.

    Attributes
    ----------
    type
        The name of Feast's value type.
    data
        float64 for ``DOUBLE`` and ``FLOAT``; int64 for integers, bools and instants (microseconds
        since 1970 UTC); object for others: ``str`` of a ``STRING``, ``bytes`` of ``BYTES``, and the
        bytes of a Feast ``Value`` elsewhere. Zero or None where there is no value.
    valid
        bool: where there is a value.
    """

    type: str
    data: Array
    valid: NDArray[np.bool_]

    @classmethod
    def of(cls, value_type: str, items: Sequence[Any]) -> Values:
        """Make values of Python objects as ``data`` has them, None where there is none."""
        valid = np.fromiter((item is not None for item in items), bool, len(items))
        if is_word(value_type):
            dtype = np.float64 if is_float(value_type) else np.int64
            numbers = (0 if item is None else item for item in items)
            return cls(value_type, np.fromiter(numbers, dtype, len(items)), valid)
        data = np.empty(len(items), object)
        data[:] = items
        return cls(value_type, data, valid)

    @classmethod
    def nulls(cls, value_type: str, count: int) -> Values:
        """Make values of which none is there."""
        return cls.of(value_type, [None] * count)

    def __len__(self) -> int:
        return len(self.data)

    def where(self, keep: NDArray[np.bool_]) -> Values:
        """Return the same values, null where they are not to be kept."""
        return Values(self.type, self.data, self.valid & keep)

    def take(self, rows: NDArray[np.integer]) -> Values:
        """Return the values of some rows."""
        return Values(self.type, self.data[rows], self.valid[rows])

    def to_list(self) -> list[Any]:
        """Return the values as ``data`` has them, None where there is none."""
        items: list[Any] = self.data.tolist()
        for row in (~self.valid).nonzero()[0].tolist():
            items[row] = None
        return items

    def to_objects(self) -> list[Any]:
        """Return the values as Python objects, None where there is none.

        A ``BOOL`` is a bool, and a ``UNIX_TIMESTAMP`` a datetime in UTC, exact to the microsecond.

        Raises
        ------
        InputError
            If they are of a type that is stored as a Feast ``Value``, which only Feast can read.

        Examples
        --------
        >>> Values.of("UNIX_TIMESTAMP", [1_500_000, None]).to_objects()
        [datetime.datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=datetime.timezone.utc), None]
        """
        if self.type == "BOOL":
            return Values(self.type, self.data.astype(bool), self.valid).to_list()
        if self.type == "UNIX_TIMESTAMP":
            return [None if us is None else from_micros(us) for us in self.to_list()]
        if self.type not in _PLAIN:
            raise InputError(f"a value of the type {self.type} can be read through Feast alone")
        return self.to_list()


@dataclass(frozen=True)
class Layout:
    """The features of a table.

    Attributes
    ----------
    types
        Names, in order, with the name of their Feast value type.
    """

    types: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, types: Iterable[tuple[str, str]]) -> Layout:
        """Lay features out."""
        return cls(tuple(types))

    @cached_property
    def type_of(self) -> dict[str, str]:
        """Types by feature."""
        return dict(self.types)

    @cached_property
    def words(self) -> dict[str, int]:
        """The place of each feature of a fixed width among the words."""
        return {name: at for at, name in enumerate(n for n, t in self.types if is_word(t))}

    @cached_property
    def columns(self) -> dict[str, str]:
        """The columns of all other features, by feature."""
        others = (name for name, value_type in self.types if not is_word(value_type))
        return {name: f"value_{at}" for at, name in enumerate(others)}

    @property
    def width(self) -> int:
        """Words of a row, those of the bits included."""
        return len(self.words) + -(-len(self.words) // _BITS)

    def holds(self, other: Layout) -> bool:
        """Return whether it has the same features of the same types, in whatever order."""
        return self.type_of == other.type_of

    def to_text(self) -> str:
        """Write it down, for :func:`layout_from_text`."""
        return json.dumps(self.types)

    def pack(self, values: Mapping[str, Values], rows: int) -> list[bytes]:
        """Return the words of each row."""
        if not self.words:
            return [b""] * rows
        matrix = np.zeros((rows, self.width), _WORD)
        for name, at in self.words.items():
            each = values[name]
            data = np.where(each.valid, each.data, 0)
            matrix[:, at] = data.view(np.int64) if is_float(each.type) else data
            bits = each.valid.astype(np.int64) << (at % _BITS)
            matrix[:, len(self.words) + at // _BITS] |= bits
        joined, size = matrix.tobytes(), self.width * _WORD.itemsize
        return [joined[at : at + size] for at in range(0, rows * size, size)]

    @property
    def null_words(self) -> bytes:
        """Words of a row without a value."""
        return bytes(self.width * _WORD.itemsize)

    def unpack(self, words: Sequence[bytes], names: Sequence[str]) -> dict[str, Values]:
        """Return the values of some features of a fixed width, of rows' words."""
        if not names:
            return {}
        matrix = np.frombuffer(b"".join(words), _WORD).reshape(len(words), self.width)
        places, bits, shifts, types = self._places(tuple(names))
        valid = ((matrix[:, bits] >> shifts).T & 1).astype(bool, order="C")
        data = np.ascontiguousarray(matrix[:, places].T)
        floats = data.view(np.float64)
        return {
            name: Values(value_type, (floats if as_float else data)[at], valid[at])
            for at, (name, value_type, as_float) in enumerate(types)
        }

    @lru_cache(maxsize=64)  # noqa: B019 - layouts are few, and kept by their texts
    def _places(
        self, names: tuple[str, ...]
    ) -> tuple[Array, Array, Array, list[tuple[str, str, bool]]]:
        """Return of features the place of the word, the word and the place of the bit, the type."""
        places = np.array([self.words[name] for name in names])
        bits = len(self.words) + places // _BITS
        types = [(name, self.type_of[name], is_float(self.type_of[name])) for name in names]
        return places, bits, places % _BITS, types


@lru_cache(maxsize=256)
def layout_from_text(text: str) -> Layout:
    """Read what :meth:`Layout.to_text` wrote."""
    return Layout(tuple((name, value_type) for name, value_type in json.loads(text)))


def convert(values: Values, value_type: str) -> Values:
    """Change the type of values: numbers that the new type represents exactly are kept.

    What it cannot represent becomes null: 3.5 as an integer, and all of a text as a number.

    Examples
    --------
    >>> convert(Values.of("DOUBLE", [3.0, 3.5]), "INT64").to_list()
    [3, None]
    """
    if values.type == value_type:
        return values
    if not {values.type, value_type} <= _NUMBERS:
        return Values.nulls(value_type, len(values))
    data, same = (_as_float if is_float(value_type) else _as_integer)(values.data, value_type)
    valid = values.valid & same
    return Values(value_type, np.where(valid, data, 0), valid)


def _as_integer(numbers: Array, value_type: str) -> tuple[Array, NDArray[np.bool_]]:
    """Return integers of a type, and where they are equal to the numbers."""
    low, high = _RANGES[value_type]
    inside = (numbers >= low) & (numbers < high)
    integers = np.where(inside, numbers, 0).astype(np.int64)
    return integers, inside & (integers == numbers)


def _as_float(numbers: Array, value_type: str) -> tuple[Array, NDArray[np.bool_]]:
    """Return floats of a type, and where they are equal to the numbers."""
    with np.errstate(over="ignore"):
        floats = numbers.astype(np.float32 if value_type == "FLOAT" else np.float64)
    floats = floats.astype(np.float64)
    if numbers.dtype == np.float64:
        return floats, (floats == numbers) | (np.isnan(floats) & np.isnan(numbers))
    integers, inside = _as_integer(floats, "INT64")
    return floats, inside & (integers == numbers)
