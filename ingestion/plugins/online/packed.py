"""A row's features as one text of bytes, for stores that have no columns of their own.

Its words come first, as :mod:`ingestion.plugins.online.layout` has them; then each other feature as
its length in four bytes, big-endian and one too large, and its bytes. A length of 0 is a null.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from ingestion.plugins.online.layout import Layout, Values

_LENGTH = struct.Struct(">I")
_NULL = _LENGTH.pack(0)


def pack_rows(layout: Layout, values: Mapping[str, Values], count: int) -> list[bytes]:
    """Return each row's bytes; equal values have equal bytes."""
    columns = [layout.pack(values, count)]
    columns += [[_packed(item) for item in values[name].to_list()] for name in layout.columns]
    return columns[0] if len(columns) == 1 else list(map(b"".join, zip(*columns, strict=True)))


def unpack_rows(
    layout: Layout, rows: Sequence[bytes | None], names: Sequence[str]
) -> dict[str, Values]:
    """Return some features of rows, null where there is no row.

    Examples
    --------
    >>> layout = Layout.of([("RSI", "DOUBLE"), ("note", "STRING")])
    >>> values = {"RSI": Values.of("DOUBLE", [61.5]), "note": Values.of("STRING", ["high"])}
    >>> rows = pack_rows(layout, values, 1)
    >>> {name: column.to_list() for name, column in unpack_rows(layout, rows, ["note"]).items()}
    {'note': ['high']}
    """
    size = len(layout.null_words)
    missing = layout.null_words + _NULL * len(layout.columns)
    whole = [missing if row is None else row for row in rows]
    words = [row[:size] for row in whole] if layout.columns else whole
    values = layout.unpack(words, [name for name in names if name in layout.words])
    wanted = {at: name for at, name in enumerate(layout.columns) if name in names}
    if wanted:
        items: dict[str, list[Any]] = {name: [] for name in wanted.values()}
        for row in whole:
            at = size
            for place in range(len(layout.columns)):
                length = int(_LENGTH.unpack_from(row, at)[0])
                start, at = at + _LENGTH.size, at + _LENGTH.size + max(0, length - 1)
                if place in wanted:
                    items[wanted[place]].append(row[start:at] if length else None)
        for name, column in items.items():
            kind = layout.type_of[name]
            if kind == "STRING":
                column = [None if item is None else item.decode() for item in column]
            values[name] = Values.of(kind, column)
    return values


def _packed(item: str | bytes | None) -> bytes:
    if item is None:
        return _NULL
    content = item.encode() if isinstance(item, str) else item
    return _LENGTH.pack(len(content) + 1) + content
