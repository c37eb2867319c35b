"""How a formula is declared, and the bars that it reads.

A formula is a function of :class:`Bars` that returns one number per bar. It may call other
formulas, and functions under :func:`shared`: whatever several formulas read is computed once.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ingestion.base.instants import DAY
from ingestion.base.loading import FILE_MODULE
from ingestion.catalog.formula import Formula, LookBack, RuleSet
from ingestion.formulas.carry import OtherReads
from ingestion.formulas.windows import Matrix

T = TypeVar("T")
_NEVER = np.iinfo(np.int64).max

NONE_MISSING = 0
"""Stands for "no session is missing before this bar"."""
NO_GAP = np.iinfo(np.int64).max // 2
"""More bars than any formula reads: how many have passed where no session was ever missing."""


class Bars:
    """Bars of some symbols, adjusted for splits: matrices of shape (bars, symbols).

    Row k is the k-th bar of each symbol, whatever its date; the rows behind a symbol's last bar are
    NaN. Prices are in the money of the symbol's first bar, by the product of all split ratios up
    to the bar itself, and volumes in its shares: what happens later cannot reach back.

    Parameters
    ----------
    open, high, low, close, volume
        As traded; shape (bars, symbols), or (bars,) for one symbol.
    split_ratio
        New shares for one old on an ex-date, 1 elsewhere; 1 throughout if it is missing.
    opened, closed
        When each bar opened and closed, Unix seconds, int64; ``opened`` ascends in every column,
        with the largest int64 behind a symbol's last bar. One bar per day if they are missing.
    missing_from
        Open of the first session that is missing before each bar, 0 where none is.
    split_before, gap_before
        Of bars that go on from others, shape (symbols,): ``split`` and ``since_gap`` of the last
        bar before them. Their windows are at hand for what :mod:`~ingestion.formulas.carry` keeps.
    adjusted_by
        The product of the split ratios, if prices and volumes are adjusted by it already.

    Attributes
    ----------
    open, high, low, close, volume : Matrix
        Adjusted, float64. They cannot be written to.
    split : Matrix
        The product of the split ratios.
    lengths : NDArray of int64
        Shape (symbols,): how many bars each symbol has.
    since_gap : NDArray of int64
        How many bars have passed since the last one before which a session is missing; None where
        none is missing anywhere.

    Examples
    --------
    >>> bars = Bars(open=[8, 10, 6], high=[9, 12, 6], low=[8, 10, 5], close=[9, 12, 5],
    ...             volume=[100, 100, 200], split_ratio=[1, 1, 2])
    >>> bars.close.T
    array([[ 9., 12., 10.]])
    >>> bars.volume.T
    array([[100., 100., 100.]])
    """

    def __init__(
        self,
        *,
        open: ArrayLike,
        high: ArrayLike,
        low: ArrayLike,
        close: ArrayLike,
        volume: ArrayLike,
        split_ratio: ArrayLike | None = None,
        opened: NDArray[np.int64] | None = None,
        closed: NDArray[np.int64] | None = None,
        missing_from: NDArray[np.int64] | None = None,
        split_before: NDArray[np.float64] | None = None,
        gap_before: NDArray[np.int64] | None = None,
        adjusted_by: Matrix | None = None,
    ) -> None:
        series = [_matrix(each) for each in (open, high, low, close, volume)]
        shape = series[0].shape
        self._goes_on = split_before is not None
        if adjusted_by is None:
            ratios = np.ones(shape) if split_ratio is None else _matrix(split_ratio)
            before = np.ones(shape[1]) if split_before is None else split_before
            adjusted_by = np.cumprod(np.concatenate([before[None], ratios]), axis=0)[1:]
            # Prices near the limits of a double overflow; what comes of it is undefined.
            with np.errstate(over="ignore", invalid="ignore"):
                series = [*(price * adjusted_by for price in series[:4]), series[4] / adjusted_by]
        self.split = _locked(adjusted_by)
        self.open, self.high, self.low, self.close, self.volume = map(_locked, series)
        days = np.arange(shape[0], dtype=np.int64)[:, None] * DAY
        self.opened = np.broadcast_to(days, shape) if opened is None else opened
        self.closed = self.opened + DAY if closed is None else closed
        self.missing_from = missing_from
        self.since_gap = bars_since_gap(missing_from, gap_before)
        self.lengths = (~np.isnan(self.close)).sum(axis=0)
        self._results: dict[Callable[[Bars], Any], Any] = {}

    def once(self, function: Callable[[Bars], T]) -> T:
        """Return what a function makes of these bars; it is called once."""
        if function not in self._results:
            self._results[function] = _locked(function(self))
        result: T = self._results[function]
        return result

    def windows(
        self,
        columns: NDArray[np.int64],
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
    ) -> Bars:
        """Return windows of these bars as the bars of so many symbols, adjusted as they are here.

        Parameters
        ----------
        columns, starts, ends
            Shape (windows,): symbol, first row and last row of each.
        """
        rows = starts + np.arange(int((ends - starts).max()) + 1, dtype=np.int64)[:, None]
        is_inside = rows <= ends
        rows = np.minimum(rows, ends)

        def cut(values: NDArray[Any], behind: float) -> NDArray[Any]:
            return np.where(is_inside, values[rows, columns], np.asarray(behind, values.dtype))

        series = (self.open, self.high, self.low, self.close, self.volume)
        names = ("open", "high", "low", "close", "volume")
        return Bars(
            **{name: cut(each, np.nan) for name, each in zip(names, series, strict=True)},
            opened=cut(self.opened, _NEVER),
            closed=cut(self.closed, 0),
            adjusted_by=cut(self.split, np.nan),
        )

    def reference(self, window: timedelta, *, of_open: bool = False) -> NDArray[np.int64]:
        """Return the row of the last bar that opened longer than ``window`` before each bar closed.

        A symbol younger than that has its first bar for reference.

        Parameters
        ----------
        of_open
            Count from each bar's open, and take a bar that opened exactly so long before it.

        Returns
        -------
        NDArray of int64
            Shape (bars, symbols); -1 where it would be the bar itself or a later one, and where it
            would be a session that is missing.

        Examples
        --------
        >>> bars = Bars(**dict.fromkeys(("open", "high", "low", "close", "volume"), [1.0] * 5))
        >>> bars.reference(timedelta(days=3)).T
        array([[-1,  0,  0,  0,  1]])
        """
        if self._goes_on:
            raise OtherReads
        since = (self.opened if of_open else self.closed) - int(window.total_seconds())
        rows = np.empty(self.opened.shape, dtype=np.int64)
        opened, wanted = np.ascontiguousarray(self.opened.T), np.ascontiguousarray(since.T)
        # Most symbols of a block have bars of the same times, which are looked for once.
        is_same = (opened == opened[:1]).all(axis=1) & (wanted == wanted[:1]).all(axis=1)
        side: Literal["left", "right"] = "right" if of_open else "left"
        if len(opened):
            rows[:, is_same] = np.searchsorted(opened[0], wanted[0], side=side)[:, None]
        for column in np.flatnonzero(~is_same).tolist():
            rows[:, column] = np.searchsorted(opened[column], wanted[column], side=side)
        rows = np.maximum(rows - 1, 0)
        own = np.arange(len(rows), dtype=np.int64)[:, None]
        unusable = rows >= own
        if self.missing_from is not None:
            following = np.minimum(rows + 1, len(rows) - 1)
            missing = np.take_along_axis(self.missing_from, following, axis=0)
            unusable |= (missing != NONE_MISSING) & (missing < since)
        return np.where(unusable, -1, rows)


def bars_since_gap(
    missing_from: NDArray[np.int64] | None, before: NDArray[np.int64] | None = None
) -> NDArray[np.int64] | None:
    """Return how many bars have passed since the last one before which a session is missing.

    Parameters
    ----------
    missing_from
        Shape (bars, symbols); 0 where no session is missing before the bar. None if none is.
    before
        Shape (symbols,): what this returned of the bar before the first; None if there is none.

    Returns
    -------
    NDArray of int64
        Shape (bars, symbols): 0 on such a bar; where there was none, more than any feature reads.
        None if there is none at all.

    Examples
    --------
    >>> bars_since_gap(np.array([[0], [77], [0], [0]]))[1:].T
    array([[0, 1, 2]])
    >>> bars_since_gap(np.array([[0], [0], [77]]), np.array([4])).T
    array([[5, 6, 0]])
    """
    if missing_from is None:
        return None
    row = np.arange(len(missing_from), dtype=np.int64)[:, None]
    last = np.where(missing_from != NONE_MISSING, row, -NO_GAP)
    if before is not None:
        last[:1] = np.maximum(last[:1], -1 - np.minimum(before, NO_GAP - 1))
    return row - np.maximum.accumulate(last, axis=0)


@dataclass(frozen=True)
class BarFormula(Formula):
    """A formula with the function that computes it.

    Call it with :class:`Bars` for its values: a matrix of shape (bars, symbols), NaN or infinite
    where it is undefined. Where the unit is money they are adjusted, as the prices are.
    """

    function: Callable[[Bars], Matrix] = field(kw_only=True)

    def __call__(self, bars: Bars) -> Matrix:
        """Return its values; they are computed once for the same bars, and cannot be written to."""
        return bars.once(self.function)

    @property
    def place(self) -> str:
        """Where it is declared: ``PATH, line N``."""
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return f"{code.co_filename}, line {code.co_firstlineno}" if code else repr(self.function)

    @property
    def description(self) -> str:
        """Where its function is, and what the docstring says of formula and source."""
        function = self.function
        name = getattr(function, "__qualname__", repr(function))
        is_of_project = function.__module__.startswith(FILE_MODULE)
        where = f"{name} in {self.place}" if is_of_project else f"{function.__module__}.{name}"
        prose = inspect.getdoc(function) or self.meaning
        for section in ("\nParameters\n", "\nReturns\n", "\nExamples\n"):
            prose = prose.partition(section)[0]
        rules = f" By {self.rules}." if self.rules else ""
        return f"{where}: {' '.join(prose.split())}{rules}"


def formula(
    name: str,
    meaning: str,
    *,
    look_back: LookBack,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    recursive: bool = False,
    warm_up: int | None = None,
    scanned: bool = False,
    max_beyond_share: float | None = None,
    rules: RuleSet | None = None,
) -> Callable[[Callable[[Bars], Matrix]], BarFormula]:
    """Declare the function below as a formula.

    The parameters are the attributes of :class:`~ingestion.catalog.formula.Formula`. The function's
    docstring says where the formula comes from.

    Raises
    ------
    InputError
        If the declaration contradicts itself.

    Examples
    --------
    >>> @formula("range", "high − low", unit="price", low=0, look_back=0)
    ... def day_range(bars):
    ...     \"\"\"Return the bar's range, in the money of its day.\"\"\"
    ...     return bars.high - bars.low
    >>> day_range.name, day_range.look_back
    ('range', 0)
    >>> day_range(Bars(open=[1, 2], high=[4, 3], low=[1, 2], close=[3, 2], volume=[5, 5])).T
    array([[3., 1.]])
    """

    def declare(function: Callable[[Bars], Matrix]) -> BarFormula:
        return BarFormula(
            name,
            meaning,
            look_back,
            unit,
            low,
            high,
            recursive,
            warm_up,
            scanned,
            max_beyond_share,
            rules,
            function=function,
        )

    return declare


def shared(function: Callable[[Bars], T]) -> Callable[[Bars], T]:
    """Let what several formulas read be computed once for the same bars.

    Examples
    --------
    >>> @shared
    ... def typical_price(bars):
    ...     return (bars.high + bars.low + bars.close) / 3
    >>> bars = Bars(open=[1, 2], high=[4, 3], low=[1, 2], close=[4, 2.5], volume=[5, 5])
    >>> typical_price(bars) is typical_price(bars)
    True
    """

    @functools.wraps(function)
    def once(bars: Bars) -> T:
        return bars.once(function)

    return once


def _matrix(values: ArrayLike) -> Matrix:
    matrix = np.asarray(values, dtype=np.float64)
    return matrix[:, None] if matrix.ndim == 1 else matrix


def _locked(result: T) -> T:
    """Make arrays read-only: several formulas read them."""
    if isinstance(result, np.ndarray):
        result.setflags(write=False)
    elif isinstance(result, tuple | list):
        for each in result:
            _locked(each)
    elif isinstance(result, dict):
        for each in result.values():
            _locked(each)
    return result
