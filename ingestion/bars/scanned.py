"""The scanner's daily bars: which rows of a snapshot are closed bars, and what previous closes say.

A row describes the current bar, just opened or long closed. It is taken once its session has closed
and the feed has caught up. How long before the close its last tick came does not matter: an
illiquid symbol's bar is as final as any.

The scanner's series is split-adjusted, and it measures the change of a bar against the close of the
bar before. That previous close is compared with the stored one:

- On the ex-date of a split it is in the new money, while the stored one is as traded, in the old
  money. Their ratio is 1, but for rounding and for vendors who disagree on a closing auction; else
  it is the ratio of a split that nobody has recorded (:func:`inspect_previous_closes`).
- Where the lakehouse lacks the session before, and its last close is another one, a bar was missed.
  Where the closes of a whole market are the stored ones, the market did not open, whatever its
  calendar says (:func:`find_missed_bars`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from math import prod

import numpy as np
from numpy.typing import NDArray

from ingestion.bars.arrays import PRICES, Bars
from ingestion.bars.bar_reader import check_values, describe
from ingestion.bars.holes import Missed
from ingestion.bars.leaps import SuspectedSplit
from ingestion.bars.placing import NO_CLOSE, TradingDays, closes_of
from ingestion.bars.refusals import ACCEPTED, CODES, REASONS, Reason, Refusal
from ingestion.bars.source import SCANNER
from ingestion.bars.splits import ratio_text, read_recorded
from ingestion.bars.stored_bars import Before, NearbyBars
from ingestion.base.instants import MICROSECONDS, utc, utc_date
from ingestion.catalog import SCANNED_BAR
from ingestion.lakehouse import Lakehouse
from ingestion.markets.hours import BarState, ClosingRule, bar_state, feed_delay, hours_of
from ingestion.markets.market_sessions import market_of, sessions_of_market
from ingestion.markets.sessions import by_hours, next_open, previous_close

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


_SAME_CLOSE = 0.01
"""Closes of two vendors that differ by less, relatively, are equal: 0.3 % is not rare."""

_NEAR_SPLIT = 0.005
"""Largest relative distance from a split's ratio, if the stored close is of the session before.

Both are closes of one session, so no market move is in their ratio, and dividends are in neither.
"""

_NEAR_ACROSS_A_GAP = 1e-4
"""The same if it may be of an earlier session: a market move seldom hits a ratio so exactly."""

_FAR = 1.8
"""From this ratio on, either way round, a split is suspected across a gap too.

A market seldom moves so far in a few days. The two closes do not show which split it is.
"""

_SMALLEST_SPLIT = Fraction(6, 5)
_LARGEST_DENOMINATOR = 5
_LARGEST_NUMERATOR = 10


@dataclass
class SuspectedChange(SuspectedSplit):
    """A previous close that has changed."""

    is_stored: bool
    """Whether the bar itself is in the lakehouse already, without the split."""


@dataclass(frozen=True)
class Unsettled:
    """A previous close that differs, and not as by a split."""

    symbol: str
    ratio: float
    """Stored close ÷ the scanner's previous close."""
    why: str


@dataclass(frozen=True)
class Inspection:
    """What the previous closes say about some bars."""

    held: NDArray[np.bool_]
    """Shape ``(n,)``: bars to be held back, from the first suspect one of their symbol on."""
    suspects: list[SuspectedChange]
    unsettled: list[Unsettled]
    first: int
    """How many bars have no stored bar in the twelve days before, to compare with."""


def split_like(ratio: float, tolerance: float) -> Fraction | None:
    """Return the split that a ratio of two closes looks like; None if it looks like none.

    Splits are n for 1, and p for q of small numbers from 6 for 5 on, either way round. Smaller
    stock dividends are not distinguished from special cash dividends.

    Examples
    --------
    >>> split_like(4.001, 0.005), split_like(0.6667, 0.005), split_like(1.1, 0.005)
    (Fraction(4, 1), Fraction(2, 3), None)
    """
    if not (np.isfinite(ratio) and ratio > 0):
        return None
    larger = max(ratio, 1 / ratio)
    if larger > _LARGEST_NUMERATOR:
        near = Fraction(round(larger))
    else:
        near = Fraction(larger).limit_denominator(_LARGEST_DENOMINATOR)
    if near < _SMALLEST_SPLIT or abs(float(near) / larger - 1) > tolerance:
        return None
    if near.denominator > 1 and near.numerator > _LARGEST_NUMERATOR:
        return None
    return near if ratio > 1 else 1 / near


class _RecordedSplits:
    """The recorded splits that take effect at a bar, because their sessions have none."""

    def __init__(self, lakehouse: Lakehouse) -> None:
        self.ratios = read_recorded(lakehouse)
        self._of: dict[str, list[tuple[int, float]]] = {}
        for (symbol, event), ratio in self.ratios.items():
            self._of.setdefault(symbol, []).append((event, ratio))

    def between(self, symbol: str, before: int, after: int) -> float:
        """Return the product of the ratios between two closes, both left out."""
        ratios = self._of.get(symbol, ())
        return prod(ratio for event, ratio in ratios if before < event < after)


