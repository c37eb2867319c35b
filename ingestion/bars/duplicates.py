"""One bar of each symbol and session.

Vendors repeat a session when they correct its volume, so of rows with equal prices the later one is
right. Where prices disagree nobody knows which is right, and :class:`Duplicates` decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.arrays import Bars
from ingestion.bars.bar_reader import TOLERANCE
from ingestion.markets.hours import ClosingRule, hours_of
from ingestion.markets.sessions import bars_by_hours, session_days

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
