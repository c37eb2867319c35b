"""What a label is: a declaration that makes one value, and one span, for each decision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ingestion.base.errors import InputError
from ingestion.datasets.series import Series

Entry: TypeAlias = Literal["open", "close"]
"""Where the position is entered: at the next session's open, or at the decision's own close."""

MAX_GAP = timedelta(days=12)
"""Longest time from close to close inside a window, as the time to live of daily features.

The longest pause of a large exchange, Lunar New Year, is 11 days. Beyond that the symbol was halted
or its bars are missing, and n of its sessions are not n of the market's.
"""

LONGEST = 9_999
"""Sessions of the longest label: forty years, more than any history here."""

Mask = NDArray[np.bool_]
Rows = NDArray[np.int64]
Doubles = NDArray[np.float64]


class DropReason(StrEnum):
    """Why a decision has no label; of several reasons the first in this list counts."""

    NOT_ACTIVE = "not_active"
    """Not in the universe then: the symbol was inactive, or not observed yet."""
    GAP_IN_WINDOW = "gap_in_window"
    """More than the longest gap without a bar before the window was full.

    The time from a symbol's last bar to the newest bar of all counts too: of a symbol that was
    delisted in the window nobody knows the return.
    """
    NO_FULL_WINDOW = "no_full_window"
    """Fewer than n bars after the decision: the window is not over yet."""
    SESSION_MISSING = "session_missing"
    """A session of the market is missing in the window, so its n bars are not n sessions."""
    ENTRY_BEFORE_DECISION = "entry_before_decision"
    """The next bar opened before this one was known to have closed.

    So do bars of an exchange of unknown hours, stamped 24 h after their open, on the day its clocks
    go forward.
    """
    BENCHMARK_MISSING = "benchmark_missing"
    """The benchmark has no bar that opens, or closes, when the position does, or one is missing."""
    DIVIDEND_CURRENCY = "dividend_currency"
    """A dividend in the window is in another currency than the price."""
    NO_VOLATILITY = "no_volatility"
    """Too few bars before the decision, a gap or a missing session among them, or no move."""
    NO_FINITE_RETURN = "no_finite_return"
    """The entry price is not above 0, or the return overflows."""
    FEW_MEMBERS = "few_members"
    """Fewer labelled members on the decision's day than there are classes."""


@dataclass(frozen=True)
class Outcome:
    """What a label has made of decisions; arrays of shape ``(n,)``."""

    values: NDArray[Any]
    """``float64`` or ``int64``; anything where a problem is."""
    ends: Rows
    """When the value was known: Unix µs, after the decision."""
    problems: Mapping[DropReason, Mask]
    """Where there is no value, by reason."""

    @property
    def missing(self) -> Mask:
        """Where there is no value."""
        missing: Mask = np.logical_or.reduce([*self.problems.values()])
        return missing


@dataclass(frozen=True)
class Decisions:
    """Decisions, and the bars around them, as labels need them."""

    series: Series
    """The bars of all symbols."""
    rows: Rows
    """Where in the series the bars are at whose close is decided, ascending; shape ``(n,)``."""
    entry: Entry
    outside: Mask
    """Whether the decision's symbol was not in the universe then; shape ``(n,)``."""
    long_gaps: Mask
    """Whether too long a time follows on a bar; shape ``(bars,)``."""
    dividends: Doubles
    """Per share, as traded, by the bar from which on it trades without it; shape ``(bars,)``.

    NaN where one is in another currency than the price.
    """

    @cached_property
    def ends(self) -> Rows:
        """For each decision, the row behind its symbol's last bar."""
        return self.series.ends[self.rows]

    @cached_property
    def entered(self) -> Rows:
        """The bar in which the position is entered; the decision's own where there is none."""
        if self.entry == "close":
            return self.rows
        return np.where(self.rows + 1 < self.ends, self.rows + 1, self.rows)

    @cached_property
    def starts(self) -> Rows:
        """When the position is entered, Unix µs."""
        times = self.series.opened if self.entry == "open" else self.series.closed
        return times[self.entered]

    @cached_property
    def price(self) -> Doubles:
        """What is paid for a share then."""
        prices = self.series.open if self.entry == "open" else self.series.close
        return prices[self.entered]

    def outcome(
        self,
        values: NDArray[Any],
        left: Rows,
        done: Mask,
        problems: Mapping[DropReason, Mask] | None = None,
    ) -> Outcome:
        """Put values together with what every label is checked for.

        Parameters
        ----------
        left
            The bar with whose close the position is over; the decision's own where it is not.
        done
            Whether it is over.
        problems
            What else is wrong with values.
        """
        series, rows = self.series, self.rows
        is_price = (self.price > 0) & np.isfinite(values)
        return Outcome(
            values,
            series.closed[left],
            {
                DropReason.NOT_ACTIVE: self.outside,
                DropReason.GAP_IN_WINDOW: marked_between(
                    self.long_gaps, rows, np.where(done, left, self.ends)
                ),
                DropReason.NO_FULL_WINDOW: ~done,
                DropReason.SESSION_MISSING: marked_between(series.after_gap, rows + 1, left + 1),
                DropReason.ENTRY_BEFORE_DECISION: self.starts < series.closed[rows],
                DropReason.NO_FINITE_RETURN: ~is_price,
                **(problems or {}),
            },
        )


