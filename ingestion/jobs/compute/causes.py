"""Why a served value differs from the recomputed one, where the data show it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import date, datetime
from enum import StrEnum
from functools import partial
from itertools import islice
from math import log
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.base.arrow import codes_in, from_numpy, strings, to_numpy
from ingestion.base.instants import DAY, MICROSECONDS
from ingestion.base.progress import watched
from ingestion.catalog import OHLCV_1D
from ingestion.catalog.formula import Formula
from ingestion.formulas.ratings import recommendation
from ingestion.jobs.compute.pairs import Seen, bar_keys
from ingestion.lakehouse import Lakehouse, days_back, read_current_of, utc_date
from ingestion.markets.symbols import exchange_of

if TYPE_CHECKING:
    from ingestion.jobs.compute.bars_of_symbol import BarsOfSymbol
    from ingestion.quality.votes import VoteBreak

_SEED = 0.01
"""Weight of a recursion's first value, below which it does not matter."""
TOLERANCE = 0.01
"""Share of a column's scale; a single vote that differs moves a rating by more."""
_COLUMNS = ("timestamp", "symbol", "volume", "event_timestamp")


class Cause(StrEnum):
    """What the data show of a difference; the first that does counts."""

    RULE = "another rule of a vote"
    OPEN = "open bar"
    ANOTHER = "another bar"
    NO_TRADES = "bars without trades in the window"
    HISTORY = "history too short for the recursion"
    SOURCE = "source of the bars"


class Causes:
    """Says why values differ, of finished bars that both sides have.

    Parameters
    ----------
    symbols
        Those of which something differs; so many of their bars are read as may decide.
    formulas
        Those whose values differ.
    closes
        Of the first and the last bar that differ, Unix s.
    broken
        The votes that follow another rule.
    """

    def __init__(
        self,
        lakehouse: Lakehouse,
        symbols: Collection[str],
        formulas: Iterable[Formula],
        closes: tuple[int, int],
        broken: Iterable[VoteBreak] = (),
    ) -> None:
        self._broken = list(broken)
        names = sorted(symbols)
        self._names = strings(names)
        decide = max((max(_window(each), _needed(each)) for each in formulas), default=0)
        read = list(self._read(lakehouse, names, decide, *closes)) if names else []
        keys = np.concatenate([each for each, _ in read]) if read else np.empty(0, np.int64)
        quiet = np.concatenate([each for _, each in read]) if read else np.empty(0, np.bool_)
        order = np.argsort(keys)
        self._keys = keys[order]
        self._quiet = np.r_[0, np.cumsum(quiet[order])]
        self._starts = np.searchsorted(self._keys, bar_keys(np.arange(len(names))))

    def _read(
        self, lakehouse: Lakehouse, names: list[str], decide: int, first: int, last: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """Yield the keys of bars, the newest dates first, and in which there were no trades.

        Parameters
        ----------
        decide
            After so many bars up to the first close a symbol has no more that matter.
        """
        lacks = np.full(len(names), decide)
        days = days_back(lakehouse, OHLCV_1D, utc_date(last))
        for day, parts in watched(days, "dates of bars read"):
            wanted = np.flatnonzero(lacks > 0)
            if day < utc_date(first) and not len(wanted):
                return
            rows = read_current_of(parts, OHLCV_1D, names, list(_COLUMNS))
            codes = codes_in(self._names, rows["symbol"])
            closes = to_numpy(rows["event_timestamp"]) // MICROSECONDS
            yield bar_keys(codes, closes), to_numpy(rows["volume"]) == 0
            lacks -= np.bincount(codes[closes <= first], minlength=len(lacks))
            if day < utc_date(first) and 2 * len(wanted) < len(names):
                names = self._names.take(from_numpy(wanted)).to_pylist()

    def of(self, formula: Formula) -> Callable[[pa.Table], list[str]]:
        """Return what says it of a formula's values.

        It takes ``symbol``, ``bar_close`` and the marks of :mod:`~ingestion.jobs.compute.pairs`.
        """
        return partial(self._of, formula)

    def _of(self, formula: Formula, pairs: pa.Table) -> list[str]:
        codes = codes_in(self._names, pairs["symbol"])
        bars = bar_keys(codes, to_numpy(pairs["bar_close"]))
        end = np.searchsorted(self._keys, bars, side="right")
        first = self._starts[codes]
        start = np.maximum(first, end - _window(formula))
        seen = pairs["seen"].to_numpy()
        conditions = {
            Cause.RULE: self._by_rule(formula, pairs),
            Cause.OPEN: seen == Seen.OPEN,
            Cause.ANOTHER: seen == Seen.ANOTHER,
            Cause.NO_TRADES: self._quiet[end] > self._quiet[start],
            Cause.HISTORY: np.minimum(end - first, pairs["bars"]) < _needed(formula),
        }
        found = np.select(
            list(conditions.values()), np.arange(len(conditions)), default=len(conditions)
        )
        causes = [*conditions, Cause.SOURCE]
        return [causes[each] for each in found]

    def _by_rule(self, formula: Formula, pairs: pa.Table) -> NDArray[np.bool_]:
        """Return which values follow another rule: the rating's own, or that of one below it."""
        day = pairs["known_at"].cast(pa.int64()).to_numpy() // DAY
        markets = np.array([exchange_of(name) for name in pairs["symbol"].to_pylist()], np.str_)
        found = np.zeros(pairs.num_rows, dtype=np.bool_)
        for each in self._broken:
            if formula.name in (each.feature, recommendation.name):
                since = (each.since - date(1970, 1, 1)).days
                found |= (day >= since) & np.isin(markets, each.market.split(", "))
        found &= pairs["agrees"].to_numpy()
        return found


def cause_at(bars: BarsOfSymbol, bar_close: datetime, formula: Formula, known: int) -> Cause:
    """Return the same of one value; from its bar on back, bars are read until they decide."""
    window, needed = _window(formula), _needed(formula)
    back = bars.back_from(bar_close)
    quiet = [bar.volume == 0 for bar in islice(back, window)]
    if not any(quiet) and known >= needed:
        # Where there are fewer, their number decides.
        quiet += [bar.volume == 0 for bar in islice(back, max(0, needed - window))]
    return cause_of(np.array(quiet[::-1], dtype=bool), formula, known)


def cause_of(quiet: NDArray[np.bool_], formula: Formula, known: int) -> Cause:
    """Return why a value differs.

    TradingView leaves out bars without trades, and an exchange may deliver them.

    Parameters
    ----------
    quiet
        Of the value's bar and those before it, oldest first, whether there were no trades; so many
        of the newest as decide are enough.
    known
        How many bars TradingView has at most.
    """
    if quiet[-_window(formula) :].any():
        return Cause.NO_TRADES
    if min(len(quiet), known) < _needed(formula):
        return Cause.HISTORY
    return Cause.SOURCE


def _window(formula: Formula) -> int:
    """Return in how many bars, its own among them, a value is looked for bars without trades."""
    return 1 + (formula.look_back if isinstance(formula.look_back, int) else 0)


def _needed(formula: Formula) -> int:
    """Return after how many bars what a symbol's first bar weighs no longer matters.

    Wilder's average of n bars, the slowest, forgets 1 / n of itself with each.
    """
    if not isinstance(formula.look_back, int):
        return 0
    back = formula.look_back + 1
    if not formula.recursive or back < 2:
        return back
    return back + round(log(_SEED) / log(1 - 1 / back))
