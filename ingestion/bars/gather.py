"""From a vendor's file to bars that are placed in time and judged one by one, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.arrays import Bars, Split, SymbolTable
from ingestion.bars.cells import Kind
from ingestion.bars.checks import TOLERANCE, check_values, describe
from ingestion.bars.closing import NONE, opens_and_closes, why_unplaced
from ingestion.bars.layout import PRICES, Role
from ingestion.bars.reading import VendorFile, read_batches
from ingestion.bars.refusals import ACCEPTED, CODES, REASONS, Findings, Reason, Refusals
from ingestion.bars.vendor_symbols import NAMELESS, Naming, demand_exchange
from ingestion.bars.witness import Witness
from ingestion.base.errors import InputError
from ingestion.markets.hours import ClosingRule, hours_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Gathered:
    """The good bars among some rows of a file, and what those say about splits."""

    read: int
    """How many rows there were, the refused ones too."""
    bars: Bars
    splits: list[Split]
    """Of all rows, also those whose prices were refused."""
    split_symbols: frozenset[str]
    """Symbols whose splits the file gives: it has a column for them, with or without any split."""


@dataclass(frozen=True)
class Gatherer:
    """Reads the files of one import."""

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
    named: dict[str, str] = field(default_factory=dict)
    """The symbols that files' names gave, by path."""
    witness: Witness = field(default_factory=Witness)

    def gather(self, number: int, path: Path) -> Iterator[Gathered]:
        """Read the ``number``-th file and judge its rows, some at a time.

        Raises
        ------
        InputError
            If the file cannot be read as bars, or names tickers of no exchange.
        """
        for at, batch in enumerate(read_batches(path, date_format=self.date_format)):
            yield self._judge(number, path, batch, is_first=at == 0)

    def _judge(self, number: int, path: Path, file: VendorFile, *, is_first: bool) -> Gathered:
        of_file = file.symbols()
        names, which = of_file or ([self.naming.of_file(path)], np.zeros(len(file), dtype=np.int64))
        named = [*(self.naming.unify(name) for name in names), NAMELESS]
        if is_first:
            demand_exchange(path, names, named[:-1])
        self.refusals.add(Reason.CELLS, str(path), file.broken, lambda _: ("", ""))
        symbols = [each.symbol for each in named]
        if of_file is None and symbols[0] is not None:
            self.named[str(path)] = symbols[0]
        times = file.times()
        opens, closes = opens_and_closes(times, symbols, which)
        numbers = np.array(
            [NONE if name is None else self.symbols.number(name) for name in symbols],
            dtype=np.int32,
        )
        bars, unreadable = _bars(file, number, numbers[which], opens, closes)
        if Role.UNADJUSTED_CLOSE in file.columns:
            self._turn_back(path, file, bars, unreadable)
        is_fx = np.array(
            [name is not None and _has_no_volume(name) for name in symbols], dtype=bool
        )
        widened = _widen(bars) if self.widen_range else np.zeros(len(bars), dtype=bool)
        without_volume = file.lacks_volume()
        verdict = check_values(bars, unreadable, is_fx[which] | without_volume)
        verdict[(verdict == ACCEPTED) & (closes == NONE)] = CODES[Reason.SESSION]
        verdict[(verdict == ACCEPTED) & (closes > self.now)] = CODES[Reason.FUTURE]
        # What has no place in time or no name is refused as that, whatever else is wrong with it.
        verdict[times.kinds == Kind.UNREADABLE] = CODES[Reason.TIME]
        against_name = np.array([CODES[each.reason] for each in named])[which]
        verdict = np.where(bars.symbol == NONE, against_name, verdict)

        def explain(reason: Reason, at: int) -> tuple[str, str]:
            symbol = symbols[which[at]]
            if reason in (Reason.SYMBOL, Reason.EXCHANGE):
                return "", named[which[at]].problem
            if reason in (Reason.TIME, Reason.SESSION, Reason.FUTURE):
                told = str(file.columns[Role.TIME][int(at)])[:80]
                if reason is Reason.SESSION and symbol is not None:
                    told += f": {why_unplaced(times, at, symbol)}"
                return symbol or "", told
            return symbol or "", describe(bars, at)

        traded = (verdict == CODES[Reason.SESSION]) & ((bars.volume > 0) | without_volume)
        for at in np.flatnonzero(traded).tolist():
            is_date = times.kinds[at] in (Kind.LABEL, Kind.LOCAL_MIDNIGHT)
            day = date(1970, 1, 1) + timedelta(int(times.days[at])) if is_date else None
            self.witness.refuse(symbols[which[at]] or "", day or int(times.seconds[at]))
        good = self._refuse(str(path), file.rows, verdict, explain)
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
        splits, split_symbols = _splits(bars, symbols, which, closes, verdict, file)
        return Gathered(len(file) + len(file.broken), bars.take(good), splits, split_symbols)

    def _turn_back(
        self, path: Path, file: VendorFile, bars: Bars, unreadable: NDArray[np.bool_]
    ) -> None:
        """Make prices as traded, in place, of adjusted ones beside a close as traded."""
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

    def _refuse(
        self,
        name: str,
        rows: NDArray[np.int64],
        verdict: NDArray[np.int8],
        explain: Callable[[Reason, int], tuple[str, str]],
    ) -> NDArray[np.bool_]:
        """Record the refused rows, in the file's order; return which are left."""
        good: NDArray[np.bool_] = verdict == ACCEPTED
        for at in np.flatnonzero(~good):
            reason = REASONS[verdict[at]]
            self.refusals.add(
                reason,
                name,
                [int(rows[at])],
                lambda _, at=at, reason=reason: explain(reason, at),  # type: ignore[misc]
            )
        return good


def _bars(
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
        open=values[Role.OPEN],
        high=values[Role.HIGH],
        low=values[Role.LOW],
        close=values[Role.CLOSE],
        volume=values[Role.VOLUME],
        split_ratio=values[Role.SPLIT_RATIO],
    )
    return bars, unreadable


def _widen(bars: Bars) -> NDArray[np.bool_]:
    """Move high and low to contain open and close, in place; return of which bars."""
    high = np.maximum(bars.high, np.maximum(bars.open, bars.close))
    low = np.minimum(bars.low, np.minimum(bars.open, bars.close))
    # Not where a number is missing, nor by what is called rounding.
    widened: NDArray[np.bool_] = (high > bars.high * (1 + TOLERANCE)) | (
        low < bars.low * (1 - TOLERANCE)
    )
    bars.high[widened], bars.low[widened] = high[widened], low[widened]
    return widened


def _has_no_volume(symbol: str) -> bool:
    return hours_of(symbol).rule is ClosingRule.NEW_YORK_ROLL


def _splits(
    bars: Bars,
    symbols: list[str | None],
    which: NDArray[np.int64],
    closes: NDArray[np.int64],
    verdict: NDArray[np.int8],
    file: VendorFile,
) -> tuple[list[Split], frozenset[str]]:
    if Role.SPLIT_RATIO not in file.columns:
        return [], frozenset()
    usable = (bars.split_ratio != 1) & (bars.split_ratio > 0) & np.isfinite(bars.split_ratio)
    usable &= (closes != NONE) & (verdict != CODES[Reason.SYMBOL])
    splits = [
        Split(name, int(closes[at]), float(bars.split_ratio[at]))
        for at in np.flatnonzero(usable)
        if (name := symbols[which[at]]) is not None
    ]
    return splits, frozenset(name for name in symbols if name is not None)