@dataclass(frozen=True, kw_only=True)
class Label(ABC):
    """Declares a label. A kind of one's own derives from it, and is a frozen dataclass.

    Examples
    --------
    Whether the next session closes above its open:

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class NextIsUp(Label):
    ...     name, ahead = "next_is_up", 1
    ...
    ...     def make(self, decisions):
    ...         series, rows = decisions.series, decisions.rows
    ...         done = rows + 1 < decisions.ends
    ...         left = np.where(done, rows + 1, rows)
    ...         is_up = series.close[left] > series.open[left]
    ...         return decisions.outcome(is_up.astype(np.int64), left, done)
    >>> NextIsUp().column
    'next_is_up'
    """

    renamed: str = ""
    """The column's name; that of the label if empty."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Columns of the bars that it needs beside open, close and splits: ``high``, ``low``."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name without options, such as ``fwd_return_5d``."""

    @property
    @abstractmethod
    def ahead(self) -> int:
        """How many sessions it looks ahead at most."""

    @property
    def back(self) -> int:
        """How many bars before the decision's own it needs."""
        return 0

    @property
    def benchmarks(self) -> frozenset[str]:
        """Whose bars it needs beside the symbol's own."""
        return frozenset()

    @property
    def with_dividends(self) -> bool:
        """Whether dividends count."""
        return False

    @abstractmethod
    def make(self, decisions: Decisions) -> Outcome:
        """Make a value and a span for each decision, or say why there is none."""

    @property
    def column(self) -> str:
        """The name of its column."""
        return self.renamed or self.name

    def options(self) -> dict[str, object]:
        """Return what its name does not say, as :func:`~.target.label_of` reads it."""
        return {}

    def __str__(self) -> str:
        """Return its text, of which :func:`~.target.label_of` makes it again."""
        options = self.options() | ({"as": self.renamed} if self.renamed else {})
        return ",".join([self.name, *(f"{name}={value}" for name, value in options.items())])


@dataclass(frozen=True)
class OfAnother(Label):
    """A label that is made of another one."""

    of: Label

    prefix: ClassVar[str]

    @property
    def name(self) -> str:
        return f"{self.prefix}_{self.of.name}"

    @property
    def ahead(self) -> int:
        return self.of.ahead

    @property
    def back(self) -> int:
        return self.of.back

    @property
    def benchmarks(self) -> frozenset[str]:
        return self.of.benchmarks

    @property
    def with_dividends(self) -> bool:
        return self.of.with_dividends

    def options(self) -> dict[str, object]:
        return self.of.options()


def checked_sessions(sessions: int) -> int:
    """Return a number of sessions that a label may look ahead.

    Raises
    ------
    InputError
        If it is none.

    Examples
    --------
    >>> checked_sessions(5)
    5
    """
    if not 1 <= sessions <= LONGEST:
        raise InputError(f"a target looks 1 to {LONGEST} sessions ahead, not {sessions}")
    return sessions


def marked_between(marked: Mask, first: Rows, stop: Rows) -> Mask:
    """Return whether one of the bars ``first`` … ``stop`` − 1 is marked.

    Examples
    --------
    >>> marked = np.array([False, True, False])
    >>> marked_between(marked, np.array([0, 2]), np.array([2, 3])).tolist()
    [True, False]
    """
    before = np.concatenate([[0], np.cumsum(marked)])
    between: Mask = before[np.maximum(stop, first)] > before[first]
    return between
