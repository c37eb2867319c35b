"""Several bars of one symbol and session: in an import, and an incoming one beside a stored one.

Vendors repeat a session when they correct its volume, so of rows with equal prices the later one is
right. Where prices disagree nobody knows which is right, and :class:`Duplicates` decides.

A stored bar of the same close is restated: single ones are, or the whole past by one factor
(:func:`restatements`).

A stored bar of the session that closes elsewhere (:class:`Twin`) cannot be restated, because a row
stays in the partition of its close. Two kinds of stored bars may be such: those of an exchange with
a calendar that close with no session of it, and those of markets without a calendar, whose days
vendors cut differently; see :mod:`ingestion.markets.sessions`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ingestion.bars.arrays import PRICES, PRICES_AND_VOLUME, Bars, price_unit, slices
from ingestion.bars.bar_reader import TOLERANCE
from ingestion.bars.refusals import Reason
from ingestion.bars.stored_bars import NearbyBars, StoredDay
from ingestion.base.instants import utc, utc_date
from ingestion.markets.hours import ClosingRule, hours_of
from ingestion.markets.sessions import are_misplaced, bars_by_hours, session_days

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Duplicates(StrEnum):
    """What becomes of a session's bars whose prices or split ratios disagree."""

    REFUSE = "refuse"
    FIRST = "first"
    """The first one stays: files in the order of the request, and rows in that of their file."""
    LAST = "last"


@dataclass(frozen=True)
class OnePerSession:
    """Which bars stay: masks of shape ``(n,)``, none of them where another is for ``refused``."""

    kept: NDArray[np.bool_]
    """One bar of each session."""
    refused: NDArray[np.bool_]
    """All bars of a session whose bars disagree."""
    revised: NDArray[np.bool_]
    """Kept bars whose volume differs from that of a bar that they replace."""
    chosen: NDArray[np.bool_]
    """Kept bars that disagree with others, and stay because :class:`Duplicates` says so."""


def one_per_session(bars: Bars, sessions: NDArray[np.int64], rule: Duplicates) -> OnePerSession:
    """Choose one bar of each symbol and session.

    In place: a kept bar that says nothing about splits takes the ratio that another one of its
    session gives.

    Parameters
    ----------
    bars
        As :func:`ingestion.bars.arrays.in_order` leaves them.
    sessions
        Shape ``(n,)``: what :func:`session_keys` distinguishes them by.
    rule
        For bars that disagree. If all bars of a session agree in prices, to :data:`TOLERANCE`, and
        in their split ratio, the last one stays.
    """
    size = len(bars)
    begins = np.ones(size, dtype=bool)
    begins[1:] = np.diff(bars.symbol) != 0
    begins[1:] |= np.diff(sessions) != 0
    firsts = np.flatnonzero(begins)
    if len(firsts) == size:
        none = np.zeros(size, dtype=bool)
        return OnePerSession(begins, none, none, none)
    session = np.cumsum(begins) - 1
    lasts = np.append(firsts[1:], size) - 1
    given = np.flatnonzero(~np.isnan(bars.split_ratio))
    of_session = np.full(len(firsts), np.nan)
    of_session[session[given]] = bars.split_ratio[given]  # the last one of a session stays
    ratio = of_session[session]
    differs = ~np.isnan(bars.split_ratio) & (bars.split_ratio != ratio)
    for prices in bars.prices:
        first = prices[firsts][session]
        differs |= np.abs(prices - first) > TOLERANCE * np.maximum(prices, first)
    disagree = np.logical_or.reduceat(differs, firsts)
    revised = np.logical_or.reduceat(bars.volume != bars.volume[lasts][session], firsts) & ~disagree
    stays = np.where(disagree & (rule is Duplicates.FIRST), firsts, lasts)
    unsaid = stays[np.isnan(bars.split_ratio[stays])]
    bars.split_ratio[unsaid] = ratio[unsaid]

    def mask(of_session: NDArray[np.bool_]) -> NDArray[np.bool_]:
        chosen = np.zeros(size, dtype=bool)
        chosen[stays[of_session]] = True
        return chosen

    refused = disagree & (rule is Duplicates.REFUSE)
    return OnePerSession(mask(~refused), refused[session], mask(revised), mask(disagree & ~refused))