def inspect_previous_closes(
    lakehouse: Lakehouse, bars: Bars, names: list[str], previous: NDArray[np.float64]
) -> Inspection:
    """Compare each bar's previous close with the stored one.

    A bar with a recorded ratio is not suspected: 1 says that there was no split. Recorded splits
    of sessions without a bar are taken into account.

    Parameters
    ----------
    bars
        One per symbol and close, in any order; ``row`` is a position in ``previous``.
    names
        Symbols by number.
    previous
        The scanner's previous closes; NaN where it gives none.
    """
    held = np.zeros(len(bars), dtype=bool)
    suspects: list[SuspectedChange] = []
    unsettled: list[Unsettled] = []
    stored = NearbyBars.around(lakehouse, bars.symbol, bars.event, names)
    recorded = _RecordedSplits(lakehouse)
    first = 0
    before: dict[int, Before] = {}
    suspected: set[int] = set()
    for at in np.lexsort((bars.event, bars.symbol)).tolist():
        number, event = int(bars.symbol[at]), int(bars.event[at])
        name, theirs = names[number], float(previous[bars.row[at]])
        if number in suspected:
            held[at] = True
            continue
        last = max(filter(None, (before.get(number), stored.before(name, event))), default=None)
        before[number] = Before(event, float(bars.close[at]), is_scanned=True)
        if last is None:
            first += 1
            continue
        own = stored.ratio(name, event)
        if np.isnan(theirs) or (name, event) in recorded.ratios or own not in (None, 1.0):
            continue
        due = recorded.between(name, last.event, event)
        ratio = last.close / due / theirs
        if abs(ratio - 1) <= _SAME_CLOSE:
            continue
        if due != 1 and abs(last.close / theirs - 1) <= _SAME_CLOSE:
            why = f"the recorded split of {ratio_text(due)} does not show"
            unsettled.append(Unsettled(name, last.close / theirs, why))
            continue
        is_next = previous_close(name, event) == last.event
        split = split_like(ratio, _NEAR_SPLIT if is_next else _NEAR_ACROSS_A_GAP)
        if split is None and (is_next or max(ratio, 1 / ratio) < _FAR):
            why = "not as by a split" if is_next else "the bar before is not stored"
            unsettled.append(Unsettled(name, ratio, why))
            continue
        opened = int(bars.timestamp[at])
        suspects.append(
            SuspectedChange(name, opened, split, last.close / due, theirs, own is not None)
        )
        if own is None:
            suspected.add(number)
            held[at] = True
    return Inspection(held, suspects, unsettled, first)


_EQUAL_CLOSE = 1e-6
"""Closes of one vendor that differ by less, relatively, are equal."""
_FEWEST_CLOSED, _CLOSED_SHARE = 5, 0.9
"""Symbols whose previous close must be the stored one, and their share, for a closed market."""
DID_NOT_OPEN = "the market did not open: the scanner's previous closes are those of before"


@dataclass(frozen=True)
class SessionsBefore:
    """Bars that were missed, and markets that did not open, by the previous closes."""

    missed: list[Missed]
    closed: list[tuple[str, date, int]]
    """Sessions in which a market did not open: market, local date, close in Unix s."""


def find_missed_bars(
    lakehouse: Lakehouse, bars: Bars, names: list[str], previous: NDArray[np.float64]
) -> SessionsBefore:
    """Compare the previous close of each bar whose session before is not stored.

    Parameters
    ----------
    bars
        New ones, one per symbol and close; ``row`` is a position in ``previous``.
    names
        Symbols by number.
    previous
        The scanner's previous closes; NaN where it gives none.
    """
    stored = NearbyBars.around(lakehouse, bars.symbol, bars.event, names)
    recorded = _RecordedSplits(lakehouse)
    missed: list[Missed] = []
    agreed: dict[tuple[str, int, int], list[bool]] = {}
    for at in range(len(bars)):
        name, event = names[bars.symbol[at]], int(bars.event[at])
        theirs, market = float(previous[bars.row[at]]), market_of(name)
        before, last = previous_close(name, event), stored.before(name, event)
        if market is None or before is None or last is None or last.event >= before:
            continue
        if np.isnan(theirs) or (name, event) in recorded.ratios:
            continue
        tolerance = _EQUAL_CLOSE if last.is_scanned else _SAME_CLOSE
        close = last.close / recorded.between(name, last.event, event)
        is_same = abs(close / theirs - 1) <= tolerance
        if not is_same:
            missed.append(Missed(name, before, theirs))
        if last.is_scanned:
            agreed.setdefault((market, last.event, event), []).append(is_same)
    closed = [
        session
        for (market, last_event, event), votes in agreed.items()
        if sum(votes) >= max(_FEWEST_CLOSED, _CLOSED_SHARE * len(votes))
        for session in _sessions_between_closes(market, last_event, event)
    ]
    return SessionsBefore(missed, sorted(set(closed)))


def _sessions_between_closes(market: str, first: int, last: int) -> Iterator[tuple[str, date, int]]:
    """Yield the sessions of a market that closed between two closes."""
    days = [utc_date(each) for each in (first, last)]
    sessions = sessions_of_market(market, days[0] - timedelta(days=1), days[1] + timedelta(days=1))
    for label, closes in zip(sessions.labels, sessions.closes.tolist(), strict=True):
        if first < closes < last:
            yield market, label, closes
