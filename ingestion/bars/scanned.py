"""The scanner's daily bars: which rows of a snapshot are closed bars.

A row describes the current bar, just opened or long closed. It is taken once its session has closed
and the feed has caught up. How long before the close its last tick came does not matter: an
illiquid symbol's bar is as final as any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from ingestion.bars.arrays import PRICES, Bars
from ingestion.bars.bar_reader import check_values, describe
from ingestion.bars.placing import NO_CLOSE, closes_of
from ingestion.bars.refusals import ACCEPTED, CODES, REASONS, Reason, Refusal
from ingestion.bars.source import SCANNER
from ingestion.bars.trading_days import TradingDays
from ingestion.base.instants import MICROSECONDS, utc
from ingestion.catalog import SCANNED_BAR
from ingestion.markets.hours import BarState, ClosingRule, bar_state, feed_delay, hours_of
from ingestion.markets.sessions import by_hours, next_open

Row = Sequence[object]
_PLACE = {column.scanner: place for place, column in enumerate(SCANNED_BAR)}


@dataclass
class Scanned:
    """A snapshot's closed bars, and what became of the other rows."""

    bars: Bars
    """Good and closed; ``row`` is a position in ``previous``, ``symbol`` one in ``names``."""
    names: list[str]
    """Every symbol of the snapshot."""
    previous: NDArray[np.float64]
    """Shape ``(symbols,)``: close of the bar before, in the bar's own money; NaN if not known."""
    open: int = 0
    """Bars that may still move, of sessions that end."""
    never_closing: int = 0
    """Bars that may still move, of markets that never close: there the row is always of such."""
    unknown_hours: int = 0
    """Bars of exchanges of unknown hours: open or closed by the 24-hour rule."""
    refused: list[Refusal] = field(default_factory=list)
    trading_days: TradingDays = field(default_factory=TradingDays)

    def refuse(self, symbol: str, reason: Reason, detail: str) -> None:
        """Take down a row that is no bar."""
        row = len(self.refused) + 1
        self.refused.append(Refusal(str(SCANNER), row, symbol, reason, detail))


def read_scanned(rows: Mapping[str, Row], asked_at: Mapping[str, datetime]) -> Scanned:
    """Divide a snapshot's rows into closed bars, open bars, and refused rows.

    Parameters
    ----------
    rows
        By symbol, the values of :data:`~ingestion.catalog.SCANNED_BAR`.
    asked_at
        By symbol, the instant before the request that brought its row: every value was final if the
        bar was final then.
    """
    names = list(rows)
    opens = [_seconds(rows[name], "time") for name in names]
    bars = _bars(rows, names, opens)
    scanned = Scanned(bars, names, _previous_closes(rows, names))
    is_dealer = np.array(
        [hours_of(name).rule is ClosingRule.NEW_YORK_ROLL for name in names], dtype=bool
    )
    verdict = check_values(bars, np.zeros(len(names), dtype=bool), is_dealer)
    for at, (name, opened) in enumerate(zip(names, opens, strict=True)):
        ticked = _seconds(rows[name], "last_bar_update_time")
        if reason := _why_no_place(name, opened, int(bars.event[at]), ticked):
            verdict[at] = CODES[reason]
        elif opened is not None:
            asked = int(asked_at[name].timestamp())
            if not _is_closed(scanned, rows[name], name, opened, asked):
                verdict[at] = _NOT_CLOSED
    for at in np.flatnonzero((verdict != ACCEPTED) & (verdict != _NOT_CLOSED)).tolist():
        reason = REASONS[verdict[at]]
        if reason is Reason.SESSION and bars.volume[at] > 0:
            scanned.trading_days.refuse(names[at], int(bars.timestamp[at]))
        opened = opens[at]
        when = "" if opened is None else f"{utc(opened):%Y-%m-%dT%H:%MZ}, "
        scanned.refuse(names[at], reason, f"{when}{describe(bars, at)}")
    scanned.bars = bars.take(np.flatnonzero(verdict == ACCEPTED))
    return scanned


_NOT_CLOSED = np.int8(-2)


def _why_no_place(name: str, opened: int | None, close: int, ticked: int | None) -> Reason | None:
    """Return why a bar has no place in time; None if it has one."""
    if opened is None:
        return Reason.TIME
    if close == NO_CLOSE:
        return Reason.SESSION
    # The scanner refreshes its columns by separate jobs, so a row may mix two bars.
    following = next_open(name, close)
    if ticked is not None and following is not None and ticked > following:
        return Reason.TICK
    return None


def _is_closed(scanned: Scanned, row: Row, name: str, opened: int, asked_at: int) -> bool:
    """Return whether a bar is final, and count it if it is not."""
    mode = row[_PLACE["update_mode"]]
    delay = feed_delay(mode if isinstance(mode, str) else None)
    closed = bar_state(name, opened, asked_at, delay) is BarState.CLOSED
    rule = hours_of(name).rule
    if rule is ClosingRule.DAY_AFTER_OPEN:
        scanned.unknown_hours += 1
    if not closed:
        scanned.never_closing += rule is ClosingRule.MIDNIGHT_UTC
        scanned.open += rule is not ClosingRule.MIDNIGHT_UTC
    return closed


def _bars(rows: Mapping[str, Row], names: list[str], opens: list[int | None]) -> Bars:
    size = len(names)
    timestamp = np.array([opened or 0 for opened in opens], dtype=np.int64)
    event = np.zeros(size, dtype=np.int64)
    for symbol, at in by_hours(names).items():
        event[at] = closes_of(symbol, timestamp[at])
    return Bars(
        file=np.zeros(size, dtype=np.int32),
        row=np.arange(size, dtype=np.int64),
        symbol=np.arange(size, dtype=np.int32),
        timestamp=timestamp,
        event=event,
        **{name: _numbers(rows, names, name) for name in (*PRICES, "volume")},
        split_ratio=np.full(size, np.nan),
    )


def _previous_closes(rows: Mapping[str, Row], names: list[str]) -> NDArray[np.float64]:
    """Return close ÷ (1 + change ÷ 100): what the scanner measures its change against."""
    close, change = _numbers(rows, names, "close"), _numbers(rows, names, "change")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        previous: NDArray[np.float64] = close / (1 + change / 100)
    previous[~(np.isfinite(previous) & (previous > 0))] = np.nan
    return previous


def _numbers(rows: Mapping[str, Row], names: list[str], column: str) -> NDArray[np.float64]:
    place = _PLACE[column]
    cells = [rows[name][place] for name in names]
    return np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)


def _seconds(row: Row, column: str) -> int | None:
    cell = row[_PLACE[column]]
    return cell // MICROSECONDS if isinstance(cell, int) else None
