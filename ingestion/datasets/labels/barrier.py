"""The triple barrier: which is touched first, profit, loss or time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from ingestion.base.errors import InputError
from ingestion.datasets.labels.label import (
    Decisions,
    Doubles,
    DropReason,
    Label,
    Mask,
    Outcome,
    Rows,
    checked_sessions,
    marked_between,
)
from ingestion.datasets.labels.scaled import VOLATILITY_BARS, checked_bars, volatility

Both: TypeAlias = Literal["loss", "profit"]
"""What a bar that touches both barriers counts as: daily bars do not show which was first."""

_TOLERANCE = 1e-9
"""Of the entry price: 90 / 100 − 1 is a little above −0.1."""

_WIDTH = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(%|sd)")


class Width(NamedTuple):
    """How far a barrier is from the entry price."""

    size: float
    unit: Literal["%", "sd"]
    """Percent of the entry price, or standard deviations of one session's return."""

    @classmethod
    def of(cls, text: str) -> Width:
        """Read a width as ``5%`` or ``2sd``.

        Raises
        ------
        InputError
            If it is none.

        Examples
        --------
        >>> Width.of("2.5sd")
        Width(size=2.5, unit='sd')
        """
        found = _WIDTH.fullmatch(text)
        if found is None or not 0 < float(found[1]) < float("inf"):
            raise InputError(
                f'"{text}" is no width of a barrier: give percent of the entry price (5%), or '
                "standard deviations of a session's return (2sd)"
            )
        return cls(float(found[1]), "%" if found[2] == "%" else "sd")

    def __str__(self) -> str:
        """Return it as :meth:`of` reads it."""
        return f"{self.size!r}{self.unit}".replace(f".0{self.unit}", self.unit)


class Touch(NamedTuple):
    """How positions ended; arrays of shape ``(n,)``."""

    classes: Rows
    """1 profit, −1 loss, 0 time or none yet."""
    returns: Doubles
    left: Rows
    """The bar in which it ended; the decision's own where it has not."""
    done: Mask
    missing: Mask
    """Where the volatility is missing that the barriers are measured in."""


