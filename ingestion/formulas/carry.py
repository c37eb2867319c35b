"""What moving windows and recursions reach back into, carried from one bar to the next.

A formula that is built from the functions of :mod:`~ingestion.formulas.windows` goes on from any
bar: each of them asks the :class:`Carry` that is in force for the rows before its first one, and
leaves there what the next bars will ask for. The formula does not know, and is written once.

The calls of a computation are known by their order, which the formulas alone decide. Several
that read the same array share its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


class OtherReads(Exception):
    """A formula reads otherwise than it did on the bars before, and cannot go on from them."""


class Carry:
    """What is carried through one computation on some symbols' next bars.

    Parameters
    ----------
    lengths
        Shape (symbols,): of how many bars of each the computation is.
    kept
        What the computation on the bars before left in :attr:`after`; None if these are the
        symbols' first bars.
    """

    def __init__(self, lengths: NDArray[np.int64], kept: Sequence[Matrix] | None = None) -> None:
        self.after: list[Matrix] = []
        """By call, shape (any, symbols): what the next bars will ask for."""
        self.lengths, self._kept = lengths, kept
        self._known: dict[int, tuple[ref[Matrix], int]] = {}

    @property
    def is_first(self) -> bool:
        """Whether the computation begins with the symbols' first bars."""
        return self._kept is None

    def before(self) -> Matrix | None:
        """Return what the next call left on the bars before; None if there are none."""
        if self._kept is None:
            return None
        if len(self.after) >= len(self._kept):
            raise OtherReads
        return self._kept[len(self.after)]

    def wide(self, x: Matrix, reach: int) -> Matrix:
        """Return a series with the ``reach`` rows before its first; NaN where there was no bar.

        Of the symbols' first bars, the series itself.
        """
        kept = self.keep(x, reach)
        return x if kept is None else np.concatenate([kept, x])

    def keep(self, x: Matrix, reach: int) -> Matrix | None:
        """Keep the last rows of a series; returns those that were kept of the bars before."""
        if reach <= 0:
            return None
        known, at = self._known.get(id(x), (None, -1))
        if known is None or known() is not x:
            at = len(self.after)
            self._known[id(x)] = ref(x), at
            self.after.append(x[:0])
        kept = None
        if self._kept is not None:
            if at >= len(self._kept) or len(self._kept[at]) < reach:
                raise OtherReads
            kept = self._kept[at]
        if len(self.after[at]) < reach:
            self.after[at] = last_rows(kept, x, self.lengths, reach)
        return None if kept is None else kept[len(kept) - reach :]

    def last(self, x: Matrix, default: Matrix) -> Matrix:
        """Return each symbol's last row of a series, shape (symbols,); a default without bars."""
        at = np.maximum(self.lengths - 1, 0)[None]
        return np.where(self.lengths > 0, np.take_along_axis(x, at, axis=0)[0], default)


IN_FORCE: ContextVar[Carry | None] = ContextVar("carry", default=None)
"""The carry that the functions of ``windows`` ask; None where all bars are at hand."""


def last_rows(
    before: NDArray[Any] | None,
    x: NDArray[Any],
    lengths: NDArray[np.int64],
    rows: int,
    absent: float = np.nan,
) -> NDArray[Any]:
    """Return the last rows of series that go on: shape (rows, symbols), in their type.

    Parameters
    ----------
    before
        Rows before the first of ``x``; None if there are none.
    lengths
        How many rows of each column of ``x`` count.
    absent
        What stands where a series has no such row.

    Examples
    --------
    >>> x = np.array([[1.0, 5.0], [2.0, np.nan]])
    >>> last_rows(np.array([[7.0, 8.0]]), x, np.array([2, 1]), 3)
    array([[ 7., nan],
           [ 1.,  8.],
           [ 2.,  5.]])
    """
    have = 0 if before is None else len(before)
    length = int(lengths.max(initial=0))
    if have + length >= rows and (lengths == length).all():  # as on a new day of a whole market
        parts = [x[max(length - rows, 0) : length]]
        if before is not None and length < rows:
            parts.insert(0, before[have + length - rows :])
        return np.concatenate(parts)
    at = lengths + (have - rows) + np.arange(rows)[:, None]
    if before is not None:
        x = np.concatenate([before, x])
    taken = np.take_along_axis(x, np.maximum(at, 0), axis=0)
    return np.where(at < 0, np.asarray(absent, x.dtype), taken)
