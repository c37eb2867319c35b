"""What was refused, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

LISTED = 1000
"""Refused rows that are listed one by one; beyond that they are only counted."""


class Reason(StrEnum):
    """Why a row is refused, in the order in which rows are looked at."""

    CELLS = "not as many cells as the header"
    SYMBOL = "not a symbol"
    TIME = "unreadable time"
    NUMBER = "not a number"
    PRICE = "price not positive and finite"
    VOLUME = "volume missing, negative or not finite"
    SPLIT = "split ratio not positive and finite"
    OHLC = "open or close outside low and high"
    SESSION = "no session on that date"
    FUTURE = "closes in the future"
    TICK = "last tick is of a later session"
    DUPLICATE = "duplicates that disagree"
    RETURN = "one-day return beyond the limit"
    ADJUSTED = "split of bars stored as split-adjusted"


REASONS = tuple(Reason)
CODES = {reason: np.int8(code) for code, reason in enumerate(REASONS)}
"""Reasons as small numbers, for arrays."""
ACCEPTED = np.int8(-1)


@dataclass(frozen=True)
class Refusal:
    """One refused row."""

    file: str
    row: int
    """From 1 at the first row below the header."""
    symbol: str
    """Unified symbol; empty where the row was refused before it had one."""
    reason: Reason
    detail: str
    """The values that were seen."""


class Refusals:
    """The refused rows of an import: all counted, the first :data:`LISTED` kept."""

    def __init__(self) -> None:
        self.by_reason: Counter[Reason] = Counter()
        self.by_file: Counter[str] = Counter()
        self.listed: list[Refusal] = []

    def add(
        self,
        reason: Reason,
        file: str,
        rows: Iterable[int],
        describe: Callable[[int], tuple[str, str]],
    ) -> None:
        """Count rows of a file that share a reason.

        Parameters
        ----------
        rows
            Row numbers of the file.
        describe
            Gives symbol and detail of the n-th of ``rows``; asked only for what is listed.
        """
        for n, row in enumerate(rows):
            self.by_reason[reason] += 1
            self.by_file[file] += 1
            if len(self.listed) < LISTED:
                symbol, detail = describe(n)
                self.listed.append(Refusal(file, int(row), symbol, reason, detail))

    @property
    def total(self) -> int:
        """How many rows were refused."""
        return self.by_reason.total()

    @property
    def commonest(self) -> Reason | None:
        """The reason of most refusals; None if there are none."""
        return self.by_reason.most_common(1)[0][0] if self.by_reason else None
