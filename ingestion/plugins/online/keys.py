"""Entity keys as bytes, a whole column at a time.

The bytes are those of Feast's entity key serialization, version 3, so that a key that Feast encoded
one by one is found among keys that were encoded here: the number of join keys, their names in
alphabetical order, then their values in that order; all numbers little-endian, every text preceded
by its type's number and its length.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from typing import cast

from ingestion.base.errors import InputError

_COUNT = struct.Struct("<I")
_HEAD = struct.Struct("<II")
_INT32 = struct.Struct("<IIi")
_INT64 = struct.Struct("<IIq")

Values = Sequence[object]

BYTES, STRING, INT32, INT64, TIMESTAMP = 1, 2, 3, 4, 8
"""The numbers of Feast's value types that can be a key."""

_NUMBERS = {
    "BYTES": BYTES,
    "STRING": STRING,
    "INT32": INT32,
    "INT64": INT64,
    "UNIX_TIMESTAMP": TIMESTAMP,
}


def encode_keys(columns: Mapping[str, tuple[str, Values]]) -> list[bytes]:
    """Encode the keys of many rows.

    Parameters
    ----------
    columns
        Of each join key, the name of its value type and its values, none of them null: ``str``,
        ``bytes``, ``int``, or ``int`` seconds for a ``UNIX_TIMESTAMP``.

    Returns
    -------
    list of bytes
        One for each row.

    Raises
    ------
    InputError
        If a join key is of a type that cannot be a key.

    Examples
    --------
    >>> [len(key) for key in encode_keys({"symbol": ("STRING", ["NASDAQ:AAPL", "A"])})]
    [37, 27]
    """
    names = tuple(sorted(columns))
    head = _prefix(names)
    parts = [_encode(name, *columns[name]) for name in names]
    if len(parts) == 1:
        return [head + part for part in parts[0]]
    return [head + b"".join(row) for row in zip(*parts, strict=True)]


def decode_keys(
    keys: Iterable[bytes], types: Mapping[str, str]
) -> tuple[list[int], dict[str, list[object]]]:
    """Return the values of join keys.

    Parameters
    ----------
    types
        Of each join key, the name of its value type.

    Returns
    -------
    places : list of int
        Which keys have these join keys of these types: a view may have had others once.
    values : dict of str to list
        By join key, the values of those keys, as :func:`encode_keys` accepts them.

    Examples
    --------
    >>> keys = encode_keys({"symbol": ("STRING", ["NASDAQ:AAPL", "A"])})
    >>> decode_keys(keys, {"symbol": "STRING"})
    ([0, 1], {'symbol': ['NASDAQ:AAPL', 'A']})
    """
    names = tuple(sorted(types))
    head, expected = _prefix(names), [_NUMBERS.get(types[name]) for name in names]
    places, rows = [], []
    for place, key in enumerate(keys):
        numbers, values = _decode(key, len(head)) if key.startswith(head) else ([], [])
        if numbers == expected:
            places.append(place)
            rows.append(values)
    return places, {name: [row[at] for row in rows] for at, name in enumerate(names)}


@lru_cache(maxsize=256)
def _prefix(names: tuple[str, ...]) -> bytes:
    encoded = [name.encode() for name in names]
    return _COUNT.pack(len(names)) + b"".join(_HEAD.pack(STRING, len(e)) + e for e in encoded)


def _encode(name: str, value_type: str, values: Values) -> list[bytes]:
    if value_type not in _NUMBERS:
        raise InputError(
            f"the join key {name} is of type {value_type}: a key is one of {', '.join(_NUMBERS)}"
        )
    number = _NUMBERS[value_type]
    pack: Callable[..., bytes] = _HEAD.pack
    if number == STRING:
        texts = [str(value).encode() for value in values]
        return [pack(STRING, len(text)) + text for text in texts]
    if number == BYTES:
        return [pack(BYTES, len(value)) + value for value in cast("Sequence[bytes]", values)]
    if number == INT32:
        return list(map(_INT32.pack, repeat(number), repeat(4), values))
    return list(map(_INT64.pack, repeat(number), repeat(8), values))


def _decode(key: bytes, at: int) -> tuple[list[int], list[object]]:
    """Read the types and the values from a place on."""
    numbers: list[int] = []
    values: list[object] = []
    while at < len(key):
        number, length = _HEAD.unpack_from(key, at)
        numbers.append(number)
        at += _HEAD.size
        value = key[at : at + length]
        at += length
        if number == STRING:
            values.append(value.decode())
        elif number == BYTES:
            values.append(value)
        else:
            values.append(int.from_bytes(value, "little", signed=True))
    return numbers, values
