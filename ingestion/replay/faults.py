"""The ways to fail, and the plan that says when.

Each is one that clients of the scanner have met, or may meet. Some spoil the whole answer, some one
row of it.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any

from ingestion.base.errors import InputError

Row = dict[str, Any]

HTML = b"<html><body><h1>Just a moment</h1></body></html>"

WHOLE_ANSWER: dict[str, str] = {
    "rate-limited": "429",
    "rate-limited-retry-after": "429 with a Retry-After of one second",
    "server-error": "502 with HTML",
    "forbidden-html": "403 with HTML",
    "html": "200 with HTML",
    "empty": "200 with an empty body",
    "truncated": "200 with the first half of the JSON",
    "stall": "no answer, and the connection stays open",
    "trickle": "a byte now and then, without end",
    "trickle-headers": "a letter of a header now and then, without end",
    "reset": "the connection is reset",
    "short-page": "50 rows, whatever the range",
    "redirect": "302 to another host",
    "error-in-200": "200 with the body of a 400",
}
"""Faults that spoil a whole answer, with what comes back."""


def _wrong_width(row: Row) -> None:
    row["d"] = row["d"][:-1]


def _set(value: Any) -> Callable[[Row], None]:
    def spoil(row: Row) -> None:
        row["d"] = [value, *row["d"][1:]]

    return spoil


ONE_ROW: dict[str, Callable[[Row], None]] = {
    "wrong-width": _wrong_width,
    "null-value": _set(None),
    "integer-value": _set(1),
    "text-value": _set("n/a"),
    "nan-value": _set(float("nan")),
    "infinite-value": _set(float("inf")),
    "true-value": _set(True),
}
"""Faults that spoil one row: its width, or its first value."""

MORE_ROWS = {"duplicate-rows", "conflicting-rows", "unasked-row"}
"""Faults that add a row to the answer."""

COUNTS = {
    "row-left-out": "the last row is missing, and totalCount counts it",
    "count-too-high": "totalCount is higher than the rows are many",
    "count-too-low": "totalCount is lower than the rows are many",
}
"""Faults that make rows and totalCount differ, with what comes back."""

FAULTS = frozenset(WHOLE_ANSWER) | frozenset(ONE_ROW) | MORE_ROWS | frozenset(COUNTS)
"""Every fault, by name."""

_PLANNED = re.compile(r"([a-z0-9-]+)(?::(\d+)|@(0?\.\d+|0|1(?:\.0)?))?")


class FaultPlan:
    """Which fault hits which request; safe to ask from several threads.

    Parameters
    ----------
    script
        Faults of the first requests, one each; None lets a request pass.
    chances
        By fault, the share of the requests after the script that it hits.
    """

    def __init__(
        self,
        script: Iterable[str | None] = (),
        chances: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        self._script = deque(script)
        self._chances = dict(chances or {})
        self._random = random.Random(seed)
        self._lock = Lock()
        for fault in {*self._script, *self._chances} - {None}:
            _check_name(fault)

    @classmethod
    def parse(cls, texts: Iterable[str], seed: int = 0) -> FaultPlan:
        """Read ``empty`` (one request), ``empty:3`` (three), ``empty@0.1`` (one in ten).

        Raises
        ------
        InputError
            If a text is not of this form or names no fault.
        """
        script: list[str | None] = []
        chances: dict[str, float] = {}
        for text in texts:
            match = _PLANNED.fullmatch(text)
            if match is None:
                raise InputError(f"{text!r} is not a fault such as empty, empty:3 or empty@0.1")
            name, count, chance = match.groups()
            _check_name(name)
            if chance is None:
                script += [name] * int(count or 1)
            else:
                chances[name] = float(chance)
        return cls(script, chances, seed)

    def draw(self) -> str | None:
        """Return the fault of the next request, if it has one."""
        with self._lock:
            if self._script:
                return self._script.popleft()
            for fault, chance in self._chances.items():
                if self._random.random() < chance:
                    return fault
        return None


def _check_name(fault: str | None) -> None:
    if fault not in FAULTS:
        raise InputError(f"no fault {fault!r}; there are {', '.join(sorted(FAULTS))}")


def spoil_rows(fault: str, rows: list[Row], symbol: str | None = None) -> None:
    """Apply a row fault to a symbol's row, or to the first, in place; to none if it is not there.

    Raises
    ------
    KeyError
        If the fault is not one of :data:`ONE_ROW` and :data:`MORE_ROWS`.
    """
    row = next((row for row in rows if symbol in (None, row["s"])), None)
    if row is None:
        return
    if fault == "duplicate-rows":
        rows.append({"s": row["s"], "d": list(row["d"])})
    elif fault == "conflicting-rows":
        rows.append({"s": row["s"], "d": [-0.5, *row["d"][1:]]})
    elif fault == "unasked-row":
        rows.append({"s": "NASDAQ:NOTASKED", "d": list(row["d"])})
    else:
        ONE_ROW[fault](row)


def spoil_count(fault: str, document: dict[str, Any]) -> None:
    """Apply one of :data:`COUNTS` to an answer, in place; to none without rows."""
    if not document["data"]:
        return
    if fault == "row-left-out":
        document["data"].pop()
    else:
        document["totalCount"] += 3 if fault == "count-too-high" else -1