def session_keys(bars: Bars, names: Sequence[str]) -> NDArray[np.int64]:
    """Return what distinguishes the sessions of a symbol's bars: their close, or their day.

    With a calendar each session has one close. Without one vendors cut the day differently, and
    bars of one day are of one session all the same.
    """
    sessions = bars.event.copy()
    for symbol, at in bars_by_hours(names, bars.symbol).items():
        if hours_of(symbol).rule in (ClosingRule.NEW_YORK_ROLL, ClosingRule.DAY_AFTER_OPEN):
            sessions[at] = session_days(symbol, bars.timestamp[at], bars.event[at])
    return sessions


@dataclass(frozen=True)
class Twin:
    """A stored bar of a session, which closes elsewhere than an incoming one."""

    event: int
    """Its close, Unix seconds."""
    prices: dict[str, float]
    """Open, high, low and close."""
    source: str
    is_misplaced: bool
    """Whether it closes with no session of its exchange's calendar."""
    reason: ClassVar = Reason.TWICE
    """Why another one of its session is refused."""

    def __str__(self) -> str:
        closes = f"the stored bar of that session closes {utc(self.event)}"
        if self.is_misplaced:
            return f"{closes}, where no session does: `tvfeast verify` lists such bars"
        return f"{closes} and says something else: the two vendors cut the day at other hours"


class Twins:
    """The stored bars that may be of a session under another close, a few dates at a time.

    Parameters
    ----------
    names
        Symbols by number.
    stored_on
        Gives the current rows of a date of ``ohlcv_1d``.
    """

    def __init__(self, names: Sequence[str], stored_on: Callable[[date], StoredDay]) -> None:
        self._names, self._stored_on = names, stored_on
        self._days: dict[date, dict[tuple[int, int], list[Twin]]] = {}

    def find(
        self,
        day: date,
        symbol: NDArray[np.int32],
        opens: NDArray[np.int64],
        closes: NDArray[np.int64],
    ) -> dict[int, Twin]:
        """Return, by position, the twins of some bars that close on one UTC date.

        Parameters
        ----------
        symbol, opens, closes
            Shape ``(n,)``: the bars' symbols by number, opens and closes.
        """
        near = [day + timedelta(days) for days in (-1, 0, 1)]
        read = self._days
        self._days = {
            each: read[each] if each in read else self._possible_twins(self._stored_on(each))
            for each in near
        }
        stored = [twins for twins in self._days.values() if twins]
        found: dict[int, Twin] = {}
        if not stored:
            return found
        for key, at in bars_by_hours(self._names, symbol).items():
            days = session_days(key, opens[at], closes[at]).tolist()
            for n, number, session in zip(at.tolist(), symbol[at].tolist(), days, strict=True):
                for twins in stored:
                    for twin in twins.get((number, session), ()):
                        if twin.event != closes[n]:
                            found[n] = twin
        return found

    def _possible_twins(self, stored: StoredDay) -> dict[tuple[int, int], list[Twin]]:
        """Return the rows that may be twins, by symbol and day of their session."""
        found: dict[tuple[int, int], list[Twin]] = {}
        if not len(stored):
            return found
        opens, closes = stored.opens, stored.closes
        suspect = np.zeros(len(stored), dtype=bool)
        days = np.zeros(len(stored), dtype=np.int64)
        for key, at in bars_by_hours(self._names, stored.symbol).items():
            rule = hours_of(key).rule
            if rule is ClosingRule.SESSION:
                suspect[at] = are_misplaced(key, opens[at], closes[at])
            else:  # the bars of markets that never close all close at the same time
                suspect[at] = rule is not ClosingRule.MIDNIGHT_UTC
            if suspect[at].any():
                days[at] = session_days(key, opens[at], closes[at])
        for n in np.flatnonzero(suspect).tolist():
            row, session = stored.row(n), (int(stored.symbol[n]), int(days[n]))
            has_calendar = hours_of(row["symbol"]).rule is ClosingRule.SESSION
            prices = {name: row[name] for name in PRICES}
            twin = Twin(int(stored.closes[n]), prices, row["source"], has_calendar)
            found.setdefault(session, []).append(twin)
        return found


FEW_BARS = 5
"""No pattern is reported for so few restated bars of a symbol."""
_LEAST = 1e-3
"""A scaling has a factor that differs from 1 by at least this."""
_ROUNDING = 2e-6
"""Relative difference that arithmetic with single precision leaves."""
_MOST = 0.8
"""Share of the restated bars that a pattern must cover."""


