"""Computing new bars from what the bars before left, to the same bits as from all bars.

Three kinds of formulas, by what they declare (:func:`how`):

- one that reads a number of bars, or a time, is computed on that window and the new bars;
- a recursion goes on from what its moving windows and averages had
  (:mod:`~ingestion.formulas.carry`), on the new bars alone; and so does a formula of the project
  that reads a number of bars, for it is built from the same functions;
- one with ``look_back="all"`` is computed from all bars of its symbols.

:func:`begin` computes symbols' first bars, which may be all there are, and returns with the values
what is kept of them; :func:`go_on` computes further bars from that. A formula's function is the
same in both, and so is the order of its operations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.base.instants import DAY
from ingestion.formulas.carry import IN_FORCE, Carry, Matrix, OtherReads, last_rows
from ingestion.formulas.declaration import NO_GAP, NONE_MISSING, BarFormula, Bars
from ingestion.formulas.evaluation import evaluate
from ingestion.formulas.mark import definition_marks
from ingestion.formulas.panel import Block, read_panel
from ingestion.formulas.trial_bars import made_bars

SERIES = ("open", "high", "low", "close", "volume", "split")
TIMES = ("opened", "closed", "missing_from")
_NEVER, _ABSENT = np.iinfo(np.int64).max, np.iinfo(np.int64).min
_MORE_THAN_DAILY = 4
"""Bars beyond one a day that are kept for formulas that follow the clock."""


class How(StrEnum):
    """How a formula's values of new bars are computed."""

    WINDOW = "from its window"
    CARRIED = "goes on"
    WHOLE = "from all bars"


def how(formula: BarFormula) -> How:
    """Return how a formula is computed, by what it declares.

    Examples
    --------
    >>> from ingestion.formulas import SHIPPED
    >>> how(SHIPPED["AO"]), how(SHIPPED["RSI"])
    (<How.WINDOW: 'from its window'>, <How.CARRIED: 'goes on'>)
    """
    if formula.look_back == "all":
        return How.WHOLE
    return How.CARRIED if formula.recursive else How.WINDOW


class Kept:
    """What is kept of some symbols; which rows stand for what, the :class:`Plan` knows.

    Attributes
    ----------
    numbers, times
        Of float64 and of int64, with a column per symbol.
    sizes
        How many rows each call of the recursions has left in ``numbers``.
    """

    def __init__(
        self, numbers: Matrix, times: NDArray[np.int64], sizes: Iterable[int] = ()
    ) -> None:
        self.numbers, self.times, self.sizes = numbers, times, tuple(sizes)

    def take(self, columns: NDArray[np.intp]) -> Kept:
        """Return what is kept of some of the symbols."""
        if np.array_equal(columns, np.arange(self.times.shape[1])):
            return self
        return Kept(self.numbers[:, columns], self.times[:, columns], self.sizes)

    @staticmethod
    def beside(several: Sequence[Kept]) -> Kept:
        """Return what is kept of the symbols of several, in that order; made by one plan."""
        numbers = np.concatenate([each.numbers for each in several], axis=1)
        times = np.concatenate([each.times for each in several], axis=1)
        return Kept(numbers, times, several[0].sizes)


