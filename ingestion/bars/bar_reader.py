"""From rows to bars: each row is placed in its session and judged by itself.

In: rows of a file or of a bar source (:mod:`ingestion.bars.reading`). Out: good bars, refusals with
their reasons, and what the rows say about splits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.arrays import VALUES, Bars, Split, SymbolTable
from ingestion.bars.cells import Kind
from ingestion.bars.header import PRICES, Role
from ingestion.bars.placing import NO_CLOSE, TradingDays, place_times, why_no_place
from ingestion.bars.reading import VendorFile, read_batches
from ingestion.bars.refusals import ACCEPTED, CODES, REASONS, Findings, Reason, Refusal, Refusals
from ingestion.bars.vendor_symbols import NAMELESS, Named, Naming, demand_exchange
from ingestion.base.errors import InputError
from ingestion.base.instants import date_of_day, day_of_date
from ingestion.catalog import TimesMean
from ingestion.markets.hours import ClosingRule, hours_of
from ingestion.markets.sessions import (
    by_hours,
    session_days,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


TOLERANCE = 1e-9
"""Relative; the rounding of vendors may leave a close a little above its high."""


def check_values(
    bars: Bars, unreadable: NDArray[np.bool_], is_fx: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """Judge prices, volume and split ratio of each bar.

    In place: a missing volume becomes 0 where ``is_fx`` (dealers have none), a split ratio of 0
    becomes 1 (how vendors write that there was none).

    Parameters
    ----------
    unreadable
        Shape ``(n,)``: a cell contains text that is no number.
    is_fx
        Shape ``(n,)``.

    Returns
    -------
    NDArray[np.int8]
        The code of the first :class:`Reason` against each bar, or :data:`ACCEPTED`.
    """
    bars.volume[is_fx & np.isnan(bars.volume)] = 0.0
    bars.split_ratio[bars.split_ratio == 0] = 1.0
    prices = np.stack(bars.prices)
    with np.errstate(invalid="ignore", over="ignore"):
        slack = 1 + TOLERANCE
        reasons = (
            (Reason.NUMBER, unreadable | np.isnan(prices).any(axis=0)),
            (Reason.PRICE, ~(np.isfinite(prices) & (prices > 0)).all(axis=0)),
            (Reason.VOLUME, ~(np.isfinite(bars.volume) & (bars.volume >= 0))),
            (Reason.SPLIT, (bars.split_ratio <= 0) | np.isinf(bars.split_ratio)),
            (
                Reason.OHLC,
                (bars.high * slack < np.maximum(bars.open, bars.close))
                | (bars.low > np.minimum(bars.open, bars.close) * slack)
                | (bars.high * slack < bars.low),
            ),
        )
    verdict = np.full(len(bars), ACCEPTED)
    for reason, against in reversed(reasons):
        verdict[against] = CODES[reason]
    return verdict


def describe(bars: Bars, at: int) -> str:
    """Return a bar's values, for a refusal."""
    values = ((name, float(getattr(bars, name)[at])) for name in VALUES)
    return ", ".join(f"{name} {value:.10g}" for name, value in values if not np.isnan(value))


@dataclass(frozen=True)
class BarBatch:
    """The good bars of some rows of a file, and the splits that the rows give."""

    read: int
    """How many rows there were, the refused ones too."""
    bars: Bars
    splits: list[Split]
    """Of all rows, also those whose prices were refused."""
    split_symbols: frozenset[str]
    """Symbols whose splits the file gives: it has a column for them, with or without any split."""


def name_rows(
    file: VendorFile, naming: Naming, refusals: Refusals, *, is_first: bool
) -> tuple[list[Named], NDArray[np.int64]]:
    """Unify the names of some rows' instruments, and refuse the rows that are no rows.

    Parameters
    ----------
    is_first
        Whether these are the first rows of the file.

    Returns
    -------
    tuple[list[Named], NDArray[np.int64]]
        The names, behind them that of rows without one, and each row's index into them.

    Raises
    ------
    InputError
        If the first rows of a file name tickers of no exchange, or nothing names its instrument.
    """
    names, which = file.symbols() or (
        [naming.of_file(file.path)],
        np.zeros(len(file), dtype=np.int64),
    )
    named = [naming.unify(name) for name in names]
    if is_first:
        demand_exchange(file.path, names, named)
    for row in file.broken:
        refusals.add(Refusal(str(file.path), row, "", Reason.CELLS, ""))
    return [*named, NAMELESS], which


