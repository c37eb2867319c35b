"""From the rows of a vendor's file to bars: which session each is of, and whether it is plausible.

In: a file's rows (:mod:`ingestion.bars.reading`). Out: good bars, refusals with their reasons, and
what the file says about splits; each row is judged by itself.

Where sessions are known (:attr:`~ingestion.markets.hours.ClosingRule.SESSION`) a time names one of
them:

=====================================  =========================================================
a vendor's time                        its session
=====================================  =========================================================
a date                                 that date's
an instant within a session, or        that session's: vendors stamp the opening bell, or a pre-open
before it on its local date            auction; local midnight is such an instant too
00:00 UTC, in no session               that date's: a date written as an instant
midnight with an offset, in no         that of the date as written
session of another date
any other                              none: the row is refused
=====================================  =========================================================

Elsewhere an instant is the bar's open, and its close follows from it.

Bars of a day that the calendar has as closed, and a day that it has as open on which nobody traded,
say that the calendar is wrong there, or the file is: :class:`TradingDays` collects both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from ingestion.bars.arrays import VALUES, Bars, Split, SymbolTable
from ingestion.bars.cells import Kind, Times
from ingestion.bars.layout import PRICES, Role
from ingestion.bars.reading import VendorFile, read_batches
from ingestion.bars.refusals import ACCEPTED, CODES, REASONS, Findings, Reason, Refusal, Refusals
from ingestion.bars.vendor_symbols import NAMELESS, Naming, demand_exchange
from ingestion.base.errors import InputError
from ingestion.base.instants import DAY, date_of_day, day_of_date, utc
from ingestion.markets.hours import ClosingRule, hours_of, known_bar_closes, known_calendar
from ingestion.markets.sessions import (
    bars_by_hours,
    running_closes,
    session_bounds,
    session_days,
    sessions_between,
    sessions_of_labels,
    why_no_session,
)
from ingestion.markets.symbols import exchange_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


NO_CLOSE = -1
"""The close of a time that is in no session."""


def place_times(
    times: Times, symbols: list[str | None], which: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Place bars in time.

    Parameters
    ----------
    times
        Shape ``(n,)``.
    symbols
        Unified symbols; None for what is no symbol.
    which
        Shape ``(n,)``: the symbol of each bar.

    Returns
    -------
    tuple[NDArray[np.int64], NDArray[np.int64]]
        Opens and closes, Unix seconds; :data:`NO_CLOSE` as the close of a time that is in no
        session, of an unreadable time and of a row without a symbol.
    """
    opens, days = times.seconds.copy(), times.days.copy()
    closes = np.full(len(opens), NO_CLOSE, dtype=np.int64)
    in_sessions = np.array(
        [name is not None and hours_of(name).rule is ClosingRule.SESSION for name in symbols],
        dtype=bool,
    )[which]
    written = (times.kinds == Kind.LOCAL_MIDNIGHT) & in_sessions
    labelled = (times.kinds == Kind.LABEL) | written
    instants = ~labelled & (times.kinds != Kind.UNREADABLE)
    for number, rows in _positions_by_key(which, instants):
        symbol = symbols[number]
        if symbol is None:
            continue
        closes[rows] = closes_of(symbol, opens[rows])
        dates = rows[(closes[rows] == NO_CLOSE) & (opens[rows] % DAY == 0)]
        days[dates] = opens[dates] // DAY
        labelled[dates] = True
    _close_labels(days, symbols, which, labelled, opens, closes)
    for number, rows in _positions_by_key(which, written):
        # Midnight in another country may be within a session here, of another date: which of the
        # two is meant?
        running = running_closes(symbols[number] or "", times.seconds[rows])
        closes[rows[(running != NO_CLOSE) & (running != closes[rows])]] = NO_CLOSE
    return opens, closes


