"""By how much a return is above a benchmark's of the same span."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow.compute as pc

from ingestion.base.arrow import text
from ingestion.base.errors import InputError
from ingestion.datasets.labels.label import (
    Decisions,
    Doubles,
    DropReason,
    Mask,
    OfAnother,
    Outcome,
    Rows,
    marked_between,
)
from ingestion.datasets.labels.returns import Return


@dataclass(frozen=True)
class Excess(OfAnother):
    """``excess_<return>``: a return − the benchmark's; a fraction.

    The benchmark is entered and left at the same instants, by its own bars: one that opens with the
    entry's bar (or closes with the decision's) and one that closes with the exit's. Without these
    two, or with a bar missing between them, there is no label. So a benchmark keeps the hours of
    the symbol's exchange.

    Examples
    --------
    >>> from ingestion.datasets.labels.returns import ForwardReturn
    >>> str(Excess(ForwardReturn(5), benchmark="AMEX:SPY"))
    'excess_fwd_return_5d,benchmark=AMEX:SPY'
    """

    of: Return
    benchmark: str

    prefix: ClassVar[str] = "excess"

    def __post_init__(self) -> None:
        if not isinstance(self.of, Return):
            raise InputError(f"{self.name}: the excess is that of a return")

    @property
    def benchmarks(self) -> frozenset[str]:
        return frozenset([self.benchmark])

    def options(self) -> dict[str, object]:
        return {"benchmark": self.benchmark}

    def make(self, decisions: Decisions) -> Outcome:
        outcome = self.of.make(decisions)
        found, own, unknown = self._of_benchmark(decisions, outcome.ends)
        with np.errstate(over="ignore", invalid="ignore"):
            values = outcome.values - own
        problems = dict(outcome.problems)
        problems[DropReason.BENCHMARK_MISSING] = ~found
        problems[DropReason.DIVIDEND_CURRENCY] = problems[DropReason.DIVIDEND_CURRENCY] | unknown
        problems[DropReason.NO_FINITE_RETURN] = problems[DropReason.NO_FINITE_RETURN] | (
            found & ~unknown & ~np.isfinite(values)
        )
        return replace(outcome, values=values, problems=problems)

    def _of_benchmark(self, decisions: Decisions, ends: Rows) -> tuple[Mask, Doubles, Mask]:
        """Return where its bars are all there, its return, and where a dividend is unknown."""
        series = decisions.series
        number = pc.index(series.names, text(self.benchmark)).as_py()
        first, stop = np.searchsorted(series.codes, [number, number + 1])
        if number < 0 or first == stop:
            nowhere = np.zeros(len(ends), dtype=bool)
            return nowhere, np.full(len(ends), np.nan), nowhere
        bars = slice(first, stop)
        is_open = decisions.entry == "open"
        times = (series.opened if is_open else series.closed)[bars]
        entered, starts = _at(times, decisions.starts)
        left, stops = _at(series.closed[bars], ends)
        # The symbol may lack a session, the benchmark may not.
        steps = self.ahead - is_open
        missing = marked_between(series.after_gap[bars], entered + 1, left + 1)
        found = starts & stops & (left - entered >= steps) & ~missing
        growth = self.of.growth(decisions)[bars]
        unknown = np.isnan(growth)
        shares = np.cumprod(np.where(unknown, 1.0, growth))
        price = (series.open if is_open else series.close)[bars][entered]
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            grown = shares[left] / shares[entered]
            own = series.close[bars][left] * grown / np.where(price > 0, price, np.nan) - 1
        return found, own, found & marked_between(unknown, entered + 1, left + 1)


def _at(times: Rows, wanted: Rows) -> tuple[Rows, Mask]:
    """Return where some instants are among ascending ones, and whether they are."""
    places = np.minimum(np.searchsorted(times, wanted), len(times) - 1)
    return places, times[places] == wanted
