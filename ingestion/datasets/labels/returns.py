"""Forward returns, of the price alone or with dividends."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from ingestion.datasets.labels.label import (
    Decisions,
    Doubles,
    DropReason,
    Label,
    Outcome,
    checked_sessions,
)
from ingestion.datasets.series import Series


@dataclass(frozen=True)
class Return(Label):
    """What one share grows to until the close of the n-th session, − 1."""

    sessions: int

    def __post_init__(self) -> None:
        checked_sessions(self.sessions)

    @property
    def ahead(self) -> int:
        return self.sessions

    @abstractmethod
    def growth(self, decisions: Decisions) -> Doubles:
        """Return what becomes of a share at each bar, shape ``(bars,)``: 1 on most."""

    def make(self, decisions: Decisions) -> Outcome:
        series, rows = decisions.series, decisions.rows
        done = rows + self.sessions < decisions.ends
        # Rows without a full window get their own bar's prices, and are dropped.
        left = np.where(done, rows + self.sessions, rows)
        nearest = 2 if decisions.entry == "open" else 1
        shares = _products(series, self.growth(decisions), nearest, self.sessions)[rows]
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            values = series.close[left] * shares / decisions.price - 1
        return decisions.outcome(
            values, left, done, {DropReason.DIVIDEND_CURRENCY: np.isnan(shares)}
        )


@dataclass(frozen=True)
class ForwardReturn(Return):
    """``fwd_return_<n>d``: the return of the price, splits taken out; a fraction.

    close[d + n] × the split ratios between entry and exit / entry price − 1. Dividends are left
    out.

    Examples
    --------
    >>> str(ForwardReturn(5))
    'fwd_return_5d'
    """

    @property
    def name(self) -> str:
        return f"fwd_return_{self.sessions}d"

    def growth(self, decisions: Decisions) -> Doubles:
        return decisions.series.split_ratio


@dataclass(frozen=True)
class TotalReturn(Return):
    """``total_return_<n>d``: the return with dividends, reinvested; a fraction.

    A dividend buys shares at the close of its ex-date. It counts from after the entry to the exit:
    who enters at the open of an ex-date has no right to it. Its amount is per share as traded on
    the ex-date, after a split of that day. Source: CRSP's daily return with dividends (``RET``),
    compounded.

    Examples
    --------
    >>> str(TotalReturn(20))
    'total_return_20d'
    """

    @property
    def name(self) -> str:
        return f"total_return_{self.sessions}d"

    @property
    def with_dividends(self) -> bool:
        return True

    def growth(self, decisions: Decisions) -> Doubles:
        series, dividends = decisions.series, decisions.dividends
        paid = np.flatnonzero(dividends)
        growth = series.split_ratio.copy()
        with np.errstate(divide="ignore", over="ignore"):
            growth[paid] *= 1 + dividends[paid] / series.close[paid]
        return growth


def _products(series: Series, growth: Doubles, nearest: int, farthest: int) -> Doubles:
    """Return, for each bar, the product of what a share becomes so many bars ahead.

    Of the symbol's own bars, from ``nearest`` to ``farthest`` inclusive. Splits and dividends are
    rare, so the work goes from each of them back to the bars that see it; a bar that sees none has
    exactly 1.
    """
    products = np.ones(len(series))
    events = np.flatnonzero(growth != 1)
    with np.errstate(over="ignore", invalid="ignore"):
        for ahead in range(nearest, farthest + 1):
            events = events[events >= ahead]
            events = events[series.codes[events] == series.codes[events - ahead]]
            products[events - ahead] *= growth[events]
    return products