@dataclass(frozen=True)
class BarReader:
    """Reads the files, or the answers of a bar source, of one import."""

    naming: Naming
    symbols: SymbolTable
    refusals: Refusals
    now: float
    """Unix seconds; a bar that closes later is no closed bar."""
    findings: Findings
    date_format: str | None = None
    """How the files write dates, for :meth:`datetime.datetime.strptime`."""
    adjusted: bool = False
    """Whether prices are split-adjusted."""
    widen_range: bool = False
    """Whether high and low are moved to contain open and close, which may be auction prices."""
    running_until: float | None = None
    """Unix seconds; a bar that had opened by then and closes after ``now`` is not finished, and is
    left out uncounted. None where such a bar is a fault of the file."""
    times_mean: TimesMean = TimesMean.AS_WRITTEN
    first: date | None = None
    last: date | None = None
    """Sessions outside these dates are left out uncounted, where they are given."""
    named: dict[str, str] = field(default_factory=dict)
    """The symbols that files' names gave, by path."""
    trading_days: TradingDays = field(default_factory=TradingDays)

    def read(self, number: int, path: Path) -> Iterator[BarBatch]:
        """Read the ``number``-th file and judge its rows, some at a time.

        Raises
        ------
        InputError
            If the file cannot be read as bars, or names tickers of no exchange.
        """
        for at, batch in enumerate(read_batches(path, date_format=self.date_format)):
            yield self.judge(number, batch, is_first=at == 0)

    def judge(self, number: int, file: VendorFile, *, is_first: bool = False) -> BarBatch:
        """Judge some rows of the ``number``-th file or answer.

        Raises
        ------
        InputError
            As :func:`name_rows`; if prices are adjusted twice.
        """
        path = file.path
        named, which = name_rows(file, self.naming, self.refusals, is_first=is_first)
        symbols = [each.symbol for each in named]
        if file.symbols() is None and symbols[0] is not None:
            self.named[str(path)] = symbols[0]
        times = file.times()
        opens, closes = place_times(times, symbols, which, self.times_mean)
        kept = self._wanted(symbols, which, opens, closes)
        if not kept.all():
            at_all = np.flatnonzero(kept)
            file, times, which = file.filter(kept), times.take(at_all), which[kept]
            opens, closes = opens[kept], closes[kept]
        numbers = [NO_CLOSE if name is None else self.symbols.number(name) for name in symbols]
        symbol = np.array(numbers, dtype=np.int32)[which]
        bars, unreadable = _bars_of_rows(file, number, symbol, opens, closes)
        if Role.UNADJUSTED_CLOSE in file.columns:
            self._turn_back(path, file, bars, unreadable)
        widened = _widen(bars) if self.widen_range else np.zeros(len(bars), dtype=bool)
        without_volume = file.lacks_volume()
        is_fx = [
            name is not None and hours_of(name).rule is ClosingRule.NEW_YORK_ROLL
            for name in symbols
        ]
        verdict = check_values(bars, unreadable, np.array(is_fx)[which] | without_volume)
        verdict[(verdict == ACCEPTED) & (closes == NO_CLOSE)] = CODES[Reason.SESSION]
        verdict[(verdict == ACCEPTED) & (closes > self.now)] = CODES[Reason.FUTURE]
        # A row without a time or a symbol is refused for that, whatever else is wrong with it.
        verdict[times.kinds == Kind.UNREADABLE] = CODES[Reason.TIME]
        against_name = np.array([CODES[each.reason] for each in named])[which]
        verdict = np.where(symbol == NO_CLOSE, against_name, verdict)
        good = verdict == ACCEPTED
        for at in np.flatnonzero(~good).tolist():
            reason, name = REASONS[verdict[at]], symbols[which[at]] or ""
            detail = describe(bars, at)
            if reason in (Reason.SYMBOL, Reason.EXCHANGE, Reason.UNASKED):
                detail = named[which[at]].problem
            elif reason in (Reason.TIME, Reason.SESSION, Reason.FUTURE):
                detail = str(file.columns[Role.TIME][at])[:80]
            if reason is Reason.SESSION:
                detail += f": {why_no_place(times, at, name)}"
                if bars.volume[at] > 0 or without_volume[at]:
                    is_date = times.kinds[at] in (Kind.LABEL, Kind.LOCAL_MIDNIGHT)
                    day = date_of_day(int(times.days[at])) if is_date else None
                    self.trading_days.refuse(name, day or int(times.seconds[at]))
            self.refusals.add(Refusal(str(path), int(file.rows[at]), name, reason, detail))
        self.findings.add(
            "without_volume",
            "bars of instruments without any volume in their file, which is taken as 0",
            count=int((good & without_volume).sum()),
        )
        self.findings.add(
            "widened",
            "bars whose range was widened to contain open and close",
            count=int((widened & good).sum()),
        )
        splits, split_symbols = [], frozenset[str]()
        if Role.SPLIT_RATIO in file.columns:
            ratio = bars.split_ratio
            usable = (ratio != 1) & (ratio > 0) & np.isfinite(ratio) & (closes != NO_CLOSE)
            splits = [
                Split(name, int(closes[at]), float(ratio[at]))
                for at in np.flatnonzero(usable)
                if (name := symbols[which[at]]) is not None
            ]
            split_symbols = frozenset(filter(None, symbols))
        return BarBatch(len(file) + len(file.broken), bars.take(good), splits, split_symbols)

    def _wanted(
        self,
        symbols: Sequence[str | None],
        which: NDArray[np.int64],
        opens: NDArray[np.int64],
        closes: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        """Return which rows are neither of unfinished bars nor of dates that are not wanted."""
        kept = np.ones(len(opens), dtype=bool)
        placed = closes != NO_CLOSE
        if self.running_until is not None:
            kept &= ~(placed & (closes > self.now) & (opens <= self.running_until))
            self.findings.add(
                "unfinished",
                "bars were not finished, and are left out",
                count=int((~kept).sum()),
            )
        if self.first is None and self.last is None:
            return kept
        outside = np.zeros(len(opens), dtype=bool)
        named = [(n, name) for n, name in enumerate(symbols) if name is not None]
        of_name = np.array([n for n, _ in named], dtype=np.int64)
        for symbol, at in by_hours([name for _, name in named]).items():
            rows = np.flatnonzero(np.isin(which, of_name[at]) & placed)
            days = session_days(symbol, opens[rows], closes[rows])
            if self.first is not None:
                outside[rows] |= days < day_of_date(self.first)
            if self.last is not None:
                outside[rows] |= days > day_of_date(self.last)
        self.findings.add(
            "not_in_the_span",
            "bars are of other dates than those asked for, and are left out",
            count=int((kept & outside).sum()),
        )
        return kept & ~outside

    def _turn_back(
        self, path: Path, file: VendorFile, bars: Bars, unreadable: NDArray[np.bool_]
    ) -> None:
        """Turn adjusted prices into traded ones, in place, by the column of unadjusted closes."""
        if self.adjusted:
            raise InputError(
                f"{path} has a column of unadjusted closes, so its prices are read as they were "
                "traded: import it without --adjusted"
            )
        traded, bad = file.numbers(Role.UNADJUSTED_CLOSE)
        with np.errstate(all="ignore"):
            factor = traded / bars.close
            for price in (bars.open, bars.high, bars.low):
                price *= factor
            bars.volume /= factor
        bars.close[:] = traded
        unreadable |= bad


def _bars_of_rows(
    file: VendorFile,
    number: int,
    symbol: NDArray[np.int32],
    opens: NDArray[np.int64],
    closes: NDArray[np.int64],
) -> tuple[Bars, NDArray[np.bool_]]:
    """Return all rows as bars, and which of them have text where a number belongs."""
    unreadable = np.zeros(len(file), dtype=bool)
    values: dict[Role, NDArray[np.float64]] = {}
    for role in (*PRICES, Role.VOLUME, Role.SPLIT_RATIO):
        if role not in file.columns:
            values[role] = np.full(len(file), np.nan)
            continue
        values[role], bad = file.numbers(role)
        unreadable |= bad
    if Role.SPLIT_RATIO in file.columns:
        ratio = values[Role.SPLIT_RATIO]
        ratio[np.isnan(ratio)] = 1.0
    bars = Bars(
        file=np.full(len(file), number, dtype=np.int32),
        row=file.rows,
        symbol=symbol,
        timestamp=opens,
        event=closes,
        **{role.value: array for role, array in values.items()},
    )
    return bars, unreadable


def _widen(bars: Bars) -> NDArray[np.bool_]:
    """Move high and low to contain open and close, in place; return which bars were changed."""
    high = np.maximum(bars.high, np.maximum(bars.open, bars.close))
    low = np.minimum(bars.low, np.minimum(bars.open, bars.close))
    # A missing number is no reason, and neither is a difference by rounding.
    widened: NDArray[np.bool_] = (high > bars.high * (1 + TOLERANCE)) | (
        low < bars.low * (1 - TOLERANCE)
    )
    bars.high[widened], bars.low[widened] = high[widened], low[widened]
    return widened
