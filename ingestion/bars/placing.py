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
from collections.abc import Iterator, Sequence
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
from ingestion.bars.vendor_symbols import NAMELESS, Named, Naming, demand_exchange
from ingestion.base.errors import InputError
from ingestion.base.instants import DAY, date_of_day, day_of_date, utc
from ingestion.catalog import TimesMean
from ingestion.markets.hours import ClosingRule, hours_of, known_bar_closes, known_calendar
from ingestion.markets.sessions import (
    bars_by_hours,
    by_hours,
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
    times: Times,
    symbols: Sequence[str | None],
    which: NDArray[np.int64],
    mean: TimesMean = TimesMean.AS_WRITTEN,
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
    mean
        What the times mean.

    Returns
    -------
    tuple[NDArray[np.int64], NDArray[np.int64]]
        Opens and closes, Unix seconds; :data:`NO_CLOSE` as the close of a time that is in no
        session, of an unreadable time and of a row without a symbol.
    """
    opens = times.seconds.copy()
    closes = np.full(len(opens), NO_CLOSE, dtype=np.int64)
    # Two names of a vendor may be one symbol.
    named = [(n, name) for n, name in enumerate(symbols) if name is not None]
    numbers = np.array([n for n, _ in named], dtype=np.int64)
    for symbol, at in by_hours([name for _, name in named]).items():
        rows = np.flatnonzero(np.isin(which, numbers[at]))
        meant = _as_meant(symbol, times.take(rows), mean)
        opens[rows], closes[rows] = _place_times_of(symbol, meant)
    return opens, closes


def _as_meant(symbol: str, times: Times, mean: TimesMean) -> Times:
    """Return times that mean what those of files mean, of symbols that keep the hours of one."""
    is_label = times.kinds == Kind.LABEL
    is_instant = ~is_label & (times.kinds != Kind.UNREADABLE)
    if mean is TimesMean.DATES:
        kinds = np.where(is_instant, np.int8(Kind.LABEL), times.kinds)
        return Times(kinds, times.days * DAY, times.days)
    if mean is TimesMean.OPENS:
        kinds = np.where(is_label | is_instant, np.int8(Kind.INSTANT), times.kinds)
        return Times(kinds, times.seconds, times.days)
    if mean is TimesMean.CLOSES:
        return _opening(symbol, times, is_instant)
    return times


def _opening(symbol: str, times: Times, is_close: NDArray[np.bool_]) -> Times:
    """Return when the bars open, or which sessions they are of, that close at some times."""
    kinds, seconds, days = times.kinds.copy(), times.seconds.copy(), times.days.copy()
    closes = seconds[is_close]
    match hours_of(symbol).rule:
        case ClosingRule.SESSION:  # one that closes elsewhere stays where it is, in no session
            runs = running_closes(symbol, closes - 1) != NO_CLOSE
            at = np.flatnonzero(is_close)[runs]
            kinds[at] = Kind.LABEL
            days[at] = session_days(symbol, closes[runs] - 1, closes[runs])
            seconds[at] = days[at] * DAY
        case ClosingRule.MIDNIGHT_UTC:
            seconds[is_close] = (closes - 1) // DAY * DAY
        case _:
            seconds[is_close] = closes - DAY
    return Times(kinds, seconds, days)


def _place_times_of(symbol: str, times: Times) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Place the bars of symbols that keep the hours of one."""
    opens, days = times.seconds.copy(), times.days.copy()
    closes = np.full(len(opens), NO_CLOSE, dtype=np.int64)
    in_sessions = hours_of(symbol).rule is ClosingRule.SESSION
    written = np.flatnonzero((times.kinds == Kind.LOCAL_MIDNIGHT) & in_sessions)
    labelled = times.kinds == Kind.LABEL
    labelled[written] = True
    instants = ~labelled & (times.kinds != Kind.UNREADABLE)
    closes[instants] = closes_of(symbol, opens[instants])
    dates = instants & (closes == NO_CLOSE) & (opens % DAY == 0)
    days[dates] = opens[dates] // DAY
    labelled |= dates
    labels, back = np.unique(days[labelled], return_inverse=True)
    bounds = sessions_of_labels(exchange_of(symbol), labels)
    opens[labelled], closes[labelled] = (of_label[back] for of_label in bounds)
    # Midnight in another country may be within a session here, of another date: which is meant?
    running = running_closes(symbol, times.seconds[written])
    closes[written[(running != NO_CLOSE) & (running != closes[written])]] = NO_CLOSE
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
            if reason in (Reason.SYMBOL, Reason.EXCHANGE):
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
