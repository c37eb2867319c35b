"""Conditions of a scan's filter, as the scanner judges them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ingestion.replay.panel import Panel


class BadQuestion(Exception):
    """The scanner answers 400; ``str()`` is the text of its error."""


def fulfilling(panel: Panel, known: Mapping[str, int], condition: Any) -> dict[str, int]:
    """Return the symbols that fulfil a condition; one without a value fulfils none but ``empty``.

    Parameters
    ----------
    known
        By symbol, the row of its bar in the panel.

    Raises
    ------
    BadQuestion
        If it names an unknown column, or an operation that the replay does not have.
    """
    if not isinstance(condition, dict) or condition.keys() - {"left", "operation", "right"}:
        raise BadQuestion("Invalid filter")
    operation, right = condition.get("operation"), condition.get("right")
    left = condition.get("left")
    if not isinstance(left, str) or left not in panel.columns:
        raise BadQuestion(f'Unknown field "{left}"')
    if operation not in _OPERATIONS:
        raise BadQuestion(f"The replay does not understand {operation}")
    judge = _OPERATIONS[operation]

    def is_kept(symbol: str, row: int) -> bool:
        (value,) = panel.values(symbol, row, [left])
        if operation == "empty":
            return value is None
        if value is None:
            return False
        try:
            return judge(value, _resolved(panel, symbol, row, right))
        except (TypeError, ValueError, IndexError):
            raise BadQuestion(f"Invalid filter: {left} {operation}") from None

    return {symbol: row for symbol, row in known.items() if is_kept(symbol, row)}


def _resolved(panel: Panel, symbol: str, row: int, right: Any) -> Any:
    """Return the right side with values where it names columns."""
    if isinstance(right, list):
        return [_resolved(panel, symbol, row, each) for each in right]
    if isinstance(right, str) and right in panel.columns:
        return panel.values(symbol, row, [right])[0]
    return right


def _is_in(value: Any, right: Any) -> bool:
    if all(isinstance(each, int | float) for each in right) and len(right) == 2:
        return bool(right[0] <= value <= right[1])
    return value in right


def _is_in_percent(value: Any, right: Any) -> bool:
    base, low, high = right
    return bool(base * (1 + low / 100) <= value <= base * (1 + high / 100))


def _matches(value: Any, right: Any) -> bool:
    return str(right).lower() in str(value).lower()


def _has(value: Any, right: Any) -> bool:
    return bool({*_listed(value)} & {*_listed(right)})


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


_OPERATIONS: Mapping[Any, Callable[[Any, Any], bool]] = {
    "greater": lambda value, right: right is not None and value > right,
    "egreater": lambda value, right: right is not None and value >= right,
    "less": lambda value, right: right is not None and value < right,
    "eless": lambda value, right: right is not None and value <= right,
    "equal": lambda value, right: value == right,
    "nequal": lambda value, right: value != right,
    "in_range": _is_in,
    "not_in_range": lambda value, right: not _is_in(value, right),
    "match": _matches,
    "smatch": _matches,
    "nmatch": lambda value, right: not _matches(value, right),
    "has": _has,
    "has_none_of": lambda value, right: not _has(value, right),
    "above%": lambda value, right: value >= right[0] * (1 + right[1] / 100),
    "below%": lambda value, right: value <= right[0] * (1 - right[1] / 100),
    "in_range%": _is_in_percent,
    "not_in_range%": lambda value, right: not _is_in_percent(value, right),
    "empty": lambda _, __: False,
    "nempty": lambda _, __: True,
}
"""By operation, whether a value that is there fulfils it; crosses and ranges of dates are not."""