@dataclass(frozen=True)
class Plan:
    """How some formulas are computed, and how what is kept for them is laid out."""

    formulas: tuple[BarFormula, ...]
    others: Mapping[str, How] = field(default_factory=dict)
    """By name, how those are computed that are not computed by what they declare."""

    def _of(self, kind: How) -> list[BarFormula]:
        return [each for each in self.formulas if self.others.get(each.name, how(each)) is kind]

    @cached_property
    def carried(self) -> list[BarFormula]:
        """The recursions."""
        return self._of(How.CARRIED)

    @cached_property
    def windowed(self) -> list[BarFormula]:
        """Those that are computed on a window."""
        return self._of(How.WINDOW)

    @cached_property
    def from_all_bars(self) -> list[BarFormula]:
        """Those that cannot go on."""
        return self._of(How.WHOLE)

    @cached_property
    def clock(self) -> int:
        """The longest time that a formula looks back, seconds."""
        backs = (each.look_back for each in self.windowed)
        return max((int(b.total_seconds()) for b in backs if isinstance(b, timedelta)), default=0)

    @cached_property
    def window(self) -> int:
        """How many bars are kept; at least one, for its times."""
        bars = (each.look_back for each in self.windowed if isinstance(each.look_back, int))
        by_clock = -(-self.clock // DAY) + _MORE_THAN_DAILY if self.clock else 1
        return max(by_clock, *bars, 1)

    def begin(self, bars: Bars) -> tuple[dict[str, Matrix], Kept]:
        """Compute symbols' first bars.

        Returns
        -------
        dict of str to Matrix
            By formula its values, of shape (bars, symbols).
        Kept
            What :meth:`go_on` needs for their next bars.
        """
        lengths = bars.lengths
        carry = Carry(lengths)
        values = self._with(carry, bars)
        values |= evaluate(bars, [*self.windowed, *self.from_all_bars])
        return values, self._keep(None, bars, carry, values)

    def go_on(self, kept: Kept, bars: Bars) -> tuple[dict[str, Matrix], Kept]:
        """Compute further bars.

        Parameters
        ----------
        kept
            Of the same symbols; see :meth:`begin`.
        bars
            Made with :meth:`before`.

        Raises
        ------
        OtherReads
            If a formula reads otherwise than it did before: compute these symbols from all bars.
        """
        if self.from_all_bars:
            raise OtherReads
        carry = Carry(bars.lengths, self._slots(kept))
        values = self._with(carry, bars)
        if tuple(map(len, carry.after)) != kept.sizes:
            raise OtherReads
        window, before = self._window(kept, bars)
        at = np.minimum(before + np.arange(len(bars.close))[:, None], len(window.close) - 1)
        for name, matrix in evaluate(window, self.windowed):
            values[name] = np.take_along_axis(matrix, at, axis=0)
        return values, self._keep(kept, bars, carry, values)

    def in_order(self, values: Mapping[str, Matrix]) -> dict[str, Matrix]:
        """Return values by name in the order of the formulas."""
        return {each.name: values[each.name] for each in self.formulas}

    @cached_property
    def marks(self) -> dict[str, str]:
        """Texts that are others if something else is computed, to the bit, or kept.

        By formula, as :func:`~ingestion.formulas.mark.definition_marks`; what is kept is beside
        them, under the empty name.
        """
        _, kept = self.begin(made_bars(self.window + 40, 3))
        digest = hashlib.sha256(kept.numbers.tobytes())
        digest.update(kept.times.tobytes())
        digest.update(repr((kept.sizes, sorted(self.others.items()), np.__version__)).encode())
        return definition_marks(self.formulas, to_the_bit=True) | {"": digest.hexdigest()}

    def before(self, kept: Kept) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
        """Return what :class:`Bars` must know of the bars before theirs."""
        return {
            "split_before": self._series(kept)["split"][-1],
            "gap_before": kept.times[-1],
        }

    def last(self, kept: Kept, name: str) -> NDArray[np.int64]:
        """Return when each symbol's last bar ``opened`` or ``closed``, Unix s."""
        last: NDArray[np.int64] = self._times(kept)[name][-1]
        return last

    def last_values(self, kept: Kept) -> dict[str, NDArray[np.float64]]:
        """Return by formula the value of each symbol's last bar."""
        first = len(SERIES) * self.window + sum(kept.sizes)
        return {each.name: kept.numbers[first + at] for at, each in enumerate(self.formulas)}

    def is_enough(self, kept: Kept) -> NDArray[np.bool_]:
        """Return of which symbols the next bars can be computed.

        Not where more bars than are kept are younger than a formula looks back by the clock.
        """
        times = self._times(kept)
        oldest, newest = times["opened"][0], times["closed"][-1]
        reaches = (oldest < newest - self.clock) | (oldest == _ABSENT) | (self.clock == 0)
        return np.asarray(reaches, dtype=np.bool_)

    def _with(self, carry: Carry, bars: Bars) -> dict[str, Matrix]:
        """Compute the recursions; first of all, so that their calls have one order."""
        token = IN_FORCE.set(carry)
        try:
            return dict(evaluate(bars, self.carried))
        finally:
            IN_FORCE.reset(token)

    def _keep(
        self, kept: Kept | None, bars: Bars, carry: Carry, values: Mapping[str, Matrix]
    ) -> Kept:
        numbers, times, lengths = [], [], bars.lengths
        series = None if kept is None else self._series(kept)
        for name in SERIES:
            before = None if series is None else series[name]
            numbers.append(last_rows(before, getattr(bars, name), lengths, self.window))
        instants = None if kept is None else self._times(kept)
        for name in TIMES:
            x = getattr(bars, name)
            x = np.full(bars.close.shape, NONE_MISSING) if x is None else x
            before_ = None if instants is None else instants[name]
            times.append(last_rows(before_, x, lengths, self.window, _ABSENT))
        since = np.full(bars.close.shape[1], NO_GAP) if kept is None else kept.times[-1]
        if bars.since_gap is not None:
            at = np.maximum(lengths - 1, 0)[None]
            last = np.take_along_axis(bars.since_gap, at, axis=0)[0]
            since = np.where(lengths > 0, last, since)
        shown = {} if kept is None else self.last_values(kept)
        last_values = [
            last_rows(shown[name][None] if shown else None, matrix, lengths, 1)
            for name, matrix in self.in_order(values).items()
        ]
        return Kept(
            np.concatenate([*numbers, *carry.after, *last_values]),
            np.concatenate([*times, since[None]]),
            map(len, carry.after),
        )

    def _series(self, kept: Kept) -> dict[str, Matrix]:
        return {
            name: kept.numbers[at * self.window : (at + 1) * self.window]
            for at, name in enumerate(SERIES)
        }

    def _times(self, kept: Kept) -> dict[str, NDArray[np.int64]]:
        return {
            name: kept.times[at * self.window : (at + 1) * self.window]
            for at, name in enumerate(TIMES)
        }

    def _slots(self, kept: Kept) -> list[Matrix]:
        first = len(SERIES) * self.window
        bounds = first + np.cumsum([0, *kept.sizes])
        return [kept.numbers[start:end] for start, end in pairwise(bounds.tolist())]

    def _window(self, kept: Kept, bars: Bars) -> tuple[Bars, NDArray[np.int64]]:
        """Return the kept bars and the new ones, and how many of each symbol are kept."""
        series, times = self._series(kept), self._times(kept)
        before = (times["opened"] != _ABSENT).sum(axis=0)
        rows = int((before + bars.lengths).max())
        at = self.window - before + np.arange(rows)[:, None]
        is_there = at < self.window + bars.lengths
        at = np.minimum(at, self.window + len(bars.close) - 1)

        is_even = bool(is_there.all() and (at == at[:, :1]).all())

        def cut(old: NDArray[Any], new: NDArray[Any], behind: float) -> NDArray[Any]:
            wide = np.concatenate([old, new])
            if is_even:  # as on a new day of a whole market
                return wide[at[0, 0] : at[-1, 0] + 1]
            wide = np.take_along_axis(wide, at, axis=0)
            return np.where(is_there, wide, np.asarray(behind, wide.dtype))

        missing = bars.missing_from
        missing = np.full(bars.close.shape, NONE_MISSING) if missing is None else missing
        missing = cut(times["missing_from"], missing, NONE_MISSING)
        window = Bars(
            **{name: cut(series[name], getattr(bars, name), np.nan) for name in SERIES[:-1]},
            opened=cut(times["opened"], bars.opened, _NEVER),
            closed=cut(times["closed"], bars.closed, 0),
            missing_from=missing if missing.any() else None,
            adjusted_by=cut(series["split"], bars.split, np.nan),
        )
        return window, before


def begin_blocks(
    bars: pa.Table, plan: Plan, keep: Callable[[pa.StringArray, Kept], object]
) -> Iterator[Block]:
    """Compute formulas for a table of symbols' first bars, some symbols at a time.

    Parameters
    ----------
    bars
        As for :func:`ingestion.formulas.compute`. Those that come by date are not moved before they
        become matrices.
    keep
        Is given what is kept, and of which symbols, in order.

    Examples
    --------
    >>> from ingestion.formulas import SHIPPED
    >>> prices = dict.fromkeys(("open", "high", "low", "close"), [8.0, 10.0])
    >>> bars = pa.table({"timestamp": [0, 86_400], "symbol": ["X:A", "X:A"], **prices,
    ...                  "volume": [100.0, 100.0]})
    >>> plan, kept = Plan((SHIPPED["returns_1d"],)), []
    >>> (block,) = begin_blocks(bars, plan, lambda symbols, of_them: kept.append(of_them))
    >>> block.values["returns_1d"].T
    array([[ nan, 0.25]])
    >>> plan.last(kept[0], "opened")
    array([86400])
    """
    panel = read_panel(bars)
    if not panel.size:
        none = np.empty((0, 0))
        yield Block(none.astype(np.intp), {each.name: none for each in plan.formulas})
    for block in panel.blocks():
        values, kept = plan.begin(block.bars)
        keep(block.symbols, kept)
        yield Block(block.at, plan.in_order(values))


def go_on_block(bars: pa.Table, plan: Plan, kept: Kept) -> tuple[Block, Kept]:
    """Compute formulas for a table of further bars; returns what is kept of its symbols then, too.

    Parameters
    ----------
    kept
        Of the table's symbols, in order.

    Raises
    ------
    OtherReads
        As :meth:`Plan.go_on`.

    Examples
    --------
    >>> from ingestion.formulas import SHIPPED
    >>> def bars(when, price):
    ...     prices = dict.fromkeys(("open", "high", "low", "close"), [price])
    ...     return pa.table({"timestamp": [when], "symbol": ["X:A"], **prices, "volume": [1.0]})
    >>> plan, kept = Plan((SHIPPED["returns_1d"],)), []
    >>> _ = [*begin_blocks(bars(0, 8.0), plan, lambda symbols, of_them: kept.append(of_them))]
    >>> go_on_block(bars(86_400, 10.0), plan, kept[0])[0].values["returns_1d"]
    array([[0.25]])
    """
    panel = read_panel(bars)
    (block,) = panel.blocks(plan.before(kept))
    values, kept = plan.go_on(kept, block.bars)
    return Block(block.at, plan.in_order(values)), kept
