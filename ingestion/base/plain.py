"""Results as JSON: one function for all of them, in receipts and for ``--json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from enum import Enum
from functools import cache
from typing import Any

_SECRET = frozenset({"headers"})
"""Members of a request whose values may be secrets; only their names are written."""
_PLAIN = (str, int, float, bool)


def plain(value: object) -> Any:
    """Return a value in the types of JSON, without what may be secret.

    A dataclass gives its fields, without those of ``field(repr=False)``, and the properties that
    its ``SHOWN`` names. Durations are seconds, instants ISO 8601, enumerations their values, and a
    table is the number of its rows. An object with a method ``document`` says itself what it gives.

    Examples
    --------
    >>> from datetime import timedelta
    >>> plain({"age": timedelta(minutes=2), "names": ("A", "B")})
    {'age': 120.0, 'names': ['A', 'B']}
    """
    if value is None or type(value) in _PLAIN:  # as most are
        return value
    if callable(own := getattr(value, "document", None)) and not isinstance(value, type):
        return plain(own())
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _member(name, getattr(value, name)) for name in _shown(type(value))}
    if isinstance(value, Mapping):
        return {str(plain(key)): _member(str(key), member) for key, member in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        members = [plain(member) for member in value]
        return sorted(members) if isinstance(value, (set, frozenset)) else members
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, _PLAIN):
        return value
    rows = getattr(value, "num_rows", None)
    return str(value) if rows is None else rows


@cache
def _shown(kind: type[Any]) -> list[str]:
    return [field.name for field in fields(kind) if field.repr] + [*getattr(kind, "SHOWN", ())]


def _member(name: str, value: object) -> Any:
    if name in _SECRET and isinstance(value, Mapping):
        return sorted(map(str, value))
    return plain(value)