class Pattern(StrEnum):
    """How restated bars differ from the stored ones."""

    SCALED = "scaled"
    SINGLE = "single bars"
    EVERYTHING = "everything"
    OTHER = "many bars, by no common factor"
    NOT_CLOSES = "other values than closes"


@dataclass(frozen=True)
class Restatement:
    """What an import changes of one symbol's stored bars."""

    symbol: str
    pattern: Pattern
    bars: int
    """Stored bars that differ."""
    first: date
    last: date
    factors: tuple[float, ...]
    """Incoming close ÷ stored one of each scaled stretch, from the newest back."""
    explained: bool = False
    """Whether the stored ones were split-adjusted, and their splits are given now."""

    @property
    def text(self) -> str:
        """The restatement for people."""
        text = f"{self.symbol}: {self.bars:,} stored bars of {self.first} to {self.last}"
        if self.pattern is not Pattern.SCALED:
            return f"{text}: {self.pattern}"
        newest, *others = self.factors
        steps = f" in {len(self.factors)} steps, to {others[-1]:.6g}" if others else ""
        return f"{text}: all scaled, by {newest:.6g}{steps}"


def restatements(
    bars: Bars, stored: NearbyBars, names: Sequence[str], is_adjusted: NDArray[np.bool_]
) -> dict[int, Restatement]:
    """Compare incoming bars with the stored ones of the same sessions.

    Parameters
    ----------
    bars
        As :func:`ingestion.bars.arrays.in_order` leaves them, one per session.
    is_adjusted
        Shape ``(symbols,)``: whose incoming bars stay split-adjusted.

    Returns
    -------
    dict[int, Restatement]
        By symbol, of those with a bar that differs.
    """
    match = stored.find(bars)
    known = match >= 0
    if not known.any():
        return {}
    there = stored.bars.take(np.where(known, match, 0))
    differs = np.zeros(len(bars), dtype=bool)
    for name in PRICES_AND_VOLUME:
        differs |= getattr(bars, name) != getattr(there, name)
    differs &= known
    found: dict[int, Restatement] = {}
    for number, place in slices(bars):
        at = np.arange(place.start, place.stop)[known[place]]
        changed = differs[at]
        if not changed.any():
            continue
        pattern, factors = _pattern(bars.close[at], there.close[at], changed)
        days = bars.timestamp[at][changed]
        was_adjusted = stored.is_adjusted[match[at][changed]]
        found[number] = Restatement(
            symbol=names[number],
            pattern=pattern,
            bars=int(changed.sum()),
            first=utc_date(int(days[0])),
            last=utc_date(int(days[-1])),
            factors=factors,
            explained=bool(was_adjusted.all()) and not is_adjusted[number],
        )
    return found


def _pattern(
    new: NDArray[np.float64], old: NDArray[np.float64], changed: NDArray[np.bool_]
) -> tuple[Pattern, tuple[float, ...]]:
    """Return how the closes of the sessions that both have differ, and by which factors."""
    factor = new / old
    slack = _ROUNDING + 0.5 * (price_unit(new) / new + price_unit(old) / old)
    moved = np.abs(factor - 1) > slack
    if not moved.any():
        return Pattern.NOT_CLOSES, ()
    # Neighbours whose factor is equal, but for rounding, are one stretch.
    joined = np.zeros(len(factor), dtype=bool)
    joined[1:] = np.abs(factor[1:] / factor[:-1] - 1) <= slack[1:] + slack[:-1]
    stretch = np.cumsum(~joined) - 1
    sizes = np.bincount(stretch)
    scaled = moved & (sizes[stretch] > 1)
    if scaled.sum() >= _MOST * moved.sum() and np.abs(factor[scaled] - 1).max() >= _LEAST:
        stretches = np.unique(stretch[scaled])[::-1]
        return Pattern.SCALED, tuple(float(np.median(factor[stretch == n])) for n in stretches)
    if changed.sum() >= _MOST * len(changed) and len(changed) > FEW_BARS:
        return Pattern.EVERYTHING, ()
    alone = np.diff(np.flatnonzero(changed), prepend=-2) > 1
    if changed.sum() <= FEW_BARS or alone.sum() >= _MOST * changed.sum():
        return Pattern.SINGLE, ()
    return Pattern.OTHER, ()