@dataclass(frozen=True)
class Barrier(Label):
    """``barrier_<n>d``: 1 if the profit barrier is touched first, −1 the loss barrier, 0 neither.

    Barriers are at entry price × (1 + profit) and × (1 − loss), splits taken out, and are watched
    on the high and low of the n bars after the decision; at the close of the n-th, time is up.
    ``int64``. Source: M. López de Prado, Advances in Financial Machine Learning (2018), section
    3.4, who watches closes; class 0 at the vertical barrier is his alternative of exercise 3.3.

    - A bar that opens beyond a barrier fills at its open, except where the open is the entry.
    - A bar that touches both counts as a loss; as a profit only if ``both`` says so.
    - The label ends at the close of the bar that touches: daily bars do not show the instant.
    - What touches a barrier to within 1e-9 of the entry price touches it.
    - A window that is not over yet has no label though a barrier was touched: else the newest
      labels would be those of early touches alone. A symbol that has ended since keeps its label.

    Examples
    --------
    >>> str(Barrier(10, profit=Width(2, "sd"), loss=Width(5, "%")))
    'barrier_10d,profit=2sd,loss=5%,volatility=20'
    """

    sessions: int
    profit: Width | None = None
    loss: Width | None = None
    both: Both = "loss"
    bars: int = VOLATILITY_BARS
    """Returns of the volatility that ``sd`` is in units of."""

    needs: ClassVar[tuple[str, ...]] = ("high", "low")

    def __post_init__(self) -> None:
        checked_sessions(self.sessions)
        checked_bars(self.bars)
        if self.profit is None and self.loss is None:
            raise InputError(f"{self.name} has no barrier: give profit=5% or loss=2sd, or both")
        if self.both not in get_args(Both):
            raise InputError(
                f'{self.name}: both="{self.both}"; a bar that touches both counts as "loss" or '
                '"profit"'
            )

    @property
    def name(self) -> str:
        return f"barrier_{self.sessions}d"

    @property
    def ahead(self) -> int:
        return self.sessions

    @property
    def back(self) -> int:
        return self.bars if self._in_deviations else 0

    @property
    def _in_deviations(self) -> bool:
        return any(each.unit == "sd" for each in (self.profit, self.loss) if each is not None)

    def options(self) -> dict[str, object]:
        found: dict[str, object] = {"profit": self.profit, "loss": self.loss}
        found = {name: width for name, width in found.items() if width is not None}
        if self.both != "loss":
            found["both"] = self.both
        if self._in_deviations:
            found["volatility"] = self.bars
        return found

    def make(self, decisions: Decisions) -> Outcome:
        touch = self.touch(decisions)
        values = np.where(np.isfinite(touch.returns), touch.classes, 0)
        outcome = decisions.outcome(values, touch.left, touch.done)
        return self._judged(outcome, touch)

    def _judged(self, outcome: Outcome, touch: Touch) -> Outcome:
        problems = dict(outcome.problems) | {DropReason.NO_VOLATILITY: touch.missing}
        problems[DropReason.NO_FINITE_RETURN] = problems[DropReason.NO_FINITE_RETURN] | (
            ~touch.missing & ~np.isfinite(touch.returns)
        )
        return Outcome(outcome.values, outcome.ends, problems)

    def touch(self, decisions: Decisions) -> Touch:
        """Follow each position from bar to bar until it ends."""
        series, rows, size = decisions.series, decisions.rows, len(decisions.rows)
        missing = np.zeros(size, dtype=bool)
        deviation = np.ones(size)
        if self._in_deviations:
            deviation, missing = volatility(decisions, self.bars)
        up, down = (
            np.full(size, np.inf)
            if width is None
            else width.size * deviation
            if width.unit == "sd"
            else np.full(size, width.size / 100)
            for width in (self.profit, self.loss)
        )
        classes, left = np.zeros(size, dtype=np.int64), rows.copy()
        returns, done = np.zeros(size), np.zeros(size, dtype=bool)
        # Those whose position is open, and what one share has become of by splits.
        held, shares = np.flatnonzero((decisions.price > 0) & ~missing), np.ones(size)
        for ahead in range(1, self.sessions + 1):
            held = held[rows[held] + ahead < decisions.ends[held]]
            bar = rows[held] + ahead
            at_open = decisions.entry == "open" and ahead == 1
            with np.errstate(over="ignore", invalid="ignore"):
                if not at_open:
                    shares[held] *= series.split_ratio[bar]
                open_, high, low, close = (
                    prices[bar] * shares[held] / decisions.price[held] - 1
                    for prices in (series.open, series.high, series.low, series.close)
                )
            above, below = up[held], -down[held]
            highest, lowest = above - _TOLERANCE, below + _TOLERANCE
            gain, fall = high >= highest, low <= lowest
            if not at_open:
                # What opens beyond a barrier is filled there, and has touched that one first.
                gain, fall = gain & (open_ > lowest), fall & (open_ < highest)
                above, below = np.maximum(above, open_), np.minimum(below, open_)
            first = fall if self.both == "loss" else fall & ~gain
            sign = np.where(first, -1, np.where(gain, 1, 0))
            ended = gain | fall | (ahead == self.sessions)
            exit_ = np.where(sign > 0, above, np.where(sign < 0, below, close))
            over = held[ended]
            classes[over], returns[over] = sign[ended], exit_[ended]
            left[over], done[over] = bar[ended], True
            held = held[~ended]
        full = rows + self.sessions < decisions.ends
        done &= full | marked_between(decisions.long_gaps, rows, decisions.ends)
        nothing = full & (missing | (decisions.price <= 0))
        left[nothing], done[nothing] = rows[nothing] + self.sessions, True
        return Touch(classes, returns, left, done, missing)


@dataclass(frozen=True)
class BarrierReturn(Barrier):
    """``barrier_return_<n>d``: the return with which a position of :class:`Barrier` ends.

    The barrier that was touched, the open that was beyond it, or the close of the n-th session; a
    fraction. Its sign is the class of López de Prado's snippet 3.5.

    Examples
    --------
    >>> str(BarrierReturn(10, loss=Width.of("5%")))
    'barrier_return_10d,loss=5%'
    """

    @property
    def name(self) -> str:
        return f"barrier_return_{self.sessions}d"

    def make(self, decisions: Decisions) -> Outcome:
        touch = self.touch(decisions)
        return self._judged(decisions.outcome(touch.returns, touch.left, touch.done), touch)