def closes_of(symbol: str, opens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return when the bars of a symbol close that open at some instants, Unix seconds.

    Parameters
    ----------
    symbol
        Another symbol of the same hours will do.

    Returns
    -------
    NDArray[np.int64]
        Shape ``(n,)``; :data:`NO_CLOSE` for an instant that is in no session of the calendar.
    """
    closes, is_known = known_bar_closes(symbol, opens)
    if hours_of(symbol).rule is ClosingRule.SESSION:
        closes = np.where(is_known, closes, NO_CLOSE)
    return closes


def why_no_place(times: Times, at: int, symbol: str) -> str:
    """Return why the time of a row is in no session: what it is, and what was expected."""
    exchange = exchange_of(symbol)
    kind, seconds = times.kinds[at], int(times.seconds[at])
    if hours_of(symbol).rule is not ClosingRule.SESSION:
        return f"{exchange} has no session on that date"
    if kind == Kind.INSTANT and seconds % DAY:
        return why_no_session(exchange, seconds)
    label = date_of_day(int(times.days[at]) if kind != Kind.INSTANT else seconds // DAY)
    if session_bounds(exchange, label):
        instant = utc(seconds)
        return f"{instant:%Y-%m-%dT%H:%MZ} is within a session of another date: give dates alone"
    return why_no_session(exchange, label)


def _close_labels(
    days: NDArray[np.int64],
    symbols: list[str | None],
    which: NDArray[np.int64],
    labelled: NDArray[np.bool_],
    opens: NDArray[np.int64],
    closes: NDArray[np.int64],
) -> None:
    """Fill in opens and closes of labels, exchange by exchange: its symbols share its sessions."""
    exchanges = sorted({exchange_of(name) for name in symbols if name is not None})
    numbers = np.array(
        [NO_CLOSE if name is None else exchanges.index(exchange_of(name)) for name in symbols],
        dtype=np.int64,
    )
    for number, rows in _positions_by_key(numbers[which], labelled):
        if number == NO_CLOSE:
            continue
        labels, back = np.unique(days[rows], return_inverse=True)
        bounds = sessions_of_labels(exchanges[number], labels)
        opens[rows], closes[rows] = (of_label[back] for of_label in bounds)


def _positions_by_key(
    keys: NDArray[np.int64], mask: NDArray[np.bool_]
) -> list[tuple[int, NDArray[np.intp]]]:
    """Return the masked positions by key."""
    at = np.flatnonzero(mask)
    if not len(at):
        return []
    at = at[np.argsort(keys[at], kind="stable")]
    starts = np.flatnonzero(np.diff(keys[at])) + 1
    return [(int(keys[group[0]]), group) for group in np.split(at, starts)]


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


MANY = 5
"""If so many symbols of an exchange were traded around a day, and none on it, it is reported."""


class TradingDays:
    """Where the bars of an import, or of a snapshot, disagree with the calendars."""

    def __init__(self) -> None:
        self._on_closed: dict[tuple[date, str], set[str]] = {}
        self._traded: dict[str, Counter[int]] = {}
        self._spans: dict[str, tuple[int, int]] = {}

    def refuse(self, symbol: str, when: date | int) -> None:
        """Note a good bar that is in no session, by its date or its instant, Unix seconds."""
        calendar = known_calendar(symbol)
        if calendar is None:
            return
        if not isinstance(when, date):
            zone = UTC if when % DAY == 0 else ZoneInfo(calendar.time_zone)
            when = datetime.fromtimestamp(when, zone).date()
        if calendar.labels[0].item() <= when and calendar.of_label(when) is None:
            self._on_closed.setdefault((when, exchange_of(symbol)), set()).add(symbol)

    def accept(self, bars: Bars, names: Sequence[str]) -> None:
        """Note bars that are in sessions."""
        for symbol, at in bars_by_hours(names, bars.symbol).items():
            if known_calendar(symbol) is None:
                continue
            days = session_days(symbol, bars.timestamp[at], bars.event[at])
            traded = self._traded.setdefault(symbol, Counter())
            traded.update(dict.fromkeys(np.unique(days).tolist(), 1))
            order = np.argsort(bars.symbol[at], kind="stable")
            owner, days = bars.symbol[at][order], days[order]
            starts = np.flatnonzero(np.diff(owner, prepend=-1))
            firsts, lasts = np.minimum.reduceat(days, starts), np.maximum.reduceat(days, starts)
            for number, *span in zip(owner[starts], firsts, lasts, strict=True):
                first, last = self._spans.get(names[number], span)
                self._spans[names[number]] = min(first, int(span[0])), max(last, int(span[1]))

    def on_closed_days(self) -> list[str]:
        """Return the days on which symbols traded and the calendar says closed."""
        return [
            f"{exchange} {day:%a %Y-%m-%d} ({len(symbols):,} symbols)"
            for (day, exchange), symbols in sorted(self._on_closed.items())
        ]

    def without_trade(self) -> list[str]:
        """Return the days that the calendar has as open, on which none of many symbols traded."""
        found = []
        for symbol, traded in sorted(self._traded.items()):
            exchange = exchange_of(symbol)
            spans = [span for name, span in self._spans.items() if exchange_of(name) == exchange]
            firsts, lasts = (np.sort([span[end] for span in spans]) for end in (0, 1))
            first, last = (date_of_day(int(day)) for day in (firsts[0], lasts[-1]))
            for session in sessions_between(exchange, first, last):
                day = day_of_date(session.label)
                active = np.searchsorted(firsts, day, "right") - np.searchsorted(lasts, day, "left")
                if active >= MANY and not traded[day]:
                    found.append(
                        f"{exchange} {session.label:%a %Y-%m-%d} (none of {active:,} symbols)"
                    )
        return found


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


@dataclass(frozen=True)
class BarReader:
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
    trading_days: TradingDays = field(default_factory=TradingDays)

    def read(self, number: int, path: Path) -> Iterator[BarBatch]:
        """Read the ``number``-th file and judge its rows, some at a time.

        Raises
        ------
        InputError
            If the file cannot be read as bars, or names tickers of no exchange.
        """
        for at, batch in enumerate(read_batches(path, date_format=self.date_format)):
            yield self._judge(number, path, batch, is_first=at == 0)

    def _judge(self, number: int, path: Path, file: VendorFile, *, is_first: bool) -> BarBatch:
        of_file = file.symbols()
        names, which = of_file or ([self.naming.of_file(path)], np.zeros(len(file), dtype=np.int64))
        named = [*(self.naming.unify(name) for name in names), NAMELESS]
        if is_first:
            demand_exchange(path, names, named[:-1])
        for row in file.broken:
            self.refusals.add(Refusal(str(path), row, "", Reason.CELLS, ""))
        symbols = [each.symbol for each in named]
        if of_file is None and symbols[0] is not None:
            self.named[str(path)] = symbols[0]
        times = file.times()
        opens, closes = place_times(times, symbols, which)
        numbers = np.array(
            [NO_CLOSE if name is None else self.symbols.number(name) for name in symbols],
            dtype=np.int32,
        )
        bars, unreadable = _bars_of_rows(file, number, numbers[which], opens, closes)
        if Role.UNADJUSTED_CLOSE in file.columns:
            self._turn_back(path, file, bars, unreadable)
        is_fx = np.array(
            [name is not None and _is_quoted_by_dealers(name) for name in symbols], dtype=bool
        )
        widened = _widen(bars) if self.widen_range else np.zeros(len(bars), dtype=bool)
        without_volume = file.lacks_volume()
        verdict = check_values(bars, unreadable, is_fx[which] | without_volume)
        verdict[(verdict == ACCEPTED) & (closes == NO_CLOSE)] = CODES[Reason.SESSION]
        verdict[(verdict == ACCEPTED) & (closes > self.now)] = CODES[Reason.FUTURE]
        # A row without a time or a symbol is refused for that, whatever else is wrong with it.
        verdict[times.kinds == Kind.UNREADABLE] = CODES[Reason.TIME]
        against_name = np.array([CODES[each.reason] for each in named])[which]
        verdict = np.where(bars.symbol == NO_CLOSE, against_name, verdict)

        def explain(reason: Reason, at: int) -> tuple[str, str]:
            symbol = symbols[which[at]]
            if reason in (Reason.SYMBOL, Reason.EXCHANGE):
                return "", named[which[at]].problem
            if reason in (Reason.TIME, Reason.SESSION, Reason.FUTURE):
                text = str(file.columns[Role.TIME][at])[:80]
                if reason is Reason.SESSION and symbol is not None:
                    text += f": {why_no_place(times, at, symbol)}"
                return symbol or "", text
            return symbol or "", describe(bars, at)

        traded = (verdict == CODES[Reason.SESSION]) & ((bars.volume > 0) | without_volume)
        for at in np.flatnonzero(traded).tolist():
            is_date = times.kinds[at] in (Kind.LABEL, Kind.LOCAL_MIDNIGHT)
            day = date_of_day(int(times.days[at])) if is_date else None
            self.trading_days.refuse(symbols[which[at]] or "", day or int(times.seconds[at]))
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
        splits, split_symbols = _splits_of_rows(bars, symbols, which, closes, verdict, file)
        return BarBatch(len(file) + len(file.broken), bars.take(good), splits, split_symbols)

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

    def _refuse(
        self,
        name: str,
        rows: NDArray[np.int64],
        verdict: NDArray[np.int8],
        explain: Callable[[Reason, int], tuple[str, str]],
    ) -> NDArray[np.bool_]:
        """Record the refused rows, in the file's order; return which rows are good."""
        good: NDArray[np.bool_] = verdict == ACCEPTED
        for at in np.flatnonzero(~good).tolist():
            reason = REASONS[verdict[at]]
            symbol, detail = explain(reason, at)
            self.refusals.add(Refusal(name, int(rows[at]), symbol, reason, detail))
        return good


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
        open=values[Role.OPEN],
        high=values[Role.HIGH],
        low=values[Role.LOW],
        close=values[Role.CLOSE],
        volume=values[Role.VOLUME],
        split_ratio=values[Role.SPLIT_RATIO],
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


def _is_quoted_by_dealers(symbol: str) -> bool:
    return hours_of(symbol).rule is ClosingRule.NEW_YORK_ROLL


def _splits_of_rows(
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
    usable &= (closes != NO_CLOSE) & (verdict != CODES[Reason.SYMBOL])
    splits = [
        Split(name, int(closes[at]), float(bars.split_ratio[at]))
        for at in np.flatnonzero(usable)
        if (name := symbols[which[at]]) is not None
    ]
    return splits, frozenset(name for name in symbols if name is not None)
