"""From a vendor's file to bars that are placed in time and judged one by one, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.checks import check_values, describe
from ingestion.bars.closing import NONE, opens_and_closes, why_unplaced
from ingestion.bars.findings import Findings
from ingestion.bars.model import Bars, Split, SymbolTable
from ingestion.bars.names import Naming
from ingestion.bars.read import VendorFile, read_batches
from ingestion.bars.refusals import ACCEPTED, CODES, REASONS, Reason, Refusals
from ingestion.bars.times import Kind
from ingestion.bars.vendors import PRICES, Role, name_in
from ingestion.sessions import ClosingRule, hours_of

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

    def gather(self, number: int, path: Path) -> Iterator[Gathered]:
        """Read the ``number``-th file and judge its rows, some at a time.

        Raises
        ------
        InputError
            If the file cannot be read as bars, or names tickers of no exchange.
        """
        for batch in read_batches(path):
            yield self._judge(number, path, batch)

    def _judge(self, number: int, path: Path, file: VendorFile) -> Gathered:
        self.refusals.add(Reason.CELLS, str(path), file.broken, lambda _: ("", ""))
        names, which = file.symbols() or ([name_in(path)], np.zeros(len(file), dtype=np.int64))
        unified = [*self.naming.unify(path, names), (None, "no symbol")]
        symbols = [symbol for symbol, _ in unified]
        times = file.times()
        opens, closes = opens_and_closes(times, symbols, which)
        numbers = np.array(
            [NONE if name is None else self.symbols.number(name) for name in symbols],
            dtype=np.int32,
        )
        bars, unreadable = _bars(file, number, numbers[which], opens, closes)
        is_fx = np.array(
            [name is not None and _has_no_volume(name) for name in symbols], dtype=bool
        )
        verdict = check_values(bars, unreadable, is_fx[which])
        verdict[(verdict == ACCEPTED) & (closes == NONE)] = CODES[Reason.SESSION]
        verdict[(verdict == ACCEPTED) & (closes > self.now)] = CODES[Reason.FUTURE]
        # What has no place in time or no name is refused as that, whatever else is wrong with it.
        verdict[times.kinds == Kind.UNREADABLE] = CODES[Reason.TIME]
        verdict[bars.symbol == NONE] = CODES[Reason.SYMBOL]

        def explain(reason: Reason, at: int) -> tuple[str, str]:
            symbol, problem = unified[which[at]]
            if reason is Reason.SYMBOL:
                return "", problem
            if reason in (Reason.TIME, Reason.SESSION, Reason.FUTURE):
                told = str(file.columns[Role.TIME][int(at)])[:80]
                if reason is Reason.SESSION and symbol is not None:
                    told += f": {why_unplaced(times, at, symbol)}"
                return symbol or "", told
            return symbol or "", describe(bars, at)

        good = self._refuse(str(path), file.rows, verdict, explain)
        splits, split_symbols = _splits(bars, symbols, which, closes, verdict, file)
        return Gathered(len(file) + len(file.broken), bars.take(good), splits, split_symbols)

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
